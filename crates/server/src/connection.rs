//! An AMQP 0-9-1 connection as a machine: bytes in; calls to the broker and bytes into the outbox
//! out. No socket, no task, no waiting in it.
//!
//! The driver (`driver.rs`) reads from the socket and gives what it has to
//! [`Connection::receive`]; all of it is one turn: publishes are staged and flushed together,
//! settlements are resolved together, writers are woken once. Where an answer has to wait for the
//! disk, the machine says so ([`Next::Wait`]) and goes on when the driver calls
//! [`Connection::durable`].

mod asking;
mod channels;
mod consume;
mod handshake;
mod leaving;
mod peer;
mod phase;
mod publish;
mod settle;
mod timeouts;
mod topology;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use ahash::HashMap;
use leveret_auth::Backends;
use leveret_broker::access::Principal;
use leveret_broker::{
    Broker, Confirmation, ConnectionTraffic, Registration, Session, Shortage, name_in_log, refusal,
};
use leveret_codec::{
    AmqpError, Frame, FrameKind, Greeting, Method, PROTOCOL_HEADER, Scope, basic, connection, split,
};
use leveret_engine::Millis;
use leveret_store::Lsn;
use tokio::sync::{Notify, Semaphore, watch};

use self::asking::Pending;
use self::handshake::Client;
pub(crate) use self::handshake::FRAME_MAX_MIN;
use self::leaving::Leaving;
pub(crate) use self::peer::Peer;
use self::phase::Phase;
use self::settle::{PendingSettlement, Settling};
use self::topology::Bound;
pub(crate) use self::turn::{Next, Received};
use crate::admission::{Admission, Guest};
use crate::budgets::Budgets;
use crate::channel::Channel;
use crate::clock;
use crate::config::{AmqpConfig, ServerProperties};
use crate::control::Control;
use crate::frame_trace;
use crate::outbox::Outbox;
use crate::sasl::Logins;
use crate::uncommitted::Uncommitted;
use crate::unfinished::Unfinished;

/// Frames before tune-ok are no larger: RabbitMQ's initial frame-max.
pub(crate) const INITIAL_FRAME_MAX: u32 = 8192;
/// Places in queues that the messages of one turn take, about, at most. Of a client whose messages
/// go to one queue each a turn is as long as what was read.
const TURN_PLACES: usize = 4096;

/// What all connections are given.
pub(crate) struct Context {
    pub(crate) broker: Arc<Broker>,
    pub(crate) amqp: AmqpConfig,
    pub(crate) logins: Logins,
    /// Who decides about logins.
    pub(crate) backends: Arc<Backends>,
    pub(crate) server_properties: ServerProperties,
    /// What is short: told to those who wait for it to be over.
    pub(crate) shortage: watch::Receiver<Shortage>,
    /// As many connections with long work as there are processors may be at it at a time: the others
    /// wait for their turn outside the runtime's queue, where everybody else's short work would be
    /// behind them.
    pub(crate) long_work: Arc<Semaphore>,
    /// Notified when what publishers wait for may be over: the disk has taken enough of what waits to be written
    /// that the journal does not have, or dead letters have gone on.
    pub(crate) relief: Arc<Notify>,
    /// Who may connect.
    pub(crate) admission: Arc<Admission>,
    /// What all of them may take of memory.
    pub(crate) budgets: Budgets,
    /// The runtime has more than one thread: others go on if one waits for the disk.
    pub(crate) may_block: bool,
}

/// One client's connection.
pub(crate) struct Connection {
    context: Arc<Context>,
    outbox: Arc<Outbox>,
    peer: Peer,
    guest: Guest,
    client: Client,
    /// Who has logged in.
    principal: Option<Principal>,
    /// What waits for somebody outside, or for its answer to be used.
    pending: Option<Box<Pending>>,
    /// Whether somebody outside was asked for what is being done.
    has_asked: bool,
    phase: Phase,
    frame_max: u32,
    channel_max: u16,
    heartbeat_seconds: u16,
    session: Option<Session>,
    /// How an operator sees and closes it.
    control: Arc<Control>,
    traffic: Arc<ConnectionTraffic>,
    /// Its place in the list of open connections, while it has a session.
    registration: Option<Registration>,
    /// Boxed: nearly all connections have one, and a map has room for more.
    channels: HashMap<u16, Box<Channel>>,
    /// What they have begun to receive.
    unfinished: Unfinished,
    /// What their transactions hold.
    uncommitted: Uncommitted,
    /// Answers that wait for `gate` to be on disk, and those behind them.
    gated: Vec<u8>,
    gate: Option<Lsn>,
    /// How often deliveries are looked at that may wait too long for their settlement.
    check_interval: Option<Duration>,
    /// The policies that is by.
    policy_generation: u64,
    /// The permissions its consumers were last looked at with.
    own_permissions: Option<u64>,
    /// The binding that is being given what its exchange repeats: nothing is read until it has that.
    bound: Option<Bound>,
    /// What is left of a session that has ended.
    leaving: Option<Box<Leaving>>,
    settlements: Vec<PendingSettlement>,
    settling: Settling,
    has_published: bool,
    /// The client has sent more than heartbeats.
    has_worked: bool,
    /// The client was told that nothing is read from it.
    is_blocked: bool,
    /// Scratch for the turn.
    confirmations: Vec<Confirmation>,
}

impl Connection {
    pub(crate) fn new(
        context: Arc<Context>,
        control: Arc<Control>,
        peer: Peer,
        guest: Guest,
    ) -> Self {
        let channel_max = context.amqp.channel_max;
        let outbox = Arc::clone(control.outbox());
        let unfinished_max = context.amqp.unfinished_messages_max;
        let unfinished = Unfinished::new(&context.budgets.unfinished, unfinished_max);
        let uncommitted_max = context.amqp.uncommitted_max;
        let uncommitted = Uncommitted::new(&context.budgets.uncommitted, uncommitted_max);
        Self {
            context,
            outbox,
            peer,
            guest,
            client: Client::default(),
            principal: None,
            pending: None,
            has_asked: false,
            phase: Phase::Greeting,
            frame_max: INITIAL_FRAME_MAX,
            channel_max,
            heartbeat_seconds: 0,
            session: None,
            control,
            traffic: Arc::default(),
            registration: None,
            channels: HashMap::default(),
            unfinished,
            uncommitted,
            gated: Vec::new(),
            gate: None,
            check_interval: None,
            policy_generation: 0,
            own_permissions: None,
            bound: None,
            leaving: None,
            settlements: Vec::new(),
            settling: Settling::default(),
            has_published: false,
            has_worked: false,
            is_blocked: false,
            confirmations: Vec::new(),
        }
    }

    /// Takes what has been read: one turn.
    pub(crate) fn receive(&mut self, input: &[u8], now: Millis) -> Received {
        if let Some(session) = &mut self.session {
            session.begin(now);
        }
        self.has_published = false;
        self.check_expiry();
        self.cancel_unreadable();
        let is_short = !self.context.broker.alarms().shortage().is_none();
        let mut consumed = 0;
        let mut next = self.publish_postponed();
        while next == Next::Read {
            let rest = input.get(consumed..).unwrap_or_default();
            if let Phase::Greeting = self.phase {
                let Some(greeting) = Greeting::of(rest) else { break };
                consumed += PROTOCOL_HEADER.len();
                next = self.greet(greeting);
                continue;
            }
            if let Phase::Closed = self.phase {
                consumed = input.len();
                next = Next::Close;
                break;
            }
            if self.bound.is_some() {
                next = self.repeat_history(is_short);
                continue;
            }
            if self.has_more_to_do() {
                next = Next::Yield;
                break;
            }
            if self.session.as_ref().is_some_and(|session| session.placed() >= TURN_PLACES) {
                next = Next::Yield;
                break;
            }
            let (frame, length) = match split(rest, self.frame_max) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    // The stream is out of step: what follows means nothing.
                    self.fail(error);
                    self.phase = Phase::Closed;
                    continue;
                }
            };
            if let Some(lsn) = self.gate
                && !may_pass_gate(&frame)
            {
                next = Next::Wait(lsn);
                break;
            }
            if is_short && matches!(self.phase, Phase::Running) && is_publish(&frame) {
                next = Next::Hold;
                break;
            }
            if self.outbox.is_unread() {
                next = Next::Pause;
                break;
            }
            self.has_worked |= frame.kind != FrameKind::Heartbeat;
            let taken;
            if let Phase::Running = self.phase
                && let Some((more, published)) =
                    self.whole_publish(&frame, rest.get(length..).unwrap_or_default())
            {
                taken = length + more;
                next = self.outcome(frame.channel, published.map(|()| Next::Read));
            } else {
                taken = length;
                next = self.frame(&frame);
            }
            if next == Next::Ask && self.comes_again() {
                break;
            }
            self.answers_used(next);
            consumed += taken;
        }
        frame_trace::received(&self.peer, input.get(..consumed).unwrap_or_default());
        self.end_turn();
        if let (Next::Read | Next::Yield | Next::Hold | Next::Ask | Next::Close, Some(lsn)) =
            (next, self.gate)
        {
            next = Next::Wait(lsn);
        }
        Received { consumed, next }
    }

    /// What the last turn waited for is on disk.
    pub(crate) fn durable(&mut self) {
        self.gate = None;
        let gated = std::mem::take(&mut self.gated);
        self.outbox.write(|out| out.extend_from_slice(&gated));
        self.end_turn();
    }

    /// Whether the client is logged in and in its vhost.
    pub(crate) fn is_open(&self) -> bool {
        self.session.is_some()
    }

    /// The negotiated heartbeat in seconds, 0 for none.
    pub(crate) fn heartbeat_seconds(&self) -> u16 {
        self.heartbeat_seconds
    }

    /// Whether the broker waits for the client to agree to the end.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing)
    }

    /// Whether the client said good-bye or was told to go.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Closed)
    }

    /// The broker stops: tells the client. Without a client that listens there is nothing to wait
    /// for.
    pub(crate) fn shut_down(&mut self) {
        match self.phase {
            Phase::Running => {
                self.fail(refusal::shutdown());
                self.end_turn();
            }
            Phase::Closing | Phase::Closed => {}
            _ => self.phase = Phase::Closed,
        }
    }

    /// A mistake in the broker has cost the connection its state: tells the client.
    pub(crate) fn give_up(&mut self) {
        self.gate = None;
        self.gated.clear();
        self.fail(AmqpError::internal_error("the broker made a mistake, which it has logged"));
        self.outbox.flush();
    }

    /// An operator wants the connection closed: tells the client. Without a client that listens
    /// there is nothing to wait for.
    pub(crate) fn close_for_operator(&mut self, reason: &str) {
        if let Phase::Running = self.phase {
            self.fail(refusal::closed_by_operator(reason));
            self.end_turn();
        }
    }

    /// Closes the connection of a client that has left messages in part, or transactions uncommitted, if
    /// all have more of those than they may and it has more than its share. Whoever sends more of them is
    /// looked at anyway.
    pub(crate) fn check_shares(&mut self) {
        let checked = self.unfinished.check_share().and_then(|()| self.uncommitted.check_share());
        if let (Phase::Running, Err(error)) = (&self.phase, checked) {
            self.fail(error);
            self.end_turn();
        }
    }

    /// What goes over its socket.
    pub(crate) fn traffic(&self) -> &Arc<ConnectionTraffic> {
        &self.traffic
    }

    /// Whether the client has sent more than heartbeats since this was asked last.
    pub(crate) fn has_worked(&mut self) -> bool {
        std::mem::take(&mut self.has_worked)
    }

    /// Whether the last turn published anything: consumers don't wait for room in the journal.
    pub(crate) fn has_published(&self) -> bool {
        self.has_published
    }

    /// Whether the last turn published something that stays, while more waits to be written than may.
    pub(crate) fn piles_up(&self) -> bool {
        self.has_published && self.session.as_ref().is_some_and(Session::piles_up)
    }

    /// Whether queues that lost their last consumer, very many of them, have yet to go: nothing of the client
    /// counts before.
    pub(crate) fn has_more_to_do(&self) -> bool {
        self.session.as_ref().is_some_and(Session::has_more_to_do)
    }

    /// Whether the last turn had more die than the way of dead letters has room for.
    pub(crate) fn outruns_dead_letters(&self) -> bool {
        self.session.as_ref().is_some_and(Session::outruns_dead_letters)
    }

    /// Tells the client, if it can hear it, that nothing is read from it, and why, in RabbitMQ's
    /// words. Once: the reason may change while it lasts.
    pub(crate) fn block(&mut self, reason: &str) {
        if std::mem::replace(&mut self.is_blocked, true) {
            return;
        }
        tracing::debug!("connection ({}): blocked, {reason}", self.label());
        self.show_blocked(true);
        if self.client.connection_blocked {
            let blocked = connection::Blocked { reason };
            self.outbox.write(|out| blocked.encode_frame(0, out));
            self.outbox.flush();
        }
    }

    /// The end of [`block`](Self::block).
    pub(crate) fn unblock_publishes(&mut self) {
        if !std::mem::take(&mut self.is_blocked) {
            return;
        }
        self.show_blocked(false);
        if self.client.connection_blocked {
            self.outbox.write(|out| connection::Unblocked {}.encode_frame(0, out));
            self.outbox.flush();
        }
    }

    fn show_blocked(&self, is_blocked: bool) {
        if let Some(registration) = &self.registration {
            registration.connection().set_blocked(is_blocked);
        }
    }

    /// Lets memory go that an idle connection doesn't need.
    pub(crate) fn release(&mut self) {
        self.forget_cancelled();
        if let Some(session) = &mut self.session {
            session.release();
        }
        for channel in self.channels.values_mut() {
            channel.repetition = None;
        }
        self.settling = Settling::default();
        self.settlements.shrink_to(0);
        self.confirmations.shrink_to(0);
    }

    /// What log lines call it.
    pub(crate) fn label(&self) -> String {
        match &self.client.name {
            Some(name) => format!("{} - {}", self.peer, name_in_log(name)),
            None => self.peer.to_string(),
        }
    }

    /// Whether a line of the log may be about it: before its login there are so many only.
    pub(crate) fn may_log(&self) -> bool {
        let lines = &self.context.admission.log_lines;
        self.principal.is_some() || lines.handshakes.have_room(clock::now())
    }

    /// Whether one may be about an error of it: a client can make thousands a second.
    fn may_log_error(&self) -> bool {
        let lines = &self.context.admission.log_lines;
        let lines = if self.principal.is_some() { &lines.errors } else { &lines.handshakes };
        lines.have_room(clock::now())
    }

    fn greet(&mut self, greeting: Greeting) -> Next {
        match greeting {
            Greeting::Amqp091 => {
                self.start();
                self.phase = Phase::Starting;
                Next::Read
            }
            Greeting::Refused => {
                if self.may_log() {
                    tracing::warn!(
                        "closing connection ({}): the client did not start with the AMQP 0-9-1 \
                         protocol header",
                        self.peer
                    );
                }
                self.outbox.write(|out| out.extend_from_slice(&PROTOCOL_HEADER));
                self.phase = Phase::Closed;
                Next::Close
            }
        }
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Next {
        let result = match (&self.phase, frame.kind) {
            (Phase::Closing, _) => return self.closing_frame(frame),
            (_, FrameKind::Heartbeat) => Ok(Next::Read),
            (_, FrameKind::Method) if frame.channel == 0 => self.connection_method(frame.payload),
            (Phase::Running, FrameKind::Method) => {
                self.channel_method(frame.channel, frame.payload).map(|()| Next::Read)
            }
            (Phase::Running, _) => self.content_frame(frame).map(|()| Next::Read),
            _ => Err(frame.misplaced()),
        };
        self.outcome(frame.channel, result)
    }

    /// What a frame on `channel` led to; an error closes what it has to.
    fn outcome(&mut self, channel: u16, result: Result<Next, AmqpError>) -> Next {
        match result {
            Ok(next) => next,
            Err(_) if self.has_open_question() => Next::Ask,
            Err(error) if error.scope() == Scope::Channel && channel != 0 => {
                self.fail_channel(channel, error);
                Next::Read
            }
            Err(error) => {
                self.fail(error);
                if let Phase::Closed = self.phase { Next::Close } else { Next::Read }
            }
        }
    }

    /// A frame after the broker sent close.
    fn closing_frame(&mut self, frame: &Frame<'_>) -> Next {
        if frame.kind != FrameKind::Method || frame.channel != 0 {
            return Next::Read;
        }
        match Method::decode_within(frame.payload, &self.context.amqp.tables) {
            Ok(Method::ConnectionClose(_)) => {
                self.reply(|out| connection::CloseOk {}.encode_frame(0, out));
            }
            Ok(Method::ConnectionCloseOk(_)) => {}
            _ => return Next::Read,
        }
        self.phase = Phase::Closed;
        Next::Close
    }

    fn connection_method(&mut self, payload: &[u8]) -> Result<Next, AmqpError> {
        let method = match self.phase {
            Phase::Running => Method::decode_within(payload, &self.context.amqp.tables)?,
            // What a client says of itself fits into a small frame, and may be more than an operator
            // has its messages carry.
            _ => Method::decode(payload)?,
        };
        match (&self.phase, method) {
            (Phase::Starting, Method::ConnectionStartOk(start_ok)) => self.log_in(&start_ok),
            (Phase::Tuning, Method::ConnectionTuneOk(tune_ok)) => self.tune(tune_ok),
            (Phase::Opening, Method::ConnectionOpen(open)) => self.open(open.virtual_host),
            (_, Method::ConnectionClose(_)) => {
                self.tear_down();
                self.reply(|out| connection::CloseOk {}.encode_frame(0, out));
                if self.may_log() {
                    tracing::info!("closing AMQP connection ({})", self.label());
                }
                self.phase = Phase::Closed;
                Ok(Next::Close)
            }
            (Phase::Running, Method::ConnectionUpdateSecret(update)) => self.update_secret(&update),
            (phase, method) => {
                let text = format!("unexpected method in connection state {}", phase.name());
                Err(AmqpError::channel_error(text).with_method(method.id()))
            }
        }
    }

    /// Ends the connection for an error of its own.
    fn fail(&mut self, error: AmqpError) {
        if self.may_log_error() {
            tracing::error!(
                "error on AMQP connection ({}): operation {} caused a connection exception {}: {}",
                self.label(),
                error.method(),
                error.code().name().to_ascii_lowercase(),
                error.text()
            );
        }
        self.tear_down();
        self.reply(|out| error.encode_close(0, out));
        self.phase = match self.phase {
            Phase::Running | Phase::Opening => Phase::Closing,
            _ => Phase::Closed,
        };
    }

    /// Writes an answer, behind those that wait for the disk; the last one once its queues are gone.
    fn reply(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if let Some(leaving) = &mut self.leaving {
            encode(leaving.words());
        } else if self.gate.is_some() {
            encode(&mut self.gated);
        } else {
            self.outbox.write(encode);
        }
    }

    /// Writes an answer that may only be seen once `commit` is on disk.
    fn reply_at(&mut self, commit: Option<Lsn>, encode: impl FnOnce(&mut Vec<u8>)) {
        let durable = self.context.broker.store().durable_lsn();
        self.gate = self.gate.max(commit.filter(|lsn| *lsn > durable));
        self.reply(encode);
    }

    /// Does what was staged: before anything that could see it, and at the end of the turn.
    fn flush(&mut self) {
        self.flush_publishes();
        self.flush_settlements();
    }

    fn end_turn(&mut self) {
        self.flush_at_end();
        if let Some(session) = &mut self.session {
            session.hold_cancels(self.gate.is_some());
            session.finish();
        }
        self.forget_cancelled();
        self.outbox.flush();
    }

    /// The session of a running connection.
    fn session(&mut self) -> Result<&mut Session, AmqpError> {
        self.session.as_mut().ok_or_else(|| AmqpError::internal_error("no session"))
    }

    /// Its place in the list of open connections, which it has as long as its session.
    fn registration(&self) -> Result<&Registration, AmqpError> {
        self.registration.as_ref().ok_or_else(|| AmqpError::internal_error("no session"))
    }
}

/// The first frame of a message.
fn is_publish(frame: &Frame<'_>) -> bool {
    let id = basic::Publish::ID;
    let mut start = [0; 4];
    let (class, method) = start.split_at_mut(2);
    class.copy_from_slice(&id.class.to_be_bytes());
    method.copy_from_slice(&id.method.to_be_bytes());
    frame.kind == FrameKind::Method && frame.payload.starts_with(&start)
}

/// Declarations and the like share one wait for the disk; everything else waits for them, so that
/// answers leave in the order of their requests.
fn may_pass_gate(frame: &Frame<'_>) -> bool {
    let class = |payload: &[u8]| payload.first_chunk().map(|class| u16::from_be_bytes(*class));
    let definitions =
        [leveret_codec::exchange::Declare::ID.class, leveret_codec::queue::Declare::ID.class];
    match frame.kind {
        FrameKind::Heartbeat => true,
        FrameKind::Method => class(frame.payload).is_some_and(|class| definitions.contains(&class)),
        FrameKind::Header | FrameKind::Body => false,
    }
}

#[cfg(test)]
mod tests;

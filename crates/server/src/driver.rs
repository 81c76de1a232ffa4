//! The task that reads a connection's socket and drives its machine.

use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use leveret_broker::UNWRITTEN_JOURNAL_MAX;
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::admission::Guest;
use crate::clock;
use crate::connection::{Connection, Context, Next, Peer};
use crate::contained::contained;
use crate::control::Control;
use crate::outbox::Outbox;
use crate::socket::{Reader, Writer};
use crate::writer;

/// Bytes read at a time at first; doubled while reads fill them.
const READ_MIN: usize = 1024;
const READ_MAX: usize = 128 * 1024;
/// The same before the connection is open: a frame is no larger then.
const GUEST_READ_MAX: usize = 8 * 1024;
/// Bytes of input after which a connection lets others have their turn, though its client goes on
/// sending.
const SHARE: usize = 256 * 1024;
/// How often a connection that waits for the disk looks whether that is full.
const FULL_DISK_CHECK: Duration = Duration::from_millis(100);
/// How long a failed login is left without an answer to its hang-up, as RabbitMQ does.
pub(crate) const LOGIN_PENALTY: Duration = Duration::from_secs(3);
/// How long a client may take to agree to a close, and to fetch the broker's last words.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The same when the broker stops: together well under a second.
const STOP_TIMEOUT: Duration = Duration::from_millis(250);
/// Without heartbeats, how long a connection is silent before its buffers go.
const IDLE: Duration = Duration::from_secs(30);

/// Serves one client until it or the broker ends the connection.
///
/// As every connection has this future for as long as it lasts, what is large in it is only what
/// it needs all the time.
pub(crate) async fn serve(
    (reader, socket): (Reader, Writer),
    peer: Peer,
    guest: Guest,
    context: Arc<Context>,
    stop: CancellationToken,
) {
    let (mut driver, writes) = Driver::start((reader, socket), peer, guest, context, stop);
    if contained(driver.run()).await.is_err() {
        // It goes on from a state that nobody has thought of, and may well panic again.
        let _ = contained(async { driver.connection.give_up() }).await;
    }
    let end = async {
        driver.connection.end(clock::now());
        driver.take_leave().await;
    };
    let _ = contained(end).await;
    driver.outbox.finish();
    Box::pin(driver.part(writes)).await;
}

struct Driver {
    connection: Connection,
    control: Arc<Control>,
    context: Arc<Context>,
    outbox: Arc<Outbox>,
    reader: Reader,
    buffer: BytesMut,
    read_size: usize,
    /// When the client last sent more than heartbeats, unless it has rested since.
    worked_at: Option<Instant>,
    /// Bytes worked on since others had their turn.
    spent: usize,
    /// Held while its turns are long.
    long_work: Option<OwnedSemaphorePermit>,
    writer_gone: CancellationToken,
    stop: CancellationToken,
    /// Cancelled when the broker stops or somebody wants this connection closed.
    told: CancellationToken,
    /// Whether this connection has been told: the broker may have stopped while it was busy.
    is_stopping: bool,
    /// When the handshake, or the client's agreement to a close, is overdue.
    deadline: Option<Instant>,
    started: Instant,
    /// When deliveries are looked at that may wait too long for their settlement.
    next_check: Option<Instant>,
}

/// What waiting for the client came to.
enum Input {
    /// Or there is something to do without.
    Bytes,
    End,
    /// Nothing for so long that the client is taken for dead, or overdue.
    Silence,
    Stop,
    /// An operator wants the connection closed.
    Unwanted,
    /// The client's login has ended; it has been told.
    Expired,
}

/// Whether a client has fetched what it was sent.
enum Room {
    Found,
    /// The socket failed, or the broker stops.
    Never,
}

/// What waiting for memory and disk space came to.
enum Resources {
    Found,
    /// The socket failed.
    Never,
    /// The broker stops, or an operator closes the connection: the client is to be told. Or its
    /// login has ended, and it has been.
    Stop,
}

impl Driver {
    /// Makes a connection's machine, and has another task write what it answers.
    fn start(
        (reader, socket): (Reader, Writer),
        peer: Peer,
        guest: Guest,
        context: Arc<Context>,
        stop: CancellationToken,
    ) -> (Self, AbortOnDropHandle<io::Result<()>>) {
        tracing::debug!("accepting AMQP connection ({peer})");
        let outbox = Outbox::new(&context);
        let broker = Arc::clone(&context.broker);
        let writer_gone = CancellationToken::new();
        let guard = writer_gone.clone().drop_guard();
        let told = stop.child_token();
        let control = Arc::new(Control::new(Arc::clone(&outbox), told.clone()));
        let to = Peer { tls: None, certificate: None, ..peer };
        let connection = Connection::new(Arc::clone(&context), Arc::clone(&control), peer, guest);
        // A guest that loses its place takes its writer along.
        let writes = AbortOnDropHandle::new(tokio::spawn({
            let outbox = Arc::clone(&outbox);
            let traffic = Arc::clone(connection.traffic());
            async move {
                let _guard = guard;
                writer::write(socket, outbox, broker, &to, &traffic).await
            }
        }));
        let handshake_timeout = context.amqp.handshake_timeout;
        let driver = Self {
            connection,
            control,
            context,
            outbox,
            reader,
            buffer: BytesMut::new(),
            read_size: READ_MIN,
            worked_at: None,
            spent: 0,
            long_work: None,
            writer_gone,
            stop,
            told,
            is_stopping: false,
            deadline: Some(Instant::now() + handshake_timeout),
            started: Instant::now(),
            next_check: None,
        };
        (driver, writes)
    }

    /// Lets the client fetch what it was sent last. One that doesn't read doesn't keep the task.
    async fn part(self, writes: AbortOnDropHandle<io::Result<()>>) {
        let Self { reader, stop, .. } = self;
        patiently(CLOSE_TIMEOUT, &stop, writes).await;
        patiently(LOGIN_PENALTY, &stop, linger(reader)).await;
    }

    async fn run(&mut self) {
        loop {
            let received = self.connection.receive(&self.buffer, clock::now());
            self.buffer.advance(received.consumed);
            self.spent += received.consumed;
            if self.connection.has_worked() {
                self.worked_at = Some(Instant::now());
            }
            self.long_work = None;
            self.take_leave().await;
            match received.next {
                Next::Read => {
                    if self.spent >= SHARE {
                        self.let_others_go_on().await;
                    }
                }
                Next::Yield => {
                    if let Room::Never = self.wait_for_room().await {
                        return;
                    }
                    let may_go_on = self.may_go_on().await;
                    // Behind that wait: before it comes back to this task the runtime runs the
                    // others and looks for input, which it rarely does while there is work.
                    self.let_others_go_on().await;
                    if may_go_on {
                        continue;
                    }
                }
                Next::Wait(lsn) => {
                    let context = Arc::clone(&self.context);
                    match self.wait_for_disk(context.broker.store().durable(lsn)).await {
                        Room::Found => self.connection.durable(),
                        Room::Never => return,
                    }
                    if let Room::Never = self.wait_for_room().await {
                        return;
                    }
                    continue;
                }
                Next::Pause => match self.wait_for_room().await {
                    Room::Found => continue,
                    Room::Never => return,
                },
                Next::Hold => match self.wait_for_resources().await {
                    Resources::Found => continue,
                    Resources::Never => return,
                    Resources::Stop => {}
                },
                Next::Ask => match self.ask().await {
                    // Behind answers that were at hand: asking took no turn of its own then.
                    Resources::Found => {
                        self.let_others_go_on().await;
                        continue;
                    }
                    Resources::Never => return,
                    Resources::Stop => {}
                },
                Next::Close => return,
                Next::Refused => {
                    tokio::select! {
                        () = sleep(LOGIN_PENALTY) => {}
                        () = self.stop.cancelled() => {}
                    }
                    return;
                }
            }
            self.set_deadline();
            if let Room::Never = self.wait_for_room().await {
                return;
            }
            // The login may have ended meanwhile.
            self.take_leave().await;
            match self.read().await {
                Ok(Input::Bytes | Input::Expired) => {}
                Ok(Input::Stop) => {
                    self.is_stopping = true;
                    self.connection.shut_down();
                    self.deadline = Some(Instant::now() + STOP_TIMEOUT);
                    if !self.connection.is_closing() {
                        return;
                    }
                }
                Ok(Input::Unwanted) => {
                    let reason = self.control.take_reason().unwrap_or_default();
                    self.told = self.stop.child_token();
                    self.connection.close_for_operator(&reason);
                    if !self.connection.is_closing() {
                        return;
                    }
                }
                Ok(Input::Silence) => {
                    self.report_silence();
                    return;
                }
                Ok(Input::End) | Err(_) => {
                    if self.connection.is_open() {
                        tracing::warn!(
                            "closing AMQP connection ({}): client unexpectedly closed TCP \
                             connection",
                            self.connection.label()
                        );
                    }
                    return;
                }
            }
        }
    }

    /// The runtime would have this task go on for as long as its socket has more, and what it woke
    /// last, which may be its own writer, wait for it.
    async fn let_others_go_on(&mut self) {
        self.spent = 0;
        tokio::task::yield_now().await;
    }

    /// Has the queues of a session that has ended go, turn by turn.
    async fn take_leave(&mut self) {
        while self.connection.is_leaving() {
            self.may_go_on().await;
            self.let_others_go_on().await;
            self.connection.leave(clock::now());
            self.long_work = None;
        }
    }

    /// Waits until there are few enough others whose turns are long. `false` if the broker stops
    /// meanwhile, or an operator closes the connection.
    async fn may_go_on(&mut self) -> bool {
        let long_work = Arc::clone(&self.context.long_work);
        tokio::select! {
            biased;
            () = self.told.cancelled() => false,
            permit = long_work.acquire_owned() => {
                self.long_work = permit.ok();
                true
            }
        }
    }

    fn set_deadline(&mut self) {
        if self.connection.is_closing() {
            let limit = if self.is_stopping { STOP_TIMEOUT } else { CLOSE_TIMEOUT };
            self.deadline.get_or_insert_with(|| Instant::now() + limit);
        } else if self.connection.is_open() && self.deadline.take().is_some() {
            self.outbox.set_heartbeat(self.connection.heartbeat_seconds());
        }
    }

    /// Back-pressure: a client that doesn't fetch its answers, or publishes faster than the disk
    /// writes, isn't listened to until that has changed.
    async fn wait_for_room(&mut self) -> Room {
        let context = Arc::clone(&self.context);
        let store = context.broker.store();
        if self.connection.has_published() && store.buffered_bytes() > UNWRITTEN_JOURNAL_MAX {
            let writable = store.writable(UNWRITTEN_JOURNAL_MAX);
            if let Room::Never = self.wait_for_disk(writable).await {
                return Room::Never;
            }
        }
        // The disk has to take what publishers pile up that the journal does not have.
        if self.connection.piles_up()
            && let Room::Never = self.wait_while(|it| it.context.broker.is_paging_behind()).await
        {
            return Room::Never;
        }
        if self.connection.outruns_dead_letters()
            && let Room::Never = self.wait_while(|it| it.connection.outruns_dead_letters()).await
        {
            return Room::Never;
        }
        while self.outbox.is_unread() && !self.expire_login() {
            let expiry = self.expiry();
            tokio::select! {
                () = self.outbox.drained() => return Room::Found,
                () = self.writer_gone.cancelled() => return Room::Never,
                () = self.told.cancelled() => return Room::Never,
                () = self.control.permissions_change() => {
                    self.connection.check_permissions(clock::now());
                }
                () = until(expiry) => {}
            }
        }
        Room::Found
    }

    /// Waits for what needs nothing of any client, and ends as well if the disk takes nothing.
    async fn wait_while(&mut self, has_to_wait: impl Fn(&Self) -> bool) -> Room {
        let context = Arc::clone(&self.context);
        loop {
            let mut relieved = pin!(context.relief.notified());
            // Whoever is told from now on is told of.
            relieved.as_mut().enable();
            if !has_to_wait(self) || self.expire_login() {
                return Room::Found;
            }
            tokio::select! {
                () = relieved => {}
                () = self.writer_gone.cancelled() => return Room::Never,
                () = self.told.cancelled() => return Room::Found,
                () = self.control.permissions_change() => {
                    self.connection.check_permissions(clock::now());
                }
                () = until(self.expiry()) => {}
            }
        }
    }

    /// Waits for the journal. Should the disk be full the client is told; a broker that stops, and a
    /// client that goes, end the wait. The end of its login doesn't: what it is told comes behind the
    /// answers that wait for the disk.
    async fn wait_for_disk(&mut self, disk: impl Future<Output = ()>) -> Room {
        let mut disk = pin!(disk);
        let mut is_blocked = false;
        loop {
            tokio::select! {
                biased;
                () = &mut disk => {
                    if is_blocked {
                        self.connection.unblock_publishes();
                    }
                    return Room::Found;
                }
                () = self.writer_gone.cancelled() => return Room::Never,
                () = self.stop.cancelled(), if is_blocked => return Room::Never,
                () = sleep(FULL_DISK_CHECK) => {
                    self.expire_login();
                    if !is_blocked && self.context.broker.store().is_full() {
                        is_blocked = true;
                        self.connection.block("low on disk");
                    }
                }
            }
        }
    }

    /// Has somebody outside decide what the connection needs to go on. Boxed: few connections do.
    async fn ask(&mut self) -> Resources {
        let context = Arc::clone(&self.context);
        while let Some(asking) = self.connection.asking() {
            let asked = Instant::now();
            let answered = tokio::select! {
                answered = Box::pin(asking.ask(&context.backends)) => answered,
                () = self.writer_gone.cancelled() => return Resources::Never,
                () = self.told.cancelled() => return Resources::Stop,
            };
            // It was not the client that took the time.
            self.deadline = self.deadline.map(|deadline| deadline + asked.elapsed());
            self.connection.answered(answered);
        }
        Resources::Found
    }

    /// Waits for the end of a shortage; the client, which is about to publish, is told. It is not
    /// taken for dead meanwhile: nobody listens to it.
    async fn wait_for_resources(&mut self) -> Resources {
        let context = Arc::clone(&self.context);
        let mut shortage = context.shortage.clone();
        let Some(reason) = shortage.borrow_and_update().reason() else { return Resources::Found };
        self.connection.block(reason);
        while !self.expire_login() {
            let expiry = self.expiry();
            tokio::select! {
                biased;
                over = shortage.wait_for(|shortage| shortage.is_none()) => match over {
                    Ok(_) => {
                        self.connection.unblock_publishes();
                        return Resources::Found;
                    }
                    Err(_) => return Resources::Stop,
                },
                () = self.writer_gone.cancelled() => return Resources::Never,
                () = self.told.cancelled() => return Resources::Stop,
                () = self.control.permissions_change() => {
                    self.connection.check_permissions(clock::now());
                }
                () = until(expiry) => {}
            }
        }
        Resources::Stop
    }

    async fn read(&mut self) -> io::Result<Input> {
        let interval = Duration::from_secs(self.connection.heartbeat_seconds().into());
        // RabbitMQ gives a client two to three intervals; so does this, in five halves.
        let (slice, slices_max) =
            if interval.is_zero() { (IDLE, u32::MAX) } else { (interval / 2, 5) };
        let (mut slices, mut slice_end) = (0, Instant::now() + slice);
        // Heartbeats come before a slice ends, always, and are no work.
        if self.worked_at.is_some_and(|at| at.elapsed() >= slice) {
            self.rest();
        }
        loop {
            self.check_timeouts();
            if self.connection.has_more_to_do() {
                return Ok(Input::Bytes);
            }
            if self.buffer.capacity() - self.buffer.len() < self.read_size / 2 {
                self.buffer.reserve(self.read_size);
            }
            let others = [self.deadline, self.next_check, self.expiry()];
            let until = others.into_iter().flatten().fold(slice_end, Instant::min);
            let read = tokio::select! {
                biased;
                () = self.told.cancelled(), if !self.is_stopping => {
                    let stops = self.stop.is_cancelled();
                    return Ok(if stops { Input::Stop } else { Input::Unwanted });
                }
                read = timeout_at(until, self.reader.read_buf(&mut self.buffer)) => read,
                () = self.writer_gone.cancelled() => return Ok(Input::End),
                () = self.control.permissions_change() => {
                    self.connection.check_permissions(clock::now());
                    continue;
                }
            };
            match read {
                Ok(Ok(0)) => return Ok(Input::End),
                Ok(Ok(length)) => {
                    let traffic = self.connection.traffic();
                    traffic.received_bytes.add(length as u64);
                    traffic.reads.add(1);
                    self.adapt(length);
                    return Ok(Input::Bytes);
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    self.connection.check_expiry();
                    self.connection.check_shares();
                    let now = Instant::now();
                    if self.connection.is_closing() && self.deadline.is_none() {
                        return Ok(Input::Expired);
                    }
                    if self.deadline.is_some_and(|at| at <= now) {
                        return Ok(Input::Silence);
                    }
                    if now < slice_end {
                        continue;
                    }
                    (slices, slice_end) = (slices + 1, now + slice);
                    if slices >= slices_max {
                        return Ok(Input::Silence);
                    }
                    self.rest();
                }
            }
        }
    }

    /// Looks at deliveries that may wait too long, when it is time to.
    fn check_timeouts(&mut self) {
        let Some(interval) = self.connection.check_interval() else {
            self.next_check = None;
            return;
        };
        let now = Instant::now();
        let next = now + interval;
        if self.next_check.is_some_and(|at| at <= now) {
            self.connection.check_timeouts(now - self.started, clock::now());
            self.next_check = Some(next);
        } else {
            // A shorter timeout than those before asks for an earlier look.
            self.next_check = Some(self.next_check.map_or(next, |at| at.min(next)));
        }
    }

    /// Takes leave of a client whose login has ended: it is told, and has no consumers any more. Says
    /// whether that happened now.
    fn expire_login(&mut self) -> bool {
        let was_over = self.connection.is_over();
        self.connection.check_expiry();
        let is_expired = self.connection.is_over() && !was_over;
        if is_expired {
            self.set_deadline();
        }
        is_expired
    }

    /// When the client's login ends, if it does.
    fn expiry(&self) -> Option<Instant> {
        Instant::now().checked_add(self.connection.login_left()?)
    }

    /// Gives back what is kept for a busy client, unless it is about to go on.
    fn rest(&mut self) {
        if self.buffer.is_empty() {
            self.worked_at = None;
            self.buffer = BytesMut::new();
            self.read_size = READ_MIN;
            self.connection.release();
        }
    }

    /// Reads as much at a time as comes at a time.
    fn adapt(&mut self, length: usize) {
        if length >= self.read_size / 2 {
            let max = if self.connection.is_open() { READ_MAX } else { GUEST_READ_MAX };
            self.read_size = (self.read_size * 2).min(max);
        }
    }

    fn report_silence(&self) {
        let label = self.connection.label();
        if self.connection.is_over() {
            tracing::debug!("closing AMQP connection ({label}): the client didn't agree in time");
        } else if self.connection.is_open() {
            tracing::error!(
                "closing AMQP connection ({label}): missed heartbeats from client, timeout: {}s",
                self.connection.heartbeat_seconds()
            );
        } else if self.connection.may_log() {
            tracing::warn!("closing AMQP connection ({label}): handshake timeout");
        }
    }
}

/// Waits until then, or for ever.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => pending().await,
    }
}

/// Waits for what depends on a client, up to a limit, which is short once the broker stops.
async fn patiently<F: Future>(
    limit: Duration,
    stop: &CancellationToken,
    work: F,
) -> Option<F::Output> {
    let out_of_patience = async {
        stop.cancelled().await;
        sleep(STOP_TIMEOUT).await;
    };
    tokio::select! {
        done = timeout(limit, work) => done.ok(),
        () = out_of_patience => None,
    }
}

/// Reads and discards what the client still sends, so that its kernel doesn't throw the broker's
/// last words away for a reset.
async fn linger(mut reader: Reader) {
    let mut discarded = [0; 1024];
    while let Ok(1..) = reader.read(&mut discarded).await {}
}

#[cfg(test)]
mod tests;

//! Moving messages, queue by queue.
//!
//! A window of messages is on its way. What has come is sent to the broker here, as the frames it
//! came in; when that has it on disk, it is acknowledged there. So whatever ends in between, a
//! message is there, or here, or (those of one batch) in both places, and the next run goes on with
//! what is there. A stream keeps its messages there; here it goes on with the offset it has come to, and
//! compares the message before.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::amqp::{AmqpFailure, Arrived, Connection, Event, Offset};
use super::progress::Progress;
use super::source::{Queue, Source};
use super::stop::Stop;
use crate::at::At;
use crate::http::{Http, NoReply, part};

/// A batch that is as large, in messages or bytes, is sent without waiting for more.
const BATCH_MESSAGES: usize = 1000;
const BATCH_BYTES: usize = 4 << 20;
/// How long a batch waits for another message.
const LINGER: Duration = Duration::from_millis(20);
/// Bytes of messages that may be on their way, about.
const WINDOW_BYTES: u64 = 16 << 20;
const WINDOW_MESSAGES: u64 = 4000;
/// The window of queues of which it isn't known how large their messages are.
const WINDOW_UNKNOWN: u64 = 200;
/// How long nothing comes before it is asked whether there is anything.
const QUIET: Duration = Duration::from_secs(1);
/// How often it is asked without anything coming before it is given up.
const QUIET_MAX: u32 = 30;
/// How long to wait while the broker here takes nothing.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(1);

/// What became of a queue's messages.
#[derive(Clone, Debug)]
pub(super) struct Moved {
    pub(super) queue: Queue,
    /// Ready there before.
    pub(super) waiting: u64,
    pub(super) moved: u64,
    /// Ready there afterwards.
    pub(super) left: u64,
    /// Why some stayed.
    pub(super) failure: Option<String>,
}

/// Moves messages, or only counts them.
pub(super) struct Mover<'a> {
    source: &'a Source,
    target: &'a Http,
    stop: &'a Stop,
    counts_only: bool,
    progress: Progress,
    connection: Option<(String, Connection)>,
    queues: Vec<Moved>,
}

/// Messages that are on their way together.
#[derive(Default)]
struct Batch {
    frames: Vec<u8>,
    messages: usize,
    last_tag: u64,
    first_offset: Option<u64>,
}

/// Why the messages of a queue don't move.
enum Obstacle {
    There(AmqpFailure),
    Here(String),
}

impl From<AmqpFailure> for Obstacle {
    fn from(failure: AmqpFailure) -> Self {
        Self::There(failure)
    }
}

impl<'a> Mover<'a> {
    pub(super) fn new(
        source: &'a Source,
        target: &'a Http,
        stop: &'a Stop,
        counts_only: bool,
    ) -> Self {
        let progress = Progress::new();
        Self { source, target, stop, counts_only, progress, connection: None, queues: Vec::new() }
    }

    pub(super) fn into_queues(self) -> Vec<Moved> {
        self.queues
    }

    /// Moves the messages of these queues in turn, until it is stopped.
    pub(super) async fn move_all(&mut self, queues: &[Queue]) {
        for queue in queues.iter().filter(|queue| queue.is_defined && !queue.exclusive) {
            if self.stop.is_asked() {
                break;
            }
            let queue = queue.clone();
            let mut moved = Moved { queue, waiting: 0, moved: 0, left: 0, failure: None };
            if let Err(obstacle) = self.move_queue(&mut moved).await {
                moved.failure = Some(match obstacle {
                    Obstacle::Here(why) => format!("here: {why}"),
                    Obstacle::There(failure) => {
                        if !matches!(failure, AmqpFailure::Refused(_)) {
                            self.connection = None;
                        }
                        failure.to_string()
                    }
                });
            }
            self.progress.ended(&moved);
            self.queues.push(moved);
        }
        if let Some((_, connection)) = self.connection.take() {
            // Everything that moved has been acknowledged before.
            let _ = connection.close().await;
        }
    }

    async fn move_queue(&mut self, moved: &mut Moved) -> Result<(), Obstacle> {
        let queue = moved.queue.clone();
        let connection = self.connect(&queue.vhost).await?;
        moved.waiting = connection.ready(&queue.name).await?.into();
        moved.left = moved.waiting;
        if moved.waiting == 0 || self.counts_only {
            return Ok(());
        }
        let next_offset = self.place(&queue).await?;
        let outcome = if queue.is_stream() {
            self.copy_stream(moved, next_offset.unwrap_or_default()).await
        } else if queue.auto_delete {
            self.fetch(moved).await
        } else {
            self.consume(moved).await
        };
        // Also after a refusal here: what is on its way goes back, and is counted.
        let connection = self.connect(&queue.vhost).await?;
        connection.close_channel().await?;
        moved.left = connection.ready(&queue.name).await?.into();
        outcome
    }

    /// The connection to a vhost.
    async fn connect(&mut self, vhost: &str) -> Result<&mut Connection, AmqpFailure> {
        let is_there = self.connection.as_ref().is_some_and(|(own, _)| own == vhost);
        if !is_there {
            if let Some((_, other)) = self.connection.take() {
                other.close().await?;
            }
            let Source { user, password, .. } = self.source;
            let new = Connection::open(self.source.amqp(), user, password, vhost).await?;
            self.connection = Some((vhost.to_owned(), new));
        }
        let open = self.connection.as_mut().map(|(_, connection)| connection);
        open.ok_or_else(|| AmqpFailure::Closed("not connected".to_owned()))
    }

    /// Whether the queue is here; the offset a stream goes on with.
    async fn place(&self, queue: &Queue) -> Result<Option<u64>, Obstacle> {
        let reply = self.target.ask("GET", &path(queue), &[], &[]).await;
        let reply = reply.map_err(|none| Obstacle::Here(unanswered(none)))?;
        match reply.status.as_u16() {
            200 => Ok(reply.json().at("next_offset").as_u64()),
            404 => Err(Obstacle::Here("there is no such queue".to_owned())),
            _ => Err(Obstacle::Here(reply.reason())),
        }
    }

    /// Takes messages as a consumer, until there are none.
    async fn consume(&mut self, moved: &mut Moved) -> Result<(), Obstacle> {
        let queue = moved.queue.clone();
        let window = window(queue.message_bytes);
        self.connect(&queue.vhost).await?.consume(&queue.name, window, None).await?;
        let mut quiet = 0;
        let mut expected = moved.waiting;
        while !self.stop.is_asked() {
            let in_all =
                usize::try_from(expected.saturating_sub(moved.moved)).unwrap_or(usize::MAX);
            let mut batch = Batch::default();
            self.gather(&queue, &mut batch, in_all.clamp(1, BATCH_MESSAGES)).await?;
            let had_some = batch.messages > 0;
            self.hand_over(moved, batch).await?;
            quiet = if had_some { 0 } else { quiet + 1 };
            if had_some && moved.moved < expected {
                continue;
            }
            // What comes before the answer was sent before it was counted.
            let mut batch = Batch::default();
            let ready = self.ask_ready(&queue, &mut batch).await?;
            let is_empty = ready == 0 && batch.messages == 0;
            self.hand_over(moved, batch).await?;
            if is_empty {
                return Ok(());
            }
            expected = moved.moved + u64::from(ready);
            if quiet >= QUIET_MAX {
                let why = "no more came, though some are ready: another consumer has precedence";
                return Err(AmqpFailure::Refused(why.to_owned()).into());
            }
        }
        Ok(())
    }

    /// Fetches messages one by one, until there are none: for queues that would go with their last
    /// consumer, and with it what is in them.
    async fn fetch(&mut self, moved: &mut Moved) -> Result<(), Obstacle> {
        let queue = moved.queue.clone();
        let at_once = usize::from(window(queue.message_bytes)).min(BATCH_MESSAGES);
        let mut is_empty = false;
        while !is_empty && !self.stop.is_asked() {
            let connection = self.connect(&queue.vhost).await?;
            connection.get(&queue.name, at_once).await?;
            let mut batch = Batch::default();
            for _ in 0..at_once {
                match connection.answer().await? {
                    Event::Message(message) => batch.push(&message),
                    _ => is_empty = true,
                }
            }
            self.hand_over(moved, batch).await?;
        }
        Ok(())
    }

    /// Reads a stream from an offset on, until no more comes.
    async fn copy_stream(&mut self, moved: &mut Moved, next: u64) -> Result<(), Obstacle> {
        let queue = moved.queue.clone();
        // The last one that is here comes again, and has to be the same.
        let from = next.checked_sub(1).map_or(Offset::First, Offset::Number);
        let window = window(queue.message_bytes);
        self.connect(&queue.vhost).await?.consume(&queue.name, window, Some(from)).await?;
        while !self.stop.is_asked() {
            let mut batch = Batch::default();
            self.gather(&queue, &mut batch, BATCH_MESSAGES).await?;
            if batch.messages == 0 {
                return Ok(());
            }
            self.hand_over(moved, batch).await?;
        }
        Ok(())
    }

    /// Waits for messages, as long as some come, it isn't stopped and the batch is not full.
    async fn gather(
        &mut self,
        queue: &Queue,
        batch: &mut Batch,
        most: usize,
    ) -> Result<(), AmqpFailure> {
        let stop = self.stop;
        let connection = self.connect(&queue.vhost).await?;
        while batch.messages < most && batch.frames.len() < BATCH_BYTES {
            let patience = if batch.messages == 0 { QUIET } else { LINGER };
            let event = tokio::select! {
                event = timeout(patience, connection.event()) => event,
                () = stop.asked() => return Ok(()),
            };
            match event {
                Ok(Ok(Event::Message(message))) => batch.push(&message),
                Ok(Ok(_)) => {}
                Ok(Err(failure)) => return Err(failure),
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Asks how many are ready, and takes what comes before the answer.
    async fn ask_ready(&mut self, queue: &Queue, batch: &mut Batch) -> Result<u32, AmqpFailure> {
        let connection = self.connect(&queue.vhost).await?;
        connection.ask_ready(&queue.name).await?;
        loop {
            match connection.answer().await? {
                Event::Message(message) => batch.push(&message),
                Event::Ready(count) => return Ok(count),
                _ => {}
            }
        }
    }

    /// Sends a batch to the broker here, waits until it is on disk, and acknowledges it there.
    async fn hand_over(&mut self, moved: &mut Moved, batch: Batch) -> Result<(), Obstacle> {
        if batch.messages == 0 {
            return Ok(());
        }
        let mut path = path(&moved.queue);
        if let Some(offset) = batch.first_offset {
            path += &format!("?first-offset={offset}");
        }
        let taken = loop {
            let reply = self.target.ask("POST", &path, &batch.frames, &[]).await;
            let reply = reply.map_err(|none| Obstacle::Here(unanswered(none)))?;
            match reply.status.as_u16() {
                200 => break reply.json().at("messages").as_u64().unwrap_or_default(),
                503 if self.stop.is_asked() => return Ok(()),
                503 => {
                    self.progress.waits(&reply.reason());
                    sleep(SHORTAGE_PAUSE).await;
                }
                _ => return Err(Obstacle::Here(reply.reason())),
            }
        };
        moved.moved += taken;
        self.progress.advanced(moved, taken, batch.frames.len() as u64);
        let connection = self.connect(&moved.queue.vhost).await?;
        Ok(connection.ack_through(batch.last_tag).await?)
    }
}

impl Batch {
    fn push(&mut self, message: &Arrived) {
        if self.messages == 0 {
            self.first_offset = message.offset;
        }
        self.frames.extend_from_slice(&message.frames);
        self.messages += 1;
        self.last_tag = message.tag;
    }
}

/// Messages that may be on their way at a time.
fn window(message_bytes: Option<u64>) -> u16 {
    let messages = message_bytes.map_or(WINDOW_UNKNOWN, |bytes| WINDOW_BYTES / bytes.max(1));
    u16::try_from(messages.clamp(1, WINDOW_MESSAGES)).unwrap_or(u16::MAX)
}

/// Where a queue's messages are handed over.
fn path(queue: &Queue) -> String {
    format!("/control/messages/{}/{}", part(&queue.vhost), part(&queue.name))
}

fn unanswered(none: NoReply) -> String {
    match none {
        NoReply::Unreachable(error) => error.to_string(),
        NoReply::TimedOut(after) => format!("no answer within {} s", after.as_secs()),
        NoReply::Broken(why) => why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_smaller_for_larger_messages() {
        assert_eq!(window(None), 200);
        assert_eq!(window(Some(0)), 4000);
        assert_eq!(window(Some(100)), 4000);
        assert_eq!(window(Some(1 << 20)), 16);
        assert_eq!(window(Some(1 << 30)), 1);
    }
}

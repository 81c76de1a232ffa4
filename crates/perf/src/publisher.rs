use std::num::NonZeroU64;
use std::time::Duration;

use leveret_codec::{FrameKind, Method, basic, channel, split};

use crate::client::{CHANNEL, Client, refuse_close};
use crate::clock::Nanos;
use crate::control::{Control, Finish, Meter};
use crate::error::ClientError;
use crate::latency::Recorder;
use crate::pace::Pace;
use crate::template::Template;
use crate::window::{ConfirmWindow, Verdict, recording};

/// The longest a publisher waits for its next message to be due before it looks around.
const WAIT_MAX: Nanos = Nanos(50_000_000);

/// A connection that publishes, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Publisher<'a> {
    pub(crate) client: Client,
    pub(crate) template: Template,
    /// `None` for no confirms.
    pub(crate) window: Option<ConfirmWindow>,
    /// Messages a second; `None` for as many as the broker takes.
    pub(crate) rate: Option<u64>,
    /// How far into the time between two messages its first is due, of all of it: so that thousands
    /// of publishers don't send at once.
    pub(crate) phase: (u16, u16),
    /// How many to send at most.
    pub(crate) limit: u64,
    pub(crate) control: &'a Control,
    /// Counts what is sent.
    pub(crate) meter: &'a Meter,
}

/// What a publisher did.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) sent: u64,
    pub(crate) confirmed: u64,
    /// Refused with `basic.nack`.
    pub(crate) refused: u64,
    /// Given back with `basic.return`.
    pub(crate) returned: u64,
    /// How often the broker said that it was short of something.
    pub(crate) blocked: u64,
    /// How long after a message was due its confirm came.
    pub(crate) confirm_latency: Recorder,
    /// How late the publisher's own timer was.
    pub(crate) lateness: Recorder,
    /// When the broker had taken everything.
    pub(crate) end: Nanos,
}

impl Published {
    fn new() -> Self {
        Self {
            sent: 0,
            confirmed: 0,
            refused: 0,
            returned: 0,
            blocked: 0,
            confirm_latency: Recorder::new(),
            lateness: Recorder::new(),
            end: Nanos(0),
        }
    }
}

/// Whether the broker has closed the channel at our request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Channel {
    Open,
    Closed,
}

impl Publisher<'_> {
    /// Publishes until told to stop or there is nothing left to send, and until everything is
    /// confirmed.
    pub(crate) fn run(mut self) -> Result<Published, ClientError> {
        let _finish = Finish(self.meter);
        let mut result = Published::new();
        if self.window.is_some() {
            self.client.send(|out| {
                leveret_codec::confirm::Select { nowait: false }.encode_frame(CHANNEL, out);
            })?;
            self.client.expect(leveret_codec::confirm::SelectOk::ID, |_| ())?;
        }
        let start = self.control.wait_for_start();
        match self.rate {
            Some(rate) => {
                let (part, of) = self.phase;
                self.publish_at(&Pace::new(start, rate).delayed(part, of), &mut result)?;
            }
            None => self.publish_at_will(&mut result)?,
        }
        self.wait_for_confirms(&mut result)?;
        self.close(&mut result)?;
        Ok(result)
    }

    fn publish_at_will(&mut self, result: &mut Published) -> Result<(), ClientError> {
        while !self.is_over() {
            if self.window.as_ref().is_some_and(|window| !window.is_worth_writing()) {
                self.read(result)?;
                continue;
            }
            let now = self.control.clock.now();
            // One message of each write is timed: enough for a distribution, and nothing to pay.
            let first = self.template.sequence();
            self.write(u64::MAX, now, |sequence| (sequence == first).then_some(now))?;
            if self.window.is_none() {
                self.look_for_answers(result)?;
            }
        }
        Ok(())
    }

    fn publish_at(&mut self, pace: &Pace, result: &mut Published) -> Result<(), ClientError> {
        // The default lets the kernel be 50 us late. A system that refuses is merely less precise.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let mut was_idle = false;
        while !self.is_over() {
            let now = self.control.clock.now();
            let sequence = self.template.sequence();
            let most = pace.due_by(now).saturating_sub(sequence);
            if most == 0 {
                let wait = pace.due_at(sequence).since(now).min(WAIT_MAX);
                if self.client.wait_readable(wait)? {
                    self.read(result)?;
                }
                was_idle = true;
                continue;
            }
            if self.window.as_ref().is_some_and(|window| window.credit() == 0) {
                self.read(result)?;
                was_idle = false;
                continue;
            }
            // A timer that fires late is the generator's fault and not the broker's: such messages
            // count from now. After anything the broker held up they count from when they were due.
            if was_idle {
                result.lateness.record(now.since(pace.due_at(sequence)));
                self.write(most, now, |_| Some(now))?;
            } else {
                self.write(most, now, |sequence| Some(pace.due_at(sequence)))?;
            }
            was_idle = false;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.template.sequence() >= self.limit || self.control.publishing_is_over()
    }

    /// Writes at most `most` messages, as the window and the limit allow.
    #[inline]
    fn write(
        &mut self,
        most: u64,
        now: Nanos,
        due: impl Fn(u64) -> Option<Nanos>,
    ) -> Result<(), ClientError> {
        let first = self.template.sequence();
        let credit = self.window.as_ref().map_or(u64::MAX, ConfirmWindow::credit);
        let most = most.min(credit).min(self.limit - first);
        let (frames, count) = self.template.take(most, &due);
        self.client.send_bytes(frames)?;
        if let Some(window) = &mut self.window {
            for sequence in first..first + count {
                window.sent(due(sequence).unwrap_or(now));
            }
        }
        self.meter.set(first + count, now);
        Ok(())
    }

    /// Reads without waiting.
    fn look_for_answers(&mut self, result: &mut Published) -> Result<(), ClientError> {
        if self.client.wait_readable(Nanos(0))? {
            self.read(result)?;
        }
        Ok(())
    }

    /// Reads what the broker says, waiting for it.
    fn read(&mut self, result: &mut Published) -> Result<Channel, ClientError> {
        self.client.fill("waiting for confirms")?;
        let now = self.control.clock.now();
        let from = self.control.measured_from();
        let mut channel = Channel::Open;
        while let Some((frame, used)) = split(self.client.unread(), self.client.frame_max())? {
            if frame.kind == FrameKind::Method {
                let latency = recording(&mut result.confirm_latency, from, now);
                match (Method::decode(frame.payload)?, &mut self.window) {
                    (Method::BasicAck(ack), Some(window)) => {
                        window.settle(
                            ack.delivery_tag,
                            ack.multiple,
                            Verdict::Confirmed,
                            latency,
                        )?;
                    }
                    (Method::BasicNack(nack), Some(window)) => {
                        window.settle(
                            nack.delivery_tag,
                            nack.multiple,
                            Verdict::Refused,
                            |_| (),
                        )?;
                    }
                    (Method::BasicReturn(basic::Return { .. }), _) => result.returned += 1,
                    (Method::ConnectionBlocked(_), _) => result.blocked += 1,
                    (Method::ChannelCloseOk(_), _) => channel = Channel::Closed,
                    (method, _) => refuse_close(&method)?,
                }
            }
            self.client.consume(used);
        }
        Ok(channel)
    }

    fn wait_for_confirms(&mut self, result: &mut Published) -> Result<(), ClientError> {
        while self.window.as_ref().is_some_and(|window| !window.is_settled()) {
            self.read(result)?;
        }
        Ok(())
    }

    /// Closes channel and connection: the answer says that the broker has taken everything.
    fn close(mut self, result: &mut Published) -> Result<(), ClientError> {
        let close =
            channel::Close { reply_code: 200, reply_text: "Goodbye", class_id: 0, method_id: 0 };
        self.client.send(|out| close.encode_frame(CHANNEL, out))?;
        self.client.set_read_timeout(CLOSE_PATIENCE)?;
        while self.read(result)? == Channel::Open {}
        result.end = self.control.clock.now();
        result.sent = self.template.sequence();
        if let Some(window) = &self.window {
            result.confirmed = window.confirmed();
            result.refused = window.refused();
        }
        self.client.close()
    }
}

/// How long a broker may take to read what is still in the socket.
const CLOSE_PATIENCE: Duration = Duration::from_mins(2);

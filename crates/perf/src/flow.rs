//! Messages from publishers to consumers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use leveret_codec::{Method, Table, queue};

use crate::broker::Broker;
use crate::client::{CHANNEL, Client};
use crate::clock::Nanos;
use crate::consumer::{Consumed, Consumer};
use crate::control::{Control, Meter, last, total};
use crate::error::{ClientError, PerfError};
use crate::latency::Recorder;
use crate::layout::Layout;
use crate::ledger::Ledger;
use crate::observer::{Gauge, Mark, Observer, Progress};
use crate::publisher::{Published, Publisher};
use crate::report::{Checked, Faults, Messages, Percentiles, Phase, Unit};
use crate::scenario::Flow;
use crate::stamp::Stamp;
use crate::template::{Ingredients, Template};
use crate::window::ConfirmWindow;

/// The most bytes of a consumer's buffer.
const CONSUMER_BYTES: usize = 512 << 10;
/// Bytes of a publisher's buffer, for confirms.
const PUBLISHER_BYTES: usize = 160 << 10;
/// The most bytes of all consumers' buffers, and of all that publishers have at hand to write.
const BUFFERS_BYTES: usize = 256 << 20;
/// The least of each, with room for a handshake and for what a wake-up brings.
const BUFFER_BYTES_MIN: usize = 16 << 10;
/// How long messages may take to show up in a queue's count.
const COUNT_PATIENCE: Duration = Duration::from_secs(5);

/// When the consumers start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// With the publishers.
    Together,
    /// When the publishers are done.
    FillThenDrain,
}

/// What a flow showed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) phases: Vec<Phase>,
    pub(crate) messages: Messages,
    pub(crate) latency: Option<Percentiles>,
    pub(crate) confirm_latency: Option<Percentiles>,
    pub(crate) lateness: Option<Percentiles>,
}

/// Runs a flow in queues of its own, which are removed again.
pub(crate) fn run(
    broker: &Broker,
    flow: &Flow,
    order: Order,
    progress: Progress,
) -> Result<Outcome, PerfError> {
    let layout = Layout::new(flow, &unique_prefix());
    let mut admin = broker.open("admin", PUBLISHER_BYTES)?;
    layout.declare(&mut admin).map_err(|source| broker.failed(source))?;
    let outcome = Run::new(broker, flow, &layout).carry_out(order, progress, &mut admin);
    // What failed first is what matters, and a broker in trouble may not answer any more.
    let left_over = match flow.keep {
        true => Ok(0),
        false => layout.remove(&mut admin).map_err(|source| broker.failed(source)),
    };
    let mut outcome = outcome?;
    let left_over = left_over?;
    if flow.consumers > 0 {
        outcome.messages.faults.left_over = left_over;
    }
    admin.close().map_err(|source| broker.failed(source))?;
    Ok(outcome)
}

/// Everything threads borrow.
struct Run<'a> {
    broker: &'a Broker,
    flow: &'a Flow,
    layout: &'a Layout<'a>,
    ledgers: Vec<Ledger>,
    control: Control,
    sent: Vec<Meter>,
    received: Vec<Meter>,
}

type Handles<'scope, T> = Vec<ScopedJoinHandle<'scope, Result<T, ClientError>>>;

impl<'a> Run<'a> {
    fn new(broker: &'a Broker, flow: &'a Flow, layout: &'a Layout<'a>) -> Self {
        let ledger =
            |queue| Ledger::new(layout.share(queue), layout.senders(queue), flow.publishers);
        let meters = |count: u16| (0..count).map(|_| Meter::default()).collect();
        Self {
            broker,
            flow,
            layout,
            ledgers: (0..flow.queues).map(ledger).collect(),
            control: Control::new(flow.warmup.into()),
            sent: meters(flow.publishers),
            received: meters(flow.consumers),
        }
    }

    fn carry_out(
        mut self,
        order: Order,
        progress: Progress,
        admin: &mut Client,
    ) -> Result<Outcome, PerfError> {
        let publishers =
            (0..self.flow.publishers).map(|_| self.broker.open("publisher", PUBLISHER_BYTES));
        let publishers = publishers.collect::<Result<Vec<_>, _>>()?;
        let bytes = share_of_buffers(self.flow.consumers).min(CONSUMER_BYTES);
        let consumers = (0..self.flow.consumers).map(|_| self.broker.open("consumer", bytes));
        let consumers = consumers.collect::<Result<Vec<_>, _>>()?;
        // Connecting is no part of the run.
        self.control = Control::new(self.flow.warmup.into());
        let run = &self;
        let mut observer = Observer::new(run.broker, progress, run.control.clock);
        thread::scope(|scope| {
            let publish = || -> Handles<'_, Published> {
                let clients = publishers.into_iter().zip(0..).zip(&run.sent);
                clients
                    .map(|((client, number), meter)| {
                        let publisher = run.publisher(client, number, meter);
                        scope.spawn(move || publisher.run())
                    })
                    .collect()
            };
            let consume = || -> Handles<'_, Consumed> {
                let clients = consumers.into_iter().zip(0..).zip(&run.received);
                clients
                    .map(|((client, number), meter)| {
                        let consumer = run.consumer(client, number, meter);
                        scope.spawn(move || consumer.run())
                    })
                    .collect()
            };
            let result = match order {
                Order::Together => run.together(&mut observer, publish, consume),
                Order::FillThenDrain => run.fill_then_drain(&mut observer, publish, consume),
            };
            // Whatever went wrong, no thread outlives the run.
            run.control.stop_publishing();
            run.control.stop_consuming();
            run.outcome(result?, admin)
        })
    }

    fn together<'scope>(
        &self,
        observer: &mut Observer<'_>,
        publish: impl FnOnce() -> Handles<'scope, Published>,
        consume: impl FnOnce() -> Handles<'scope, Consumed>,
    ) -> Result<Found, PerfError> {
        let consumers = consume();
        let publishers = publish();
        let base = self.watch_publishing(observer)?;
        let published = self.join(publishers)?;
        self.watch_draining(observer)?;
        let end = observer.mark()?;
        self.control.stop_consuming();
        let consumed = self.join(consumers)?;

        let (name, unit, count, last) = match self.flow.consumers {
            0 => ("publish", Unit::Publish, total(&self.sent) - base.sent, taken(&published)),
            _ => {
                let received = total(&self.received) - base.received;
                ("deliver", Unit::Delivery, received, last(&self.received))
            }
        };
        let phase = observer.phase(name, unit, count, (&base.mark, &end), last);
        Ok(Found { phases: vec![phase], published, consumed })
    }

    fn fill_then_drain<'scope>(
        &self,
        observer: &mut Observer<'_>,
        publish: impl FnOnce() -> Handles<'scope, Published>,
        consume: impl FnOnce() -> Handles<'scope, Consumed>,
    ) -> Result<Found, PerfError> {
        let publishers = publish();
        let base = self.watch_publishing(observer)?;
        let published = self.join(publishers)?;
        let filled = observer.mark()?;
        let sent = total(&self.sent) - base.sent;
        let marks = (&base.mark, &filled);
        let fill = observer.phase("fill", Unit::Publish, sent, marks, taken(&published));

        let filled = observer.mark()?;
        let consumers = consume();
        self.watch_draining(observer)?;
        let drained = observer.mark()?;
        self.control.stop_consuming();
        let consumed = self.join(consumers)?;
        let marks = (&filled, &drained);
        let received = total(&self.received);
        let last = last(&self.received);
        let drain = observer.phase("drain", Unit::Delivery, received, marks, last);
        Ok(Found { phases: vec![fill, drain], published, consumed })
    }

    /// Has publishers begin, waits until all are done, and tells them when it is time. Says how
    /// things stood when the warm-up was over, or at the start if that came to nothing.
    fn watch_publishing(&self, observer: &mut Observer<'_>) -> Result<Base, PerfError> {
        let warmup = Nanos::from(self.flow.warmup);
        let duration = Nanos::from(self.flow.duration);
        let mut base = self.base(observer)?;
        let start = self.control.start();
        let mut is_warm = warmup == Nanos(0);
        loop {
            observer.watch(&self.gauges(), |now| {
                let now = now.since(start);
                if now >= duration || self.received.iter().any(Meter::is_done) {
                    self.control.stop_publishing();
                }
                self.sent.iter().all(Meter::is_done) || (!is_warm && now >= warmup)
            })?;
            if self.sent.iter().all(Meter::is_done) {
                return Ok(base);
            }
            is_warm = true;
            base = self.base(observer)?;
        }
    }

    /// Waits until the consumers have what was sent, or it is clear that they will not get it.
    fn watch_draining(&self, observer: &mut Observer<'_>) -> Result<(), PerfError> {
        let timeout = Nanos::from(self.flow.drain_timeout);
        let expected = self.expected();
        let mut progress = (total(&self.received), self.control.clock.now());
        observer.watch(&self.gauges(), |now| {
            let received = total(&self.received);
            if received > progress.0 {
                progress = (received, now);
            }
            received >= expected
                || now.since(progress.1) >= timeout
                || self.received.iter().any(Meter::is_done)
        })
    }

    /// How many deliveries there are when everything arrives that was sent so far.
    fn expected(&self) -> u64 {
        match self.flow.consumers {
            0 => 0,
            _ => total(&self.sent) * self.layout.copies(),
        }
    }

    fn gauges(&self) -> [Gauge<'_>; 2] {
        [
            Gauge { label: "sent", meters: &self.sent },
            Gauge { label: "received", meters: &self.received },
        ]
    }

    fn base(&self, observer: &Observer<'_>) -> Result<Base, PerfError> {
        // Counted first: the mark begins with its time, and takes a while after that.
        let (sent, received) = (total(&self.sent), total(&self.received));
        Ok(Base { mark: observer.mark()?, sent, received })
    }

    fn join<T>(&self, handles: Handles<'_, T>) -> Result<Vec<T>, PerfError> {
        let results: Vec<_> = handles.into_iter().map(ScopedJoinHandle::join).collect();
        results
            .into_iter()
            .map(|result| match result {
                Ok(result) => result.map_err(|source| self.broker.failed(source)),
                Err(_) => Err(PerfError::ThreadLost),
            })
            .collect()
    }

    fn publisher<'r>(&'r self, client: Client, number: u16, meter: &'r Meter) -> Publisher<'r> {
        let flow = self.flow;
        let publishers = u64::from(flow.publishers);
        let share = |messages: u64| {
            let has_one_more = u64::from(number) < messages % publishers;
            messages / publishers + u64::from(has_one_more)
        };
        let ingredients = Ingredients {
            publisher: number,
            exchange: self.layout.exchange(),
            keys: &self.layout.keys(number),
            sizes: &flow.sizes,
            frame_max: client.frame_max(),
            write_bytes: flow.write_bytes.min(share_of_buffers(flow.publishers)),
        };
        Publisher {
            template: Template::new(&ingredients),
            client,
            window: flow.confirm_window.map(ConfirmWindow::new),
            rate: flow.rate,
            phase: (number, flow.publishers),
            limit: flow.messages.map_or(u64::MAX, share),
            control: &self.control,
            meter,
        }
    }

    fn consumer<'r>(&'r self, client: Client, number: u16, meter: &'r Meter) -> Consumer<'r> {
        let queues = self.layout.subscriptions(number).into_iter();
        let subscription = |queue: u16| {
            let ledger = self.ledgers.get(usize::from(queue))?;
            Some((self.layout.queue(queue), ledger))
        };
        Consumer {
            client,
            subscriptions: queues.filter_map(subscription).collect(),
            publishers: self.flow.publishers,
            settle: self.flow.settle,
            sizes: &self.flow.sizes,
            control: &self.control,
            meter,
        }
    }

    fn outcome(&self, found: Found, admin: &mut Client) -> Result<Outcome, PerfError> {
        let Found { phases, published, consumed } = found;
        let mut messages = Messages {
            published: published.iter().map(|one| one.sent).sum(),
            delivered: consumed.iter().map(|one| one.delivered).sum(),
            confirmed: published.iter().map(|one| one.confirmed).sum(),
            redelivered: consumed.iter().map(|one| one.redelivered).sum(),
            blocked: published.iter().map(|one| one.blocked).sum(),
            checked: Checked::CountOnly,
            faults: Faults {
                reordered: consumed.iter().map(|one| one.reordered).sum(),
                damaged: consumed.iter().map(|one| one.damaged).sum(),
                misrouted: consumed.iter().map(|one| one.misrouted).sum(),
                returned: published.iter().map(|one| one.returned).sum(),
                refused: published.iter().map(|one| one.refused).sum(),
                ..Faults::default()
            },
        };
        let faults = &mut messages.faults;
        if self.flow.confirm_window.is_some() {
            faults.unconfirmed = messages.published - messages.confirmed - faults.refused;
        }
        let expected = messages.published * self.layout.copies();
        if self.flow.consumers == 0 {
            let ready = self.count_ready(admin, expected)?;
            faults.lost = expected.saturating_sub(ready);
            faults.duplicated = ready.saturating_sub(expected);
        } else if self.flow.sizes.iter().all(|&size| size >= Stamp::IDENTITY_LEN) {
            messages.checked = Checked::EachMessage;
            let sent: Vec<_> = published.iter().map(|one| one.sent).collect();
            for findings in self.ledgers.iter().map(|ledger| ledger.findings(&sent)) {
                faults.lost += findings.lost;
                faults.duplicated += findings.duplicated;
                faults.misrouted += findings.misrouted;
            }
        } else {
            faults.lost = expected.saturating_sub(messages.delivered);
            faults.duplicated = messages.delivered.saturating_sub(expected);
        }
        Ok(Outcome {
            phases,
            messages,
            latency: percentiles(consumed.iter().map(|one| &one.latency)),
            confirm_latency: percentiles(published.iter().map(|one| &one.confirm_latency)),
            lateness: percentiles(published.iter().map(|one| &one.lateness)),
        })
    }

    /// Messages in the queues, as soon as all that are `expected` show up.
    fn count_ready(&self, admin: &mut Client, expected: u64) -> Result<u64, PerfError> {
        const STEP: Duration = Duration::from_millis(50);
        let deadline = Nanos(self.control.clock.now().0 + Nanos::from(COUNT_PATIENCE).0);
        loop {
            let mut ready = 0;
            for queue in 0..self.flow.queues {
                let name = self.layout.queue(queue);
                ready += messages_in(admin, &name).map_err(|source| self.broker.failed(source))?;
            }
            if ready >= expected || self.control.clock.now() >= deadline {
                return Ok(ready);
            }
            thread::sleep(STEP);
        }
    }
}

/// What the threads of a run brought back.
struct Found {
    phases: Vec<Phase>,
    published: Vec<Published>,
    consumed: Vec<Consumed>,
}

/// How things stood when measuring began.
struct Base {
    mark: Mark,
    sent: u64,
    received: u64,
}

/// When the broker had taken everything from all publishers.
fn taken(published: &[Published]) -> Nanos {
    published.iter().map(|one| one.end).max().unwrap_or_default()
}

/// Bytes of a buffer, of which there are so many.
fn share_of_buffers(count: u16) -> usize {
    (BUFFERS_BYTES / usize::from(count.max(1))).max(BUFFER_BYTES_MIN)
}

fn percentiles<'r>(recorders: impl Iterator<Item = &'r Recorder>) -> Option<Percentiles> {
    let mut sum = Recorder::new();
    recorders.for_each(|recorder| sum.absorb(recorder));
    sum.percentiles()
}

fn messages_in(client: &mut Client, name: &str) -> Result<u64, ClientError> {
    let declare = queue::Declare {
        queue: name,
        passive: true,
        durable: false,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: Table::EMPTY,
    };
    client.send(|out| declare.encode_frame(CHANNEL, out))?;
    client.expect(queue::DeclareOk::ID, |method| match method {
        Method::QueueDeclareOk(declared) => declared.message_count.into(),
        _ => 0,
    })
}

/// Runs at the same time, or one after the other, do not get in each other's way.
pub(crate) fn unique_prefix() -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    format!("leveret-perf.{}.{}", std::process::id(), RUNS.fetch_add(1, Relaxed))
}

use std::time::Duration;

use leveret_codec::{MethodId, Table, basic, channel};

use crate::assembly::{Arrival, Assembly};
use crate::client::{CHANNEL, Client, PATIENCE};
use crate::clock::Nanos;
use crate::control::{Control, Finish, Meter};
use crate::error::ClientError;
use crate::latency::Recorder;
use crate::ledger::{Ledger, Tracks};
use crate::scenario::Settle;

/// How often a consumer without deliveries looks whether it is over.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// A connection that consumes, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Consumer<'a> {
    pub(crate) client: Client,
    /// Queues and who keeps track of what comes from them.
    pub(crate) subscriptions: Vec<(String, &'a Ledger)>,
    pub(crate) publishers: u16,
    pub(crate) settle: Settle,
    /// The sizes a body can have.
    pub(crate) sizes: &'a [usize],
    pub(crate) control: &'a Control,
    /// Counts deliveries.
    pub(crate) meter: &'a Meter,
}

/// What a consumer got.
#[derive(Clone, Debug)]
pub(crate) struct Consumed {
    pub(crate) delivered: u64,
    pub(crate) redelivered: u64,
    /// Deliveries that came after one with a higher number.
    pub(crate) reordered: u64,
    /// Messages of publishers that do not send to the queue.
    pub(crate) misrouted: u64,
    /// Bodies that no publisher sent.
    pub(crate) damaged: u64,
    /// How long after they were due messages came.
    pub(crate) latency: Recorder,
}

impl Consumer<'_> {
    /// Consumes until told to stop.
    pub(crate) fn run(mut self) -> Result<Consumed, ClientError> {
        let _finish = Finish(self.meter);
        self.subscribe()?;
        let mut sink = Sink::new(&self);
        let mut assembly = Assembly::default();
        self.client.set_read_timeout(LOOK_AROUND)?;
        while !self.control.consuming_is_over() {
            match self.client.fill("consuming") {
                Ok(()) => {}
                Err(ClientError::Timeout { .. }) => continue,
                Err(error) => return Err(error),
            }
            self.take(&mut assembly, &mut sink, MethodId::NONE)?;
        }
        self.close_channel(&mut assembly, &mut sink)?;
        self.client.close()?;
        Ok(sink.into_result())
    }

    /// Without waiting for answers: deliveries may come before them.
    fn subscribe(&mut self) -> Result<(), ClientError> {
        let Self { client, subscriptions, settle, .. } = self;
        if let Settle::Ack { prefetch, .. } = *settle {
            let qos = basic::Qos { prefetch_size: 0, prefetch_count: prefetch, global: false };
            client.send(|out| qos.encode_frame(CHANNEL, out))?;
            client.expect(basic::QosOk::ID, |_| ())?;
        }
        client.send(|out| {
            for (number, (queue, _)) in subscriptions.iter().enumerate() {
                let consume = basic::Consume {
                    queue,
                    consumer_tag: &number.to_string(),
                    no_local: false,
                    no_ack: *settle == Settle::Auto,
                    exclusive: false,
                    nowait: true,
                    arguments: Table::EMPTY,
                };
                consume.encode_frame(CHANNEL, out);
            }
        })
    }

    /// Takes what was read; says whether `stop` was among it.
    #[inline]
    fn take(
        &mut self,
        assembly: &mut Assembly,
        sink: &mut Sink<'_>,
        stop: MethodId,
    ) -> Result<bool, ClientError> {
        sink.now = self.control.clock.now();
        sink.measured_from = self.control.measured_from();
        let (unread, frame_max) = (self.client.unread(), self.client.frame_max());
        let scanned = assembly.scan(unread, frame_max, stop, |arrival| sink.arrive(arrival))?;
        self.client.consume(scanned.used);
        self.meter.set(sink.delivered, sink.now);
        if !sink.acks.is_empty() {
            self.client.send_bytes(&sink.acks)?;
            sink.acks.clear();
        }
        Ok(scanned.is_stopped)
    }

    /// Acknowledges what is left and closes the channel, taking what is still under way.
    fn close_channel(
        &mut self,
        assembly: &mut Assembly,
        sink: &mut Sink<'_>,
    ) -> Result<(), ClientError> {
        sink.ack_rest();
        let close =
            channel::Close { reply_code: 200, reply_text: "Goodbye", class_id: 0, method_id: 0 };
        close.encode_frame(CHANNEL, &mut sink.acks);
        self.client.set_read_timeout(PATIENCE)?;
        let mut is_closed = self.take(assembly, sink, channel::CloseOk::ID)?;
        while !is_closed {
            self.client.fill("closing")?;
            is_closed = self.take(assembly, sink, channel::CloseOk::ID)?;
        }
        Ok(())
    }
}

/// Where arrivals go.
struct Sink<'a> {
    /// By subscription.
    tracks: Vec<Tracks<'a>>,
    publishers: u16,
    sizes: &'a [usize],
    settle: Settle,
    measured_from: Nanos,
    /// When the arrivals at hand were read.
    now: Nanos,
    delivered: u64,
    redelivered: u64,
    misrouted: u64,
    damaged: u64,
    unacked: u32,
    last_tag: u64,
    acks: Vec<u8>,
    latency: Recorder,
}

impl<'a> Sink<'a> {
    fn new(consumer: &Consumer<'a>) -> Self {
        Self {
            tracks: consumer.subscriptions.iter().map(|(_, ledger)| ledger.tracks()).collect(),
            publishers: consumer.publishers,
            sizes: consumer.sizes,
            settle: consumer.settle,
            measured_from: consumer.control.measured_from(),
            now: Nanos(0),
            delivered: 0,
            redelivered: 0,
            misrouted: 0,
            damaged: 0,
            unacked: 0,
            last_tag: 0,
            acks: Vec::new(),
            latency: Recorder::new(),
        }
    }

    #[inline]
    fn arrive(&mut self, arrival: &Arrival) {
        self.delivered += 1;
        self.redelivered += u64::from(arrival.redelivered);
        let has_known_size = self.sizes.iter().any(|&size| size as u64 == arrival.body_size);
        self.damaged += u64::from(!has_known_size);
        if let Some(stamp) = arrival.stamp {
            let tracks = self.tracks.get_mut(arrival.subscription);
            match tracks.and_then(|tracks| tracks.of(stamp.publisher)) {
                Some(track) => track.record(stamp.sequence),
                None if stamp.publisher < self.publishers => self.misrouted += 1,
                None => self.damaged += 1,
            }
            if let Some(due) = stamp.due
                && due >= self.measured_from
            {
                self.latency.record(self.now.since(due));
            }
        }
        if let Settle::Ack { every, .. } = self.settle {
            self.last_tag = arrival.delivery_tag;
            self.unacked += 1;
            if self.unacked >= every {
                self.ack_rest();
            }
        }
    }

    fn ack_rest(&mut self) {
        if self.unacked > 0 {
            let ack = basic::Ack { delivery_tag: self.last_tag, multiple: self.unacked > 1 };
            ack.encode_frame(CHANNEL, &mut self.acks);
            self.unacked = 0;
        }
    }

    fn into_result(self) -> Consumed {
        Consumed {
            delivered: self.delivered,
            redelivered: self.redelivered,
            reordered: self.tracks.into_iter().map(Tracks::close).sum(),
            misrouted: self.misrouted,
            damaged: self.damaged,
            latency: self.latency,
        }
    }
}

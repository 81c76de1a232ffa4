//! Alarms: whoever publishes waits while memory or disk space is short.
//!
//! The broker keeps score and says when an alarm is set or cleared; a front end measures, and holds
//! its publishers back. Both with RabbitMQ's behaviour: consumers, and everything that makes room,
//! go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

/// What may run short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Memory of the process: bytes in use, of which there may be too many.
    Memory,
    /// Disk space for the data: bytes free, of which there may be too few.
    Disk,
}

/// The resources that are short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shortage(u8);

/// What is told of each change of the shortage.
pub type AlarmListener = Arc<dyn Fn(Shortage) + Send + Sync>;

/// The node's alarms.
#[derive(Default)]
pub struct Alarms {
    gauges: Mutex<Gauges>,
    /// The shortage, for those who ask often.
    shortage: AtomicU8,
}

#[derive(Default)]
struct Gauges {
    memory: Gauge,
    disk: Gauge,
    listeners: Vec<AlarmListener>,
}

#[derive(Default)]
struct Gauge {
    limit: Option<u64>,
    measured: Option<u64>,
    pretended: Option<u64>,
    is_set: bool,
    times_set: u64,
}

/// An alarm at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlarmStatus {
    /// Whether it is set.
    pub is_set: bool,
    /// How often it was set.
    pub times_set: u64,
    /// The bytes last measured: in use of memory, free of disk space.
    pub bytes: Option<u64>,
    /// Above so many of memory, or below so many of disk space, it is set; never without.
    pub limit: Option<u64>,
}

impl Shortage {
    const fn bit(resource: Resource) -> u8 {
        match resource {
            Resource::Memory => 1,
            Resource::Disk => 2,
        }
    }

    /// Whether nothing is short.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether this resource is short.
    #[must_use]
    pub const fn has(self, resource: Resource) -> bool {
        self.0 & Self::bit(resource) != 0
    }

    /// The reason in RabbitMQ's `connection.blocked`, if something is short.
    #[must_use]
    pub const fn reason(self) -> Option<&'static str> {
        match (self.has(Resource::Memory), self.has(Resource::Disk)) {
            (true, true) => Some("low on memory & disk"),
            (true, false) => Some("low on memory"),
            (false, true) => Some("low on disk"),
            (false, false) => None,
        }
    }
}

impl Alarms {
    /// What is short now. Costs one atomic read.
    pub fn shortage(&self) -> Shortage {
        Shortage(self.shortage.load(Ordering::Acquire))
    }

    /// An alarm with its figures.
    pub fn status(&self, resource: Resource) -> AlarmStatus {
        let mut gauges = self.gauges.lock();
        let gauge = gauges.gauge(resource);
        AlarmStatus {
            is_set: gauge.is_set,
            times_set: gauge.times_set,
            bytes: gauge.bytes(),
            limit: gauge.limit,
        }
    }

    /// Sets from which number of bytes on a resource is short; `None` for never.
    pub fn set_limit(&self, resource: Resource, limit: Option<u64>) {
        self.change(resource, |gauge| gauge.limit = limit);
    }

    /// Tells what was measured: bytes of memory in use, bytes of disk space free.
    pub fn report(&self, resource: Resource, bytes: u64) {
        self.change(resource, |gauge| gauge.measured = Some(bytes));
    }

    /// Has a number stand in the place of what is measured, until it is `None` again: for tests of
    /// what an alarm does.
    pub fn pretend(&self, resource: Resource, bytes: Option<u64>) {
        self.change(resource, |gauge| gauge.pretended = bytes);
    }

    /// Has the listener told of each change of the shortage, in order, and of the one there is now.
    /// It must not call back.
    pub fn listen(&self, listener: AlarmListener) {
        let mut gauges = self.gauges.lock();
        listener(self.shortage());
        gauges.listeners.push(listener);
    }

    fn change(&self, resource: Resource, change: impl FnOnce(&mut Gauge)) {
        let mut gauges = self.gauges.lock();
        let gauge = gauges.gauge(resource);
        change(gauge);
        let is_short = gauge.is_short(resource);
        if is_short == gauge.is_set {
            return;
        }
        gauge.is_set = is_short;
        gauge.times_set += u64::from(is_short);
        gauge.log(resource);
        let bit = Shortage::bit(resource);
        let shortage = if is_short {
            self.shortage.fetch_or(bit, Ordering::AcqRel) | bit
        } else {
            self.shortage.fetch_and(!bit, Ordering::AcqRel) & !bit
        };
        gauges.listeners.iter().for_each(|listener| listener(Shortage(shortage)));
    }
}

impl Gauges {
    fn gauge(&mut self, resource: Resource) -> &mut Gauge {
        match resource {
            Resource::Memory => &mut self.memory,
            Resource::Disk => &mut self.disk,
        }
    }
}

/// An alarm is cleared once the resource is this part of the limit on the right side of it again, so
/// that it doesn't come and go with every message.
const MARGIN: u64 = 32;

impl Gauge {
    fn bytes(&self) -> Option<u64> {
        self.pretended.or(self.measured)
    }

    fn is_short(&self, resource: Resource) -> bool {
        let (Some(bytes), Some(limit)) = (self.bytes(), self.limit) else { return false };
        let margin = if self.is_set { limit / MARGIN } else { 0 };
        match resource {
            Resource::Memory => bytes > limit - margin,
            Resource::Disk => bytes < limit.saturating_add(margin),
        }
    }

    /// Begins as RabbitMQ's lines do, which people look for.
    fn log(&self, resource: Resource) {
        let mebibytes = |bytes: Option<u64>| bytes.unwrap_or_default() >> 20;
        let (bytes, limit) = (mebibytes(self.bytes()), mebibytes(self.limit));
        match (resource, self.is_set) {
            (Resource::Memory, true) => tracing::warn!(
                "memory resource limit alarm set: {bytes} MiB are in use, {limit} MiB may be. \
                 Publishers wait until consumers have made room, or \
                 alarms.vm_memory_high_watermark is raised"
            ),
            (Resource::Disk, true) => tracing::warn!(
                "disk resource limit alarm set: {bytes} MiB are free, {limit} MiB must be. \
                 Publishers wait until there is space, or alarms.disk_free_limit is lowered"
            ),
            (Resource::Memory, false) => tracing::warn!(
                "memory resource limit alarm cleared: {bytes} MiB are in use. Publishers go on"
            ),
            (Resource::Disk, false) => tracing::warn!(
                "disk resource limit alarm cleared: {bytes} MiB are free. Publishers go on"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited() -> Alarms {
        let alarms = Alarms::default();
        alarms.set_limit(Resource::Memory, Some(3200));
        alarms.set_limit(Resource::Disk, Some(320));
        alarms
    }

    #[test]
    fn memory_may_reach_its_limit_and_has_to_fall_below_it() {
        let alarms = limited();
        for (bytes, is_short) in [(3200, false), (3201, true), (3150, true), (3100, false)] {
            alarms.report(Resource::Memory, bytes);
            assert_eq!(alarms.shortage().has(Resource::Memory), is_short, "{bytes}");
        }
        let status = alarms.status(Resource::Memory);
        let expected =
            AlarmStatus { is_set: false, times_set: 1, bytes: Some(3100), limit: Some(3200) };
        assert_eq!(status, expected);
    }

    #[test]
    fn disk_space_may_fall_to_its_limit_and_has_to_rise_above_it() {
        let alarms = limited();
        for (bytes, is_short) in [(320, false), (319, true), (325, true), (330, false)] {
            alarms.report(Resource::Disk, bytes);
            assert_eq!(alarms.shortage().has(Resource::Disk), is_short, "{bytes}");
        }
    }

    #[test]
    fn reasons_are_rabbitmqs() {
        let alarms = limited();
        assert_eq!(alarms.shortage().reason(), None);
        alarms.report(Resource::Memory, u64::MAX);
        assert_eq!(alarms.shortage().reason(), Some("low on memory"));
        alarms.report(Resource::Disk, 0);
        assert_eq!(alarms.shortage().reason(), Some("low on memory & disk"));
        alarms.report(Resource::Memory, 0);
        assert_eq!(alarms.shortage().reason(), Some("low on disk"));
        alarms.set_limit(Resource::Disk, None);
        assert!(alarms.shortage().is_none());
    }

    #[test]
    fn what_is_pretended_stands_for_what_is_measured() {
        let alarms = limited();
        alarms.pretend(Resource::Memory, Some(5000));
        alarms.report(Resource::Memory, 1000);
        assert!(alarms.shortage().has(Resource::Memory));
        alarms.pretend(Resource::Memory, None);
        assert!(alarms.shortage().is_none());
    }

    #[test]
    fn listeners_hear_each_change_once() {
        let alarms = limited();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&heard);
        alarms.listen(Arc::new(move |shortage| listener.lock().push(shortage.reason())));
        for bytes in [0, 5000, 5000, 6000, 0, 0] {
            alarms.report(Resource::Memory, bytes);
        }
        assert_eq!(*heard.lock(), [None, Some("low on memory"), None]);
    }
}

//! The task that measures memory and disk space for the alarms.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use leveret_broker::{Broker, Resource, Shortage};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::{AlarmConfig, Limit, Storage};
use crate::resources;

/// How often it is measured: a fast network brings some hundred megabytes in this time.
const INTERVAL: Duration = Duration::from_millis(250);

/// More than allocators keep at hand.
const STIRRED: usize = 8 << 20;

/// Has freed memory go back to the system. The allocator (mimalloc) waits a little with that, and
/// then until it is next asked for much: for ever, if publishers wait and all is quiet.
fn stir_allocator() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(STIRRED)));
}

/// Sets the limits; what connections watch comes back.
pub(crate) fn set_up(broker: &Broker, config: &AlarmConfig) -> watch::Receiver<Shortage> {
    set_limits(broker, config);
    let (sender, receiver) = watch::channel(Shortage::default());
    broker.alarms().listen(Arc::new(move |shortage| {
        sender.send_replace(shortage);
    }));
    receiver
}

/// Sets the limits, also of a broker that runs.
pub(crate) fn set_limits(broker: &Broker, config: &AlarmConfig) {
    let limits = [
        (Resource::Memory, config.vm_memory_high_watermark, "memory"),
        (Resource::Disk, config.disk_free_limit, "disk space"),
    ];
    for (resource, limit, name) in limits {
        match limit_in_bytes(limit) {
            Some(limit) => tracing::debug!("alarm for {name} at {} MiB", limit >> 20),
            None => tracing::debug!("no alarm for {name}"),
        }
        set_limit(broker, resource, limit);
    }
}

/// Sets one limit. Also without one for disk space publishers wait when nothing is free, or the journal
/// can't grow.
pub fn set_limit(broker: &Broker, resource: Resource, limit: Limit) {
    let bytes = limit_in_bytes(limit);
    let bytes = match resource {
        Resource::Disk => bytes.or(Some(1)),
        Resource::Memory => bytes,
    };
    broker.alarms().set_limit(resource, bytes);
}

/// What a limit comes to on this machine, in bytes; `None` where there is none, or it is a part of a
/// memory whose size is unknown.
fn limit_in_bytes(limit: Limit) -> Option<u64> {
    match limit {
        Limit::None => None,
        Limit::Bytes(bytes) => Some(bytes),
        Limit::OfMemory(part) => resources::memory_available().map(|memory| part.of(memory)),
    }
}

/// Measures until the broker stops.
pub(crate) async fn run(broker: Arc<Broker>, storage: Storage, stop: CancellationToken) {
    let directory: Option<PathBuf> = match storage {
        Storage::Directory(directory) => Some(directory),
        Storage::Ephemeral => None,
    };
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let measures = async {
        loop {
            interval.tick().await;
            let alarms = broker.alarms();
            if let Some(bytes) = resources::memory_in_use() {
                alarms.report(Resource::Memory, bytes);
            }
            stir_allocator();
            if let Some(free) = directory.as_deref().and_then(resources::disk_free) {
                // The journal could not grow, whatever the file system says.
                let free = if broker.store().is_full() { 0 } else { free };
                alarms.report(Resource::Disk, free);
            }
        }
    };
    stop.run_until_cancelled(measures).await;
}

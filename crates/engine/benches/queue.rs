//! A message's way through a queue.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use leveret_codec::Properties;
use leveret_engine::{
    Admission, Body, ConsumerId, ConsumerSpec, Effect, Entry, Gate, Got, Lsn, Message,
    MessageArena, Millis, Pushed, Queue, QueueSettings, Return,
};

const NOW: Millis = Millis(1_000);
const BODY: [u8; 200] = [7; 200];

struct Open;

impl Gate for Open {
    fn admit(&mut self, _: ConsumerId) -> Admission {
        Admission::Ready
    }
}

fn message(arena: &mut MessageArena) -> Message {
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    arena.message(NOW, "exchange", "key", &properties, &[0x10, 0, 2], Body::Copy(&BODY))
}

fn queue(settings: QueueSettings, consumers: u64) -> Queue {
    let mut queue = Queue::new(settings);
    for id in 0..consumers {
        let added = queue.add_consumer(ConsumerSpec {
            id: ConsumerId(id),
            prefetch: 250,
            no_ack: false,
            exclusive: false,
            priority: 0,
        });
        assert!(added.is_ok());
    }
    queue
}

fn push(queue: &mut Queue, arena: &mut MessageArena, lsn: &mut u64) {
    *lsn += 1;
    let pushed = queue.push(Entry::new(Lsn(*lsn), message(arena)), NOW);
    assert!(matches!(pushed, Pushed::Accepted));
}

/// Settles what was delivered, as consumers that keep up do.
fn settle(queue: &mut Queue, effects: &mut Vec<Effect>) {
    for effect in effects.drain(..) {
        if let Effect::Deliver { consumer, entry } = effect {
            queue.settle(Some(consumer), 1, entry.message.size() as u64);
        }
    }
}

fn messages(c: &mut Criterion) {
    let mut arena = MessageArena::new();
    c.bench_function("make a message of 200 bytes", |b| {
        b.iter(|| black_box(message(&mut arena)));
    });
}

fn through(c: &mut Criterion) {
    let mut group = c.benchmark_group("push, dispatch, settle");
    let lives = QueueSettings { message_ttl: Some(Millis(60_000)), ..QueueSettings::default() };
    for (name, settings, consumers, batch) in [
        ("1 message", QueueSettings::default(), 1, 1),
        ("batch of 32", QueueSettings::default(), 1, 32),
        ("batch of 32, 10 consumers", QueueSettings::default(), 10, 32),
        ("batch of 32, time to live", lives, 1, 32),
    ] {
        let mut queue = queue(settings, consumers);
        let (mut arena, mut effects, mut lsn) = (MessageArena::new(), Vec::new(), 0);
        group.throughput(Throughput::Elements(batch));
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..batch {
                    push(&mut queue, &mut arena, &mut lsn);
                }
                queue.dispatch(NOW, &mut Open, &mut effects);
                settle(&mut queue, &mut effects);
            });
        });
        assert_eq!(queue.unacked_len(), 0);
    }
    group.finish();
}

fn backlog(c: &mut Criterion) {
    let mut group = c.benchmark_group("with 100000 ready");
    group.throughput(Throughput::Elements(1));
    let mut queue = queue(QueueSettings::default(), 0);
    let (mut arena, mut effects, mut lsn) = (MessageArena::new(), Vec::new(), 0);
    (0..100_000).for_each(|_| push(&mut queue, &mut arena, &mut lsn));
    group.bench_function("push and get", |b| {
        b.iter(|| {
            push(&mut queue, &mut arena, &mut lsn);
            black_box(queue.get(NOW, true, &mut effects))
        });
    });
    group.bench_function("get and requeue", |b| {
        b.iter(|| {
            if let Got::Message(entry) = queue.get(NOW, false, &mut effects) {
                queue.requeue(None, entry, Return::Released, NOW, &mut effects);
            }
        });
    });
    group.finish();
}

fn idle(c: &mut Criterion) {
    let mut queue = queue(QueueSettings::default(), 10);
    let mut effects = Vec::new();
    c.bench_function("dispatch with nothing to do", |b| {
        b.iter(|| black_box(&mut queue).dispatch(NOW, &mut Open, &mut effects));
    });
}

criterion_group!(benches, messages, through, backlog, idle);
criterion_main!(benches);

//! What a message costs in the codec: reading a publish with its header and body, writing a
//! delivery, reading and writing an acknowledgement.

#![allow(missing_docs, reason = "criterion generates a public function")]
#![allow(clippy::expect_used, reason = "a benchmark that misreads its own input should stop")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use leveret_codec::{
    ContentHeader, FrameKind, Method, Properties, Table, TableBuilder, TableLimits, Value, basic,
    encode_content, split,
};

const FRAME_MAX: u32 = 131_072;

fn publish(c: &mut Criterion) {
    let headers = TableBuilder::new()
        .put("trace", "0af7651916cd43dd8448eb211c80319c")
        .put("attempt", 3)
        .put("nested", TableBuilder::new().put("a", true).build().as_table())
        .build();
    let with_headers =
        Properties { headers: Some(headers.as_table()), delivery_mode: Some(2), ..<_>::default() };
    let persistent = Properties { delivery_mode: Some(2), ..<_>::default() };

    let mut group = c.benchmark_group("decode publish, header and body");
    for (name, properties) in [("persistent", persistent), ("headers", with_headers)] {
        let wire = publish_frames(&properties);
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |b| b.iter(|| read_frames(black_box(&wire))));
    }
    group.finish();
}

fn deliver(c: &mut Criterion) {
    let deliver = basic::Deliver {
        consumer_tag: "amq.ctag-s8kNK6s4AEg1BiCLlx7Uyg",
        delivery_tag: 123_456,
        redelivered: false,
        exchange: "orders",
        routing_key: "orders.created.eu",
    };
    let mut out = Vec::with_capacity(4096);
    c.bench_function("encode deliver", |b| {
        b.iter(|| {
            out.clear();
            black_box(deliver).encode_frame(black_box(1), &mut out);
            black_box(&out);
        });
    });
    c.bench_function("encode deliver, header and body", |b| {
        b.iter(|| {
            out.clear();
            black_box(deliver).encode_frame(black_box(1), &mut out);
            encode_content(1, black_box(&[0x10, 0, 2]), black_box(&[7; 100]), FRAME_MAX, &mut out);
            black_box(&out);
        });
    });
}

fn ack(c: &mut Criterion) {
    let ack = basic::Ack { delivery_tag: 123_456, multiple: true };
    let mut out = Vec::with_capacity(64);
    c.bench_function("encode ack", |b| {
        b.iter(|| {
            out.clear();
            black_box(ack).encode_frame(black_box(1), &mut out);
            black_box(&out);
        });
    });
    let mut wire = Vec::new();
    ack.encode_frame(1, &mut wire);
    c.bench_function("decode ack", |b| b.iter(|| read_frames(black_box(&wire))));
}

fn tables(c: &mut Criterion) {
    let table = (0..10_i64)
        .fold(TableBuilder::new(), |builder, n| {
            builder.put(&format!("header-{n}"), n).put(&format!("text-{n}"), Value::text("value"))
        })
        .build();
    let limits = TableLimits::default();
    c.bench_function("validate a table of 20 fields", |b| {
        b.iter(|| Table::parse(black_box(table.as_bytes()), &limits).is_ok());
    });
    c.bench_function("find the last of 20 fields", |b| {
        b.iter(|| black_box(table.as_table()).get(black_box("text-9")).is_some());
    });
}

fn publish_frames(properties: &Properties<'_>) -> Vec<u8> {
    let mut wire = Vec::new();
    basic::Publish {
        exchange: "orders",
        routing_key: "orders.created.eu",
        mandatory: false,
        immediate: false,
    }
    .encode_frame(1, &mut wire);
    let mut raw = Vec::new();
    properties.encode(&mut raw);
    encode_content(1, &raw, &[7; 100], FRAME_MAX, &mut wire);
    wire
}

/// Reads every frame, and what is in it.
fn read_frames(mut input: &[u8]) -> usize {
    let limits = TableLimits::default();
    let mut body = 0;
    while let Some((frame, used)) = split(input, FRAME_MAX).expect("sound frames") {
        match frame.kind {
            FrameKind::Method => {
                black_box(Method::decode(frame.payload).expect("a sound method"));
            }
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload).expect("a sound header");
                black_box(Properties::parse(header.properties, &limits).expect("properties"));
            }
            FrameKind::Body => body += frame.payload.len(),
            FrameKind::Heartbeat => {}
        }
        input = input.get(used..).unwrap_or_default();
    }
    body
}

criterion_group!(benches, publish, deliver, ack, tables);
criterion_main!(benches);

//! What takes the space, as text.

use leveret_broker::queue_names;
use leveret_store::offline::{Pin, QueueUsage, SegmentUsage, StoreUsage};

use super::{lines, queue_name, segment_name};

/// The usage as tables: queues by their bytes, segments by their age.
pub(super) fn text(usage: &StoreUsage) -> String {
    let names = queue_names(&usage.definitions);
    let mut queues: Vec<(String, &QueueUsage)> =
        usage.queues.iter().map(|(id, queue)| (queue_name(&names, *id), queue)).collect();
    queues.sort_by(|(name, a), (other, b)| {
        (b.live_bytes + b.dead_bytes).cmp(&(a.live_bytes + a.dead_bytes)).then(name.cmp(other))
    });
    let header = ["queue", "messages", "bytes", "dead messages", "dead bytes", "oldest LSN"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(queues.into_iter().map(|(name, queue)| {
        [
            name,
            queue.live_messages.to_string(),
            queue.live_bytes.to_string(),
            queue.dead_messages.to_string(),
            queue.dead_bytes.to_string(),
            queue.oldest.map_or_else(|| "-".to_owned(), |lsn| lsn.to_string()),
        ]
    }));
    let mut text = lines(&usage.damages) + &table(&rows) + "\n";

    let header = ["segment", "size", "used", "live messages", "live bytes", "kept by"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(usage.segments.iter().map(|segment| {
        [
            segment_name(segment.number),
            segment.size.to_string(),
            segment.used.to_string(),
            segment.live_messages.to_string(),
            segment.live_bytes.to_string(),
            pin(segment, &|queue| queue_name(&names, queue)),
        ]
    }));
    text += &table(&rows);
    let size: u64 = usage.segments.iter().map(|segment| segment.size).sum();
    let live: u64 = usage.segments.iter().map(|segment| segment.live_bytes).sum();
    text + &format!("\n{size} bytes of journal, {live} of them are messages that wait\n")
}

fn pin(segment: &SegmentUsage, name: &dyn Fn(u64) -> String) -> String {
    match segment.pin {
        Pin::Message { queue, lsn } => format!("LSN {lsn} in {}", name(queue)),
        Pin::Definitions => "definitions not yet in their tables".to_owned(),
        Pin::Older(number) => format!("segment {}, which must go first", segment_name(number)),
        Pin::Tail => "being the one written to".to_owned(),
        Pin::Spare => "being the next one".to_owned(),
        Pin::Nothing => "nothing: it goes when the broker runs".to_owned(),
    }
}

/// Columns, numbers to the right, the last one as it is.
fn table(rows: &[[String; 6]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let mut text = String::new();
    for [first, numbers @ .., last] in rows {
        let mut line = format!("{first:<0$}", width(0));
        for (column, cell) in numbers.iter().enumerate() {
            line += &format!("  {cell:>0$}", width(column + 1));
        }
        line += &format!("  {last}");
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use leveret_store::Lsn;

    use super::*;

    #[test]
    fn the_largest_queue_stands_first_and_segments_say_what_keeps_them() {
        let queue = |live_bytes, oldest| QueueUsage {
            live_messages: 2,
            live_bytes,
            dead_messages: 1,
            dead_bytes: 50,
            oldest,
        };
        let segment = |number, pin| SegmentUsage {
            number,
            size: 4096,
            used: 1000,
            live_bytes: 100,
            live_messages: 1,
            pin,
        };
        let usage = StoreUsage {
            queues: [(1, queue(100, Some(Lsn(5)))), (2, queue(12_000, None))].into(),
            segments: vec![
                segment(1, Pin::Message { queue: 1, lsn: Lsn(5) }),
                segment(2, Pin::Older(1)),
                segment(3, Pin::Tail),
            ],
            ..StoreUsage::default()
        };
        let expected = "\
queue            messages  bytes  dead messages  dead bytes  oldest LSN
deleted queue 2         2  12000              1          50  -
deleted queue 1         2    100              1          50  5

segment               size  used  live messages  live bytes  kept by
0000000000000001.seg  4096  1000              1         100  LSN 5 in deleted queue 1
0000000000000002.seg  4096  1000              1         100  segment 0000000000000001.seg, which must go first
0000000000000003.seg  4096  1000              1         100  being the one written to

12288 bytes of journal, 300 of them are messages that wait
";
        assert_eq!(text(&usage), expected);
    }
}

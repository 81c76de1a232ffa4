//! Takes records out of units that are not whole.

use crate::{
    encoding::Reader,
    record::{self, Record},
    unit::{self, UnitHeader},
};

/// Records that follow each other, with the LSN of the first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run<'a> {
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) bytes: &'a [u8],
}

/// The readable records of a unit whose header is sound and whose `body` is not.
pub(crate) fn from_body<'a>(header: &UnitHeader, body: &'a [u8]) -> Vec<Run<'a>> {
    let count = u64::from(header.count);
    let mut runs = Vec::new();
    let (mut index, mut at) = readable(body, count);
    if (index, at) == (count, body.len()) {
        // All are whole, yet some are not those that were written here: nobody can say which.
        return runs;
    }
    push(&mut runs, header.first, index, body.get(..at));
    let (sure, sure_index, sure_at) = (runs.len(), index, at);
    while index < count
        && let Some(next) = behind(body, at, index + 1 == count)
    {
        index += 1;
        let (taken, length) = readable(body.get(next..).unwrap_or_default(), count - index);
        push(&mut runs, header.first + index, taken, body.get(next..next + length));
        index += taken;
        at = next + length;
    }
    match (index == count, at == body.len()) {
        (true, true) => return runs,
        (false, false) => {}
        // One of the lengths was none.
        _ => {
            runs.truncate(sure);
            (index, at) = (sure_index, sure_at);
        }
    }
    // The length is lost: what reaches to the unit's end without a fault is counted from there.
    let most = (count - index).saturating_sub(1);
    if let Some(start) = to_the_end(body, at + 8, most) {
        let rest = body.get(start..).unwrap_or_default();
        let (taken, _) = readable(rest, most);
        push(&mut runs, header.first + (count - taken), taken, Some(rest));
    }
    runs
}

/// The first place from `from` on where records begin, `most` at most, that reach to the end without a fault.
pub(crate) fn to_the_end(bytes: &[u8], from: usize, most: u64) -> Option<usize> {
    (from..bytes.len()).step_by(8).find(|start| {
        let rest = bytes.get(*start..).unwrap_or_default();
        readable(rest, most).1 == rest.len()
    })
}

/// Where the record begins that follows the damaged one at `at`, if what that says of its own length can be
/// believed: the next record is there, or it `is_last` and the end, and no whole records are skipped.
pub(crate) fn behind(body: &[u8], at: usize, is_last: bool) -> Option<usize> {
    let next = at + record::length_at(body.get(at..)?)?;
    let follows = readable(body.get(next..)?, 1).0 == 1 || (is_last && next == body.len());
    let skips = (at + 8..next).step_by(8).any(|start| {
        let between = body.get(start..next).unwrap_or_default();
        readable(between, u64::MAX).1 == between.len()
    });
    (follows && !skips).then_some(next)
}

/// The records of a unit whose header is lost. They must fill `bytes`, which ends where the next unit
/// begins, and are counted back from `last`; none may be at or below `after`.
pub(crate) fn without_header(bytes: &[u8], last: u64, after: u64) -> Option<Run<'_>> {
    let (count, length) = readable(bytes, last.saturating_sub(after));
    if count == 0 || length != bytes.len() {
        return None;
    }
    Some(Run { first: last - count + 1, count: u32::try_from(count).ok()?, bytes })
}

/// The records of the last unit of a segment, whose header is lost: `bytes` are the header and all
/// that follows. Since what lies behind the unit is old, three of the header's four fields must agree
/// with the records and with `last`, the number before the next unit.
pub(crate) fn last_of_segment(bytes: &[u8], last: u64, after: u64) -> Option<Run<'_>> {
    let mut header = Reader(bytes.get(8..unit::HEADER)?);
    let (digest, count) = (header.u32()?, header.u32()?);
    let (_salt, first) = (header.u64()?, header.u64()?);
    let (_previous, _durable, length) = (header.u64()?, header.u64()?, header.u64()?);
    let body = bytes.get(unit::HEADER..)?;
    let mut reader = Reader(body);
    let mut crcs = crc32fast::Hasher::new();
    let mut read = 0;
    while u64::from(read) < last.saturating_sub(after) {
        let record = Record::read(&mut reader)?;
        crcs.update(&record.crc.to_le_bytes());
        read += 1;
        let end = body.len() - reader.0.len();
        let agreeing = [
            crcs.clone().finalize() == digest,
            read == count,
            end as u64 == length,
            first.checked_add(u64::from(read)) == last.checked_add(1),
        ];
        if agreeing.into_iter().filter(|agrees| *agrees).count() >= 3 {
            let first = last + 1 - u64::from(read);
            return Some(Run { first, count: read, bytes: body.get(..end)? });
        }
    }
    None
}

fn push<'a>(runs: &mut Vec<Run<'a>>, first: u64, count: u64, bytes: Option<&'a [u8]>) {
    if let (Ok(count @ 1..), Some(bytes)) = (u32::try_from(count), bytes) {
        runs.push(Run { first, count, bytes });
    }
}

/// How many whole records stand at the front of `bytes`, `most` at most, and their length.
fn readable(bytes: &[u8], most: u64) -> (u64, usize) {
    let mut reader = Reader(bytes);
    let mut count = 0;
    let mut length = 0;
    while count < most && Record::read(&mut reader).is_some() {
        count += 1;
        length = bytes.len() - reader.0.len();
    }
    (count, length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Batch;

    /// A unit of five messages, with the offsets of its records and of its end.
    fn unit_of_five() -> (UnitHeader, Vec<u8>, Vec<usize>) {
        let mut batch = Batch::new();
        let mut offsets = vec![0];
        for index in 0..5_u8 {
            batch.message(&[7], &[&vec![index; 20 * usize::from(index)]]);
            offsets.push(batch.bytes.len() - unit::HEADER);
        }
        let body = batch.bytes.get(unit::HEADER..).unwrap().to_vec();
        let digest = batch.digest.clone().finalize();
        let length = body.len() as u64;
        let header = UnitHeader { first: 10, count: 5, digest, length, ..UnitHeader::default() };
        (header, body, offsets)
    }

    fn numbers(runs: &[Run<'_>]) -> Vec<u64> {
        runs.iter().flat_map(|run| run.first..run.first + u64::from(run.count)).collect()
    }

    #[test]
    fn a_bad_record_costs_itself_alone() {
        let (header, body, offsets) = unit_of_five();
        for damaged in 0..5 {
            for byte in offsets[damaged]..offsets[damaged + 1] {
                let mut body = body.clone();
                body[byte] ^= 0x10;
                let runs = from_body(&header, &body);
                if header.vouches_for(&body) {
                    continue; // The padding, which belongs to nobody.
                }
                let found = numbers(&runs);
                let expected: Vec<u64> =
                    (10..15).filter(|lsn| *lsn != 10 + damaged as u64).collect();
                assert_eq!(found, expected, "byte {byte}");
            }
        }
    }

    /// It may lead to just behind the next record, or the one after that.
    #[test]
    fn a_wrong_length_gives_no_record_the_number_of_another() {
        let mut batch = Batch::new();
        for index in 0..9_u8 {
            batch.message(&[7], &[&[index; 32]]);
        }
        let whole = batch.bytes.get(unit::HEADER..).unwrap().to_vec();
        assert_eq!(whole.len(), 9 * 64);
        let digest = batch.digest.clone().finalize();
        let length = whole.len() as u64;
        let header = UnitHeader { first: 10, count: 9, digest, length, ..UnitHeader::default() };
        for damaged in 0..9 {
            for more in [64, 128, 192, 256] {
                let mut body = whole.clone();
                let at = damaged * 64 + 8;
                let length = u64::from_le_bytes(body[at..at + 8].try_into().unwrap()) + more;
                body[at..at + 8].copy_from_slice(&length.to_le_bytes());
                let found = numbers(&from_body(&header, &body));
                let expected: Vec<u64> =
                    (10..19).filter(|lsn| *lsn != 10 + damaged as u64).collect();
                assert_eq!(found, expected, "{damaged}, {more}");

                // One further on is damaged as well, the next one or one whose length is lost.
                for (other, byte) in [(damaged + 1, 40), (6, 14)] {
                    if (damaged + 1..8).contains(&other) {
                        let mut body = body.clone();
                        body[other * 64 + byte] ^= 0x10;
                        let bodies = from_body(&header, &body).into_iter().flat_map(|run| {
                            let bytes = run.bytes.chunks(64).map(|record| u64::from(record[63]));
                            (run.first..run.first + u64::from(run.count)).zip(bytes)
                        });
                        let bodies: Vec<(u64, u64)> = bodies.collect();
                        let is_right = |(lsn, body): &(u64, u64)| *lsn == 10 + *body;
                        assert!(
                            bodies.iter().all(is_right),
                            "{damaged}, {more}, {other}: {bodies:?}"
                        );
                        assert!(bodies.len() >= 9 - (other - damaged + 1), "{damaged}, {more}");
                    }
                }
            }
        }
    }

    #[test]
    fn of_whole_records_that_are_not_the_units_none_is_believed() {
        let (header, body, _) = unit_of_five();
        let header = UnitHeader { digest: !header.digest, ..header };
        assert_eq!(from_body(&header, &body), []);
    }

    #[test]
    fn records_without_their_header_are_counted_back() {
        let (_, body, offsets) = unit_of_five();
        assert_eq!(without_header(&body, 14, 9).map(|run| (run.first, run.count)), Some((10, 5)));
        assert_eq!(without_header(&body, 14, 10), None, "more records than numbers");
        assert_eq!(without_header(&body[8..], 14, 0), None);
        assert_eq!(without_header(&body[..offsets[4] + 8], 14, 0), None);
    }

    #[test]
    fn bytes_of_a_payload_are_not_taken_for_a_record() {
        let mut inner = Batch::new();
        inner.message(&[1], &[b"false"]);
        let inner = inner.bytes.get(unit::HEADER..).unwrap().to_vec();
        let mut batch = Batch::new();
        batch.message(&[7], &[&inner]);
        let mut body = batch.bytes.get(unit::HEADER..).unwrap().to_vec();
        body[9] ^= 1;
        let header =
            UnitHeader { first: 1, count: 1, length: body.len() as u64, ..UnitHeader::default() };
        assert_eq!(from_body(&header, &body), []);
    }
}

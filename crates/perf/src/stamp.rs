use crate::clock::Nanos;

/// What the first bytes of a body say about it.
///
/// A body of at least [`Stamp::IDENTITY_LEN`] bytes begins with the publisher (16 bits) and the
/// message's number (48 bits), one of at least [`Stamp::LEN`] goes on with the time it was due to
/// be sent. All numbers are big-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    /// Which publisher sent it, counted from 0.
    pub(crate) publisher: u16,
    /// The how-manieth of that publisher it is, counted from 0.
    pub(crate) sequence: u64,
    /// When it was due; `None` when its latency is not to be measured.
    pub(crate) due: Option<Nanos>,
}

impl Stamp {
    /// Bytes of a body that can say which message it is.
    pub(crate) const IDENTITY_LEN: usize = 8;
    /// Bytes of a body that can also say when it was sent.
    pub(crate) const LEN: usize = 16;

    const SEQUENCE_BITS: u32 = 48;
    const SEQUENCE_MASK: u64 = (1 << Self::SEQUENCE_BITS) - 1;

    /// Writes as much of the stamp as `body` has room for.
    #[inline]
    pub(crate) fn write(&self, body: &mut [u8]) {
        let identity = u64::from(self.publisher) << Self::SEQUENCE_BITS
            | (self.sequence & Self::SEQUENCE_MASK);
        let Some((start, rest)) = body.split_first_chunk_mut() else { return };
        *start = identity.to_be_bytes();
        if let Some(time) = rest.first_chunk_mut() {
            *time = self.due.map_or(0, |due| due.0).to_be_bytes();
        }
    }

    /// Reads the stamp of a body; `None` when the body is too short to have one.
    #[inline]
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let (identity, rest) = body.split_first_chunk()?;
        let identity = u64::from_be_bytes(*identity);
        let due = rest.first_chunk().map(|time| u64::from_be_bytes(*time));
        Some(Self {
            publisher: u16::try_from(identity >> Self::SEQUENCE_BITS).unwrap_or(u16::MAX),
            sequence: identity & Self::SEQUENCE_MASK,
            due: due.filter(|&time| time != 0).map(Nanos),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_as_far_as_the_body_reaches() {
        let stamp = Stamp { publisher: 7, sequence: (1 << 48) - 1, due: Some(Nanos(12_345)) };
        let mut body = [0; 20];
        stamp.write(&mut body);
        assert_eq!(Stamp::read(&body), Some(stamp));
        assert_eq!(Stamp::read(&body[..8]), Some(Stamp { due: None, ..stamp }));
        assert_eq!(Stamp::read(&body[..7]), None);
    }

    #[test]
    fn a_body_too_short_for_a_stamp_is_left_alone() {
        let mut body = [1; 7];
        Stamp { publisher: 1, sequence: 2, due: None }.write(&mut body);
        assert_eq!(body, [1; 7]);
    }

    #[test]
    fn no_time_is_no_measurement() {
        let stamp = Stamp { publisher: 0, sequence: 0, due: None };
        let mut body = [9; 16];
        stamp.write(&mut body);
        assert_eq!(Stamp::read(&body), Some(stamp));
    }
}

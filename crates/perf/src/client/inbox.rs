use std::io::{self, Read};

/// A buffer of fixed size between a socket and what looks for frames.
#[derive(Debug)]
pub(super) struct Inbox {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub(super) fn new(bytes: usize) -> Self {
        Self { buffer: vec![0; bytes].into_boxed_slice(), start: 0, end: 0 }
    }

    pub(super) fn capacity(&self) -> usize {
        self.buffer.len()
    }

    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// Moves what is unread to the front and reads once into the rest.
    ///
    /// # Errors
    /// As the socket; `UnexpectedEof` at its end, `OutOfMemory` if the buffer is full.
    #[inline]
    pub(super) fn fill(&mut self, source: &mut impl Read) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        if room.is_empty() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        loop {
            match source.read(room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.end += count;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unread_stays_over_a_fill() {
        let mut source: &[u8] = b"abcdefgh";
        let mut inbox = Inbox::new(4);
        inbox.fill(&mut source).unwrap();
        assert_eq!(inbox.unread(), b"abcd");
        inbox.consume(3);
        inbox.fill(&mut source).unwrap();
        assert_eq!(inbox.unread(), b"defg");
        assert_eq!(inbox.fill(&mut source).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        inbox.consume(9);
        inbox.fill(&mut source).unwrap();
        assert_eq!(inbox.unread(), b"h");
        assert_eq!(inbox.fill(&mut source).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

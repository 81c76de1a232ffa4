//! Memory that messages are read into, used again once all messages in it are gone.
//!
//! A backlog that is drained is read in pages of about the same size, one after the other, in one
//! thread, and let go of in others. An allocator that is asked for each keeps several times the
//! memory that is in use, and new memory costs the system a fault a page and us a round of zeroes.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

/// Smaller reads take memory of their own.
const SMALLEST: usize = 64 << 10;
/// So are larger ones: a queue's page is seldom larger.
const LARGEST: usize = 512 << 10;
/// Buffers that are kept when nothing is read: about as much as a queue reads ahead.
const KEPT: usize = 4;

/// Buffers that wait to be used again.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl ReadBuffers {
    /// A buffer of so many bytes. What is in it means nothing.
    pub(crate) fn take(&self, size: usize) -> ReadBuffer {
        if !(SMALLEST..=LARGEST).contains(&size) {
            return ReadBuffer { bytes: vec![0; size], size, home: Weak::new() };
        }
        let mut bytes = self.0.lock().pop().unwrap_or_default();
        if bytes.len() < size {
            // All of it at once: the next page is perhaps somewhat larger.
            bytes = vec![0; size.next_multiple_of(SMALLEST)];
        }
        ReadBuffer { bytes, size, home: Arc::downgrade(&self.0) }
    }
}

/// A buffer in use.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    size: usize,
    home: Weak<Mutex<Vec<Vec<u8>>>>,
}

impl ReadBuffer {
    /// What is read into.
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.size).unwrap_or_default()
    }

    /// What was read, which messages share.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.size).unwrap_or_default()
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else { return };
        let mut free = home.lock();
        if free.len() < KEPT {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(buffer: &mut ReadBuffer) -> *const u8 {
        buffer.as_mut().as_ptr()
    }

    #[test]
    fn a_buffer_is_used_again_when_all_messages_in_it_are_gone() {
        let buffers = ReadBuffers::default();
        let mut first = buffers.take(100 << 10);
        assert_eq!(first.as_mut().len(), 100 << 10);
        let at = place(&mut first);
        let bytes = first.freeze();
        let message = bytes.slice(10..20);
        drop(bytes);
        assert_ne!(place(&mut buffers.take(100 << 10)), at, "a message is still in it");
        drop(message);
        let mut again = [buffers.take(70 << 10), buffers.take(70 << 10)];
        assert!(again.iter_mut().any(|buffer| place(buffer) == at));
        assert!(again.iter_mut().all(|buffer| buffer.as_mut().len() == 70 << 10));
    }

    #[test]
    fn no_more_are_kept_than_are_read_ahead() {
        let buffers = ReadBuffers::default();
        let many: Vec<ReadBuffer> = (0..3 * KEPT).map(|_| buffers.take(SMALLEST)).collect();
        drop(many);
        assert_eq!(buffers.0.lock().len(), KEPT);
    }

    #[test]
    fn small_and_large_ones_are_not_kept() {
        let buffers = ReadBuffers::default();
        drop([buffers.take(0), buffers.take(SMALLEST - 1), buffers.take(LARGEST + 1)]);
        assert!(buffers.0.lock().is_empty());
    }

    #[test]
    fn a_buffer_may_outlive_the_store() {
        let buffers = ReadBuffers::default();
        let bytes = buffers.take(SMALLEST).freeze();
        drop(buffers);
        assert_eq!(bytes.len(), SMALLEST);
    }
}

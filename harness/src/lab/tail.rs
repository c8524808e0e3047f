//! The last bytes of an output that may be endless.

use std::collections::VecDeque;

/// How much of each stream is kept.
pub(super) const KEPT: usize = 256 * 1024;

/// The last [`KEPT`] bytes of a stream, and how many it had in all.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    total: u64,
}

impl Tail {
    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.bytes.extend(bytes);
        self.bytes.drain(..self.bytes.len().saturating_sub(KEPT));
    }

    /// The bytes kept, and how many there were in all.
    pub(super) fn get(&self) -> (Vec<u8>, u64) {
        (self.bytes.iter().copied().collect(), self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let mut tail = Tail::default();
        tail.push(&vec![b'a'; KEPT]);
        tail.push(b"end");
        let (bytes, total) = tail.get();
        assert_eq!((bytes.len(), total), (KEPT, KEPT as u64 + 3));
        assert!(bytes.ends_with(b"aend"));
    }
}

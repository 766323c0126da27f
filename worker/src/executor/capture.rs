//! Keeps what a process prints, up to the limit: the beginning and the end, and how much is missing.

use std::collections::VecDeque;

use gridctl_jobs::limits::OUTPUT_BYTES_MAX;

/// Room for the line that states the gap.
const GAP_LINE_BYTES_MAX: usize = 128;

/// One stream's output.
#[derive(Debug)]
pub(super) struct Capture {
    half_bytes: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// Bytes between head and tail that were let go.
    gap_bytes: u64,
}

impl Capture {
    pub(super) const fn new() -> Self {
        Self::with_limit(OUTPUT_BYTES_MAX)
    }

    const fn with_limit(bytes: usize) -> Self {
        Self {
            half_bytes: (bytes - GAP_LINE_BYTES_MAX) / 2,
            head: Vec::new(),
            tail: VecDeque::new(),
            gap_bytes: 0,
        }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        let room = self.half_bytes - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(self.half_bytes);
        self.tail.drain(..over);
        self.gap_bytes += over as u64;
    }

    /// Returns all that is kept; where the middle is missing a line says how much.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut all = self.head;
        if self.gap_bytes > 0 {
            let gap = self.gap_bytes;
            all.extend_from_slice(format!("\n[gridctl: {gap} bytes left out here]\n").as_bytes());
        }
        let (one, other) = self.tail.as_slices();
        all.extend_from_slice(one);
        all.extend_from_slice(other);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = GAP_LINE_BYTES_MAX + 20;

    #[test]
    fn what_fits_is_kept_as_it_is() {
        let mut capture = Capture::with_limit(LIMIT);
        capture.add(b"0123456789");
        capture.add(b"abcdefghij");
        assert_eq!(capture.finish(), b"0123456789abcdefghij");
    }

    #[test]
    fn of_what_does_not_fit_the_middle_is_left_out() {
        for piece in [1, 3, 7, 26] {
            let mut capture = Capture::with_limit(LIMIT);
            b"0123456789MIDDLEabcdefghij".chunks(piece).for_each(|bytes| capture.add(bytes));
            let kept = String::from_utf8(capture.finish()).unwrap();
            assert_eq!(kept, "0123456789\n[gridctl: 6 bytes left out here]\nabcdefghij");
        }
    }

    #[test]
    fn all_that_is_kept_fits_the_limit() {
        let mut capture = Capture::new();
        let piece = vec![b'x'; 1 << 20];
        (0..40).for_each(|_| capture.add(&piece));
        let kept = capture.finish();
        assert!(kept.len() <= OUTPUT_BYTES_MAX && kept.len() > OUTPUT_BYTES_MAX - 256);
    }
}

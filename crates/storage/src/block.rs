//! Checksums of the blocks of a section, each held against its bytes when it is first read.

use crate::{Bytes, crc32c};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bytes of a block in files written today: little to read before the first row of it is known to
/// be whole, and 4 bytes of table for each.
pub const BLOCK_BYTES: usize = 16 << 10;
/// Most bytes of a block.
pub const BLOCK_BYTES_MAX: usize = 64 << 10;
/// Bytes of a checksum.
const SUM: usize = 4;

/// The bytes of a section in blocks, of which each is verified at first touch and never again.
///
/// What is known is a bit a block, shared by all threads. Where all blocks are known to hold, a
/// touch is one comparison.
#[derive(Debug)]
pub struct Blocks {
    data: Bytes,
    sums: Bytes,
    /// The logarithm of the bytes of a block.
    shift: u32,
    held: Box<[AtomicU64]>,
    /// Blocks not known to hold.
    left: AtomicUsize,
    /// Times that a touch met damage, and where the last block of it begins.
    met: AtomicU64,
    last: AtomicUsize,
}

/// The checksums of the blocks of `data`, [`BLOCK_BYTES`] each but the last.
pub fn block_sums(data: &[u8]) -> Vec<u8> {
    data.chunks(BLOCK_BYTES).flat_map(|block| crc32c(block).to_le_bytes()).collect()
}

impl Blocks {
    /// `sums` has 4 bytes for each block of `size` bytes of `data`. `None` if it has more or
    /// fewer, or `size` is no power of two up to [`BLOCK_BYTES_MAX`].
    pub fn new(data: Bytes, sums: Bytes, size: usize) -> Option<Self> {
        let sizes = size.is_power_of_two() && size <= BLOCK_BYTES_MAX;
        let fits = sizes && sums.len() == data.len().div_ceil(size) * SUM;
        fits.then(|| Self::of(data, sums, size.trailing_zeros()))
    }

    /// All of `data` as one block, as files without a table have it.
    pub(crate) fn whole(data: Bytes, sum: u32) -> Self {
        let sums =
            if data.is_empty() { Bytes::default() } else { sum.to_le_bytes().to_vec().into() };
        Self::of(data, sums, usize::BITS - 1)
    }

    fn of(data: Bytes, sums: Bytes, shift: u32) -> Self {
        let count = sums.len() / SUM;
        let held = (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let (left, met, last) = (AtomicUsize::new(count), AtomicU64::new(0), AtomicUsize::new(0));
        Self { data, sums, shift, held, left, met, last }
    }

    /// The bytes.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Whether every block is known to hold.
    #[inline]
    pub fn is_whole(&self) -> bool {
        // What was verified never changes, so nothing is to be ordered after these loads.
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Whether the blocks with `range` in them are known to hold. A load for each.
    #[inline]
    pub fn holds(&self, range: &Range<usize>) -> bool {
        if range.is_empty() {
            return true;
        }
        let (first, last) = (range.start >> self.shift, (range.end - 1) >> self.shift);
        self.known(first) && (first == last || (first + 1..=last).all(|block| self.known(block)))
    }

    /// Whether `range` may be read: verifies the blocks that were not touched before, and counts
    /// the time if one of them is damaged.
    #[inline]
    pub fn touch(&self, range: Range<usize>) -> bool {
        self.is_whole() || self.holds(&range) || self.touch_anew(&range)
    }

    #[cold]
    fn touch_anew(&self, range: &Range<usize>) -> bool {
        let damaged = self.check(range);
        if let Some(at) = damaged {
            self.last.store(at, Ordering::Relaxed);
            self.met.fetch_add(1, Ordering::Release);
        }
        damaged.is_none()
    }

    /// Verifies the blocks with `range` in them that are not known to hold. Where the first
    /// damaged one begins, if there is one; it is not counted as met.
    ///
    /// # Panics
    /// If the range is not inside.
    pub fn check(&self, range: &Range<usize>) -> Option<usize> {
        assert!(range.end <= self.data.len(), "{range:?} of {}", self.data.len());
        if range.is_empty() {
            return None;
        }
        let blocks = range.start >> self.shift..=(range.end - 1) >> self.shift;
        let mut unknown = blocks.filter(|&block| !self.known(block));
        unknown.find(|&block| !self.verify(block)).map(|block| self.bytes_of(block).start)
    }

    /// The bytes of the first block not known to hold that does not begin before `from`.
    pub fn unknown(&self, from: usize) -> Option<Range<usize>> {
        let first = from.div_ceil(1 << self.shift);
        let block = (first..self.sums.len() / SUM).find(|&block| !self.known(block))?;
        Some(self.bytes_of(block))
    }

    /// Has `range` read from the disk while other work goes on.
    pub fn will_need(&self, range: Range<usize>) {
        self.data.will_need(range);
    }

    /// Times that a touch met a damaged block.
    #[inline]
    pub fn met(&self) -> u64 {
        self.met.load(Ordering::Acquire)
    }

    /// Where the block begins that was met damaged last.
    pub fn last_met(&self) -> usize {
        self.last.load(Ordering::Relaxed)
    }

    #[inline]
    fn known(&self, block: usize) -> bool {
        let word = self.held.get(block / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        word >> (block % 64) & 1 != 0
    }

    fn bytes_of(&self, block: usize) -> Range<usize> {
        let start = block << self.shift;
        start..start.saturating_add(1 << self.shift).min(self.data.len())
    }

    fn verify(&self, block: usize) -> bool {
        let range = self.bytes_of(block);
        self.data.will_need(range.clone());
        let sum = self.sums.get(block * SUM..).and_then(|sums| sums.first_chunk());
        let holds = sum.is_some_and(|sum| u32::from_le_bytes(*sum) == crc32c(&self.data[range]));
        if holds {
            let bit = 1 << (block % 64);
            // Only one thread takes it off what is left.
            if self.held[block / 64].fetch_or(bit, Ordering::Relaxed) & bit == 0 {
                self.left.fetch_sub(1, Ordering::Relaxed);
            }
        }
        holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 7 % 251) as u8).collect()
    }

    fn blocks(data: &[u8], sums: Vec<u8>) -> Blocks {
        Blocks::new(Bytes::copy_of(data), sums.into(), BLOCK_BYTES).unwrap()
    }

    #[test]
    fn blocks_are_verified_once_and_only_where_touched() {
        let data = sample(3 * BLOCK_BYTES + 5);
        let all = blocks(&data, block_sums(&data));
        assert!(!all.is_whole() && !all.holds(&(0..1)) && all.holds(&(7..7)));
        assert!(all.touch(BLOCK_BYTES - 1..BLOCK_BYTES + 1));
        assert!(all.holds(&(0..2 * BLOCK_BYTES)) && !all.holds(&(0..2 * BLOCK_BYTES + 1)));
        assert_eq!(all.unknown(0), Some(2 * BLOCK_BYTES..3 * BLOCK_BYTES));
        assert_eq!(all.unknown(2 * BLOCK_BYTES + 1), Some(3 * BLOCK_BYTES..data.len()));
        assert_eq!(all.check(&(0..data.len())), None);
        assert!(all.is_whole() && all.unknown(0).is_none() && all.met() == 0);
    }

    #[test]
    fn damage_is_met_where_it_is_and_counted_only_by_touches() {
        let mut data = sample(4 * BLOCK_BYTES);
        let sums = block_sums(&data);
        data[2 * BLOCK_BYTES + 9] ^= 16;
        let all = blocks(&data, sums);
        assert!(all.touch(0..2 * BLOCK_BYTES));
        assert_eq!(all.check(&(0..data.len())), Some(2 * BLOCK_BYTES));
        assert_eq!(all.met(), 0);
        for times in 1..3 {
            assert!(!all.touch(2 * BLOCK_BYTES - 1..2 * BLOCK_BYTES + 1));
            assert_eq!((all.met(), all.last_met()), (times, 2 * BLOCK_BYTES));
        }
        assert!(all.touch(3 * BLOCK_BYTES..data.len()));
        assert!(!all.is_whole());
        assert_eq!(all.unknown(0), Some(2 * BLOCK_BYTES..3 * BLOCK_BYTES));
    }

    #[test]
    fn a_section_without_a_table_is_one_block() {
        let data = sample(100_000);
        let all = Blocks::whole(Bytes::copy_of(&data), crc32c(&data));
        assert_eq!(all.unknown(0), Some(0..data.len()));
        assert!(all.touch(5..6) && all.is_whole());
        assert!(!Blocks::whole(Bytes::copy_of(&data), 1).touch(5..6));
        assert!(Blocks::whole(Bytes::default(), 0).is_whole());
    }

    #[test]
    fn tables_of_other_lengths_are_refused() {
        let data = Bytes::copy_of(&sample(BLOCK_BYTES + 1));
        for (len, size) in [(4, BLOCK_BYTES), (12, BLOCK_BYTES), (8, BLOCK_BYTES - 1), (4, 1 << 17)]
        {
            let sums = Bytes::copy_of(&vec![0; len]);
            assert!(Blocks::new(data.clone(), sums, size).is_none(), "{len} {size}");
        }
        assert!(Blocks::new(data.clone(), Bytes::copy_of(&[0; 8]), 0).is_none());
        assert!(Blocks::new(Bytes::default(), Bytes::default(), BLOCK_BYTES).unwrap().is_whole());
    }

    #[test]
    fn threads_count_what_is_left_once() {
        let data = sample(64 * BLOCK_BYTES);
        let all = blocks(&data, block_sums(&data));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..data.len()).step_by(999).all(|at| all.touch(at..at + 1)));
            }
        });
        assert!(all.is_whole());
    }
}

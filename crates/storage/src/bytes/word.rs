//! Numbers of 32 bits in shared bytes.

use super::Bytes;
use std::fmt;
use std::ops::Deref;

/// Little-endian numbers in shared bytes, read where they are: a pointer and a length, so that
/// reading one costs what it costs in a vector. Cloning copies nothing.
#[derive(Clone)]
pub struct Words {
    /// Keeps the memory.
    bytes: Bytes,
    first: *const u32,
    len: usize,
}

// SAFETY: the memory behind `first` belongs to `bytes`, which is shared between threads itself,
// and nobody writes to it while `bytes` lives.
unsafe impl Send for Words {}
// SAFETY: as above; all access is reading.
unsafe impl Sync for Words {}

impl Words {
    /// `None` unless the start is on a 4-byte boundary, the length a multiple of 4 and the machine
    /// little-endian.
    pub fn new(bytes: Bytes) -> Option<Self> {
        if cfg!(target_endian = "big") {
            return None;
        }
        // SAFETY: every bit pattern is a valid u32 and the memory is initialised and immutable for
        // the lifetime of `bytes`; `align_to` yields only correctly aligned whole elements.
        let (before, middle, after) = unsafe { bytes.align_to::<u32>() };
        if !before.is_empty() || !after.is_empty() {
            return None;
        }
        let (first, len) = (middle.as_ptr(), middle.len());
        Some(Self { bytes, first, len })
    }

    /// A copy of `numbers` on a 64-byte boundary; `None` where the machine is not little-endian.
    pub fn copy_of(numbers: &[u32]) -> Option<Self> {
        let fill = |bytes: &mut [u8]| {
            for (to, number) in bytes.as_chunks_mut().0.iter_mut().zip(numbers) {
                *to = number.to_le_bytes();
            }
            Ok(())
        };
        Self::new(Bytes::fill(numbers.len() * 4, fill).ok()?)
    }

    /// The bytes that hold them.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Deref for Words {
    type Target = [u32];

    #[inline]
    fn deref(&self) -> &[u32] {
        // SAFETY: `first` and `len` are those of a slice inside the memory that `bytes` keeps: a
        // map or a vector behind an `Arc`, which neither moves nor changes while a clone of it
        // lives. The borrow ends with `self`.
        unsafe { std::slice::from_raw_parts(self.first, self.len) }
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({} in {:?})", self.len, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_bytes_and_outlive_other_handles() {
        let numbers = [1u32, 0, u32::MAX, 0x0403_0201];
        let data: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let bytes = Bytes::copy_of(&data);
        let words = Words::new(bytes.slice(4..16)).unwrap();
        drop(bytes);
        let other = words.clone();
        drop(words);
        let read = std::thread::spawn(move || other.to_vec()).join().unwrap();
        assert_eq!(read, numbers[1..]);
        let copy = Words::copy_of(&numbers).unwrap();
        assert_eq!(*copy, numbers);
        assert!((copy.as_ptr() as usize).is_multiple_of(64));
    }

    #[test]
    fn only_aligned_and_whole_numbers_are_viewed() {
        let bytes = Bytes::copy_of(&[7; 12]);
        assert!(Words::new(bytes.slice(1..9)).is_none());
        assert!(Words::new(bytes.slice(0..7)).is_none());
        assert_eq!(&*Words::new(bytes.slice(8..8)).unwrap(), &[0u32; 0]);
        assert_eq!(&*Words::new(Bytes::default()).unwrap(), &[0u32; 0]);
        assert_eq!(Words::new(bytes).unwrap().bytes().len(), 12);
    }
}

//! Numbers that are owned, or lent by whoever holds the bytes they lie in, such as a mapped file.

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::pack::bf16::LineBF16;
use crate::pack::blocks::{Halves, LineU8};
use crate::pack::{LineF32, LineI8};

/// Whoever holds bytes that are lent: they stay where they are as long as it is there.
pub type Lender = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// What [`Shared`] can hold.
///
/// # Safety
/// Every bit pattern is a value, there is no padding, and nothing is behind it.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}

// SAFETY: numbers without forbidden patterns.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for i32 {}
// SAFETY: as above; NaN is a value.
unsafe impl Plain for f32 {}
// SAFETY: as above; the assertions below say that there is no padding.
unsafe impl Plain for LineF32 {}
// SAFETY: as above.
unsafe impl Plain for LineI8 {}
// SAFETY: as above.
unsafe impl Plain for LineBF16 {}
// SAFETY: as above.
unsafe impl Plain for LineU8 {}
// SAFETY: as above.
unsafe impl Plain for Halves {}

const _: () = assert!(size_of::<LineF32>() == 64 && size_of::<LineI8>() == 64);
const _: () = assert!(size_of::<LineBF16>() == 64);
const _: () = assert!(size_of::<LineU8>() == 64 && size_of::<Halves>() == 32);

/// A slice of numbers, owned or lent. Reading does not tell the difference; cloning a lent one
/// copies nothing.
pub struct Shared<T> {
    /// Empty where they are lent.
    owned: Vec<T>,
    lent: Option<Lent<T>>,
}

/// A slice inside the bytes of `lender`.
struct Lent<T> {
    start: NonNull<T>,
    len: usize,
    /// Keeps the bytes where `start` points to.
    lender: Lender,
}

// SAFETY: a shared view of plain numbers, and a lender that may itself be sent.
unsafe impl<T: Plain> Send for Lent<T> {}
// SAFETY: as above: nothing can be written through it.
unsafe impl<T: Plain> Sync for Lent<T> {}

impl<T: Plain> Shared<T> {
    /// All the bytes of `lender` as numbers in the order of this machine. `None` unless they are
    /// whole numbers on their boundary. Copies nothing.
    pub fn lent(lender: Lender) -> Option<Self> {
        let bytes: &[u8] = (*lender).as_ref();
        // SAFETY: `T: Plain`, so any aligned initialised bytes are values; `align_to` gives only
        // such.
        let (before, all, after) = unsafe { bytes.align_to::<T>() };
        if !before.is_empty() || !after.is_empty() {
            return None;
        }
        let (start, len) = (NonNull::from(all).cast::<T>(), all.len());
        Some(Self { owned: Vec::new(), lent: Some(Lent { start, len, lender }) })
    }

    /// The bytes of all numbers as they lie in memory.
    pub fn bytes(&self) -> &[u8] {
        let all: &[T] = self;
        // SAFETY: `T: Plain` has no padding, so all bytes are initialised; u8 demands nothing; the
        // length is that of the slice in bytes and the borrow is carried over.
        unsafe { std::slice::from_raw_parts(all.as_ptr().cast::<u8>(), size_of_val(all)) }
    }

    /// Bytes of memory that are its own, not lent.
    pub fn owned_bytes(&self) -> usize {
        size_of_val(&*self.owned)
    }

    /// The numbers to be changed; a lent slice is copied first.
    pub fn to_mut(&mut self) -> &mut Vec<T> {
        if let Some(lent) = self.lent.take() {
            self.owned = lent.slice().to_vec();
        }
        &mut self.owned
    }
}

impl<T> Lent<T> {
    #[inline]
    fn slice(&self) -> &[T] {
        // SAFETY: `start` and `len` are of a slice that the value behind `lender` gave out for a
        // borrow. That value does not move, is only ever borrowed shared, and is not dropped while
        // `lender` is there, so the borrow may last as long as `self`; whatever the value does
        // in safe code, it cannot end the slice before.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> Deref for Shared<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.lent {
            None => &self.owned,
            Some(lent) => lent.slice(),
        }
    }
}

impl<T> From<Vec<T>> for Shared<T> {
    fn from(owned: Vec<T>) -> Self {
        Self { owned, lent: None }
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl<T> Clone for Lent<T> {
    fn clone(&self) -> Self {
        Self { start: self.start, len: self.len, lender: Arc::clone(&self.lender) }
    }
}

impl<T: Clone> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { owned: self.owned.clone(), lent: self.lent.clone() }
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some bytes, the first of them `shift` behind a boundary of 64.
    struct Place {
        bytes: Vec<u8>,
        from: usize,
        len: usize,
    }

    impl Place {
        fn lender(data: &[u8], shift: usize) -> Lender {
            let bytes = vec![0; data.len() + 64 + shift];
            let from = bytes.as_ptr().align_offset(64) + shift;
            let mut place = Self { bytes, from, len: data.len() };
            place.bytes[from..from + data.len()].copy_from_slice(data);
            Arc::new(place)
        }
    }

    impl AsRef<[u8]> for Place {
        fn as_ref(&self) -> &[u8] {
            &self.bytes[self.from..self.from + self.len]
        }
    }

    #[test]
    fn lent_numbers_read_as_owned_ones_and_outlive_the_first_holder() {
        let owned = Shared::from(vec![1.5f32, -0.0, f32::MAX]);
        let lent: Shared<f32> = Shared::lent(Place::lender(owned.bytes(), 0)).unwrap();
        assert_eq!(lent, owned);
        assert_eq!((lent.owned_bytes(), owned.owned_bytes()), (0, 12));
        let mut copy = lent.clone();
        assert_eq!(copy.as_ptr(), lent.as_ptr(), "cloning copies nothing");
        drop(lent);
        assert_eq!(copy, owned);
        copy.to_mut()[0] = 2.0;
        assert_eq!(*copy, [2.0, -0.0, f32::MAX]);
    }

    #[test]
    fn bytes_that_are_no_whole_numbers_on_their_boundary_are_refused() {
        for (len, shift) in [(8, 1), (8, 2), (7, 0), (1, 0), (9, 4)] {
            assert!(
                Shared::<f32>::lent(Place::lender(&vec![0; len], shift)).is_none(),
                "{len} {shift}"
            );
        }
        assert_eq!(Shared::<f32>::lent(Place::lender(&[], 0)).unwrap().len(), 0);
        assert_eq!(Shared::<u8>::lent(Place::lender(&[7; 5], 3)).unwrap().len(), 5);
    }
}

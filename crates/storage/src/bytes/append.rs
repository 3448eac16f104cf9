//! A buffer that one thread appends to while others read what is there.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Room for a fixed number of values, filled from the front and never changed again: what was
/// appended can be read as one slice while more is appended. Memory that nothing was appended to is
/// not touched.
pub struct Append<T> {
    values: Box<[UnsafeCell<MaybeUninit<T>>]>,
    len: AtomicUsize,
    /// Held while appending.
    writing: Mutex<()>,
}

// SAFETY: values below `len` are only ever read, and a value at or past it is only ever reached by
// the one thread that holds `writing`. `T: Copy` values need no drop; they are handed to other
// threads by value (`Send`) and by reference (`Sync`).
unsafe impl<T: Copy + Send + Sync> Sync for Append<T> {}

impl<T: Copy> Append<T> {
    /// Room for `room` values.
    pub fn new(room: usize) -> Self {
        let mut values = Vec::with_capacity(room);
        // SAFETY: the capacity is `room`, and cells of possibly uninitialised values are valid
        // whatever the memory holds.
        unsafe { values.set_len(room) };
        let values = values.into_boxed_slice();
        Self { values, len: AtomicUsize::new(0), writing: Mutex::new(()) }
    }

    /// Appends all of `more`; `false`, and nothing is, where there is no room for it.
    #[must_use]
    pub fn extend(&self, more: &[T]) -> bool {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let len = self.len.load(Ordering::Relaxed);
        let Some(free) = self.values.get(len..).and_then(|free| free.get(..more.len())) else {
            return false;
        };
        for (cell, &value) in free.iter().zip(more) {
            // SAFETY: the cell is at or past `len`, so no reader has a reference to it, and the
            // lock keeps other writers out.
            unsafe { (*cell.get()).write(value) };
        }
        // Release: whoever reads the new length reads the values written before it.
        self.len.store(len + more.len(), Ordering::Release);
        true
    }

    /// What was appended so far.
    pub fn get(&self) -> &[T] {
        let len = self.len.load(Ordering::Acquire);
        let filled = &self.values[..len];
        // SAFETY: the first `len` cells were written before `len` was published and are never
        // written again; `UnsafeCell<MaybeUninit<T>>` lies in memory as `T` does, and the borrow
        // of `self` is carried over.
        unsafe { std::slice::from_raw_parts(filled.as_ptr().cast::<T>(), len) }
    }

    /// Values there is room for, with those there are.
    pub fn room(&self) -> usize {
        self.values.len()
    }
}

impl<T: Copy> fmt::Debug for Append<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Append({} of {})", self.get().len(), self.room())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_not_appended() {
        let buffer = Append::new(5);
        assert!(buffer.get().is_empty());
        assert!(buffer.extend(&[1u64, 2, 3]) && !buffer.extend(&[4, 5, 6]) && buffer.extend(&[]));
        assert_eq!(buffer.get(), [1, 2, 3]);
        assert!(buffer.extend(&[4, 5]) && !buffer.extend(&[6]));
        assert_eq!((buffer.get(), buffer.room()), (&[1, 2, 3, 4, 5][..], 5));
        assert!(!Append::<u8>::new(0).extend(&[1]));
    }

    #[test]
    fn readers_see_only_what_was_written() {
        let buffer = Append::new(40_000);
        std::thread::scope(|scope| {
            for writer in 0..2u64 {
                let buffer = &buffer;
                scope.spawn(move || {
                    for at in 0..10_000 {
                        let value = at * 2 + writer + 1;
                        assert!(buffer.extend(&[value, !value]));
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut seen = 0;
                    while seen < buffer.room() {
                        let now = buffer.get();
                        assert!(now.len() >= seen && now.len().is_multiple_of(2));
                        assert!(now[seen..].chunks(2).all(|pair| pair[0] == !pair[1]));
                        seen = now.len();
                    }
                });
            }
        });
        let mut values: Vec<u64> = buffer.get().iter().copied().step_by(2).collect();
        values.sort_unstable();
        assert!(values.iter().copied().eq(1..=20_000));
    }
}

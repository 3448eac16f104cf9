//! Asking for memory before it is needed.

/// Asks for the cache lines of `slice`, so that reading it soon finds them on their way. Changes
/// nothing else; costs an instruction a line.
#[inline]
pub fn fetch<T>(slice: &[T]) {
    #[cfg(target_arch = "x86_64")]
    crate::x86_64::load::fetch(slice);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = slice;
}

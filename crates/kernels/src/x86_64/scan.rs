//! Runs of codes asked for before they are scanned.

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

const LINE_BYTES: usize = 64;
/// As much as arrives while memory answers once; the processor sees by itself where a run goes on.
const AHEAD_BYTES: usize = 4096;

/// Asks for the first lines of a run.
pub(super) fn ahead(bytes: &[u8]) {
    for line in bytes[..bytes.len().min(AHEAD_BYTES)].chunks(LINE_BYTES) {
        // SAFETY: the address is inside the run, and asking for a line has no other effect.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast::<i8>()) };
    }
}

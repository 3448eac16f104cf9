//! The order in which picked rows are measured: by fours, with the next four on their way.

use super::load::fetch;
use crate::pick::Picked;

/// Rows measured together.
pub(super) const TOGETHER: usize = 4;
/// Bytes of a row that are asked for ahead; the processor sees by itself where a longer row goes
/// on.
const FETCHED_BYTES: usize = 1024;
/// How far ahead rows are asked for: about as much as arrives while memory answers once.
const AHEAD_BYTES: usize = 4096;
const AHEAD_ROWS: usize = 32;

/// Writes what `four` gives for rows by fours, and `one` for those left over; a row is the first
/// `len` elements of its place.
#[inline]
pub(super) fn by_fours<'a, T, O: Copy>(
    rows: &Picked<'a, T>,
    len: usize,
    out: &mut [O],
    four: impl Fn([&'a [T]; TOGETHER]) -> [O; TOGETHER],
    one: impl Fn([&'a [T]; 1]) -> [O; 1],
) {
    let bytes = len * size_of::<T>();
    let distance = (AHEAD_BYTES / bytes.max(1)).clamp(TOGETHER, AHEAD_ROWS);
    let fetched = len.min(FETCHED_BYTES / size_of::<T>());
    (0..out.len().min(distance)).for_each(|place| fetch(rows.row(place, fetched)));
    let mut place = 0;
    let (fours, rest) = out.as_chunks_mut::<TOGETHER>();
    for out in fours {
        let next = (place + distance).min(rows.rows.len());
        let next = next..rows.rows.len().min(next + TOGETHER);
        next.for_each(|place| fetch(rows.row(place, fetched)));
        *out = four(std::array::from_fn(|at| rows.row(place + at, len)));
        place += TOGETHER;
    }
    for out in rest {
        [*out] = one([rows.row(place, len)]);
        place += 1;
    }
}

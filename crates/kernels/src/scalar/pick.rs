//! Picked rows one after the other: the specification of the other levels.

use half::{bf16, f16};

use crate::dense::DenseQuery;
use crate::pick::{Half, PackedQuery, PickKernels, Picked, PlaneQuery, Sum};

pub(crate) static TABLE: PickKernels =
    PickKernels { floats, halves, bytes, gaps, packed, dense, planes, bits, reaching };

/// Rows measured at a time, so that their loads do not wait for one another.
const TOGETHER: usize = 4;

/// Writes what `measure` gives for each row.
#[inline]
pub(crate) fn each<T, O>(
    rows: &Picked<'_, T>,
    len: usize,
    out: &mut [O],
    measure: impl Fn(&[T]) -> O,
) {
    for (place, out) in out.iter_mut().enumerate() {
        *out = measure(rows.row(place, len));
    }
}

fn floats(sum: Sum, rows: Picked<'_, f32>, query: &[f32], out: &mut [f32]) {
    use super::distance::{dot_f32, l1_f32, l2_f32};
    match sum {
        Sum::Product => each(&rows, query.len(), out, |row| dot_f32(row, query)),
        Sum::Square => each(&rows, query.len(), out, |row| l2_f32(row, query)),
        Sum::Magnitude => each(&rows, query.len(), out, |row| l1_f32(row, query)),
    }
}

fn halves(half: Half, sum: Sum, rows: Picked<'_, u8>, query: &[f32], out: &mut [f32]) {
    let mut wide = vec![0.0; query.len()];
    for (place, out) in out.iter_mut().enumerate() {
        let row = rows.row(place, 2 * query.len());
        widen(half, row, &mut wide);
        floats(sum, Picked::new(&wide, 0, &[0]), query, std::slice::from_mut(out));
    }
}

/// The numbers of `halves` in f32.
pub(crate) fn widen(half: Half, halves: &[u8], wide: &mut [f32]) {
    let (pairs, _) = halves.as_chunks::<2>();
    for (wide, &pair) in wide.iter_mut().zip(pairs) {
        *wide = match half {
            Half::F16 => f16::from_le_bytes(pair).to_f32(),
            Half::Bf16 => bf16::from_le_bytes(pair).to_f32(),
        };
    }
}

fn bytes(rows: Picked<'_, u8>, query: &[i8], out: &mut [i32]) {
    each(&rows, query.len(), out, |row| {
        row.iter().zip(query).map(|(&x, &q)| i32::from(x) * i32::from(q)).sum()
    });
}

fn gaps(rows: Picked<'_, u8>, query: &[u8], out: &mut [u32]) {
    each(&rows, query.len(), out, |row| {
        row.iter().zip(query).map(|(&x, &q)| u32::from(x.abs_diff(q))).sum()
    });
}

fn packed(rows: Picked<'_, u8>, query: &PackedQuery, out: &mut [i32]) {
    each(&rows, query.bytes, out, |row| packed_tail(row, query, 0));
}

/// The sum over bytes that begin at byte `from` of a row.
pub(crate) fn packed_tail(row: &[u8], query: &PackedQuery, from: usize) -> i32 {
    let bits = query.packing.bits();
    let places = 0..query.packing.per_byte();
    let of = |place: usize| -> i32 {
        let stream = &query.stream(place)[from..];
        let pairs = row.iter().zip(stream);
        let level = |byte: u8| query.levels[usize::from(byte >> (place * bits)) & mask(bits)];
        pairs.map(|(&byte, &q)| i32::from(level(byte)) * i32::from(q)).sum()
    };
    places.map(of).sum()
}

fn mask(bits: usize) -> usize {
    (1 << bits) - 1
}

fn dense(rows: Picked<'_, u8>, query: &DenseQuery, out: &mut [i32]) {
    each(&rows, query.bytes(), out, |row| {
        let level = |at: usize| i32::from(query.level(query.width().code(row, query.dim(), at)));
        (0..query.dim()).map(|at| level(at) * i32::from(query.value(at))).sum()
    });
}

fn planes(rows: Picked<'_, u8>, query: &PlaneQuery, out: &mut [i32]) {
    planes_by_fours(rows, query, out);
}

/// Written so that a level with an instruction that counts bits need only be named.
#[expect(clippy::inline_always, reason = "compiled anew for levels that count bits at once")]
#[inline(always)]
pub(crate) fn planes_by_fours(rows: Picked<'_, u8>, query: &PlaneQuery, out: &mut [i32]) {
    for (group, out) in out.chunks_mut(TOGETHER).enumerate() {
        let from = group * TOGETHER;
        if out.len() < TOGETHER {
            for (at, out) in out.iter_mut().enumerate() {
                *out = planes_of([rows.row(from + at, query.bytes)], query)[0];
            }
            return;
        }
        let four = std::array::from_fn(|at| rows.row(from + at, query.bytes));
        out.copy_from_slice(&planes_of::<TOGETHER>(four, query));
    }
}

#[expect(clippy::inline_always, reason = "compiled anew for levels that count bits at once")]
#[inline(always)]
fn planes_of<const R: usize>(rows: [&[u8]; R], query: &PlaneQuery) -> [i32; R] {
    let mut counts = [[0u32; 4]; R];
    let whole = query.bytes / 8;
    let bodies = rows.map(|row| &row.as_chunks::<8>().0[..whole]);
    let (planes, rest) = query.words.split_at(whole);
    for (at, planes) in planes.iter().enumerate() {
        for r in 0..R {
            let word = u64::from_le_bytes(bodies[r][at]);
            for p in 0..4 {
                counts[r][p] += (word & planes[p]).count_ones();
            }
        }
    }
    if let [planes] = rest {
        for r in 0..R {
            let word = last_word(&rows[r][whole * 8..]);
            for p in 0..4 {
                counts[r][p] += (word & planes[p]).count_ones();
            }
        }
    }
    counts.map(|[one, two, four, eight]| (one + 2 * two + 4 * four) as i32 - 8 * eight as i32)
}

/// Fewer than 8 bytes as a word.
#[inline]
fn last_word(tail: &[u8]) -> u64 {
    tail.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

fn bits(rows: Picked<'_, u8>, query: &[u8], out: &mut [[u32; 2]]) {
    bits_of(rows, query, out);
}

/// Written so that a level with an instruction that counts bits need only be named.
#[expect(clippy::inline_always, reason = "compiled anew for levels that count bits at once")]
#[inline(always)]
pub(crate) fn bits_of(rows: Picked<'_, u8>, query: &[u8], out: &mut [[u32; 2]]) {
    let (words, tail) = query.as_chunks::<8>();
    let last = last_word(tail);
    for (place, out) in out.iter_mut().enumerate() {
        let (row, rest) = rows.row(place, query.len()).as_chunks::<8>();
        let rest = last_word(rest);
        let (mut and, mut xor) = ((rest & last).count_ones(), (rest ^ last).count_ones());
        for (a, b) in row.iter().zip(words) {
            let (a, b) = (u64::from_le_bytes(*a), u64::from_le_bytes(*b));
            and += (a & b).count_ones();
            xor += (a ^ b).count_ones();
        }
        *out = [and, xor];
    }
}

fn reaching(values: &[f32], least: f32, places: &mut Vec<u32>) {
    reaching_from(0, values, least, places);
}

/// The same where the first value has the place `from`.
pub(crate) fn reaching_from(from: u32, values: &[f32], least: f32, places: &mut Vec<u32>) {
    let pairs = (from..).zip(values);
    places.extend(pairs.filter(|&(_, &v)| v >= least || v.is_nan() || least.is_nan()).map(|p| p.0));
}

//! Sums by tables, row by row.

use crate::Sum;
use crate::scan::{BLOCK_ROWS, ENTRIES, Estimate, FOUR, ScanKernels, ScanTables};

pub(crate) static TABLE: ScanKernels =
    ScanKernels { entries, ends, round, sums, closeness, below, least };

/// 2²³: added to a number below it, this leaves the nearest whole one in the lowest bits.
const ROUNDING: f32 = 8_388_608.0;

/// One sum of 16 lanes for each part; for every level, which compiles it to its own instructions.
#[expect(clippy::inline_always, reason = "compiled anew to the instructions of each level")]
#[inline(always)]
fn parts(
    query: &[f32],
    books: &[[f32; ENTRIES]],
    out: &mut [[f32; ENTRIES]],
    term: impl Fn(f32, f32) -> f32,
) {
    let (dim, parts) = (query.len(), out.len());
    let mut from = 0;
    for (part, out) in out.iter_mut().enumerate() {
        let to = (part + 1) * dim / parts;
        let mut sums = [0.0f32; ENTRIES];
        for (line, &q) in books[from..to].iter().zip(&query[from..to]) {
            for (sum, &centroid) in sums.iter_mut().zip(line) {
                *sum += term(q, centroid);
            }
        }
        *out = sums;
        from = to;
    }
}

/// See [`Kernels::scan_entries`](crate::Kernels::scan_entries).
#[expect(clippy::inline_always, reason = "compiled anew to the instructions of each level")]
#[inline(always)]
pub(crate) fn entries(
    sum: Sum,
    query: &[f32],
    books: &[[f32; ENTRIES]],
    out: &mut [[f32; ENTRIES]],
) {
    match sum {
        Sum::Product => parts(query, books, out, |q, c| q * c),
        Sum::Square => parts(query, books, out, |q, c| (q - c) * (q - c)),
        Sum::Magnitude => parts(query, books, out, |q, c| (q - c).abs()),
    }
}

/// See [`Kernels::scan_ends`](crate::Kernels::scan_ends).
#[expect(clippy::inline_always, reason = "compiled anew to the instructions of each level")]
#[inline(always)]
pub(crate) fn ends(tables: &[[f32; ENTRIES]], out: &mut [[f32; 2]]) {
    for (table, out) in tables.iter().zip(out) {
        // By halves, which registers compare at once.
        let (mut low, mut high) = (*table, *table);
        for half in [8, 4, 2, 1] {
            for at in 0..half {
                let (a, b) = (low[at], low[at + half]);
                low[at] = if b < a { b } else { a };
                let (a, b) = (high[at], high[at + half]);
                high[at] = if b > a { b } else { a };
            }
        }
        *out = [low[0], high[0]];
    }
}

/// See [`Kernels::scan_round`](crate::Kernels::scan_round).
#[expect(clippy::inline_always, reason = "compiled anew to the instructions of each level")]
#[inline(always)]
pub(crate) fn round(
    tables: &[[f32; ENTRIES]],
    ends: &[[f32; 2]],
    per_step: f32,
    out: &mut [[u8; ENTRIES]],
) {
    for ((table, [low, _]), out) in tables.iter().zip(ends).zip(out) {
        let mut whole = [0u32; ENTRIES];
        for (whole, &entry) in whole.iter_mut().zip(table) {
            let steps = (entry - low) * per_step;
            // What is no number becomes 0.
            let steps = if steps > 0.0 { steps } else { 0.0 };
            let steps = if steps < 127.0 { steps } else { 127.0 };
            // At this size the last bit of an f32 is one.
            *whole = (steps + ROUNDING).to_bits();
        }
        *out = whole.map(|steps| steps as u8);
    }
}

fn sums(blocks: &[u8], tables: &ScanTables, out: &mut [u16]) {
    out.fill(0);
    if tables.fours.is_empty() {
        return;
    }
    let blocks = blocks.chunks_exact(tables.bytes());
    for (block, out) in blocks.zip(out.chunks_exact_mut(BLOCK_ROWS)) {
        let (low, high) = out.split_at_mut(ENTRIES);
        for (codes, four) in block.chunks_exact(FOUR * ENTRIES).zip(&tables.fours) {
            let pairs = codes.chunks_exact(ENTRIES).zip(four.chunks_exact(ENTRIES));
            for (codes, table) in pairs {
                for (at, &code) in codes.iter().enumerate() {
                    low[at] += u16::from(table[usize::from(code & 15)]);
                    high[at] += u16::from(table[usize::from(code >> 4)]);
                }
            }
        }
    }
}

fn closeness(blocks: &[u8], tables: &ScanTables, estimate: &Estimate, out: &mut [f32]) {
    closeness_by(blocks, (tables.bytes(), estimate), out, |codes, out| sums(codes, tables, out));
}

/// The same by the sums of a level.
#[expect(clippy::inline_always, reason = "compiled anew to the instructions of each level")]
#[inline(always)]
pub(crate) fn closeness_by(
    blocks: &[u8],
    (bytes, estimate): (usize, &Estimate),
    out: &mut [f32],
    sums: impl Fn(&[u8], &mut [u16]),
) {
    let blocks = blocks.chunks_exact(bytes + Estimate::BYTES);
    for (block, out) in blocks.zip(out.as_chunks_mut::<BLOCK_ROWS>().0) {
        let (codes, numbers) = block.split_at(bytes);
        let mut whole = [0; BLOCK_ROWS];
        sums(codes, &mut whole);
        let (f, a) = numbers.as_chunks::<4>().0.split_at(BLOCK_ROWS);
        for (at, out) in out.iter_mut().enumerate() {
            let numbers = [f32::from_le_bytes(f[at]), f32::from_le_bytes(a[at])];
            *out = estimate.closeness(whole[at], numbers);
        }
    }
}

fn below(values: &[u16], most: u16, places: &mut Vec<u32>) {
    below_from(0, values, most, places);
}

/// The same where the first value has the place `from`.
pub(crate) fn below_from(from: u32, values: &[u16], most: u16, places: &mut Vec<u32>) {
    places.extend((from..).zip(values).filter(|&(_, &value)| value <= most).map(|(at, _)| at));
}

fn least(values: &[f32]) -> Option<(u32, f32)> {
    least_from(0, values, None)
}

/// The same with the best so far, where the first value has the place `from`.
pub(crate) fn least_from(
    from: u32,
    values: &[f32],
    best: Option<(u32, f32)>,
) -> Option<(u32, f32)> {
    (from..).zip(values).fold(best, |best, (at, &value)| match best {
        None if value.is_nan() => None,
        Some((_, least)) if value.is_nan() || value >= least => best,
        _ => Some((at, value)),
    })
}

/// Joins what lanes found, each in chunks as wide as there are lanes, −1 for none below infinity,
/// with the `tail` that starts at `from`.
#[cfg(target_arch = "x86_64")]
pub(crate) fn least_of(
    lanes: &[f32],
    chunks: &[i32],
    (values, from, tail): (&[f32], usize, &[f32]),
) -> Option<(u32, f32)> {
    let found = lanes.iter().zip(chunks).enumerate().filter(|(_, (_, chunk))| **chunk >= 0);
    let places =
        found.map(|(lane, (&v, &chunk))| ((chunk as usize * lanes.len() + lane) as u32, v));
    let best = places.min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    // Zeros of both signs are equal, and so is infinity to what lanes began with.
    match best {
        Some((_, value)) if value != 0.0 => least_from(from as u32, tail, best),
        _ => least_from(0, values, None),
    }
}

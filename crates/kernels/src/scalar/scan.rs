//! Sums by tables, row by row.

use crate::scan::{BLOCK_ROWS, ENTRIES, FOUR, ScanKernels, ScanTables};

pub(crate) static TABLE: ScanKernels = ScanKernels { sums, below, least };

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

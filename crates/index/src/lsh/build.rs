//! Hashing rows.

use super::hash::Digits;
use super::{BUCKET, Family, Lsh, LshOptions, TABLES, Table};
use crate::code::rotated::rotation::Rotation;
use crate::seed::{Draw, mix};
use crate::sieve::Sieve;
use crate::space::Space;
use crate::spread::{spread, spread_by};
use crate::stage::{bytes_of, numbers_below};
use crate::{BITS_MAX, BuildOptions, FloatRows, Metric, Row, Rows, TABLES_MAX};

/// Rows that medians and means are taken from.
const SAMPLE: usize = 4096;
/// Rows hashed at a time.
const BLOCK: usize = 128;
/// Parts after which the keys are kept, and under which name.
const PARTS: usize = 16;
const KEYS: &str = "keys";

/// Bits of keys that leave about [`BUCKET`] rows to each.
pub(super) fn bits_of(len: usize) -> usize {
    (len / BUCKET).max(2).ilog2().clamp(1, BITS_MAX as u32) as usize
}

impl Lsh {
    /// Without rows in its tables.
    pub(super) fn empty(
        (options, seed): (LshOptions, u64),
        space: Space,
        (len, tables): (usize, usize),
    ) -> Self {
        let bits = if options.bits == 0 { bits_of(len) } else { options.bits };
        let digits = Digits::new(options.family, bits);
        let width = space.width();
        let rotations = (tables * digits.all_axes()).div_ceil(width) as u64;
        let rotation = |at| Rotation::new(width, mix(seed ^ mix(at)));
        Self {
            options,
            seed,
            space,
            digits,
            rotations: (0..rotations).map(rotation).collect(),
            middles: Vec::new(),
            tables: Vec::new(),
            sieve: Sieve::new(len),
        }
    }

    /// Appends the values of a vector, scaled and with the coordinate it gets, along all axes.
    pub(super) fn values(&self, (vector, scale, lift): (&[f32], f32, f32), to: &mut Vec<f32>) {
        let width = self.space.width();
        for rotation in &self.rotations {
            let from = to.len();
            to.extend(vector.iter().map(|x| x * scale));
            to.resize(from + width, lift);
            rotation.turn(&mut to[from..]);
        }
        to.iter_mut().zip(&self.middles).for_each(|(value, middle)| *value -= middle);
    }
}

pub(super) fn build(
    rows: Option<&FloatRows<'_>>,
    len: usize,
    options: LshOptions,
    building: &BuildOptions<'_>,
) -> Lsh {
    let tell = |rows| building.progress.iter().for_each(|progress| progress(rows));
    let (tables, bits) = (options.tables.min(TABLES_MAX), options.bits.min(BITS_MAX));
    let options = LshOptions { tables, bits, ..options };
    let tables = if tables == 0 { TABLES } else { tables };
    let nothing = Space { metric: Metric::Euclid, dim: 1, length: 0.0 };
    let rows = rows.filter(|rows| len > 0 && crate::code::check_rows(rows).is_ok());
    let Some(rows) = rows else {
        tell(len);
        return Lsh::empty((options, building.seed), nothing, (len, 0));
    };
    let space = Space::of(rows);
    let mut lsh = Lsh::empty((options, building.seed), space, (len, tables));
    lsh.middles = middles(&lsh, rows);
    let (digits, axes) = (&lsh.digits, lsh.digits.all_axes());
    let threads = building.threads.max(1);
    let work = |values: &mut Vec<f32>, block: usize| {
        let mut keys = Vec::with_capacity(BLOCK * tables);
        for row in block * BLOCK..len.min((block + 1) * BLOCK) {
            let row = rows.vector(Row(row as u32));
            values.clear();
            lsh.values((row, 1.0, space.lift(row)), values);
            keys.extend(values.chunks_exact(axes).take(tables).map(|values| digits.key(values)));
        }
        keys
    };
    let blocks = len.div_ceil(BLOCK);
    let kept = building.kept(KEYS, |bytes| {
        let rows = (bytes.len() / 4 / tables).min(len);
        let whole = rows == len || rows.is_multiple_of(BLOCK);
        numbers_below(&bytes, rows * tables, 1 << digits.bits()).filter(|_| whole)
    });
    let mut keys = kept.unwrap_or_default();
    while keys.len() < len * tables {
        let from = keys.len() / (BLOCK * tables);
        let count = blocks.div_ceil(PARTS).min(blocks - from);
        let states = &mut vec![Vec::new(); threads];
        keys.extend(
            spread(states, count, |state, at| work(state, from + at)).into_iter().flatten(),
        );
        building.keep(KEYS, || bytes_of(&keys));
    }
    tell(len / 2);
    lsh.tables = spread_by(1, &mut vec![Vec::new(); threads], tables, |pairs, table| {
        pairs.clear();
        let own = keys.chunks_exact(tables).map(|keys| u64::from(keys[table]) << 32);
        pairs.extend(own.zip(0..).map(|(key, row): (u64, u64)| key | row));
        pairs.sort_unstable();
        Table::new(pairs, digits.bits())
    });
    tell(len - len / 2);
    lsh
}

/// The median along each axis where its sides are told apart, else the mean; of some of the rows.
fn middles(lsh: &Lsh, rows: &FloatRows<'_>) -> Vec<f32> {
    let chosen = Draw::new(lsh.seed).some(SAMPLE, rows.len());
    let mut values = Vec::new();
    for &row in &chosen {
        let row = rows.vector(Row(row));
        let mut own = Vec::new();
        lsh.values((row, 1.0, lsh.space.lift(row)), &mut own);
        values.extend(own);
    }
    let axes = values.len() / chosen.len().max(1);
    let mut along = Vec::with_capacity(chosen.len());
    let middle = |axis| {
        along.clear();
        along.extend(values.iter().skip(axis).step_by(axes).copied());
        match lsh.options.family {
            Family::Planes => {
                let middle = along.len() / 2;
                *along.select_nth_unstable_by(middle, f32::total_cmp).1
            }
            Family::Polytopes => {
                let sum: f64 = along.iter().map(|&x| f64::from(x)).sum();
                (sum / along.len() as f64) as f32
            }
        }
    };
    (0..axes).map(middle).collect()
}

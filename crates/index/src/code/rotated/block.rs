//! Signs of rotated rows in blocks of 32, for scans.
//!
//! `RaBitQ` by tables (Gao & Long, 2024, §3.3.2): four dimensions of a query, rounded to whole
//! numbers `q`, make a table of 16 sums, and the sum of a row over its tables is
//!
//! ```text
//! S = Σ (bit of j set) q_j + Σ max(0, −q_j),   ⟨x, q⟩ = 2·S − Σ |q_j|   with x = ±1
//! ```
//!
//! exactly. Entries are at most `4·31`, and the query is rounded so that `Σ |q_j|` stays in 16
//! bits.

use std::ops::Range;

use kvant_kernels::{BLOCK_ROWS, ENTRIES, Estimate, Kernels, ScanTables, code_place, kernels};

use super::coder::{Coder, Own, mean, rounded};
use super::rotation::Rotation;
use super::{FACTORS, Width, refuse};
use crate::code::coded::{Coded, Head, float_at, metric_code};
use crate::code::lift::{Lift, Lifted};
use crate::spread::spread;
use crate::{BuildOptions, CodeError, FileError, FloatRows, Hit, Metric, Order, Row, Rows, Scorer};

/// The code byte of [`RotatedBlocks`].
pub(crate) const CODE: u8 = 7;
/// Dimensions of a table.
const PART: usize = 4;
/// The largest magnitude of a query: four of them are at most 127.
const MOST: u8 = 31;
/// Blocks that are measured at a time.
const BLOCKS: usize = 64;
/// Bytes of the next run that are asked for, see [`PqRows`](crate::PqRows).
const AHEAD_BYTES: usize = 4096;

/// Rows of a bit a dimension after a random rotation, and 8 bytes, in blocks of 32: what
/// [`RotatedRows`](crate::RotatedRows) of one bit hold, laid out for scans.
///
/// Estimates have the same factors; queries are finer (6 bits instead of 4). Measuring single rows
/// is slow: a row is spread over its block.
#[derive(Debug)]
pub struct RotatedBlocks<B = Vec<u8>> {
    coded: Coded<B>,
    metric: Metric,
    rotation: Rotation,
    /// `‖c‖²`.
    centre_square: f64,
    lift: Lift,
}

/// Bytes of a block of rows of `dim` values: their codes, then `f` and what their distance adds.
fn unit(dim: usize) -> usize {
    ScanTables::block_bytes(dim.div_ceil(PART)) + Estimate::BYTES
}

impl RotatedBlocks {
    /// Codes `rows`, in `order` where there is one; the same seed gives the same bytes, on any
    /// number of threads. O(n·dim·log dim).
    ///
    /// # Errors
    /// If a value is not finite, there are too many dimensions, or the measure is Manhattan.
    pub fn encode(
        rows: &FloatRows<'_>,
        order: Option<&Order>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, CodeError> {
        refuse(rows, Width::One)?;
        let (dim, metric) = (rows.dim(), rows.metric());
        let len = order.map_or(rows.len(), Order::places);
        let metric_byte = metric_code(metric);
        let seed = options.seed;
        let head = Head { code: CODE, metric: metric_byte, dim, detail: 1, len, seed };
        let coded = Coded::grouped(head, mean(rows), (unit(dim), BLOCK_ROWS));
        let mut all = Self::over(coded, metric);
        let (rotation, centre) = (&all.rotation, &all.coded.params);
        let states = || {
            (Coder::new(rotation, centre, (metric, Width::One)), vec![0; dim.div_ceil(8) + FACTORS])
        };
        let mut states: Vec<_> = (0..options.threads.max(1)).map(|_| states()).collect();
        let blocks = spread(&mut states, len.div_ceil(BLOCK_ROWS), |(coder, row), block| {
            let mut bytes = vec![0; unit(dim)];
            let places = block * BLOCK_ROWS..len.min((block + 1) * BLOCK_ROWS);
            for (at, place) in places.enumerate() {
                let place = place as u32;
                let own = order.map_or(Some(Row(place)), |order| order.row(place));
                if let Some(own) = own {
                    coder.code(rows.vector(own), row);
                    put(&mut bytes, (at, dim), row);
                }
            }
            bytes
        });
        all.coded.rows_mut().zip(blocks).for_each(|(to, from)| to.copy_from_slice(&from));
        Ok(all)
    }
}

/// Writes the bits and the factors of `row` at place `at` of a block.
fn put(block: &mut [u8], (at, dim): (usize, usize), row: &[u8]) {
    for part in 0..dim.div_ceil(PART) {
        let (byte, shift) = code_place(part, at);
        block[byte] |= (row[part / 2] >> (part % 2 * PART) & 15) << shift;
    }
    let factors = &row[row.len() - FACTORS..];
    let from = block.len() - Estimate::BYTES + 4 * at;
    block[from..from + 4].copy_from_slice(&factors[..4]);
    block[from + 4 * BLOCK_ROWS..][..4].copy_from_slice(&factors[4..8]);
}

impl<B: AsRef<[u8]>> RotatedBlocks<B> {
    fn over(coded: Coded<B>, metric: Metric) -> Self {
        let rotation = Rotation::new(coded.head.dim, coded.head.seed);
        let centre_square = coded.params.iter().map(|&c| f64::from(c) * f64::from(c)).sum();
        Self { coded, metric, rotation, centre_square, lift: Lift::default() }
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave, borrowing it.
    ///
    /// # Errors
    /// If the bytes are not exactly such rows, `len` of them.
    pub fn open(bytes: B, len: usize) -> Result<Self, FileError> {
        let coded = Coded::open_grouped(bytes, (len, BLOCK_ROWS), |head| match head.code {
            CODE if head.detail == 1 => Ok((head.dim, unit(head.dim))),
            CODE => Err(FileError::Header { name: "bits of a code", got: head.detail.into() }),
            got => Err(FileError::Shape { got }),
        })?;
        let metric = coded.head.dense_metric()?;
        if metric == Metric::Manhattan {
            return Err(FileError::Header { name: "metric", got: coded.head.metric.into() });
        }
        Ok(Self::over(coded, metric))
    }

    /// The rows as bytes, the same on every machine.
    pub fn to_bytes(&self) -> &[u8] {
        self.coded.bytes()
    }

    /// Values of a row.
    pub fn dim(&self) -> usize {
        self.coded.head.dim
    }

    /// The measure.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> f64 {
        self.coded.stride() as f64 / BLOCK_ROWS as f64
    }

    /// The block of a row, and its place in it.
    fn block(&self, row: u32) -> (&[u8], usize) {
        assert!((row as usize) < self.coded.head.len, "row {row} of {}", self.coded.head.len);
        (self.coded.row(row / BLOCK_ROWS as u32), row as usize % BLOCK_ROWS)
    }

    /// Four bits for each table.
    fn codes(&self, row: u32) -> impl Iterator<Item = usize> + '_ {
        let (block, at) = self.block(row);
        (0..self.dim().div_ceil(PART)).map(move |part| {
            let (byte, shift) = code_place(part, at);
            usize::from(block[byte] >> shift & 15)
        })
    }

    /// `f`, and what the distance adds.
    fn factors(&self, row: u32) -> [f32; 2] {
        let (block, at) = self.block(row);
        let from = block.len() - Estimate::BYTES + 4 * at;
        [float_at(block, from), float_at(block, from + 4 * BLOCK_ROWS)]
    }

    fn length(&self, row: u32) -> f64 {
        let [factor, add] = self.factors(row).map(f64::from);
        let size = self.dim() as f64;
        (self.centre_square + 2.0 * add + factor * factor * size).max(0.0).sqrt()
    }

    /// What a table of the query gives for each four bits, all tables at least 0, and how sums
    /// make distances.
    fn tables(&self, query: &[f32]) -> (Vec<[u8; ENTRIES]>, Estimate) {
        let ground = (&self.rotation, &self.coded.params[..], self.metric);
        let (turned, own) = Own::of(query, ground);
        let (codes, all, scale) = whole(&turned);
        let tables = codes.chunks(PART).map(|codes| {
            let lowest: i8 = codes.iter().map(|&q| q.min(0)).sum();
            std::array::from_fn(|bits| {
                let set = codes.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
                (set.map(|(_, &q)| q).sum::<i8>() - lowest) as u8
            })
        });
        let all = all as f32;
        let estimate = if self.metric == Metric::Euclid {
            let slope = -2.0 * scale as f32;
            Estimate { base: own.constant as f32, along: 1.0, slope, all }
        } else {
            let one = if self.metric == Metric::Cosine { 1.0 } else { 0.0 };
            let base = (one - own.constant * own.scale) as f32;
            Estimate { base, along: 0.0, slope: -(scale * own.scale) as f32, all }
        };
        (tables.collect(), estimate)
    }
}

/// A query in whole numbers of up to 31, fewer where their sum would leave 16 bits; that sum, and
/// what one of them stands for.
fn whole(turned: &[f32]) -> (Vec<i8>, u32, f64) {
    let mut most = MOST;
    loop {
        let (codes, scale) = rounded(turned, most.into());
        let all: u32 = codes.iter().map(|&q| u32::from(q.unsigned_abs())).sum();
        // At 1 it is at most the dimension.
        if all <= u16::MAX.into() || most == 1 {
            return (codes, all, scale);
        }
        most -= 1;
    }
}

impl<B: AsRef<[u8]> + Sync> Rows for RotatedBlocks<B> {
    type Query = [f32];
    type Scorer<'q>
        = BlockScorer<'q, B>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.coded.head.len
    }

    fn scorer<'q>(&'q self, query: &'q [f32]) -> BlockScorer<'q, B> {
        let (entries, estimate) = self.tables(query);
        let near = Near::Query { scan: ScanTables::new(&entries), entries, estimate };
        BlockScorer { kernels: kernels(), rows: self, near, out: Vec::new() }
    }

    fn scorer_of(&self, row: Row) -> BlockScorer<'_, B> {
        let norms = || (0..self.coded.head.len as u32).map(|row| self.length(row)).collect();
        let lifted = (self.metric == Metric::Dot).then(|| Lifted::new(self.lift.of(norms), row));
        let near = Near::Row { codes: self.codes(row.0).collect(), of: row.0, lifted };
        BlockScorer { kernels: kernels(), rows: self, near, out: Vec::new() }
    }

    fn is_scanned(&self) -> bool {
        true
    }
}

/// How a query meets the codes.
#[derive(Debug)]
enum Near<'a> {
    /// By tables.
    Query { entries: Vec<[u8; ENTRIES]>, scan: ScanTables, estimate: Estimate },
    /// A row: bits against bits.
    Row { codes: Vec<usize>, of: u32, lifted: Option<Lifted<'a>> },
}

/// Estimated distances of [`RotatedBlocks`] to one query.
#[derive(Debug)]
pub struct BlockScorer<'a, B = Vec<u8>> {
    kernels: &'static Kernels,
    rows: &'a RotatedBlocks<B>,
    near: Near<'a>,
    out: Vec<f32>,
}

impl<B: AsRef<[u8]>> BlockScorer<'_, B> {
    fn distance(&self, row: u32) -> f32 {
        let rows = self.rows;
        let codes = rows.codes(row);
        match &self.near {
            Near::Query { entries, estimate, .. } => {
                let pairs = entries.iter().zip(codes);
                let sum = pairs.map(|(entries, code)| u16::from(entries[code])).sum();
                -estimate.closeness(sum, rows.factors(row))
            }
            Near::Row { codes: own, of, lifted } => {
                let apart: u32 = own.iter().zip(codes).map(|(a, b)| (a ^ b).count_ones()).sum();
                let same = rows.dim() as f64 - 2.0 * f64::from(apart);
                let [factor, add] = rows.factors(row).map(f64::from);
                let [own_factor, own_add] = rows.factors(*of).map(f64::from);
                let product = factor * own_factor * same;
                let distance = match rows.metric {
                    Metric::Euclid => add + own_add - 2.0 * product,
                    Metric::Cosine => 1.0 - (rows.centre_square + add + own_add + product),
                    Metric::Dot | Metric::Manhattan => {
                        -(rows.centre_square + add + own_add + product)
                    }
                };
                distance as f32 - lifted.map_or(0.0, |lifted| lifted.product(row))
            }
        }
    }
}

impl<B: AsRef<[u8]>> Scorer for BlockScorer<'_, B> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        assert_eq!(rows.len(), out.len(), "one distance per row");
        rows.iter().zip(out).for_each(|(row, out)| *out = self.distance(row.0));
    }

    fn scan(&mut self, places: Range<u32>, reach: f32, found: &mut Vec<Hit>) {
        assert!(places.end as usize <= self.rows.coded.head.len, "places past the last");
        let Near::Query { scan, estimate, .. } = &self.near else {
            for place in places {
                let mut out = [0.0];
                self.score(&[Row(place)], &mut out);
                crate::rows::keep(&[Row(place)], &out, reach, found);
            }
            return;
        };
        let (unit, slab) = (self.rows.coded.stride(), self.rows.coded.slab());
        let blocks = places.start as usize / BLOCK_ROWS..(places.end as usize).div_ceil(BLOCK_ROWS);
        let mut near = Vec::new();
        for from in blocks.clone().step_by(BLOCKS) {
            let to = blocks.end.min(from + BLOCKS);
            self.out.resize((to - from) * BLOCK_ROWS, 0.0);
            let bytes = &slab[from * unit..to * unit];
            self.kernels.scan_closeness(bytes, scan, estimate, &mut self.out);
            near.clear();
            self.kernels.reaching(&self.out, -reach, &mut near);
            for &at in &near {
                let place = (from * BLOCK_ROWS) as u32 + at;
                if places.contains(&place) {
                    found.push(Hit { row: Row(place), distance: -self.out[at as usize] });
                }
            }
        }
    }

    fn ahead(&self, places: Range<u32>) {
        let (unit, slab) = (self.rows.coded.stride(), self.rows.coded.slab());
        let blocks = places.start as usize / BLOCK_ROWS..(places.end as usize).div_ceil(BLOCK_ROWS);
        let run = &slab[blocks.start * unit..blocks.end * unit];
        kvant_kernels::fetch(&run[..run.len().min(AHEAD_BYTES)]);
    }
}

#[cfg(test)]
mod tests {
    use kvant_testkit::clustered;

    use super::*;
    use crate::RotatedRows;

    #[test]
    fn scans_and_single_rows_agree_at_every_place() {
        for (n, dim) in [(1, 5), (31, 8), (32, 1), (33, 18), (300, 72), (2100, 24)] {
            let data = clustered(n, dim, 3);
            for metric in [Metric::Cosine, Metric::Dot, Metric::Euclid] {
                let rows = FloatRows::new(&data, dim, metric);
                let coded = RotatedBlocks::encode(&rows, None, &BuildOptions::default()).unwrap();
                let mut scorer = coded.scorer(&data[..dim]);
                let all: Vec<Row> = (0..n as u32).map(Row).collect();
                let mut out = vec![0.0; n];
                scorer.score(&all, &mut out);
                for (from, to) in [(0, n), (0, 1), (n / 3, n - n / 4), (n / 2, n / 2)] {
                    for reach in [f32::INFINITY, out[n / 2], out[0], f32::NEG_INFINITY] {
                        let mut found = Vec::new();
                        scorer.scan(from as u32..to as u32, reach, &mut found);
                        let near = (from..to).filter(|&at| out[at] <= reach);
                        let expected: Vec<Hit> =
                            near.map(|at| Hit { row: Row(at as u32), distance: out[at] }).collect();
                        assert_eq!(found, expected, "{metric} {n} {from} {to} {reach}");
                    }
                }
            }
        }
    }

    /// The same estimates as rows one after the other, but for the rounding of queries; between
    /// rows the same.
    #[test]
    fn blocks_hold_what_rows_hold() {
        let (n, dim) = (200, 130);
        let data = clustered(n, dim, 4);
        for metric in [Metric::Cosine, Metric::Dot, Metric::Euclid] {
            let rows = FloatRows::new(&data, dim, metric);
            let options = BuildOptions { threads: 3, seed: 9, ..BuildOptions::default() };
            let plain = RotatedRows::encode(&rows, Width::One, &options).unwrap();
            let blocks = RotatedBlocks::encode(&rows, None, &options).unwrap();
            let again = BuildOptions { threads: 1, ..options };
            let one = RotatedBlocks::encode(&rows, None, &again).unwrap();
            assert_eq!(one.to_bytes(), blocks.to_bytes());
            let all: Vec<Row> = (0..n as u32).map(Row).collect();
            let (mut got, mut expected) = (vec![0.0; n], vec![0.0; n]);
            blocks.scorer_of(Row(7)).score(&all, &mut got);
            plain.scorer_of(Row(7)).score(&all, &mut expected);
            let size = expected.iter().fold(0.0f32, |size, d| size.max(d.abs()));
            let near = |a: f32, b: f32, part: f32| (a - b).abs() <= part * size;
            assert!(got.iter().zip(&expected).all(|(&a, &b)| near(a, b, 1e-6)), "{metric}");
            blocks.scorer(&data[..dim]).score(&all, &mut got);
            plain.scorer(&data[..dim]).score(&all, &mut expected);
            assert!(got.iter().zip(&expected).all(|(&a, &b)| near(a, b, 0.12)), "{metric}");
        }
    }

    /// A query whose values are all equal in size has the largest sums.
    #[test]
    fn sums_stay_in_16_bits_whatever_the_dimension() {
        for dim in [1, 5, 2114, 2115, 8192, crate::DIM_MAX] {
            let turned: Vec<f32> =
                (0..dim).map(|at| if at % 3 == 0 { -2.0 } else { 2.0 }).collect();
            let (codes, all, scale) = whole(&turned);
            assert!(all <= u16::MAX.into(), "{dim}: {all}");
            let value = f64::from(codes[0].unsigned_abs()) * scale;
            assert!((value - 2.0).abs() < 1e-6, "{dim}: {value}");
        }
        assert_eq!(whole(&[0.0; 9]).1, 0);
    }
}

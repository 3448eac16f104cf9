//! Rows turned at random, then rounded to few bits: estimates without bias, and nothing to train.
//!
//! `RaBitQ` (Gao & Long, 2024; Gao et al., 2025) and EDEN (Vargaftik et al., 2022). With `c` the
//! mean of the rows and `P` a [`Rotation`], the row `o` is `r = P(o − c)`; its code stands for
//! levels `x` whose direction is near that of `r`, and
//!
//! ```text
//! ⟨r, y⟩ ≈ f·⟨x, y⟩,   f = ‖r‖² / ⟨r, x⟩
//! ```
//!
//! has no bias over the draws of `P`. Its standard deviation is at most `e·‖y‖` with
//! `e = ‖r‖·√((‖r‖²‖x‖²/⟨r, x⟩² − 1)/(dim − 1))`, kept with the row. One bit: signs; 2 to 4 bits:
//! the levels that lose least on a normal distribution (Lloyd–Max); more bits: evenly spaced, for 5
//! to 7 as far apart as suits the row best.

pub(crate) mod block;
mod coder;
mod grid;
pub(crate) mod rotation;

use std::ops::Range;

use kvant_kernels::{DenseQuery, DenseWidth, Kernels, PackedQuery, Packing, PlaneQuery, kernels};

use super::coded::{Coded, Head, float_at, metric_code};
use super::integer::Integer;
use super::lift::{Lift, Lifted};
use super::{NUMBERS, by_numbers, check_rows};
use crate::{BuildOptions, CodeError, FileError, FloatRows, Metric, Row, Rows, Scorer};

use coder::{Coder, Own, Shared, mean, rounded};
pub use grid::Width;
use rotation::Rotation;

/// The code byte of [`RotatedRows`].
pub(crate) const CODE: u8 = 3;
/// Bytes behind the codes of a row: `f`, what its distance adds, and `e` as a bf16.
const FACTORS: usize = 10;

/// Rows of 1 to 8 bits a dimension after a random rotation, and 10 bytes.
///
/// Measures cosine, inner product and squared Euclidean distance; between rows (for graphs) the
/// distance of what the codes stand for.
#[derive(Debug)]
pub struct RotatedRows<B = Vec<u8>> {
    coded: Coded<B>,
    metric: Metric,
    width: Width,
    rotation: Rotation,
    /// `‖c‖²`.
    centre_square: f64,
    lift: Lift,
}

impl RotatedRows {
    /// Codes `rows`; the same seed gives the same bytes, on any number of threads.
    /// O(n·dim·log dim).
    ///
    /// # Errors
    /// If a value is not finite, there are too many dimensions, or the measure is Manhattan.
    pub fn encode(
        rows: &FloatRows<'_>,
        width: Width,
        options: &BuildOptions<'_>,
    ) -> Result<Self, CodeError> {
        refuse(rows, width)?;
        let (dim, len, metric) = (rows.dim(), rows.len(), rows.metric());
        let centre = mean(rows);
        let detail = width.bits() as u32;
        let seed = options.seed;
        let head = Head { code: CODE, metric: metric_code(metric), dim, detail, len, seed };
        let coded = Coded::new(head, centre, width.bytes(dim) + FACTORS);
        let mut all = Self::over(coded, metric, width);
        let centre = all.coded.params.clone();
        let (coded, rotation) = (&mut all.coded, &all.rotation);
        coded.write(rows.data(), options.threads, |all, rows| {
            let mut coder = Coder::new(rotation, &centre, (metric, width));
            all.zip(rows).for_each(|(bytes, row)| coder.code(row, bytes));
        });
        Ok(all)
    }
}

/// Refuses rows that rotated codes do not hold.
fn refuse(rows: &FloatRows<'_>, width: Width) -> Result<(), CodeError> {
    check_rows(rows)?;
    let metric = rows.metric();
    if metric == Metric::Manhattan {
        let code = format!("rq{}", width.bits());
        return Err(CodeError::Metric { code, metric, allowed: "cosine, dot or euclid" });
    }
    Ok(())
}

impl<B: AsRef<[u8]>> RotatedRows<B> {
    fn over(coded: Coded<B>, metric: Metric, width: Width) -> Self {
        let rotation = Rotation::new(coded.head.dim, coded.head.seed);
        let centre_square = coded.params.iter().map(|&c| f64::from(c) * f64::from(c)).sum();
        Self { coded, metric, width, rotation, centre_square, lift: Lift::default() }
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave, borrowing it.
    ///
    /// # Errors
    /// If the bytes are not exactly such rows, `len` of them.
    pub fn open(bytes: B, len: usize) -> Result<Self, FileError> {
        let width = |head: &Head| {
            let bits = FileError::Header { name: "bits of a code", got: head.detail.into() };
            Width::of(head.detail as usize).ok_or(bits)
        };
        let coded = Coded::open(bytes, len, |head| match head.code {
            CODE => Ok((head.dim, width(head)?.bytes(head.dim) + FACTORS)),
            got => Err(FileError::Shape { got }),
        })?;
        let (metric, width) = (coded.head.dense_metric()?, width(&coded.head)?);
        if metric == Metric::Manhattan {
            return Err(FileError::Header { name: "metric", got: coded.head.metric.into() });
        }
        Ok(Self::over(coded, metric, width))
    }

    /// Values of a row.
    pub fn dim(&self) -> usize {
        self.coded.head.dim
    }

    /// The measure.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The rows as bytes, the same on every machine.
    pub fn to_bytes(&self) -> &[u8] {
        self.coded.bytes()
    }

    /// Bits of a dimension.
    pub fn width(&self) -> Width {
        self.width
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.coded.stride()
    }

    fn factors(&self, row: u32) -> Factors {
        let bytes = &self.coded.row(row)[self.width.bytes(self.coded.head.dim)..];
        let error = u32::from(u16::from_le_bytes([bytes[8], bytes[9]])) << 16;
        let (factor, add) = (float_at(bytes, 0).into(), float_at(bytes, 4).into());
        Factors { factor, add, error: f32::from_bits(error) }
    }

    fn levels(&self, row: u32) -> Vec<i8> {
        let dim = self.coded.head.dim;
        self.width.decode(&self.coded.row(row)[..self.width.bytes(dim)], dim)
    }

    fn length(&self, row: u32) -> f64 {
        let levels = self.levels(row);
        let size: f64 = levels.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let Factors { factor, add, .. } = self.factors(row);
        (self.centre_square + 2.0 * add + factor * factor * size).max(0.0).sqrt()
    }
}

struct Factors {
    factor: f64,
    add: f64,
    error: f32,
}

impl<B: AsRef<[u8]> + Sync> Rows for RotatedRows<B> {
    type Query = [f32];
    type Scorer<'q>
        = RotatedScorer<'q, B>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.coded.head.len
    }

    fn scorer<'q>(&'q self, query: &'q [f32]) -> RotatedScorer<'q, B> {
        let ground = (&self.rotation, &self.coded.params[..], self.metric);
        let (turned, own) = Own::of(query, ground);
        let near = Near::query(&turned, self.width);
        RotatedScorer { kernels: kernels(), rows: self, near, own, lifted: None }
    }

    fn scorer_of(&self, row: Row) -> RotatedScorer<'_, B> {
        let Factors { factor, add, .. } = self.factors(row.0);
        let norms = || (0..self.coded.head.len as u32).map(|row| self.length(row)).collect();
        let lifted = (self.metric == Metric::Dot).then(|| Lifted::new(self.lift.of(norms), row));
        let bytes = &self.coded.row(row.0)[..self.width.bytes(self.coded.head.dim)];
        let near = Near::row(bytes, || self.levels(row.0), (self.width, factor));
        let centre = if self.metric == Metric::Euclid { 0.0 } else { self.centre_square };
        let own = Own { constant: centre + add, scale: 1.0, length: 0.0, row: true };
        RotatedScorer { kernels: kernels(), rows: self, near, own, lifted }
    }
}

/// How a query meets the codes: all give `Σ level·query` with the scale of the query.
#[derive(Debug)]
enum Near {
    /// Two signs a time; the factor.
    Signs { bits: Vec<u8>, dim: usize, scale: f64 },
    /// One bit against four; the sum of the query.
    Planes { query: PlaneQuery, sum: i64, scale: f64 },
    /// 2 or 4 bits against eight; what is done to a sum of what codes stand for.
    Packed { query: PackedQuery, line: (i64, i64), scale: f64 },
    /// 3, 5, 6 or 7 bits against eight.
    Dense { query: DenseQuery, line: (i64, i64), scale: f64 },
    /// 8 bits.
    Bytes(Integer),
}

impl Near {
    fn query(turned: &[f32], width: Width) -> Self {
        match width.shared() {
            Shared::Bits => {
                let (codes, scale) = rounded(turned, 7.0);
                let sum = codes.iter().map(|&code| i64::from(code)).sum();
                Self::Planes { query: PlaneQuery::new(&codes), sum, scale }
            }
            Shared::Packed(packing) => {
                let (codes, scale) = rounded(turned, 127.0);
                Self::packed(&codes, scale, (packing, width))
            }
            Shared::Dense(dense) => {
                let (codes, scale) = rounded(turned, 127.0);
                Self::dense(&codes, scale, (dense, width))
            }
            Shared::Bytes => {
                let wide: Vec<f64> = turned.iter().map(|&x| f64::from(x)).collect();
                Self::Bytes(Integer::new(&wide, None))
            }
        }
    }

    fn row(bytes: &[u8], levels: impl Fn() -> Vec<i8>, (width, scale): (Width, f64)) -> Self {
        match width.shared() {
            Shared::Bits => Self::Signs { bits: bytes.to_vec(), dim: levels().len(), scale },
            Shared::Packed(packing) => Self::packed(&levels(), scale, (packing, width)),
            Shared::Dense(dense) => Self::dense(&levels(), scale, (dense, width)),
            Shared::Bytes => Self::Bytes(Integer::narrow(levels(), scale)),
        }
    }

    fn packed(codes: &[i8], scale: f64, (packing, width): (Packing, Width)) -> Self {
        let query = PackedQuery::new(codes, packing, &width.levels());
        Self::Packed { query, line: line(codes, width), scale }
    }

    fn dense(codes: &[i8], scale: f64, (dense, width): (DenseWidth, Width)) -> Self {
        let levels = width.levels().first_chunk().copied().unwrap_or_default();
        let query = DenseQuery::new(codes, dense, &levels);
        Self::Dense { query, line: line(codes, width), scale }
    }
}

/// What makes `Σ level·query` of the sum of what a kernel meets: times the first, less the second.
fn line(codes: &[i8], width: Width) -> (i64, i64) {
    let (step, shift) = width.line();
    (step, shift * codes.iter().map(|&code| i64::from(code)).sum::<i64>())
}

/// Estimated distances of [`RotatedRows`] to one query.
#[derive(Debug)]
pub struct RotatedScorer<'a, B = Vec<u8>> {
    kernels: &'static Kernels,
    rows: &'a RotatedRows<B>,
    near: Near,
    own: Own,
    lifted: Option<Lifted<'a>>,
}

impl<B: AsRef<[u8]>> RotatedScorer<'_, B> {
    /// The standard deviation of the estimate for `row`, over the draws of the rotation: 1.9 of
    /// them hold nearly always (`RaBitQ`, §3.2.2). It may order candidates, it proves nothing.
    pub fn deviation(&self, row: Row) -> f32 {
        (f64::from(self.rows.factors(row.0).error) * self.own.length) as f32
    }

    fn products(&self, numbers: &[u32], give: impl FnMut(usize, f64)) {
        let (mut give, count) = (give, numbers.len());
        let picked = self.rows.coded.picked(numbers);
        let mut sums = [0; NUMBERS];
        match &self.near {
            Near::Bytes(query) => query.products(self.kernels, picked, give, count),
            Near::Packed { query, line: (step, shift), scale } => {
                self.kernels.pick_packed(picked, query, &mut sums[..count]);
                let whole = |at: usize| (step * i64::from(sums[at]) - shift) as f64 * scale;
                (0..count).for_each(|at| give(at, whole(at)));
            }
            Near::Dense { query, line: (step, shift), scale } => {
                self.kernels.pick_dense(picked, query, &mut sums[..count]);
                let whole = |at: usize| (step * i64::from(sums[at]) - shift) as f64 * scale;
                (0..count).for_each(|at| give(at, whole(at)));
            }
            Near::Planes { query, sum, scale } => {
                self.kernels.pick_planes(picked, query, &mut sums[..count]);
                let whole = |at: usize| (2 * i64::from(sums[at]) - sum) as f64 * scale;
                (0..count).for_each(|at| give(at, whole(at)));
            }
            Near::Signs { bits, dim, scale } => {
                let mut pairs = [[0; 2]; NUMBERS];
                self.kernels.pick_bits(picked, bits, &mut pairs[..count]);
                let whole = |at: usize| (*dim as f64 - 2.0 * f64::from(pairs[at][1])) * scale;
                (0..count).for_each(|at| give(at, whole(at)));
            }
        }
    }
}

impl<B: AsRef<[u8]>> Scorer for RotatedScorer<'_, B> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        let Own { constant, scale, row, .. } = self.own;
        let metric = self.rows.metric;
        by_numbers(rows, out, |numbers, out| {
            self.products(numbers, |at, product| {
                let Factors { factor, add, .. } = self.rows.factors(numbers[at]);
                let product = factor * product;
                out[at] = match metric {
                    Metric::Euclid => (add + constant - 2.0 * product) as f32,
                    Metric::Cosine | Metric::Dot | Metric::Manhattan => {
                        let product = constant + product + if row { add } else { 0.0 };
                        let one = if metric == Metric::Cosine { 1.0 } else { 0.0 };
                        (one - product * scale) as f32
                    }
                };
            });
            if let Some(lifted) = self.lifted {
                out.iter_mut().zip(numbers).for_each(|(out, &row)| *out -= lifted.product(row));
            }
        });
    }

    fn ahead(&self, mut places: Range<u32>) {
        // The processor sees by itself where a run goes on.
        if let Some(row) = places.next() {
            kvant_kernels::fetch(self.rows.coded.row(row));
        }
    }
}

//! Rows as bytes, with one range for all values or one for each dimension.

use std::ops::Range;

use kvant_kernels::{Kernels, kernels};

use super::coded::{Coded, Head, float_at, metric_code, put_float};
use super::integer::Integer;
use super::lift::{Lift, Lifted};
use super::{by_numbers, check_rows};
use crate::metric::scale_of;
use crate::{CodeError, FileError, FloatRows, Metric, Row, Rows, Scorer};

/// The code byte of [`Int8Rows`].
pub(crate) const CODE: u8 = 2;
/// Bytes of a row behind its codes: `Σ (step·(code − 128))²` in f32.
const NORM: usize = 4;

/// Rows of bytes: a value is `middle + step·(code − 128)`; `dim + 4` bytes a row.
///
/// One range for all values where that loses nothing (pixels) and for the Manhattan distance;
/// else the range of each dimension, which found 0.997 of the ten nearest of text embeddings
/// against 0.994. Queries keep 15 bits (all of them where they lie on the grid of the rows), so
/// that rows and queries of bytes are measured exactly.
#[derive(Debug)]
pub struct Int8Rows<B = Vec<u8>> {
    coded: Coded<B>,
    metric: Metric,
    lift: Lift,
}

/// The middle and the step of values in `low..=high`.
fn range(low: f32, high: f32) -> (f32, f32) {
    let step = ((f64::from(high) - f64::from(low)) / 255.0) as f32;
    let step = if step > 0.0 && step.is_finite() { step } else { 1.0 };
    ((f64::from(low) + 128.0 * f64::from(step)) as f32, step)
}

fn bounds<'a>(values: impl Iterator<Item = &'a f32>) -> (f32, f32) {
    let wide = |(low, high): (f32, f32), &x: &f32| (low.min(x), high.max(x));
    let (low, high) = values.fold((f32::INFINITY, f32::NEG_INFINITY), wide);
    if low <= high { (low, high) } else { (0.0, 0.0) }
}

fn code(value: f32, (middle, step): (f32, f32)) -> u8 {
    let at = (f64::from(value) - f64::from(middle)) / f64::from(step);
    (at.round() + 128.0).clamp(0.0, 255.0) as u8
}

fn value(code: u8, (middle, step): (f32, f32)) -> f64 {
    f64::from(middle) + f64::from(step) * (f64::from(code) - 128.0)
}

impl Int8Rows {
    /// Rounds `rows` to bytes. O(n·dim), twice where the ranges are by dimension.
    ///
    /// # Errors
    /// If a value is not finite or there are too many dimensions.
    pub fn encode(rows: &FloatRows<'_>) -> Result<Self, CodeError> {
        check_rows(rows)?;
        let (dim, len, metric) = (rows.dim(), rows.len(), rows.metric());
        let data = rows.data();
        let (low, high) = bounds(data.iter());
        let one = range(low, high);
        let uniform = metric == Metric::Manhattan || loses_nothing(data, one);
        let ranges: Vec<(f32, f32)> = if uniform {
            vec![one; dim]
        } else {
            let mut ends = vec![(f32::INFINITY, f32::NEG_INFINITY); dim];
            for row in data.chunks_exact(dim) {
                for (end, &x) in ends.iter_mut().zip(row) {
                    *end = (end.0.min(x), end.1.max(x));
                }
            }
            ends.into_iter().map(|(low, high)| range(low, high)).collect()
        };
        let params = ranges.iter().map(|r| r.0).chain(ranges.iter().map(|r| r.1)).collect();
        let detail = u32::from(uniform);
        let head = Head { code: CODE, metric: metric_code(metric), dim, detail, len, seed: 0 };
        let mut coded = Coded::new(head, params, dim + NORM);
        for (bytes, row) in coded.rows_mut().zip(data.chunks_exact(dim)) {
            let mut norm = 0.0;
            for ((byte, &x), &range) in bytes.iter_mut().zip(row).zip(&ranges) {
                *byte = code(x, range);
                norm += (f64::from(range.1) * (f64::from(*byte) - 128.0)).powi(2);
            }
            put_float(bytes, dim, norm as f32);
        }
        Ok(Self { coded, metric, lift: Lift::default() })
    }
}

impl Int8Rows {
    /// Whether the rows are bytes already: all come back as they were.
    pub(crate) fn are_bytes(rows: &FloatRows<'_>) -> bool {
        let (low, high) = bounds(rows.data().iter());
        loses_nothing(rows.data(), range(low, high))
    }
}

fn loses_nothing(data: &[f32], one: (f32, f32)) -> bool {
    data.iter().all(|&x| value(code(x, one), one) == f64::from(x))
}

impl<B: AsRef<[u8]>> Int8Rows<B> {
    /// Reads what [`to_bytes`](Self::to_bytes) gave, borrowing it.
    ///
    /// # Errors
    /// If the bytes are not exactly such rows, `len` of them.
    pub fn open(bytes: B, len: usize) -> Result<Self, FileError> {
        let coded = Coded::open(bytes, len, |head| match (head.code, head.detail) {
            (CODE, 0 | 1) => Ok((2 * head.dim, head.dim + NORM)),
            (code, _) => Err(FileError::Shape { got: code }),
        })?;
        let metric = coded.head.dense_metric()?;
        Ok(Self { coded, metric, lift: Lift::default() })
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

    /// Whether one range serves all dimensions.
    fn is_uniform(&self) -> bool {
        self.coded.head.detail == 1
    }

    fn ranges(&self) -> impl Iterator<Item = (f32, f32)> + '_ {
        let (middle, step) = self.coded.params.split_at(self.coded.head.dim);
        middle.iter().copied().zip(step.iter().copied())
    }

    fn decode(&self, row: u32) -> Vec<f64> {
        self.coded.row(row).iter().zip(self.ranges()).map(|(&c, r)| value(c, r)).collect()
    }

    fn with<'q>(
        &'q self,
        query: &[f64],
        scale: f32,
        lifted: Option<Lifted<'q>>,
    ) -> Int8Scorer<'q, B> {
        let one = self.ranges().next().filter(|_| self.is_uniform());
        let near = match self.metric {
            Metric::Manhattan => Near::gaps(query, one.unwrap_or((0.0, 1.0))),
            Metric::Cosine | Metric::Dot => {
                let weights: Vec<f64> =
                    query.iter().zip(self.ranges()).map(|(q, r)| q * f64::from(r.1)).collect();
                let constant =
                    query.iter().zip(self.ranges()).map(|(q, r)| q * f64::from(r.0)).sum();
                Near::Products { query: Integer::new(&weights, None), constant }
            }
            Metric::Euclid => {
                let gap = |(q, r): (&f64, (f32, f32))| (q - f64::from(r.0)) * f64::from(r.1);
                let weights: Vec<f64> = query.iter().zip(self.ranges()).map(gap).collect();
                let gaps = query.iter().zip(self.ranges()).map(|(q, r)| q - f64::from(r.0));
                let grid = one.map(|(_, step)| f64::from(step) * f64::from(step));
                Near::Products {
                    query: Integer::new(&weights, grid),
                    constant: gaps.map(|gap| gap * gap).sum(),
                }
            }
        };
        Int8Scorer { kernels: kernels(), rows: self, near, scale, lifted }
    }
}

impl<B: AsRef<[u8]> + Sync> Rows for Int8Rows<B> {
    type Query = [f32];
    type Scorer<'q>
        = Int8Scorer<'q, B>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.coded.head.len
    }

    fn scorer<'q>(&'q self, query: &'q [f32]) -> Int8Scorer<'q, B> {
        assert_eq!(query.len(), self.coded.head.dim, "query of another dimension");
        let wide: Vec<f64> = query.iter().map(|&x| f64::from(x)).collect();
        self.with(&wide, scale_of(self.metric, query), None)
    }

    fn scorer_of(&self, row: Row) -> Int8Scorer<'_, B> {
        let one = self.ranges().next().filter(|_| self.is_uniform());
        if let Some((_, step)) = one.filter(|_| self.metric == Metric::Euclid) {
            // Codes of one range meet as they are: nothing is decoded or rounded.
            let bytes = self.coded.row(row.0);
            let (codes, _) = bytes.split_at(self.coded.head.dim);
            let codes = codes.iter().map(|&byte| (byte ^ 128) as i8).collect();
            let query = Integer::narrow(codes, f64::from(step) * f64::from(step));
            let constant = f64::from(float_at(bytes, self.coded.head.dim));
            let near = Near::Products { query, constant };
            return Int8Scorer { kernels: kernels(), rows: self, near, scale: 1.0, lifted: None };
        }
        let length = |row| self.decode(row).iter().map(|x| x * x).sum::<f64>().sqrt();
        let norms = || (0..self.coded.head.len as u32).map(length).collect();
        let lifted = (self.metric == Metric::Dot).then(|| Lifted::new(self.lift.of(norms), row));
        self.with(&self.decode(row.0), 1.0, lifted)
    }
}

/// How a query meets the codes.
#[derive(Debug)]
enum Near {
    /// `Σ (code − 128)·query`, and what does not depend on the row.
    Products { query: Integer, constant: f64 },
    /// The query as codes, what lies outside their range, and the step.
    Gaps { query: Vec<u8>, outside: f64, step: f64 },
}

impl Near {
    /// What lies outside the range of the codes is as far from every row.
    fn gaps(query: &[f64], range: (f32, f32)) -> Self {
        let (low, high) = (value(0, range), value(255, range));
        let outside = query.iter().map(|q| (q - q.clamp(low, high)).abs()).sum();
        let query = query.iter().map(|q| code(q.clamp(low, high) as f32, range)).collect();
        Self::Gaps { query, outside, step: range.1.into() }
    }
}

/// Distances of [`Int8Rows`] to one query.
#[derive(Debug)]
pub struct Int8Scorer<'a, B = Vec<u8>> {
    kernels: &'static Kernels,
    rows: &'a Int8Rows<B>,
    near: Near,
    /// One over the length of the query where the measure is the cosine.
    scale: f32,
    lifted: Option<Lifted<'a>>,
}

impl<B: AsRef<[u8]>> Scorer for Int8Scorer<'_, B> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        let coded = &self.rows.coded;
        let (dim, scale) = (coded.head.dim, f64::from(self.scale));
        by_numbers(rows, out, |numbers, out| {
            let picked = coded.picked(numbers);
            match &self.near {
                Near::Gaps { query, outside, step } => {
                    let mut gaps = [0; super::NUMBERS];
                    let gaps = &mut gaps[..numbers.len()];
                    self.kernels.pick_gaps(picked, query, gaps);
                    for (out, &gap) in out.iter_mut().zip(&*gaps) {
                        *out = (outside + step * f64::from(gap)) as f32;
                    }
                }
                Near::Products { query, constant } => {
                    let norm = |at: usize| f64::from(float_at(coded.row(numbers[at]), dim));
                    let measure = |at: usize, product: f64| match self.rows.metric {
                        Metric::Cosine => 1.0 - (constant + product) * scale,
                        Metric::Dot => -(constant + product),
                        // A sum of squares is not negative, however it was rounded.
                        Metric::Euclid | Metric::Manhattan => {
                            (norm(at) + constant - 2.0 * product).max(0.0)
                        }
                    };
                    let give = |at: usize, product| out[at] = measure(at, product) as f32;
                    query.products(self.kernels, picked, give, numbers.len());
                }
            }
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

//! Rows of bits: sets, fingerprints, signs of vectors.

use std::fmt;

use kvant_kernels::{Kernels, kernels};

use super::coded::{Coded, Head};
use super::{NUMBERS, by_numbers, check_rows};
use crate::{CodeError, FileError, FloatRows, Row, Rows, Scorer};

/// The code byte of [`BitRows`].
pub(crate) const CODE: u8 = 4;

/// The measure of rows of bits: lower is closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BitMetric {
    /// Bits that differ.
    Hamming,
    /// `1 − |a ∧ b| / |a ∨ b|`, in 0..=1; two empty sets are at 0.
    Jaccard,
}

impl BitMetric {
    /// Every measure of bits.
    pub const ALL: [Self; 2] = [Self::Hamming, Self::Jaccard];

    fn measure(self, [both, one]: [u32; 2]) -> f32 {
        match self {
            Self::Hamming => one as f32,
            Self::Jaccard if one == 0 => 0.0,
            Self::Jaccard => (f64::from(one) / (f64::from(one) + f64::from(both))) as f32,
        }
    }
}

impl fmt::Display for BitMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hamming => "hamming",
            Self::Jaccard => "jaccard",
        })
    }
}

/// Rows of `dim` bits in `⌈dim / 8⌉` bytes: bit `j` is bit `j % 8` of byte `j / 8`, what follows
/// the last one is 0. A query is such bytes.
#[derive(Clone, Debug)]
pub struct BitRows<B = Vec<u8>> {
    coded: Coded<B>,
    metric: BitMetric,
}

impl BitRows {
    /// Copies rows of `dim` bits; bits past `dim` are dropped.
    ///
    /// # Errors
    /// If there are too many dimensions.
    ///
    /// # Panics
    /// If `dim` is 0 or `bytes` are no whole rows.
    pub fn new(bytes: &[u8], dim: usize, metric: BitMetric) -> Result<Self, CodeError> {
        let stride = dim.div_ceil(8);
        assert!(dim > 0 && bytes.len().is_multiple_of(stride), "whole rows of bits");
        if dim > crate::DIM_MAX {
            return Err(CodeError::Dimension { got: dim, most: crate::DIM_MAX });
        }
        let len = bytes.len() / stride;
        let mut rows = Self::zeros(dim, len, metric);
        for (to, from) in rows.coded.rows_mut().zip(bytes.chunks_exact(stride)) {
            to.copy_from_slice(from);
            if let Some(last) = to.last_mut().filter(|_| !dim.is_multiple_of(8)) {
                *last &= (1 << (dim % 8)) - 1;
            }
        }
        Ok(rows)
    }

    /// The signs of `rows`, 1 for what is above 0.
    ///
    /// # Errors
    /// If a value is not finite or there are too many dimensions.
    pub fn signs(rows: &FloatRows<'_>, metric: BitMetric) -> Result<Self, CodeError> {
        check_rows(rows)?;
        let mut signs = Self::zeros(rows.dim(), rows.len(), metric);
        for (bytes, row) in signs.coded.rows_mut().zip(rows.data().chunks_exact(rows.dim())) {
            put_signs(row, bytes);
        }
        Ok(signs)
    }

    fn zeros(dim: usize, len: usize, metric: BitMetric) -> Self {
        let head = Head { code: CODE, metric: metric as u8, dim, detail: 0, len, seed: 0 };
        Self { coded: Coded::new(head, Vec::new(), dim.div_ceil(8)), metric }
    }
}

/// One bit a value.
fn put_signs(values: &[f32], bytes: &mut [u8]) {
    for (at, _) in values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
        bytes[at / 8] |= 1 << (at % 8);
    }
}

impl<B: AsRef<[u8]>> BitRows<B> {
    /// Reads what [`to_bytes`](Self::to_bytes) gave, borrowing it.
    ///
    /// # Errors
    /// If the bytes are not exactly such rows, `len` of them.
    pub fn open(bytes: B, len: usize) -> Result<Self, FileError> {
        let coded = Coded::open(bytes, len, |head| match (head.code, head.detail) {
            (CODE, 0) => Ok((0, head.dim.div_ceil(8))),
            (code, _) => Err(FileError::Shape { got: code }),
        })?;
        let got = coded.head.metric.into();
        let metric = BitMetric::ALL.get(usize::from(coded.head.metric)).copied();
        let metric = metric.ok_or(FileError::Header { name: "metric", got })?;
        Ok(Self { coded, metric })
    }

    /// The rows as bytes, the same on every machine.
    pub fn to_bytes(&self) -> &[u8] {
        self.coded.bytes()
    }

    /// Bits of a row.
    pub fn dim(&self) -> usize {
        self.coded.head.dim
    }

    /// The measure.
    pub fn metric(&self) -> BitMetric {
        self.metric
    }
}

impl<B: AsRef<[u8]> + Sync> Rows for BitRows<B> {
    type Query = [u8];
    type Scorer<'q>
        = BitScorer<'q, B>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.coded.head.len
    }

    fn scorer<'q>(&'q self, query: &'q [u8]) -> BitScorer<'q, B> {
        assert_eq!(query.len(), self.dim().div_ceil(8), "query of another dimension");
        BitScorer { kernels: kernels(), rows: self, query: query.to_vec() }
    }

    fn scorer_of(&self, row: Row) -> BitScorer<'_, B> {
        self.scorer(self.coded.row(row.0))
    }
}

/// Distances of [`BitRows`] to one query.
#[derive(Debug)]
pub struct BitScorer<'a, B = Vec<u8>> {
    kernels: &'static Kernels,
    rows: &'a BitRows<B>,
    query: Vec<u8>,
}

impl<B: AsRef<[u8]>> Scorer for BitScorer<'_, B> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        by_numbers(rows, out, |numbers, out| {
            let mut pairs = [[0; 2]; NUMBERS];
            let pairs = &mut pairs[..numbers.len()];
            self.kernels.pick_bits(self.rows.coded.picked(numbers), &self.query, pairs);
            out.iter_mut().zip(pairs).for_each(|(out, &mut pair)| {
                *out = self.rows.metric.measure(pair);
            });
        });
    }
}

/// The signs of dense rows, compared bit by bit: 32 times smaller, for finding candidates.
///
/// A query is dense; a distance is the number of signs that differ, for whatever measure.
#[derive(Clone, Debug)]
pub struct SignRows<B = Vec<u8>>(BitRows<B>);

impl SignRows {
    /// The signs of `rows`.
    ///
    /// # Errors
    /// If a value is not finite or there are too many dimensions.
    pub fn encode(rows: &FloatRows<'_>) -> Result<Self, CodeError> {
        BitRows::signs(rows, BitMetric::Hamming).map(Self)
    }
}

impl<B: AsRef<[u8]>> SignRows<B> {
    /// Reads what [`to_bytes`](Self::to_bytes) gave, borrowing it.
    ///
    /// # Errors
    /// If the bytes are not exactly such rows, `len` of them.
    pub fn open(bytes: B, len: usize) -> Result<Self, FileError> {
        BitRows::open(bytes, len).map(Self)
    }

    /// Signs of a row.
    pub fn dim(&self) -> usize {
        self.0.dim()
    }

    /// The rows as bytes, the same on every machine.
    pub fn to_bytes(&self) -> &[u8] {
        self.0.to_bytes()
    }
}

impl<B: AsRef<[u8]> + Sync> Rows for SignRows<B> {
    type Query = [f32];
    type Scorer<'q>
        = BitScorer<'q, B>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn scorer<'q>(&'q self, query: &'q [f32]) -> BitScorer<'q, B> {
        assert_eq!(query.len(), self.0.dim(), "query of another dimension");
        let mut bits = vec![0; query.len().div_ceil(8)];
        put_signs(query, &mut bits);
        BitScorer { kernels: kernels(), rows: &self.0, query: bits }
    }

    fn scorer_of(&self, row: Row) -> BitScorer<'_, B> {
        self.0.scorer_of(row)
    }
}

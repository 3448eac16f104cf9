//! Rows as f16 or bf16, measured in f32.

use std::ops::Range;

use half::{bf16, f16};
use kvant_kernels::{Half, Kernels, Sum, kernels};

use super::coded::{Coded, Head, metric_code};
use super::lift::{Lift, Lifted};
use super::{by_numbers, check_rows};
use crate::metric::{norm, scale_of};
use crate::{CodeError, FileError, FloatRows, Metric, Row, Rows, Scorer};

/// The code byte of [`HalfRows`].
pub(crate) const CODE: u8 = 1;

/// Rows of 16-bit floats, `2·dim` bytes each. An f16 is off by at most 2⁻¹¹ of itself (values
/// beyond 65,504 are cut to it), a bf16 by 2⁻⁸; distances are those of the stored rows, summed in
/// f32.
#[derive(Debug)]
pub struct HalfRows<B = Vec<u8>> {
    coded: Coded<B>,
    half: Half,
    metric: Metric,
    lift: Lift,
}

impl HalfRows {
    /// Rounds `rows` to the nearest 16-bit floats.
    ///
    /// # Errors
    /// If a value is not finite or there are too many dimensions.
    pub fn encode(rows: &FloatRows<'_>, half: Half) -> Result<Self, CodeError> {
        check_rows(rows)?;
        let (dim, len) = (rows.dim(), rows.len());
        let detail = u32::from(half == Half::Bf16);
        let head =
            Head { code: CODE, metric: metric_code(rows.metric()), dim, detail, len, seed: 0 };
        let mut coded = Coded::new(head, Vec::new(), 2 * dim);
        for (bytes, row) in coded.rows_mut().zip(rows.data().chunks_exact(dim)) {
            for (pair, &value) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(row) {
                *pair = match half {
                    Half::F16 => {
                        let most = f16::MAX.to_f32();
                        f16::from_f32(value.clamp(-most, most)).to_le_bytes()
                    }
                    Half::Bf16 => {
                        let most = bf16::MAX.to_f32();
                        bf16::from_f32(value.clamp(-most, most)).to_le_bytes()
                    }
                };
            }
        }
        Ok(Self { coded, half, metric: rows.metric(), lift: Lift::default() })
    }
}

impl<B: AsRef<[u8]>> HalfRows<B> {
    /// Reads what [`to_bytes`](Self::to_bytes) gave, borrowing it.
    ///
    /// # Errors
    /// If the bytes are not exactly such rows, `len` of them.
    pub fn open(bytes: B, len: usize) -> Result<Self, FileError> {
        let coded = Coded::open(bytes, len, |head| match (head.code, head.detail) {
            (CODE, 0 | 1) => Ok((0, 2 * head.dim)),
            (code, _) => Err(FileError::Shape { got: code }),
        })?;
        let half = if coded.head.detail == 1 { Half::Bf16 } else { Half::F16 };
        let metric = coded.head.dense_metric()?;
        Ok(Self { coded, half, metric, lift: Lift::default() })
    }

    /// The values of a row, as they were rounded.
    pub(crate) fn vector(&self, row: Row) -> Vec<f32> {
        let pairs = self.coded.row(row.0).as_chunks().0.iter();
        match self.half {
            Half::F16 => pairs.map(|pair| f16::from_le_bytes(*pair).to_f32()).collect(),
            Half::Bf16 => pairs.map(|pair| bf16::from_le_bytes(*pair).to_f32()).collect(),
        }
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

    /// Which floats.
    pub fn half(&self) -> Half {
        self.half
    }

    fn decode(&self, row: u32) -> Vec<f32> {
        let wide = |&pair: &[u8; 2]| match self.half {
            Half::F16 => f16::from_le_bytes(pair).to_f32(),
            Half::Bf16 => bf16::from_le_bytes(pair).to_f32(),
        };
        self.coded.row(row).as_chunks::<2>().0.iter().map(wide).collect()
    }
}

impl<B: AsRef<[u8]> + Sync> Rows for HalfRows<B> {
    type Query = [f32];
    type Scorer<'q>
        = HalfScorer<'q, B>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.coded.head.len
    }

    fn scorer<'q>(&'q self, query: &'q [f32]) -> HalfScorer<'q, B> {
        assert_eq!(query.len(), self.coded.head.dim, "query of another dimension");
        let scale = scale_of(self.metric, query);
        HalfScorer { kernels: kernels(), rows: self, query: query.to_vec(), scale, lifted: None }
    }

    fn scorer_of(&self, row: Row) -> HalfScorer<'_, B> {
        let norms = || (0..self.coded.head.len as u32).map(|row| norm(&self.decode(row))).collect();
        let lifted = (self.metric == Metric::Dot).then(|| Lifted::new(self.lift.of(norms), row));
        let query = self.decode(row.0);
        HalfScorer { kernels: kernels(), rows: self, query, scale: 1.0, lifted }
    }
}

/// Distances of [`HalfRows`] to one query.
#[derive(Debug)]
pub struct HalfScorer<'a, B = Vec<u8>> {
    kernels: &'static Kernels,
    rows: &'a HalfRows<B>,
    query: Vec<f32>,
    /// One over the length of the query where the measure is the cosine.
    scale: f32,
    lifted: Option<Lifted<'a>>,
}

impl<B: AsRef<[u8]>> Scorer for HalfScorer<'_, B> {
    fn score(&mut self, rows: &[Row], out: &mut [f32]) {
        let (metric, scale) = (self.rows.metric, self.scale);
        let sum = metric.sum();
        by_numbers(rows, out, |numbers, out| {
            let picked = self.rows.coded.picked(numbers);
            self.kernels.pick_half(self.rows.half, sum, picked, &self.query, out);
            finish(metric, (scale, self.lifted), numbers, out);
        });
    }

    fn ahead(&self, mut places: Range<u32>) {
        // The processor sees by itself where a run goes on.
        if let Some(row) = places.next() {
            kvant_kernels::fetch(self.rows.coded.row(row));
        }
    }
}

/// Makes distances of sums.
pub(crate) fn finish(
    metric: Metric,
    (scale, lifted): (f32, Option<Lifted<'_>>),
    numbers: &[u32],
    out: &mut [f32],
) {
    match metric {
        Metric::Cosine => out.iter_mut().for_each(|out| *out = 1.0 - *out * scale),
        Metric::Dot => out.iter_mut().for_each(|out| *out = -*out),
        Metric::Euclid | Metric::Manhattan => {}
    }
    if let Some(lifted) = lifted {
        out.iter_mut().zip(numbers).for_each(|(out, &row)| *out -= lifted.product(row));
    }
}

impl Metric {
    /// What is summed over the values of two rows.
    pub(crate) fn sum(self) -> Sum {
        match self {
            Self::Cosine | Self::Dot => Sum::Product,
            Self::Euclid => Sum::Square,
            Self::Manhattan => Sum::Magnitude,
        }
    }
}

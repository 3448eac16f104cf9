//! What a row is: one file per code, each implementing [`Rows`](crate::Rows).
//!
//! A code is made from rows of f32 ([`FloatRows`]), holds one buffer of bytes of its own or of a
//! mapping, and knows nothing of shapes.

use thiserror::Error;

use crate::{FloatRows, Metric, Row};

pub(crate) mod bit;
pub(crate) mod bound;
pub(crate) mod coded;
pub(crate) mod float;
pub(crate) mod half;
pub(crate) mod int8;
pub(crate) mod integer;
pub(crate) mod lift;
pub(crate) mod multi;
pub(crate) mod paired;
pub(crate) mod pq;
pub(crate) mod rerank;
pub(crate) mod rotated;
pub(crate) mod sparse;

/// Rows whose numbers are handed to a kernel at a time.
const NUMBERS: usize = 256;

/// Why rows cannot be held in a code.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodeError {
    /// The code measures other things.
    #[error("code {code} does not measure {metric}: use {allowed}")]
    Metric {
        /// The code.
        code: String,
        /// What was asked for.
        metric: Metric,
        /// What it measures.
        allowed: &'static str,
    },
    /// A value that is no finite number.
    #[error("row {row}, value {at} is not a finite number: codes hold finite numbers only")]
    NotFinite {
        /// The row.
        row: u32,
        /// Which of its values.
        at: usize,
    },
    /// More parts than dimensions.
    #[error("a code of {got} parts over rows of {most} dimensions: use {most} or fewer")]
    Parts {
        /// The parts.
        got: usize,
        /// The dimension.
        most: usize,
    },
    /// Too many dimensions for sums in 32 bits.
    #[error("rows of {got} dimensions: a code takes at most {most}")]
    Dimension {
        /// The dimension.
        got: usize,
        /// The limit, [`DIM_MAX`](crate::DIM_MAX).
        most: usize,
    },
}

/// Refuses what no code holds.
pub(crate) fn check_rows(rows: &FloatRows<'_>) -> Result<(), CodeError> {
    let (got, most) = (rows.dim(), crate::DIM_MAX);
    if got > most {
        return Err(CodeError::Dimension { got, most });
    }
    let data = rows.data();
    match data.iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(at) => Err(CodeError::NotFinite { row: (at / got) as u32, at: at % got }),
    }
}

/// Calls `measure` with the numbers of at most 256 rows at a time.
pub(crate) fn by_numbers<O>(
    rows: &[Row],
    out: &mut [O],
    mut measure: impl FnMut(&[u32], &mut [O]),
) {
    assert_eq!(rows.len(), out.len(), "one distance per row");
    let mut numbers = [0; NUMBERS];
    for (rows, out) in rows.chunks(NUMBERS).zip(out.chunks_mut(NUMBERS)) {
        for (number, row) in numbers.iter_mut().zip(rows) {
            *number = row.0;
        }
        measure(&numbers[..rows.len()], out);
    }
}

//! What codes are made from and held against.

use crate::{FileError, FloatRows, Metric, Order};

/// What codes were made from, and that itself where it is at hand.
pub(crate) struct Ground<'a> {
    pub(crate) dim: usize,
    pub(crate) len: usize,
    pub(crate) metric: Metric,
    pub(crate) rows: Option<FloatRows<'a>>,
}

impl<'a> Ground<'a> {
    pub(super) fn rows(&self) -> Result<FloatRows<'a>, FileError> {
        let expected = (self.len as u64).saturating_mul(self.dim as u64).saturating_mul(4);
        self.rows.as_ref().map(FloatRows::view).ok_or(FileError::Length { expected, got: 0 })
    }
}

/// The rows in an order without empty places; those are zeros.
pub(super) fn lying(rows: &FloatRows<'_>, order: &Order) -> Vec<f32> {
    let mut data = vec![0.0; order.places() * rows.dim()];
    for (place, to) in (0..).zip(data.chunks_exact_mut(rows.dim())) {
        if let Some(row) = order.row(place) {
            to.copy_from_slice(rows.vector(row));
        }
    }
    data
}

/// Refuses codes of another dimension or measure.
pub(super) fn fits(
    rows: &Ground<'_>,
    (dim, metric): (usize, Option<Metric>),
) -> Result<(), FileError> {
    if dim != rows.dim {
        return Err(FileError::Header { name: "dimension", got: dim as u64 });
    }
    match metric.filter(|&metric| metric != rows.metric) {
        None => Ok(()),
        Some(metric) => {
            let got = crate::code::coded::metric_code(metric).into();
            Err(FileError::Header { name: "metric", got })
        }
    }
}

//! Coding one row after the other, and turning a query to where codes are.

use kvant_kernels::{DenseWidth, Packing};

use super::rotation::Rotation;
use super::{FACTORS, Width};
use crate::code::coded::put_float;
use crate::metric::scale_of;
use crate::{FloatRows, Metric, Rows};

/// The mean of all rows, 0 of none.
pub(super) fn mean(rows: &FloatRows<'_>) -> Vec<f32> {
    let mut sums = vec![0.0f64; rows.dim()];
    for row in rows.data().chunks_exact(rows.dim()) {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let count = rows.len().max(1) as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// What rows are coded by, and room for one.
pub(super) struct Coder<'a> {
    rotation: &'a Rotation,
    centre: Vec<f64>,
    metric: Metric,
    width: Width,
    turned: Vec<f32>,
    levels: Vec<i8>,
}

impl<'a> Coder<'a> {
    pub(super) fn new(
        rotation: &'a Rotation,
        centre: &[f32],
        (metric, width): (Metric, Width),
    ) -> Self {
        let dim = centre.len();
        let centre = centre.iter().map(|&c| f64::from(c)).collect();
        Self { rotation, centre, metric, width, turned: vec![0.0; dim], levels: vec![0; dim] }
    }

    /// Writes the codes of `row` and what is kept with them.
    pub(super) fn code(&mut self, row: &[f32], bytes: &mut [u8]) {
        let (turned, centre) = (&mut self.turned, &self.centre);
        for ((turned, &x), c) in turned.iter_mut().zip(row).zip(centre) {
            *turned = (f64::from(x) - c) as f32;
        }
        let along: f64 = turned.iter().zip(centre).map(|(&r, c)| f64::from(r) * c).sum();
        self.rotation.turn(turned);
        let (codes, factors) = bytes.split_at_mut(bytes.len() - FACTORS);
        self.width.encode(turned, codes, &mut self.levels);
        put_factors(factors, turned, &self.levels, (self.metric, along));
    }
}

/// What a row adds: `‖r‖²` to squared distances, `⟨c, o − c⟩` to products of rows.
fn put_factors(bytes: &mut [u8], turned: &[f32], levels: &[i8], (metric, along): (Metric, f64)) {
    let pairs = || turned.iter().zip(levels).map(|(&r, &x)| (f64::from(r), f64::from(x)));
    let square: f64 = pairs().map(|(r, _)| r * r).sum();
    let product: f64 = pairs().map(|(r, x)| r * x).sum();
    let size: f64 = pairs().map(|(_, x)| x * x).sum();
    let (factor, error) = if product > 0.0 {
        let apart = (square * size / (product * product) - 1.0).max(0.0);
        let others = (turned.len() as f64 - 1.0).max(1.0);
        (square / product, (square * apart / others).sqrt())
    } else {
        (0.0, square.sqrt())
    };
    put_float(bytes, 0, factor as f32);
    put_float(bytes, 4, if metric == Metric::Euclid { square } else { along } as f32);
    // Up to the next bf16.
    let error = (error as f32).to_bits().saturating_add(0xFFFF) >> 16;
    bytes[8..10].copy_from_slice(&(error as u16).to_le_bytes());
}

/// What of a distance comes from the query alone.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) constant: f64,
    /// One over the length of the query where the measure is the cosine.
    pub(super) scale: f64,
    /// What the errors of rows are multiplied by.
    pub(super) length: f64,
    /// It is a row itself: products of rows need what both add.
    pub(super) row: bool,
}

impl Own {
    /// A query where codes are, and what comes from it alone.
    pub(super) fn of(
        query: &[f32],
        (rotation, centre, metric): (&Rotation, &[f32], Metric),
    ) -> (Vec<f32>, Self) {
        assert_eq!(query.len(), centre.len(), "query of another dimension");
        let scale = f64::from(scale_of(metric, query));
        let pairs = || query.iter().zip(centre).map(|(&q, &c)| (f64::from(q), f64::from(c)));
        let euclid = metric == Metric::Euclid;
        let mut turned: Vec<f32> =
            pairs().map(|(q, c)| if euclid { q - c } else { q } as f32).collect();
        let square: f64 = turned.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let constant = if euclid { square } else { pairs().map(|(q, c)| q * c).sum() };
        rotation.turn(&mut turned);
        let length = square.sqrt() * scale * if euclid { 2.0 } else { 1.0 };
        (turned, Self { constant, scale, length, row: false })
    }
}

/// `values` as whole numbers up to `most`, and what one of them stands for.
pub(super) fn rounded(values: &[f32], most: f32) -> (Vec<i8>, f64) {
    let largest = values.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
    let scale = if largest > 0.0 { f64::from(largest) / f64::from(most) } else { 1.0 };
    (values.iter().map(|&v| (f64::from(v) / scale).round() as i8).collect(), scale)
}

/// How the codes of a row share bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shared {
    /// One bit each.
    Bits,
    /// Two or four in a byte.
    Packed(Packing),
    /// In planes.
    Dense(DenseWidth),
    /// A byte each.
    Bytes,
}

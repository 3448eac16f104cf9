//! Where shapes that cut space make their cuts: near by a measure is near in Euclid's sense there.
//!
//! Rows of unit length (cosine) and rows measured by Euclidean distance lie there as they are; so
//! do those of the Manhattan distance, whose nearest are but likely to be near there. For the
//! inner product rows `x` get one more coordinate, `√(M² − ‖x‖²)`, and queries a 0 (Bachrach et
//! al., "Speeding up the Xbox recommender system", 2014): rows no longer than `M` then lie on a
//! sphere, and the nearest to a query are those of the largest product. `M` is the length that
//! 95 % of the rows do not pass; longer ones have 0.

use crate::metric::{norm, scale_of};
use crate::{FloatRows, Metric};

/// Rows not longer than `M`, in percent.
const WITHIN: usize = 95;

/// The space of the rows of one index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Space {
    pub(crate) metric: Metric,
    pub(crate) dim: usize,
    /// `M` where the measure is the inner product, else 0.
    pub(crate) length: f32,
}

impl Space {
    /// That of `rows`.
    pub(crate) fn of(rows: &FloatRows<'_>) -> Self {
        let (metric, dim) = (rows.metric(), rows.dim());
        let length = if metric == Metric::Dot {
            let mut norms: Vec<f64> = rows.data().chunks_exact(dim).map(norm).collect();
            let place = (norms.len() * WITHIN / 100).min(norms.len().saturating_sub(1));
            if norms.is_empty() {
                0.0
            } else {
                *norms.select_nth_unstable_by(place, f64::total_cmp).1 as f32
            }
        } else {
            0.0
        };
        Self { metric, dim, length }
    }

    /// Coordinates of a row there.
    pub(crate) fn width(&self) -> usize {
        self.dim + usize::from(self.metric == Metric::Dot)
    }

    /// The coordinate that a row gets, 0 where it gets none.
    pub(crate) fn lift(&self, row: &[f32]) -> f32 {
        if self.metric != Metric::Dot {
            return 0.0;
        }
        (f64::from(self.length).powi(2) - norm(row).powi(2)).max(0.0).sqrt() as f32
    }

    /// What a query is multiplied by to lie among the rows.
    pub(crate) fn scale(&self, query: &[f32]) -> f32 {
        if self.metric != Metric::Dot {
            return scale_of(self.metric, query);
        }
        let norm = norm(query);
        if norm > 0.0 { (f64::from(self.length) / norm) as f32 } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use kvant_testkit::Random;

    use super::*;

    /// The order of products is that of distances, where no row is too long.
    #[test]
    fn the_largest_products_are_nearest() {
        let mut random = Random::new(4);
        let mut data = random.normals(8 * 50);
        // 95 % of them are no longer than the longest.
        data[..8].copy_from_slice(&[3.0; 8]);
        data[8..32].copy_from_slice(&[3.0; 24]);
        let rows = FloatRows::new(&data, 8, Metric::Dot);
        let space = Space::of(&rows);
        assert!((space.length - 72f32.sqrt()).abs() < 1e-5, "{}", space.length);
        let query = random.normals(8);
        let scale = space.scale(&query);
        let ranked = |measure: &dyn Fn(&[f32]) -> f64| {
            let mut order: Vec<(f64, usize)> =
                data.chunks_exact(8).map(measure).zip(0..).skip(4).collect();
            order.sort_by(|a, b| a.0.total_cmp(&b.0));
            order.into_iter().map(|(_, row)| row).collect::<Vec<_>>()
        };
        let dot = |row: &[f32]| -> f64 {
            row.iter().zip(&query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        let far = |row: &[f32]| -> f64 {
            let pairs = row.iter().zip(&query);
            let flat: f64 = pairs.map(|(&a, &b)| f64::from(a - b * scale).powi(2)).sum();
            flat + f64::from(space.lift(row)).powi(2)
        };
        assert_eq!(ranked(&|row| -dot(row)), ranked(&far));
        let plain = Space { metric: Metric::Euclid, ..space };
        assert_eq!((plain.lift(&query), plain.scale(&query), plain.width()), (0.0, 1.0, 8));
    }
}

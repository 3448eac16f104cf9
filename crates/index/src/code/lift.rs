//! The coordinate that makes a metric of the inner product while a graph is built.

use std::sync::OnceLock;

use crate::Row;

/// One more coordinate for every row, see [`FloatRows`](crate::FloatRows); computed when first
/// asked for.
#[derive(Debug, Default)]
pub(crate) struct Lift(OnceLock<Vec<f32>>);

impl Lift {
    /// The coordinates of rows of these lengths.
    pub(crate) fn of(&self, norms: impl Fn() -> Vec<f64>) -> &[f32] {
        self.0.get_or_init(|| {
            let norms = norms();
            let mut sorted = norms.clone();
            sorted.sort_unstable_by(f64::total_cmp);
            let most = sorted.get(norms.len() * 95 / 100).copied().unwrap_or(0.0);
            norms.iter().map(|n| (most * most - n * n).max(0.0).sqrt() as f32).collect()
        })
    }
}

/// What the added coordinate takes from a distance: `own` is that of the query row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifted<'a> {
    all: &'a [f32],
    own: f32,
}

impl<'a> Lifted<'a> {
    /// For the row `row` as a query.
    pub(crate) fn new(all: &'a [f32], row: Row) -> Self {
        Self { all, own: all[row.position()] }
    }

    /// The product of the two added coordinates.
    pub(crate) fn product(&self, row: u32) -> f32 {
        self.own * self.all[row as usize]
    }
}

//! A code with the vectors it was made from at hand, for building shapes.

use crate::{FloatRows, Row, Rows};

/// Rows in a code, and as they came.
pub(crate) struct Paired<'r, 'a, R> {
    rows: &'r R,
    vectors: FloatRows<'a>,
}

impl<'r, 'a, R: Rows> Paired<'r, 'a, R> {
    /// Two views of the same rows.
    pub(crate) fn new(rows: &'r R, vectors: FloatRows<'a>) -> Self {
        assert_eq!(rows.len(), vectors.len(), "the same rows");
        Self { rows, vectors }
    }
}

impl<R: Rows> Rows for Paired<'_, '_, R> {
    type Query = R::Query;
    type Scorer<'q>
        = R::Scorer<'q>
    where
        Self: 'q;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn scorer<'q>(&'q self, query: &'q R::Query) -> R::Scorer<'q> {
        self.rows.scorer(query)
    }

    fn scorer_of(&self, row: Row) -> R::Scorer<'_> {
        self.rows.scorer_of(row)
    }

    fn vectors(&self) -> Option<FloatRows<'_>> {
        Some(self.vectors.view())
    }
}

//! Rows that are lent: several ways of measuring share one copy of a code.

use crate::{Account, FloatRows, Hit, Order, Row, Rows, SearchOptions};

impl<R: Rows> Rows for &R {
    type Query = R::Query;
    type Scorer<'a>
        = R::Scorer<'a>
    where
        Self: 'a;

    fn len(&self) -> usize {
        (**self).len()
    }

    fn scorer<'a>(&'a self, query: &'a R::Query) -> R::Scorer<'a> {
        (**self).scorer(query)
    }

    fn scorer_of(&self, row: Row) -> R::Scorer<'_> {
        (**self).scorer_of(row)
    }

    fn order(&self) -> Option<&Order> {
        (**self).order()
    }

    fn is_scanned(&self) -> bool {
        (**self).is_scanned()
    }

    fn vectors(&self) -> Option<FloatRows<'_>> {
        (**self).vectors()
    }

    fn candidates(&self, k: usize) -> usize {
        (**self).candidates(k)
    }

    fn refine(&self, query: &R::Query, hits: &mut Vec<Hit>) {
        (**self).refine(query, hits);
    }

    fn settle(&self, query: &R::Query, hits: &mut Vec<Hit>, k: usize) -> bool {
        (**self).settle(query, hits, k)
    }

    fn is_on_disk(&self) -> bool {
        (**self).is_on_disk()
    }

    fn is_exact(&self) -> bool {
        (**self).is_exact()
    }

    fn nearest(
        &self,
        query: &R::Query,
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Option<Vec<Hit>> {
        (**self).nearest(query, options, account)
    }

    fn nearest_all(
        &self,
        queries: &[&R::Query],
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Option<Vec<Vec<Hit>>> {
        (**self).nearest_all(queries, options, account)
    }
}

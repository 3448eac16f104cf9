//! The shape that looks at every row.

use crate::{Bitmap, Hit, Row, Rows, Scorer, SearchOptions, Top};

/// Rows measured per call of the scorer: enough to hide the call, few enough to stay in L1.
const BATCH: usize = 256;

/// No structure: a search measures every allowed row. Exact, O(n) a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flat {
    len: usize,
}

impl Flat {
    /// The flat shape of `len` rows.
    pub fn new(len: usize) -> Self {
        Self { len }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The `k` allowed rows closest to `query`, closest first; the effort makes no difference.
    ///
    /// # Panics
    /// If `rows` are not the ones this was made for (by number), the query does not fit them, or
    /// the allowed set ranges over another number of rows.
    pub fn search<R: Rows>(
        &self,
        rows: &R,
        query: &R::Query,
        options: &SearchOptions<'_>,
    ) -> Vec<Hit> {
        assert_eq!(rows.len(), self.len, "rows of another index");
        scan(rows, query, options)
    }
}

/// Measures every allowed row.
pub(crate) fn scan<R: Rows>(rows: &R, query: &R::Query, options: &SearchOptions<'_>) -> Vec<Hit> {
    assert_fits(options.allowed, rows.len());
    if options.k == 0 {
        return Vec::new();
    }
    let scorer = &mut rows.scorer(query);
    let every = (0..rows.len() as u32).map(Row);
    match options.allowed {
        None => best(scorer, every, options.k),
        Some(allowed) => best(scorer, allowed.iter(), options.k),
    }
}

/// A set over another number of rows belongs to another index.
pub(crate) fn assert_fits(allowed: Option<&Bitmap>, len: usize) {
    assert!(allowed.is_none_or(|allowed| allowed.len() == len), "allowed set of another index");
}

fn best(scorer: &mut impl Scorer, mut rows: impl Iterator<Item = Row>, k: usize) -> Vec<Hit> {
    let mut top = Top::new(k);
    let mut batch = Vec::with_capacity(BATCH);
    let mut out = [0.0; BATCH];
    loop {
        batch.clear();
        batch.extend(rows.by_ref().take(BATCH));
        if batch.is_empty() {
            return top.into_hits();
        }
        let out = &mut out[..batch.len()];
        scorer.score(&batch, out);
        batch.iter().zip(out).for_each(|(&row, distance)| top.offer(row, *distance));
    }
}

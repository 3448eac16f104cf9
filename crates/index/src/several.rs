//! Searching by several vectors at once.

use crate::key::key;
use crate::{
    Bitmap, Certainty, Effort, Hit, Index, Row, Rows, Scorer, SearchError, SearchOptions,
    SearchResult,
};

/// Candidates of each vector for a row wanted, where all of them count.
const CANDIDATES: usize = 4;

/// How far a row is from several vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Among {
    /// As far as from the one closest to it: rows like any of them.
    #[default]
    Nearest,
    /// The sum of the distances: rows like all of them.
    Sum,
}

impl<B: AsRef<[u8]> + Sync> Index<'_, B> {
    /// The `k` allowed rows closest to several vectors, closest first, with the distances that
    /// `among` says, by the best code there is.
    ///
    /// One search a vector; what any of them finds is measured against all. Rows nearest to any of
    /// them come out as sure as the searches are; for sums, four times `k` are taken from each
    /// search, and only [`Effort::Exact`] is sure. A budget holds for each of the searches.
    ///
    /// # Errors
    /// If there are no vectors, or one of them or the options do not fit the index.
    pub fn search_several(
        &self,
        queries: &[&[f32]],
        among: Among,
        options: &SearchOptions<'_>,
    ) -> Result<SearchResult, SearchError> {
        if queries.is_empty() {
            return Err(SearchError::Dimension { expected: self.dim(), got: 0 });
        }
        let each = match (among, options.effort) {
            (Among::Sum, Effort::Exact) => self.len(),
            (Among::Sum, _) => options.k.saturating_mul(CANDIDATES),
            (Among::Nearest, _) => options.k,
        };
        let wanted = SearchOptions { k: each.max(options.k), ..*options };
        let mut candidates = Bitmap::new(self.len());
        let mut certainty = Certainty::Exact;
        for query in queries {
            let found = self.search(query, &wanted)?;
            certainty = match (certainty, found.certainty) {
                (Certainty::Truncated, _) | (_, Certainty::Truncated) => Certainty::Truncated,
                (Certainty::Exact, Certainty::Exact) => Certainty::Exact,
                _ => Certainty::Bounded,
            };
            for hit in &found.hits {
                candidates.insert(hit.row);
            }
        }
        if certainty == Certainty::Exact && among == Among::Sum && options.effort != Effort::Exact {
            certainty = Certainty::Bounded;
        }
        let rows: Vec<Row> = candidates.iter().collect();
        let met = self.watch().met();
        let mut hits = self.measured(queries, among, &rows);
        self.watch().since(met)?;
        hits.sort_unstable_by_key(|hit| key(hit.distance, hit.row));
        hits.truncate(options.k);
        Ok(SearchResult { hits, certainty })
    }

    /// How far some rows are from several vectors.
    fn measured(&self, queries: &[&[f32]], among: Among, rows: &[Row]) -> Vec<Hit> {
        let mut hits: Vec<Hit> = rows.iter().map(|&row| Hit { row, distance: 0.0 }).collect();
        let mut distances = vec![0.0; rows.len()];
        for (at, query) in queries.iter().enumerate() {
            self.rows().best().scorer(query).score(rows, &mut distances);
            for (hit, &distance) in hits.iter_mut().zip(&distances) {
                hit.distance = match among {
                    _ if at == 0 => distance,
                    Among::Nearest => hit.distance.min(distance),
                    Among::Sum => hit.distance + distance,
                };
            }
        }
        hits
    }
}

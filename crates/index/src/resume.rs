//! Searches that go on where they ended.

use crate::{Bitmap, Effort, Hit, Index, SearchError, SearchOptions};

/// How much more a search that goes on asks for.
const GROWTH: usize = 2;

/// The rows of an index from the closest on, found as they are asked for; made by
/// [`Index::resume`].
#[derive(Debug)]
pub struct Resumed<'i, 'a, B = Vec<u8>> {
    index: &'i Index<'a, B>,
    query: Vec<f32>,
    options: SearchOptions<'i>,
    /// Rows that were given.
    given: Bitmap,
    /// Rows that may be given at all.
    eligible: usize,
    /// Found and not given yet, farthest first.
    found: Vec<Hit>,
    failure: Option<SearchError>,
}

impl<'a, B: AsRef<[u8]> + Sync> Index<'a, B> {
    /// The allowed rows from the closest on, each once: the first `k` of `options` are those of
    /// [`search`](Self::search), and whoever wants more goes on asking, down to the last.
    ///
    /// Each time what was found is used up, twice as many rows are searched for, so that `n` rows
    /// cost at most twice a search for `2n` at once. Distances rise within what one such search
    /// found. An effort of so many candidates or probes grows with the rows asked for. A budget
    /// holds for each of the searches; where it ends one, what is given may end early.
    ///
    /// # Errors
    /// If the query or the options do not fit the index.
    pub fn resume<'i>(
        &'i self,
        query: &[f32],
        options: &SearchOptions<'i>,
    ) -> Result<Resumed<'i, 'a, B>, SearchError> {
        let mut found = self.search(query, options)?.hits;
        found.reverse();
        let given = Bitmap::new(self.len());
        let eligible = options.allowed.map_or(self.len(), Bitmap::count);
        Ok(Resumed {
            index: self,
            query: query.to_vec(),
            options: *options,
            given,
            eligible,
            found,
            failure: None,
        })
    }
}

impl<B: AsRef<[u8]> + Sync> Resumed<'_, '_, B> {
    /// Why no more rows came though there are more: what was read of the file is damaged.
    pub fn failure(&self) -> Option<&SearchError> {
        self.failure.as_ref()
    }

    fn search_on(&mut self) {
        let options = &mut self.options;
        options.k = options.k.saturating_mul(GROWTH).min(self.eligible);
        options.effort = match options.effort {
            Effort::Ef(ef) => Effort::Ef(ef.saturating_mul(GROWTH)),
            Effort::Probes(probes) => Effort::Probes(probes.saturating_mul(GROWTH)),
            effort @ (Effort::Default | Effort::Exact) => effort,
        };
        let found = match self.index.search(&self.query, options) {
            Ok(found) => found.hits,
            Err(error) => {
                self.failure = Some(error);
                return;
            }
        };
        self.found.extend(found.into_iter().filter(|hit| !self.given.contains(hit.row)));
        self.found.reverse();
    }
}

impl<B: AsRef<[u8]> + Sync> Iterator for Resumed<'_, '_, B> {
    type Item = Hit;

    fn next(&mut self) -> Option<Hit> {
        while self.found.is_empty() && self.options.k < self.eligible && self.failure.is_none() {
            self.search_on();
        }
        let hit = self.found.pop()?;
        self.given.insert(hit.row);
        Some(hit)
    }
}

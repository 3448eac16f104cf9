//! The choice among candidates: they are measured again, and more of them are found where that
//! leaves doubt.
//!
//! A code that finds by estimates names a few candidates for each row wanted. That is enough where
//! the rows near the query differ by more than the code is off; a filter may allow none of those,
//! and far rows are all about as far. What was measured again says how far off the code is, and so
//! whether the rest may hold neighbours ([`Rows::settle`]). Searches of all rows are left as they
//! are: whoever names an index says how many candidates these have.

use crate::{Account, Effort, Hit, Rows, SearchOptions, flat};

/// How many times as many candidates are found where there were too few.
const MORE: usize = 4;
/// Where more candidates would be one in so many of the allowed rows, all of these are measured.
const MOST: usize = 2;
/// How many times as many candidates are kept where that costs next to nothing.
const SPARE: usize = 16;

/// What is chosen from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'o, 'a> {
    pub(crate) options: &'o SearchOptions<'a>,
    pub(crate) account: &'o Account<'a>,
    /// Allowed rows.
    pub(crate) eligible: usize,
}

impl Field<'_, '_> {
    /// How many of `found` candidates to keep where more of them cost next to nothing.
    pub(crate) fn kept<R: Rows>(&self, rows: &R, found: usize) -> usize {
        let again = self.eligible < rows.len() && rows.candidates(1) > 1;
        if again { found.saturating_mul(SPARE).min(self.eligible) } else { found }
    }

    /// The nearest of what `find` finds, closest first, where it finds as many candidates as it is
    /// told or more; `None` where it gives none.
    pub(crate) fn choose<R: Rows>(
        &self,
        rows: &R,
        query: &R::Query,
        mut find: impl FnMut(usize) -> Option<Vec<Hit>>,
    ) -> Option<Vec<Hit>> {
        let &Self { options, account, eligible } = self;
        let k = options.k.min(eligible);
        let mut found = rows.candidates(k).min(eligible);
        let mut hits = find(found)?;
        if eligible == rows.len() {
            rows.refine(query, &mut hits);
            hits.truncate(k);
            return Some(hits);
        }
        loop {
            let all = hits.len() >= eligible || options.effort == Effort::Exact;
            let sure = rows.settle(query, &mut hits, k);
            hits.truncate(k);
            if sure || all || account.is_cut() {
                return Some(hits);
            }
            found = found.saturating_mul(MORE);
            let more = if found >= eligible / MOST {
                let every = SearchOptions { effort: Effort::Exact, ..*options };
                Some(flat::scan(rows, query, &every, account))
            } else {
                find(found)
            };
            if account.is_cut() {
                // What was found before is of the whole search.
                return Some(hits);
            }
            hits = more?;
            if found >= eligible / MOST {
                return Some(hits);
            }
        }
    }
}

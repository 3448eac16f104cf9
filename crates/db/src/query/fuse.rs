//! One list of several.

use kvant_index::Row;

use super::run::{Candidates, Placed};
use crate::SearchError;
use crate::state::State;

type Key = (usize, Row);

impl State {
    /// What was found first, put in one order; those that do not pass are left out.
    pub(super) fn fused(
        &self,
        first: bool,
        lists: Vec<Vec<Placed>>,
        candidates: &Candidates,
        fuse: impl FnOnce(&[Vec<(Key, f32)>]) -> Vec<(Key, f32)>,
    ) -> Result<Vec<Placed>, SearchError> {
        if !first {
            return Err(SearchError::Question("prefetch: a fusion is of what they found"));
        }
        let keyed = |list: Vec<Placed>| -> Vec<(Key, f32)> {
            list.into_iter().map(|at| ((at.part, at.row), at.score)).collect()
        };
        let lists: Vec<Vec<(Key, f32)>> = lists.into_iter().map(keyed).collect();
        let mut fused = fuse(&lists);
        fused.retain(|((part, row), _)| candidates.contains(*part, *row));
        // Higher is better; equal ones in order of their names.
        let mut hits: Vec<_> =
            fused.into_iter().map(|((part, row), score)| (part, row, 0.0 - score)).collect();
        let all = hits.len();
        self.sort(&mut hits, all)?;
        let placed = |(part, row, distance): (usize, Row, f32)| Placed {
            part,
            row,
            score: 0.0 - distance,
            order: None,
        };
        Ok(hits.into_iter().map(placed).collect())
    }
}

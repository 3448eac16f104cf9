//! Points in the order of their names.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use kvant_payload::{Filter, PointId};

use super::Collection;
use crate::state::State;
use crate::subject::{Ready, passes};
use crate::{DamageError, Found, SearchError};

impl Collection {
    /// Up to `limit` points in the order of their names from `from` on, those that pass, and the
    /// name to go on from. O(parts · log n) and what is read.
    ///
    /// # Errors
    /// [`SearchError::Damage`] if a file no longer holds what was written.
    pub fn scroll(
        &self,
        from: Option<&PointId>,
        limit: usize,
        filter: Option<&Filter>,
    ) -> Result<(Vec<Found>, Option<PointId>), SearchError> {
        let state = self.state();
        let filter = filter.map(|filter| Ready::new(filter, &state.fields)).transpose()?;
        let mut found = Vec::new();
        let mut walk = Walk::new(&state, from)?;
        while let Some((id, at, row)) = walk.next()? {
            let part = &state.parts[at];
            if let Some(filter) = &filter
                && !passes(part, row, filter)?
            {
                continue;
            }
            if found.len() == limit {
                return Ok((found, Some(id)));
            }
            found.push(Found::from(part.entry(row)?));
        }
        Ok((found, None))
    }
}

/// Live rows of all parts in the order of their names.
pub(crate) struct Walk<'s> {
    state: &'s State,
    /// For each part the next name, and its place there.
    heads: BinaryHeap<Reverse<(PointId, usize, usize)>>,
}

impl<'s> Walk<'s> {
    /// From `from` on.
    pub(crate) fn new(state: &'s State, from: Option<&PointId>) -> Result<Self, DamageError> {
        let mut walk = Self { state, heads: BinaryHeap::new() };
        for (at, part) in state.parts.iter().enumerate().filter(|(_, part)| part.count > 0) {
            let place = from.map_or(Ok(0), |from| part.store.place(from))?;
            walk.advance(at, place)?;
        }
        Ok(walk)
    }

    /// Puts the first live row of a part that is not before `place` among the next ones.
    fn advance(&mut self, at: usize, place: usize) -> Result<(), DamageError> {
        let part = &self.state.parts[at];
        for place in place..part.store.len() {
            let row = part.store.ordered(place)?;
            if part.live.contains(row) {
                self.heads.push(Reverse((part.store.id(row)?, at, place)));
                return Ok(());
            }
        }
        Ok(())
    }

    /// The next live row, its part and its name.
    pub(crate) fn next(
        &mut self,
    ) -> Result<Option<(PointId, usize, kvant_index::Row)>, DamageError> {
        let Some(Reverse((id, at, place))) = self.heads.pop() else { return Ok(None) };
        let row = self.state.parts[at].store.ordered(place)?;
        self.advance(at, place + 1)?;
        Ok(Some((id, at, row)))
    }
}

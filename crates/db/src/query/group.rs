//! The best of each group.

use kvant_payload::{Path, elements};
use serde_json::Value;

use super::{Scored, Search, With};
use crate::limits::K_MAX;
use crate::{Collection, SearchError};

/// Points put together by a value of their payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// The value, a text or a whole number; of several each counts.
    pub by: Path,
    /// How many groups; the limit of the question counts for nothing.
    pub groups: usize,
    /// How many points of each.
    pub size: usize,
}

/// Points of one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The value.
    pub of: Value,
    /// The best of them, best first.
    pub hits: Vec<Scored>,
}

impl Collection {
    /// The best points of the best groups: groups in the order of their best points. More and more
    /// is looked at until there are enough groups or all was seen; a group may then have fewer
    /// points than there are.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn groups(
        &self,
        search: &Search,
        wanted: &Groups,
        with: &With,
    ) -> Result<Vec<Group>, SearchError> {
        let full = wanted.groups.saturating_mul(wanted.size);
        if full > K_MAX {
            return Err(SearchError::Limit { max: K_MAX, got: full });
        }
        let state = self.state();
        let mut limit = full.saturating_mul(4).clamp(1, K_MAX);
        loop {
            let placed = state.run(&Search { limit, offset: 0, ..search.clone() })?;
            let all = placed.len() < limit || limit == K_MAX;
            let mut groups: Vec<(Value, Vec<_>)> = Vec::new();
            for at in placed {
                let payload = state.parts[at.part].store.payload(at.row)?;
                let mut values: Vec<&Value> =
                    wanted.by.values(&payload).flat_map(elements).collect();
                values.retain(|value| value.is_string() || value.is_i64() || value.is_u64());
                for value in values {
                    match groups.iter_mut().find(|(of, _)| of == value) {
                        Some((_, hits)) if hits.len() < wanted.size => hits.push(at.clone()),
                        Some(_) => {}
                        None => groups.push((value.clone(), vec![at.clone()])),
                    }
                }
            }
            let best = groups.iter().take(wanted.groups);
            let enough = best.clone().filter(|(_, hits)| hits.len() == wanted.size).count();
            if all || enough >= wanted.groups {
                groups.truncate(wanted.groups);
                let shown = |(of, hits): (Value, Vec<_>)| {
                    let hits = hits.into_iter().map(|at| state.shown(at, with));
                    Ok(Group { of, hits: hits.collect::<Result<_, _>>()? })
                };
                return groups.into_iter().map(shown).collect();
            }
            limit = limit.saturating_mul(4).min(K_MAX);
        }
    }
}

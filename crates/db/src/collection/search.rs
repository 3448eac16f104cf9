//! Searches over all parts of a state.

use kvant_index::{Bitmap, Effort, Metric, Row};
use kvant_payload::Filter;

use super::Collection;
use crate::limits::K_MAX;
use crate::segment::Wanted;
use crate::state::{Part, State};
use crate::subject::passing;
use crate::{Found, Scored, SearchError, Vector};

/// A search for what is closest to a vector.
#[derive(Clone, Debug)]
pub struct Near {
    /// Which of the vectors of points.
    pub using: String,
    /// What to be close to.
    pub vector: Vector,
    /// How many points, at most 10,000; fewer come only where fewer pass.
    pub k: usize,
    /// Which points may be returned; all where `None`.
    pub filter: Option<Filter>,
    /// How hard to try.
    pub effort: Effort,
}

/// A row found in some part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub(crate) part: usize,
    pub(crate) row: Row,
    /// Lower is closer.
    pub(crate) distance: f32,
}

impl Collection {
    /// The points closest to a vector, closest first; equal ones in order of their names.
    ///
    /// # Errors
    /// [`SearchError`] for a query that does not fit, or a file that no longer holds what was
    /// written.
    pub fn nearest(&self, query: &Near) -> Result<Vec<Scored>, SearchError> {
        let state = self.state();
        let hits = state.nearest(query)?;
        let metric = state.config.dense.get(&query.using).map_or(Metric::Dot, |dense| dense.metric);
        let scored = |hit: Hit| {
            let found = Found::from(state.parts[hit.part].entry(hit.row)?);
            Ok(Scored { found, score: metric.score(hit.distance) })
        };
        hits.into_iter().map(scored).collect()
    }
}

impl State {
    /// The rows closest to a vector, closest first.
    pub(crate) fn nearest(&self, query: &Near) -> Result<Vec<Hit>, SearchError> {
        if query.k > K_MAX {
            return Err(SearchError::Limit { max: K_MAX, got: query.k });
        }
        query.vector.check().map_err(SearchError::Vector)?;
        let vector = match (&query.vector, self.config.dense.get(&query.using)) {
            // One vector is a multi-vector of one.
            (Vector::Dense(values), Some(dense)) if dense.multi == crate::Arity::Many => {
                let multi = crate::Multi::new(std::slice::from_ref(values));
                Vector::Multi(multi.map_err(SearchError::Vector)?)
            }
            _ => query.vector.clone(),
        };
        self.config.fits(&query.using, &vector)?;
        let prepared = query.filter.as_ref().map(Filter::prepared);
        let mut all: Vec<Hit> = Vec::new();
        for (at, part) in self.parts.iter().enumerate().filter(|(_, part)| part.count > 0) {
            let allowed = match &prepared {
                Some(filter) => Some(passing(part, filter)?),
                None => part.allowed().cloned(),
            };
            let k = query.k.min(allowed.as_ref().map_or(part.count, Bitmap::count));
            if k == 0 {
                continue;
            }
            let wanted = Wanted { k, effort: query.effort, allowed: allowed.as_ref() };
            let hits = part.nearest(&query.using, &vector, &wanted)?;
            all.extend(hits.into_iter().map(|(row, distance)| Hit { part: at, row, distance }));
        }
        self.closest(all, query.k)
    }

    /// The `k` closest, closest first; equal ones in order of their names.
    fn closest(&self, mut all: Vec<Hit>, k: usize) -> Result<Vec<Hit>, SearchError> {
        all.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        // Names are read only where they decide.
        let mut start = 0;
        while start < all.len().min(k) {
            let tied = all[start..].partition_point(|hit| hit.distance == all[start].distance);
            if tied > 1 {
                let name = |hit: &Hit| self.parts[hit.part].store.id(hit.row);
                let mut named = Vec::with_capacity(tied);
                for hit in &all[start..start + tied] {
                    named.push((name(hit)?, *hit));
                }
                named.sort_by(|a, b| a.0.cmp(&b.0));
                all.splice(start..start + tied, named.into_iter().map(|(_, hit)| hit));
            }
            start += tied;
        }
        all.truncate(k);
        Ok(all)
    }
}

impl Part {
    /// Live rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.live.iter()
    }
}

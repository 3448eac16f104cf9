//! Asking a question of a state.

use std::sync::Arc;

use kvant_index::{Bitmap, Effort, Metric, Mmr, Row, fusion, mmr_by};
use kvant_payload::{Filter, Path, Step};
use serde_json::{Map, Value};

use super::{Diversity, Input, Lookup, Payloads, Query, Scored, Search, Strategy, Wish, With};
use crate::limits::{K_MAX, PREFETCH_MAX};
use crate::segment::Wanted;
use crate::state::State;
use crate::subject::{Ready, passing};
use crate::{Arity, Collection, Found, Multi, SearchError, Vector, Vectors};

/// Where a row stands.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) part: usize,
    pub(super) row: Row,
    pub(super) score: f32,
    pub(super) order: Option<Value>,
}

/// Rows that may be found, part by part; none of a part where `None`.
pub(super) struct Candidates {
    pub(super) parts: Vec<Option<Bitmap>>,
}

impl Candidates {
    pub(super) fn contains(&self, part: usize, row: Row) -> bool {
        self.parts[part].as_ref().is_some_and(|rows| rows.contains(row))
    }

    pub(super) fn remove(&mut self, (part, row): (usize, Row)) {
        if let Some(rows) = &mut self.parts[part] {
            rows.remove(row);
        }
    }
}

impl Collection {
    /// The points that answer a question, best first.
    ///
    /// # Errors
    /// [`SearchError`] for a question that does not fit, or a file that no longer holds what was
    /// written.
    pub fn search(&self, search: &Search, with: &With) -> Result<Vec<Scored>, SearchError> {
        let state = self.state();
        let placed = state.run(search)?;
        placed.into_iter().map(|at| state.shown(at, with)).collect()
    }

    /// Points by name as much of them as is wanted.
    ///
    /// # Errors
    /// [`SearchError::Damage`].
    pub fn retrieve(
        &self,
        ids: &[kvant_payload::PointId],
        with: &With,
    ) -> Result<Vec<Found>, SearchError> {
        let state = self.state();
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let Ok(id) = id.clone().canonical() else { continue };
            if let Some((part, row)) = state.find(&id)? {
                found.push(state.found((part, row), with)?);
            }
        }
        Ok(found)
    }

    /// How many points pass.
    ///
    /// # Errors
    /// [`SearchError::Damage`].
    pub fn count(&self, filter: Option<&Filter>) -> Result<usize, SearchError> {
        let state = self.state();
        if filter.is_none() {
            Ok(state.len())
        } else {
            let candidates = state.candidates(filter)?;
            Ok(candidates.parts.iter().flatten().map(Bitmap::count).sum())
        }
    }
}

impl State {
    /// As much of a row as is wanted.
    pub(super) fn found(
        &self,
        (part, row): (usize, Row),
        with: &With,
    ) -> Result<Found, SearchError> {
        let of = &self.parts[part];
        let payload = match &with.payload {
            Payloads::None => Arc::new(Map::new()),
            Payloads::All => of.store.payload(row)?,
            Payloads::Only(paths) => Arc::new(only(&*of.store.payload(row)?, paths)),
            Payloads::Without(paths) => {
                let mut payload = Map::clone(&*of.store.payload(row)?);
                for path in paths {
                    path.remove(&mut payload);
                }
                Arc::new(payload)
            }
        };
        let mut vectors = Vectors::new();
        let names = match &with.vectors {
            Wish::None => Vec::new(),
            Wish::All => of.store.names(),
            Wish::Only(names) => names.clone(),
        };
        for name in names {
            if let Some(vector) = of.vector(&name, row)? {
                vectors.insert(name, vector);
            }
        }
        Ok(Found { id: of.store.id(row)?, version: of.store.version(row)?, vectors, payload })
    }

    pub(super) fn shown(&self, placed: Placed, with: &With) -> Result<Scored, SearchError> {
        let Placed { part, row, score, order } = placed;
        Ok(Scored { found: self.found((part, row), with)?, score, order })
    }

    /// The live rows that pass.
    pub(super) fn candidates(&self, filter: Option<&Filter>) -> Result<Candidates, SearchError> {
        let filter = filter.map(|filter| Ready::new(filter, &self.fields)).transpose()?;
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            parts.push(match &filter {
                _ if part.count == 0 => None,
                Some(filter) => Some(passing(part, filter)?),
                None => Some(Bitmap::clone(&part.live)),
            });
        }
        Ok(Candidates { parts })
    }

    /// The rows that answer a question, best first.
    pub(super) fn run(&self, search: &Search) -> Result<Vec<Placed>, SearchError> {
        let placed = self.run_within(search, 0)?;
        Ok(placed.into_iter().skip(search.offset).collect())
    }

    fn run_within(&self, search: &Search, depth: usize) -> Result<Vec<Placed>, SearchError> {
        let wanted = search.limit.saturating_add(search.offset);
        if wanted > K_MAX {
            return Err(SearchError::Limit { max: K_MAX, got: wanted });
        }
        if depth > PREFETCH_MAX || search.prefetch.len() > PREFETCH_MAX {
            let got = depth.max(search.prefetch.len());
            return Err(SearchError::Limit { max: PREFETCH_MAX, got });
        }
        let lists = search.prefetch.iter().map(|first| self.run_within(first, depth + 1));
        let lists = lists.collect::<Result<Vec<_>, _>>()?;
        let mut candidates = self.candidates(search.filter.as_ref())?;
        if !search.prefetch.is_empty() {
            self.narrow(&mut candidates, &lists);
        }
        let mut placed = self.answer(search, (candidates, lists), wanted)?;
        if let Some(threshold) = search.threshold {
            let lower = self.lower_is_better(search);
            placed.retain(|at| if lower { at.score <= threshold } else { at.score >= threshold });
        }
        placed.truncate(wanted);
        Ok(placed)
    }

    /// What was found first, of what passes.
    fn narrow(&self, candidates: &mut Candidates, lists: &[Vec<Placed>]) {
        let mut found: Vec<Bitmap> =
            self.parts.iter().map(|part| Bitmap::new(part.live.len())).collect();
        for at in lists.iter().flatten() {
            found[at.part].insert(at.row);
        }
        for (rows, found) in candidates.parts.iter_mut().zip(&found) {
            if let Some(rows) = rows {
                rows.intersect(found);
            }
        }
    }

    fn answer(
        &self,
        search: &Search,
        (mut candidates, lists): (Candidates, Vec<Vec<Placed>>),
        wanted: usize,
    ) -> Result<Vec<Placed>, SearchError> {
        let first = !search.prefetch.is_empty();
        match &search.query {
            None if first => Err(SearchError::Question(
                "a query that puts what was prefetched in \
                order: nearest, fusion, formula, order_by or sample",
            )),
            None => Ok(self.named(&candidates, wanted)?),
            Some(Query::Rrf { k, weights }) => self.fused(first, lists, &candidates, |lists| {
                fusion::rrf(lists, *k, weights.as_deref())
            }),
            Some(Query::Dbsf) => self.fused(first, lists, &candidates, fusion::dbsf),
            Some(Query::OrderBy(by)) => Ok(self.ordered(by, &candidates, wanted)?),
            Some(Query::Sample { seed }) => Ok(self.sampled(*seed, &candidates, wanted)?),
            Some(Query::Formula { formula, defaults }) => {
                if !first {
                    return Err(SearchError::Question("prefetch: a formula is of what it found"));
                }
                self.computed((formula, defaults), &lists, &candidates)
            }
            Some(Query::Nearest { to, diversity }) => {
                let vector = self.input(to, search, &mut candidates)?;
                self.near(search, (vector, *diversity), (&candidates, first), wanted)
            }
            Some(Query::Recommend { positive, negative, strategy: Strategy::Average }) => {
                let vector = self.average(search, (positive, negative), &mut candidates)?;
                self.near(search, (vector, None), (&candidates, first), wanted)
            }
            Some(query) => self.by_examples(search, query, &mut candidates, (first, wanted)),
        }
    }

    /// The vector that is meant; a point that is named is not found itself.
    pub(super) fn input(
        &self,
        input: &Input,
        search: &Search,
        candidates: &mut Candidates,
    ) -> Result<Vector, SearchError> {
        let id = match input {
            Input::Vector(vector) => return Ok(vector.clone()),
            Input::Point(id) => id.clone().canonical().map_err(|_| SearchError::Unknown {
                id: id.clone(),
                using: search.using.clone(),
            })?,
        };
        let unknown =
            |using: &str| SearchError::Unknown { id: id.clone(), using: using.to_owned() };
        if let Some(Lookup { collection, using }) = &search.from {
            let using = using.as_ref().unwrap_or(&search.using);
            let state = collection.state();
            let (part, row) = state.find(&id)?.ok_or_else(|| unknown(using))?;
            state.parts[part].vector(using, row)?.ok_or_else(|| unknown(using))
        } else {
            let (part, row) = self.find(&id)?.ok_or_else(|| unknown(&search.using))?;
            candidates.remove((part, row));
            let vector = self.parts[part].vector(&search.using, row)?;
            vector.ok_or_else(|| unknown(&search.using))
        }
    }

    /// In the form that rows have: checked, of unit length where that counts, weighed by rarity.
    pub(super) fn prepared(&self, search: &Search, vector: Vector) -> Result<Vector, SearchError> {
        vector.check().map_err(SearchError::Vector)?;
        let dense = self.config.dense.get(&search.using);
        let vector = match (vector, dense) {
            // One vector is a multi-vector of one.
            (Vector::Dense(values), Some(dense)) if dense.multi == Arity::Many => {
                Vector::Multi(Multi::new(&[values]).map_err(SearchError::Vector)?)
            }
            (vector, _) => vector,
        };
        self.config.fits(&search.using, &vector)?;
        match vector {
            Vector::Sparse(sparse) => self.weighed(search, sparse).map(Vector::Sparse),
            vector @ (Vector::Dense(_) | Vector::Multi(_)) => Ok(vector),
        }
    }

    /// The rows nearest to a vector, perhaps not all alike.
    fn near(
        &self,
        search: &Search,
        (vector, diversity): (Vector, Option<Diversity>),
        (candidates, first): (&Candidates, bool),
        wanted: usize,
    ) -> Result<Vec<Placed>, SearchError> {
        let vector = self.prepared(search, vector)?;
        let some = diversity.and_then(|some| some.candidates).unwrap_or(wanted).max(wanted);
        let k = if diversity.is_some() { some.min(K_MAX) } else { wanted };
        // What was found first is few: all of it is measured.
        let effort = if first { Effort::Exact } else { search.effort };
        let metric = self.metric(&search.using);
        let mut hits = Vec::new();
        for (part, rows) in candidates.parts.iter().enumerate() {
            let Some(rows) = rows else { continue };
            let k = k.min(rows.count());
            if k == 0 {
                continue;
            }
            let full = rows.count() == self.parts[part].store.len();
            let allowed = if full { None } else { Some(rows) };
            let wanted = Wanted { k, effort, metric, allowed };
            let near = self.parts[part].nearest(&search.using, &vector, &wanted)?;
            hits.extend(near.into_iter().map(|(row, distance)| (part, row, distance)));
        }
        self.sort(&mut hits, k)?;
        if let Some(Diversity { weight, .. }) = diversity {
            hits = self.diverse(search, &hits, (weight, wanted))?;
        }
        let placed = |(part, row, distance)| Placed {
            part,
            row,
            score: Self::score(metric, &vector, distance),
            order: None,
        };
        Ok(hits.into_iter().map(placed).collect())
    }

    /// Chosen by being near and by being unlike what was chosen before.
    fn diverse(
        &self,
        search: &Search,
        hits: &[(usize, Row, f32)],
        (weight, limit): (f32, usize),
    ) -> Result<Vec<(usize, Row, f32)>, SearchError> {
        let metric = self.metric(&search.using);
        let mut vectors = Vec::with_capacity(hits.len());
        for (part, row, _) in hits {
            vectors.push(self.parts[*part].vector(&search.using, *row)?);
        }
        let relevance: Vec<f32> = hits.iter().map(|hit| metric.similarity(hit.2)).collect();
        let alike = |of: usize| -> Vec<f32> {
            let one = vectors[of].as_ref();
            let far = |other: &Option<Vector>| match (one, other) {
                (Some(one), Some(other)) => super::example::distance(metric, one, other),
                _ => f32::INFINITY,
            };
            vectors.iter().map(|other| metric.similarity(far(other))).collect()
        };
        let chosen = mmr_by(&relevance, alike, &Mmr { diversity: weight, limit });
        Ok(chosen.into_iter().map(|at| hits[at]).collect())
    }

    /// The `k` closest, closest first; equal ones in order of their names.
    pub(super) fn sort(
        &self,
        hits: &mut Vec<(usize, Row, f32)>,
        k: usize,
    ) -> Result<(), SearchError> {
        hits.sort_by(|a, b| a.2.total_cmp(&b.2));
        let mut start = 0;
        while start < hits.len().min(k) {
            let same = hits[start].2;
            let tied = hits[start..].iter().take_while(|hit| hit.2 == same).count();
            // Names are read only where they decide.
            if tied > 1 {
                let mut named = Vec::with_capacity(tied);
                for hit in &hits[start..start + tied] {
                    named.push((self.parts[hit.0].store.id(hit.1)?, *hit));
                }
                named.sort_by(|a, b| a.0.cmp(&b.0));
                hits.splice(start..start + tied, named.into_iter().map(|(_, hit)| hit));
            }
            start += tied.max(1);
        }
        hits.truncate(k);
        Ok(())
    }

    pub(super) fn metric(&self, using: &str) -> Metric {
        self.config.dense.get(using).map_or(Metric::Dot, |dense| dense.metric)
    }

    /// What people read for a distance.
    fn score(metric: Metric, query: &Vector, distance: f32) -> f32 {
        match query {
            // A sum over the query's vectors.
            Vector::Multi(multi) => metric.similarity(0.0) * multi.rows().len() as f32 - distance,
            Vector::Dense(_) | Vector::Sparse(_) => metric.score(distance),
        }
    }

    fn lower_is_better(&self, search: &Search) -> bool {
        let distances = matches!(self.metric(&search.using), Metric::Euclid | Metric::Manhattan);
        let plain = matches!(
            search.query,
            Some(Query::Nearest { .. } | Query::Recommend { strategy: Strategy::Average, .. })
        );
        let dense = self.config.dense.get(&search.using);
        distances && plain && dense.is_some_and(|dense| dense.multi == Arity::One)
    }
}

/// The parts of a payload that lie at some paths, where they lay.
fn only(payload: &Map<String, Value>, paths: &[Path]) -> Map<String, Value> {
    let mut out = Map::new();
    for path in paths {
        if let Some(value) = payload.get(path.first())
            && let Some(kept) = kept(value, path.steps())
        {
            join(out.entry(path.first()).or_insert(Value::Null), kept);
        }
    }
    out
}

/// What of a value lies at the steps.
fn kept(value: &Value, steps: &[Step]) -> Option<Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value.clone()) };
    match (step, value) {
        (Step::Key(key), Value::Object(object)) => {
            let kept = kept(object.get(key)?, rest)?;
            Some(Value::Object(Map::from_iter([(key.clone(), kept)])))
        }
        (Step::Every, Value::Array(values)) => {
            Some(Value::Array(values.iter().filter_map(|value| kept(value, rest)).collect()))
        }
        (Step::Index(at), Value::Array(values)) => {
            Some(Value::Array(vec![kept(values.get(*at)?, rest)?]))
        }
        _ => None,
    }
}

/// Puts together what came of one value by several paths.
fn join(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                join(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(more)) if into.len() == more.len() => {
            into.iter_mut().zip(more).for_each(|(into, more)| join(into, more));
        }
        (into, more) => *into = more,
    }
}

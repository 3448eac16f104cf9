//! What a change does to a collection, as the log holds it.

pub(crate) mod codec;

use kvant_payload::{FieldSchema, Filter, Path, PayloadError, PointId, check_payload};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{Code, Dense, Graph, Optimizer, SparseField};
use crate::limits::BATCH_POINTS_MAX;
use crate::{Config, Only, Point, Selector, Vectors, WriteError};

/// One change. What it does is a function of the collection before it and of its place in the log,
/// so it is the same now and at every replay.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Writes points, replacing those of the same names.
    Upsert {
        /// Each name once counts: the last one.
        points: Vec<Point>,
        /// Which of them.
        only: Only,
        /// Points that are there are replaced only where they pass.
        condition: Option<Filter>,
    },
    /// Replaces some vectors of points that are there and leaves the others.
    SetVectors {
        /// Name and vectors of each.
        points: Vec<(PointId, Vectors)>,
        /// Only points that pass.
        condition: Option<Filter>,
    },
    /// Everything else, which carries no vectors.
    Edit(Edit),
}

/// A change that carries no vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    /// Deletes points.
    Delete(Selector),
    /// Deletes vectors of points.
    DeleteVectors {
        /// Their names.
        names: Vec<String>,
        /// Of which points.
        of: Selector,
    },
    /// Sets keys of payloads and leaves the others.
    SetPayload {
        /// The keys.
        payload: Map<String, Value>,
        /// The object whose keys they are; the whole payload where `None`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Path>,
        /// Of which points.
        of: Selector,
    },
    /// Replaces payloads.
    ReplacePayload {
        /// The new one.
        payload: Map<String, Value>,
        /// Of which points.
        of: Selector,
    },
    /// Deletes keys of payloads.
    DeleteKeys {
        /// The keys.
        keys: Vec<Path>,
        /// Of which points.
        of: Selector,
    },
    /// Empties payloads.
    ClearPayload(Selector),
    /// Indexes a field of payloads.
    SetField {
        /// The field.
        path: Path,
        /// How.
        schema: FieldSchema,
    },
    /// Drops the index of a field.
    DropField {
        /// The field.
        path: Path,
    },
    /// Changes what the collection is made of.
    Alter(Vec<Alteration>),
    /// Deletes points whose time, by that of this record, has come.
    Expire,
}

/// One thing about what a collection is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alteration {
    /// Adds a dense vector, or says anew how it is kept; dropped where `None`.
    Dense(String, Option<Box<Dense>>),
    /// Adds a sparse vector, or says anew how it is weighted; dropped where `None`.
    Sparse(String, Option<SparseField>),
    /// Graphs.
    Graph(Graph),
    /// Codes.
    Code(Option<Code>),
    /// When segments are made and merged.
    Optimizer(Optimizer),
    /// When points are deleted.
    Ttl(Option<u64>),
    /// What a door wants to find again.
    Notes(Map<String, Value>),
}

impl Change {
    /// Deletes the points of these names.
    pub fn delete(ids: Vec<PointId>) -> Self {
        Self::Edit(Edit::Delete(Selector::Ids(ids)))
    }

    /// Writes points, replacing those of the same names.
    pub fn upsert(points: Vec<Point>) -> Self {
        Self::Upsert { points, only: Only::All, condition: None }
    }

    /// Checks everything that does not depend on what else is written: names, limits, and that
    /// vectors fit `config`, which it brings into the form they are kept in.
    pub(crate) fn prepare(&mut self, config: &Config) -> Result<(), WriteError> {
        match self {
            Self::Upsert { points, condition, .. } => {
                check_count(points.len())?;
                condition.as_ref().map_or(Ok(()), Filter::check)?;
                for point in &mut *points {
                    canonical(&mut point.id)?;
                    let Point { id, vectors, payload, .. } = point;
                    config.prepare(vectors).map_err(|cause| WriteError::of(id, cause))?;
                    check_payload(payload).map_err(|cause| refuse(Some(id), cause))?;
                }
                last_of_each(points);
                Ok(())
            }
            Self::SetVectors { points, condition } => {
                check_count(points.len())?;
                condition.as_ref().map_or(Ok(()), Filter::check)?;
                for (id, vectors) in &mut *points {
                    canonical(id)?;
                    config.prepare(vectors).map_err(|cause| WriteError::of(id, cause))?;
                }
                one_of_each(points);
                Ok(())
            }
            Self::Edit(edit) => edit.prepare(config),
        }
    }
}

impl Edit {
    fn prepare(&mut self, config: &Config) -> Result<(), WriteError> {
        match self {
            Self::Delete(of)
            | Self::ClearPayload(of)
            | Self::DeleteKeys { of, .. }
            | Self::DeleteVectors { of, .. }
            | Self::SetPayload { of, .. }
            | Self::ReplacePayload { of, .. } => match of {
                Selector::Ids(ids) => {
                    check_count(ids.len())?;
                    ids.iter_mut().try_for_each(canonical)?;
                }
                Selector::Filter(filter) => filter.check()?,
            },
            Self::SetField { .. } | Self::DropField { .. } | Self::Alter(_) | Self::Expire => {}
        }
        match self {
            Self::SetPayload { payload, .. } | Self::ReplacePayload { payload, .. } => {
                check_payload(payload).map_err(|cause| refuse(None, cause))
            }
            Self::DeleteVectors { names, .. } => {
                let known = |name: &&String| {
                    config.dense.contains_key(*name) || config.sparse.contains_key(*name)
                };
                match names.iter().find(|name| !known(name)) {
                    Some(name) => Err(config.unknown(name).into()),
                    None => Ok(()),
                }
            }
            Self::Alter(alterations) => {
                let mut after = config.clone();
                for one in alterations {
                    one.apply(&mut after);
                }
                Ok(after.check_indexes()?)
            }
            Self::Delete(_)
            | Self::DeleteKeys { .. }
            | Self::ClearPayload(_)
            | Self::SetField { .. }
            | Self::DropField { .. }
            | Self::Expire => Ok(()),
        }
    }
}

impl Alteration {
    /// Makes it so. A vector keeps its dimension, metric, storage and arity for good.
    pub(crate) fn apply(&self, config: &mut Config) {
        match self {
            Self::Dense(name, Some(dense)) => {
                let kept = config.dense.get(name).cloned();
                let mut dense = Dense::clone(dense);
                if let Some(Dense { dim, metric, storage, multi, .. }) = kept {
                    dense = Dense { dim, metric, storage, multi, ..dense };
                }
                config.dense.insert(name.clone(), dense);
            }
            Self::Dense(name, None) => drop(config.dense.remove(name)),
            Self::Sparse(name, Some(sparse)) => drop(config.sparse.insert(name.clone(), *sparse)),
            Self::Sparse(name, None) => drop(config.sparse.remove(name)),
            Self::Graph(graph) => config.graph = *graph,
            Self::Code(code) => config.code = *code,
            Self::Optimizer(optimizer) => config.optimizer = *optimizer,
            Self::Ttl(ttl) => config.ttl = *ttl,
            Self::Notes(notes) => config.notes.clone_from(notes),
        }
    }
}

/// Of several points of one name the last one counts.
fn last_of_each(points: &mut Vec<Point>) {
    let mut last = std::collections::HashMap::with_capacity(points.len());
    for (at, point) in points.iter().enumerate() {
        last.insert(point.id.clone(), at);
    }
    if last.len() < points.len() {
        let mut at = 0;
        points.retain(|point| {
            at += 1;
            last.get(&point.id) == Some(&(at - 1))
        });
    }
}

/// Of several entries of one name the vectors are put together, later ones counting.
fn one_of_each(points: &mut Vec<(PointId, Vectors)>) {
    let mut first: std::collections::HashMap<PointId, usize> = std::collections::HashMap::new();
    let mut kept: Vec<(PointId, Vectors)> = Vec::with_capacity(points.len());
    for (id, vectors) in points.drain(..) {
        let at = *first.entry(id.clone()).or_insert(kept.len());
        match kept.get_mut(at) {
            Some((_, before)) => before.extend(vectors),
            None => kept.push((id, vectors)),
        }
    }
    *points = kept;
}

fn canonical(id: &mut PointId) -> Result<(), WriteError> {
    if matches!(id, PointId::Text(_)) {
        *id = id.clone().canonical()?;
    }
    Ok(())
}

fn check_count(got: usize) -> Result<(), WriteError> {
    if got > BATCH_POINTS_MAX {
        return Err(WriteError::Batch { unit: "points", max: BATCH_POINTS_MAX, got });
    }
    Ok(())
}

fn refuse(id: Option<&PointId>, cause: PayloadError) -> WriteError {
    WriteError::Payload { id: id.cloned(), cause }
}

#[cfg(test)]
mod tests;

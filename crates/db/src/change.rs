//! What a batch does to a collection, as the log holds it.

use crate::codec::{Reader, put_id};
use crate::limits::{BATCH_POINTS_MAX, PAYLOAD_SIZE_MAX};
use crate::payload::{self, Refusal};
use crate::{Point, PointId, WriteError};
use kvant_index::Metric;
use kvant_storage::bytes_of_f32;
use std::collections::{HashMap, HashSet};

const UPSERT: u8 = 1;
const DELETE: u8 = 2;

/// A change with everything decided, so that applying it is the same now and at every replay:
/// vectors prepared for the metric, identifiers canonical and each at most once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Upsert(Rows),
    Delete(Vec<PointId>),
}

/// Points by column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rows {
    pub(crate) ids: Vec<PointId>,
    pub(crate) payloads: Vec<Box<[u8]>>,
    /// `ids.len() × dim`, row-major.
    pub(crate) vectors: Vec<f32>,
}

impl Change {
    /// Checks and prepares points. Of several with one identifier the last one counts.
    pub(crate) fn upsert(
        points: Vec<Point>,
        dim: usize,
        metric: Metric,
    ) -> Result<Self, WriteError> {
        check_count(points.len())?;
        let mut checked = Vec::with_capacity(points.len());
        let mut last = HashMap::with_capacity(points.len());
        for (at, point) in points.into_iter().enumerate() {
            let point = Point { id: point.id.canonical()?, ..point };
            check_vector(&point, dim)?;
            last.insert(point.id.clone(), at);
            checked.push(point);
        }
        let mut rows = Rows::default();
        rows.vectors.reserve_exact(last.len() * dim);
        for (at, mut point) in checked.into_iter().enumerate() {
            if last.get(&point.id) != Some(&at) {
                continue;
            }
            let bytes =
                payload::encode(&point.payload).map_err(|refusal| refuse(&point, &refusal))?;
            metric.prepare(&mut point.vector);
            rows.vectors.extend_from_slice(&point.vector);
            rows.payloads.push(bytes);
            rows.ids.push(point.id);
        }
        Ok(Self::Upsert(rows))
    }

    /// Checks identifiers; each counts once.
    pub(crate) fn delete(ids: &[PointId]) -> Result<Self, WriteError> {
        check_count(ids.len())?;
        let mut seen = HashSet::with_capacity(ids.len());
        let mut unique = Vec::with_capacity(ids.len());
        for id in ids {
            let id = id.clone().canonical()?;
            if seen.insert(id.clone()) {
                unique.push(id);
            }
        }
        Ok(Self::Delete(unique))
    }

    /// Whether it does nothing.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Upsert(rows) => rows.ids.is_empty(),
            Self::Delete(ids) => ids.is_empty(),
        }
    }

    /// The change as bytes:
    /// `1u8 · count u32 · dim u32 · count × (id · payload length u32 · payload) · vectors f32` or
    /// `2u8 · count u32 · count × id`.
    pub(crate) fn encode(&self, dim: usize) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Upsert(rows) => {
                assert_eq!(rows.vectors.len(), rows.ids.len() * dim, "whole rows");
                let payloads: usize = rows.payloads.iter().map(|p| p.len() + 32).sum();
                out.reserve(16 + payloads + rows.vectors.len() * 4);
                out.push(UPSERT);
                out.extend_from_slice(&(rows.ids.len() as u32).to_le_bytes());
                out.extend_from_slice(&(dim as u32).to_le_bytes());
                for (id, payload) in rows.ids.iter().zip(&rows.payloads) {
                    put_id(&mut out, id);
                    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
                    out.extend_from_slice(payload);
                }
                out.extend_from_slice(bytes_of_f32(&rows.vectors));
            }
            Self::Delete(ids) => {
                out.push(DELETE);
                out.extend_from_slice(&(ids.len() as u32).to_le_bytes());
                for id in ids {
                    put_id(&mut out, id);
                }
            }
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for anything else. Allocates no more than
    /// a small multiple of the bytes given.
    pub(crate) fn decode(body: &[u8], dim: usize) -> Option<Self> {
        let mut reader = Reader::new(body);
        let kind = reader.u8()?;
        let count = reader.u32()? as usize;
        // Every entry takes at least four bytes, so the count cannot promise more than is there.
        if count > BATCH_POINTS_MAX || count.checked_mul(4)? > reader.left() {
            return None;
        }
        let change = match kind {
            UPSERT => {
                if reader.u32()? as usize != dim {
                    return None;
                }
                let mut rows = Rows::default();
                for _ in 0..count {
                    rows.ids.push(reader.id()?);
                    let len = reader.u32()? as usize;
                    if len > PAYLOAD_SIZE_MAX {
                        return None;
                    }
                    rows.payloads.push(reader.take(len)?.into());
                }
                let vectors = reader.take(count.checked_mul(dim)?.checked_mul(4)?)?;
                rows.vectors =
                    vectors.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                if !rows.vectors.iter().all(|x| x.is_finite()) {
                    return None;
                }
                Self::Upsert(rows)
            }
            DELETE => Self::Delete((0..count).map(|_| reader.id()).collect::<Option<_>>()?),
            _ => return None,
        };
        (reader.left() == 0).then_some(change)
    }
}

fn check_count(got: usize) -> Result<(), WriteError> {
    if got > BATCH_POINTS_MAX {
        return Err(WriteError::Batch { unit: "points", max: BATCH_POINTS_MAX, got });
    }
    Ok(())
}

fn check_vector(point: &Point, dim: usize) -> Result<(), WriteError> {
    let got = point.vector.len();
    if got != dim {
        return Err(WriteError::Dim { id: point.id.clone(), expected: dim, got });
    }
    match point.vector.iter().position(|x| !x.is_finite()) {
        Some(position) => {
            let value = point.vector[position];
            Err(WriteError::NotFinite { id: point.id.clone(), position, value })
        }
        None => Ok(()),
    }
}

fn refuse(point: &Point, refusal: &Refusal) -> WriteError {
    let problem = match refusal {
        Refusal::Size(got) => format!("of {got} bytes, at most {PAYLOAD_SIZE_MAX} are allowed"),
        Refusal::Depth => {
            format!("nested deeper than {} is not allowed", crate::limits::PAYLOAD_DEPTH_MAX)
        }
    };
    WriteError::Payload { id: point.id.clone(), problem }
}

#[cfg(test)]
mod tests;

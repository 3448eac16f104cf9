//! Changes as bytes.
//!
//! ```text
//! upsert:       1u8 · JSON { only, condition, names } · count u32 · count × point
//! set vectors:  2u8 · the same; points have an empty payload and no ttl
//! edit:         3u8 · JSON
//! JSON:         length u32 · text
//! point:        id · ttl u64 (u64::MAX: none) · JSON payload · vectors u16 · vectors × vector
//! vector:       name u16 (among the names) · kind u8 · …
//!   1 dense     count u32 · values f32
//!   2 sparse    count u32 · indices u32 · values f32
//!   3 multi     dim u32 · count u32 · values f32
//! ```

use kvant_index::Sparse;
use kvant_payload::Filter;
use kvant_storage::bytes_of_f32;
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::Change;
use crate::codec::{Reader, put_id};
use crate::limits::BATCH_POINTS_MAX;
use crate::vector::Multi;
use crate::{Only, Point, Vector, Vectors};

const UPSERT: u8 = 1;
const SET_VECTORS: u8 = 2;
const EDIT: u8 = 3;
const DENSE: u8 = 1;
const SPARSE: u8 = 2;
const MULTI: u8 = 3;
const NO_TTL: u64 = u64::MAX;

#[derive(Serialize, Deserialize)]
struct Front {
    #[serde(default)]
    only: Only,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    condition: Option<Filter>,
    names: Vec<String>,
}

impl Change {
    /// The change as bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Upsert { points, only, condition } => {
                let names = names(points.iter().map(|point| &point.vectors));
                out.push(UPSERT);
                let front = Front { only: *only, condition: condition.clone(), names };
                put_json(&mut out, &front);
                out.extend_from_slice(&(points.len() as u32).to_le_bytes());
                for Point { id, vectors, payload, ttl } in points {
                    put_id(&mut out, id);
                    out.extend_from_slice(&ttl.unwrap_or(NO_TTL).to_le_bytes());
                    put_json(&mut out, payload);
                    put_vectors(&mut out, vectors, &front.names);
                }
            }
            Self::SetVectors { points, condition } => {
                let names = names(points.iter().map(|(_, vectors)| vectors));
                out.push(SET_VECTORS);
                let front = Front { only: Only::All, condition: condition.clone(), names };
                put_json(&mut out, &front);
                out.extend_from_slice(&(points.len() as u32).to_le_bytes());
                for (id, vectors) in points {
                    put_id(&mut out, id);
                    put_vectors(&mut out, vectors, &front.names);
                }
            }
            Self::Edit(edit) => {
                out.push(EDIT);
                put_json(&mut out, edit);
            }
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for anything else. Allocates no more than
    /// a small multiple of the bytes given.
    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let change = match reader.u8()? {
            EDIT => Self::Edit(json(&mut reader)?),
            kind @ (UPSERT | SET_VECTORS) => {
                let Front { only, condition, names } = json(&mut reader)?;
                let count = reader.u32()? as usize;
                // Every point takes more than four bytes: the count cannot promise what is not
                // there.
                if count > BATCH_POINTS_MAX || count.checked_mul(4)? > reader.left() {
                    return None;
                }
                if kind == UPSERT {
                    let points = (0..count).map(|_| point(&mut reader, &names));
                    Self::Upsert { points: points.collect::<Option<_>>()?, only, condition }
                } else {
                    let points =
                        (0..count).map(|_| Some((reader.id()?, vectors(&mut reader, &names)?)));
                    Self::SetVectors { points: points.collect::<Option<_>>()?, condition }
                }
            }
            _ => return None,
        };
        (reader.left() == 0).then_some(change)
    }
}

fn point(reader: &mut Reader<'_>, names: &[String]) -> Option<Point> {
    let id = reader.id()?;
    let ttl = Some(reader.u64()?).filter(|ttl| *ttl != NO_TTL);
    let payload: Map<_, _> = json(reader)?;
    Some(Point { id, vectors: vectors(reader, names)?, payload, ttl })
}

/// Every name there is, once.
fn names<'a>(all: impl Iterator<Item = &'a Vectors>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = all.flat_map(Vectors::keys).collect();
    names.into_iter().cloned().collect()
}

fn put_json(out: &mut Vec<u8>, value: &impl Serialize) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    // Plain data with texts for keys into memory: there is no way to fail.
    let written = serde_json::to_writer(&mut *out, value);
    assert!(written.is_ok(), "JSON into memory");
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}

fn json<T: for<'de> Deserialize<'de>>(reader: &mut Reader<'_>) -> Option<T> {
    let len = reader.u32()? as usize;
    serde_json::from_slice(reader.take(len)?).ok()
}

pub(crate) fn put_vectors(out: &mut Vec<u8>, vectors: &Vectors, names: &[String]) {
    out.extend_from_slice(&(vectors.len() as u16).to_le_bytes());
    for (name, vector) in vectors {
        let at = names.binary_search(name).unwrap_or_default() as u16;
        out.extend_from_slice(&at.to_le_bytes());
        put_vector(out, vector);
    }
}

/// Appends one vector behind its kind.
pub(crate) fn put_vector(out: &mut Vec<u8>, vector: &Vector) {
    match vector {
        Vector::Dense(values) => {
            out.push(DENSE);
            out.extend_from_slice(&(values.len() as u32).to_le_bytes());
            out.extend_from_slice(bytes_of_f32(values));
        }
        Vector::Sparse(sparse) => {
            out.push(SPARSE);
            out.extend_from_slice(&(sparse.indices().len() as u32).to_le_bytes());
            sparse.indices().iter().for_each(|at| out.extend_from_slice(&at.to_le_bytes()));
            out.extend_from_slice(bytes_of_f32(sparse.values()));
        }
        Vector::Multi(multi) => {
            out.push(MULTI);
            out.extend_from_slice(&(multi.dim() as u32).to_le_bytes());
            out.extend_from_slice(&(multi.rows().len() as u32).to_le_bytes());
            out.extend_from_slice(bytes_of_f32(multi.data()));
        }
    }
}

fn vectors(reader: &mut Reader<'_>, names: &[String]) -> Option<Vectors> {
    let count = u16::from_le_bytes(reader.array()?);
    let mut out = Vectors::new();
    for _ in 0..count {
        let name = names.get(usize::from(u16::from_le_bytes(reader.array()?)))?;
        out.insert(name.clone(), vector(reader)?);
    }
    Some(out)
}

/// Reads what [`put_vector`] wrote.
pub(crate) fn vector(reader: &mut Reader<'_>) -> Option<Vector> {
    let floats = |reader: &mut Reader<'_>, count: usize| -> Option<Vec<f32>> {
        let bytes = reader.take(count.checked_mul(4)?)?;
        Some(bytes.as_chunks().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect())
    };
    Some(match reader.u8()? {
        DENSE => {
            let count = reader.u32()? as usize;
            Vector::Dense(floats(reader, count)?)
        }
        SPARSE => {
            let count = reader.u32()? as usize;
            let raw = reader.take(count.checked_mul(4)?)?;
            let indices = raw.as_chunks().0.iter().map(|raw| u32::from_le_bytes(*raw));
            let values = floats(reader, count)?;
            Vector::Sparse(Sparse::new(indices.zip(values).collect())?)
        }
        MULTI => {
            let (dim, count) = (reader.u32()? as usize, reader.u32()? as usize);
            Vector::Multi(Multi::of(dim, floats(reader, dim.checked_mul(count)?)?)?)
        }
        _ => return None,
    })
}

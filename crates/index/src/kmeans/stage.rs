//! Iterations that are kept.
//!
//! Little endian: `iterations u32 · clusters u32 · dim u32 · rows u32 · the inertia of each
//! iteration f64 · centroids f32 · penalties f32 · the cluster of each row u32`.

use super::Run;
use super::assign::Points;
use crate::file::{FileError, Reader};
use crate::number::{numbers_of, put};
use crate::{BuildOptions, KmeansOptions};

const MEANS: &str = "means";

/// What iterations so far leave to the next one, beside the centroids and penalties.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// The inertia of each.
    pub(super) history: Vec<f64>,
    /// The cluster of each row in the last.
    pub(super) assigned: Vec<u32>,
}

impl Before {
    /// What an earlier build kept, its centroids and penalties put into `run`.
    pub(super) fn kept(
        run: &mut Run<'_>,
        all: &Points<'_>,
        building: &BuildOptions<'_>,
    ) -> Option<Self> {
        building.kept(MEANS, |bytes| read(&bytes, run, all).ok())
    }

    /// Keeps it with what `run` has come to, if it is time.
    pub(super) fn keep(&self, run: &Run<'_>, all: &Points<'_>, building: &BuildOptions<'_>) {
        building.keep(MEANS, || {
            let mut bytes = Vec::new();
            let counts = [self.history.len(), run.k, all.dim, all.len()];
            put(&mut bytes, &counts.map(|count| count as u32));
            bytes.extend(self.history.iter().flat_map(|inertia| inertia.to_le_bytes()));
            let floats = run.centroids.iter().chain(&run.penalties);
            bytes.extend(floats.flat_map(|float| float.to_le_bytes()));
            put(&mut bytes, &self.assigned);
            bytes
        });
    }
}

fn read(bytes: &[u8], run: &mut Run<'_>, all: &Points<'_>) -> Result<Before, FileError> {
    let KmeansOptions { iterations, .. } = *run.options;
    let mut reader = Reader::whole(bytes);
    let done = reader.number()?;
    for (name, expected) in [("clusters", run.k), ("dimension", all.dim), ("rows", all.len())] {
        let got = reader.number()?;
        if got as usize != expected {
            return Err(FileError::Header { name, got: got.into() });
        }
    }
    if done as usize > iterations {
        return Err(FileError::Header { name: "iterations", got: done.into() });
    }
    let history = reader.slab(done.into(), 2)?.as_chunks().0;
    let history = history.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let centroids = floats(reader.slab(run.k as u64, all.dim)?);
    let penalties = floats(reader.slab(run.k as u64, 1)?);
    let assigned = numbers_of(reader.slab(all.len() as u64, 1)?);
    if let Some(&got) = assigned.iter().find(|&&cluster| cluster as usize >= run.k) {
        return Err(FileError::Header { name: "cluster", got: got.into() });
    }
    reader.end()?;
    (run.centroids, run.penalties) = (centroids, penalties);
    Ok(Before { history, assigned })
}

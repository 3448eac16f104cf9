//! Trees as bytes.
//!
//! Little endian: `trees u32 · cuts on the way to a leaf u32 · dim u32 · metric u8 · 0 0 0 u8 · the
//! length of products f32`; then for all trees, one after the other each time, the steps and the
//! places of the planes (f32 each), their bytes padded to 4, and the rows u32, rising in each leaf.

use super::{Forest, depth_of, range};
use crate::code::coded::metric_code;
use crate::file::Reader;
use crate::sieve::Sieve;
use crate::space::Space;
use crate::{DIM_MAX, FileError, Metric, TREES_MAX};

impl Forest {
    /// Appends the trees to `bytes`.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        let Space { metric, dim, length } = self.space;
        for number in [self.trees, self.depth, dim] {
            bytes.extend_from_slice(&(number as u32).to_le_bytes());
        }
        bytes.extend_from_slice(&[metric_code(metric), 0, 0, 0]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend(self.planes.iter().flat_map(|plane| plane.0.to_le_bytes()));
        bytes.extend(self.planes.iter().flat_map(|plane| plane.1.to_le_bytes()));
        bytes.extend(self.normals.iter().map(|&byte| byte as u8));
        bytes.resize(bytes.len() + self.normals.len().next_multiple_of(4) - self.normals.len(), 0);
        bytes.extend(self.rows.iter().flat_map(|row| row.to_le_bytes()));
    }

    /// Reads trees over `len` rows.
    pub(crate) fn read(reader: &mut Reader<'_>, len: usize) -> Result<Self, FileError> {
        let [trees, depth, dim] = [reader.number()?, reader.number()?, reader.number()?];
        let [metric, reserved @ ..]: [u8; 4] = reader.array()?;
        let length = f32::from_le_bytes(reader.array()?);
        let bad = |name, got: u32| Err(FileError::Header { name, got: got.into() });
        let Some(&metric_found) = Metric::ALL.get(usize::from(metric)) else {
            return bad("metric", metric.into());
        };
        if !(1..=TREES_MAX as u32).contains(&trees) {
            return bad("number of trees", trees);
        }
        if dim == 0 || dim as usize > DIM_MAX {
            return bad("dimension", dim);
        }
        if depth != 0 && depth as usize != depth_of(len) {
            return bad("depth of a tree", depth);
        }
        if reserved != [0; 3] {
            return bad("reserved bytes", reserved[0].into());
        }
        // Taken before anything of their size is allocated; the depth is that of `len` rows.
        let cuts = ((1u64 << depth) - 1) * u64::from(trees);
        let steps = reader.slab(cuts, 1)?.as_chunks().0;
        let places = reader.slab(cuts, 1)?.as_chunks().0;
        let size = cuts.checked_mul(dim.into()).and_then(|size| usize::try_from(size).ok());
        let size = size.unwrap_or(usize::MAX);
        let normals: Vec<i8> = reader.take(size)?.iter().map(|&byte| byte as i8).collect();
        if let Some(&got) = reader.take(size.next_multiple_of(4) - size)?.iter().find(|&&b| b != 0)
        {
            return bad("padding", got.into());
        }
        let held = if depth > 0 { u64::from(trees) * len as u64 } else { 0 };
        let rows = reader.slab(held, 1)?.as_chunks().0;
        let rows: Vec<u32> = rows.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        if let Some(&got) = rows.iter().find(|&&row| row as usize >= len) {
            return bad("row of a leaf", got);
        }
        let float = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
        let planes = steps.iter().map(float).zip(places.iter().map(float)).collect();
        let space = Space { metric: metric_found, dim: dim as usize, length };
        let (trees, depth, sieve) = (trees as usize, depth as usize, Sieve::new(len));
        let forest = Self { trees, space, depth, normals, planes, rows, sieve };
        forest.check()?;
        Ok(forest)
    }

    fn check(&self) -> Result<(), FileError> {
        let len = self.len();
        for tree in self.rows.chunks_exact(len.max(1)) {
            for leaf in 0..1 << self.depth {
                let rows = &tree[range(len, self.depth, leaf)];
                if !rows.is_sorted_by(|a, b| a < b) {
                    return Err(FileError::Header { name: "order of a leaf", got: leaf as u64 });
                }
            }
        }
        Ok(())
    }
}

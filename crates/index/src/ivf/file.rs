//! Lists as bytes.
//!
//! `lists asked for u32 · lists u32 · dimensions u32 · measure u8 · lists of a row u8 · align u8 ·
//! 0 u8`, the centroids in f32, the number of rows of each list in u32, the rows of the lists one
//! after the other in u32, rising in each.

use super::{Ivf, IvfOptions, Spill};
use crate::code::coded::metric_code;
use crate::file::{FileError, Reader};
use crate::{DIM_MAX, Metric};

impl Ivf {
    /// Appends the lists to `bytes`.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        let IvfOptions { lists, spill, align } = self.options;
        for number in [lists, self.lists(), self.dim] {
            bytes.extend_from_slice(&(number as u32).to_le_bytes());
        }
        let of_a_row = if spill == Spill::Two { 2 } else { 1 };
        bytes.extend_from_slice(&[metric_code(self.metric), of_a_row, align as u8, 0]);
        bytes.extend(self.centroids.iter().flat_map(|x| x.to_le_bytes()));
        bytes.extend(self.lists.iter().flat_map(|(_, count)| count.to_le_bytes()));
        for &(first, count) in &self.lists {
            let rows = self.order.rows(first..first + count);
            bytes.extend(rows.iter().flat_map(|row| row.to_le_bytes()));
        }
    }

    /// Reads lists of `len` rows.
    pub(crate) fn read(reader: &mut Reader<'_>, len: usize) -> Result<Self, FileError> {
        let (asked, lists, dim) = (reader.number()?, reader.number()?, reader.number()?);
        let [metric, of_a_row, align, reserved] = reader.array()?;
        let bad = |name, got: u32| Err(FileError::Header { name, got: got.into() });
        let Some(&metric_found) = Metric::ALL.get(usize::from(metric)) else {
            return bad("metric", metric.into());
        };
        let spill = match of_a_row {
            1 => Spill::One,
            2 => Spill::Two,
            got => return bad("lists of a row", got.into()),
        };
        if dim == 0 || dim as usize > DIM_MAX {
            return bad("dimension", dim);
        }
        if !matches!(align, 1 | 32) {
            return bad("alignment", align.into());
        }
        if reserved != 0 {
            return bad("reserved byte", reserved.into());
        }
        if lists as usize > len || (lists == 0) != (len == 0) {
            return bad("number of lists", lists);
        }
        let float = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
        let number = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        let centroids = reader.slab(lists.into(), dim as usize)?.as_chunks().0;
        let centroids: Vec<f32> = centroids.iter().map(float).collect();
        let counts = reader.slab(lists.into(), 1)?.as_chunks().0.iter().map(number);
        let counts: Vec<u32> = counts.collect();
        // One buffer: what is given back in small pieces stays with the process.
        let mut all = Vec::new();
        for &count in &counts {
            let from = all.len();
            all.extend(reader.slab(count.into(), 1)?.as_chunks().0.iter().map(number));
            if !all[from..].is_sorted_by(|a, b| a < b) {
                return bad("order of a list", all[from]);
            }
        }
        let most = len * if spill == Spill::Two { 2 } else { 1 };
        if all.len() > most {
            return bad("rows of all lists", 0);
        }
        let mut rest = &all[..];
        let cut = counts.iter().map(|&count| {
            let (list, after) = rest.split_at(count as usize);
            rest = after;
            list
        });
        let rows: Vec<&[u32]> = cut.collect();
        let options = IvfOptions { lists: asked as usize, spill, align: align.into() };
        let kept = (options, metric_found, dim as usize);
        Self::of(centroids, &rows, kept, len)
            .ok_or(FileError::Header { name: "row of a list", got: 0 })
    }
}

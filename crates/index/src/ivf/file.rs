//! Lists as bytes.
//!
//! Behind the header, little endian: `lists asked for u32 · lists u32 · dimensions u32 · measure
//! u8 · lists of a row u8 · align u8 · 0 u8 · places u32 · zeros to byte 64`, the centroids in f32,
//! the first place and the number of rows of each list in u32, the row at each place in u32, rising
//! in each list and all ones where there is none, the first place of each row in u32. In version 1
//! there are no places and no zeros, and behind the centroids the number of rows of each list and
//! the rows of the lists one after the other.

use std::sync::Arc;

use super::near::Near;
use super::{Ivf, IvfOptions, Spill};
use crate::code::coded::metric_code;
use crate::file::{FileError, HEAD, Reader};
use crate::number::{Part, numbers_of, put};
use crate::{DIM_MAX, Metric, Order};

/// How lists were made, and of what: measure and dimension.
type Kept = (IvfOptions, Metric, usize);

impl Ivf {
    /// Appends the lists to `bytes`.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        let IvfOptions { lists, spill, align } = self.options;
        put(bytes, &[lists, self.lists(), self.dim].map(|number| number as u32));
        let of_a_row = if spill == Spill::Two { 2 } else { 1 };
        bytes.extend_from_slice(&[metric_code(self.metric), of_a_row, align as u8, 0]);
        put(bytes, &[self.order.places() as u32]);
        bytes.resize(HEAD, 0);
        put(bytes, self.centroids.all());
        self.lists.iter().for_each(|&(first, count)| put(bytes, &[first, count]));
        self.order.write(bytes);
    }

    /// What [`write`](Self::write) wrote, of `len` rows, to be searched where it lies. Reads the
    /// centroids and where lists begin, and nothing of the rows.
    pub(crate) fn open(part: &Part, len: usize) -> Result<Self, FileError> {
        let bad = |name, got: u32| Err(FileError::Header { name, got: got.into() });
        let (_, mut reader) = Reader::open(part.head(HEAD), len)?;
        let (lists, kept) = head(&mut reader, len)?;
        let (places, dim) = (reader.number()?, kept.2);
        if let Some(&got) = reader.take(HEAD - 36)?.iter().find(|&&byte| byte != 0) {
            return bad("padding", got.into());
        }
        let counts =
            [u64::from(lists) * dim as u64, 2 * u64::from(lists), places.into(), len as u64];
        let [centroids, starts, rows, first] = part.numbers(HEAD, counts)?;
        // One stretch of the file.
        part.head(HEAD + (centroids.len() + starts.len()) * 4);
        let (pairs, _) = starts.some(0..starts.len()).as_chunks();
        let (mut end, align) = (0, kept.0.align as u32);
        for &[first, count] in pairs {
            if first < end || !first.is_multiple_of(align) || count == 0 {
                return bad("first place of a list", first);
            }
            end = first.saturating_add(count);
        }
        if end != places || places < len as u32 || places == u32::MAX {
            return bad("places", places);
        }
        let values: Vec<f32> = centroids.all().iter().map(|&bits| f32::from_bits(bits)).collect();
        let (options, metric, dim) = kept;
        let Ok(near) = Near::new(&values, (metric, dim)) else { return bad("centroid", 0) };
        let lists = pairs.iter().map(|&[first, count]| (first, count)).collect();
        let order = Arc::new(Order::of_parts(rows, first));
        Ok(Self { options, metric, dim, centroids, near, lists, order })
    }

    /// Whether every row lies in a list, in order, and where it is said to lie. O(n).
    pub(crate) fn check(&self) -> Result<(), FileError> {
        let bad = |name| Err(FileError::Header { name, got: 0 });
        let of_a_row = if self.options.spill == Spill::Two { 2 } else { 1 };
        let mut places = self.order.places();
        for &(first, count) in &self.lists {
            let rows = self.order.rows(first..first + count);
            if !rows.is_sorted_by(|a, b| a < b) || rows.last() == Some(&u32::MAX) {
                return bad("order of a list");
            }
            places -= rows.len();
        }
        let rows = self.order.places() - places;
        let lie = self.order.numbers().iter().filter(|&&row| row != u32::MAX).count();
        if lie != rows || rows > self.len() * of_a_row {
            return bad("rows of all lists");
        }
        self.order.check()
    }

    /// Reads lists of `len` rows of version 1.
    pub(crate) fn read(reader: &mut Reader<'_>, len: usize) -> Result<Self, FileError> {
        let bad = |name, got: u32| Err(FileError::Header { name, got: got.into() });
        let (lists, kept) = head(reader, len)?;
        let (spill, dim) = (kept.0.spill, kept.2);
        let float = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
        let centroids = reader.slab(lists.into(), dim)?.as_chunks().0;
        let centroids: Vec<f32> = centroids.iter().map(float).collect();
        let counts = numbers_of(reader.slab(lists.into(), 1)?);
        // One buffer: what is given back in small pieces stays with the process.
        let mut all = Vec::new();
        for &count in &counts {
            let from = all.len();
            all.extend(numbers_of(reader.slab(count.into(), 1)?));
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
        Self::of(centroids, &rows, kept, len)
            .ok_or(FileError::Header { name: "row of a list", got: 0 })
    }
}

/// What stands in front: lists, and how and over what they were made.
fn head(reader: &mut Reader<'_>, len: usize) -> Result<(u32, Kept), FileError> {
    let (asked, lists, dim) = (reader.number()?, reader.number()?, reader.number()?);
    let [metric, of_a_row, align, reserved] = reader.array()?;
    let bad = |name, got: u32| Err(FileError::Header { name, got: got.into() });
    let Some(&kind) = Metric::ALL.get(usize::from(metric)) else {
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
    let options = IvfOptions { lists: asked as usize, spill, align: align.into() };
    Ok((lists, (options, kind, dim as usize)))
}

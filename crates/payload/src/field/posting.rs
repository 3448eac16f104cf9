//! Sets of rows as bytes: one row in its slot, a few as differences, many as a roaring bitmap.
//!
//! A list of sets is two sections. `slots` has 8 bytes a set: with the highest bit set the one row
//! of the set, else where the set begins in `sets`. There a set begins with how many rows it has
//! (varint); up to 64 of them follow as differences (varints), more as the bytes of a roaring
//! bitmap in its portable format with their number before them (varint).

use super::FieldError;
use super::part::{Part, put_varint, varint};
use roaring::RoaringBitmap;

/// Up to so many rows, differences are smaller than a bitmap.
const FEW: u64 = 64;
/// Marks a slot that is the row itself.
const ALONE: u64 = 1 << 63;

/// Sets of rows being written.
#[derive(Debug, Default)]
pub(super) struct SetWriter {
    pub(super) slots: Vec<u8>,
    pub(super) sets: Vec<u8>,
}

impl SetWriter {
    /// Appends the set of `rows`, which ascend strictly.
    pub(super) fn push(&mut self, rows: &[u32]) {
        if let [row] = rows {
            self.slots.extend_from_slice(&(ALONE | u64::from(*row)).to_le_bytes());
            return;
        }
        self.slots.extend_from_slice(&(self.sets.len() as u64).to_le_bytes());
        put_varint(&mut self.sets, rows.len() as u64);
        if rows.len() as u64 <= FEW {
            let mut next = 0;
            for row in rows {
                put_varint(&mut self.sets, u64::from(row - next));
                next = row + 1;
            }
            return;
        }
        let bytes = bitmap_bytes(rows);
        put_varint(&mut self.sets, bytes.len() as u64);
        self.sets.extend_from_slice(&bytes);
    }
}

/// `rows`, which ascend strictly, as the bytes of a bitmap.
pub(super) fn bitmap_bytes(rows: &[u32]) -> Vec<u8> {
    let mut bitmap: RoaringBitmap = rows.iter().copied().collect();
    bitmap.optimize();
    let mut bytes = Vec::with_capacity(bitmap.serialized_size());
    // Writing to memory does not fail.
    let _ = bitmap.serialize_into(&mut bytes);
    bytes
}

/// The bitmap in `part`, if all of its rows are below `limit`.
pub(super) fn read_bitmap(
    part: &Part,
    data: &[u8],
    limit: u32,
) -> Result<RoaringBitmap, FieldError> {
    let bitmap = RoaringBitmap::deserialize_from(data).map_err(|_| part.damaged())?;
    match bitmap.max() {
        Some(last) if last >= limit => Err(part.damaged()),
        _ => Ok(bitmap),
    }
}

/// One set of rows, not yet read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Set<'a> {
    /// One row.
    Alone(u32),
    /// Differences of so many rows.
    Few(u64, &'a [u8]),
    /// A bitmap of so many rows.
    Many(u64, &'a [u8]),
}

/// Sets of rows that were written.
#[derive(Debug)]
pub(super) struct Sets {
    pub(super) slots: Part,
    pub(super) data: Part,
    /// All rows are below.
    pub(super) limit: u32,
}

impl Sets {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.slots.len() / 8
    }

    /// Set number `at`.
    pub(super) fn get(&self, at: usize) -> Result<Set<'_>, FieldError> {
        let slot = self.slots.u64(at)?;
        if slot & ALONE != 0 {
            let row = u32::try_from(slot ^ ALONE).ok().filter(|row| *row < self.limit);
            return row.map(Set::Alone).ok_or_else(|| self.slots.damaged());
        }
        let damaged = || self.data.damaged();
        let from = usize::try_from(slot).map_err(|_| damaged())?;
        let mut rest = self.data.get(from..).ok_or_else(damaged)?;
        let count = varint(&mut rest).ok_or_else(damaged)?;
        if count <= FEW {
            return Ok(Set::Few(count, rest));
        }
        let len = varint(&mut rest).and_then(|len| usize::try_from(len).ok());
        let data = len.and_then(|len| rest.get(..len)).ok_or_else(damaged)?;
        if count > u64::from(self.limit) {
            return Err(damaged());
        }
        Ok(Set::Many(count, data))
    }

    /// How many rows set number `at` has. O(1).
    pub(super) fn count(&self, at: usize) -> Result<u64, FieldError> {
        Ok(match self.get(at)? {
            Set::Alone(_) => 1,
            Set::Few(count, _) | Set::Many(count, _) => count,
        })
    }

    /// Calls `each` with the rows of differences.
    fn few(
        &self,
        count: u64,
        mut data: &[u8],
        each: &mut impl FnMut(u32),
    ) -> Result<(), FieldError> {
        let mut next = 0u64;
        for _ in 0..count {
            let step = varint(&mut data).filter(|step| *step < u64::from(self.limit));
            let row = next + step.ok_or_else(|| self.data.damaged())?;
            if row >= u64::from(self.limit) {
                return Err(self.data.damaged());
            }
            each(row as u32);
            next = row + 1;
        }
        Ok(())
    }

    fn many(&self, count: u64, data: &[u8]) -> Result<RoaringBitmap, FieldError> {
        let bitmap = read_bitmap(&self.data, data, self.limit)?;
        if bitmap.len() == count { Ok(bitmap) } else { Err(self.data.damaged()) }
    }

    /// Set number `at`.
    pub(super) fn rows(&self, at: usize) -> Result<RoaringBitmap, FieldError> {
        Ok(match self.get(at)? {
            Set::Alone(row) => RoaringBitmap::from_iter([row]),
            Set::Few(count, data) => {
                let mut rows = RoaringBitmap::new();
                self.few(count, data, &mut |row| {
                    rows.insert(row);
                })?;
                rows
            }
            Set::Many(count, data) => self.many(count, data)?,
        })
    }

    /// How many rows set number `at` has in common with `allowed`.
    pub(super) fn common(&self, at: usize, allowed: &RoaringBitmap) -> Result<u64, FieldError> {
        Ok(match self.get(at)? {
            Set::Alone(row) => u64::from(allowed.contains(row)),
            Set::Few(count, data) => {
                let mut found = 0;
                self.few(count, data, &mut |row| found += u64::from(allowed.contains(row)))?;
                found
            }
            Set::Many(count, data) => self.many(count, data)?.intersection_len(allowed),
        })
    }

    /// Adds set number `at` to `gather`.
    pub(super) fn gather(&self, at: usize, gather: &mut Gather) -> Result<(), FieldError> {
        match self.get(at)? {
            Set::Alone(row) => gather.add(row),
            Set::Few(count, data) => self.few(count, data, &mut |row| gather.add(row))?,
            Set::Many(count, data) => gather.sets |= self.many(count, data)?,
        }
        Ok(())
    }
}

/// Rows in any order, and sets, becoming one set.
#[derive(Debug)]
pub(super) struct Gather {
    limit: u32,
    list: Vec<u32>,
    bits: Vec<u8>,
    sets: RoaringBitmap,
}

impl Gather {
    /// For rows below `limit`.
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, list: Vec::new(), bits: Vec::new(), sets: RoaringBitmap::new() }
    }

    /// Adds one row, which is below the limit.
    pub(super) fn add(&mut self, row: u32) {
        if self.bits.is_empty() {
            self.list.push(row);
            // A bit for every row of all is smaller than a list, and in order by itself.
            if self.list.len() > 1024 && self.list.len() > self.limit as usize / 32 {
                self.bits = vec![0; self.limit as usize / 8 + 1];
                for row in std::mem::take(&mut self.list) {
                    self.add(row);
                }
            }
        } else if let Some(byte) = self.bits.get_mut(row as usize / 8) {
            *byte |= 1 << (row % 8);
        }
    }

    /// All of it as one set.
    pub(super) fn finish(mut self) -> RoaringBitmap {
        if !self.bits.is_empty() {
            self.sets |= RoaringBitmap::from_lsb0_bytes(0, &self.bits);
        }
        self.list.sort_unstable();
        // Appending fails only out of order.
        let mut rows = RoaringBitmap::new();
        for row in self.list {
            rows.insert(row);
        }
        self.sets | rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvant_storage::Bytes;
    use proptest::prelude::*;

    fn sets(writer: SetWriter, limit: u32) -> Sets {
        let part = |data: Vec<u8>| Part::new(Bytes::from(data), "sets");
        Sets { slots: part(writer.slots), data: part(writer.sets), limit }
    }

    #[test]
    fn a_set_of_one_row_takes_eight_bytes_and_a_few_take_little() {
        let mut writer = SetWriter::default();
        for row in 0..1000 {
            writer.push(&[row]);
        }
        assert_eq!((writer.slots.len(), writer.sets.len()), (8000, 0));
        writer.push(&[5, 6, 900]);
        assert!(writer.sets.len() <= 5);
        let all: Vec<u32> = (0..100_000).collect();
        let mut runs = SetWriter::default();
        runs.push(&all);
        assert!(runs.sets.len() < 40, "{} bytes", runs.sets.len());
    }

    proptest! {
        #[test]
        fn sets_come_back(lists in prop::collection::vec(
            prop::collection::btree_set(0u32..3000, 0..400), 1..5)) {
            let mut writer = SetWriter::default();
            for list in &lists {
                writer.push(&list.iter().copied().collect::<Vec<_>>());
            }
            let sets = sets(writer, 3000);
            let allowed: RoaringBitmap = (0..3000).step_by(3).collect();
            let mut gather = Gather::new(3000);
            for (at, list) in lists.iter().enumerate() {
                let rows: RoaringBitmap = list.iter().copied().collect();
                prop_assert_eq!(&sets.rows(at).unwrap(), &rows);
                prop_assert_eq!(sets.count(at).unwrap(), rows.len());
                let common = rows.intersection_len(&allowed);
                prop_assert_eq!(sets.common(at, &allowed).unwrap(), common);
                sets.gather(at, &mut gather).unwrap();
            }
            let all: RoaringBitmap = lists.iter().flatten().copied().collect();
            prop_assert_eq!(gather.finish(), all);
        }

        #[test]
        fn any_bytes_are_a_set_or_damaged(
            slot: u64, data in prop::collection::vec(any::<u8>(), 0..80)
        ) {
            let slot = if slot % 3 == 0 { slot } else { slot % 100 };
            let writer = SetWriter { slots: slot.to_le_bytes().to_vec(), sets: data };
            let sets = sets(writer, 1000);
            if let Ok(rows) = sets.rows(0) {
                prop_assert!(rows.max().is_none_or(|row| row < 1000));
                prop_assert_eq!(rows.len(), sets.count(0).unwrap());
            }
        }
    }
}

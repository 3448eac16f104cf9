//! Hash tables as bytes.
//!
//! Little endian: `tables asked for u32 · bits asked for u32 · tables u32 · dim u32 · metric u8 ·
//! family u8 · 0 0 u8 · the length of products f32 · seed u64`; what is taken from the values along
//! each axis, f32; then for each table the number of its keys u32, the keys u32, rising, the number
//! of rows of each u32, and the rows u32, rising in each key.

use super::{Family, Lsh, LshOptions, TABLES, Table};
use crate::code::coded::metric_code;
use crate::file::Reader;
use crate::space::Space;
use crate::{BITS_MAX, DIM_MAX, FileError, Metric, TABLES_MAX};

impl Lsh {
    /// Appends the tables to `bytes`.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        let Space { metric, dim, length } = self.space;
        let LshOptions { family, tables, bits } = self.options;
        for number in [tables, bits, self.tables.len(), dim] {
            bytes.extend_from_slice(&(number as u32).to_le_bytes());
        }
        bytes.extend_from_slice(&[metric_code(metric), family as u8, 0, 0]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.seed.to_le_bytes());
        bytes.extend(self.middles.iter().flat_map(|x| x.to_le_bytes()));
        for table in &self.tables {
            bytes.extend_from_slice(&(table.keys.len() as u32).to_le_bytes());
            bytes.extend(table.keys.iter().flat_map(|key| key.to_le_bytes()));
            let counts = table.starts.windows(2).map(|pair| pair[1] - pair[0]);
            bytes.extend(counts.flat_map(u32::to_le_bytes));
            bytes.extend(table.rows.iter().flat_map(|row| row.to_le_bytes()));
        }
    }

    /// Reads tables over `len` rows.
    pub(crate) fn read(reader: &mut Reader<'_>, len: usize) -> Result<Self, FileError> {
        let [asked, bits, tables, dim] =
            [reader.number()?, reader.number()?, reader.number()?, reader.number()?];
        let [metric, family, reserved @ ..]: [u8; 4] = reader.array()?;
        let length = f32::from_le_bytes(reader.array()?);
        let seed = u64::from_le_bytes(reader.array()?);
        let bad = |name, got: u32| Err(FileError::Header { name, got: got.into() });
        let Some(&metric_found) = Metric::ALL.get(usize::from(metric)) else {
            return bad("metric", metric.into());
        };
        let family = match family {
            0 => Family::Planes,
            1 => Family::Polytopes,
            got => return bad("family", got.into()),
        };
        if asked as usize > TABLES_MAX {
            return bad("tables asked for", asked);
        }
        if bits as usize > BITS_MAX {
            return bad("bits of a key", bits);
        }
        let wanted = if asked == 0 { TABLES as u32 } else { asked };
        if tables != 0 && tables != wanted {
            return bad("number of tables", tables);
        }
        if dim == 0 || dim as usize > DIM_MAX {
            return bad("dimension", dim);
        }
        if reserved != [0; 2] {
            return bad("reserved bytes", reserved[0].into());
        }
        let options = LshOptions { family, tables: asked as usize, bits: bits as usize };
        let space = Space { metric: metric_found, dim: dim as usize, length };
        // Its axes are as many as its numbers, which are taken first.
        let axes = axes(options, &space, (len, tables as usize));
        let middles = reader.slab(axes as u64, 1)?.as_chunks().0;
        let middles = middles.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let mut lsh = Self::empty((options, seed), space, (len, tables as usize));
        lsh.middles = middles;
        for _ in 0..tables {
            lsh.tables.push(table(reader, len, lsh.digits.bits())?);
        }
        Ok(lsh)
    }
}

/// Axes of all rotations.
fn axes(options: LshOptions, space: &Space, (len, tables): (usize, usize)) -> usize {
    let bits = if options.bits == 0 { super::build::bits_of(len) } else { options.bits };
    let of_a_table = super::hash::Digits::new(options.family, bits).all_axes();
    (tables * of_a_table).next_multiple_of(space.width())
}

fn table(reader: &mut Reader<'_>, len: usize, bits: usize) -> Result<Table, FileError> {
    let bad = |name, got: u32| Err(FileError::Header { name, got: got.into() });
    let number = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
    let count = reader.number()?;
    if count as usize > len {
        return bad("number of keys", count);
    }
    let keys: Vec<u32> = reader.slab(count.into(), 1)?.as_chunks().0.iter().map(number).collect();
    if !keys.is_sorted_by(|a, b| a < b) {
        return bad("order of keys", count);
    }
    if let Some(&got) = keys.last().filter(|&&last| u64::from(last) >> bits != 0) {
        return bad("key", got);
    }
    let mut starts = vec![0];
    let mut sum = 0u64;
    for bytes in reader.slab(count.into(), 1)?.as_chunks().0 {
        sum += u64::from(number(bytes));
        if sum > len as u64 {
            return bad("rows of a key", number(bytes));
        }
        starts.push(sum as u32);
    }
    let rows: Vec<u32> = reader.slab(sum, 1)?.as_chunks().0.iter().map(number).collect();
    if let Some(&got) = rows.iter().find(|&&row| row as usize >= len) {
        return bad("row of a key", got);
    }
    for pair in starts.windows(2) {
        let rows = &rows[pair[0] as usize..pair[1] as usize];
        if rows.is_empty() || !rows.is_sorted_by(|a, b| a < b) {
            return bad("order of a key", pair[0]);
        }
    }
    Ok(Table::of(keys, starts, rows, bits))
}

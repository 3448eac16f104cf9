//! Byte strings of any length, one per row.

use kvant_index::Row;
use kvant_storage::Bytes;

/// `rows + 1` offsets as u64, then the strings end to end.
#[derive(Debug)]
pub(crate) struct Blobs {
    bytes: Bytes,
    rows: usize,
}

impl Blobs {
    /// Checks that the offsets rise from 0 to the end. `None` if they do not, or for another
    /// number of rows.
    pub(crate) fn open(bytes: Bytes, rows: usize) -> Option<Self> {
        let table = rows.checked_add(1)?.checked_mul(8)?;
        let strings = bytes.len().checked_sub(table)? as u64;
        let offsets: &[[u8; 8]] = bytes[..table].as_chunks().0;
        let values = || offsets.iter().map(|raw| u64::from_le_bytes(*raw));
        let fits = values().is_sorted() && values().next() == Some(0);
        (fits && values().next_back() == Some(strings)).then_some(Self { bytes, rows })
    }

    /// The bytes of `row`.
    pub(crate) fn get(&self, row: Row) -> &[u8] {
        assert!(row.position() < self.rows, "row {row} of {}", self.rows);
        let offsets: &[[u8; 8]] = self.bytes.as_chunks().0;
        let at = |i: usize| u64::from_le_bytes(offsets[i]) as usize;
        let strings = &self.bytes[(self.rows + 1) * 8..];
        &strings[at(row.position())..at(row.position() + 1)]
    }

    /// What [`open`](Self::open) reads.
    pub(crate) fn encode<'a>(strings: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<u8> {
        let mut out = Vec::new();
        let mut end = 0u64;
        out.extend_from_slice(&end.to_le_bytes());
        for string in strings.clone() {
            end += string.len() as u64;
            out.extend_from_slice(&end.to_le_bytes());
        }
        out.reserve_exact(end as usize);
        strings.for_each(|string| out.extend_from_slice(string));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back_and_bad_offsets_do_not() {
        let strings = [&b"one"[..], b"", b"three"];
        let bytes = Blobs::encode(strings.into_iter());
        let blobs = Blobs::open(Bytes::copy_of(&bytes), 3).unwrap();
        for (row, string) in strings.iter().enumerate() {
            assert_eq!(blobs.get(Row(row as u32)), *string);
        }
        for rows in [0, 2, 4, usize::MAX] {
            assert!(Blobs::open(Bytes::copy_of(&bytes), rows).is_none());
        }
        for at in [0, 8, 16, 24] {
            let mut bad = bytes.clone();
            bad[at] ^= 0x80;
            assert!(Blobs::open(Bytes::from(bad), 3).is_none(), "offset {at}");
        }
        assert!(Blobs::open(Bytes::from(Blobs::encode([].into_iter())), 0).is_some());
    }
}

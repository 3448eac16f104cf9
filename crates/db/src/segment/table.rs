//! The file of a segment that says which points it has: names, versions, times and payloads.
//!
//! | section | holds |
//! | --- | --- |
//! | `meta` | JSON: the collection, rows, the earliest time at which one is to be deleted |
//! | `versions` | a u64 a row |
//! | `expires` | a u64 a row; empty where no row is ever to be deleted |
//! | `lookup` | for each row, in order of the name's hash: the hash u64; behind all, rows u32 |
//! | `order` | rows u32 in order of their names |
//! | `ids` | rows + 1 offsets u64, then names end to end |
//! | `payloads` | the same of JSON |

use std::path::Path;

use kvant_index::Row;
use kvant_payload::PointId;
use kvant_storage::Bytes;
use kvant_storage::frame::Kind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Entry;
use super::strip::{self, Strip};
use crate::codec::{Reader, put_id};
use kvant_payload::limits::PAYLOAD_SIZE_MAX;

use crate::limits::ID_ENTRY_MAX;
use crate::{DamageError, OpenError};

const KIND: Kind = Kind { magic: *b"KVANTPTS", version: 1, features: 0 };
const SECTIONS: [&str; 7] = ["meta", "versions", "expires", "lookup", "order", "ids", "payloads"];

/// Names, versions, times and payloads of rows, in a file.
#[derive(Debug)]
pub(crate) struct Table {
    meta: Meta,
    versions: Strip,
    expires: Strip,
    lookup: Strip,
    order: Strip,
    ids: Strip,
    payloads: Strip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    collection: u64,
    rows: usize,
    earliest: u64,
}

impl Table {
    /// The file of these rows.
    pub(crate) fn encode(collection: u64, entries: &[Entry]) -> Vec<u8> {
        let times = entries.iter().map(|entry| entry.expires);
        let earliest = times.clone().filter(|time| *time > 0).min().unwrap_or(u64::MAX);
        let meta = Meta { collection, rows: entries.len(), earliest };
        let numbers = |all: &mut dyn Iterator<Item = u64>| -> Vec<u8> {
            all.flat_map(u64::to_le_bytes).collect()
        };
        let versions = numbers(&mut entries.iter().map(|entry| entry.version));
        let expires = if earliest == u64::MAX { Vec::new() } else { numbers(&mut times.clone()) };
        let mut hashed: Vec<(u64, u32)> =
            entries.iter().zip(0..).map(|(entry, row)| (hash(&entry.id), row)).collect();
        hashed.sort_unstable();
        let mut lookup = numbers(&mut hashed.iter().map(|(hash, _)| *hash));
        for (_, row) in &hashed {
            lookup.extend_from_slice(&row.to_le_bytes());
        }
        let mut rows: Vec<u32> = (0..entries.len() as u32).collect();
        rows.sort_unstable_by(|a, b| entries[*a as usize].id.cmp(&entries[*b as usize].id));
        let order = rows.iter().flat_map(|row| row.to_le_bytes()).collect();
        let ids = blobs(entries.len(), |row, out| put_id(out, &entries[row].id));
        let payloads = blobs(entries.len(), |row, out| {
            // JSON into memory: there is no way to fail.
            let written = serde_json::to_writer(out, &*entries[row].payload);
            assert!(written.is_ok(), "JSON into memory");
        });
        // A struct of numbers, as above.
        let meta = serde_json::to_vec(&meta).unwrap_or_default();
        let sections = [meta, versions, expires, lookup, order, ids, payloads];
        let named: Vec<(&str, Vec<u8>)> = SECTIONS.into_iter().zip(sections).collect();
        strip::encode(&KIND, &named)
    }

    /// Opens what [`encode`](Self::encode) made for `collection`. Reads a few pages.
    pub(crate) fn open(bytes: Bytes, path: &Path, collection: u64) -> Result<Self, OpenError> {
        let strips = strip::open(bytes, path, &KIND, &SECTIONS)?;
        let corrupt = |what: &str| {
            let (path, what) = (path.to_owned(), what.to_owned());
            OpenError::Corrupt { path, offset: 0, what }
        };
        let Ok([meta, versions, expires, lookup, order, ids, payloads]) =
            <[Strip; 7]>::try_from(strips)
        else {
            return Err(corrupt("sections are missing"));
        };
        let meta: Meta =
            serde_json::from_slice(&meta.whole()?).map_err(|error| corrupt(&error.to_string()))?;
        if meta.collection != collection {
            return Err(corrupt("the segment belongs to another collection"));
        }
        let n = meta.rows;
        let times = if meta.earliest == u64::MAX { 0 } else { n };
        let fits = n <= kvant_index::ROWS_MAX
            && versions.len() == n * 8
            && expires.len() == times * 8
            && lookup.len() == n * 12
            && order.len() == n * 4
            && ids.len() >= (n + 1) * 8
            && payloads.len() >= (n + 1) * 8;
        if !fits {
            return Err(corrupt("sections are not of as many rows as it says"));
        }
        Ok(Self { meta, versions, expires, lookup, order, ids, payloads })
    }

    pub(crate) fn len(&self) -> usize {
        self.meta.rows
    }

    pub(crate) fn earliest(&self) -> u64 {
        self.meta.earliest
    }

    pub(crate) fn version(&self, row: Row) -> Result<u64, DamageError> {
        self.versions.u64(row.position())
    }

    pub(crate) fn expires(&self, row: Row) -> Result<u64, DamageError> {
        if self.meta.earliest == u64::MAX { Ok(0) } else { self.expires.u64(row.position()) }
    }

    pub(crate) fn id(&self, row: Row) -> Result<PointId, DamageError> {
        let (bytes, at) = self.blob(&self.ids, row, ID_ENTRY_MAX)?;
        let mut reader = Reader::new(bytes);
        let id = reader.id().filter(|_| reader.left() == 0);
        id.ok_or_else(|| self.ids.damaged(at))
    }

    pub(crate) fn payload(&self, row: Row) -> Result<Map<String, Value>, DamageError> {
        let (bytes, at) = self.blob(&self.payloads, row, PAYLOAD_SIZE_MAX)?;
        serde_json::from_slice(bytes).map_err(|_| self.payloads.damaged(at))
    }

    /// The row of a point: O(log n), near where its hash should be.
    pub(crate) fn find(&self, id: &PointId) -> Result<Option<Row>, DamageError> {
        let (n, wanted) = (self.len(), hash(id));
        let guess = ((u128::from(wanted) * n as u128) >> 64) as usize;
        // Of n evenly spread hashes one is hardly ever farther from its place than this.
        let around = 4 * n.isqrt() + 4;
        let (mut low, mut high) = (guess.saturating_sub(around), (guess + around).min(n));
        if low > 0 && self.lookup.u64(low - 1)? >= wanted {
            low = 0;
        }
        if high < n && self.lookup.u64(high)? < wanted {
            high = n;
        }
        while low < high {
            let middle = low.midpoint(high);
            if self.lookup.u64(middle)? < wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        while low < n && self.lookup.u64(low)? == wanted {
            let row = Row(self.lookup.u32(n * 2 + low)?);
            if row.position() >= n {
                return Err(self.lookup.damaged(n * 8 + low * 4));
            }
            if self.id(row)? == *id {
                return Ok(Some(row));
            }
            low += 1;
        }
        Ok(None)
    }

    /// The row at a place in the order of names.
    pub(crate) fn ordered(&self, place: usize) -> Result<Row, DamageError> {
        let row = Row(self.order.u32(place)?);
        if row.position() < self.len() { Ok(row) } else { Err(self.order.damaged(place * 4)) }
    }

    /// Holds all of it against its checksums.
    pub(crate) fn verify(&self) -> Result<(), DamageError> {
        let numbers = [&self.versions, &self.expires, &self.lookup, &self.order];
        numbers.into_iter().chain([&self.ids, &self.payloads]).try_for_each(Strip::verify)
    }

    /// The bytes of `row` and where they begin.
    fn blob<'a>(
        &self,
        strip: &'a Strip,
        row: Row,
        most: usize,
    ) -> Result<(&'a [u8], usize), DamageError> {
        let (at, table) = (row.position(), (self.len() + 1) * 8);
        assert!(at < self.len(), "row {row} of {}", self.len());
        let (start, end) = (strip.u64(at)? as usize, strip.u64(at + 1)? as usize);
        if start > end || end - start > most || end > strip.len() - table {
            return Err(strip.damaged(at * 8));
        }
        Ok((strip.read(table + start..table + end)?, table + start))
    }
}

/// `rows + 1` offsets, then what `put` appends for each row.
pub(crate) fn blobs(rows: usize, mut put: impl FnMut(usize, &mut Vec<u8>)) -> Vec<u8> {
    let table = (rows + 1) * 8;
    let mut out = vec![0; table];
    for row in 0..rows {
        put(row, &mut out);
        let end = (out.len() - table) as u64;
        out[(row + 1) * 8..(row + 2) * 8].copy_from_slice(&end.to_le_bytes());
    }
    out
}

/// The same on every machine and for good: it is in files.
pub(crate) fn hash(id: &PointId) -> u64 {
    let mix = |x: u64| {
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    match id {
        PointId::Number(number) => mix(number.wrapping_add(0x9e37_79b9_7f4a_7c15)),
        PointId::Uuid(value) => mix((value >> 64) as u64 ^ mix(*value as u64 | 1)),
        PointId::Text(text) => {
            let fold = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            mix(text.bytes().fold(0xcbf2_9ce4_8422_2325, fold))
        }
    }
}

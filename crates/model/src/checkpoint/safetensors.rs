//! The safetensors container: a JSON header, then the tensors back to back.
//!
//! Layout: `u64` header length, the header (`{"name": {"dtype", "shape", "data_offsets"}}` and
//! an optional `__metadata__`), then the data. Offsets count from the end of the header; the
//! tensors must tile the data exactly, so that no byte of the file is hidden or shared.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::format::Format;
use super::header::HeaderError;
use crate::limit::{DIMENSIONS, NAME_BYTES, SAFETENSORS_HEADER_BYTES};

/// One tensor of a container: where its bytes are in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name, at most [`NAME_BYTES`] long.
    pub(crate) name: String,
    /// How its values are stored.
    pub(crate) format: &'static Format,
    /// Dimensions, slowest first.
    pub(crate) shape: Vec<usize>,
    /// Its bytes in the file.
    pub(crate) range: Range<usize>,
}

/// Whether `data` starts like a safetensors file: a header length and an opening brace.
pub(crate) fn looks_right(data: &[u8]) -> bool {
    data.get(8) == Some(&b'{')
}

/// Reads the header of `data` and checks it against the length of the file.
pub(crate) fn parse(data: &[u8]) -> Result<Vec<Entry>, HeaderError> {
    let (length, rest) =
        data.split_first_chunk::<8>().ok_or(HeaderError::Truncated { what: "the length" })?;
    let length = u64::from_le_bytes(*length);
    if length > SAFETENSORS_HEADER_BYTES {
        let (what, limit) = ("the header length", SAFETENSORS_HEADER_BYTES);
        return Err(HeaderError::TooLarge { what, got: length, limit });
    }
    let length = length as usize;
    let (header, body) =
        rest.split_at_checked(length).ok_or(HeaderError::Truncated { what: "the header" })?;
    let header: Header = serde_json::from_slice(header)
        .map_err(|error| HeaderError::Syntax { why: error.to_string() })?;
    let mut entries = Vec::with_capacity(header.tensors.len());
    let mut names = HashSet::with_capacity(header.tensors.len());
    for (name, described) in header.tensors {
        if !names.insert(name.clone()) {
            return Err(HeaderError::tensor(&name, "described twice"));
        }
        entries.push(described.check(name, 8 + length, body.len())?);
    }
    tile(&mut entries, 8 + length, data.len())?;
    Ok(entries)
}

/// Sorts by place and checks that the tensors cover the data without gap or overlap.
fn tile(entries: &mut [Entry], start: usize, end: usize) -> Result<(), HeaderError> {
    entries.sort_by_key(|entry| (entry.range.start, entry.range.end));
    let mut at = start;
    for entry in entries.iter() {
        if entry.range.start != at {
            let why = if entry.range.start < at { "overlaps another" } else { "follows a gap" };
            return Err(HeaderError::tensor(&entry.name, why));
        }
        at = entry.range.end;
    }
    if at != end {
        let why = format!("{} bytes after the last tensor belong to none", end - at);
        return Err(HeaderError::Syntax { why });
    }
    Ok(())
}

#[derive(Deserialize)]
struct Described {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl Described {
    fn check(self, name: String, start: usize, body: usize) -> Result<Entry, HeaderError> {
        let fail = |why: String| HeaderError::tensor(&name, why);
        if name.len() > NAME_BYTES {
            return Err(fail(format!("its name is longer than {NAME_BYTES} bytes")));
        }
        let format = Format::from_safetensors(&self.dtype).ok_or_else(|| {
            fail(format!("unknown dtype '{}'", super::header::printable(&self.dtype)))
        })?;
        if self.shape.len() > DIMENSIONS {
            return Err(fail(format!("more than {DIMENSIONS} dimensions")));
        }
        let shape: Option<Vec<usize>> =
            self.shape.iter().map(|&n| usize::try_from(n).ok()).collect();
        let size = shape.as_deref().and_then(|shape| format.size_bytes(shape));
        let (Some(shape), Some(size)) = (shape, size) else {
            return Err(fail(format!("shape {:?} overflows", self.shape)));
        };
        let (from, to) = self.data_offsets;
        if from > to || to > body as u64 {
            return Err(fail(format!("offsets {from}..{to} outside {body} bytes of data")));
        }
        if to - from != size as u64 {
            let expected = format!("shape {shape:?} of {} needs {size} bytes", format.name);
            return Err(fail(format!("{expected}, the offsets give {}", to - from)));
        }
        let range = start + from as usize..start + to as usize;
        Ok(Entry { name, format, shape, range })
    }
}

/// The header as written: keys in order and possibly repeated.
struct Header {
    tensors: Vec<(String, Described)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensor descriptions")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut tensors = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<BTreeMap<String, String>>()?;
                    } else {
                        tensors.push((name, map.next_value()?));
                    }
                }
                Ok(Header { tensors })
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

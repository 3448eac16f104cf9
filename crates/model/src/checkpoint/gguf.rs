//! The GGUF container, versions 2 and 3, little endian.
//!
//! Layout: magic, version, counts; metadata entries (typed values, arrays, strings); tensor
//! infos (name, dimensions fastest first, type number, offset); padding to
//! `general.alignment`; the data. Every length is checked against what is left of the file
//! before anything is allocated for it.

use std::collections::{BTreeMap, HashSet};

use kvant_storage::Bytes;

use super::format::Format;
use super::header::HeaderError;
use super::safetensors::Entry;
use crate::limit::{GGUF_ALIGNMENT, GGUF_ENTRIES, GGUF_STRING_BYTES, GGUF_TENSORS, NAME_BYTES};

/// First four bytes of every GGUF file.
pub(crate) const MAGIC: &[u8; 4] = b"GGUF";
const DIMENSIONS: u32 = 4;
const ALIGNMENT: u64 = 32;

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    /// At most [`GGUF_STRING_BYTES`] of it.
    Text(String),
    Array(Array),
}

/// The elements of an array, checked to be inside the file and decoded when asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    kind: u32,
    count: u64,
    bytes: Bytes,
}

impl Array {
    /// Number of elements.
    pub(crate) fn len(&self) -> Option<usize> {
        usize::try_from(self.count).ok()
    }

    /// The elements of an array of strings, what is not UTF-8 replaced.
    pub(crate) fn texts(&self) -> Option<Vec<String>> {
        let mut reader = Reader { rest: &self.bytes, what: "an array" };
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let text = |reader: &mut Reader<'_>| reader.text().ok().map(lossy);
        (self.kind == 8).then(|| (0..self.len()?).map(|_| text(&mut reader)).collect()).flatten()
    }

    /// The elements of an array of whole numbers.
    pub(crate) fn integers(&self) -> Option<Vec<i64>> {
        let mut reader = Reader { rest: &self.bytes, what: "an array" };
        let integer = |reader: &mut Reader<'_>| match reader.scalar(self.kind).ok()? {
            Value::Unsigned(value) => i64::try_from(value).ok(),
            Value::Signed(value) => Some(value),
            Value::Bool(value) => Some(i64::from(value)),
            Value::Float(_) | Value::Text(_) | Value::Array(_) => None,
        };
        (0..self.len()?).map(|_| integer(&mut reader)).collect()
    }

    /// The elements of an array of floating-point numbers.
    pub(crate) fn floats(&self) -> Option<Vec<f64>> {
        let mut reader = Reader { rest: &self.bytes, what: "an array" };
        let float = |reader: &mut Reader<'_>| match reader.scalar(self.kind).ok()? {
            Value::Float(value) => Some(value),
            Value::Unsigned(_)
            | Value::Signed(_)
            | Value::Bool(_)
            | Value::Text(_)
            | Value::Array(_) => None,
        };
        (0..self.len()?).map(|_| float(&mut reader)).collect()
    }
}

impl Value {
    /// The value as a size, if it is a whole number that fits.
    pub(crate) fn as_size(&self) -> Option<usize> {
        match *self {
            Self::Unsigned(value) => usize::try_from(value).ok(),
            Self::Signed(value) => usize::try_from(value).ok(),
            Self::Float(_) | Self::Bool(_) | Self::Text(_) | Self::Array(_) => None,
        }
    }
}

/// Everything before the data.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Header {
    pub(crate) metadata: BTreeMap<String, Value>,
    /// The same metadata as they stand in the file: key, then type number and value.
    pub(crate) stored: Vec<(String, Bytes)>,
    pub(crate) entries: Vec<Entry>,
}

impl Header {
    /// A text entry.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key)? {
            Value::Text(text) => Some(text),
            Value::Unsigned(_)
            | Value::Signed(_)
            | Value::Float(_)
            | Value::Bool(_)
            | Value::Array(_) => None,
        }
    }

    /// An array entry.
    pub(crate) fn array(&self, key: &str) -> Option<&Array> {
        match self.metadata.get(key)? {
            Value::Array(array) => Some(array),
            Value::Unsigned(_)
            | Value::Signed(_)
            | Value::Float(_)
            | Value::Bool(_)
            | Value::Text(_) => None,
        }
    }

    /// A whole-number entry.
    pub(crate) fn size(&self, key: &str) -> Option<usize> {
        self.metadata.get(key)?.as_size()
    }

    /// A number entry.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        match *self.metadata.get(key)? {
            Value::Float(value) => Some(value),
            Value::Unsigned(value) => Some(value as f64),
            Value::Signed(value) => Some(value as f64),
            Value::Bool(_) | Value::Text(_) | Value::Array(_) => None,
        }
    }

    /// A yes-or-no entry.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        match *self.metadata.get(key)? {
            Value::Bool(value) => Some(value),
            Value::Float(_)
            | Value::Unsigned(_)
            | Value::Signed(_)
            | Value::Text(_)
            | Value::Array(_) => None,
        }
    }
}

/// Reads the header of `data` and checks it against the length of the file.
pub(crate) fn parse(data: &Bytes) -> Result<Header, HeaderError> {
    let mut reader = Reader { rest: data, what: "the magic" };
    if reader.array::<4>()? != *MAGIC {
        let (what, expected) = ("the magic", "GGUF");
        return Err(HeaderError::Unknown { what, got: "something else".into(), expected });
    }
    reader.what = "the counts";
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        let big_endian = (2..=3).contains(&version.swap_bytes());
        let got = if big_endian { "big endian".into() } else { version.to_string() };
        return Err(HeaderError::Unknown { what: "the version", got, expected: "2 or 3" });
    }
    let tensors = bounded("the number of tensors", reader.u64()?, GGUF_TENSORS)?;
    let entries = bounded("the number of metadata entries", reader.u64()?, GGUF_ENTRIES)?;
    let mut metadata = BTreeMap::new();
    let mut stored = Vec::new();
    for _ in 0..entries {
        reader.what = "the metadata";
        let key = reader.name()?;
        let start = data.len() - reader.rest.len();
        let value = reader.value(data)?;
        stored.push((key.clone(), data.slice(start..data.len() - reader.rest.len())));
        if metadata.insert(key.clone(), value).is_some() {
            let why = format!("metadata key '{}' twice", super::header::printable(&key));
            return Err(HeaderError::Syntax { why });
        }
    }
    let alignment = alignment(&metadata)?;
    let infos = (0..tensors).map(|_| reader.info()).collect::<Result<Vec<_>, _>>()?;
    let start = (data.len() - reader.rest.len()).next_multiple_of(alignment);
    let entries = place(infos, start, alignment, data.len())?;
    Ok(Header { metadata, stored, entries })
}

fn bounded(what: &'static str, got: u64, limit: u64) -> Result<u64, HeaderError> {
    if got > limit { Err(HeaderError::TooLarge { what, got, limit }) } else { Ok(got) }
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<usize, HeaderError> {
    let value = match metadata.get("general.alignment") {
        None => Some(ALIGNMENT),
        Some(value) => value.as_size().map(|value| value as u64),
    };
    value.filter(|value| value.is_power_of_two() && *value <= GGUF_ALIGNMENT).map_or_else(
        || {
            let got = format!("{:?}", metadata.get("general.alignment"));
            let expected = "a power of two up to 1 MiB";
            Err(HeaderError::Unknown { what: "general.alignment", got, expected })
        },
        |value| Ok(value as usize),
    )
}

/// Turns relative offsets into ranges of the file; tensors must be aligned, inside, and apart.
fn place(
    infos: Vec<Info>,
    start: usize,
    alignment: usize,
    end: usize,
) -> Result<Vec<Entry>, HeaderError> {
    let mut names = HashSet::with_capacity(infos.len());
    let mut entries = Vec::with_capacity(infos.len());
    for Info { name, shape, format, offset } in infos {
        let fail = |why: String| HeaderError::tensor(&name, why);
        if !names.insert(name.clone()) {
            return Err(fail("described twice".into()));
        }
        let size = format.size_bytes(&shape).ok_or_else(|| {
            let (name, block) = (format.name, format.block);
            fail(format!("shape {shape:?} does not fit {name}: rows are whole blocks of {block}"))
        })?;
        let from = usize::try_from(offset).ok().filter(|offset| offset.is_multiple_of(alignment));
        let from = from.ok_or_else(|| fail(format!("offset {offset} is not aligned")))?;
        let range = start
            .checked_add(from)
            .and_then(|from| Some(from..from.checked_add(size)?))
            .filter(|range| range.end <= end);
        let range =
            range.ok_or_else(|| fail(format!("{size} bytes from {offset} leave the file")))?;
        entries.push(Entry { name, format, shape, range });
    }
    entries.sort_by_key(|entry| (entry.range.start, entry.range.end));
    for pair in entries.windows(2) {
        if pair[1].range.start < pair[0].range.end {
            return Err(HeaderError::tensor(&pair[1].name, "overlaps another"));
        }
    }
    Ok(entries)
}

struct Info {
    name: String,
    shape: Vec<usize>,
    format: &'static Format,
    offset: u64,
}

/// A cursor that refuses to pass the end of the file.
struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], HeaderError> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or(HeaderError::Truncated { what: self.what })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let (taken, rest) =
            self.rest.split_first_chunk().ok_or(HeaderError::Truncated { what: self.what })?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, HeaderError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, HeaderError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The bytes of a string, not copied.
    fn text(&mut self) -> Result<&'a [u8], HeaderError> {
        let length = self.u64()?;
        let length =
            usize::try_from(length).map_err(|_| HeaderError::Truncated { what: self.what })?;
        self.take(length)
    }

    fn name(&mut self) -> Result<String, HeaderError> {
        let bytes = self.text()?;
        bounded("the length of a name", bytes.len() as u64, NAME_BYTES as u64)?;
        String::from_utf8(bytes.to_vec())
            .map_err(|_| HeaderError::Syntax { why: "a name is not UTF-8".into() })
    }

    fn value(&mut self, data: &Bytes) -> Result<Value, HeaderError> {
        let kind = self.u32()?;
        if kind == 9 {
            return self.list(data).map(Value::Array);
        }
        self.scalar(kind)
    }

    fn scalar(&mut self, kind: u32) -> Result<Value, HeaderError> {
        Ok(match kind {
            0 => Value::Unsigned(u64::from(self.array::<1>()?[0])),
            1 => Value::Signed(i64::from(i8::from_le_bytes(self.array()?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.array()?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.array()?))),
            4 => Value::Unsigned(u64::from(self.u32()?)),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.array()?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.array()?))),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            8 => {
                let bytes = self.text()?;
                let kept = bytes.get(..GGUF_STRING_BYTES).unwrap_or(bytes);
                Value::Text(String::from_utf8_lossy(kept).into_owned())
            }
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            _ => return Err(unknown_kind(kind)),
        })
    }

    /// Walks over an array of `data`, checking that it is inside the file.
    fn list(&mut self, data: &Bytes) -> Result<Array, HeaderError> {
        let kind = self.u32()?;
        let count = self.u64()?;
        let start = data.len() - self.rest.len();
        let width = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 => 0,
            _ => return Err(unknown_kind(kind)),
        };
        if kind == 8 {
            for _ in 0..count {
                self.text()?;
            }
        }
        let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(width));
        self.take(length.ok_or(HeaderError::Truncated { what: self.what })?)?;
        let bytes = data.slice(start..data.len() - self.rest.len());
        Ok(Array { kind, count, bytes })
    }

    fn info(&mut self) -> Result<Info, HeaderError> {
        self.what = "the tensor descriptions";
        let name = self.name()?;
        let dimensions = self.u32()?;
        let limit = u64::from(DIMENSIONS);
        bounded("the number of dimensions", u64::from(dimensions), limit)?;
        let mut shape = Vec::with_capacity(dimensions as usize);
        for _ in 0..dimensions {
            let length = usize::try_from(self.u64()?)
                .map_err(|_| HeaderError::tensor(&name, "a dimension overflows"))?;
            shape.push(length);
        }
        shape.reverse();
        let id = self.u32()?;
        let format = Format::from_ggml(id)
            .ok_or_else(|| HeaderError::tensor(&name, format!("unknown type number {id}")))?;
        Ok(Info { name, shape, format, offset: self.u64()? })
    }
}

fn unknown_kind(kind: u32) -> HeaderError {
    let expected = "a scalar, a string or an array of them";
    HeaderError::Unknown { what: "a metadata type", got: kind.to_string(), expected }
}

//! The initialisers of an ONNX graph: as much of protocol buffers as they need.
//!
//! A message is a row of fields: a varint `number · 8 + kind` and a varint (kind 0), 8 bytes (1),
//! a length and bytes (2) or 4 bytes (5). `ModelProto.graph` is field 7, `GraphProto.initializer`
//! field 5, a `TensorProto` each. Values stand in the tensor or, by offset and length, in a file
//! beside the graph; nodes are passed over.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use kvant_storage::Bytes;

use super::Raw;
use super::format::Format;
use super::header::{HeaderError, printable};
use crate::limit::{DIMENSIONS, GGUF_TENSORS, NAME_BYTES};
use crate::{LoadError, file};

/// `TensorProto.DataType` and the format of the same values.
const TYPES: [(u64, &str); 9] = [
    (1, "F32"),
    (2, "U8"),
    (3, "I8"),
    (6, "I32"),
    (7, "I64"),
    (9, "BOOL"),
    (10, "F16"),
    (11, "F64"),
    (16, "BF16"),
];

/// The initialisers of the graph `data`, the content of the file at `path`.
pub(super) fn parse(path: &Path, data: &Bytes) -> Result<BTreeMap<String, Raw>, LoadError> {
    let damaged = |source| LoadError::Damaged { path: path.to_path_buf(), source };
    let described = initializers(data).map_err(damaged)?;
    let mut files: BTreeMap<String, Bytes> = BTreeMap::new();
    let mut tensors = BTreeMap::new();
    for mut tensor in described {
        let name = tensor.name.clone();
        let bytes = match &tensor.external {
            None => Bytes::from(std::mem::take(&mut tensor.values)),
            Some(external) => {
                if !files.contains_key(&external.location) {
                    let place = external.place(path, &name).map_err(damaged)?;
                    files.insert(external.location.clone(), file::read(&place)?);
                }
                let content = &files[&external.location];
                external.part(&name, content).map_err(damaged)?
            }
        };
        let raw = tensor.check(bytes).map_err(damaged)?;
        if tensors.insert(name.clone(), raw).is_some() {
            return Err(damaged(HeaderError::tensor(&name, "described twice")));
        }
    }
    if tensors.is_empty() {
        return Err(damaged(broken("holds no initialisers")));
    }
    Ok(tensors)
}

fn broken(why: &str) -> HeaderError {
    HeaderError::Syntax { why: format!("the graph {why}") }
}

fn initializers(data: &[u8]) -> Result<Vec<Tensor>, HeaderError> {
    let mut tensors = Vec::new();
    let mut model = Message { rest: data };
    while let Some((number, field)) = model.next()? {
        let (7, Field::Bytes(graph)) = (number, field) else { continue };
        let mut graph = Message { rest: graph };
        while let Some((number, field)) = graph.next()? {
            let (5, Field::Bytes(tensor)) = (number, field) else { continue };
            tensors.push(Tensor::read(tensor)?);
            let got = tensors.len() as u64;
            if got > GGUF_TENSORS {
                let (what, limit) = ("the number of tensors", GGUF_TENSORS);
                return Err(HeaderError::TooLarge { what, got, limit });
            }
        }
    }
    Ok(tensors)
}

/// A `TensorProto`.
#[derive(Default)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    kind: u64,
    /// Little-endian values, if they are not elsewhere.
    values: Vec<u8>,
    /// Values as numbers, which take less or more bytes than they will.
    numbers: Vec<u64>,
    external: Option<External>,
}

impl Tensor {
    fn read(data: &[u8]) -> Result<Self, HeaderError> {
        let mut tensor = Self::default();
        let mut message = Message { rest: data };
        while let Some((number, field)) = message.next()? {
            match (number, field) {
                (1, field) => {
                    let mut numbers = Vec::new();
                    field.numbers(&mut numbers)?;
                    let sizes = numbers.into_iter().map(usize::try_from);
                    tensor.shape.extend(sizes.map(|size| size.unwrap_or(usize::MAX)));
                }
                (2, Field::Number(kind)) => tensor.kind = kind,
                // float_data, raw_data, double_data: little-endian values as they are.
                (4 | 9 | 10, Field::Bytes(bytes)) => tensor.values.extend_from_slice(bytes),
                (4, Field::Four(bytes)) => tensor.values.extend(bytes),
                (10, Field::Eight(bytes)) => tensor.values.extend(bytes),
                // int32_data, int64_data
                (5 | 7, field) => field.numbers(&mut tensor.numbers)?,
                (8, Field::Bytes(name)) => {
                    tensor.name = String::from_utf8_lossy(name).into_owned();
                }
                (13, Field::Bytes(entry)) => {
                    tensor.external.get_or_insert_default().read(entry)?;
                }
                _ => {}
            }
            if tensor.shape.len() > DIMENSIONS || tensor.name.len() > NAME_BYTES {
                return Err(HeaderError::tensor(&tensor.name, "its name or shape is too long"));
            }
        }
        Ok(tensor)
    }

    /// The tensor over `bytes`, its own or those of the file beside.
    fn check(&self, bytes: Bytes) -> Result<Raw, HeaderError> {
        let fail = |why: String| HeaderError::tensor(&self.name, why);
        let known = TYPES.iter().find(|(number, _)| *number == self.kind);
        let format = known.and_then(|(_, name)| Format::from_safetensors(name));
        let format = format.ok_or_else(|| fail(format!("data type {} is not read", self.kind)))?;
        let bytes = if self.numbers.is_empty() {
            bytes
        } else {
            let low = |number: &u64| number.to_le_bytes().into_iter().take(format.bytes);
            Bytes::from(self.numbers.iter().flat_map(low).collect::<Vec<u8>>())
        };
        let size = format.size_bytes(&self.shape);
        if size != Some(bytes.len()) {
            let (shape, got) = (&self.shape, bytes.len());
            return Err(fail(format!(
                "{got} bytes do not fill shape {shape:?} of {}",
                format.name
            )));
        }
        Ok(Raw { format, shape: self.shape.clone(), bytes })
    }
}

/// Where the values of a tensor are outside the graph.
#[derive(Default)]
struct External {
    location: String,
    offset: u64,
    length: Option<u64>,
}

impl External {
    fn read(&mut self, entry: &[u8]) -> Result<(), HeaderError> {
        let (mut key, mut value) = (String::new(), String::new());
        let mut message = Message { rest: entry };
        while let Some((number, field)) = message.next()? {
            match (number, field) {
                (1, Field::Bytes(text)) => key = String::from_utf8_lossy(text).into_owned(),
                (2, Field::Bytes(text)) => value = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
        let number = || value.parse().map_err(|_| broken("has an offset that is no number"));
        match key.as_str() {
            "offset" => self.offset = number()?,
            "length" => self.length = Some(number()?),
            "location" => self.location = value,
            _ => {}
        }
        Ok(())
    }

    /// The file, which must lie in the folder of the graph or below.
    fn place(&self, graph: &Path, name: &str) -> Result<std::path::PathBuf, HeaderError> {
        let location = Path::new(&self.location);
        let inside = location.components().all(|part| matches!(part, Component::Normal(_)));
        if !inside || self.location.is_empty() || self.location.contains(['\\', '\0']) {
            let why = format!("its values are said to be in '{}'", printable(&self.location));
            return Err(HeaderError::tensor(name, why + ", which leaves the folder of the graph"));
        }
        Ok(file::parent(graph).join(location))
    }

    fn part(&self, name: &str, content: &Bytes) -> Result<Bytes, HeaderError> {
        let start = usize::try_from(self.offset).ok().filter(|&start| start <= content.len());
        let end = start.and_then(|start| match self.length {
            None => Some(content.len()),
            Some(length) => start.checked_add(usize::try_from(length).ok()?),
        });
        let range = start.zip(end).filter(|(_, end)| *end <= content.len());
        let (start, end) = range.ok_or_else(|| {
            HeaderError::tensor(name, format!("its values leave '{}'", printable(&self.location)))
        })?;
        Ok(content.slice(start..end))
    }
}

/// The value of a field.
enum Field<'a> {
    Number(u64),
    Eight([u8; 8]),
    Bytes(&'a [u8]),
    Four([u8; 4]),
}

impl Field<'_> {
    /// Adds a number, or a row of them packed in one field.
    fn numbers(self, out: &mut Vec<u64>) -> Result<(), HeaderError> {
        match self {
            Self::Number(number) => out.push(number),
            Self::Bytes(bytes) => {
                let mut packed = Message { rest: bytes };
                while !packed.rest.is_empty() {
                    out.push(packed.varint()?);
                }
            }
            Self::Eight(_) | Self::Four(_) => return Err(broken("has a number of another kind")),
        }
        Ok(())
    }
}

/// What is left of a message.
struct Message<'a> {
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    /// The next field and its number.
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, HeaderError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Number(self.varint()?),
            1 => Field::Eight(self.array()?),
            2 => {
                let length = usize::try_from(self.varint()?).ok();
                let split = length.and_then(|length| self.rest.split_at_checked(length));
                let (bytes, rest) = split.ok_or(HeaderError::Truncated { what: "the graph" })?;
                self.rest = rest;
                Field::Bytes(bytes)
            }
            5 => Field::Four(self.array()?),
            _ => return Err(broken("has a field of unknown kind: it is no ONNX file")),
        };
        Ok(Some((tag >> 3, field)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let split = self.rest.split_first_chunk();
        let (taken, rest) = split.ok_or(HeaderError::Truncated { what: "the graph" })?;
        self.rest = rest;
        Ok(*taken)
    }

    fn varint(&mut self) -> Result<u64, HeaderError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(broken("has a number without end"))
    }
}

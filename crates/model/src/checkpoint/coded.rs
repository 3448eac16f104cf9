//! Coded weights inside safetensors: codes, scales and minima as neighbouring tensors.
//!
//! `X.weight` holds the codes, `X.weight_scale` the scales (or steps), `X.weight_min` the
//! minima, `X.weight_zero_point` the packed integer zero points. Which scheme they follow is said
//! in `config.json` under `quantization_config`; an I8 tensor with a scale beside it is int8 by
//! itself (compressed-tensors, `int-quantized`).

use std::collections::BTreeMap;
use std::path::Path;

use kvant_quant::{
    Absmax, BlockMatrix, Books, CodeShape, CodebookMatrix, CodebookShape, Coded, Float4Matrix,
    Float4Shape, Int8Matrix, LinearMatrix, ScaledMatrix, Scheme, dynamic_map,
};
use serde_json::{Map, Value};

use super::{CORRECTION, Checkpoint, Content, Raw, decode};
use crate::activation::{INPUT_SCALE, SMOOTH};
use crate::limit::DIMENSIONS;
use crate::{LoadError, View};

/// The version of the tensor table. Version 1 gave linear schemes a `group_size`.
pub(crate) const VERSION: u64 = 2;

/// The version of a table that holds tensors which are not matrices by their rows: shapes of any
/// rank, and the output axis.
pub(crate) const RANKED: u64 = 3;

/// What the configuration says of one coded tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) scheme: Scheme,
    /// Shape of the weights, and the axis that gives the rows of the codes.
    pub(crate) view: View,
}

/// Reads the tensor table of `quantization_config`; empty when there is none.
pub(crate) fn records(path: &Path, config: &Value) -> Result<BTreeMap<String, Record>, LoadError> {
    let fail = |why: String| LoadError::Config { path: path.to_path_buf(), why };
    let Some(quantization) = config.get("quantization_config") else {
        return Ok(BTreeMap::new());
    };
    let method = quantization.get("quant_method").and_then(Value::as_str);
    let own = match method {
        Some("kvant") => Some(quantization),
        Some(_) => quantization.get("kvant"),
        None => return Err(fail("quantization_config names no quant_method".into())),
    };
    // In the layout of another quantizer the table may be left out.
    let table = |own: &&Value| own.get("tensors").is_some() || method == Some("kvant");
    let Some(own) = own.filter(table) else { return Ok(BTreeMap::new()) };
    let version = own.get("version").and_then(Value::as_u64);
    let Some(version @ (VERSION | RANKED)) = version else {
        let version = version.map_or("no version".into(), |version| format!("version {version}"));
        let what = format!("quantization of {version}");
        let supported = "versions 2 and 3; compress the original model again, or use a newer kvant";
        return Err(LoadError::Unsupported { path: path.to_path_buf(), what, supported });
    };
    let tensors = own
        .get("tensors")
        .and_then(Value::as_object)
        .ok_or_else(|| fail("quantization_config has no object 'tensors'".into()))?;
    let record = |(name, value): (&String, &Value)| {
        let shown = super::header::printable(name);
        let record =
            value.as_object().and_then(|value| record(value, version)).ok_or_else(|| {
                fail(format!("tensor '{shown}' of quantization_config: no known scheme and shape"))
            })?;
        Ok((name.clone(), record))
    };
    tensors.iter().map(record).collect()
}

fn record(value: &Map<String, Value>, version: u64) -> Option<Record> {
    let size = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    let shape = value.get("shape")?.as_array()?;
    let shape: Vec<usize> = shape.iter().map(size).collect::<Option<_>>()?;
    let axis = value.get("axis").map_or(Some(0), size)?;
    let view = View::new(&shape, axis).filter(|_| (2..=DIMENSIONS).contains(&shape.len()))?;
    if version == VERSION && !view.is_plain() {
        return None;
    }
    let scheme = value.get("scheme")?.as_str()?.parse().ok()?;
    Some(Record { scheme, view })
}

/// The neighbours of a coded tensor that belong to it.
const PARTS: [&str; 8] = [
    "_scale",
    "_min",
    "_zero_point",
    "_absmax",
    "_nested_absmax",
    "_nested_offset",
    "_nested_quant_map",
    "_codebook",
];

impl Checkpoint {
    /// How `name` is coded, if it is.
    pub(super) fn record(&self, name: &str, raw: &Raw) -> Option<Record> {
        if let Some(record) = self.records.get(name) {
            return Some(record.clone());
        }
        let [rows, cols] = raw.shape[..] else { return None };
        let int8 =
            raw.format.content == Content::Int8 && self.raw.contains_key(&format!("{name}_scale"));
        int8.then(|| Record { scheme: Scheme::Int8, view: View::plain(rows, cols) })
    }

    /// Whether `name` holds the scales or minima of another tensor.
    pub(super) fn is_part(&self, name: &str) -> bool {
        if self.foreign.holds(name) {
            return true;
        }
        let coded = |base: &str| {
            self.foreign.get(base).is_some()
                || self.raw.get(base).is_some_and(|raw| self.record(base, raw).is_some())
        };
        let input = name.strip_suffix(INPUT_SCALE).map(|layer| format!("{layer}weight"));
        input.is_some_and(|base| coded(&base))
            || PARTS.iter().chain([&SMOOTH]).chain(&CORRECTION).any(|part| {
                let base = name.strip_suffix(part);
                base.is_some_and(coded)
            })
    }

    /// Bytes of a coded tensor with its parts.
    pub(super) fn recorded_bytes(&self, name: &str, scheme: Scheme) -> Result<usize, LoadError> {
        let mut size = self.raw(name)?.bytes.len();
        for part in parts(scheme) {
            size += self.raw(&format!("{name}{part}"))?.bytes.len();
        }
        // Of another machine's last bits; see `nested`.
        size += self.raw.get(&format!("{name}_nested_quant_map")).map_or(0, |raw| raw.bytes.len());
        for part in [&SMOOTH].into_iter().chain(&CORRECTION) {
            size += self.raw.get(&format!("{name}{part}")).map_or(0, |raw| raw.bytes.len());
        }
        Ok(size)
    }

    /// Puts the parts of a coded tensor together; every length and scale is checked.
    pub(super) fn assemble(&self, name: &str, record: &Record) -> Result<Coded, LoadError> {
        let (rows, cols) = (record.view.rows(), record.view.cols());
        let raw = self.raw(name)?;
        let expected = match record.scheme {
            Scheme::Int8 => Content::Int8,
            Scheme::Linear { .. }
            | Scheme::Sym { .. }
            | Scheme::Affine { .. }
            | Scheme::Float4 { .. }
            | Scheme::Codebook { .. }
            | Scheme::Block(_) => Content::Bytes,
        };
        if raw.format.content != expected {
            let why = format!("{} codes cannot be of type {}", record.scheme, raw.format.name);
            return Err(self.fail(name, why));
        }
        let coded = match record.scheme {
            Scheme::Int8 => {
                if self.raw.contains_key(&format!("{name}_zero_point")) {
                    return Err(self.fail(name, "int8 with zero points is not read".into()));
                }
                let codes = raw.bytes.iter().map(|&code| code.cast_signed()).collect();
                let scales = self.floats(&format!("{name}_scale"))?;
                Int8Matrix::from_parts(rows, cols, codes, scales).map(Coded::Int8)
            }
            Scheme::Linear { bits, span } => {
                let shape = CodeShape { rows, cols, bits, span };
                let steps = self.floats(&format!("{name}_scale"))?;
                let mins = self.floats(&format!("{name}_min"))?;
                LinearMatrix::from_parts(shape, raw.bytes.to_vec(), mins, steps).map(Coded::Linear)
            }
            Scheme::Sym { bits, span } | Scheme::Affine { bits, span } => {
                let shape = CodeShape { rows, cols, bits, span };
                let scales = self.floats(&format!("{name}_scale"))?;
                let fitted = matches!(record.scheme, Scheme::Affine { .. });
                let zeros = fitted.then(|| self.zeros(name, shape)).transpose()?;
                ScaledMatrix::from_parts(shape, raw.bytes.to_vec(), scales, zeros)
                    .map(Coded::Scaled)
            }
            Scheme::Float4 { format, block, double } => {
                let shape = Float4Shape { rows, cols, format, block };
                let absmax = if double {
                    self.nested(name)?
                } else {
                    Absmax::Plain(self.floats(&format!("{name}_absmax"))?)
                };
                Float4Matrix::from_parts(shape, raw.bytes.to_vec(), absmax).map(Coded::Float4)
            }
            Scheme::Codebook { filling, bits, books } => {
                let shape = CodebookShape { rows, cols, bits, filling, books };
                let levels = self.floats(&format!("{name}_codebook"))?;
                let scales = match books {
                    Books::Scaled(_) => self.floats(&format!("{name}_scale"))?,
                    Books::Tensor | Books::Row | Books::Group(_) => Vec::new(),
                };
                CodebookMatrix::from_parts(shape, raw.bytes.to_vec(), levels, scales)
                    .map(Coded::Codebook)
            }
            Scheme::Block(format) => {
                BlockMatrix::from_parts(format, rows, cols, raw.bytes.to_vec()).map(Coded::Block)
            }
        };
        coded.map_err(|error| self.fail(name, error.to_string()))
    }

    /// The zero points of a coded tensor, packed like its codes.
    fn zeros(&self, name: &str, shape: CodeShape) -> Result<Vec<u8>, LoadError> {
        let part = format!("{name}_zero_point");
        ScaledMatrix::unpack_zeros(shape, self.bytes(&part)?)
            .map_err(|error| self.fail(&part, error.to_string()))
    }

    /// The doubly quantized scales of a coded tensor.
    fn nested(&self, name: &str) -> Result<Absmax, LoadError> {
        let codes = self.bytes(&format!("{name}_absmax"))?.to_vec();
        let scales = self.floats(&format!("{name}_nested_absmax"))?;
        let offset = format!("{name}_nested_offset");
        let [offset] = self.floats(&offset)?[..] else {
            return Err(self.fail(&offset, "should be one number".into()));
        };
        let map = format!("{name}_nested_quant_map");
        let map = if self.raw.contains_key(&map) {
            let levels = self.floats(&map)?.try_into();
            levels.map_err(|_| self.fail(&map, "should be 256 numbers".into()))?
        } else {
            dynamic_map()
        };
        Ok(Absmax::Double { codes, scales, offset, map: Box::new(map) })
    }

    /// The bytes of a part that holds codes.
    pub(super) fn bytes(&self, part: &str) -> Result<&[u8], LoadError> {
        let raw = self.raw(part)?;
        if raw.format.content != Content::Bytes {
            return Err(self.fail(part, format!("codes cannot be of type {}", raw.format.name)));
        }
        Ok(&raw.bytes)
    }

    pub(super) fn floats(&self, name: &str) -> Result<Vec<f32>, LoadError> {
        let raw = self.raw(name)?;
        match raw.format.content {
            Content::Float64 | Content::Float32 | Content::Half | Content::Brain => {
                Ok(decode(raw.format.content, &raw.bytes))
            }
            Content::Block(_) | Content::Int8 | Content::Bytes | Content::Opaque => {
                Err(self.fail(name, format!("scales cannot be of type {}", raw.format.name)))
            }
        }
    }
}

/// The parts that the codes of a layout need beside them.
fn parts(scheme: Scheme) -> &'static [&'static str] {
    match scheme {
        Scheme::Int8 | Scheme::Sym { .. } => &["_scale"],
        Scheme::Linear { .. } => &["_scale", "_min"],
        Scheme::Affine { .. } => &["_scale", "_zero_point"],
        Scheme::Float4 { double: false, .. } => &["_absmax"],
        Scheme::Float4 { double: true, .. } => &["_absmax", "_nested_absmax", "_nested_offset"],
        Scheme::Codebook { books: Books::Scaled(_), .. } => &["_scale", "_codebook"],
        Scheme::Codebook { .. } => &["_codebook"],
        Scheme::Block(_) => &[],
    }
}

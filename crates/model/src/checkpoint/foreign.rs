//! Weights as other quantizers store them: one tensor `X.weight` out of several parts.
//!
//! `quantization_config` in `config.json` (of GPTQ also `quantize_config.json`) names the
//! quantizer; the shapes of the parts say the rest. Scales become f32 as they are.

mod awq;
mod bitsandbytes;
mod compressed_tensors;
mod gptq;

use std::collections::{BTreeMap, BTreeSet};

use kvant_quant::{CodeShape, Coded, ScaledMatrix, Scheme, Span, pack};
use serde_json::Value;

use super::{Checkpoint, Raw};
use crate::{Dense, LoadError, Weight, file};

/// The tensors of a checkpoint that are stored in a foreign way.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    tensors: BTreeMap<String, Tensor>,
    parts: BTreeSet<String>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    layout: Layout,
    /// Rows and columns of the weights.
    pub(super) shape: [usize; 2],
    /// What `inspect` calls it.
    pub(super) format: String,
    /// Everything that is stored for it, codes first.
    parts: Vec<String>,
}

#[derive(Clone, Debug)]
enum Layout {
    /// compressed-tensors, codes in words.
    Packed(compressed_tensors::Packed),
    /// compressed-tensors, a byte per code.
    Bytes(Span),
    Gptq(gptq::Gptq),
    Awq(Span),
    /// bitsandbytes, four bits.
    Table(bitsandbytes::Table),
    /// bitsandbytes, eight bits.
    RowMagnitudes,
}

impl Foreign {
    pub(super) fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Tensor)> {
        self.tensors.iter()
    }

    /// Whether `name` is stored only for one of these tensors.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.parts.contains(name)
    }

    fn insert(&mut self, name: String, tensor: Tensor) {
        self.parts.extend(tensor.parts.iter().cloned());
        self.tensors.insert(name, tensor);
    }
}

impl Checkpoint {
    /// Finds the tensors that another quantizer stored.
    pub(super) fn foreign_tensors(&self) -> Result<Foreign, LoadError> {
        let own = self.config().and_then(|config| {
            config.get("quantization_config").or_else(|| config.get("compression_config"))
        });
        let beside = match own {
            None if self.path().is_dir() => {
                file::json_if_there(&self.path().join("quantize_config.json"))?
            }
            _ => None,
        };
        let Some(settings) = own.or(beside.as_ref()) else { return Ok(Foreign::default()) };
        let method = settings.get("quant_method").and_then(Value::as_str);
        let mut found = Foreign::default();
        let names: Vec<&String> = self.raw.keys().collect();
        for name in names {
            let tensor = match method {
                Some("compressed-tensors") => self.compressed_tensor(name, settings)?,
                Some("gptq") | None => self.gptq_tensor(name, settings)?,
                Some("awq") => self.awq_tensor(name, settings)?,
                Some("bitsandbytes") => self.bits_tensor(name)?,
                Some(_) => None,
            };
            if let Some((name, tensor)) = tensor {
                if self.raw.contains_key(&name) && tensor.parts.first() != Some(&name) {
                    return Err(self.fail(&name, "is stored twice, coded and not".into()));
                }
                found.insert(name, tensor);
            }
        }
        Ok(found)
    }

    /// Bytes of all parts of a foreign tensor.
    pub(super) fn foreign_bytes(&self, tensor: &Tensor) -> usize {
        tensor.parts.iter().filter_map(|part| self.raw.get(part)).map(|raw| raw.bytes.len()).sum()
    }

    /// Puts the parts of a foreign tensor together; every length is checked.
    pub(super) fn foreign_weight(&self, name: &str, tensor: &Tensor) -> Result<Weight, LoadError> {
        let parts = match &tensor.layout {
            Layout::Packed(packed) => self.packed_parts(name, tensor.shape, packed)?,
            Layout::Bytes(span) => self.byte_parts(name, tensor.shape, *span)?,
            Layout::Gptq(gptq) => self.gptq_parts(name, tensor.shape, gptq)?,
            Layout::Awq(span) => self.awq_parts(name, tensor.shape, *span)?,
            Layout::Table(table) => return self.table_codes(name, table).map(Weight::Coded),
            Layout::RowMagnitudes => {
                return self.row_magnitudes(name, tensor.shape).map(Weight::Coded);
            }
        };
        let Parts { order, .. } = &parts;
        if let Some(order) = order {
            let values = parts.decode_in(order).map_err(|why| self.fail(name, why))?;
            return Ok(Weight::Dense(Dense::owned(tensor.shape.to_vec(), values)));
        }
        let Parts { shape, codes, scales, zeros, .. } = parts;
        ScaledMatrix::from_parts(shape, codes, scales, zeros)
            .map(|matrix| Weight::Coded(Coded::Scaled(matrix)))
            .map_err(|error| self.fail(name, error.to_string()))
    }

    /// A matrix of 32-bit words.
    fn words(&self, name: &str, shape: [usize; 2]) -> Result<Vec<u32>, LoadError> {
        let raw = self.raw(name)?;
        if raw.format.name != "I32" || raw.shape != shape {
            let got = format!("{} {:?}", raw.format.name, raw.shape);
            return Err(self.fail(name, format!("should be I32 {shape:?}, it is {got}")));
        }
        Ok(raw.bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    /// Indices, which are not negative.
    fn indices(&self, name: &str) -> Result<Vec<usize>, LoadError> {
        let raw = self.raw(name)?;
        let values: Option<Vec<usize>> = match raw.format.name {
            "I32" => {
                let values = raw.bytes.as_chunks().0.iter().map(|word| i32::from_le_bytes(*word));
                values.map(|value| usize::try_from(value).ok()).collect()
            }
            "I64" => {
                let values = raw.bytes.as_chunks().0.iter().map(|word| i64::from_le_bytes(*word));
                values.map(|value| usize::try_from(value).ok()).collect()
            }
            _ => None,
        };
        values.ok_or_else(|| self.fail(name, "should be indices in I32 or I64".into()))
    }

    /// The scales, whose shape must be this; `transposed`: stored group by group.
    fn scales(&self, name: &str, shape: [usize; 2], stored: Stored) -> Result<Vec<f32>, LoadError> {
        let raw = self.raw(name)?;
        let expected = match stored {
            Stored::ByRow => shape,
            Stored::ByGroup => [shape[1], shape[0]],
        };
        let fits = match raw.shape[..] {
            [] => expected == [1, 1],
            [n] => expected == [n, 1],
            [rows, groups] => expected == [rows, groups],
            _ => false,
        };
        if !fits {
            let why = format!("should be scales of shape {expected:?}, it is {:?}", raw.shape);
            return Err(self.fail(name, why));
        }
        let values = self.floats(name)?;
        Ok(match stored {
            Stored::ByRow => values,
            Stored::ByGroup => transpose(&values, expected),
        })
    }

    /// Rows and columns of a part that is a matrix.
    fn sides(&self, name: &str) -> Result<[usize; 2], LoadError> {
        let Raw { shape, .. } = self.raw(name)?;
        let [rows, cols] = shape[..] else {
            return Err(self.fail(name, format!("should be a matrix, it is {shape:?}")));
        };
        Ok([rows, cols])
    }

    /// The span for which rows of `cols` weights have `groups` scales, `group` at a time where
    /// the configuration says so.
    fn span(&self, name: &str, cols: usize, groups: usize, group: i64) -> Result<Span, LoadError> {
        match usize::try_from(group) {
            Ok(group) if group > 0 && cols.div_ceil(group) == groups => Ok(Span::Group(group)),
            _ if groups == 1 => Ok(Span::Channel),
            _ if groups > 0 && cols > 0 && cols.is_multiple_of(groups) => {
                Ok(Span::Group(cols / groups))
            }
            _ => Err(self.fail(name, format!("{groups} scales for rows of {cols} weights"))),
        }
    }
}

/// The order of scales in a file.
#[derive(Clone, Copy)]
enum Stored {
    ByRow,
    ByGroup,
}

/// A matrix taken out of its parts.
struct Parts {
    shape: CodeShape,
    /// As [`ScaledMatrix`] packs them.
    codes: Vec<u8>,
    /// Row by row.
    scales: Vec<f32>,
    zeros: Option<Vec<u8>>,
    /// The group of every column, where that is not the column over the length of a group.
    order: Option<Vec<usize>>,
}

impl Parts {
    /// The weights of a matrix whose columns lie in groups in any order.
    fn decode_in(&self, order: &[usize]) -> Result<Vec<f32>, String> {
        let CodeShape { rows, cols, bits, .. } = self.shape;
        let (groups, row_bytes) = (self.shape.groups(), self.shape.row_bytes());
        let whole = order.len() == cols
            && self.codes.len() == rows * row_bytes
            && self.scales.len() == rows * groups
            && self.zeros.as_ref().is_none_or(|zeros| zeros.len() == rows * groups);
        if !whole {
            return Err("its parts do not fit one another".into());
        }
        if let Some(group) = order.iter().find(|&&group| group >= groups) {
            return Err(format!("a column is in group {group} of {groups}"));
        }
        let middle = 1u8 << (bits - 1);
        let mut codes = vec![0u8; cols];
        let mut values = Vec::with_capacity(rows * cols);
        for row in 0..rows {
            pack::unpack(&self.codes[row * row_bytes..(row + 1) * row_bytes], bits, &mut codes);
            values.extend(codes.iter().zip(order).map(|(&code, &group)| {
                let at = row * groups + group;
                let zero = self.zeros.as_ref().map_or(middle, |zeros| zeros[at]);
                self.scales[at] * (f32::from(code) - f32::from(zero))
            }));
        }
        Ok(values)
    }
}

/// The scheme of a foreign tensor, as `inspect` names it.
fn format_name(bits: u8, span: Span, zeros: bool, ordered: bool) -> String {
    let scheme = if zeros { Scheme::Affine { bits, span } } else { Scheme::Sym { bits, span } };
    if ordered { format!("{scheme} (act-order)") } else { scheme.to_string() }
}

/// `order` unless it is what groups of this span have anyway.
fn unusual(order: Vec<usize>, span: Span) -> Option<Vec<usize>> {
    let len = span.weights(order.len());
    let usual = order.iter().enumerate().all(|(col, &group)| group == col / len);
    (!usual).then_some(order)
}

/// The columns of a `shape[0] × shape[1]` table as rows.
fn transpose<T: Copy>(values: &[T], shape: [usize; 2]) -> Vec<T> {
    let [rows, cols] = shape;
    (0..cols).flat_map(|col| (0..rows).map(move |row| values[row * cols + col])).collect()
}

/// The streams of codes that rows of words are, each cut to its first `bytes`.
fn streams(words: &[u32], width: usize, bytes: usize) -> Vec<u8> {
    let rows = words.chunks_exact(width.max(1));
    rows.flat_map(|row| row.iter().flat_map(|word| word.to_le_bytes()).take(bytes)).collect()
}

/// The part of `X.weight` that is called `X.` and `part`.
fn sibling(name: &str, part: &str) -> String {
    format!("{}{part}", name.strip_suffix("weight").unwrap_or(name))
}

/// The outputs in a word of AWQ, lowest bits first.
pub(crate) const AWQ_ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

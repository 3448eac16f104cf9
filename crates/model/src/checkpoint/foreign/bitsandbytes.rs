//! bitsandbytes: four-bit tables over blocks of the flattened matrix, and `LLM.int8()`.
//!
//! Four bits: `X.weight` U8, two codes a byte, the first in the high half;
//! `X.weight.absmax` F32, or U8 with `X.weight.nested_absmax` and `X.weight.nested_quant_map`;
//! `X.weight.quant_map`; the rest is JSON in the bytes of
//! `X.weight.quant_state.bitsandbytes__nf4` (or `fp4`). Eight bits: `X.weight` I8 and `X.SCB`,
//! the magnitudes of the rows.

use kvant_quant::{
    Absmax, Coded, Float4, Float4Matrix, Float4Shape, Int8Matrix, NESTED_BLOCK, Scheme,
};
use serde_json::Value;

use super::{Checkpoint, Layout, LoadError, Tensor, sibling};
use crate::checkpoint::Content;
use crate::limit::CONFIG_BYTES;

/// What the state of a four-bit matrix says.
#[derive(Clone, Debug)]
pub(super) struct Table {
    shape: Float4Shape,
    /// Length of the blocks of scales and their mean, where these are quantized once more.
    nested: Option<(usize, f32)>,
}

const STATES: [(&str, Float4); 2] = [
    (".quant_state.bitsandbytes__nf4", Float4::Nf4),
    (".quant_state.bitsandbytes__fp4", Float4::Fp4),
];

impl Checkpoint {
    /// The tensor that `part` says how to restore, if it does.
    pub(super) fn bits_tensor(&self, part: &str) -> Result<Option<(String, Tensor)>, LoadError> {
        if let Some(name) = part.strip_suffix("SCB").map(|base| format!("{base}weight"))
            && self.raw.get(&name).is_some_and(|raw| raw.format.content == Content::Int8)
        {
            let shape = self.sides(&name)?;
            let parts = [name.clone(), part.to_owned(), sibling(&name, "weight_format")];
            let parts = parts.into_iter().filter(|part| self.raw.contains_key(part)).collect();
            let (layout, format) = (Layout::RowMagnitudes, Scheme::Int8.to_string());
            return Ok(Some((name, Tensor { layout, shape, format, parts })));
        }
        let state = STATES.iter().find_map(|(suffix, format)| {
            part.strip_suffix(suffix).map(|name| (name.to_owned(), *format))
        });
        let Some((name, format)) = state else { return Ok(None) };
        let table = self.table(part, format)?;
        let suffixes = ["", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"];
        let parts = suffixes.map(|suffix| format!("{name}{suffix}"));
        let parts = parts.into_iter().chain([part.to_owned()]);
        let parts = parts.filter(|part| self.raw.contains_key(part)).collect();
        let Float4Shape { rows, cols, format, block } = table.shape;
        // Scales in other blocks than this program has become f32 when they are read.
        let double = table.nested.is_some_and(|(block, _)| block == NESTED_BLOCK);
        let format = Scheme::Float4 { format, block, double }.to_string();
        let layout = Layout::Table(table);
        Ok(Some((name, Tensor { layout, shape: [rows, cols], format, parts })))
    }

    fn table(&self, part: &str, format: Float4) -> Result<Table, LoadError> {
        let fail = |why: &str| self.fail(part, why.to_owned());
        let bytes = self.bytes(part)?;
        if bytes.len() > CONFIG_BYTES {
            return Err(fail("is too long for a state"));
        }
        let state: Value =
            serde_json::from_slice(bytes).map_err(|_| fail("is no state in JSON"))?;
        let size = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
        let sides = state.get("shape").and_then(Value::as_array).map(Vec::as_slice);
        let Some([rows, cols]) = sides else { return Err(fail("names no matrix shape")) };
        let block = state.get("blocksize").and_then(size).filter(|&block| block > 0);
        let (Some(rows), Some(cols), Some(block)) = (size(rows), size(cols), block) else {
            return Err(fail("names no shape and blocksize"));
        };
        if rows.checked_mul(cols).and_then(|n| n.checked_mul(4)).is_none() {
            return Err(fail("names a shape past what this machine can address"));
        }
        let nested = match (state.get("nested_blocksize"), state.get("nested_offset")) {
            (Some(block), Some(offset)) => {
                let block = size(block).filter(|&block| block > 0);
                let offset = offset.as_f64().filter(|offset| offset.is_finite());
                let (Some(block), Some(offset)) = (block, offset) else {
                    return Err(fail("names no nested blocksize and offset"));
                };
                Some((block, offset as f32))
            }
            _ => None,
        };
        Ok(Table { shape: Float4Shape { rows, cols, format, block }, nested })
    }

    pub(super) fn table_codes(&self, name: &str, table: &Table) -> Result<Coded, LoadError> {
        let map = format!("{name}.quant_map");
        if self.floats(&map)? != table.shape.format.table() {
            return Err(self.fail(&map, "is another table than that of the format".into()));
        }
        let part = format!("{name}.absmax");
        let absmax = match table.nested {
            None => Absmax::Plain(self.floats(&part)?),
            Some((block, offset)) => {
                let codes = self.bytes(&part)?.to_vec();
                let scales = self.floats(&format!("{name}.nested_absmax"))?;
                let map = format!("{name}.nested_quant_map");
                let map = self
                    .floats(&map)?
                    .try_into()
                    .map_err(|_| self.fail(&map, "should be 256 numbers".into()))?;
                restore(codes, (block, offset), scales, Box::new(map))
                    .ok_or_else(|| self.fail(&part, "does not fit nested_absmax".into()))?
            }
        };
        Float4Matrix::from_parts(table.shape, self.bytes(name)?.to_vec(), absmax)
            .map(Coded::Float4)
            .map_err(|error| self.fail(name, error.to_string()))
    }

    /// `LLM.int8()`: `SCB / 127` is the scale of a row.
    pub(super) fn row_magnitudes(
        &self,
        name: &str,
        [rows, cols]: [usize; 2],
    ) -> Result<Coded, LoadError> {
        let scales = self.floats(&sibling(name, "SCB"))?;
        let scales = scales.into_iter().map(|magnitude| magnitude / 127.0).collect();
        let codes = self.raw(name)?.bytes.iter().map(|&code| code.cast_signed()).collect();
        Int8Matrix::from_parts(rows, cols, codes, scales)
            .map(Coded::Int8)
            .map_err(|error| self.fail(name, error.to_string()))
    }
}

/// Scales that are quantized once more, `block` at a time.
fn restore(
    codes: Vec<u8>,
    (block, offset): (usize, f32),
    scales: Vec<f32>,
    map: Box<[f32; 256]>,
) -> Option<Absmax> {
    if block == NESTED_BLOCK {
        return Some(Absmax::Double { codes, scales, offset, map });
    }
    if codes.len().div_ceil(block) != scales.len() {
        return None;
    }
    let values = codes.iter().enumerate();
    let restore = |(at, &code): (usize, &u8)| map[usize::from(code)] * scales[at / block] + offset;
    Some(Absmax::Plain(values.map(restore).collect()))
}

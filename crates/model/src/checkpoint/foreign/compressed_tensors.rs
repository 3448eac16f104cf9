//! compressed-tensors: `pack-quantized` (codes in 32-bit words) and `int-quantized` (bytes).
//!
//! Packed: `X.weight_packed` I32 `[rows, words]`, every row one stream of unsigned codes, low
//! bits first; files before version 0.13 of that library put a whole number of codes into every
//! word (that differs for 3, 5, 6 and 7 bits). `X.weight_scale` `[rows, groups]`,
//! `X.weight_shape`, `X.weight_zero_point` packed along the rows (or I8, signed),
//! `X.weight_g_idx`. Bytes: `X.weight` I8 with `X.weight_scale` and perhaps
//! `X.weight_zero_point`.

use kvant_quant::{CodeShape, Span, pack};
use serde_json::Value;

use super::{Checkpoint, Layout, LoadError, Parts, Stored, Tensor};
use super::{format_name, streams, transpose, unusual};
use crate::checkpoint::Content;

/// What the parts of a packed matrix mean.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    bits: u8,
    span: Span,
    /// Codes per word where words hold whole codes; 0: one stream.
    per_word: usize,
}

/// Bits and group length of the weights of one `config_groups` entry.
struct Setting {
    bits: u8,
    group: i64,
}

fn settings(config: &Value) -> Vec<Setting> {
    let groups = config.get("config_groups").and_then(Value::as_object);
    let weights = groups.into_iter().flatten().filter_map(|(_, group)| group.get("weights"));
    weights
        .filter_map(|weights| {
            let bits = weights.get("num_bits")?.as_u64()?;
            let group = weights.get("group_size").and_then(Value::as_i64).unwrap_or(-1);
            Some(Setting { bits: u8::try_from(bits).ok()?, group })
        })
        .filter(|setting| (2..=8).contains(&setting.bits))
        .collect()
}

impl Checkpoint {
    /// The tensor whose codes are `part`, if it is such a part.
    pub(super) fn compressed_tensor(
        &self,
        part: &str,
        config: &Value,
    ) -> Result<Option<(String, Tensor)>, LoadError> {
        if let Some(name) = part.strip_suffix("_packed")
            && name.ends_with("weight")
            && self.raw(part)?.format.name == "I32"
        {
            let tensor = self.packed_tensor(name, &settings(config))?;
            return Ok(Some((name.to_owned(), tensor)));
        }
        let bytes = self.raw(part)?.format.content == Content::Int8
            && self.raw.contains_key(&format!("{part}_scale"))
            && !self.records.contains_key(part);
        if !bytes {
            return Ok(None);
        }
        let [rows, cols] = self.sides(part)?;
        let scales = self.raw(&format!("{part}_scale"))?.shape.clone();
        let zeros = self.raw.contains_key(&format!("{part}_zero_point"));
        let (count, groups) = (scales.iter().product::<usize>(), scales.get(1).copied());
        if !zeros && count == rows && groups.unwrap_or(1) == 1 {
            // The int8 of this program.
            return Ok(None);
        }
        let span = match groups {
            _ if count == 1 && rows != 1 => Span::Tensor,
            Some(groups) if groups > 1 => {
                let said = settings(config);
                let fitting = said.iter().find(|said| {
                    usize::try_from(said.group)
                        .is_ok_and(|group| group > 0 && cols.div_ceil(group) == groups)
                });
                self.span(part, cols, groups, fitting.map_or(-1, |said| said.group))?
            }
            _ => Span::Channel,
        };
        let parts = ["", "_scale", "_zero_point"].map(|suffix| format!("{part}{suffix}"));
        let parts = parts.into_iter().filter(|part| self.raw.contains_key(part)).collect();
        let format = format_name(8, span, zeros, false);
        let (layout, shape) = (Layout::Bytes(span), [rows, cols]);
        Ok(Some((part.to_owned(), Tensor { layout, shape, format, parts })))
    }

    fn packed_tensor(&self, name: &str, said: &[Setting]) -> Result<Tensor, LoadError> {
        let codes = format!("{name}_packed");
        let [rows, words] = self.sides(&codes)?;
        let shape = self.indices(&format!("{name}_shape"))?;
        let [shape_rows, cols] = shape[..] else {
            return Err(self.fail(name, "its shape should be two numbers".into()));
        };
        if rows != shape_rows || cols / 32 > words {
            let why = format!("{rows} rows of {words} words are no {shape_rows} x {cols} weights");
            return Err(self.fail(&codes, why));
        }
        let scale = self.raw(&format!("{name}_scale"))?.shape.clone();
        let groups = scale.get(1).copied().unwrap_or(1);
        let mut fitting: Option<(&Setting, usize)> = None;
        for setting in said {
            let Some(per_word) = per_word(setting.bits, cols, words) else { continue };
            let group = usize::try_from(setting.group).unwrap_or(cols).max(1);
            if cols.div_ceil(group).max(1) != groups.max(1) {
                continue;
            }
            match fitting {
                Some((other, _)) if other.bits != setting.bits => {
                    let why =
                        format!("{words} words may be {} or {} bits", other.bits, setting.bits);
                    return Err(self.fail(&codes, why));
                }
                _ => fitting = Some((setting, per_word)),
            }
        }
        let Some((setting, per_word)) = fitting else {
            let why = format!(
                "{words} words and {groups} scales for rows of {cols} weights fit none of \
                 config_groups"
            );
            return Err(self.fail(&codes, why));
        };
        let single = scale.iter().product::<usize>() == 1 && rows != 1;
        let span =
            if single { Span::Tensor } else { self.span(name, cols, groups, setting.group)? };
        let suffixes = ["_packed", "_scale", "_shape", "_zero_point", "_g_idx"];
        let parts = suffixes.map(|suffix| format!("{name}{suffix}"));
        let parts = parts.into_iter().filter(|part| self.raw.contains_key(part)).collect();
        let zeros = self.raw.contains_key(&format!("{name}_zero_point"));
        let ordered = self.packed_order(name, span)?.is_some();
        let format = format_name(setting.bits, span, zeros, ordered);
        let layout = Layout::Packed(Packed { bits: setting.bits, span, per_word });
        Ok(Tensor { layout, shape: [rows, cols], format, parts })
    }

    fn packed_order(&self, name: &str, span: Span) -> Result<Option<Vec<usize>>, LoadError> {
        let index = format!("{name}_g_idx");
        if !self.raw.contains_key(&index) {
            return Ok(None);
        }
        // −1 everywhere: no order.
        let raw = self.raw(&index)?;
        if !raw.bytes.is_empty() && raw.bytes.iter().all(|&byte| byte == 0xFF) {
            return Ok(None);
        }
        Ok(unusual(self.indices(&index)?, span))
    }

    pub(super) fn packed_parts(
        &self,
        name: &str,
        [rows, cols]: [usize; 2],
        packed: &Packed,
    ) -> Result<Parts, LoadError> {
        let shape = CodeShape { rows, cols, bits: packed.bits, span: packed.span };
        let part = format!("{name}_packed");
        let [_, width] = self.sides(&part)?;
        let words = self.words(&part, [rows, width])?;
        let codes = packed.stream(&words, width, cols);
        let scales = self.row_scales(name, shape)?;
        let zeros = format!("{name}_zero_point");
        let zeros = if self.raw.contains_key(&zeros) {
            Some(self.zero_points(&zeros, shape)?)
        } else {
            None
        };
        let order = self.packed_order(name, packed.span)?;
        Ok(Parts { shape, codes, scales, zeros, order })
    }

    pub(super) fn byte_parts(
        &self,
        name: &str,
        [rows, cols]: [usize; 2],
        span: Span,
    ) -> Result<Parts, LoadError> {
        let shape = CodeShape { rows, cols, bits: 8, span };
        let codes = self.raw(name)?.bytes.iter().map(|&code| code ^ 0x80).collect();
        let scales = self.row_scales(name, shape)?;
        let zeros = format!("{name}_zero_point");
        let zeros = if self.raw.contains_key(&zeros) {
            Some(self.zero_points(&zeros, shape)?)
        } else {
            None
        };
        Ok(Parts { shape, codes, scales, zeros, order: None })
    }

    fn row_scales(&self, name: &str, shape: CodeShape) -> Result<Vec<f32>, LoadError> {
        let rows = if shape.span == Span::Tensor { 1 } else { shape.rows };
        self.scales(&format!("{name}_scale"), [rows, shape.groups()], Stored::ByRow)
    }

    /// Zero points, one per scale: signed bytes, or packed along the rows.
    fn zero_points(&self, part: &str, shape: CodeShape) -> Result<Vec<u8>, LoadError> {
        let rows = if shape.span == Span::Tensor { 1 } else { shape.rows };
        let (groups, bits) = (shape.groups(), usize::from(shape.bits));
        let raw = self.raw(part)?;
        if raw.format.content == Content::Int8 {
            // A zero point that is no code is found when the matrix is put together.
            let middle = 1u8 << (shape.bits - 1);
            return Ok(raw.bytes.iter().map(|&zero| zero.wrapping_add(middle)).collect());
        }
        let [width, _] = self.sides(part)?;
        let words = transpose(&self.words(part, [width, groups])?, [width, groups]);
        let dense = rows.checked_mul(bits).map(|all| all.div_ceil(32));
        let per_word = match () {
            () if dense == Some(width) => 0,
            () if rows.div_ceil(32 / bits) == width => 32 / bits,
            () => return Err(self.fail(part, format!("{width} words for {rows} zero points"))),
        };
        let packed = Packed { bits: shape.bits, span: shape.span, per_word };
        let stored = packed.stream(&words, width, rows);
        let mut zeros = vec![0; groups * rows];
        if rows > 0 {
            let bytes = pack::packed_len(rows, shape.bits);
            for (zeros, stored) in zeros.chunks_exact_mut(rows).zip(stored.chunks_exact(bytes)) {
                pack::unpack(stored, shape.bits, zeros);
            }
        }
        Ok(transpose(&zeros, [groups, rows]))
    }
}

impl Packed {
    /// Rows of `width` words as rows of `count` packed codes.
    fn stream(&self, words: &[u32], width: usize, count: usize) -> Vec<u8> {
        let bytes = pack::packed_len(count, self.bits);
        if self.per_word == 0 {
            return streams(words, width, bytes);
        }
        let mut packed = vec![0; words.len() / width.max(1) * bytes];
        let mask = u32::from(u8::MAX >> (8 - self.bits));
        if bytes > 0 {
            let rows = words.chunks_exact(width.max(1)).zip(packed.chunks_exact_mut(bytes));
            for (row, packed) in rows {
                let places = (0..self.per_word).map(|place| place * usize::from(self.bits));
                let codes: Vec<u8> = row
                    .iter()
                    .flat_map(|word| places.clone().map(move |place| (word >> place & mask) as u8))
                    .take(count)
                    .collect();
                pack::pack(&codes, self.bits, packed);
            }
        }
        packed
    }
}

/// How `words` hold rows of `cols` codes: 0 for a stream, else codes per word; none if they
/// do not.
fn per_word(bits: u8, cols: usize, words: usize) -> Option<usize> {
    let bits = usize::from(bits);
    if cols.checked_mul(bits)?.div_ceil(32) == words {
        return Some(0);
    }
    (cols.div_ceil(32 / bits) == words).then_some(32 / bits)
}

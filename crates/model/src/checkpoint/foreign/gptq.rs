//! GPTQ (`AutoGPTQ`, `GPTQModel`): codes in 32-bit words along the inputs of a layer.
//!
//! `X.qweight` I32 `[cols · bits / 32, rows]`, `X.qzeros` I32 `[groups, rows · bits / 32]`,
//! `X.scales` `[groups, rows]`, `X.g_idx` I32 `[cols]`: a column of words is one stream of codes,
//! low bits first, and so is a row of zero points. Version 1 stores `zero − 1`, version 2 `zero`.
//! Codes of 3 bits fill the words without a gap, too.

use kvant_quant::{CodeShape, Span, pack};
use serde_json::Value;

use super::{Checkpoint, Layout, LoadError, Parts, Stored, Tensor};
use super::{format_name, sibling, streams, transpose, unusual};

/// What the parts of a GPTQ matrix mean.
#[derive(Clone, Debug)]
pub(super) struct Gptq {
    bits: u8,
    span: Span,
    /// What is added to stored zero points.
    shift: u8,
    /// Whether some zero point is not in the middle.
    zeros: bool,
}

impl Checkpoint {
    /// The tensor whose codes are `part`, if it is such a part.
    pub(super) fn gptq_tensor(
        &self,
        part: &str,
        settings: &Value,
    ) -> Result<Option<(String, Tensor)>, LoadError> {
        let Some(base) = part.strip_suffix(".qweight") else { return Ok(None) };
        let shift = match settings.get("checkpoint_format").and_then(Value::as_str) {
            None | Some("gptq") => 1,
            Some("gptq_v2") => 0,
            Some(other) => {
                let what = format!("GPTQ files of format '{}'", super::super::printable(other));
                let supported = "formats gptq and gptq_v2";
                let path = self.path().to_path_buf();
                return Err(LoadError::Unsupported { path, what, supported });
            }
        };
        let [words, rows] = self.sides(part)?;
        let index = format!("{base}.g_idx");
        let order = if self.raw.contains_key(&index) { Some(self.indices(&index)?) } else { None };
        let said = settings.get("bits").and_then(Value::as_u64).unwrap_or(4);
        let all = words.checked_mul(32).ok_or_else(|| self.fail(part, "is too long".into()))?;
        let cols = order.as_ref().map_or(all / (said.clamp(1, 32) as usize), Vec::len);
        let bits = all.checked_div(cols).unwrap_or(0);
        if !matches!(bits, 2..=8) || cols * bits != all {
            let why = format!("{words} words are no codes of 2 to 8 bits for {cols} columns");
            return Err(self.fail(part, why));
        }
        let scales = format!("{base}.scales");
        let [groups, _] = self.sides(&scales)?;
        let group = settings.get("group_size").and_then(Value::as_i64).unwrap_or(-1);
        let span = self.span(&scales, cols, groups, group)?;
        let mut gptq = Gptq { bits: bits as u8, span, shift, zeros: true };
        let name = format!("{base}.weight");
        gptq.zeros = self.gptq_zeros(&name, [rows, cols], &gptq)?.is_some();
        let ordered = order.and_then(|order| unusual(order, span)).is_some();
        let mut parts = vec![part.to_owned(), format!("{base}.qzeros"), scales];
        parts.extend(self.raw.contains_key(&index).then_some(index));
        let format = format_name(gptq.bits, span, gptq.zeros, ordered);
        let (layout, shape) = (Layout::Gptq(gptq), [rows, cols]);
        Ok(Some((name, Tensor { layout, shape, format, parts })))
    }

    /// The zero points row by row, or none if all are in the middle.
    fn gptq_zeros(
        &self,
        name: &str,
        [rows, cols]: [usize; 2],
        gptq: &Gptq,
    ) -> Result<Option<Vec<u8>>, LoadError> {
        let part = sibling(name, "qzeros");
        let groups = CodeShape { rows, cols, bits: gptq.bits, span: gptq.span }.groups();
        let bits = usize::from(gptq.bits);
        let width = rows.checked_mul(bits).map(|all| all.div_ceil(32));
        let width = width.ok_or_else(|| self.fail(name, "has too many rows".into()))?;
        let words = self.words(&part, [groups, width])?;
        let bytes = pack::packed_len(rows, gptq.bits);
        let mut zeros = vec![0; groups * rows];
        if rows > 0 {
            let stored = streams(&words, width, bytes);
            for (zeros, stored) in zeros.chunks_exact_mut(rows).zip(stored.chunks_exact(bytes)) {
                pack::unpack(stored, gptq.bits, zeros);
            }
        }
        // A zero point of 0 wraps around in version 1.
        let mask = u8::MAX >> (8 - gptq.bits);
        for zero in &mut zeros {
            *zero = zero.wrapping_add(gptq.shift) & mask;
        }
        let middle = 1 << (gptq.bits - 1);
        let plain = zeros.iter().all(|&zero| zero == middle);
        Ok((!plain).then(|| transpose(&zeros, [groups, rows])))
    }

    pub(super) fn gptq_parts(
        &self,
        name: &str,
        [rows, cols]: [usize; 2],
        gptq: &Gptq,
    ) -> Result<Parts, LoadError> {
        let shape = CodeShape { rows, cols, bits: gptq.bits, span: gptq.span };
        let part = |suffix| sibling(name, suffix);
        let width = cols * usize::from(gptq.bits) / 32;
        let words = transpose(&self.words(&part("qweight"), [width, rows])?, [width, rows]);
        let codes = streams(&words, width, shape.row_bytes());
        let scales = self.scales(&part("scales"), [rows, shape.groups()], Stored::ByGroup)?;
        let zeros = self.gptq_zeros(name, [rows, cols], gptq)?;
        let index = part("g_idx");
        let order = if self.raw.contains_key(&index) {
            unusual(self.indices(&index)?, gptq.span)
        } else {
            None
        };
        Ok(Parts { shape, codes, scales, zeros, order })
    }
}

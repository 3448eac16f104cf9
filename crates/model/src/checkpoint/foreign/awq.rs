//! AWQ, version `gemm`: codes of 4 bits in 32-bit words along the outputs of a layer.
//!
//! `X.qweight` I32 `[cols, rows / 8]`, `X.qzeros` I32 `[groups, rows / 8]`, `X.scales`
//! `[groups, rows]`. Within a word the outputs lie in the order 0, 2, 4, 6, 1, 3, 5, 7.

use kvant_quant::{CodeShape, Span, pack};
use serde_json::Value;

use super::{Checkpoint, Layout, LoadError, Parts, Stored, Tensor};
use super::{format_name, sibling};

impl Checkpoint {
    /// The tensor whose codes are `part`, if it is such a part.
    pub(super) fn awq_tensor(
        &self,
        part: &str,
        settings: &Value,
    ) -> Result<Option<(String, Tensor)>, LoadError> {
        let Some(base) = part.strip_suffix(".qweight") else { return Ok(None) };
        let text = |key: &str| settings.get(key).and_then(Value::as_str).map(str::to_lowercase);
        let version = text("version").or_else(|| text("format")).unwrap_or("gemm".into());
        let bits = settings.get("bits").or_else(|| settings.get("w_bit")).and_then(Value::as_u64);
        if version != "gemm" || bits != Some(4) {
            let bits = bits.map_or("unknown".into(), |bits| bits.to_string());
            let version = super::super::printable(&version);
            let what = format!("AWQ of version '{version}' and {bits} bits");
            let (path, supported) = (self.path().to_path_buf(), "version gemm and 4 bits");
            return Err(LoadError::Unsupported { path, what, supported });
        }
        let [cols, words] = self.sides(part)?;
        let scales = format!("{base}.scales");
        let [groups, rows] = self.sides(&scales)?;
        if rows != words.saturating_mul(8) {
            return Err(self.fail(part, format!("{words} words of 8 codes for {rows} outputs")));
        }
        let group = settings.get("group_size").or_else(|| settings.get("q_group_size"));
        let group = group.and_then(Value::as_i64).unwrap_or(-1);
        let span = self.span(&scales, cols, groups, group)?;
        let name = format!("{base}.weight");
        let zeros = self.awq_zeros(&name, [rows, groups])?.is_some();
        let format = format_name(4, span, zeros, false);
        let parts = vec![part.to_owned(), format!("{base}.qzeros"), scales];
        let (layout, shape) = (Layout::Awq(span), [rows, cols]);
        Ok(Some((name, Tensor { layout, shape, format, parts })))
    }

    /// The zero points row by row, or none if all are in the middle.
    fn awq_zeros(
        &self,
        name: &str,
        [rows, groups]: [usize; 2],
    ) -> Result<Option<Vec<u8>>, LoadError> {
        let zeros = self.awq_codes(&sibling(name, "qzeros"), [rows, groups])?;
        Ok(zeros.iter().any(|&zero| zero != 8).then_some(zeros))
    }

    /// A code per row and column, row by row, from words that hold them column by column.
    fn awq_codes(&self, part: &str, [rows, cols]: [usize; 2]) -> Result<Vec<u8>, LoadError> {
        let width = rows / 8;
        let words = self.words(part, [cols, width])?;
        let mut codes = vec![0; rows * cols];
        for (at, word) in words.iter().enumerate() {
            let (col, first) = (at / width.max(1), at % width.max(1) * 8);
            for (place, output) in super::AWQ_ORDER.into_iter().enumerate() {
                codes[(first + output) * cols + col] = (word >> (4 * place) & 15) as u8;
            }
        }
        Ok(codes)
    }

    pub(super) fn awq_parts(
        &self,
        name: &str,
        [rows, cols]: [usize; 2],
        span: Span,
    ) -> Result<Parts, LoadError> {
        let shape = CodeShape { rows, cols, bits: 4, span };
        let plain = self.awq_codes(&sibling(name, "qweight"), [rows, cols])?;
        let mut codes = vec![0; rows * shape.row_bytes()];
        if cols > 0 {
            let packed = codes.chunks_exact_mut(shape.row_bytes());
            for (packed, codes) in packed.zip(plain.chunks_exact(cols)) {
                pack::pack(codes, 4, packed);
            }
        }
        let groups = shape.groups();
        let scales = self.scales(&sibling(name, "scales"), [rows, groups], Stored::ByGroup)?;
        let zeros = self.awq_zeros(name, [rows, groups])?;
        Ok(Parts { shape, codes, scales, zeros, order: None })
    }
}

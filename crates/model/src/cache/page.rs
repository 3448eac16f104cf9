//! Keys and values of 64 tokens in one layer.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::CacheFormat;
use crate::layer::resize;

/// Tokens of a page. Attention sums values page by page, so this is part of what results are.
pub(crate) const PAGE: usize = 64;
/// Largest code of 8 bits.
const TOP: f32 = 127.0;

/// What is stored of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Keys,
    Values,
}

/// Keys, then values, of every group: `2 × groups × 64 × width`.
#[derive(Debug)]
pub(crate) struct Page {
    store: Store,
    groups: usize,
    width: usize,
}

#[derive(Debug)]
enum Store {
    F32(Vec<f32>),
    F16(Vec<f16>),
    /// Codes, and a scale for each row of them.
    Int8(Vec<i8>, Vec<f32>),
}

impl Page {
    pub(crate) fn new(format: CacheFormat, groups: usize, width: usize) -> Self {
        let rows = 2 * groups * PAGE;
        let store = match format {
            CacheFormat::F32 => Store::F32(vec![0.0; rows * width]),
            CacheFormat::F16 => Store::F16(vec![f16::ZERO; rows * width]),
            CacheFormat::Int8 => Store::Int8(vec![0; rows * width], vec![0.0; rows]),
        };
        Self { store, groups, width }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        match &self.store {
            Store::F32(values) => values.len() * 4,
            Store::F16(values) => values.len() * 2,
            Store::Int8(codes, scales) => codes.len() + scales.len() * 4,
        }
    }

    /// Stores `values` (`width`) of the token in `slot`.
    pub(crate) fn write(&mut self, part: Part, (group, slot): (usize, usize), values: &[f32]) {
        let row = self.row(part, group) + slot;
        let span = row * self.width..(row + 1) * self.width;
        match &mut self.store {
            Store::F32(stored) => stored[span].copy_from_slice(values),
            Store::F16(stored) => stored[span].convert_from_f32_slice(values),
            Store::Int8(codes, scales) => scales[row] = code(values, &mut codes[span]),
        }
    }

    /// The first `count` rows of a group, `count × width`, decoded into `memory` where they are
    /// not stored in f32.
    pub(crate) fn rows<'a>(
        &'a self,
        part: Part,
        group: usize,
        count: usize,
        memory: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        let row = self.row(part, group);
        let span = row * self.width..(row + count) * self.width;
        match &self.store {
            Store::F32(stored) => &stored[span],
            Store::F16(stored) => {
                let memory = resize(memory, span.len());
                stored[span].convert_to_f32_slice(memory);
                memory
            }
            Store::Int8(codes, scales) => {
                let memory = resize(memory, span.len());
                let rows = codes[span].chunks_exact(self.width);
                let rows = rows.zip(&scales[row..row + count]);
                for ((codes, scale), out) in rows.zip(memory.chunks_exact_mut(self.width)) {
                    for (out, code) in out.iter_mut().zip(codes) {
                        *out = f32::from(*code) * scale;
                    }
                }
                memory
            }
        }
    }

    fn row(&self, part: Part, group: usize) -> usize {
        let part = match part {
            Part::Keys => 0,
            Part::Values => self.groups,
        };
        (part + group) * PAGE
    }
}

/// Codes `values` to 8 bits at the scale of the largest magnitude; returns the scale. NaN and
/// infinities give a scale of NaN, so that they are not lost.
fn code(values: &[f32], codes: &mut [i8]) -> f32 {
    let max = values.iter().fold(0.0f32, |max, value| max.max(value.abs()));
    if !values.iter().all(|value| value.is_finite()) {
        codes.fill(1);
        return f32::NAN;
    }
    let scale = max / TOP;
    if scale < f32::MIN_POSITIVE {
        codes.fill(0);
        return 0.0;
    }
    for (code, value) in codes.iter_mut().zip(values) {
        *code = (value / scale).round_ties_even() as i8;
    }
    scale
}

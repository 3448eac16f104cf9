//! Keys and values of 64 tokens in one layer, in the order in which products read them.

use half::f16;
use kvant_kernels::{Kernels, Matrix, MatrixMut, PackedF32, WidenScales};

use super::CacheFormat;

/// Tokens of a page. Attention sums values page by page, so this is part of what results are.
pub(crate) const PAGE: usize = 64;
/// Largest code of 8 bits.
const TOP: f32 = 127.0;
/// Outputs that a packed operand holds side by side.
const PANEL: usize = 16;

/// What is stored of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Keys,
    Values,
}

/// Keys, then values, of every group, each a packed operand: keys with 64 outputs and `width`
/// inputs, values with `width` outputs and 64 inputs.
#[derive(Debug)]
pub(crate) struct Page {
    store: Store,
    groups: usize,
    width: usize,
}

#[derive(Debug)]
enum Store {
    F32(Vec<f32>),
    F16(Vec<u16>),
    /// Codes, and a scale for every token of every part and group.
    Int8(Vec<i8>, Vec<f32>),
}

impl Page {
    pub(crate) fn new(format: CacheFormat, groups: usize, width: usize) -> Self {
        let values = groups * (PAGE * width + PAGE * width.next_multiple_of(PANEL));
        let store = match format {
            CacheFormat::F32 => Store::F32(vec![0.0; values]),
            CacheFormat::F16 => Store::F16(vec![0; values]),
            CacheFormat::Int8 => Store::Int8(vec![0; values], vec![0.0; 2 * groups * PAGE]),
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
        let (start, _, _) = self.operand(part, group);
        let width = self.width;
        let at = |column: usize| {
            let (output, input, inputs) = match part {
                Part::Keys => (slot, column, width),
                Part::Values => (column, slot, PAGE),
            };
            start + (output / PANEL * inputs + input) * PANEL + output % PANEL
        };
        let row = self.row(part, group) + slot;
        match &mut self.store {
            Store::F32(stored) => {
                values.iter().enumerate().for_each(|(column, value)| stored[at(column)] = *value);
            }
            Store::F16(stored) => {
                for (column, value) in values.iter().enumerate() {
                    stored[at(column)] = f16::from_f32(*value).to_bits();
                }
            }
            Store::Int8(codes, scales) => {
                let scale = scale(values);
                scales[row] = scale;
                for (column, value) in values.iter().enumerate() {
                    codes[at(column)] = code(*value, scale);
                }
            }
        }
    }

    /// Forgets the tokens from `slot` on: what they were must not show in a sum of weights 0.
    pub(crate) fn forget(&mut self, slot: usize) {
        let nothing = vec![0.0; self.width];
        for group in 0..self.groups {
            for slot in slot..PAGE {
                self.write(Part::Values, (group, slot), &nothing);
            }
        }
    }

    /// `out = x · Wᵀ` with the keys or values of a group as the weight.
    pub(crate) fn multiply(
        &self,
        kernels: &Kernels,
        (part, group): (Part, usize),
        x: Matrix<'_, f32>,
        memory: &mut PackedF32,
        out: MatrixMut<'_, f32>,
    ) {
        let (start, outputs, inputs) = self.operand(part, group);
        let span = start..start + outputs.next_multiple_of(PANEL) * inputs;
        match &self.store {
            Store::F32(stored) => memory.fill(&stored[span], (outputs, inputs)),
            Store::F16(stored) => return kernels.gemm_f16(x, &stored[span], memory, out),
            Store::Int8(codes, scales) => {
                let scales = &scales[self.row(part, group)..][..PAGE];
                let scales = match part {
                    Part::Keys => WidenScales::Outputs(scales),
                    Part::Values => WidenScales::Inputs(scales),
                };
                kernels.widen_i8(&codes[span], scales, (outputs, inputs), memory);
            }
        }
        kernels.gemm_f32(x, &*memory, None, out);
    }

    /// Where an operand begins, its outputs and its inputs.
    fn operand(&self, part: Part, group: usize) -> (usize, usize, usize) {
        let (keys, values) = (PAGE * self.width, PAGE * self.width.next_multiple_of(PANEL));
        match part {
            Part::Keys => (group * keys, PAGE, self.width),
            Part::Values => (self.groups * keys + group * values, self.width, PAGE),
        }
    }

    /// The first scale of a group.
    fn row(&self, part: Part, group: usize) -> usize {
        let part = match part {
            Part::Keys => 0,
            Part::Values => self.groups,
        };
        (part + group) * PAGE
    }
}

/// The scale of 8 bits of the largest magnitude. NaN and infinities give NaN, so that they are not
/// lost.
fn scale(values: &[f32]) -> f32 {
    if !values.iter().all(|value| value.is_finite()) {
        return f32::NAN;
    }
    let scale = values.iter().fold(0.0f32, |max, value| max.max(value.abs())) / TOP;
    if scale < f32::MIN_POSITIVE { 0.0 } else { scale }
}

fn code(value: f32, scale: f32) -> i8 {
    if scale == 0.0 { 0 } else { (value / scale).round_ties_even() as i8 }
}

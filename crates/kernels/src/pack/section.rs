//! Packed weights as sections of bytes: written as they lie in memory, read back without a copy.
//!
//! What a section holds is foreign: any bytes are accepted whose lengths fit the shape, wrong ones
//! give wrong products and nothing worse.

use super::bf16::{PAIR, PackedBF16};
use super::blocks::{BlockShape, CodeLevels, Minima, PackedBlocks};
use super::{LANE, PANEL, PackedF32, PackedI8};
use crate::shared::{Lender, Plain, Shared};

/// The order of what `sections` of the packed weights give; another number for another order, or
/// for another meaning of the same bytes.
pub const PACKED_LAYOUT: u32 = 1;

/// The numbers of `lender`, if there are `count`.
fn exactly<T: Plain>(lender: Lender, count: Option<usize>) -> Option<Shared<T>> {
    Shared::lent(lender).filter(|numbers| Some(numbers.len()) == count)
}

impl PackedF32 {
    /// The lines of all panels.
    pub fn sections(&self) -> [&[u8]; 1] {
        [self.data.bytes()]
    }

    /// A weight of `n × k` from its sections, each on a boundary of 64 bytes. `None` if they are
    /// longer or shorter than it needs.
    pub fn restore((n, k): (usize, usize), [data]: [Lender; 1]) -> Option<Self> {
        let data = exactly(data, n.div_ceil(PANEL).checked_mul(k))?;
        Some(Self { data, n, k })
    }
}

impl PackedBF16 {
    /// The lines of all panels.
    pub fn sections(&self) -> [&[u8]; 1] {
        [self.data.bytes()]
    }

    /// As [`PackedF32::restore`].
    pub fn restore((n, k): (usize, usize), [data]: [Lender; 1]) -> Option<Self> {
        let data = exactly(data, n.div_ceil(PANEL).checked_mul(k.div_ceil(PAIR)))?;
        Some(Self { data, n, k })
    }
}

impl PackedI8 {
    /// The lines of all panels, the scales and the sums of the outputs.
    pub fn sections(&self) -> [&[u8]; 3] {
        [self.data.bytes(), self.scales.bytes(), self.sums.bytes()]
    }

    /// As [`PackedF32::restore`]. `None` also for sums that no codes have.
    pub fn restore((n, k): (usize, usize), sections: [Lender; 3]) -> Option<Self> {
        let [data, scales, sums] = sections;
        let panels = n.div_ceil(PANEL);
        let data = exactly(data, panels.checked_mul(k.div_ceil(LANE)))?;
        let scales = exactly(scales, panels.checked_mul(PANEL))?;
        let sums: Shared<i32> = exactly(sums, panels.checked_mul(PANEL))?;
        let most = k as u64 * 128;
        let possible = sums.iter().all(|sum| u64::from(sum.unsigned_abs()) <= most);
        possible.then_some(Self { data, scales, sums, n, k })
    }
}

impl PackedBlocks {
    /// The lines of all panels, the scales, the minima (empty where there are none) and the factors
    /// of the outputs.
    pub fn sections(&self) -> [&[u8]; 4] {
        [self.codes.bytes(), self.scales.bytes(), self.minima.bytes(), self.factors.bytes()]
    }

    /// As [`PackedF32::restore`]. `None` also for blocks, zeros and minima that
    /// [`PackedBlocks::new`] does not make.
    pub fn restore(
        shape: BlockShape,
        levels: CodeLevels,
        with_minima: Minima,
        sections: [Lender; 4],
    ) -> Option<Self> {
        let known = match levels {
            CodeLevels::Four(zero) => zero < 16,
            CodeLevels::Eight(_) => true,
            CodeLevels::Table(_) => with_minima == Minima::None,
        };
        if !known || !matches!(shape.block, 16 | 32) {
            return None;
        }
        let mut packed = Self::without_rows(shape, levels);
        let [codes, scales, minima, factors] = sections;
        let panels = shape.n.div_ceil(PANEL);
        let blocks = panels.checked_mul(shape.blocks());
        let lines = blocks.and_then(|blocks| blocks.checked_mul(packed.block_lines()));
        packed.codes = exactly(codes, lines)?;
        packed.scales = exactly(scales, blocks)?;
        let with = if with_minima == Minima::Some { blocks } else { Some(0) };
        packed.minima = exactly(minima, with)?;
        packed.factors = exactly(factors, panels.checked_mul(PANEL))?;
        Some(packed)
    }

    /// What its codes stand for.
    pub fn levels(&self) -> CodeLevels {
        self.levels
    }

    /// Whether something is added to its blocks.
    pub fn minima(&self) -> Minima {
        if self.minima.is_empty() { Minima::None } else { Minima::Some }
    }
}

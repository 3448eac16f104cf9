//! The forms of packed weights as numbers and sections of bytes.

use std::sync::Arc;

use kvant_kernels::{
    BlockShape, CodeLevels, Lender, Minima, PackedBF16, PackedBlocks, PackedF32, PackedI8,
};
use kvant_storage::Bytes;

use super::table::{Reader, Writer};
use crate::layer::packed::Packed;

/// What a packed weight is besides its sections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    Float { n: usize, k: usize },
    Brain { n: usize, k: usize },
    Int8 { n: usize, k: usize },
    Blocks { shape: BlockShape, levels: CodeLevels, minima: Minima },
}

impl Form {
    /// The form of `packed`, and its sections.
    pub(super) fn of(packed: &Packed) -> (Self, Vec<&[u8]>) {
        match packed {
            Packed::Float(weight) => {
                (Self::Float { n: weight.n(), k: weight.k() }, weight.sections().to_vec())
            }
            Packed::Brain(weight) => {
                (Self::Brain { n: weight.n(), k: weight.k() }, weight.sections().to_vec())
            }
            Packed::Int8(weight) => {
                (Self::Int8 { n: weight.n(), k: weight.k() }, weight.sections().to_vec())
            }
            Packed::Blocks(weight) => {
                let (shape, levels) = (weight.shape(), weight.levels());
                let form = Self::Blocks { shape, levels, minima: weight.minima() };
                (form, weight.sections().to_vec())
            }
        }
    }

    /// The weight of this form with these sections, which it keeps; `None` if they do not fit.
    pub(super) fn restore(&self, sections: &[Bytes]) -> Option<Packed> {
        match *self {
            Self::Float { n, k } => {
                PackedF32::restore((n, k), lenders(sections)?).map(Packed::Float)
            }
            Self::Brain { n, k } => {
                PackedBF16::restore((n, k), lenders(sections)?).map(Packed::Brain)
            }
            Self::Int8 { n, k } => PackedI8::restore((n, k), lenders(sections)?).map(Packed::Int8),
            Self::Blocks { shape, levels, minima } => {
                let sections = lenders(sections)?;
                PackedBlocks::restore(shape, levels, minima, sections).map(Packed::Blocks)
            }
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        match *self {
            Self::Float { n, k } => out.byte(0).size(n).size(k),
            Self::Brain { n, k } => out.byte(3).size(n).size(k),
            Self::Int8 { n, k } => out.byte(1).size(n).size(k),
            Self::Blocks { shape: BlockShape { n, k, block }, levels, minima } => {
                out.byte(2).size(n).size(k).size(block);
                match levels {
                    CodeLevels::Four(zero) => out.byte(0).byte(zero),
                    CodeLevels::Eight(zero) => out.byte(1).byte(zero),
                    CodeLevels::Table(levels) => {
                        out.byte(2);
                        levels.iter().fold(out, |out, level| out.float(*level))
                    }
                }
                .byte(u8::from(minima == Minima::Some))
            }
        };
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let kind = from.byte()?;
        let (n, k) = (from.size()?, from.size()?);
        match kind {
            0 => Some(Self::Float { n, k }),
            1 => Some(Self::Int8 { n, k }),
            2 => {
                let shape = BlockShape { n, k, block: from.size()? };
                let levels = match from.byte()? {
                    0 => CodeLevels::Four(from.byte()?),
                    1 => CodeLevels::Eight(from.byte()?),
                    2 => {
                        let mut levels = [0.0; 16];
                        for level in &mut levels {
                            *level = from.float()?;
                        }
                        CodeLevels::Table(levels)
                    }
                    _ => return None,
                };
                let minima = match from.byte()? {
                    0 => Minima::None,
                    1 => Minima::Some,
                    _ => return None,
                };
                Some(Self::Blocks { shape, levels, minima })
            }
            3 => Some(Self::Brain { n, k }),
            _ => None,
        }
    }
}

fn lenders<const N: usize>(sections: &[Bytes]) -> Option<[Lender; N]> {
    let sections: &[Bytes; N] = sections.try_into().ok()?;
    Some(std::array::from_fn(|at| Arc::new(sections[at].clone()) as Lender))
}

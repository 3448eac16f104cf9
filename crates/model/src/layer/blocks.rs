//! Weights of the storage formats in blocks that products read.

use std::rc::Rc;

use kvant_kernels::{BlockRow, BlockShape, CodeLevels, Minima, PackedBlocks};
use kvant_quant::{Coded, Cut, Grid, Int8Matrix, Levels};

use crate::Weight;
use crate::layer::linear::Part;

/// Codes that 4 bits tell apart.
const FOUR: usize = 16;
/// The byte of an int8 code of 0.
const INT8_ZERO: u8 = 128;

/// The kind of blocks that a weight can be packed in; weights of one kind can lie side by side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kind {
    levels: CodeLevels,
    minima: Minima,
    block: usize,
}

impl Kind {
    /// That of `weight`, if it has one: not of full precision, of formats with a table for every
    /// group or of more than 16 levels, nor where scales change within 16 columns.
    pub(crate) fn of(weight: &Weight) -> Option<Self> {
        let Weight::Coded(coded) = weight else { return None };
        if let Coded::Int8(_) = coded {
            let levels = CodeLevels::Eight(INT8_ZERO);
            return Some(Self { levels, minima: Minima::None, block: 32 });
        }
        let grid = coded.grid();
        let block = block(&grid)?;
        let (levels, minima) = match &grid.levels {
            Levels::Uniform(count) => {
                let zero = zero(&grid);
                let (from, minima) = zero.map_or((0, Minima::Some), |zero| (zero, Minima::None));
                let four = usize::from(*count) <= FOUR;
                let levels = if four { CodeLevels::Four(from) } else { CodeLevels::Eight(from) };
                (levels, minima)
            }
            Levels::Table(values) if values.len() <= FOUR && zero(&grid) == Some(0) => {
                let mut levels = [0.0; FOUR];
                levels[..values.len()].copy_from_slice(values);
                (CodeLevels::Table(levels), Minima::None)
            }
            Levels::Table(_) | Levels::Tables { .. } => return None,
        };
        Some(Self { levels, minima, block })
    }
}

/// The zero point that all groups share, where nothing is added to them.
fn zero(grid: &Grid) -> Option<u8> {
    let zero = grid.zeros.first().copied().unwrap_or(0.0);
    let whole = zero.fract() == 0.0 && (0.0..256.0).contains(&zero);
    let alike = grid.zeros.iter().all(|other| *other == zero);
    let plain = grid.offsets.iter().all(|offset| *offset == 0.0);
    (whole && alike && plain).then_some(zero as u8)
}

/// The largest block within which no scale changes.
fn block(grid: &Grid) -> Option<usize> {
    [32, 16].into_iter().find(|block| match grid.cut {
        Cut::Rows(len) => len >= grid.cols || len.is_multiple_of(*block),
        Cut::Flat(len) => {
            len.is_multiple_of(grid.cols.max(1))
                || len.is_multiple_of(*block) && grid.cols.is_multiple_of(*block)
        }
    })
}

/// Packs `parts`, all of this kind, outputs one behind the other; each multiplied by its scale.
pub(crate) fn pack(parts: &[Part], kind: Kind) -> PackedBlocks {
    let n = parts.iter().map(|part| part.weight.rows()).sum();
    let k = parts.first().map_or(0, |part| part.weight.cols());
    let shape = BlockShape { n, k, block: kind.block };
    let mut rows = parts.iter().flat_map(|part| {
        let source = Source::of(part);
        (0..part.weight.rows()).map(move |row| (source.clone(), row))
    });
    PackedBlocks::new(shape, kind.levels, kind.minima, |_, mut out| {
        if let Some((source, row)) = rows.next() {
            source.put(row, kind, &mut out);
        }
    })
}

/// Where the rows of a part come from.
#[derive(Clone)]
enum Source<'a> {
    Int8(&'a Int8Matrix, f32),
    Grid(Rc<(Grid, Vec<u8>)>, f32),
    Dense,
}

impl<'a> Source<'a> {
    fn of(part: &'a Part) -> Self {
        match &part.weight {
            Weight::Coded(Coded::Int8(matrix)) => Self::Int8(matrix, part.scale),
            Weight::Coded(coded) => Self::Grid(Rc::new((coded.grid(), coded.codes())), part.scale),
            Weight::Dense(_) => Self::Dense,
        }
    }

    fn put(&self, row: usize, kind: Kind, out: &mut BlockRow<'_>) {
        match self {
            Self::Int8(matrix, by) => {
                let codes = &matrix.codes()[row * matrix.cols()..][..matrix.cols()];
                for (byte, &code) in out.codes.iter_mut().zip(codes) {
                    *byte = (code as u8) ^ INT8_ZERO;
                }
                out.scales.fill(matrix.scales()[row] * by);
            }
            Self::Grid(source, by) => {
                let (grid, codes) = &**source;
                out.codes.copy_from_slice(&codes[row * grid.cols..][..grid.cols]);
                let columns = (0..grid.cols).step_by(kind.block);
                for (block, column) in columns.enumerate() {
                    let group = grid.at(row, column);
                    out.scales[block] = group.scale() * by;
                    if kind.minima == Minima::Some {
                        out.minima[block] = group.floor() * by;
                    }
                }
            }
            Self::Dense => {}
        }
    }
}

//! Weights of the storage formats in blocks that products read.

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

/// A weight that can be packed in blocks, and how.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) kind: Kind,
    part: &'a Part,
    rows: Rows<'a>,
}

/// Where the rows of a weight come from.
#[derive(Debug)]
enum Rows<'a> {
    Int8(&'a Int8Matrix),
    Coded(&'a Coded, Grid),
}

impl<'a> Source<'a> {
    /// The weight of `part`, unless it is of full precision, of a format with a table for every
    /// group or of more than 16 levels, or its scales change within 16 columns.
    pub(crate) fn of(part: &'a Part) -> Option<Self> {
        let coded = match &part.weight {
            Weight::Dense(_) => return None,
            Weight::Coded(Coded::Int8(matrix)) => {
                let levels = CodeLevels::Eight(INT8_ZERO);
                let kind = Kind { levels, minima: Minima::None, block: 32 };
                return Some(Self { kind, part, rows: Rows::Int8(matrix) });
            }
            Weight::Coded(coded) => coded,
        };
        let grid = coded.grid();
        let kind = kind(&grid)?;
        Some(Self { kind, part, rows: Rows::Coded(coded, grid) })
    }
}

/// The kind of a grid, if it has one.
fn kind(grid: &Grid) -> Option<Kind> {
    let block = block(grid)?;
    let (levels, minima) = match &grid.levels {
        Levels::Uniform(count) => {
            let zero = zero(grid);
            let (from, minima) = zero.map_or((0, Minima::Some), |zero| (zero, Minima::None));
            let four = usize::from(*count) <= FOUR;
            let levels = if four { CodeLevels::Four(from) } else { CodeLevels::Eight(from) };
            (levels, minima)
        }
        Levels::Table(values) if values.len() <= FOUR && zero(grid) == Some(0) => {
            let mut levels = [0.0; FOUR];
            levels[..values.len()].copy_from_slice(values);
            (CodeLevels::Table(levels), Minima::None)
        }
        Levels::Table(_) | Levels::Tables { .. } => return None,
    };
    Some(Kind { levels, minima, block })
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

/// Packs weights of one kind, outputs one behind the other; each multiplied by its part's scale.
///
/// # Panics
/// If there are none.
pub(crate) fn pack(sources: &[&Source<'_>]) -> PackedBlocks {
    let kind = sources[0].kind;
    let n = sources.iter().map(|source| source.part.weight.rows()).sum();
    let shape = BlockShape { n, k: sources[0].part.weight.cols(), block: kind.block };
    let mut left = sources.iter();
    // The weight whose rows are taken, its codes, its next row.
    let mut at: Option<(&Source<'_>, Vec<u8>, usize)> = None;
    PackedBlocks::new(shape, kind.levels, kind.minima, |_, mut out| {
        while at.as_ref().is_none_or(|(source, _, row)| *row == source.part.weight.rows()) {
            let Some(next) = left.next() else { return };
            at = Some((next, next.codes(), 0));
        }
        if let Some((source, codes, row)) = &mut at {
            source.put(codes, *row, &mut out);
            *row += 1;
        }
    })
}

impl Source<'_> {
    /// The codes as indices into the levels of the grid; none where they are read row by row.
    fn codes(&self) -> Vec<u8> {
        match &self.rows {
            Rows::Int8(_) | Rows::Coded(Coded::Block(_), _) => Vec::new(),
            Rows::Coded(coded, _) => coded.codes(),
        }
    }

    fn put(&self, codes: &[u8], row: usize, out: &mut BlockRow<'_>) {
        let by = self.part.scale;
        match &self.rows {
            Rows::Int8(matrix) => {
                let codes = &matrix.codes()[row * matrix.cols()..][..matrix.cols()];
                for (byte, &code) in out.codes.iter_mut().zip(codes) {
                    *byte = (code as u8) ^ INT8_ZERO;
                }
                out.scales.fill(matrix.scales()[row] * by);
            }
            Rows::Coded(coded, grid) => {
                if let Coded::Block(matrix) = coded {
                    matrix.row_codes(row, out.codes);
                } else {
                    out.codes.copy_from_slice(&codes[row * grid.cols..][..grid.cols]);
                }
                for (block, column) in (0..grid.cols).step_by(self.kind.block).enumerate() {
                    let group = grid.at(row, column);
                    out.scales[block] = group.scale() * by;
                    if self.kind.minima == Minima::Some {
                        out.minima[block] = group.floor() * by;
                    }
                }
            }
        }
    }
}

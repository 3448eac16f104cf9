//! The levels that the weights of a matrix may take.

use std::ops::Range;
use std::sync::Arc;

use kvant_kernels::Matrix;

use crate::Span;

/// How the weights of a matrix are cut into groups that share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Every row into runs of this many columns; the last of a row may be shorter.
    Rows(usize),
    /// The matrix, row after row, into runs of this many weights, which may span rows.
    Flat(usize),
}

impl Cut {
    /// The cut of a scheme's span over a matrix of this shape.
    pub fn of(span: Span, rows: usize, cols: usize) -> Self {
        match span {
            Span::Tensor => Self::Flat((rows * cols).max(1)),
            Span::Channel | Span::Group(_) => Self::Rows(span.weights(cols)),
        }
    }
}

/// The values that codes stand for before scaling, in ascending order.
#[derive(Clone, Debug, PartialEq)]
pub enum Levels {
    /// Code `c` is `c`, for this many codes (2 to 256).
    Uniform(u16),
    /// One table for the whole matrix.
    Table(Arc<[f32]>),
    /// One table per group, each of `count` levels, one behind the other.
    Tables {
        /// All tables.
        values: Vec<f32>,
        /// Levels per table.
        count: u16,
    },
}

/// What the codes of a matrix stand for: in group `g`, code `c` is
/// `offset[g] + scale[g] · (level[c] − zero[g])`.
///
/// A format and the choice of its codes meet here and nowhere else. A format says which levels
/// there are ([`Coded::grid`](crate::Coded::grid)), exactly those that its decoder restores; a
/// method (to nearest, GPTQ, …) picks a code for every weight among them and hands the codes
/// back ([`Coded::set_codes`](crate::Coded::set_codes)). So every method works on every format.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Which weights share a scale.
    pub cut: Cut,
    /// The levels before scaling.
    pub levels: Levels,
    /// One per group, finite, of either sign.
    pub scales: Vec<f32>,
    /// One per group, or none: all 0.
    pub zeros: Vec<f32>,
    /// One per group, or none: all 0.
    pub offsets: Vec<f32>,
}

/// The levels of one group.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    scale: f32,
    zero: f32,
    offset: f32,
    levels: Slice<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Slice<'a> {
    Uniform(u16),
    Table(&'a [f32]),
}

impl Grid {
    /// Number of codes, 2 to 256.
    pub fn count(&self) -> usize {
        match &self.levels {
            Levels::Uniform(count) | Levels::Tables { count, .. } => usize::from(*count),
            Levels::Table(values) => values.len(),
        }
    }

    /// Number of groups that the shape asks for.
    pub fn groups(&self) -> usize {
        match self.cut {
            Cut::Rows(len) => self.rows * self.cols.div_ceil(len.max(1)),
            Cut::Flat(len) => (self.rows * self.cols).div_ceil(len.max(1)),
        }
    }

    /// The levels of the weight at `row`, `col`.
    ///
    /// # Panics
    /// If there is no such weight.
    pub fn at(&self, row: usize, col: usize) -> Group<'_> {
        self.group(self.index(row, col))
    }

    /// The number of the group of the weight at `row`, `col`.
    ///
    /// # Panics
    /// If there is no such weight.
    pub fn index(&self, row: usize, col: usize) -> usize {
        assert!(row < self.rows && col < self.cols, "no weight at {row}, {col}");
        match self.cut {
            Cut::Rows(len) => row * self.cols.div_ceil(len) + col / len,
            Cut::Flat(len) => (row * self.cols + col) / len,
        }
    }

    /// The groups of row `row` and the columns each holds, in order.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (Range<usize>, Group<'_>)> {
        let first = row * self.cols;
        let mut col = 0;
        std::iter::from_fn(move || {
            if col == self.cols {
                return None;
            }
            let (start, left) = match self.cut {
                Cut::Rows(len) => (col, len),
                Cut::Flat(len) => (col, len - (first + col) % len),
            };
            col = (start + left).min(self.cols);
            Some((start..col, self.at(row, start)))
        })
    }

    /// The code of the nearest level for every weight of `w`, row-major.
    ///
    /// # Panics
    /// If `w` has another shape.
    pub fn nearest(&self, w: Matrix<'_, f32>) -> Vec<u8> {
        assert_eq!((w.rows(), w.cols()), (self.rows, self.cols), "the matrix of this grid");
        let mut codes = Vec::with_capacity(self.rows * self.cols);
        for row in 0..self.rows {
            for (cols, group) in self.row(row) {
                codes.extend(w.row(row)[cols].iter().map(|&v| group.nearest(v)));
            }
        }
        codes
    }

    /// The weights that `codes` (row-major) stand for.
    ///
    /// # Panics
    /// If there is not one code per weight, or a code has no level.
    pub fn restore(&self, codes: &[u8]) -> Vec<f32> {
        assert_eq!(codes.len(), self.rows * self.cols, "one code per weight");
        let mut values = Vec::with_capacity(codes.len());
        for row in 0..self.rows {
            let codes = &codes[row * self.cols..][..self.cols];
            for (cols, group) in self.row(row) {
                values.extend(codes[cols].iter().map(|&code| group.restore(code)));
            }
        }
        values
    }

    fn group(&self, index: usize) -> Group<'_> {
        let or_zero = |values: &[f32]| values.get(index).copied().unwrap_or(0.0);
        let levels = match &self.levels {
            Levels::Uniform(count) => Slice::Uniform(*count),
            Levels::Table(values) => Slice::Table(values),
            Levels::Tables { values, count } => {
                let count = usize::from(*count);
                Slice::Table(&values[index * count..][..count])
            }
        };
        // Adding −0 changes nothing, the sign of a zero included.
        let offset = self.offsets.get(index).copied().unwrap_or(-0.0);
        let zero = or_zero(&self.zeros);
        Group { scale: self.scales[index], zero, offset, levels }
    }
}

impl Group<'_> {
    /// The distance of two levels that differ by 1.
    #[inline]
    pub fn scale(self) -> f32 {
        self.scale
    }

    /// The weight that the first code of a uniform grid, or a level of 0, stands for.
    #[inline]
    pub fn floor(self) -> f32 {
        self.offset - self.scale * self.zero
    }

    /// The code whose level is nearest to `value`; of two equally near ones the even code
    /// (uniform levels) or the lower one (tables). A scale of 0 gives the level nearest to 0.
    #[inline]
    pub fn nearest(self, value: f32) -> u8 {
        let scaled = (value - self.offset) / self.scale;
        let place = if self.scale == 0.0 { self.zero } else { scaled + self.zero };
        match self.levels {
            Slice::Uniform(count) => place.round_ties_even().clamp(0.0, f32::from(count - 1)) as u8,
            Slice::Table(levels) => {
                let above = levels.partition_point(|&level| level < place);
                let nearer_below = above == levels.len()
                    || above > 0 && place - levels[above - 1] <= levels[above] - place;
                (above - usize::from(nearer_below)) as u8
            }
        }
    }

    /// The weight that `code` stands for.
    ///
    /// # Panics
    /// If `code` is past the end of a table.
    #[inline]
    pub fn restore(self, code: u8) -> f32 {
        let level = match self.levels {
            Slice::Uniform(_) => f32::from(code),
            Slice::Table(levels) => levels[usize::from(code)],
        };
        self.offset + self.scale * (level - self.zero)
    }
}

#[cfg(test)]
mod tests;

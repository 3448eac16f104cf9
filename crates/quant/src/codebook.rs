//! Levels fitted to the weights: one table for all, or one per row or group.

mod fit;

use half::f16;

use crate::coded::gather;
use crate::refit::all_stored;
use crate::{CodeShape, Cut, Grid, LayoutError, Levels, Scheme, Span};

/// How the levels of a codebook are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filling {
    /// `kmeans`: the levels with the least squared error ([`kmeans`](crate::kmeans)).
    Kmeans,
    /// `quantile`: levels that the same number of weights lie around.
    Quantile,
}

/// Which weights share a codebook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Books {
    /// `:tensor`: all of a matrix.
    Tensor,
    /// `:channel`: a row.
    Row,
    /// `:bookN`: this many neighbouring weights of a row.
    Group(usize),
    /// `:gN`: all of a matrix, after every group of this many neighbouring weights of a row was
    /// divided by its largest magnitude.
    Scaled(usize),
}

impl Books {
    /// The weights that share a codebook or, where all do, a scale.
    pub fn span(self) -> Span {
        match self {
            Self::Tensor => Span::Tensor,
            Self::Row => Span::Channel,
            Self::Group(len) | Self::Scaled(len) => Span::Group(len),
        }
    }
}

/// Shape of a [`CodebookMatrix`]; all lengths follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodebookShape {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Bits per code, 2 to 8.
    pub bits: u8,
    /// How the levels were chosen.
    pub filling: Filling,
    /// Which weights share a codebook.
    pub books: Books,
}

impl CodebookShape {
    /// The shape of the packed codes.
    pub fn codes(&self) -> CodeShape {
        let Self { rows, cols, bits, books, .. } = *self;
        CodeShape { rows, cols, bits, span: books.span() }
    }

    /// Levels of a codebook.
    pub fn levels_per_book(&self) -> usize {
        1 << self.bits
    }

    /// Codebooks of the whole matrix: none if it is empty.
    pub fn book_count(&self) -> usize {
        match self.books {
            Books::Tensor | Books::Scaled(_) => usize::from(self.rows * self.cols > 0),
            Books::Row | Books::Group(_) => self.codes().numbers(),
        }
    }

    /// Scales of the whole matrix.
    pub fn scale_count(&self) -> usize {
        if matches!(self.books, Books::Scaled(_)) { self.codes().numbers() } else { 0 }
    }

    /// The scheme that writes this shape.
    pub fn scheme(&self) -> Scheme {
        Scheme::Codebook { filling: self.filling, bits: self.bits, books: self.books }
    }
}

/// `w = level[code]`, or `w = scale · level[code]` where groups have a scale.
///
/// Levels and scales are f16. With scales the levels lie between −1 and 1 and are fitted to all
/// weights, each divided by the largest magnitude of its group; a weight counts there with the
/// square of that magnitude, so that the error of the restored weights is what becomes least.
/// Every weight gets the nearest level. All levels lie between the smallest and the largest
/// weight (with scales: weight over scale) that they were fitted to, so no weight is further from
/// its restored one than these from one another (and `2^−10` of the largest, for the roundings
/// to f16). `n` bits per weight, `16/g` for the scales of groups of `g`, and `16 · 2^n` for each
/// codebook. "Deep Compression" (Han et al., 2016, §3) for `kmeans`; with scales it is the layout
/// of NF4 with levels of the tensor's own.
#[derive(Clone, Debug, PartialEq)]
pub struct CodebookMatrix {
    shape: CodebookShape,
    codes: Vec<u8>,
    levels: Vec<f32>,
    scales: Vec<f32>,
}

impl CodebookMatrix {
    /// Other scales for the groups, if groups have scales.
    pub(crate) fn set_scales(&mut self, scales: &[f32]) -> bool {
        if self.scales.is_empty() {
            return false;
        }
        let Some(scales) = all_stored(scales, true) else { return false };
        self.scales = scales;
        true
    }

    /// Puts stored parts together: packed `codes` row by row, the `levels` of every codebook
    /// ascending, one codebook behind the other, and the `scales` row by row. Levels and scales
    /// must be f16 numbers.
    ///
    /// # Errors
    /// [`LayoutError`] when a length does not follow from the shape, a number is not finite or no
    /// f16, or levels do not ascend.
    pub fn from_parts(
        shape: CodebookShape,
        codes: Vec<u8>,
        levels: Vec<f32>,
        scales: Vec<f32>,
    ) -> Result<Self, LayoutError> {
        let packed = shape.codes();
        packed.check()?;
        let overflow = LayoutError::Overflow { rows: shape.rows, cols: shape.cols };
        let count = shape.book_count().checked_mul(shape.levels_per_book()).ok_or(overflow)?;
        for (part, expected, got) in [
            ("codes", packed.rows * packed.row_bytes(), codes.len()),
            ("levels", count, levels.len()),
            ("scales", shape.scale_count(), scales.len()),
        ] {
            if expected != got {
                return Err(LayoutError::Length { part, expected, got });
            }
        }
        for (part, numbers) in [("level", &levels), ("scale", &scales)] {
            for (index, &value) in numbers.iter().enumerate() {
                if !value.is_finite() {
                    return Err(LayoutError::Scale { part, index, value });
                }
                if f16::from_f32(value).to_f32() != value {
                    return Err(LayoutError::Precision { part, index, value });
                }
            }
        }
        for (book, levels) in levels.chunks_exact(shape.levels_per_book()).enumerate() {
            if let Some(index) = levels.windows(2).position(|pair| pair[0] > pair[1]) {
                let (value, why) = (levels[index + 1], "below the one before it");
                let index = book * shape.levels_per_book() + index + 1;
                return Err(LayoutError::Value { part: "level", index, value, why });
            }
        }
        Ok(Self { shape, codes, levels, scales })
    }

    /// Rows, columns, bits and codebooks.
    pub fn shape(&self) -> CodebookShape {
        self.shape
    }

    /// The packed codes, row by row, low bits first.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// The levels, codebook by codebook, all f16 numbers.
    pub fn levels(&self) -> &[f32] {
        &self.levels
    }

    /// One scale per group, row by row, all f16 numbers; none without groups that have one.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Bytes of codes, codebooks and scales as stored.
    pub fn size_bytes(&self) -> usize {
        self.codes.len() + 2 * (self.levels.len() + self.scales.len())
    }

    pub(crate) fn select_rows(&self, order: &[usize]) -> Self {
        let (codes, per_book) = (self.shape.codes(), self.shape.levels_per_book());
        let levels = match self.shape.books {
            Books::Tensor | Books::Scaled(_) if order.is_empty() => Vec::new(),
            Books::Tensor | Books::Scaled(_) => self.levels.clone(),
            Books::Row | Books::Group(_) => gather(&self.levels, codes.groups() * per_book, order),
        };
        let scales = if self.scales.is_empty() {
            Vec::new()
        } else {
            gather(&self.scales, codes.groups(), order)
        };
        Self {
            shape: CodebookShape { rows: order.len(), ..self.shape },
            codes: gather(&self.codes, codes.row_bytes(), order),
            levels,
            scales,
        }
    }

    /// Restores row `row` into `out`.
    ///
    /// # Panics
    /// If there is no such row, or `out` does not hold exactly `cols` values.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        let CodebookShape { rows, cols, books, .. } = self.shape;
        assert!(row < rows, "row {row} of {rows}");
        assert_eq!(out.len(), cols, "one value per column");
        let codes = self.shape.codes();
        codes.unpack_row(&self.codes, row, out);
        let (first, count) = (codes.first(row), self.shape.levels_per_book());
        for (group, values) in out.chunks_mut(codes.span.weights(cols)).enumerate() {
            let (scale, book) = match books {
                Books::Scaled(_) => (self.scales[first + group], 0),
                Books::Tensor => (1.0, 0),
                Books::Row | Books::Group(_) => (1.0, first + group),
            };
            let levels = &self.levels[book * count..(book + 1) * count];
            for value in values {
                *value = scale * levels[*value as usize];
            }
        }
    }

    /// The levels of every codebook, times the scale where there is one.
    pub(crate) fn grid(&self) -> Grid {
        let CodebookShape { rows, cols, books, .. } = self.shape;
        let codes = self.shape.codes();
        let levels = match books {
            Books::Tensor | Books::Scaled(_) if self.levels.is_empty() => {
                Levels::Table(vec![0.0; self.shape.levels_per_book()].into())
            }
            Books::Tensor | Books::Scaled(_) => Levels::Table(self.levels.as_slice().into()),
            Books::Row | Books::Group(_) => {
                Levels::Tables { values: self.levels.clone(), count: 1 << self.shape.bits }
            }
        };
        let scales = match books {
            Books::Scaled(_) => self.scales.clone(),
            Books::Tensor | Books::Row | Books::Group(_) => vec![1.0; codes.numbers()],
        };
        let cut = match books {
            Books::Tensor => Cut::Flat((rows * cols).max(1)),
            Books::Row | Books::Group(_) | Books::Scaled(_) => codes.cut(),
        };
        Grid { rows, cols, cut, levels, scales, zeros: Vec::new(), offsets: Vec::new() }
    }

    pub(crate) fn grid_codes(&self) -> Vec<u8> {
        self.shape.codes().unpack(&self.codes)
    }

    pub(crate) fn set_grid_codes(&mut self, codes: &[u8]) {
        self.codes = self.shape.codes().pack(codes);
    }
}

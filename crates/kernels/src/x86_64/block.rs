//! How a matrix product is cut into the tiles that micro-kernels compute.

use std::ops::Range;

use crate::pack::bf16::LineBF16;
use crate::pack::blocks::LineU8;
use crate::pack::{LANE, LineF32, LineI8, PANEL};
use crate::{
    BlocksI8, Matrix, MatrixMut, PackedBF16, PackedBlocks, PackedF32, PackedI8, RowsBF16, RowsI8,
};

/// Sizes of the cuts, one constant per micro-kernel family.
pub(super) struct Blocking {
    /// Most rows of a tile.
    pub(super) rows: usize,
    /// Most rows of a tile that may be `panels_low` wide instead of `panels`.
    pub(super) rows_low: usize,
    /// Panels of a tile.
    pub(super) panels: usize,
    /// Panels of a low tile, which needs the width to hide the latency of its sums.
    pub(super) panels_low: usize,
    /// Panels that are gone through for all rows before the next ones: they stay in L2.
    pub(super) panels_block: usize,
    /// `k` steps that are gone through before the next ones: the rows of a tile stay in L1.
    pub(super) steps_block: usize,
}

/// A product of `rows × steps` by the panels `panels`.
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) panels: Range<usize>,
    pub(super) steps: usize,
}

impl Shape {
    /// The shape for the outputs in `outputs`, which begin with a panel.
    pub(super) fn new(rows: usize, outputs: &Range<usize>, steps: usize) -> Self {
        Self { rows, panels: outputs.start / PANEL..outputs.end.div_ceil(PANEL), steps }
    }
}

/// One call of a micro-kernel: `height` rows from `row`, `width` panels from `panel`.
pub(super) struct Tile {
    pub(super) row: usize,
    pub(super) height: usize,
    pub(super) panel: usize,
    pub(super) width: usize,
    pub(super) steps: Range<usize>,
}

impl Tile {
    /// Panics unless the tile lies inside `shape`.
    #[inline]
    fn check(&self, shape: &Shape) {
        assert!(self.height > 0 && self.row + self.height <= shape.rows, "tile rows");
        assert!(self.width > 0 && self.panel >= shape.panels.start, "tile panels");
        assert!(self.panel + self.width <= shape.panels.end, "tile panels");
        assert!(self.steps.start <= self.steps.end && self.steps.end <= shape.steps, "tile steps");
    }
}

/// Visits every tile of `shape` once, the steps of one place in rising order.
///
/// Every element of the output is a sum over `k` in rising order whatever the cuts are; this is
/// why a row of a product does not depend on the rows beside it.
#[inline]
pub(super) fn each_tile(shape: &Shape, blocking: &Blocking, mut visit: impl FnMut(&Tile)) {
    let heights = shape.rows.div_ceil(blocking.rows).max(1);
    let height_max = shape.rows.div_ceil(heights);
    for panels in cut(shape.panels.clone(), blocking.panels_block) {
        let mut steps = 0..shape.steps.min(blocking.steps_block);
        loop {
            let mut row = 0;
            while row < shape.rows {
                let height = height_max.min(shape.rows - row);
                let low = height <= blocking.rows_low;
                let width = if low { blocking.panels_low } else { blocking.panels };
                for range in cut(panels.clone(), width) {
                    let (panel, width) = (range.start, range.len());
                    visit(&Tile { row, height, panel, width, steps: steps.clone() });
                }
                row += height;
            }
            if steps.end == shape.steps {
                break;
            }
            steps = steps.end..shape.steps.min(steps.end + blocking.steps_block);
        }
    }
}

/// `range` in pieces of `size`.
fn cut(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(size).map(move |from| from..end.min(from + size))
}

/// The operands of an f32 product; lengths agree, which [`crate::Kernels::gemm_f32`] asserts.
pub(super) struct ProductF32<'a> {
    pub(super) x: Matrix<'a, f32>,
    pub(super) w: &'a PackedF32,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) outputs: Range<usize>,
    pub(super) out: MatrixMut<'a, f32>,
}

impl ProductF32<'_> {
    /// How it is cut.
    pub(super) fn shape(&self) -> Shape {
        Shape::new(self.x.rows(), &self.outputs, self.w.k())
    }

    /// Where `tile` begins: in the rows, in the lines of its first panel, in the output.
    ///
    /// The tile is checked, so these hold for what follows the pointers: `height` rows of
    /// `steps.len()` floats, `x.stride()` apart; `width` panels of `steps.len()` lines, `w.k()`
    /// lines apart; `height` rows of [`lanes`](Self::lanes) floats, `out.stride()` apart.
    #[inline]
    pub(super) fn corner(&mut self, tile: &Tile) -> (*const f32, *const LineF32, *mut f32) {
        tile.check(&self.shape());
        self.check();
        assert_eq!(self.x.cols(), self.w.k());
        let x = self.x.data()[tile.row * self.x.stride() + tile.steps.start..].as_ptr();
        let line = tile.panel * self.w.k() + tile.steps.start;
        let out = tile.row * self.out.stride() + tile.panel * PANEL - self.outputs.start;
        (x, self.w.data[line..].as_ptr(), self.out.as_mut_ptr().wrapping_add(out))
    }

    /// How many outputs panel `panel` has, 16 but for the last.
    #[inline]
    pub(super) fn lanes(&self, panel: usize) -> usize {
        PANEL.min(self.outputs.end - panel * PANEL)
    }

    fn check(&self) {
        assert!(self.outputs.end <= self.w.n() && self.outputs.start.is_multiple_of(PANEL));
        assert_eq!((self.out.rows(), self.out.cols()), (self.x.rows(), self.outputs.len()));
    }
}

/// The operands of an int8 product; lengths agree, which [`crate::Kernels::gemm_i8`] asserts.
pub(super) struct ProductI8<'a> {
    pub(super) x: &'a RowsI8,
    pub(super) w: &'a PackedI8,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) outputs: Range<usize>,
    pub(super) out: MatrixMut<'a, f32>,
}

impl ProductI8<'_> {
    /// How it is cut; a step is one line, four `k`.
    pub(super) fn shape(&self) -> Shape {
        Shape::new(self.x.rows(), &self.outputs, self.w.k().div_ceil(LANE))
    }

    /// Where `tile` begins: in the codes, in the lines of its first panel, in the output.
    ///
    /// The tile is checked, so these hold for what follows the pointers: `height` rows of
    /// `4 · steps` codes, `x.stride()` apart; `width` panels of `steps` lines, `⌈k/4⌉` lines
    /// apart; `height` rows of [`lanes`](Self::lanes) floats, `out.stride()` apart.
    #[inline]
    pub(super) fn corner(&mut self, tile: &Tile) -> (*const u8, *const LineI8, *mut f32) {
        let shape = self.shape();
        tile.check(&shape);
        assert!(tile.steps == (0..shape.steps), "an int8 sum is not cut");
        self.check();
        assert_eq!(self.x.cols(), self.w.k());
        let x = self.x.codes[tile.row * self.x.stride()..].as_ptr();
        let out = tile.row * self.out.stride() + tile.panel * PANEL - self.outputs.start;
        let line = tile.panel * shape.steps;
        (x, self.w.data[line..].as_ptr(), self.out.as_mut_ptr().wrapping_add(out))
    }

    /// How many outputs panel `panel` has, 16 but for the last.
    #[inline]
    pub(super) fn lanes(&self, panel: usize) -> usize {
        PANEL.min(self.outputs.end - panel * PANEL)
    }

    fn check(&self) {
        assert!(self.outputs.end <= self.w.n() && self.outputs.start.is_multiple_of(PANEL));
        assert_eq!((self.out.rows(), self.out.cols()), (self.x.rows(), self.outputs.len()));
    }
}

/// The operands of a bf16 product; lengths agree, which [`crate::Kernels::gemm_bf16`] asserts.
pub(super) struct ProductBF16<'a> {
    pub(super) x: &'a RowsBF16,
    pub(super) w: &'a PackedBF16,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) outputs: Range<usize>,
    pub(super) out: MatrixMut<'a, f32>,
}

impl ProductBF16<'_> {
    /// How it is cut; a step is one pair, two `k`.
    pub(super) fn shape(&self) -> Shape {
        Shape::new(self.x.rows(), &self.outputs, self.x.stride())
    }

    /// Where `tile` begins: in the pairs, in the lines of its first panel, in the output.
    ///
    /// The tile is checked, so these hold for what follows the pointers: `height` rows of `steps`
    /// pairs, as many apart; `width` panels of `steps` lines, as many apart; `height` rows of
    /// [`lanes`](Self::lanes) floats, `out.stride()` apart.
    #[inline]
    pub(super) fn corner(&mut self, tile: &Tile) -> (*const u32, *const LineBF16, *mut f32) {
        let shape = self.shape();
        tile.check(&shape);
        assert!(tile.steps == (0..shape.steps), "a bf16 sum is not cut");
        assert!(self.outputs.end <= self.w.n() && self.outputs.start.is_multiple_of(PANEL));
        assert_eq!((self.out.rows(), self.out.cols()), (self.x.rows(), self.outputs.len()));
        assert_eq!(self.x.cols(), self.w.k());
        assert!(self.x.pairs.len() == self.x.rows() * shape.steps);
        assert!(self.w.data.len() == self.w.n().div_ceil(PANEL) * shape.steps);
        let x = self.x.pairs[tile.row * shape.steps..].as_ptr();
        let out = tile.row * self.out.stride() + tile.panel * PANEL - self.outputs.start;
        let line = self.w.data[tile.panel * shape.steps..].as_ptr();
        (x, line, self.out.as_mut_ptr().wrapping_add(out))
    }

    /// How many outputs panel `panel` has, 16 but for the last.
    #[inline]
    pub(super) fn lanes(&self, panel: usize) -> usize {
        PANEL.min(self.outputs.end - panel * PANEL)
    }
}

/// The operands of a product over blocks; lengths agree, which [`crate::Kernels::gemm_blocks`]
/// asserts.
pub(super) struct ProductBlocks<'a> {
    pub(super) x: &'a BlocksI8,
    pub(super) w: &'a PackedBlocks,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) outputs: Range<usize>,
    pub(super) out: MatrixMut<'a, f32>,
}

impl<'a> ProductBlocks<'a> {
    /// The product of checked operands.
    pub(super) fn new(
        x: &'a BlocksI8,
        w: &'a PackedBlocks,
        bias: Option<&'a [f32]>,
        outputs: Range<usize>,
        out: MatrixMut<'a, f32>,
    ) -> Self {
        let (blocks, panels) = (x.blocks(), w.n().div_ceil(PANEL));
        assert_eq!((x.cols(), x.block()), (w.k(), w.shape().block));
        assert_eq!(w.shape().blocks(), blocks);
        assert!(x.stride() >= blocks * x.block() && x.codes.len() == x.rows() * x.stride());
        assert!([x.scales.len(), x.sums.len(), x.totals.len()] == [x.rows() * blocks; 3]);
        assert_eq!(w.scales.len(), panels * blocks);
        assert!(w.minima.is_empty() || w.minima.len() == panels * blocks);
        assert_eq!(w.codes.len(), panels * w.panel_lines());
        let product = Self { x, w, bias, outputs, out };
        product.check();
        product
    }

    /// How it is cut; a step is one block.
    pub(super) fn shape(&self) -> Shape {
        Shape::new(self.x.rows(), &self.outputs, self.x.blocks())
    }

    /// Where `tile` begins: in the codes of the rows, in the lines of its first panel, in the
    /// output.
    ///
    /// Operands and tile are checked, so these hold for what follows the pointers: `height` rows of
    /// `steps` whole blocks of codes, `x.stride()` apart; `width` panels of `w.panel_lines()`
    /// lines; `height` rows of [`lanes`](Self::lanes) floats, `out.stride()` apart. And `x.scales`,
    /// `x.sums`, `x.totals` hold `steps` values a row, `w.scales` and `w.minima` (or nothing)
    /// `steps` a panel.
    #[inline]
    pub(super) fn corner(&mut self, tile: &Tile) -> (*const i8, *const LineU8, *mut f32) {
        let shape = self.shape();
        tile.check(&shape);
        assert!(tile.steps == (0..shape.steps), "blocks are not cut");
        let (x, w) = (self.x, self.w);
        let codes = x.codes[tile.row * x.stride()..].as_ptr();
        let out = tile.row * self.out.stride() + tile.panel * PANEL - self.outputs.start;
        let line = tile.panel * w.panel_lines();
        (codes, w.codes[line..].as_ptr(), self.out.as_mut_ptr().wrapping_add(out))
    }

    /// How many outputs panel `panel` has, 16 but for the last.
    #[inline]
    pub(super) fn lanes(&self, panel: usize) -> usize {
        PANEL.min(self.outputs.end - panel * PANEL)
    }

    fn check(&self) {
        assert!(self.outputs.end <= self.w.n() && self.outputs.start.is_multiple_of(PANEL));
        assert_eq!((self.out.rows(), self.out.cols()), (self.x.rows(), self.outputs.len()));
    }
}

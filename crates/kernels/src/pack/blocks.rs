//! Operands of the product over blocks: weights in 4 or 8 bits with a scale for every few columns,
//! activations in int8.

use half::f16;

use super::{LANE, Line, PANEL};
use crate::shared::Shared;

/// One load of a panel's codes.
pub(crate) type LineU8 = Line<u8, { PANEL * LANE }>;
/// The scales, or minima, of 16 outputs in one block.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(crate) struct Halves(pub(crate) [u16; PANEL]);

const ZERO_CODES: LineU8 = Line([0; PANEL * LANE]);
const ZERO_HALVES: Halves = Halves([0; PANEL]);
/// What the bytes of a table are above the level they stand for, so that none is negative.
const TABLE_ZERO: i32 = 128;
/// The power of two that the largest scale or minimum of a row is brought to: as far below the
/// end of f16 as needed, as far above its subnormal numbers as possible.
const TOP_EXPONENT: i32 = 14;

/// What the codes of [`PackedBlocks`] stand for, before scale and minimum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CodeLevels {
    /// 4 bits: code − zero, zero at most 15.
    Four(u8),
    /// 8 bits: code − zero.
    Eight(u8),
    /// 4 bits into a table. Products with int8 round the levels to 8 bits of the largest, unless
    /// they are whole numbers up to 127: then they are exact. Has no minima.
    Table([f32; 16]),
}

/// Size of a weight packed in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockShape {
    /// Outputs.
    pub n: usize,
    /// Inputs.
    pub k: usize,
    /// Columns that share a scale: 16 or 32. The last block of a row may be shorter.
    pub block: usize,
}

impl BlockShape {
    /// Blocks of a row.
    pub fn blocks(&self) -> usize {
        self.k.div_ceil(self.block)
    }
}

/// A row on its way into [`PackedBlocks`]; zeros to begin with.
#[derive(Debug)]
pub struct BlockRow<'a> {
    /// `k` codes, one a byte.
    pub codes: &'a mut [u8],
    /// The scale of every block.
    pub scales: &'a mut [f32],
    /// What is added in every block; left alone where there are no minima.
    pub minima: &'a mut [f32],
}

/// A weight of `n × k` in 4 or 8 bits, packed for `y = x · Wᵀ`: in block `b` of row `i`
/// `W = factor[i] · (scale[i][b] · level + minimum[i][b])`, scales and minima in f16.
///
/// Layout: `⌈n/16⌉` panels, each `⌈k/block⌉` blocks of `block / 8` lines (4 bits) or `block / 4`
/// (8 bits). Byte `(i, t)` of line `j` of a block belongs to output `16·p + i`: column `4·j + t`
/// in 8 bits, columns `8·j + t` (low half) and `8·j + 4 + t` (high half) in 4 bits. The scales of
/// the 16 outputs of a block lie side by side.
#[derive(Clone, Debug)]
pub struct PackedBlocks {
    shape: BlockShape,
    pub(super) levels: CodeLevels,
    /// Codes to unsigned bytes, for 4 bits.
    pub(crate) table: [u8; 16],
    /// What a byte of the table is above its level.
    pub(crate) zero: i32,
    /// What a step of the table is worth.
    pub(crate) unit: f32,
    pub(crate) codes: Shared<LineU8>,
    pub(crate) scales: Shared<Halves>,
    pub(crate) minima: Shared<Halves>,
    /// A factor for every output, up to a whole panel.
    pub(crate) factors: Shared<f32>,
}

impl PackedBlocks {
    /// Packs the rows that `fill` gives, called once for each in order. `with_minima` says
    /// whether there are any. Scales and minima are kept to 11 bits; a scale that a row has for
    /// all its blocks is kept exactly.
    ///
    /// # Panics
    /// If the block is not 16 or 32, a code of 4 bits is above 15, or a table has minima.
    pub fn new(
        shape: BlockShape,
        levels: CodeLevels,
        with_minima: Minima,
        mut fill: impl FnMut(usize, BlockRow<'_>),
    ) -> Self {
        assert!(matches!(shape.block, 16 | 32), "blocks of {}", shape.block);
        let mut packed = Self::empty(shape, levels, with_minima);
        let blocks = shape.blocks();
        let mut codes = vec![0; shape.k];
        let (mut scales, mut minima) = (vec![0.0; blocks], vec![0.0; blocks]);
        for row in 0..shape.n {
            codes.fill(0);
            scales.fill(0.0);
            minima.fill(0.0);
            let room = BlockRow { codes: &mut codes, scales: &mut scales, minima: &mut minima };
            fill(row, room);
            packed.put_codes(row, &codes);
            packed.put_scales(row, &scales, &minima);
        }
        packed
    }

    /// No rows, room for all of them.
    fn empty(shape: BlockShape, levels: CodeLevels, with_minima: Minima) -> Self {
        let mut packed = Self::without_rows(shape, levels);
        let (panels, blocks) = (shape.n.div_ceil(PANEL), shape.blocks());
        packed.codes = Vec::with_capacity(panels * packed.panel_lines()).into();
        packed.scales = vec![ZERO_HALVES; panels * blocks].into();
        if with_minima == Minima::Some {
            assert!(packed.unit == 1.0, "a table has no minima");
            packed.minima = vec![ZERO_HALVES; panels * blocks].into();
        }
        packed.factors = vec![0.0; panels * PANEL].into();
        packed
    }

    /// Its numbers, no sections.
    pub(super) fn without_rows(shape: BlockShape, levels: CodeLevels) -> Self {
        let (table, zero, unit) = integers(levels);
        Self {
            shape,
            levels,
            table,
            zero,
            unit,
            codes: Shared::default(),
            scales: Shared::default(),
            minima: Shared::default(),
            factors: Shared::default(),
        }
    }

    /// Rows come in order: the first of a panel adds the lines of the panel.
    fn put_codes(&mut self, row: usize, codes: &[u8]) {
        let (four, panel) = (self.is_four(), self.panel_lines());
        let lines = self.codes.to_mut();
        if row.is_multiple_of(PANEL) {
            lines.resize(lines.len() + panel, ZERO_CODES);
        }
        let lines = &mut lines[row / PANEL * panel..][..panel];
        let at = row % PANEL * LANE;
        if !four {
            for (line, codes) in lines.iter_mut().zip(codes.chunks(LANE)) {
                line.0[at..at + codes.len()].copy_from_slice(codes);
            }
            return;
        }
        assert!(codes.iter().fold(0, |all, code| all | code) < 16, "a code of 4 bits");
        let (whole, rest) = codes.as_chunks::<{ 2 * LANE }>();
        for (line, codes) in lines.iter_mut().zip(whole) {
            for (t, byte) in line.0[at..at + LANE].iter_mut().enumerate() {
                *byte = codes[t] | codes[t + LANE] << 4;
            }
        }
        for (t, &code) in rest.iter().enumerate() {
            lines[whole.len()].0[at + t % LANE] |= code << (t / LANE * 4);
        }
    }

    fn put_scales(&mut self, row: usize, scales: &[f32], minima: &[f32]) {
        let (panel, lane, blocks) = (row / PANEL, row % PANEL, scales.len());
        let alike = self.minima.is_empty() && scales.iter().all(|s| *s == scales[0]);
        let factor = match scales.first() {
            Some(&scale) if alike => scale,
            _ => power_below(scales.iter().chain(minima)),
        };
        self.factors.to_mut()[row] = factor;
        let half = |value: f32| if alike { f16::ONE } else { f16::from_f32(value / factor) };
        let put = |values: &[f32], all: &mut Shared<Halves>| {
            let all = &mut all.to_mut()[panel * blocks..];
            for (halves, &value) in all.iter_mut().zip(values) {
                halves.0[lane] = half(value).to_bits();
            }
        };
        put(scales, &mut self.scales);
        if !self.minima.is_empty() {
            put(minima, &mut self.minima);
        }
    }

    /// Writes row `row` in f32, `k` values, as products with f32 see it.
    ///
    /// # Panics
    /// If there is no such row, or `out` is not `k` long.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.shape.n && out.len() == self.shape.k, "row {row}");
        let (panel, lane, blocks) = (row / PANEL, row % PANEL, self.shape.blocks());
        for (column, value) in out.iter_mut().enumerate() {
            let at = panel * blocks + column / self.shape.block;
            let scale = f16::from_bits(self.scales[at].0[lane]).to_f32();
            let minimum = self.minima.get(at).map_or(0.0, |m| f16::from_bits(m.0[lane]).to_f32());
            let level = self.level(panel, lane, column);
            *value = level.mul_add(scale, minimum) * self.factors[row];
        }
    }

    /// The level of one weight.
    pub(crate) fn level(&self, panel: usize, lane: usize, column: usize) -> f32 {
        let lines = &self.codes[panel * self.panel_lines()..];
        let at = lane * LANE + column % LANE;
        match self.levels {
            CodeLevels::Eight(zero) => f32::from(lines[column / LANE].0[at]) - f32::from(zero),
            CodeLevels::Four(_) | CodeLevels::Table(_) => {
                let byte = lines[column / (2 * LANE)].0[at];
                let code = usize::from(byte >> (column / LANE % 2 * 4) & 15);
                self.levels_f32()[code]
            }
        }
    }

    /// What codes of 4 bits stand for.
    pub(crate) fn levels_f32(&self) -> [f32; 16] {
        match self.levels {
            CodeLevels::Table(levels) => levels,
            CodeLevels::Four(zero) | CodeLevels::Eight(zero) => {
                std::array::from_fn(|code| code as f32 - f32::from(zero))
            }
        }
    }

    /// Whether codes have 4 bits.
    pub(crate) fn is_four(&self) -> bool {
        !matches!(self.levels, CodeLevels::Eight(_))
    }

    /// Lines of a block.
    pub(crate) fn block_lines(&self) -> usize {
        if self.is_four() { self.shape.block / (2 * LANE) } else { self.shape.block / LANE }
    }

    /// Lines of a panel.
    pub(crate) fn panel_lines(&self) -> usize {
        self.shape.blocks() * self.block_lines()
    }

    /// Size.
    pub fn shape(&self) -> BlockShape {
        self.shape
    }

    /// Outputs of the product.
    pub fn n(&self) -> usize {
        self.shape.n
    }

    /// Length of the dot products.
    pub fn k(&self) -> usize {
        self.shape.k
    }

    /// Bytes held.
    pub fn size_bytes(&self) -> usize {
        let halves = (self.scales.len() + self.minima.len()) * size_of::<Halves>();
        self.codes.len() * size_of::<LineU8>() + halves + self.factors.len() * 4
    }
}

/// Whether weights in blocks have something added to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minima {
    /// Scales only.
    None,
    /// A minimum for every block.
    Some,
}

/// The table that brings codes to unsigned bytes, how far those lie above the levels, and what
/// one of them is worth.
fn integers(levels: CodeLevels) -> ([u8; 16], i32, f32) {
    let same = std::array::from_fn(|code| code as u8);
    match levels {
        CodeLevels::Four(zero) | CodeLevels::Eight(zero) => (same, i32::from(zero), 1.0),
        CodeLevels::Table(levels) => {
            let largest = levels.iter().fold(0.0f32, |max, level| max.max(level.abs()));
            let whole = levels.iter().all(|level| level.fract() == 0.0) && largest <= 127.0;
            let unit = if whole || largest == 0.0 { 1.0 } else { largest / 127.0 };
            let byte = |level: f32| ((level / unit).round() as i32 + TABLE_ZERO) as u8;
            (levels.map(byte), TABLE_ZERO, unit)
        }
    }
}

/// The power of two that brings the largest of `values` to [`TOP_EXPONENT`]; 1 for zeros.
fn power_below<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    let largest = values.fold(0.0f32, |max, value| max.max(value.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return 1.0;
    }
    let exponent = largest.log2().floor() as i32 - TOP_EXPONENT;
    (exponent.clamp(-126, 127) as f32).exp2()
}

/// How int8 codes of activations are scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    /// By the largest magnitude of every 32 columns.
    Block,
    /// By the largest magnitude of the row.
    Row,
    /// By this scale; what lies beyond 127 of it is cut.
    Fixed(f32),
}

/// Columns that [`Scaling::Block`] gives one scale.
pub(crate) const SCALED: usize = 32;

/// Activations in int8 with a scale for every block: the left operand of
/// [`Kernels::gemm_blocks`](crate::Kernels::gemm_blocks). Reusable between calls.
#[derive(Clone, Debug, Default)]
pub struct BlocksI8 {
    /// Rows padded to whole blocks of 32 with zeros.
    pub(crate) codes: Vec<i8>,
    /// Per row and block: the scale, the sum of the codes, and their product.
    pub(crate) scales: Vec<f32>,
    pub(crate) sums: Vec<i32>,
    pub(crate) totals: Vec<f32>,
    rows: usize,
    cols: usize,
    block: usize,
}

impl BlocksI8 {
    /// Rows held.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns held (without padding).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Columns of a block.
    pub fn block(&self) -> usize {
        self.block
    }

    /// Blocks of a row.
    pub(crate) fn blocks(&self) -> usize {
        self.cols.div_ceil(self.block.max(1))
    }

    /// Codes between rows.
    pub(crate) fn stride(&self) -> usize {
        self.cols.next_multiple_of(SCALED)
    }

    /// What row `i` stands for: `code · scale`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn values(&self, i: usize) -> impl Iterator<Item = f32> + '_ {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        let scales = &self.scales[i * self.blocks()..];
        let codes = &self.codes[i * self.stride()..][..self.cols];
        codes.iter().enumerate().map(|(at, &code)| f32::from(code) * scales[at / self.block])
    }

    /// Makes room; what the codes are is unspecified.
    pub(crate) fn reset(&mut self, rows: usize, cols: usize, block: usize) {
        (self.rows, self.cols, self.block) = (rows, cols, block);
        let blocks = rows * self.blocks();
        self.codes.resize(rows * self.stride(), 0);
        self.scales.resize(blocks, 0.0);
        self.sums.resize(blocks, 0);
        self.totals.resize(blocks, 0.0);
    }
}

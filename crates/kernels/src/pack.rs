//! Right-hand operands of the matrix products, in the order the micro-kernels read them.

pub(crate) mod bf16;
pub(crate) mod blocks;
pub(crate) mod section;

use std::ops::Range;

use crate::shared::Shared;
use crate::{Matrix, kernels};

/// Output columns per panel: one AVX-512 register of f32, two of AVX2.
pub(crate) const PANEL: usize = 16;
/// Consecutive `k` values that one VNNI lane multiplies.
pub(crate) const LANE: usize = 4;
/// The middle of the codes of activations.
pub(crate) const ZERO_CODE: i32 = 128;

/// One step of a panel: 64 bytes that start on a cache line, so that no load straddles two.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line<T, const N: usize>(pub(crate) [T; N]);

/// One `k` of an f32 panel: the weights of 16 outputs.
pub(crate) type LineF32 = Line<f32, PANEL>;
/// Four consecutive `k` of an int8 panel: 16 outputs × 4.
pub(crate) type LineI8 = Line<i8, { PANEL * LANE }>;

const ZERO_F32: LineF32 = Line([0.0; PANEL]);
const ZERO_I8: LineI8 = Line([0; PANEL * LANE]);

/// A packed weight.
pub trait Operand {
    /// Outputs of the product.
    fn n(&self) -> usize;
}

impl Operand for PackedF32 {
    fn n(&self) -> usize {
        self.n
    }
}

impl Operand for PackedI8 {
    fn n(&self) -> usize {
        self.n
    }
}

impl Operand for blocks::PackedBlocks {
    fn n(&self) -> usize {
        self.shape().n
    }
}

/// Some outputs of a packed weight, so that several threads share a product; or all of them.
#[derive(Clone, Debug)]
pub struct Outputs<'a, W> {
    pub(crate) weight: &'a W,
    pub(crate) outputs: Range<usize>,
}

impl<'a, W: Operand> Outputs<'a, W> {
    /// Outputs that a part may begin with are multiples of this.
    pub const STEP: usize = PANEL;

    /// The outputs in `outputs`.
    ///
    /// # Panics
    /// If there are fewer, or the first is no multiple of [`Outputs::STEP`].
    pub fn new(weight: &'a W, outputs: Range<usize>) -> Self {
        assert!(outputs.start <= outputs.end && outputs.end <= weight.n(), "outputs out of range");
        assert!(outputs.start.is_multiple_of(Self::STEP), "outputs begin inside a panel");
        Self { weight, outputs }
    }
}

impl<'a, W: Operand> From<&'a W> for Outputs<'a, W> {
    fn from(weight: &'a W) -> Self {
        Self { weight, outputs: 0..weight.n() }
    }
}

impl<'a, W: Operand> From<&'a mut W> for Outputs<'a, W> {
    fn from(weight: &'a mut W) -> Self {
        Self::from(&*weight)
    }
}

/// An f32 weight `W` of `n × k` packed for `y = x · Wᵀ`.
///
/// Layout: `⌈n/16⌉` panels, each `k` lines of 16: element `i` of line `j` of panel `p` is
/// `W[16·p + i][j]`; missing outputs are zero.
#[derive(Clone, Debug, Default)]
pub struct PackedF32 {
    pub(crate) data: Shared<LineF32>,
    n: usize,
    k: usize,
}

impl PackedF32 {
    /// Packs `w` (`n × k`, one row per output).
    pub fn new(w: Matrix<'_, f32>) -> Self {
        let mut packed = Self::default();
        packed.pack(w);
        packed
    }

    /// Packs `w` (`n × k`) in place, reusing the allocation.
    pub fn pack(&mut self, w: Matrix<'_, f32>) {
        kernels().pack_f32(w, self);
    }

    /// Packs the transpose of `w` (`k × n`, one column per output) in place.
    pub fn pack_transposed(&mut self, w: Matrix<'_, f32>) {
        self.reset(w.cols(), w.rows());
        let data = self.data.to_mut();
        for p in 0..self.n.div_ceil(PANEL) {
            let columns = p * PANEL..self.n.min((p + 1) * PANEL);
            for (j, line) in data[p * self.k..][..self.k].iter_mut().enumerate() {
                let row = &w.row(j)[columns.clone()];
                if let Ok(whole) = <&[f32; PANEL]>::try_from(row) {
                    line.0 = *whole;
                } else {
                    *line = ZERO_F32;
                    line.0[..row.len()].copy_from_slice(row);
                }
            }
        }
    }

    /// Fills it with values that lie in its order already: those of `⌈n/16⌉` panels, by inputs,
    /// then by outputs.
    ///
    /// # Panics
    /// If there are more or fewer.
    pub fn fill(&mut self, values: &[f32], (n, k): (usize, usize)) {
        self.reset(n, k);
        let (lines, rest) = values.as_chunks::<PANEL>();
        assert!(rest.is_empty() && lines.len() == self.data.len(), "values of a packed weight");
        self.data.to_mut().iter_mut().zip(lines).for_each(|(line, values)| line.0 = *values);
    }

    /// Makes room for `n × k`; what the lines hold is unspecified.
    pub(crate) fn reset(&mut self, n: usize, k: usize) {
        self.n = n;
        self.k = k;
        self.data.to_mut().resize(n.div_ceil(PANEL) * k, ZERO_F32);
    }

    /// Outputs of the product.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Length of the dot products.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Bytes held.
    pub fn size_bytes(&self) -> usize {
        self.data.len() * size_of::<LineF32>()
    }
}

/// An int8 weight of `n × k` with one f32 scale per row, packed for `y = x · Wᵀ` on int8 dots.
///
/// Layout: `⌈n/16⌉` panels, each `⌈k/4⌉` lines of 16 × 4 bytes: element `(i, t)` of line `j` of
/// panel `p` is `W[16·p + i][4·j + t]`. `sums[i] = Σ_k W[i][k]` undoes the
/// zero of the activations, which is not the code 0.
#[derive(Clone, Debug, Default)]
pub struct PackedI8 {
    pub(crate) data: Shared<LineI8>,
    pub(crate) scales: Shared<f32>,
    pub(crate) sums: Shared<i32>,
    n: usize,
    k: usize,
}

impl PackedI8 {
    /// Packs `codes` (`n × k`) with `scales` (`n`): weight = code · scale of its row.
    ///
    /// # Panics
    /// If `scales.len() != codes.rows()`.
    pub fn new(codes: Matrix<'_, i8>, scales: &[f32]) -> Self {
        let (n, k) = (codes.rows(), codes.cols());
        assert_eq!(scales.len(), n, "one scale per row");
        let panels = n.div_ceil(PANEL);
        let panel_len = k.div_ceil(LANE);
        let (mut data, mut sums) = (vec![ZERO_I8; panels * panel_len], vec![0; panels * PANEL]);
        for row in 0..n {
            let panel = &mut data[(row / PANEL) * panel_len..][..panel_len];
            for (j, &code) in codes.row(row).iter().enumerate() {
                panel[j / LANE].0[(row % PANEL) * LANE + j % LANE] = code;
            }
            sums[row] = codes.row(row).iter().map(|&code| i32::from(code)).sum();
        }
        let mut scales = scales.to_vec();
        scales.resize(panels * PANEL, 0.0);
        Self { data: data.into(), scales: scales.into(), sums: sums.into(), n, k }
    }

    /// Outputs of the product.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Length of the dot products.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Bytes held.
    pub fn size_bytes(&self) -> usize {
        self.data.len() * size_of::<LineI8>() + self.scales.len() * 8
    }
}

/// Activations in 8 bits: per row a scale and the code of zero, value = `scale · (code − zero)`
/// with codes of 0 to 255.
///
/// Rows are padded to a multiple of 4 bytes with the code of zero. Made by
/// [`Kernels::quantize_rows`](crate::Kernels::quantize_rows); reusable between calls.
#[derive(Clone, Debug, Default)]
pub struct RowsI8 {
    pub(crate) codes: Vec<u8>,
    pub(crate) scales: Vec<f32>,
    pub(crate) zeros: Vec<u8>,
    /// What the products of a row lack: they begin with `Σ weight · (code − 128)`.
    pub(crate) offsets: Vec<f32>,
    rows: usize,
    cols: usize,
}

impl RowsI8 {
    /// Rows held.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns held (without padding).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes between rows.
    pub(crate) fn stride(&self) -> usize {
        self.cols.next_multiple_of(LANE)
    }

    /// Scale of row `i`: value = code · scale, codes counted from that of zero.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn scale(&self, i: usize) -> f32 {
        self.scales[i]
    }

    /// The code of 0 in row `i`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn zero(&self, i: usize) -> u8 {
        self.zeros[i]
    }

    /// Sets how row `i` is coded.
    pub(crate) fn code_row(&mut self, i: usize, scale: f32, zero: u8) {
        (self.scales[i], self.zeros[i]) = (scale, zero);
        self.offsets[i] = scale * (ZERO_CODE - i32::from(zero)) as f32;
    }

    /// Codes of row `i`, counted from that of zero, each in −255..=255.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn codes(&self, i: usize) -> impl Iterator<Item = i16> + '_ {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        let row = &self.codes[i * self.stride()..][..self.cols];
        row.iter().map(move |&code| i16::from(code) - i16::from(self.zeros[i]))
    }

    /// Makes room for `rows × cols`; what the codes are is unspecified until
    /// [`Kernels::quantize_row`](crate::Kernels::quantize_row) sets them.
    pub fn reset(&mut self, rows: usize, cols: usize) {
        self.rows = rows;
        self.cols = cols;
        self.codes.resize(rows * cols.next_multiple_of(LANE), ZERO_CODE as u8);
        self.scales.resize(rows, 0.0);
        self.zeros.resize(rows, ZERO_CODE as u8);
        self.offsets.resize(rows, 0.0);
    }
}

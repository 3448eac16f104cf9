//! One table of functions per level, resolved once per process.

use std::ops::Range;
use std::sync::OnceLock;

use crate::pack::bf16::LineBF16;
use crate::pack::{LineF32, PANEL};
use crate::pick::PickKernels;
use crate::scan::ScanKernels;
#[cfg(target_arch = "x86_64")]
use crate::x86_64;
use crate::{
    BlocksI8, Level, Matrix, MatrixMut, Outputs, PackedBF16, PackedBlocks, PackedF32, PackedI8,
    RowsBF16, RowsI8, Scaling, scalar,
};

type Pair<T, R> = fn(&[T], &[T]) -> R;
type GemmF32 = fn(Matrix<'_, f32>, &PackedF32, Option<&[f32]>, Range<usize>, MatrixMut<'_, f32>);
type GemmBlocks = fn(&BlocksI8, &PackedBlocks, Option<&[f32]>, Range<usize>, MatrixMut<'_, f32>);
type GemmBF16 = fn(&RowsBF16, &PackedBF16, Option<&[f32]>, Range<usize>, MatrixMut<'_, f32>);
type GemmF16 = fn(Matrix<'_, f32>, &[u16], MatrixMut<'_, f32>);
type GemmI8 = fn(&RowsI8, &PackedI8, Option<&[f32]>, Range<usize>, MatrixMut<'_, f32>);

/// Panels decoded at a time: 1536 columns of 4 are 400 kB of L2.
const EXPANDED: usize = 4;

/// Most rows that [`Kernels::gemm_f16`] multiplies without widening: it widens once for each four.
const F16_ROWS: usize = 8;
/// Most inputs, in which an f32 product has one sum.
const F16_STEPS: usize = 384;

/// What codes are multiplied by in [`Kernels::widen_i8`].
#[derive(Clone, Copy, Debug)]
pub enum WidenScales<'a> {
    /// One scale for every output, up to a whole panel of 16.
    Outputs(&'a [f32]),
    /// One scale for every input.
    Inputs(&'a [f32]),
}

/// The kernels of one [`Level`]. Lengths are checked here, so the functions behind need no checks.
#[derive(Debug)]
pub struct Kernels {
    pub(crate) level: Level,
    pub(crate) dot_f32: Pair<f32, f32>,
    pub(crate) l2_f32: Pair<f32, f32>,
    pub(crate) l1_f32: Pair<f32, f32>,
    pub(crate) products_f32: Pair<f32, [f32; 3]>,
    pub(crate) dot_i8: Pair<i8, i32>,
    pub(crate) gemm_f32: GemmF32,
    pub(crate) gemm_i8: GemmI8,
    pub(crate) gemm_bf16: GemmBF16,
    pub(crate) round_row: fn(&[f32], &mut [u32]),
    pub(crate) shares_bf16: fn(&mut [f32], f32, &mut [u32]) -> f32,
    pub(crate) pack_bf16: fn(Matrix<'_, f32>, &mut [LineBF16]),
    pub(crate) pack_bf16_transposed: fn(Matrix<'_, f32>, &mut [LineBF16]),
    pub(crate) gemm_blocks: GemmBlocks,
    pub(crate) expand: fn(&PackedBlocks, usize, &mut [LineF32]),
    pub(crate) transpose: fn(Matrix<'_, f32>, &mut [LineF32]),
    pub(crate) widen_f16: fn(&[u16], &mut [LineF32]),
    /// Where it is faster than widening first, for few rows.
    pub(crate) gemm_f16: Option<GemmF16>,
    pub(crate) widen_i8_outputs: fn(&[i8], &[f32], usize, &mut [LineF32]),
    pub(crate) widen_i8_inputs: fn(&[i8], &[f32], &mut [LineF32]),
    pub(crate) gelu: fn(&mut [f32]),
    pub(crate) exponentials: fn(&mut [f32], f32) -> f32,
    pub(crate) swiglu: fn(&[f32], &[f32], &mut [f32]),
    pub(crate) scale: fn(&mut [f32], f32),
    pub(crate) add: fn(&mut [f32], &[f32]),
    pub(crate) multiply: fn(&[f32], &[f32], &mut [f32]),
    pub(crate) layer_norm: fn(&mut [f32], &[f32], &[f32], f32),
    pub(crate) quantize_rows: fn(Matrix<'_, f32>, &mut RowsI8),
    pub(crate) quantize_row: fn(&[f32], usize, &mut RowsI8),
    pub(crate) quantize_blocks: fn(Matrix<'_, f32>, Scaling, usize, &mut BlocksI8),
    pub(crate) pick: &'static PickKernels,
    pub(crate) scan: &'static ScanKernels,
}

static SCALAR: Kernels = Kernels {
    level: Level::Scalar,
    dot_f32: scalar::distance::dot_f32,
    l2_f32: scalar::distance::l2_f32,
    l1_f32: scalar::distance::l1_f32,
    products_f32: scalar::distance::products_f32,
    dot_i8: scalar::distance::dot_i8,
    gemm_f32: scalar::gemm::gemm_f32,
    gemm_i8: scalar::gemm::gemm_i8,
    gemm_bf16: scalar::bf16::gemm_bf16,
    round_row: scalar::bf16::round_row,
    shares_bf16: scalar::bf16::shares,
    pack_bf16: scalar::bf16::pack,
    pack_bf16_transposed: scalar::bf16::pack_transposed,
    gemm_blocks: scalar::blocks::gemm_blocks,
    expand: scalar::blocks::expand,
    transpose: scalar::gemm::transpose,
    widen_f16: scalar::widen::widen_f16,
    gemm_f16: None,
    widen_i8_outputs: scalar::widen::widen_i8_outputs,
    widen_i8_inputs: scalar::widen::widen_i8_inputs,
    gelu: scalar::row::gelu,
    exponentials: scalar::row::exponentials,
    swiglu: scalar::row::swiglu,
    scale: scalar::row::scale,
    add: scalar::row::add,
    multiply: scalar::row::multiply,
    layer_norm: scalar::row::layer_norm,
    quantize_rows: scalar::row::quantize_rows,
    quantize_row: scalar::row::quantize_row,
    quantize_blocks: scalar::blocks::quantize_blocks,
    pick: &scalar::pick::TABLE,
    scan: &scalar::scan::TABLE,
};

/// The table of the best level of this CPU, or of the one `KVANT_SIMD` names.
///
/// Resolved on first use. A name that is unknown, or a level this CPU lacks, falls back to the
/// best available one; [`Level::from_str`](std::str::FromStr) tells a door which it was.
pub fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let forced = std::env::var("KVANT_SIMD").ok().and_then(|name| name.parse().ok());
        forced.and_then(Kernels::at).or_else(|| Kernels::at(Level::best())).unwrap_or(&SCALAR)
    })
}

/// Asserts that the operands of a product fit: rows and columns of `x`, outputs and inputs of `w`.
fn check(
    (rows, cols): (usize, usize),
    (n, k): (usize, usize),
    outputs: usize,
    bias: Option<&[f32]>,
    out: &MatrixMut<'_, f32>,
) {
    assert_eq!(cols, k, "inner lengths differ");
    assert_eq!((out.rows(), out.cols()), (rows, outputs), "output shape");
    assert!(bias.is_none_or(|bias| bias.len() == n), "bias length");
}

impl Kernels {
    /// The table of `level`, if this CPU can run it.
    pub fn at(level: Level) -> Option<&'static Self> {
        if !level.available() {
            return None;
        }
        match level {
            Level::Scalar => Some(&SCALAR),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => Some(&x86_64::avx2::TABLE),
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => Some(&x86_64::avxvnni::TABLE),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Some(&x86_64::avx512::TABLE),
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::AvxVnni | Level::Avx512 => None,
        }
    }

    /// The level of this table.
    pub fn level(&self) -> Level {
        self.level
    }

    /// `Σ a·b`, off by at most `(n + 3)·u·Σ|a·b|`, with `u = 2⁻²⁴` and `n` the length.
    ///
    /// The bound holds for every level whatever the order of adding (Higham, Accuracy and
    /// Stability of Numerical Algorithms, §4.2). NaN anywhere gives NaN.
    pub fn dot_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "dot of different lengths");
        (self.dot_f32)(a, b)
    }

    /// Squared Euclidean distance, `Σ (a−b)²`, off by at most `(n + 3)·u` of itself.
    pub fn l2_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "l2 of different lengths");
        (self.l2_f32)(a, b)
    }

    /// Manhattan distance, `Σ |a−b|`, off by at most `(n + 3)·u` of itself.
    pub fn l1_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "l1 of different lengths");
        (self.l1_f32)(a, b)
    }

    /// Cosine similarity in −1..=1, off by at most `2·(n + 4)·u`; 0 if either vector is zero.
    ///
    /// The squares of the values must be in the range of f32.
    pub fn cosine_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "cosine of different lengths");
        let [dot, a, b] = (self.products_f32)(a, b).map(f64::from);
        let norm = (a * b).sqrt();
        if norm == 0.0 { 0.0 } else { (dot / norm).clamp(-1.0, 1.0) as f32 }
    }

    /// `Σ a·b` in i32, exact for fewer than 2¹⁷ elements.
    pub fn dot_i8(&self, a: &[i8], b: &[i8]) -> i32 {
        assert_eq!(a.len(), b.len(), "dot of different lengths");
        (self.dot_i8)(a, b)
    }

    /// `out = x · Wᵀ + bias`: `x` is `m × k`, `w` packs `n × k` (or is a [`Outputs`] of such a
    /// weight), `out` is `m × n` and `bias` that of all outputs.
    ///
    /// A row of `out` depends only on the same row of `x`, bit for bit, whatever `m` is. An element
    /// is off by at most `(k + 2)·u·(Σ|x·w| + |bias|)`, with `u = 2⁻²⁴`.
    pub fn gemm_f32<'a>(
        &self,
        x: Matrix<'_, f32>,
        w: impl Into<Outputs<'a, PackedF32>>,
        bias: Option<&[f32]>,
        out: MatrixMut<'_, f32>,
    ) {
        let Outputs { weight: w, outputs } = w.into();
        check((x.rows(), x.cols()), (w.n(), w.k()), outputs.len(), bias, &out);
        (self.gemm_f32)(x, w, bias, outputs, out);
    }

    /// `out = x · Wᵀ + bias` with int8 operands: with `c` the codes of `x` and `z` that of zero,
    /// `fma(Σ (c − 128)·w, scale of x · scale of w, fma(scale of x · (128 − z), Σ w · scale of w,
    /// bias))`, the sums exact for `k` below 2¹⁶.
    ///
    /// The same bits at every level and whatever `m` is.
    pub fn gemm_i8<'a>(
        &self,
        x: &RowsI8,
        w: impl Into<Outputs<'a, PackedI8>>,
        bias: Option<&[f32]>,
        out: MatrixMut<'_, f32>,
    ) {
        let Outputs { weight: w, outputs } = w.into();
        check((x.rows(), x.cols()), (w.n(), w.k()), outputs.len(), bias, &out);
        (self.gemm_i8)(x, w, bias, outputs, out);
    }

    /// `out = x · Wᵀ + bias` over blocks: with `F` the factor of an output and in block `b` `s`,
    /// `t` the scales of `x` and `W` and `m` the minimum, `F · Σ_b (s·t · Σ x·level + m · s·Σ x) +
    /// bias`.
    ///
    /// Sums inside a block are exact. The same bits at every level and whatever the number of rows.
    pub fn gemm_blocks<'a>(
        &self,
        x: &BlocksI8,
        w: impl Into<Outputs<'a, PackedBlocks>>,
        bias: Option<&[f32]>,
        out: MatrixMut<'_, f32>,
    ) {
        let Outputs { weight: w, outputs } = w.into();
        assert_eq!((x.cols(), x.block()), (w.k(), w.shape().block), "inner lengths differ");
        assert_eq!((out.rows(), out.cols()), (x.rows(), outputs.len()), "output shape");
        assert!(bias.is_none_or(|bias| bias.len() == w.n()), "bias length");
        (self.gemm_blocks)(x, w, bias, outputs, out);
    }

    /// `out = x · Wᵀ + bias` over blocks with f32 activations: a few panels at a time are decoded
    /// to `memory`, as [`PackedBlocks::decode_row`] says, and multiplied as by
    /// [`Kernels::gemm_f32`].
    pub fn gemm_blocks_f32<'a>(
        &self,
        x: Matrix<'_, f32>,
        w: impl Into<Outputs<'a, PackedBlocks>>,
        bias: Option<&[f32]>,
        memory: &mut PackedF32,
        mut out: MatrixMut<'_, f32>,
    ) {
        let Outputs { weight: w, outputs } = w.into();
        check((x.rows(), x.cols()), (w.n(), w.k()), outputs.len(), bias, &out);
        for from in outputs.clone().step_by(EXPANDED * PANEL) {
            let range = from..outputs.end.min(from + EXPANDED * PANEL);
            memory.reset(range.len(), w.k());
            for (panel, lines) in memory.data.to_mut().chunks_mut(w.k().max(1)).enumerate() {
                (self.expand)(w, from / PANEL + panel, lines);
            }
            let bias = bias.map(|bias| &bias[range.clone()]);
            let part = out.columns_mut(from - outputs.start..range.end - outputs.start);
            (self.gemm_f32)(x, memory, bias, 0..range.len(), part);
        }
    }

    /// Quantizes `x` to int8 for [`Kernels::gemm_blocks`] with weights in blocks of `block`
    /// columns, 16 or 32: codes rounded to even, off by at most half a scale (where
    /// [`Scaling::Fixed`] does not cut).
    ///
    /// The same codes and scales at every level. Magnitudes below 1e-30 count as zeros; NaN and
    /// infinity become the scale, so that the products are NaN.
    pub fn quantize_blocks(
        &self,
        x: Matrix<'_, f32>,
        scaling: Scaling,
        block: usize,
        out: &mut BlocksI8,
    ) {
        assert!(matches!(block, 16 | 32), "blocks of {block}");
        (self.quantize_blocks)(x, scaling, block, out);
    }

    /// `out = x · Wᵀ + bias` of operands in bf16, summed in f32: off by at most
    /// `(k + 3)·u·Σ|x·w| + k·1.2e-38`, with `u = 2⁻²⁴`: what is smaller than a normal number may
    /// count as zero.
    pub fn gemm_bf16<'a>(
        &self,
        x: &RowsBF16,
        w: impl Into<Outputs<'a, PackedBF16>>,
        bias: Option<&[f32]>,
        out: MatrixMut<'_, f32>,
    ) {
        let Outputs { weight: w, outputs } = w.into();
        check((x.rows(), x.cols()), (w.n(), w.k()), outputs.len(), bias, &out);
        (self.gemm_bf16)(x, w, bias, outputs, out);
    }

    /// Rounds `x` to bf16, ties to even, as row `m` of `rows`, whose shape [`RowsBF16::reset`] set.
    ///
    /// The same at every level. What is smaller than a normal number becomes zero, NaN stays NaN.
    pub fn round_row(&self, x: &[f32], m: usize, rows: &mut RowsBF16) {
        assert!(m < rows.rows() && x.len() == rows.cols(), "row {m} of bf16");
        let stride = rows.stride();
        (self.round_row)(x, &mut rows.pairs[m * stride..][..stride]);
    }

    /// Packs `w` (`n × k`, one row per output) into `packed`, rounded as by
    /// [`Kernels::round_row`], reusing its allocation.
    pub fn pack_bf16(&self, w: Matrix<'_, f32>, packed: &mut PackedBF16) {
        packed.reset(w.rows(), w.cols());
        (self.pack_bf16)(w, packed.data.to_mut());
    }

    /// As [`Kernels::pack_bf16`] from the transpose of `w` (`k × n`, one column per output).
    pub fn pack_bf16_transposed(&self, w: Matrix<'_, f32>, packed: &mut PackedBF16) {
        packed.reset(w.cols(), w.rows());
        (self.pack_bf16_transposed)(w, packed.data.to_mut());
    }

    /// Packs `w` (`n × k`, one row per output) into `packed`, reusing its allocation;
    /// [`PackedF32::pack`] with the functions of this table.
    pub fn pack_f32(&self, w: Matrix<'_, f32>, packed: &mut PackedF32) {
        packed.reset(w.rows(), w.cols());
        (self.transpose)(w, packed.data.to_mut());
    }

    /// Fills `packed` (`n × k`) with numbers of f16 that lie in its order: by panels of 16 outputs,
    /// by inputs, by outputs.
    pub fn widen_f16(&self, halves: &[u16], (n, k): (usize, usize), packed: &mut PackedF32) {
        packed.reset(n, k);
        assert_eq!(halves.len(), packed.data.len() * PANEL, "values of a packed weight");
        (self.widen_f16)(halves, packed.data.to_mut());
    }

    /// `out = x · Wᵀ` over numbers of f16 that lie as [`Kernels::widen_f16`] wants them, with the
    /// bits of widening to `memory` and [`Kernels::gemm_f32`].
    ///
    /// # Panics
    /// If there are more or fewer numbers.
    pub fn gemm_f16(
        &self,
        x: Matrix<'_, f32>,
        halves: &[u16],
        memory: &mut PackedF32,
        out: MatrixMut<'_, f32>,
    ) {
        check((x.rows(), x.cols()), (out.cols(), x.cols()), out.cols(), None, &out);
        let direct = self.gemm_f16.filter(|_| x.rows() <= F16_ROWS && x.cols() <= F16_STEPS);
        if let Some(direct) = direct {
            direct(x, halves, out);
        } else {
            self.widen_f16(halves, (out.cols(), x.cols()), memory);
            self.gemm_f32(x, &*memory, None, out);
        }
    }

    /// As [`Kernels::widen_f16`], from int8 codes with a scale for every output, or for every
    /// input.
    pub fn widen_i8(
        &self,
        codes: &[i8],
        scales: WidenScales<'_>,
        (n, k): (usize, usize),
        packed: &mut PackedF32,
    ) {
        packed.reset(n, k);
        assert_eq!(codes.len(), packed.data.len() * PANEL, "values of a packed weight");
        match scales {
            WidenScales::Outputs(scales) => {
                assert_eq!(scales.len(), n.next_multiple_of(PANEL), "a scale for every output");
                if k > 0 {
                    (self.widen_i8_outputs)(codes, scales, k, packed.data.to_mut());
                }
            }
            WidenScales::Inputs(scales) => {
                assert_eq!(scales.len(), k, "a scale for every input");
                if k > 0 {
                    (self.widen_i8_inputs)(codes, scales, packed.data.to_mut());
                }
            }
        }
    }

    /// Quantizes each row of `x` to 8 bits by its range, which 0 belongs to (`scale = (max − min) /
    /// 255`, codes rounded to even): off by at most half a scale, and 0 stays 0.
    ///
    /// The same codes and scales at every level. A row of magnitudes below 1e-30 becomes zeros; one
    /// with NaN or infinity gets that as its scale, so that its products are NaN.
    pub fn quantize_rows(&self, x: Matrix<'_, f32>, rows: &mut RowsI8) {
        (self.quantize_rows)(x, rows);
    }

    /// Quantizes `x` to the row `m` of `rows`, whose shape [`RowsI8::reset`] set; the codes and the
    /// scale are those of [`Kernels::quantize_rows`].
    pub fn quantize_row(&self, x: &[f32], m: usize, rows: &mut RowsI8) {
        assert!(m < rows.rows() && x.len() == rows.cols(), "row {m} of codes");
        (self.quantize_row)(x, m, rows);
    }

    /// GELU in its exact (erf) form, in place: off by at most 2e-6 for `|x| ≤ 8`, beyond that by
    /// the rounding of `x`. NaN stays NaN.
    pub fn gelu(&self, x: &mut [f32]) {
        (self.gelu)(x);
    }

    /// Softmax of one row, in place: each value is off by at most `5e-6 + n·u` of itself, with `n`
    /// the length and `u = 2⁻²⁴`; values under 1.2e-38 of the largest may become 0.
    ///
    /// −∞ gives 0. NaN, +∞, or nothing but −∞ make the whole row NaN.
    pub fn softmax(&self, x: &mut [f32]) {
        let sum = (self.exponentials)(x, 1.0);
        (self.scale)(x, 1.0 / sum);
    }

    /// `out = gate · σ(gate) · up` (Shazeer, 2020): off by at most 2e-6 of itself for `|gate| ≤
    /// 80`, and by 1e-30·(1 + |gate|)·|up| beyond. NaN stays NaN.
    pub fn swiglu(&self, gate: &[f32], up: &[f32], out: &mut [f32]) {
        assert!(gate.len() == out.len() && up.len() == out.len(), "swiglu lengths");
        (self.swiglu)(gate, up, out);
    }

    /// Layer normalisation of one row, in place: `(x − mean) / √(var + eps) · gain + bias`.
    ///
    /// With `z` the normalised value and `σ = √(var + eps)`, off by at most
    /// `(n + 6)·u·max|x|/σ·(1 + |z|)·|gain| + 6·u·(|z·gain| + |bias|)`.
    pub fn layer_norm(&self, x: &mut [f32], gain: &[f32], bias: &[f32], eps: f32) {
        assert!(x.len() == gain.len() && x.len() == bias.len(), "layer norm lengths");
        (self.layer_norm)(x, gain, bias, eps);
    }

    /// `x ← x + other`, the residual of a block.
    pub fn add(&self, x: &mut [f32], other: &[f32]) {
        assert_eq!(x.len(), other.len(), "sum of different lengths");
        (self.add)(x, other);
    }

    /// `out = a · b`, element by element.
    pub fn multiply(&self, a: &[f32], b: &[f32], out: &mut [f32]) {
        assert!(a.len() == b.len() && a.len() == out.len(), "product of different lengths");
        (self.multiply)(a, b, out);
    }
}

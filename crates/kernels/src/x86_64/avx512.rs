//! AVX-512 F/BW/DQ/VL with VNNI: 16 floats or 64 bytes at a time.

mod bf16;
mod blocks;
mod count;
mod dense;
mod distance;
mod gemm;
mod pick;
mod row;
mod scan;
mod widen;

use crate::Level;
use crate::table::Kernels;

/// Every entry calls a function that needs the features of [`Level::Avx512`]. The table is reached
/// only through [`Kernels::at`], which hands it out after [`Level::available`] found them all.
pub(crate) static TABLE: Kernels = Kernels {
    level: Level::Avx512,
    // SAFETY: the CPU has the features, see above.
    dot_f32: |a, b| unsafe { distance::dot_f32(a, b) },
    // SAFETY: the CPU has the features, see above.
    l2_f32: |a, b| unsafe { distance::l2_f32(a, b) },
    // SAFETY: the CPU has the features, see above.
    l1_f32: |a, b| unsafe { distance::l1_f32(a, b) },
    // SAFETY: the CPU has the features, see above.
    products_f32: |a, b| unsafe { distance::products_f32(a, b) },
    // SAFETY: the CPU has the features, see above.
    dot_i8: |a, b| unsafe { distance::dot_i8(a, b) },
    // SAFETY: the CPU has the features, see above.
    gemm_f32: |x, w, bias, of, out| unsafe { gemm::gemm_f32(x, w, bias, of, out) },
    // SAFETY: the CPU has the features, see above.
    gemm_i8: |x, w, bias, of, out| unsafe { gemm::gemm_i8(x, w, bias, of, out) },
    // SAFETY: the CPU has the features, see above.
    gemm_bf16: |x, w, bias, of, out| unsafe { bf16::gemm_bf16(x, w, bias, of, out) },
    // SAFETY: the CPU has the features, see above.
    round_row: |row, pairs| unsafe { bf16::round_row(row, pairs) },
    // SAFETY: the CPU has the features, see above.
    shares_bf16: |x, scale, pairs| unsafe { bf16::shares(x, scale, pairs) },
    // SAFETY: the CPU has the features, see above.
    pack_bf16: |w, lines| unsafe { bf16::pack(w, lines) },
    // SAFETY: the CPU has the features, see above.
    pack_bf16_transposed: |w, lines| unsafe { bf16::pack_transposed(w, lines) },
    // SAFETY: the CPU has the features, see above.
    gemm_blocks: |x, w, bias, of, out| unsafe { blocks::gemm_blocks(x, w, bias, of, out) },
    // SAFETY: the CPU has the features, see above.
    quantize_blocks: |x, by, block, out| unsafe { blocks::quantize_blocks(x, by, block, out) },
    // SAFETY: the CPU has the features, see above.
    expand: |w, panel, lines| unsafe { blocks::expand(w, panel, lines) },
    // SAFETY: the CPU has the features, see above.
    widen_f16: |halves, lines| unsafe { widen::widen_f16(halves, lines) },
    // SAFETY: the CPU has the features, see above.
    gemm_f16: Some(|x, halves, out| unsafe { widen::gemm_f16(x, halves, out) }),
    // SAFETY: the CPU has the features, see above.
    widen_i8_outputs: |c, s, k, lines| unsafe { widen::widen_i8_outputs(c, s, k, lines) },
    // SAFETY: the CPU has the features, see above.
    widen_i8_inputs: |c, s, lines| unsafe { widen::widen_i8_inputs(c, s, lines) },
    // SAFETY: the CPU has the features, see above.
    transpose: |w, lines| unsafe { gemm::transpose(w, lines) },
    // SAFETY: the CPU has the features, see above.
    gelu: |x| unsafe { row::gelu(x) },
    // SAFETY: the CPU has the features, see above.
    exponentials: |x, scale| unsafe { row::exponentials(x, scale) },
    // SAFETY: the CPU has the features, see above.
    swiglu: |gate, up, out| unsafe { row::swiglu(gate, up, out) },
    // SAFETY: the CPU has the features, see above.
    scale: |x, factor| unsafe { row::scale(x, factor) },
    // SAFETY: the CPU has the features, see above.
    add: |x, other| unsafe { row::add(x, other) },
    // SAFETY: the CPU has the features, see above.
    multiply: |a, b, out| unsafe { row::multiply(a, b, out) },
    // SAFETY: the CPU has the features, see above.
    layer_norm: |x, gain, bias, eps| unsafe { row::layer_norm(x, gain, bias, eps) },
    // SAFETY: the CPU has the features, see above.
    quantize_rows: |x, rows| unsafe { row::quantize_rows(x, rows) },
    // SAFETY: the CPU has the features, see above.
    quantize_row: |x, m, rows| unsafe { row::quantize_row(x, m, rows) },
    pick: &pick::TABLE,
    scan: &scan::TABLE,
};

//! AVX-VNNI: AVX2, whose rooms it shares, with products of four bytes added at once.

mod blocks;
mod distance;
mod gemm;

use super::avx2;
use crate::Level;
use crate::table::Kernels;

/// Every entry calls a function that needs the features of [`Level::AvxVnni`], or of the level
/// below it. The table is reached only through [`Kernels::at`], which hands it out after
/// [`Level::available`] found them all.
pub(crate) static TABLE: Kernels = Kernels {
    level: Level::AvxVnni,
    // SAFETY: the CPU has the features, see above.
    dot_i8: |a, b| unsafe { distance::dot_i8(a, b) },
    // SAFETY: the CPU has the features, see above.
    gemm_i8: |x, w, bias, of, out| unsafe { gemm::gemm_i8(x, w, bias, of, out) },
    // SAFETY: the CPU has the features, see above.
    gemm_blocks: |x, w, bias, of, out| unsafe { blocks::gemm_blocks(x, w, bias, of, out) },
    ..avx2::TABLE
};

//! Arithmetic on slices: the scalar specification and the SIMD levels chosen once per process.
//!
//! Everything Kvant computes in a hot loop is here: distances, sums by tables, matrix products in
//! f32, bf16, int8 and over blocks of 4 or 8 bits, the row functions of a transformer. [`kernels`]
//! returns the table of functions of the best level this CPU has (or of `KVANT_SIMD`); callers take
//! `&'static Kernels` and never ask again.
//!
//! **Invariant:** this crate imports nothing of the house, does no IO, allocates only packed
//! operands, and returns no errors: lengths are asserted before any pointer is formed.

mod attention;
mod dense;
mod fetch;
mod level;
#[expect(unsafe_code, reason = "a view cut by columns is a pointer and a stride")]
mod matrix;
mod pack;
mod pick;
#[expect(unsafe_code, reason = "a job borrows from its caller, workers outlive it")]
mod pool;
mod scalar;
mod scan;
#[cfg(target_arch = "x86_64")]
mod series;
#[expect(unsafe_code, reason = "numbers are viewed as bytes, lent ones through a pointer")]
mod shared;
mod table;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "pointer loads and calls of functions that need CPU features")]
mod x86_64;

pub use attention::{AttentionScratch, Head};
pub use dense::{DenseQuery, DenseWidth};
pub use fetch::fetch;
pub use level::{Level, LevelError};
pub use matrix::{Matrix, MatrixMut};
pub use pack::bf16::{PackedBF16, RowsBF16};
pub use pack::blocks::{BlockRow, BlockShape, BlocksI8, CodeLevels, Minima, PackedBlocks, Scaling};
pub use pack::section::PACKED_LAYOUT;
pub use pack::{Operand, Outputs, PackedF32, PackedI8, RowsI8};
pub use pick::{Half, PackedQuery, Packing, Picked, PlaneQuery, Sum};
pub use pool::{Cores, CoresError, PinError, Pool};
pub use scan::{BLOCK_ROWS, ENTRIES, ENTRY_MAX, Estimate, ScanTables, code_place};
pub use shared::{Lender, Plain, Shared};
pub use table::{Kernels, WidenScales, kernels};

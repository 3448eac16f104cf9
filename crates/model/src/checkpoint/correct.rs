//! Low-rank corrections: the product of two small matrices beside a coded weight.

use kvant_kernels::{Matrix, MatrixMut, PackedF32, kernels};
use kvant_quant::Coded;

use super::Checkpoint;
use crate::{Dense, LoadError, Weight};

/// What stands behind the name of a weight that `B·A` is to be added to: `A` is `rank × cols`,
/// `B` is `rows × rank`.
pub(crate) const CORRECTION: [&str; 2] = ["_lowrank_a", "_lowrank_b"];

impl Checkpoint {
    /// `coded` as it is, or decoded and corrected if the tensor `name` has a correction.
    pub(super) fn corrected(&self, name: &str, coded: Coded) -> Result<Weight, LoadError> {
        let [a, b] = CORRECTION.map(|part| format!("{name}{part}"));
        if !self.tensor_or_part(&a) {
            return Ok(Weight::Coded(coded));
        }
        let (a_values, b_values) = (self.dense(&a)?, self.dense(&b)?);
        let (rows, cols, rank) = (coded.rows(), coded.cols(), a_values.rows());
        for (part, dense, shape) in [(&a, &a_values, [rank, cols]), (&b, &b_values, [rows, rank])] {
            if dense.shape() != shape {
                let why = format!("is {:?}, expected {shape:?}", dense.shape());
                return Err(self.fail(part, why));
            }
        }
        let mut values = coded.decode();
        let mut transposed = PackedF32::default();
        transposed.pack_transposed(a_values.matrix());
        let mut product = vec![0.0; values.len()];
        let out = MatrixMut::new(&mut product, rows, cols);
        kernels().gemm_f32(Matrix::new(b_values.values(), rows, rank), &transposed, None, out);
        values.iter_mut().zip(&product).for_each(|(value, add)| *value += add);
        Ok(Weight::Dense(Dense::owned(vec![rows, cols], values)))
    }
}

//! Low-rank corrections: the product of two small matrices beside a coded weight.

use kvant_kernels::{Matrix, MatrixMut, PackedF32, kernels};
use kvant_quant::Coded;

use super::{Checkpoint, Raw};
use crate::activation::{INPUT_SCALE, SMOOTH};
use crate::{Dense, LoadError, View, Weight};

/// What stands behind the name of a weight that `B·A` is to be added to: `A` is `rank × cols`,
/// `B` is `rows × rank`.
pub(crate) const CORRECTION: [&str; 2] = ["_lowrank_a", "_lowrank_b"];

/// The weight that the tensor `name` belongs to as a correction or as a scale of its input, and
/// what stands behind the weight's name.
pub(crate) fn owner(name: &str) -> Option<(String, &'static str)> {
    let behind = CORRECTION
        .into_iter()
        .chain([SMOOTH])
        .find_map(|suffix| name.strip_suffix(suffix).map(|weight| (weight.to_owned(), suffix)));
    let scale = || name.strip_suffix(INPUT_SCALE).map(|layer| format!("{layer}weight"));
    behind.or_else(|| scale().map(|weight| (weight, INPUT_SCALE)))
}

/// The name of what [`owner`] takes apart.
pub(crate) fn owned(weight: &str, suffix: &str) -> String {
    match weight.strip_suffix("weight") {
        Some(layer) if suffix == INPUT_SCALE => format!("{layer}{suffix}"),
        _ => format!("{weight}{suffix}"),
    }
}

impl Checkpoint {
    /// The codes of the tensor `name`, if it is stored as such, without its correction, and what
    /// they stand for.
    pub(crate) fn codes(&self, name: &str) -> Result<Option<(Coded, View)>, LoadError> {
        let Some(record) = self.record(name, self.raw(name)?) else { return Ok(None) };
        Ok(Some((self.assemble(name, &record)?, record.view)))
    }

    /// The corrections and input scales of the weight `name`.
    pub(crate) fn beside(&self, name: &str) -> impl Iterator<Item = (&str, &Raw)> {
        let suffixes = CORRECTION.into_iter().chain([SMOOTH, INPUT_SCALE]);
        let found = suffixes.filter_map(move |suffix| {
            let part = owned(name, suffix);
            (part != name).then(|| self.raw.get_key_value(&part)).flatten()
        });
        found.map(|(name, raw)| (name.as_str(), raw))
    }

    /// `dense` as the network means it: without the factors its columns were multiplied by.
    pub(super) fn unsmoothed(&self, name: &str, dense: Dense) -> Result<Dense, LoadError> {
        let factors = self.smooth(name, dense.cols())?;
        if factors.is_empty() {
            return Ok(dense);
        }
        let rows = dense.values().chunks_exact(factors.len());
        let values = rows.flat_map(|row| row.iter().zip(&factors).map(|(value, by)| value / by));
        let values = values.collect();
        Ok(Dense::owned(dense.shape().to_vec(), values))
    }

    /// `coded` as it is; decoded if it has another output axis than the first, and corrected if
    /// the tensor `name` has a correction.
    pub(super) fn corrected(
        &self,
        name: &str,
        view: &View,
        coded: Coded,
    ) -> Result<Weight, LoadError> {
        let folded = |values| Dense::owned(view.shape().to_vec(), view.fold(values));
        let [a, b] = CORRECTION.map(|part| format!("{name}{part}"));
        if !self.tensor_or_part(&a) {
            return Ok(match view.axis() {
                0 => Weight::Coded(coded),
                _ => Weight::Dense(folded(coded.decode())),
            });
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
        Ok(Weight::Dense(folded(values)))
    }
}

//! A matrix cut into the parts that share a scale, as the fits see them.

use std::borrow::Cow;

use kvant_kernels::Matrix;

use super::search::Target;
use crate::{Cut, Fit};

/// Calls `each` with every part of `w` in the order of the scales: the row it begins in, its
/// weights and their importance. Allocates only where a part spans rows.
pub(crate) fn parts<E>(
    w: Matrix<'_, f32>,
    cut: Cut,
    fit: &Fit<'_>,
    mut each: impl FnMut(usize, Target<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (rows, cols) = (w.rows(), w.cols());
    if rows * cols == 0 {
        return Ok(());
    }
    match cut {
        Cut::Rows(len) => {
            for row in 0..rows {
                for (group, values) in w.row(row).chunks(len).enumerate() {
                    let columns = group * len..group * len + values.len();
                    let importance = fit.importance.map_or(&[][..], |all| &all[columns]);
                    each(row, Target { values, importance })?;
                }
            }
        }
        Cut::Flat(len) => {
            for start in (0..rows * cols).step_by(len) {
                let range = start..(start + len).min(rows * cols);
                let importance: Vec<f32> = fit.importance.map_or_else(Vec::new, |all| {
                    range.clone().map(|index| all[index % cols]).collect()
                });
                let values = if w.stride() == cols {
                    Cow::Borrowed(&w.data()[range])
                } else {
                    Cow::Owned(range.map(|index| w.row(index / cols)[index % cols]).collect())
                };
                each(start / cols, Target { values: &values, importance: &importance })?;
            }
        }
    }
    Ok(())
}

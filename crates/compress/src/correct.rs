//! Low-rank corrections of what codes leave of a model's weights.

use kvant_kernels::Matrix;
use kvant_model::{Dense, TensorInfo};
use kvant_quant::measure;

use crate::draft::Change;
use crate::quantize::loss;
use crate::worker::each;
use crate::{Calibration, Draft, LowRank, Moment, PassError};

/// What a low-rank correction makes of one coded tensor.
struct Corrected {
    low: LowRank,
    rows: usize,
    cols: usize,
    change: Change,
    /// The bias that goes with it, where that has taken up the error of the codes.
    bias: Option<(String, Dense)>,
}

/// Stores the largest directions of every error beside the codes.
pub(crate) fn correct(
    draft: &mut Draft,
    seen: Option<&Calibration>,
    rank: usize,
    threads: usize,
) -> Result<(), PassError> {
    let coded =
        |tensor: &&TensorInfo| matches!(draft.change(&tensor.name), Some(Change::Coded(..)));
    let names: Vec<String> =
        draft.tensors().iter().filter(coded).map(|tensor| tensor.name.clone()).collect();
    let found = each(threads, &names, |name| corrected(draft, name, seen, rank));
    for (name, found) in names.into_iter().zip(found) {
        let Some(Corrected { low, rows, cols, change, bias }) = found? else { continue };
        draft.set(name.clone(), change);
        if let Some((bias, values)) = bias {
            draft.balance(bias, values);
        }
        let a = Dense::owned(vec![low.rank, cols], low.a);
        let b = Dense::owned(vec![rows, low.rank], low.b);
        draft.attach(format!("{name}_lowrank_a"), a);
        draft.attach(format!("{name}_lowrank_b"), b);
    }
    Ok(())
}

fn corrected(
    draft: &Draft,
    name: &str,
    seen: Option<&Calibration>,
    rank: usize,
) -> Result<Option<Corrected>, PassError> {
    let Some(Change::Coded(coded, ..)) = draft.change(name) else { return Ok(None) };
    let dense = draft.matrix(name)?;
    let (rows, cols) = (coded.rows(), coded.cols());
    let pairs = dense.values().iter().zip(coded.decode());
    let error: Vec<f32> = pairs.map(|(value, restored)| value - restored).collect();
    let seen = seen.filter(|_| !draft.is_turned(name));
    let moment = seen.and_then(|seen| seen.of(name));
    let bias = crate::site::bias(name).filter(|bias| draft.is_balanced(bias));
    let centered = moment.filter(|_| bias.is_some()).and_then(Moment::centered);
    let under = centered.as_ref().or(moment).filter(|moment| moment.matrix().is_some());
    let hessian = under.and_then(Moment::matrix);
    let low = LowRank::of(Matrix::new(&error, rows, cols), hessian, rank);
    let mut product = vec![0.0; rows * cols];
    low.add_to(&mut product);
    let bias = match (bias, moment) {
        (Some(bias), Some(moment)) => {
            let dense = draft.dense(&bias)?;
            // The bias has the mean of the whole error; this part of it comes back.
            let returned = product.chunks_exact(cols.max(1)).map(|row| {
                let terms = row.iter().zip(&moment.mean);
                terms.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>() as f32
            });
            let values = dense.values().iter().zip(returned).map(|(value, back)| value - back);
            Some((bias, Dense::owned(dense.shape().to_vec(), values.collect())))
        }
        (None, _) | (_, None) => None,
    };
    let restored: Vec<f32> =
        coded.decode().iter().zip(&product).map(|(value, part)| value + part).collect();
    let stats = measure(dense.values(), &restored);
    let lost = |restored: &[f32]| loss(dense.matrix(), restored, under);
    let under_h = under.map(|_| (lost(&restored) / lost(&vec![0.0; rows * cols])).sqrt());
    let change = Change::Coded(coded.clone(), stats, under_h.filter(|h| h.is_finite()));
    Ok(Some(Corrected { low, rows, cols, change, bias }))
}

//! Half-quadratic quantization: offsets without data (Badri and Shaji, 2023).

use kvant_kernels::Matrix;
use kvant_quant::Coded;

/// Rounds, the norm of the errors, and how the weight of the constraint starts and grows: the
/// values of the authors.
const ROUNDS: usize = 20;
const NORM: f32 = 0.7;
const BETA: f32 = 10.0;
const GROWTH: f32 = 1.01;

/// Moves the offsets of `coded`, a fit to `w`, so that `Σ|w − ŵ|^0.7` falls: errors are split
/// into a few large ones, which are let be, and the rest, whose mean each group's offset takes
/// up. The best round stays. Formats without free offsets stay as they are.
pub(super) fn refine(w: Matrix<'_, f32>, coded: &mut Coded) {
    let grid = coded.grid();
    if grid.offsets.is_empty() {
        return;
    }
    let mut best = (error(w, &coded.decode()), coded.clone());
    let mut beta = BETA;
    for _ in 0..ROUNDS {
        let grid = coded.grid();
        let codes = grid.nearest(w);
        let restored = grid.restore(&codes);
        let offsets = offsets(w, &grid, &restored, beta);
        coded.set_codes(&codes);
        if !coded.set_scales(&grid.scales, &offsets) {
            break;
        }
        let codes = coded.grid().nearest(w);
        coded.set_codes(&codes);
        let now = error(w, &coded.decode());
        if now < best.0 {
            best = (now, coded.clone());
        }
        beta *= GROWTH;
    }
    *coded = best.1;
}

/// The offset of every group plus the mean of its errors that are not let be.
fn offsets(w: Matrix<'_, f32>, grid: &kvant_quant::Grid, restored: &[f32], beta: f32) -> Vec<f32> {
    let mut offsets = grid.offsets.clone();
    let mut sums = vec![(0.0f32, 0u32); offsets.len()];
    for row in 0..grid.rows {
        for (col, value) in w.row(row).iter().enumerate() {
            let error = value - restored[row * grid.cols + col];
            let sum = &mut sums[grid.index(row, col)];
            *sum = (sum.0 + error - shrink(error, beta), sum.1 + 1);
        }
    }
    for (offset, (sum, count)) in offsets.iter_mut().zip(sums) {
        *offset += sum / count.max(1) as f32;
    }
    offsets
}

/// The part of an error that is let be: the proximal step of the norm.
fn shrink(error: f32, beta: f32) -> f32 {
    let size = error.abs();
    if size == 0.0 {
        return 0.0;
    }
    (size - size.powf(NORM - 1.0) / beta).max(0.0).copysign(error)
}

fn error(w: Matrix<'_, f32>, restored: &[f32]) -> f64 {
    let rows = restored.chunks_exact(w.cols().max(1)).enumerate();
    let lost = |(row, restored): (usize, &[f32])| -> f64 {
        let pairs = w.row(row).iter().zip(restored);
        pairs.map(|(w, back)| f64::from((w - back).abs().powf(NORM))).sum()
    };
    rows.map(lost).sum()
}

#[cfg(test)]
mod tests {
    use kvant_quant::{Fit, Observer, Scheme};
    use kvant_testkit::Random;

    use super::*;

    #[test]
    fn offsets_lower_the_norm_and_codes_stay_in_range() {
        let mut values = Random::new(4).normals(16 * 64);
        values.iter_mut().step_by(37).for_each(|v| *v *= 6.0);
        let w = Matrix::new(&values, 16, 64);
        for name in ["linear3", "linear4:g64", "q4_1"] {
            let scheme: Scheme = name.parse().unwrap();
            let fit = Fit { observer: Observer::Mse, importance: None };
            let mut coded = scheme.fit(w, &fit).unwrap();
            let before = error(w, &coded.decode());
            refine(w, &mut coded);
            let after = error(w, &coded.decode());
            assert!(after < before, "{name}: {before} to {after}");
            assert_eq!(coded.scheme(), scheme);
        }
    }

    #[test]
    fn formats_without_offsets_stay() {
        let values = Random::new(5).normals(4 * 64);
        let w = Matrix::new(&values, 4, 64);
        let mut coded = "q4_0".parse::<Scheme>().unwrap().encode(w).unwrap();
        let before = coded.clone();
        refine(w, &mut coded);
        assert_eq!(coded, before);
    }
}

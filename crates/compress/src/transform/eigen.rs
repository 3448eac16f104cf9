//! Eigenvectors of small symmetric matrices.

/// Sweeps over all pairs; a handful is enough at the sizes used here.
const SWEEPS: usize = 30;

/// Diagonalises the symmetric `a` (`size × size`) in place and returns its orthonormal
/// eigenvectors as rows, that of the largest eigenvalue first; the eigenvalues are then on the
/// diagonal of `a`, in the same order.
///
/// Cyclic Jacobi rotations (Golub and Van Loan, *Matrix Computations*, §8.5): slow, `O(size³)`
/// a sweep, and as exact as f64 allows.
pub(super) fn eigen(a: &mut [f64], size: usize) -> Vec<f64> {
    assert_eq!(a.len(), size * size, "a square matrix");
    let mut vectors = vec![0.0; size * size];
    vectors.iter_mut().step_by(size + 1).for_each(|value| *value = 1.0);
    for _ in 0..SWEEPS {
        let mut turned = false;
        for p in 0..size {
            for q in p + 1..size {
                turned |= turn(a, &mut vectors, size, (p, q));
            }
        }
        if !turned {
            break;
        }
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&i, &j| a[j * size + j].total_cmp(&a[i * size + i]));
    let values: Vec<f64> = order.iter().map(|&at| a[at * size + at]).collect();
    a.fill(0.0);
    a.iter_mut().step_by(size + 1).zip(values).for_each(|(place, value)| *place = value);
    order.iter().flat_map(|&at| &vectors[at * size..(at + 1) * size]).copied().collect()
}

/// Makes `a[p, q]` zero; false if it is already, against its diagonal.
fn turn(a: &mut [f64], vectors: &mut [f64], size: usize, (p, q): (usize, usize)) -> bool {
    let (app, aqq, apq) = (a[p * size + p], a[q * size + q], a[p * size + q]);
    if apq.abs() <= f64::EPSILON * (app * aqq).abs().sqrt() || !apq.is_finite() {
        return false;
    }
    let theta = (aqq - app) / (2.0 * apq);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = (t * t + 1.0).sqrt().recip();
    let s = t * c;
    for k in 0..size {
        let (kp, kq) = (a[k * size + p], a[k * size + q]);
        a[k * size + p] = c * kp - s * kq;
        a[k * size + q] = s * kp + c * kq;
    }
    for k in 0..size {
        let (pk, qk) = (a[p * size + k], a[q * size + k]);
        a[p * size + k] = c * pk - s * qk;
        a[q * size + k] = s * pk + c * qk;
        let (vp, vq) = (vectors[p * size + k], vectors[q * size + k]);
        vectors[p * size + k] = c * vp - s * vq;
        vectors[q * size + k] = s * vp + c * vq;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    #[test]
    fn vectors_and_values_put_the_matrix_together_again() {
        for size in [0, 1, 2, 7, 30] {
            let mut random = Random::new(size as u64);
            let mut a = vec![0.0; size * size];
            for i in 0..size {
                for j in 0..=i {
                    let value = random.normal();
                    (a[i * size + j], a[j * size + i]) = (value, value);
                }
            }
            let mut values = a.clone();
            let vectors = eigen(&mut values, size);
            for i in 0..size {
                for j in 0..size {
                    let terms = (0..size).map(|k| {
                        values[k * size + k] * vectors[k * size + i] * vectors[k * size + j]
                    });
                    let sum: f64 = terms.sum();
                    assert!((sum - a[i * size + j]).abs() < 1e-12, "{size}: {sum}");
                    let dot: f64 =
                        (0..size).map(|k| vectors[i * size + k] * vectors[j * size + k]).sum();
                    assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-13, "{size}: {dot}");
                }
            }
            let sorted = |at: usize| values[at * size + at] >= values[(at + 1) * size + at + 1];
            assert!((1..size).all(|at| sorted(at - 1)));
        }
    }
}

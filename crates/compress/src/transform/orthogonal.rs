//! Random rotations that are quick to apply.

use super::random::Random;

/// A random orthogonal matrix of any size: `(H ⊗ O) · D`, where `H` is the Hadamard matrix of the
/// largest power of two that divides the size, `O` a random orthogonal matrix of the odd rest and
/// `D` random signs (the randomised Hadamard transform of `QuaRot`, Ashkboos et al., 2024, §3,
/// with the odd part of the size left to `O`).
///
/// Every output mixes every input. Costs `size · (rest + log₂ size)` operations a vector.
#[derive(Clone, Debug)]
pub(super) struct Orthogonal {
    signs: Vec<f64>,
    /// `rest × rest`, row-major.
    rest: Vec<f64>,
    odd: usize,
}

impl Orthogonal {
    /// The matrix of `size` (at least 1) that belongs to `seed`.
    pub(super) fn new(size: usize, seed: u64) -> Self {
        assert!(size > 0, "a rotation of nothing");
        let mut random = Random::new(seed);
        let odd = size >> size.trailing_zeros();
        let signs = (0..size).map(|_| random.sign()).collect();
        Self { signs, rest: basis(odd, &mut random), odd }
    }

    pub(super) fn size(&self) -> usize {
        self.signs.len()
    }

    /// `x ← Q · x`; `work` is memory.
    pub(super) fn turn(&self, x: &mut [f64], work: &mut Vec<f64>) {
        let (size, odd) = (self.size(), self.odd);
        assert_eq!(x.len(), size, "a vector of the size of the rotation");
        work.clear();
        for (block, signs) in x.chunks_exact(odd).zip(self.signs.chunks_exact(odd)) {
            let signed = |row: &[f64]| {
                let terms = row.iter().zip(block).zip(signs);
                terms.map(|((factor, value), sign)| factor * value * sign).sum::<f64>()
            };
            work.extend(self.rest.chunks_exact(odd).map(signed));
        }
        let mut step = odd;
        while step < size {
            for pair in work.chunks_exact_mut(2 * step) {
                let (low, high) = pair.split_at_mut(step);
                for (a, b) in low.iter_mut().zip(high) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
            step *= 2;
        }
        let norm = ((size / odd) as f64).sqrt().recip();
        for (x, value) in x.iter_mut().zip(work.iter()) {
            *x = value * norm;
        }
    }
}

/// Random orthonormal rows: Gaussian ones, orthogonalised twice (Gram and Schmidt lose digits the
/// first time).
fn basis(size: usize, random: &mut Random) -> Vec<f64> {
    let mut rows: Vec<f64> = (0..size * size).map(|_| random.normal()).collect();
    for at in 0..size {
        let (done, rest) = rows.split_at_mut(at * size);
        let row = &mut rest[..size];
        for _ in 0..2 {
            for other in done.chunks_exact(size) {
                let along: f64 = other.iter().zip(&*row).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
            }
            let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
            for value in &mut *row {
                *value /= norm;
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(rotation: &Orthogonal, x: &[f64]) -> Vec<f64> {
        let mut y = x.to_vec();
        rotation.turn(&mut y, &mut Vec::new());
        y
    }

    #[test]
    fn columns_are_orthonormal_and_dense_at_every_kind_of_size() {
        for size in [1, 2, 3, 8, 9, 12, 64, 72, 96] {
            let rotation = Orthogonal::new(size, 7);
            let columns: Vec<Vec<f64>> = (0..size)
                .map(|at| {
                    let unit: Vec<f64> = (0..size).map(|i| f64::from(u8::from(i == at))).collect();
                    turned(&rotation, &unit)
                })
                .collect();
            for (i, a) in columns.iter().enumerate() {
                for (j, b) in columns.iter().enumerate() {
                    let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                    let expected = f64::from(u8::from(i == j));
                    assert!((dot - expected).abs() < 1e-12, "size {size}: {i} · {j} = {dot}");
                }
                assert!(
                    a.iter().all(|value| value.abs() > 1e-9),
                    "size {size} column {i} has zeros"
                );
            }
        }
    }

    #[test]
    fn a_seed_gives_one_matrix_and_another_another() {
        let x: Vec<f64> = (0..72).map(|i| f64::from(i).sin()).collect();
        let of = |seed| turned(&Orthogonal::new(72, seed), &x);
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }
}

//! A random rotation of any dimension in O(dim·log dim).
//!
//! Four rounds; each draws a sign for every value, then applies the Walsh–Hadamard transform to
//! as many of the first (in odd rounds the last) values as the largest power of two in the
//! dimension. Two windows that overlap in turn reach every value, as in the Kac walk of `RaBitQ`'s
//! library. Additions and products only, in one order: the same bits on every machine.

/// Values that three steps of a transform mix.
const EIGHT: usize = 8;
/// Rounds of signs and transforms.
const ROUNDS: usize = 4;

/// An orthogonal map of vectors of one dimension.
#[derive(Debug)]
pub(crate) struct Rotation {
    /// By rounds: the sign of every value, times the factor of the transform in the window.
    signs: Vec<f32>,
    dim: usize,
    window: usize,
}

impl Rotation {
    /// The rotation of the seed.
    pub(crate) fn new(dim: usize, seed: u64) -> Self {
        let window = 1 << dim.ilog2();
        let factor = 1.0 / (window as f64).sqrt();
        let mut signs = Vec::with_capacity(ROUNDS * dim);
        for round in 0..ROUNDS {
            let range = window_of(round, dim, window);
            let sign = |at: usize| {
                let bits = crate::seed::mix(seed ^ crate::seed::mix((round * dim + at) as u64 + 1));
                let size = if range.contains(&at) { factor } else { 1.0 };
                (if bits >> 63 == 1 { -size } else { size }) as f32
            };
            signs.extend((0..dim).map(sign));
        }
        Self { signs, dim, window }
    }

    /// Turns `values` in place.
    pub(crate) fn turn(&self, values: &mut [f32]) {
        assert_eq!(values.len(), self.dim, "a vector of another dimension");
        for (round, signs) in self.signs.chunks_exact(self.dim).enumerate() {
            values.iter_mut().zip(signs).for_each(|(value, sign)| *value *= sign);
            transform(&mut values[window_of(round, self.dim, self.window)]);
        }
    }
}

fn window_of(round: usize, dim: usize, window: usize) -> std::ops::Range<usize> {
    if round.is_multiple_of(2) { 0..window } else { dim - window..dim }
}

/// The Walsh–Hadamard transform of a power of two of values.
fn transform(values: &mut [f32]) {
    let mut half = 1;
    if values.len() >= EIGHT {
        // The first three steps, eight values at a time.
        for eight in values.as_chunks_mut::<EIGHT>().0 {
            let [a, b, c, d, e, f, g, h] = *eight;
            let [a, b, c, d, e, f, g, h] = [a + b, a - b, c + d, c - d, e + f, e - f, g + h, g - h];
            let [a, b, c, d, e, f, g, h] = [a + c, b + d, a - c, b - d, e + g, f + h, e - g, f - h];
            *eight = [a + e, b + f, c + g, d + h, a - e, b - f, c - g, d - h];
        }
        half = EIGHT;
    }
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use kvant_testkit::Random;

    use super::*;

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }

    #[test]
    fn angles_and_lengths_stay() {
        let mut random = Random::new(1);
        for dim in [1, 2, 3, 5, 8, 24, 100, 384, 784] {
            let rotation = Rotation::new(dim, 9);
            let (mut a, mut b) = (random.normals(dim), random.normals(dim));
            let before = [dot(&a, &a), dot(&a, &b)];
            let length = dot(&a, &a).sqrt() * dot(&b, &b).sqrt();
            rotation.turn(&mut a);
            rotation.turn(&mut b);
            for (before, after) in before.into_iter().zip([dot(&a, &a), dot(&a, &b)]) {
                assert!((before - after).abs() <= 1e-5 * (length + before.abs()), "dim {dim}");
            }
        }
    }

    /// What stands in one value is spread over all.
    #[test]
    fn every_value_reaches_every_other() {
        for dim in [64, 96, 384, 784] {
            let rotation = Rotation::new(dim, 3);
            for at in [0, dim / 2, dim - 1] {
                let mut v = vec![0.0; dim];
                v[at] = 1.0;
                rotation.turn(&mut v);
                let most = v.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                assert!(most < 6.0 / (dim as f32).sqrt(), "dim {dim} at {at}: {most}");
                let near = v.iter().filter(|x| x.abs() > 0.05 / (dim as f32).sqrt()).count();
                assert!(near > dim * 2 / 3, "dim {dim} at {at}: {near} values");
            }
        }
    }
}

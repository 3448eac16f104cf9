//! Vectors that are distributed somewhat as embeddings are.

use crate::Random;

/// Directions in which vectors of [`clustered`] vary for the most part.
const RANK: usize = 32;

/// `n × dim` values, row-major: points around `√n` centres of uneven size, varying mostly in 32 of
/// the `dim` directions plus a little in all; not normalised.
///
/// Split one call into rows and queries to have both from one distribution.
pub fn clustered(n: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let directions: Vec<Vec<f32>> = (0..RANK).map(|_| random.normals(dim)).collect();
    let centres: Vec<Vec<f32>> = (0..n.isqrt().max(1)).map(|_| random.normals(RANK)).collect();
    let mut data = Vec::with_capacity(n * dim);
    for _ in 0..n {
        // The lower of two draws: the first centres have most points.
        let centre = random.below(centres.len()).min(random.below(centres.len()));
        let mut point: Vec<f32> = (0..dim).map(|_| 0.3 * random.normal()).collect();
        for (direction, along) in directions.iter().zip(&centres[centre]) {
            let along = along + 0.7 * random.normal();
            point.iter_mut().zip(direction).for_each(|(x, d)| *x += along * d);
        }
        data.append(&mut point);
    }
    data
}

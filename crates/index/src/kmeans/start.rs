//! The rows that centroids start from: far from one another.

use kvant_kernels::{Picked, Sum, kernels};

use super::assign::Points;
use super::{KmeansOptions, Precision, Start};
use crate::FloatRows;
use crate::seed::Draw;

/// Values read while each centroid in turn looks at all rows; with more, candidates are drawn.
const READ_MOST: usize = 1 << 31;
/// Rows that candidates are drawn from, for each centroid.
const SAMPLE: usize = 32;
/// Rounds of candidates, half as many in each as there are centroids.
const ROUNDS: usize = 4;

/// `k` of the points.
pub(super) fn centroids(points: &Points<'_>, k: usize, draw: &mut Draw) -> Vec<f32> {
    let rows = match points.start {
        Start::Random => draw.some(k, points.len()),
        Start::PlusPlus if points.data.len().saturating_mul(k) <= READ_MOST => {
            plus_plus(points.data, &vec![1.0; points.len()], (points.dim, k), draw)
        }
        Start::PlusPlus => oversampled(points, k, draw),
    };
    rows.iter().flat_map(|&row| points.row(row as usize)).copied().collect()
}

/// `k` of weighted rows, each drawn with a chance in proportion to its weight and the square of
/// its distance to the nearest drawn before.
pub(super) fn plus_plus(
    data: &[f32],
    weights: &[f64],
    (dim, k): (usize, usize),
    draw: &mut Draw,
) -> Vec<u32> {
    let all: Vec<u32> = (0..weights.len() as u32).collect();
    let mut nearest = vec![f32::INFINITY; all.len()];
    let mut distances = vec![0.0; all.len()];
    let mut chances = weights.to_vec();
    let mut chosen = Vec::with_capacity(k);
    while chosen.len() < k {
        // Where all rows left are doubles of chosen ones, the first that is not chosen.
        let row = pick(&chances, draw).or_else(|| {
            let free = |row: &u32| !chosen.contains(row);
            all.iter().copied().find(free)
        });
        let Some(row) = row else { break };
        chosen.push(row);
        let query = &data[row as usize * dim..][..dim];
        kernels().pick_f32(Sum::Square, Picked::new(data, dim, &all), query, &mut distances);
        nearest[row as usize] = 0.0;
        let pairs = nearest.iter_mut().zip(&distances);
        for ((chance, weight), (nearest, &distance)) in chances.iter_mut().zip(weights).zip(pairs) {
            *nearest = nearest.min(distance);
            *chance = weight * f64::from(*nearest);
        }
    }
    chosen
}

/// One of the places, by chances; `None` if there are none.
fn pick(chances: &[f64], draw: &mut Draw) -> Option<u32> {
    let total: f64 = chances.iter().sum();
    let mut rest = draw.unit() * total;
    if total <= 0.0 || !total.is_finite() {
        return None;
    }
    let mut last = None;
    for (at, &chance) in (0..).zip(chances).filter(|&(_, &chance)| chance > 0.0) {
        last = Some(at);
        rest -= chance;
        if rest < 0.0 {
            break;
        }
    }
    last
}

/// Candidates drawn in rounds, many at once, then `k` of them by the rows they are nearest to.
pub(super) fn oversampled(points: &Points<'_>, k: usize, draw: &mut Draw) -> Vec<u32> {
    let rows = draw.some(k.saturating_mul(SAMPLE), points.len());
    let data: Vec<f32> = rows.iter().flat_map(|&row| points.row(row as usize)).copied().collect();
    let sample = FloatRows::new(&data, points.dim, points.metric);
    let precision = if points.is_bytes() { Precision::Bytes } else { Precision::Floats };
    let options = KmeansOptions { threads: points.threads, precision, ..KmeansOptions::default() };
    let sample = Points::new(&sample, &options);
    let mut candidates = vec![draw.below(rows.len()) as u32];
    let mut nearest = vec![f64::INFINITY; rows.len()];
    let mut owner = vec![0u32; rows.len()];
    let mut from = 0;
    for round in 0..=ROUNDS {
        let drawn = &candidates[from..];
        let new: Vec<f32> =
            drawn.iter().flat_map(|&row| sample.row(row as usize)).copied().collect();
        let found = sample.nearest(&new, &vec![0.0; drawn.len()]);
        for (row, &found) in found.iter().enumerate() {
            let distance = sample.distance(row, found);
            if distance < nearest[row] {
                (nearest[row], owner[row]) = (distance, from as u32 + found.cluster);
            }
        }
        (from..).zip(&candidates[from..]).for_each(|(at, &row)| {
            (nearest[row as usize], owner[row as usize]) = (0.0, at as u32);
        });
        from = candidates.len();
        if round < ROUNDS {
            candidates.extend(race(&nearest, k.div_ceil(2), draw));
        }
    }
    let mut weights = vec![0.0; candidates.len()];
    for &at in &owner {
        weights[at as usize] += 1.0;
    }
    let data: Vec<f32> =
        candidates.iter().flat_map(|&row| sample.row(row as usize)).copied().collect();
    let chosen = plus_plus(&data, &weights, (points.dim, k), draw);
    let mut chosen: Vec<u32> =
        chosen.iter().map(|&at| rows[candidates[at as usize] as usize]).collect();
    // So few rows differ that there were not enough candidates.
    let mut others = 0..points.len() as u32;
    while chosen.len() < k {
        let Some(row) = others.find(|row| !chosen.contains(row)) else { break };
        chosen.push(row);
    }
    chosen
}

/// Up to `count` places, each before others with a chance in proportion to its weight: those whose
/// exponential clocks ring first.
fn race(weights: &[f64], count: usize, draw: &mut Draw) -> Vec<u32> {
    let clocks = weights.iter().map(|&weight| -draw.unit().ln() / weight);
    let mut clocks: Vec<(f64, u32)> =
        clocks.zip(0..).filter(|(time, _)| time.is_finite()).collect();
    clocks.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    clocks.into_iter().take(count).map(|(_, at)| at).collect()
}

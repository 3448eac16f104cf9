//! Choosing among what was found so that it is near the query and not all alike.

use crate::{FloatRows, Metric, Row, Rows, Scorer};

/// How much is chosen, and by what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mmr {
    /// How much being unlike what was chosen before counts, 0 to 1, against being near the query:
    /// `1 − λ` of the paper. 0 gives the nearest, in order.
    pub diversity: f32,
    /// How many are chosen.
    pub limit: usize,
}

impl Default for Mmr {
    /// Ten, half for being near and half for being unlike.
    fn default() -> Self {
        Self { diversity: 0.5, limit: 10 }
    }
}

/// Maximal marginal relevance (Carbonell & Goldstein, 1998) among `vectors`, prepared for
/// `metric` as rows are: the one most similar to `query`, then each time the one with the largest
/// `λ·s(d, query) − (1 − λ)·max s(d, chosen)`. Similarities are cosines, products, and distances
/// (squared for [`Metric::Euclid`]) with a minus. Gives the places of the chosen, in the order
/// in which they were; of equals the first. O(limit · vectors · dim).
///
/// # Panics
/// If a vector is of another dimension than the query.
pub fn mmr(metric: Metric, query: &[f32], vectors: &[&[f32]], options: &Mmr) -> Vec<usize> {
    if vectors.is_empty() {
        return Vec::new();
    }
    assert!(vectors.iter().all(|vector| vector.len() == query.len()), "vectors of one dimension");
    let data = vectors.concat();
    let rows = FloatRows::new(&data, query.len().max(1), metric);
    let all: Vec<Row> = (0..vectors.len() as u32).map(Row).collect();
    let measured = |vector: &[f32]| -> Vec<f32> {
        let mut distances = vec![0.0; all.len()];
        rows.scorer(vector).score(&all, &mut distances);
        distances.into_iter().map(|distance| metric.similarity(distance)).collect()
    };
    mmr_by(&measured(query), |chosen| measured(vectors[chosen]), options)
}

/// [`mmr`] of anything: `relevance` is the similarity of each to the query, and `similarities`
/// gives those of all to the one at a place, once for each that is chosen. What is no number is
/// chosen last.
pub fn mmr_by(
    relevance: &[f32],
    mut similarities: impl FnMut(usize) -> Vec<f32>,
    options: &Mmr,
) -> Vec<usize> {
    let lambda = 1.0 - options.diversity;
    let mut alike = vec![f32::NEG_INFINITY; relevance.len()];
    let mut left: Vec<usize> = (0..relevance.len()).collect();
    let mut chosen: Vec<usize> = Vec::with_capacity(options.limit.min(relevance.len()));
    while chosen.len() < options.limit && !left.is_empty() {
        let gain = |at: usize| {
            let near = if chosen.is_empty() { relevance[at] } else { lambda * relevance[at] };
            let far = if chosen.is_empty() { 0.0 } else { options.diversity * alike[at] };
            let gain = near - far;
            if gain.is_nan() { f32::NEG_INFINITY } else { gain }
        };
        let mut best = 0;
        for place in 1..left.len() {
            if gain(left[place]) > gain(left[best]) {
                best = place;
            }
        }
        let next = left.remove(best);
        chosen.push(next);
        if chosen.len() < options.limit {
            for (alike, similarity) in alike.iter_mut().zip(similarities(next)) {
                *alike = alike.max(similarity);
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use kvant_testkit::clustered;

    use super::*;

    const DIM: usize = 12;

    fn similarity(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
        let pairs = || a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        match metric {
            Metric::Cosine => dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
            Metric::Dot => dot(a, b),
            Metric::Euclid => -pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>(),
            Metric::Manhattan => -pairs().map(|(a, b)| (a - b).abs()).sum::<f64>(),
        }
    }

    /// The definition, in f64.
    fn slow(metric: Metric, query: &[f32], all: &[&[f32]], options: &Mmr) -> Vec<usize> {
        let (mut chosen, mut left) = (Vec::new(), (0..all.len()).collect::<Vec<_>>());
        let diversity = f64::from(options.diversity);
        while chosen.len() < options.limit && !left.is_empty() {
            let gain = |at: usize| {
                let near = similarity(metric, all[at], query);
                let alike = chosen.iter().map(|&c: &usize| similarity(metric, all[at], all[c]));
                match alike.reduce(f64::max) {
                    None => near,
                    Some(alike) => (1.0 - diversity) * near - diversity * alike,
                }
            };
            let best = (0..left.len())
                .max_by(|&a, &b| gain(left[a]).total_cmp(&gain(left[b])).then(b.cmp(&a)))
                .unwrap();
            let next = left.remove(best);
            chosen.push(next);
        }
        chosen
    }

    #[test]
    fn chooses_by_the_definition() {
        for metric in Metric::ALL {
            let mut data = clustered(61, DIM, 5);
            data.chunks_exact_mut(DIM).for_each(|vector| metric.prepare(vector));
            let (query, rows) = data.split_at(DIM);
            let rows: Vec<&[f32]> = rows.chunks_exact(DIM).collect();
            for diversity in [0.0, 0.3, 0.5, 1.0] {
                for limit in [0, 1, 7, 60, 100] {
                    let options = Mmr { diversity, limit };
                    let found = mmr(metric, query, &rows, &options);
                    assert_eq!(found, slow(metric, query, &rows, &options), "{metric} {options:?}");
                }
            }
        }
    }

    #[test]
    fn copies_of_the_nearest_come_late() {
        let rows: [&[f32]; 4] = [&[1.0, 0.0], &[1.0, 0.0], &[0.8, 0.6], &[0.6, -0.8]];
        let query = [1.0, 0.1];
        let order = |diversity| mmr(Metric::Cosine, &query, &rows, &Mmr { diversity, limit: 4 });
        assert_eq!(order(0.0), [0, 1, 2, 3]);
        assert_eq!(order(0.7)[..2], [0, 3]);
        assert_eq!(order(0.7)[3], 1);
        assert!(mmr(Metric::Cosine, &query, &[], &Mmr::default()).is_empty());
    }

    #[test]
    fn what_is_no_number_is_last() {
        let order =
            mmr_by(&[f32::NAN, 1.0, 2.0], |_| vec![0.0; 3], &Mmr { limit: 3, ..Mmr::default() });
        assert_eq!(order, [2, 1, 0]);
    }
}

//! How good an ordered list of answers is, and how often a guess is right.

use super::{MetricError, check_finite};

/// Recall at `k`: relevant documents among the first `k`, over all `relevant` documents.
///
/// `hits[i]` says whether the answer of rank `i + 1` is relevant. A list shorter than `k` counts
/// as filled up with answers that are not.
///
/// ```
/// use kvant_eval::metric::recall;
/// assert_eq!(recall(&[true, false, true, true], 4, 3), Ok(0.5));
/// ```
///
/// # Errors
/// `k` is 0, nothing is relevant, or the list holds more hits than there are relevant documents.
pub fn recall(hits: &[bool], relevant: usize, k: usize) -> Result<f64, MetricError> {
    if k == 0 {
        return Err(MetricError::ZeroCut);
    }
    let found = hits.iter().filter(|&&hit| hit).count();
    if relevant == 0 || found > relevant {
        return Err(MetricError::Relevant { hits: found, relevant });
    }
    let within = hits.iter().take(k).filter(|&&hit| hit).count();
    Ok(within as f64 / relevant as f64)
}

/// nDCG at `k`: `DCG / ideal DCG` with `DCG = Σᵢ gainᵢ / log₂(i + 1)` over ranks `i = 1..=k`.
///
/// `gains` are those of the answers in their order, `ideal` those of every relevant document in
/// any order. Gains enter linearly (Järvelin & Kekäläinen, 2002); for gains of 0 and 1 this is
/// the same as the `2^gain − 1` form.
///
/// ```
/// use kvant_eval::metric::ndcg;
/// // One relevant document, at rank 2: 1/log₂3 over 1.
/// assert!((ndcg(&[0.0, 1.0, 0.0], &[1.0], 10).unwrap() - 1.0 / 3f64.log2()).abs() < 1e-12);
/// ```
///
/// # Errors
/// `k` is 0, a gain is negative or not finite, or no document has a gain.
pub fn ndcg(gains: &[f64], ideal: &[f64], k: usize) -> Result<f64, MetricError> {
    if k == 0 {
        return Err(MetricError::ZeroCut);
    }
    check_finite(gains)?;
    check_finite(ideal)?;
    for list in [gains, ideal] {
        if let Some(index) = list.iter().position(|&gain| gain < 0.0) {
            return Err(MetricError::NotFinite { index });
        }
    }
    let mut best = ideal.to_vec();
    best.sort_by(|a, b| b.total_cmp(a));
    let reachable = discounted(&best, k);
    if reachable > 0.0 {
        Ok(discounted(gains, k) / reachable)
    } else {
        Err(MetricError::Relevant { hits: 0, relevant: 0 })
    }
}

/// `1 / rank` of the first relevant answer, 0 if there is none; its mean over queries is MRR.
///
/// ```
/// use kvant_eval::metric::reciprocal_rank;
/// assert_eq!(reciprocal_rank(&[false, false, true, true]), 1.0 / 3.0);
/// assert_eq!(reciprocal_rank(&[false, false]), 0.0);
/// ```
pub fn reciprocal_rank(hits: &[bool]) -> f64 {
    hits.iter().position(|&hit| hit).map_or(0.0, |index| 1.0 / (index + 1) as f64)
}

/// The share of guesses that are right.
///
/// ```
/// assert_eq!(kvant_eval::metric::accuracy(&[1, 2, 3, 4], &[1, 2, 0, 4]), Ok(0.75));
/// ```
///
/// # Errors
/// Lists of different length, or empty.
pub fn accuracy(guesses: &[u32], truths: &[u32]) -> Result<f64, MetricError> {
    if guesses.len() != truths.len() {
        return Err(MetricError::Lengths { left: guesses.len(), right: truths.len() });
    }
    if guesses.is_empty() {
        return Err(MetricError::TooFew { needed: 1, got: 0 });
    }
    let right = guesses.iter().zip(truths).filter(|(guess, truth)| guess == truth).count();
    Ok(right as f64 / guesses.len() as f64)
}

fn discounted(gains: &[f64], k: usize) -> f64 {
    gains.iter().take(k).enumerate().map(|(i, gain)| gain / ((i + 2) as f64).log2()).sum()
}

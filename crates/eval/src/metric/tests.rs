//! Hand-computed values and the edges of every formula.

use proptest::prelude::*;

use super::*;

fn near(got: f64, want: f64) {
    assert!((got - want).abs() < 1e-12, "{got} is not {want}");
}

#[test]
fn pearson_follows_the_formula() {
    // a−ā = (−1.5, −0.5, 0.5, 1.5), b−b̄ = (−1, 1, −2, 2): 1.5−0.5−1+3 = 3, Σ = 5 and 10.
    near(pearson(&[1.0, 2.0, 3.0, 4.0], &[2.0, 4.0, 1.0, 5.0]).unwrap(), 3.0 / 50f64.sqrt());
    near(pearson(&[1.0, 2.0], &[5.0, -5.0]).unwrap(), -1.0);
}

#[test]
fn spearman_shares_the_ranks_of_ties() {
    // Ranks (1, 2.5, 2.5, 4) and (1, 2, 3, 4): cross 4.5, squares 4.5 and 5.
    let rho = spearman(&[1.0, 2.0, 2.0, 9.0], &[0.1, 0.2, 0.3, 0.4]).unwrap();
    near(rho, 4.5 / 22.5f64.sqrt());
    // Human scores against a cosine turned round: the order alone counts.
    near(spearman(&[5.0, 4.0, 0.5, 0.0], &[-1.0, -0.5, 0.0, 9.0]).unwrap(), -1.0);
}

#[test]
fn correlations_refuse_what_has_no_answer() {
    let lengths = MetricError::Lengths { left: 2, right: 1 };
    assert_eq!(pearson(&[1.0, 2.0], &[1.0]), Err(lengths));
    assert_eq!(spearman(&[], &[]), Err(MetricError::TooFew { needed: 2, got: 0 }));
    assert_eq!(spearman(&[1.0], &[1.0]), Err(MetricError::TooFew { needed: 2, got: 1 }));
    assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), Err(MetricError::Constant));
    assert_eq!(pearson(&[0.1; 3], &[1.0, 2.0, 3.0]), Err(MetricError::Constant));
    let bad = Err(MetricError::NotFinite { index: 1 });
    assert_eq!(spearman(&[1.0, f64::NAN], &[1.0, 2.0]), bad);
    assert_eq!(pearson(&[1.0, 2.0], &[1.0, f64::INFINITY]), bad);
}

#[test]
fn ranks_of_ties_zeros_and_nothing() {
    assert_eq!(average_ranks(&[7.0, 7.0, 7.0]), [2.0, 2.0, 2.0]);
    assert_eq!(average_ranks(&[0.0, -0.0, 1.0]), [1.5, 1.5, 3.0]);
    assert!(average_ranks(&[]).is_empty());
}

#[test]
fn percentile_takes_the_nearest_rank() {
    let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
    for p in 1..=100 {
        assert_eq!(percentile(&hundred, f64::from(p)), Ok(f64::from(p)));
    }
    assert_eq!(percentile(&[3.0], 50.0), Ok(3.0));
    assert_eq!(percentile(&[2.0, 1.0], 50.0), Ok(1.0));
    assert_eq!(percentile(&[2.0, 1.0], 50.1), Ok(2.0));
    assert_eq!(percentile(&[], 50.0), Err(MetricError::TooFew { needed: 1, got: 0 }));
    assert_eq!(percentile(&[1.0], 101.0), Err(MetricError::Percent { got: 101.0 }));
    assert!(matches!(percentile(&[1.0], f64::NAN), Err(MetricError::Percent { .. })));
    assert_eq!(percentile(&[f64::NAN], 50.0), Err(MetricError::NotFinite { index: 0 }));
}

#[test]
fn means_and_medians_refuse_nothing_and_nan() {
    let none = Err(MetricError::TooFew { needed: 1, got: 0 });
    assert_eq!(mean(&[]), none);
    assert_eq!(median(&[]), none);
    assert_eq!(mean(&[0.0, f64::NAN]), Err(MetricError::NotFinite { index: 1 }));
    assert_eq!(median(&[f64::NEG_INFINITY]), Err(MetricError::NotFinite { index: 0 }));
    assert_eq!(median(&[9.0, 1.0, 5.0, 7.0]), Ok(6.0));
}

#[test]
fn recall_counts_within_the_cut() {
    let hits = [true, false, true, false];
    assert_eq!(recall(&hits, 2, 1), Ok(0.5));
    assert_eq!(recall(&hits, 2, 3), Ok(1.0));
    assert_eq!(recall(&hits, 8, 100), Ok(0.25));
    assert_eq!(recall(&[], 3, 10), Ok(0.0));
    assert_eq!(recall(&hits, 2, 0), Err(MetricError::ZeroCut));
    assert_eq!(recall(&[], 0, 5), Err(MetricError::Relevant { hits: 0, relevant: 0 }));
    assert_eq!(recall(&hits, 1, 5), Err(MetricError::Relevant { hits: 2, relevant: 1 }));
}

#[test]
fn ndcg_follows_the_formula() {
    // Gains (3, 0, 2) of ideal (3, 2, 1): (3 + 2/2) / (3 + 2/log₂3 + 1/2).
    let ideal = 3.0 + 2.0 / 3f64.log2() + 0.5;
    near(ndcg(&[3.0, 0.0, 2.0], &[1.0, 3.0, 2.0], 3).unwrap(), 4.0 / ideal);
    // The ideal is cut at k too, so a full first page is perfect however much more there is.
    near(ndcg(&[1.0, 1.0], &[1.0; 40], 2).unwrap(), 1.0);
    assert_eq!(ndcg(&[0.0, 0.0], &[1.0], 2), Ok(0.0));
    assert_eq!(ndcg(&[], &[1.0], 2), Ok(0.0));
    assert_eq!(ndcg(&[1.0], &[1.0], 0), Err(MetricError::ZeroCut));
    assert_eq!(ndcg(&[1.0], &[], 1), Err(MetricError::Relevant { hits: 0, relevant: 0 }));
    assert_eq!(ndcg(&[f64::NAN], &[1.0], 1), Err(MetricError::NotFinite { index: 0 }));
    assert_eq!(ndcg(&[0.0], &[1.0, -1.0], 1), Err(MetricError::NotFinite { index: 1 }));
}

#[test]
fn reciprocal_rank_and_accuracy() {
    near(mean(&[reciprocal_rank(&[true]), reciprocal_rank(&[false, true])]).unwrap(), 0.75);
    assert_eq!(reciprocal_rank(&[]), 0.0);
    assert_eq!(accuracy(&[], &[]), Err(MetricError::TooFew { needed: 1, got: 0 }));
    assert_eq!(accuracy(&[1], &[]), Err(MetricError::Lengths { left: 1, right: 0 }));
    assert_eq!(accuracy(&[1, 1], &[1, 1]), Ok(1.0));
}

#[test]
fn cosines_of_pairs() {
    let a = [1.0, 0.0, 3.0, 4.0, 0.0, 0.0];
    let b = [-2.0, 0.0, 4.0, 3.0, 1.0, 1.0];
    let cosines = paired_cosines(&a, &b, 2).unwrap();
    near(cosines[0], -1.0);
    near(cosines[1], 0.96);
    near(cosines[2], 0.0);
    let agreement = Agreement::of(&cosines).unwrap();
    near(agreement.mean, -0.04 / 3.0);
    assert_eq!((agreement.p1, agreement.min), (-1.0, -1.0));
    assert_eq!(paired_cosines(&a, &b, 0), Err(MetricError::ZeroCut));
    assert_eq!(paired_cosines(&a, &b, 4), Err(MetricError::Lengths { left: 6, right: 6 }));
    assert_eq!(cosine(&[1.0], &[f32::NAN]), Err(MetricError::NotFinite { index: 0 }));
    // Squares that would overflow f32 do not.
    near(cosine(&[1e30, 0.0], &[1e30, 0.0]).unwrap(), 1.0);
}

#[test]
fn overlap_is_of_sets() {
    assert_eq!(overlap(&[1, 2], &[2, 1]), Ok(1.0));
    assert_eq!(overlap(&[1, 2], &[]), Ok(0.0));
    assert_eq!(overlap(&[1, 2, 3], &[3]), Ok(1.0 / 3.0));
    assert_eq!(overlap(&[], &[]), Err(MetricError::TooFew { needed: 1, got: 0 }));
}

proptest! {
    #[test]
    fn spearman_ignores_any_rising_change_of_scale(
        pairs in prop::collection::vec((-100i32..100, -100i32..100), 2..60)
    ) {
        let a: Vec<f64> = pairs.iter().map(|pair| f64::from(pair.0)).collect();
        let b: Vec<f64> = pairs.iter().map(|pair| f64::from(pair.1)).collect();
        let cubed: Vec<f64> = a.iter().map(|value| value.powi(3) + 7.0).collect();
        prop_assert_eq!(spearman(&a, &b), spearman(&cubed, &b));
        if let Ok(rho) = spearman(&a, &b) {
            prop_assert!((-1.0..=1.0).contains(&rho));
            let turned: Vec<f64> = a.iter().map(|value| -value).collect();
            prop_assert!((spearman(&turned, &b).unwrap() + rho).abs() < 1e-9);
        }
    }

    #[test]
    fn ranking_scores_stay_in_range(
        hits in prop::collection::vec(any::<bool>(), 0..30), more in 1usize..5, k in 1usize..40
    ) {
        let relevant = hits.iter().filter(|&&hit| hit).count() + more;
        let gains: Vec<f64> = hits.iter().map(|&hit| f64::from(u8::from(hit))).collect();
        let recall = recall(&hits, relevant, k).unwrap();
        let ndcg = ndcg(&gains, &vec![1.0; relevant], k).unwrap();
        prop_assert!((0.0..=1.0).contains(&recall));
        prop_assert!((0.0..=1.0 + 1e-12).contains(&ndcg));
    }
}

#[test]
fn bootstrap_covers_the_difference_and_repeats() {
    // Units of +1 and −0.5, half each: mean 0.25, and 400 of them have a standard error of 0.0375.
    let units: Vec<f64> = (0..400).map(|i| if i % 2 == 0 { 1.0 } else { -0.5 }).collect();
    let of = |chosen: &[usize]| mean(&chosen.iter().map(|&i| units[i]).collect::<Vec<_>>());
    let interval = paired_bootstrap(400, 2000, 1, &of).unwrap();
    near(interval.value, 0.25);
    let reach = 1.96 * 0.0375;
    assert!((interval.low - (0.25 - reach)).abs() < 0.01, "{interval:?}");
    assert!((interval.high - (0.25 + reach)).abs() < 0.01, "{interval:?}");
    assert_eq!(paired_bootstrap(400, 2000, 1, &of), Ok(interval));
    assert_ne!(paired_bootstrap(400, 2000, 2, &of), Ok(interval));
}

#[test]
fn bootstrap_of_nothing_is_an_error() {
    let none = Err(MetricError::TooFew { needed: 1, got: 0 });
    assert_eq!(paired_bootstrap(0, 10, 1, &|_| mean(&[])), none);
    assert_eq!(paired_bootstrap(3, 0, 1, &|_| Ok(1.0)), none);
    let same = paired_bootstrap(3, 10, 1, &|_| Ok(0.5)).unwrap();
    assert_eq!((same.low, same.value, same.high), (0.5, 0.5, 0.5));
}

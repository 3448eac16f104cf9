//! One list of several: points that different searches found, with scores of different kinds.
//!
//! Higher scores are better here, as people read them. What is fused is named by anything that can
//! be told apart; a name that comes twice in one list counts where it comes first. Of equal sums
//! the name that was met first is first, list by list. O(names) time and memory.

use std::collections::HashMap;
use std::hash::Hash;

/// What is added to each rank where nobody says, for [`rrf`]; the paper has 60.
pub const RANK_CONSTANT: f32 = 2.0;
/// Deviations from the mean that [`dbsf`] takes for the ends of a scale.
const DEVIATIONS: f64 = 3.0;
/// What a score counts where all of its list are equal.
const EVEN: f32 = 0.5;

/// Reciprocal rank fusion (Cormack, Clarke & Büttcher, 2009): `Σ 1 / (k + (r + 1)/w − 1)` over the
/// lists that a name is in, where `r` is its place there from 0 on and `w` the weight of the list:
/// with a weight of 3 the third place counts as the first. Weights that are missing are 1, so that
/// a place counts `1 / (k + r)`; lists of a weight that is not above 0 count nothing.
pub fn rrf<I: Eq + Hash + Clone>(
    lists: &[Vec<(I, f32)>],
    k: f32,
    weights: Option<&[f32]>,
) -> Vec<(I, f32)> {
    fused(lists, |list, at| {
        let weight = weights.and_then(|weights| weights.get(list)).copied().unwrap_or(1.0);
        let place = (at as f32 + 1.0) / weight - 1.0;
        if weight > 0.0 { 1.0 / (k + place) } else { 0.0 }
    })
}

/// Fusion by the distribution of scores (Mazzeschi, 2023): in each list a score `s` counts
/// `(s − μ + 3σ) / 6σ`, where `μ` is the mean of its scores and `σ` their deviation as of a sample
/// (over `n − 1`); 0.5 where all are equal, or there is but one. Scores beyond three deviations
/// count less than 0 or more than 1. Those that are not finite count nothing.
pub fn dbsf<I: Eq + Hash + Clone>(lists: &[Vec<(I, f32)>]) -> Vec<(I, f32)> {
    let scales: Vec<(f64, f64)> = lists.iter().map(|list| scale(list)).collect();
    fused(lists, |list, at| {
        let (mean, deviation) = scales[list];
        let score = f64::from(lists[list][at].1);
        if !score.is_finite() {
            return 0.0;
        }
        let from = score - (mean - DEVIATIONS * deviation);
        let share = (from / (2.0 * DEVIATIONS * deviation)) as f32;
        if deviation > 0.0 { share } else { EVEN }
    })
}

/// Mean and deviation of the finite scores.
fn scale<I>(list: &[(I, f32)]) -> (f64, f64) {
    let finite = || list.iter().map(|&(_, score)| f64::from(score)).filter(|s| s.is_finite());
    let count = finite().count() as f64;
    let mean = finite().sum::<f64>() / count.max(1.0);
    let squares: f64 = finite().map(|score| (score - mean).powi(2)).sum();
    let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
    // Equal scores may differ from their mean by its rounding.
    let noise = mean.abs() * f64::EPSILON * count;
    (mean, if deviation > noise { deviation } else { 0.0 })
}

/// Adds up what each place of each list counts, best first.
fn fused<I: Eq + Hash + Clone>(
    lists: &[Vec<(I, f32)>],
    counts: impl Fn(usize, usize) -> f32,
) -> Vec<(I, f32)> {
    let mut places: HashMap<&I, (usize, usize)> = HashMap::new();
    let mut sums: Vec<(I, f32)> = Vec::new();
    for (list, names) in lists.iter().enumerate() {
        for (at, (name, _)) in names.iter().enumerate() {
            let (place, last) = places.entry(name).or_insert((sums.len(), usize::MAX));
            if *last == list {
                continue;
            }
            *last = list;
            match sums.get_mut(*place) {
                Some((_, sum)) => *sum += counts(list, at),
                None => sums.push((name.clone(), counts(list, at))),
            }
        }
    }
    // Stable: of equals the first met stays first.
    sums.sort_by(|a, b| b.1.total_cmp(&a.1));
    sums
}

#[cfg(test)]
mod tests {
    use kvant_testkit::Random;

    use super::*;

    type Fuse = fn(&[Vec<(u32, f32)>]) -> Vec<(u32, f32)>;

    fn list(names: &str, scores: &[f32]) -> Vec<(char, f32)> {
        names.chars().zip(scores.iter().copied()).collect()
    }

    fn order(fused: &[(char, f32)]) -> String {
        fused.iter().map(|&(name, _)| name).collect()
    }

    #[test]
    fn places_count_the_reciprocal_of_their_rank() {
        let lists = [list("abc", &[9.0, 8.0, 7.0]), list("cd", &[0.5, 0.25])];
        let found = rrf(&lists, RANK_CONSTANT, None);
        assert_eq!(order(&found), "cabd");
        assert_eq!(found[0].1, 1.0 / 4.0 + 1.0 / 2.0);
        assert_eq!((found[1].1, found[2].1, found[3].1), (1.0 / 2.0, 1.0 / 3.0, 1.0 / 3.0));
        assert_eq!(rrf(&lists, 60.0, None)[0], ('c', 1.0 / 62.0 + 1.0 / 60.0));
        assert!(rrf::<char>(&[], 2.0, None).is_empty());
        assert!(rrf::<char>(&[vec![], vec![]], 2.0, None).is_empty());
    }

    #[test]
    fn a_weight_of_three_makes_the_third_place_a_first() {
        let lists = [list("abcdef", &[0.0; 6]), list("xyz", &[0.0; 3])];
        let found = rrf(&lists, 2.0, Some(&[3.0, 1.0]));
        // Of equals those of the first list come first.
        assert_eq!(order(&found), "abcxdefyz");
        let of = |name| found.iter().find(|(own, _)| *own == name).unwrap().1;
        assert_eq!((of('c'), of('f')), (of('x'), of('y')));
        assert!((of('a') - 1.0 / (2.0 + 1.0 / 3.0 - 1.0)).abs() < 1e-6);
        let none = rrf(&lists, 2.0, Some(&[0.0, -1.0]));
        assert!(none.iter().all(|&(_, score)| score == 0.0) && none.len() == 9);
        assert_eq!(rrf(&lists, 2.0, Some(&[])), rrf(&lists, 2.0, None), "missing weights are 1");
    }

    #[test]
    fn scores_count_by_their_distribution() {
        let lists = [list("abc", &[3.0, 2.0, 1.0]), list("bcd", &[10.0, 10.0, 40.0])];
        let found = dbsf(&lists);
        // Means 2 and 20, deviations 1 and √300.
        let wide = 300f64.sqrt();
        let second = |s: f64| (s - 20.0 + 3.0 * wide) / (6.0 * wide);
        let expected = [
            ('b', 3.0 / 6.0 + second(10.0)),
            ('c', 2.0 / 6.0 + second(10.0)),
            ('a', 4.0 / 6.0),
            ('d', second(40.0)),
        ];
        let of = |name| f64::from(found.iter().find(|(own, _)| *own == name).unwrap().1);
        for (name, score) in expected {
            assert!((of(name) - score).abs() < 1e-6, "{name}: {}, not {score}", of(name));
        }
        assert!(found.windows(2).all(|pair| pair[0].1 >= pair[1].1));
    }

    #[test]
    fn what_has_no_distribution_counts_a_half() {
        assert_eq!(dbsf(&[list("a", &[7.0])]), [('a', 0.5)]);
        assert_eq!(dbsf(&[list("ab", &[0.1, 0.1]), list("b", &[-3.0])]), [('b', 1.0), ('a', 0.5)]);
        assert_eq!(dbsf(&[list("abcdefg", &[0.1; 7])])[6], ('g', 0.5), "rounding is no deviation");
        let odd = dbsf(&[list("abcd", &[1.0, f32::NAN, 3.0, f32::INFINITY])]);
        assert_eq!(order(&odd), "cabd");
        assert!(odd.iter().all(|(_, score)| score.is_finite()));
    }

    #[test]
    fn a_name_counts_once_a_list() {
        let lists = [list("aab", &[3.0, 2.0, 1.0])];
        assert_eq!(rrf(&lists, 2.0, None), [('a', 0.5), ('b', 0.25)]);
        assert_eq!(dbsf(&lists).len(), 2);
    }

    #[test]
    fn sums_are_those_of_each_list_alone() {
        let mut random = Random::new(3);
        let lists: Vec<Vec<(u32, f32)>> = (0..4)
            .map(|_| {
                let mut names: Vec<u32> = (0..30).collect();
                (1..30).rev().for_each(|i| names.swap(i, random.below(i + 1)));
                names.truncate(20);
                names.into_iter().map(|name| (name, random.normal())).collect()
            })
            .collect();
        let ways: [Fuse; 2] = [|lists| rrf(lists, 2.0, None), |lists| dbsf(lists)];
        for fuse in ways {
            for (name, score) in fuse(&lists) {
                let each = lists.iter().flat_map(|list| fuse(std::slice::from_ref(list)));
                let sum: f32 = each.filter(|(own, _)| *own == name).map(|(_, s)| s).sum();
                assert!((sum - score).abs() < 1e-5, "{name}: {score}, not {sum}");
            }
        }
    }
}

//! Which format each tensor gets when all of them must fit into so many bytes.
//!
//! The multiple-choice knapsack: one choice per tensor, the least total loss within a limit of
//! bytes (as HAWQ, Dong et al., 2020, but solved exactly). Totals are built tensor by tensor; of
//! those reached so far only the ones that no other beats in both bytes and loss go on. The
//! tensors of a network share a few shapes, so few distinct totals exist.

/// A format a tensor may get.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Bytes it takes.
    pub bytes: u64,
    /// What it costs in quality; finite, ≥ 0; adds up over tensors.
    pub loss: f64,
}

/// Totals kept per tensor. Past that, bytes are rounded up to a grain that keeps so many: the
/// answer still fits and is the best one up to that rounding.
const TOTALS_MAX: usize = 10_000;

/// A total of the tensors so far, and how it was reached.
#[derive(Clone, Copy, Debug)]
struct Total {
    bytes: u64,
    loss: f64,
    /// The total before the last tensor, and the choice for that tensor.
    parent: u32,
    choice: u32,
}

/// The choice for every tensor (an index into its list) with the least total loss whose bytes
/// are at most `limit`; `None` if even the smallest are too large, or a tensor has no choice.
///
/// Exact for up to 10,000 distinct totals, see the module.
pub fn allocate(tensors: &[Vec<Choice>], limit: u64) -> Option<Vec<usize>> {
    let grain = (limit / TOTALS_MAX as u64).max(1);
    // What the tensors still to come take at least.
    let mut least = vec![0u64; tensors.len() + 1];
    for (index, choices) in tensors.iter().enumerate().rev() {
        let smallest = choices.iter().map(|choice| choice.bytes).min()?;
        least[index] = least[index + 1].saturating_add(smallest);
    }
    let mut stages = vec![vec![Total { bytes: 0, loss: 0.0, parent: 0, choice: 0 }]];
    for (index, choices) in tensors.iter().enumerate() {
        let room = limit.checked_sub(least[index + 1])?;
        let next = extend(stages.last()?, choices, room, grain);
        stages.push(next);
    }
    let last = stages.last()?;
    let mut at = last.iter().enumerate().min_by(|a, b| a.1.loss.total_cmp(&b.1.loss))?.0;
    let mut chosen = vec![0; tensors.len()];
    for (index, stage) in stages.iter().enumerate().skip(1).rev() {
        let total = stage[at];
        chosen[index - 1] = total.choice as usize;
        at = total.parent as usize;
    }
    Some(chosen)
}

/// All totals with one more tensor that fit into `room` and that no other beats.
fn extend(totals: &[Total], choices: &[Choice], room: u64, grain: u64) -> Vec<Total> {
    let mut next = Vec::with_capacity(totals.len() * choices.len());
    for (parent, total) in totals.iter().enumerate() {
        for (choice, &Choice { bytes, loss }) in choices.iter().enumerate() {
            let bytes = total.bytes.saturating_add(bytes);
            if bytes <= room {
                let loss = total.loss + loss;
                next.push(Total { bytes, loss, parent: parent as u32, choice: choice as u32 });
            }
        }
    }
    next.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(a.loss.total_cmp(&b.loss)));
    let kept = undominated(&next, 1);
    if kept.len() <= TOTALS_MAX { kept } else { undominated(&kept, grain) }
}

/// Of totals sorted by bytes those that lose less than every smaller one; with a grain, of those
/// that share a multiple of it only the last, which is the best.
fn undominated(totals: &[Total], grain: u64) -> Vec<Total> {
    let mut kept: Vec<Total> = Vec::new();
    for total in totals {
        let Some(last) = kept.last() else {
            kept.push(*total);
            continue;
        };
        if total.loss >= last.loss {
            continue;
        }
        if grain > 1 && kept.len() > 1 && last.bytes / grain == total.bytes / grain {
            kept.pop();
        }
        kept.push(*total);
    }
    kept
}

#[cfg(test)]
mod tests {
    use kvant_testkit::Random;
    use proptest::prelude::*;

    use super::*;

    fn value(tensors: &[Vec<Choice>], chosen: &[usize]) -> (u64, f64) {
        let picked = tensors.iter().zip(chosen).map(|(choices, &index)| choices[index]);
        picked.fold((0, 0.0), |(bytes, loss), c| (bytes + c.bytes, loss + c.loss))
    }

    /// Every combination.
    fn brute(tensors: &[Vec<Choice>], limit: u64) -> Option<f64> {
        let combinations: usize = tensors.iter().map(Vec::len).product();
        let mut best = None;
        for mut code in 0..combinations {
            let chosen: Vec<usize> = tensors
                .iter()
                .map(|choices| {
                    let index = code % choices.len();
                    code /= choices.len();
                    index
                })
                .collect();
            let (bytes, loss) = value(tensors, &chosen);
            if bytes <= limit && best.is_none_or(|best| loss < best) {
                best = Some(loss);
            }
        }
        best
    }

    proptest! {
        #[test]
        fn no_combination_is_better(seed: u64, count in 1usize..6, limit in 0u64..400) {
            let mut random = Random::new(seed);
            let tensors: Vec<Vec<Choice>> = (0..count)
                .map(|_| {
                    let choices = 1 + random.below(4);
                    (0..choices)
                        .map(|_| Choice {
                            bytes: random.below(120) as u64,
                            loss: f64::from(random.normal().abs()),
                        })
                        .collect()
                })
                .collect();
            let chosen = allocate(&tensors, limit);
            let best = brute(&tensors, limit);
            prop_assert_eq!(chosen.is_some(), best.is_some());
            if let (Some(chosen), Some(best)) = (chosen, best) {
                let (bytes, loss) = value(&tensors, &chosen);
                prop_assert!(bytes <= limit && loss <= best + 1e-9, "{} {}", loss, best);
            }
        }
    }

    #[test]
    fn many_tensors_of_odd_sizes_fit_and_are_nearly_best() {
        let mut random = Random::new(5);
        let tensors: Vec<Vec<Choice>> = (0..80)
            .map(|_| {
                let weights = 10_000 + random.below(5_000_000) as u64;
                let size = f64::from(random.normal().abs()) + 0.1;
                let bits = [3u64, 4, 5, 6, 8];
                let choice = |bits: u64| Choice {
                    bytes: weights * bits / 8,
                    loss: size * 4f64.powi(-(bits as i32)),
                };
                bits.map(choice).to_vec()
            })
            .collect();
        let all = |index: usize| tensors.iter().map(|choices| choices[index].bytes).sum::<u64>();
        let limit = all(0).midpoint(all(4));
        let chosen = allocate(&tensors, limit).unwrap();
        let (bytes, loss) = value(&tensors, &chosen);
        assert!(bytes <= limit && bytes as f64 > limit as f64 * 0.999, "{bytes} of {limit}");
        // Moving any one tensor a class up must not fit or not pay.
        let uniform = value(&tensors, &[2; 80]);
        assert!(loss < uniform.1 || uniform.0 > limit, "{loss} {uniform:?}");
    }

    #[test]
    fn nothing_fits_or_nothing_to_choose() {
        assert_eq!(allocate(&[], 0), Some(vec![]));
        assert_eq!(allocate(&[vec![]], 10), None);
        let one = vec![Choice { bytes: 11, loss: 0.0 }];
        assert_eq!(allocate(std::slice::from_ref(&one), 10), None);
        assert_eq!(allocate(&[one], 11), Some(vec![0]));
    }
}

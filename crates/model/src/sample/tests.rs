//! The choice of tokens against the specification written out plainly.

use proptest::prelude::*;

use super::random::unit;
use super::{Choice, Sampler, Sampling, SamplingError};

/// What [`Sampling`] says, with sorting and sums over everything.
fn specified(sampling: &Sampling, logits: &[f32], past: &[u32], index: u64) -> u32 {
    let mut logits = logits.to_vec();
    for &(token, bias) in &sampling.logit_bias {
        logits[token as usize] += bias;
    }
    if sampling.repeat_penalty != 1.0 {
        let recent = &past[past.len().saturating_sub(sampling.repeat_window)..];
        for token in 0..logits.len() {
            if recent.contains(&(token as u32)) {
                let by = sampling.repeat_penalty;
                let logit = logits[token];
                logits[token] = if logit > 0.0 { logit / by } else { logit * by };
            }
        }
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    if sampling.temperature == 0.0 {
        return order[0] as u32;
    }
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k);
    }
    let most = logits[order[0]];
    let weight = |token: usize| f64::from(logits[token] - most).exp();
    if sampling.top_p < 1.0 {
        let mut ascending = order.clone();
        ascending.sort_unstable();
        let all: f64 = ascending.iter().map(|&token| weight(token)).sum();
        let mut sum = 0.0;
        let mut count = 0;
        while count < order.len() && sum < f64::from(sampling.top_p) * all {
            sum += weight(order[count]);
            count += 1;
        }
        order.truncate(count.max(1));
    }
    order.retain(|&token| weight(token) >= f64::from(sampling.min_p));
    order.sort_unstable();
    let temperature = f64::from(sampling.temperature);
    let heat = |token: usize| (f64::from(logits[token] - most) / temperature).exp();
    let sum: f64 = order.iter().map(|&token| heat(token)).sum();
    let mut left = unit(sampling.seed, index) * sum;
    for &token in &order {
        left -= heat(token);
        if left < 0.0 {
            return token as u32;
        }
    }
    order.iter().rev().copied().find(|&token| heat(token) > 0.0).unwrap() as u32
}

fn settings() -> impl Strategy<Value = Sampling> {
    let narrow = (0usize..40, 0.05f32..=1.0, 0.0f32..=1.0, any::<u64>());
    let rest =
        (prop_oneof![Just(0.0f32), 0.1f32..3.0], 0.5f32..2.0, 0usize..20, any::<[bool; 4]>());
    let bias = prop::collection::vec((0u32..30, -5.0f32..5.0), 0..4);
    (narrow, rest, bias).prop_map(|((top_k, top_p, min_p, seed), rest, bias)| {
        let (temperature, repeat_penalty, repeat_window, on) = rest;
        Sampling {
            temperature,
            top_k: if on[0] { top_k } else { 0 },
            top_p: if on[1] { top_p } else { 1.0 },
            min_p: if on[2] { min_p } else { 0.0 },
            repeat_penalty: if on[3] { repeat_penalty } else { 1.0 },
            repeat_window,
            logit_bias: bias,
            seed,
            log_probabilities: None,
        }
    })
}

proptest! {
    #[test]
    fn choices_follow_the_specification(
        sampling in settings(),
        logits in prop::collection::vec(prop_oneof![-8.0f32..8.0, Just(1.0f32)], 30..700),
        past in prop::collection::vec(0u32..30, 0..30),
    ) {
        let mut sampler = Sampler::new(sampling.clone());
        for index in 0..4 {
            let chosen = sampler.choose(&logits, &past, None).token;
            prop_assert_eq!(chosen, specified(&sampling, &logits, &past, index));
        }
    }

    #[test]
    fn what_is_forbidden_is_never_chosen(
        sampling in settings(),
        logits in prop::collection::vec(-8.0f32..8.0, 30..100),
        allowed in prop::collection::vec(0usize..30, 1..5),
    ) {
        let mut words = [0u32; 1];
        for token in &allowed {
            words[0] |= 1 << token;
        }
        let mut sampler = Sampler::new(sampling);
        for _ in 0..4 {
            let chosen = sampler.choose(&logits, &[], Some(&words)).token;
            prop_assert!(allowed.contains(&(chosen as usize)));
        }
    }
}

#[test]
fn draws_have_the_frequencies_of_the_softmax() {
    let logits = [0.0f32, 1.0, 2.0, -1.0];
    let sampling = Sampling { temperature: 2.0, seed: 7, ..Sampling::default() };
    let mut sampler = Sampler::new(sampling);
    let (mut counts, draws) = ([0.0f64; 4], 40_000);
    for _ in 0..draws {
        counts[sampler.choose(&logits, &[], None).token as usize] += 1.0;
    }
    let weights = logits.map(|logit| f64::from(logit / 2.0).exp());
    let all: f64 = weights.iter().sum();
    for (count, weight) in counts.iter().zip(weights) {
        let share = weight / all;
        // Five standard deviations.
        let bound = 5.0 * (share * (1.0 - share) / f64::from(draws)).sqrt();
        assert!((count / f64::from(draws) - share).abs() < bound, "{counts:?}");
    }
}

#[test]
fn the_same_seed_draws_the_same() {
    let logits: Vec<f32> = (0..500).map(|at| (at % 37) as f32 / 9.0).collect();
    let run = |seed| {
        let sampling = Sampling { temperature: 1.0, top_p: 0.9, seed, ..Sampling::default() };
        let mut sampler = Sampler::new(sampling);
        (0..50).map(|_| sampler.choose(&logits, &[], None).token).collect::<Vec<_>>()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn log_probabilities_are_those_of_the_model() {
    let logits = [0.5f32, 3.0, 3.0, -2.0];
    let sampling = Sampling {
        log_probabilities: Some(3),
        logit_bias: vec![(3, 100.0)],
        ..Sampling::default()
    };
    let Choice { token, log_probability, top } = Sampler::new(sampling).choose(&logits, &[], None);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    let expected = |token: usize| (f64::from(logits[token]) - sum.ln()) as f32;
    assert_eq!((token, log_probability), (3, Some(expected(3))));
    assert_eq!(top, [(1, expected(1)), (2, expected(2)), (0, expected(0))]);
}

#[test]
fn penalties_count_a_token_once() {
    let sampling = Sampling { repeat_penalty: 2.0, repeat_window: 3, ..Sampling::default() };
    let mut sampler = Sampler::new(sampling);
    // Twice penalised, 3.0 would fall below 1.0.
    assert_eq!(sampler.choose(&[3.0, 1.0], &[0, 0], None).token, 0);
    assert_eq!(sampler.choose(&[1.9, 1.0], &[0, 0], None).token, 1);
    assert_eq!(sampler.choose(&[1.9, 1.0], &[0, 1, 1, 1], None).token, 0);
    assert_eq!(sampler.choose(&[-1.0, -1.5], &[0], None).token, 1);
}

#[test]
fn settings_outside_their_range_are_refused() {
    let plain = Sampling::default;
    for (sampling, says) in [
        (Sampling { temperature: -1.0, ..plain() }, "temperature is -1"),
        (Sampling { temperature: f32::NAN, ..plain() }, "temperature is NaN"),
        (Sampling { top_p: 0.0, ..plain() }, "top-p is 0"),
        (Sampling { top_p: 1.1, ..plain() }, "top-p is 1.1"),
        (Sampling { min_p: -0.1, ..plain() }, "min-p"),
        (Sampling { repeat_penalty: 0.0, ..plain() }, "repeat-penalty"),
        (Sampling { logit_bias: vec![(1, f32::NAN)], ..plain() }, "logit bias is NaN"),
    ] {
        let error = sampling.check(10).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let biased = Sampling { logit_bias: vec![(10, f32::NEG_INFINITY)], ..plain() };
    assert_eq!(biased.check(10), Err(SamplingError::Token { token: 10, vocabulary: 10 }));
    assert_eq!(biased.check(11), Ok(()));
}

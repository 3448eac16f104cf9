//! Which tokens are drawn from.

use std::cmp::Ordering;

use super::Sampling;

/// Tokens that `top_p` sorts at first; four times as many each time they hold too little.
const GLANCE: usize = 256;

/// The memory of a choice.
#[derive(Debug, Default)]
pub(super) struct Kept {
    tokens: Vec<u32>,
}

impl Kept {
    /// The tokens that `sampling` draws from, ascending; at least one.
    pub(super) fn tokens(&mut self, logits: &[f32], sampling: &Sampling) -> &[u32] {
        let Sampling { top_k, top_p, min_p, .. } = *sampling;
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        self.tokens.clear();
        self.tokens.extend(0..logits.len() as u32);
        if top_k > 0 && top_k < self.tokens.len() {
            self.tokens.select_nth_unstable_by(top_k - 1, by(logits));
            self.tokens.truncate(top_k);
            self.tokens.sort_unstable();
        }
        let weight = |token: u32| f64::from(logits[token as usize] - most).exp();
        if top_p < 1.0 {
            let wanted = f64::from(top_p) * self.tokens.iter().map(|&t| weight(t)).sum::<f64>();
            let count = self.nucleus(logits, wanted, weight);
            self.tokens.truncate(count);
        }
        if min_p > 0.0 {
            let least = f64::from(min_p);
            self.tokens.retain(|&token| weight(token) >= least);
        }
        self.tokens.sort_unstable();
        &self.tokens
    }

    /// Brings the fewest largest logits whose weights sum to `wanted` to the front; how many.
    fn nucleus(&mut self, logits: &[f32], wanted: f64, weight: impl Fn(u32) -> f64) -> usize {
        let mut glance = GLANCE;
        loop {
            let len = self.tokens.len();
            let size = glance.min(len);
            if size < len {
                self.tokens.select_nth_unstable_by(size - 1, by(logits));
            }
            self.tokens[..size].sort_unstable_by(by(logits));
            let mut sum = 0.0;
            for (index, &token) in self.tokens[..size].iter().enumerate() {
                sum += weight(token);
                if sum >= wanted {
                    return index + 1;
                }
            }
            if size == len {
                return len;
            }
            glance *= 4;
        }
    }

    /// The tokens of the `count` largest logits, largest first.
    pub(super) fn largest(&mut self, logits: &[f32], count: usize) -> &[u32] {
        self.tokens.clear();
        self.tokens.extend(0..logits.len() as u32);
        let count = count.min(logits.len());
        if count > 0 && count < logits.len() {
            self.tokens.select_nth_unstable_by(count - 1, by(logits));
        }
        self.tokens.truncate(count);
        self.tokens.sort_unstable_by(by(logits));
        &self.tokens
    }
}

/// Larger logits first, equal ones in order of their tokens.
fn by(logits: &[f32]) -> impl Fn(&u32, &u32) -> Ordering + '_ {
    |a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b))
}

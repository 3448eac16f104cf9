//! From logits to the next token.

mod keep;
mod random;
#[cfg(test)]
mod tests;

use keep::Kept;

/// How the next token is chosen.
///
/// The specification, in this order: biases are added; tokens among the last
/// [`Sampling::repeat_window`] get their logit divided (if positive) or multiplied by
/// [`Sampling::repeat_penalty`] (Keskar et al., 2019, §4.1), once each; what a grammar forbids gets
/// −∞. With a temperature of 0 the largest logit wins. Else the `top_k` largest are kept; of those
/// the fewest largest whose share of the probability is at least `top_p` (Holtzman et al., 2020,
/// §3.1); of those the ones at least `min_p` times as probable as the first (Nguyen et al., 2024);
/// all at temperature 1, equal logits in order of their tokens, and the first is always kept. The
/// kept logits are divided by the temperature, and one token is drawn with the probabilities of
/// their softmax, in double precision, tokens in ascending order. Same as llama.cpp's default
/// chain, random numbers apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 is greedy; 1 the model's own distribution.
    pub temperature: f32,
    /// 0 keeps all.
    pub top_k: usize,
    /// Above 0, at most 1; 1 keeps all.
    pub top_p: f32,
    /// 0 to 1; 0 keeps all.
    pub min_p: f32,
    /// Above 0; 1 changes nothing.
    pub repeat_penalty: f32,
    /// How many of the last tokens, prompt included, are penalised.
    pub repeat_window: usize,
    /// Tokens and what is added to their logit; −∞ forbids.
    pub logit_bias: Vec<(u32, f32)>,
    /// The `i`-th token of a request is drawn with a number that is a function of the seed and
    /// `i`.
    pub seed: u64,
    /// Tells log-probabilities: of the chosen token and of so many most likely ones.
    pub log_probabilities: Option<usize>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            repeat_window: 64,
            logit_bias: Vec::new(),
            seed: 0,
            log_probabilities: None,
        }
    }
}

/// Settings that make no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// A number outside its range.
    #[error("{name} is {got}; expected {expected}")]
    Range {
        /// The setting.
        name: &'static str,
        /// Its value.
        got: f32,
        /// Its range.
        expected: &'static str,
    },
    /// A bias of a token that is none.
    #[error("logit bias of token {token}; the vocabulary has {vocabulary}")]
    Token {
        /// The token.
        token: u32,
        /// Entries of the vocabulary.
        vocabulary: usize,
    },
}

impl Sampling {
    /// Holds every setting to its range.
    ///
    /// # Errors
    /// [`SamplingError`] naming the first that is outside.
    pub fn check(&self, vocabulary: usize) -> Result<(), SamplingError> {
        let range = |name, got: f32, fits: bool, expected| {
            if fits { Ok(()) } else { Err(SamplingError::Range { name, got, expected }) }
        };
        let Self { temperature, top_p, min_p, repeat_penalty, .. } = *self;
        let finite = temperature.is_finite() && temperature >= 0.0;
        range("temperature", temperature, finite, "a number from 0")?;
        range("top-p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0 and at most 1")?;
        range("min-p", min_p, (0.0..=1.0).contains(&min_p), "0 to 1")?;
        let fits = repeat_penalty.is_finite() && repeat_penalty > 0.0;
        range("repeat-penalty", repeat_penalty, fits, "a number above 0")?;
        for &(token, bias) in &self.logit_bias {
            let fits = bias.is_finite() || bias == f32::NEG_INFINITY;
            range("logit bias", bias, fits, "a number or minus infinity")?;
            if token as usize >= vocabulary {
                return Err(SamplingError::Token { token, vocabulary });
            }
        }
        Ok(())
    }

    fn changes(&self) -> bool {
        !self.logit_bias.is_empty() || self.repeat_penalty != 1.0
    }
}

/// A chosen token.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The token.
    pub token: u32,
    /// Natural logarithm of its probability by the model alone: at temperature 1, nothing added or
    /// forbidden. `None` unless asked for.
    pub log_probability: Option<f32>,
    /// The most likely tokens of the model alone and the logarithms of their probabilities, most
    /// likely first; as many as were asked for.
    pub top: Vec<(u32, f32)>,
}

/// Chooses the tokens of one request.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    /// Tokens chosen so far.
    drawn: u64,
    /// The logits as changed.
    changed: Vec<f32>,
    kept: Kept,
}

impl Sampler {
    /// A sampler that has chosen nothing yet.
    pub fn new(sampling: Sampling) -> Self {
        Self { sampling, drawn: 0, changed: Vec::new(), kept: Kept::default() }
    }

    /// Chooses the token that follows `past`, given the model's `logits` and, if there is a
    /// grammar, a bit for each token that it allows (32 a word, lowest first).
    ///
    /// Linear in the vocabulary but for sorting what `top_p` looks at.
    ///
    /// # Panics
    /// If there are no logits.
    pub fn choose(&mut self, logits: &[f32], past: &[u32], allowed: Option<&[u32]>) -> Choice {
        assert!(!logits.is_empty(), "a vocabulary");
        let index = self.drawn;
        self.drawn += 1;
        let token = if self.sampling.changes() || allowed.is_some() {
            let mut changed = std::mem::take(&mut self.changed);
            changed.clear();
            changed.extend_from_slice(logits);
            self.change(&mut changed, past, allowed);
            let token = self.pick(&changed, index);
            self.changed = changed;
            token
        } else {
            self.pick(logits, index)
        };
        let Some(count) = self.sampling.log_probabilities else {
            return Choice { token, log_probability: None, top: Vec::new() };
        };
        let log_sum = log_sum(logits);
        let log = |token: u32| (f64::from(logits[token as usize]) - log_sum) as f32;
        let top = self.kept.largest(logits, count);
        let top = top.iter().map(|&token| (token, log(token))).collect();
        Choice { token, log_probability: Some(log(token)), top }
    }

    fn change(&self, logits: &mut [f32], past: &[u32], allowed: Option<&[u32]>) {
        let Sampling { repeat_penalty, repeat_window, ref logit_bias, .. } = self.sampling;
        for &(token, bias) in logit_bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
        if repeat_penalty != 1.0 {
            let mut recent = past[past.len().saturating_sub(repeat_window)..].to_vec();
            recent.sort_unstable();
            recent.dedup();
            for token in recent {
                let Some(logit) = logits.get_mut(token as usize) else { continue };
                *logit =
                    if *logit > 0.0 { *logit / repeat_penalty } else { *logit * repeat_penalty };
            }
        }
        let Some(allowed) = allowed else { return };
        for (token, logit) in logits.iter_mut().enumerate() {
            if allowed.get(token / 32).is_none_or(|word| word >> (token % 32) & 1 == 0) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    fn pick(&mut self, logits: &[f32], index: u64) -> u32 {
        let Sampling { temperature, seed, .. } = self.sampling;
        if temperature == 0.0 {
            return largest(logits);
        }
        let kept = self.kept.tokens(logits, &self.sampling);
        let most = kept.iter().map(|&token| logits[token as usize]).fold(f32::MIN, f32::max);
        let weight =
            |token: u32| (f64::from(logits[token as usize] - most) / f64::from(temperature)).exp();
        let mut left =
            random::unit(seed, index) * kept.iter().map(|&token| weight(token)).sum::<f64>();
        for &token in kept {
            left -= weight(token);
            if left < 0.0 {
                return token;
            }
        }
        // Rounding may leave a trace; a token of no weight is never drawn.
        kept.iter().rev().copied().find(|&token| weight(token) > 0.0).unwrap_or_default()
    }
}

/// The token with the largest logit, of equal ones the first.
fn largest(logits: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (token, logit);
        }
    }
    best.0 as u32
}

/// `ln Σ exp(logit)` in double precision.
fn log_sum(logits: &[f32]) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum = logits.iter().map(|&logit| f64::from(logit - most).exp()).sum::<f64>();
    f64::from(most) + sum.ln()
}

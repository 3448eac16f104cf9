//! What a change to its weights costs a network, measured on a few texts.

use kvant_model::{Checkpoint, Decoder, EmbedOptions, Encoder, ForwardOptions, Network};

/// Texts of an encoder that are looked at.
const TEXTS: usize = 48;
/// Tokens of a language model that are looked at.
const TOKENS: usize = 384;

/// The outputs of a network to compare others with.
#[derive(Debug)]
pub struct Probe {
    reference: Reference,
}

#[derive(Debug)]
enum Reference {
    /// Texts, and their vectors of unit length.
    Vectors { texts: Vec<String>, dim: usize, vectors: Vec<f32> },
    /// Tokens, and the logarithms of the probabilities of what follows each.
    Tokens { tokens: Vec<u32>, vocabulary: usize, logs: Vec<f32> },
}

/// A network that could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It did not load.
    #[error(transparent)]
    Load(#[from] kvant_model::LoadError),
    /// An encoder refused a text.
    #[error(transparent)]
    Embed(#[from] kvant_model::EmbedError),
    /// A language model refused a text.
    #[error(transparent)]
    Forward(#[from] kvant_model::ForwardError),
}

impl Probe {
    /// The outputs of the network in `checkpoint` on some of `texts`.
    ///
    /// # Errors
    /// [`ProbeError`] if it does not run.
    pub fn new(
        checkpoint: &Checkpoint,
        texts: &[String],
        threads: usize,
    ) -> Result<Self, ProbeError> {
        let network = Network::open(checkpoint)?;
        let reference = match network {
            Network::Encoder(encoder) => {
                let step = texts.len().div_ceil(TEXTS).max(1);
                let texts: Vec<String> = texts.iter().step_by(step).cloned().collect();
                let vectors = embed(&encoder, &texts, threads)?;
                Reference::Vectors { texts, dim: encoder.dim(), vectors }
            }
            Network::Decoder(decoder) => {
                let mut tokens = decoder.tokenize(&texts.join("\n"))?;
                tokens.truncate(TOKENS.min(decoder.context()));
                let logs = logs(&decoder, &tokens, threads)?;
                Reference::Tokens { tokens, vocabulary: decoder.vocabulary(), logs }
            }
        };
        Ok(Self { reference })
    }

    /// What [`Probe::loss`] counts.
    pub fn measure(&self) -> &'static str {
        match self.reference {
            Reference::Vectors { .. } => "1 - cosine",
            Reference::Tokens { .. } => "KL divergence",
        }
    }

    /// How far the outputs of the network in `checkpoint` are from the reference: the mean of
    /// `1 − cosine` over the texts, or the mean Kullback–Leibler divergence over the tokens. It
    /// does not depend on `threads`.
    ///
    /// # Errors
    /// [`ProbeError`] if it does not run.
    pub fn loss(&self, checkpoint: &Checkpoint, threads: usize) -> Result<f64, ProbeError> {
        match (&self.reference, Network::open(checkpoint)?) {
            (Reference::Vectors { texts, dim, vectors }, Network::Encoder(encoder)) => {
                let got = embed(&encoder, texts, threads)?;
                let pairs = vectors.chunks_exact(*dim).zip(got.chunks_exact(*dim));
                let lost: f64 = pairs.map(|(a, b)| 1.0 - dot(a, b)).sum();
                Ok(lost / texts.len().max(1) as f64)
            }
            (Reference::Tokens { tokens, vocabulary, logs: wanted }, Network::Decoder(decoder)) => {
                let got = logs(&decoder, tokens, threads)?;
                let pairs = wanted.chunks_exact(*vocabulary).zip(got.chunks_exact(*vocabulary));
                let lost: f64 = pairs.map(|(p, q)| divergence(p, q)).sum();
                Ok(lost / tokens.len().max(1) as f64)
            }
            // The same model cannot have become of another kind.
            (Reference::Vectors { .. }, Network::Decoder(_))
            | (Reference::Tokens { .. }, Network::Encoder(_)) => Ok(f64::INFINITY),
        }
    }
}

fn embed(
    encoder: &Encoder,
    texts: &[String],
    threads: usize,
) -> Result<Vec<f32>, kvant_model::EmbedError> {
    let options = EmbedOptions { threads, ..EmbedOptions::default() };
    let mut vectors = encoder.embed(texts, &options)?;
    for vector in vectors.chunks_exact_mut(encoder.dim()) {
        let norm = dot(vector, vector).sqrt() as f32;
        if norm > 0.0 {
            for value in vector.iter_mut() {
                *value /= norm;
            }
        }
    }
    Ok(vectors)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The logarithms of the probabilities.
fn logs(
    decoder: &Decoder,
    tokens: &[u32],
    threads: usize,
) -> Result<Vec<f32>, kvant_model::ForwardError> {
    let options = ForwardOptions { threads, ..ForwardOptions::default() };
    let mut logits = decoder.logits(tokens, options)?;
    for row in logits.chunks_exact_mut(decoder.vocabulary()) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|v| f64::from(v - max).exp()).sum();
        let log = max + sum.ln() as f32;
        for value in row.iter_mut() {
            *value -= log;
        }
    }
    Ok(logits)
}

/// KL(p‖q) of two rows of logarithms.
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    p.iter().zip(q).map(|(p, q)| f64::from(*p).exp() * f64::from(p - q)).sum()
}

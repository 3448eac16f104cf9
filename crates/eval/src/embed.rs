//! What the evaluation needs of a model, whatever kind it is.

use kvant_model::{EmbedOptions, Encoder};

/// Why a model could not embed; shown to the user after the model's label.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A model that turns texts into vectors.
pub trait Embed: Sync {
    /// Components of a vector.
    fn dim(&self) -> usize;

    /// The vectors of `texts`, `n × dim` row-major in their order.
    ///
    /// # Errors
    /// Whatever keeps the model from it.
    fn embed(&self, texts: &[&str], options: &EmbedOptions<'_>) -> Result<Vec<f32>, Failure>;

    /// Tokens of `text`, special ones included, after truncation.
    ///
    /// # Errors
    /// Whatever keeps the model from it.
    fn tokens(&self, text: &str) -> Result<usize, Failure>;

    /// Multiply-accumulate operations for a text of `tokens` tokens.
    fn macs(&self, tokens: usize) -> u64;

    /// Bytes of the weights as they lie in memory.
    fn weight_bytes(&self) -> usize;
}

impl Embed for Encoder {
    fn dim(&self) -> usize {
        Encoder::dim(self)
    }

    fn embed(&self, texts: &[&str], options: &EmbedOptions<'_>) -> Result<Vec<f32>, Failure> {
        Ok(Encoder::embed(self, texts, options)?)
    }

    fn tokens(&self, text: &str) -> Result<usize, Failure> {
        Ok(self.tokenize(text)?.len())
    }

    fn macs(&self, tokens: usize) -> u64 {
        Encoder::macs(self, tokens)
    }

    fn weight_bytes(&self) -> usize {
        Encoder::weight_bytes(self)
    }
}

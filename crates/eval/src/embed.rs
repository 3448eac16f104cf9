//! What the evaluation needs of a model, whatever kind it is.

use kvant_model::{EmbedOptions, Encoder};

/// Texts between two words of progress, of a model that has none of its own.
const CHUNK: usize = 256;

/// Why a model could not embed; shown to the user after the model's label.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A model that turns texts into vectors.
pub trait Embed: Sync {
    /// Components of a vector.
    fn dim(&self) -> usize;

    /// The vectors of `texts`, `n × dim` row-major in their order, by up to `threads` threads.
    ///
    /// # Errors
    /// Whatever keeps the model from it.
    fn embed(&self, texts: &[&str], threads: usize) -> Result<Vec<f32>, Failure>;

    /// As [`Embed::embed`], telling `options.progress` now and then how many texts were finished
    /// since.
    ///
    /// # Errors
    /// Whatever keeps the model from it.
    fn embed_with(&self, texts: &[&str], options: &EmbedOptions<'_>) -> Result<Vec<f32>, Failure> {
        let mut vectors = Vec::with_capacity(texts.len().saturating_mul(self.dim()));
        for chunk in texts.chunks(CHUNK) {
            vectors.extend(self.embed(chunk, options.threads)?);
            if let Some(progress) = options.progress {
                progress(chunk.len());
            }
        }
        Ok(vectors)
    }

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

    fn embed(&self, texts: &[&str], threads: usize) -> Result<Vec<f32>, Failure> {
        let options = EmbedOptions { threads, ..EmbedOptions::default() };
        Ok(Encoder::embed(self, texts, &options)?)
    }

    fn embed_with(&self, texts: &[&str], options: &EmbedOptions<'_>) -> Result<Vec<f32>, Failure> {
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

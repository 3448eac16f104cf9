//! What the evaluation needs of a model, whatever kind it is.

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

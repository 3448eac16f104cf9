//! Language models: text to tokens, tokens to logits.

mod text;

use std::fmt;
use std::path::{Path, PathBuf};

use kvant_kernels::{Kernels, kernels};

use crate::arch::llama::{Llama, Pass, Shape};
use crate::{Checkpoint, ForwardError, LoadError, Tap};
use text::Text;

/// How [`Decoder::logits`] runs.
pub struct ForwardOptions<'a> {
    /// Threads, at least 1. The logits do not depend on it.
    pub threads: usize,
    /// The first position whose logits are wanted; the head, a large part of the work in small
    /// models, does nothing for those before it.
    pub from: usize,
    /// Sees the inputs of the linear layers: all positions of those in the layers, of the head
    /// those from `from` on.
    pub tap: Option<&'a mut dyn Tap>,
}

impl Default for ForwardOptions<'_> {
    fn default() -> Self {
        Self { threads: 1, from: 0, tap: None }
    }
}

impl fmt::Debug for ForwardOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardOptions")
            .field("threads", &self.threads)
            .field("from", &self.from)
            .field("tap", &self.tap.is_some())
            .finish()
    }
}

/// A Llama-like language model (Llama, SmolLM2, Mistral, Qwen2) in f32, ready to run.
///
/// Weights of any stored format are decoded when loaded, 4 bytes each.
pub struct Decoder {
    path: PathBuf,
    text: Text,
    network: Llama,
    kernels: &'static Kernels,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("path", &self.path)
            .field("vocabulary", &self.vocabulary())
            .field("context", &self.context())
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// Loads a directory with `config.json`, `tokenizer.json` and safetensors, or a GGUF file,
    /// which brings its tokenizer along.
    ///
    /// # Errors
    /// [`LoadError`] naming the file at fault and the remedy.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        Self::open(&Checkpoint::open(path)?)
    }

    /// Loads the model in `checkpoint`, with what was replaced there and in the precision chosen
    /// there.
    ///
    /// # Errors
    /// As [`Decoder::load`].
    pub fn open(checkpoint: &Checkpoint) -> Result<Self, LoadError> {
        let shape = Shape::of(checkpoint)?;
        let text = Text::of(checkpoint)?;
        let network = Llama::load(checkpoint, shape)?;
        Ok(Self { path: checkpoint.path().to_path_buf(), text, network, kernels: kernels() })
    }

    /// Entries of the vocabulary: logits of a position.
    pub fn vocabulary(&self) -> usize {
        self.network.vocabulary()
    }

    /// Tokens of the longest sequence: the context length the model was trained on.
    pub fn context(&self) -> usize {
        self.network.context()
    }

    /// Bytes of the weights as held for running (mapped tables included).
    pub fn weight_bytes(&self) -> usize {
        self.network.size_bytes()
    }

    /// The special tokens the tokenizer puts before every text (`<s>`); often none.
    pub fn prefix(&self) -> &[u32] {
        self.text.prefix()
    }

    /// The tokens of `text`, with the special tokens that the tokenizer adds by default and no
    /// others; special tokens written out in the text are recognised. Linear in the text.
    ///
    /// # Errors
    /// [`ForwardError::Tokenize`] if the tokenizer refuses it.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, ForwardError> {
        self.text.tokens(text)
    }

    /// The text of `tokens`, special ones left out.
    ///
    /// # Errors
    /// [`ForwardError::Tokenize`] if the tokenizer refuses them.
    pub fn detokenize(&self, tokens: &[u32]) -> Result<String, ForwardError> {
        self.text.text(tokens)
    }

    /// The tokens of `text`, which may be long, cut into sequences of `window` tokens, each with
    /// the [`Decoder::prefix`] in front; the last one is what is left.
    ///
    /// # Errors
    /// As [`Decoder::tokenize`]; [`ForwardError::Length`] if `window` holds the prefix only, or
    /// more than the context.
    pub fn windows(&self, text: &str, window: usize) -> Result<Vec<Vec<u32>>, ForwardError> {
        let (prefix, context) = (self.prefix(), self.context());
        if !(prefix.len() + 1..=context).contains(&window) {
            return Err(ForwardError::Length { tokens: window, from: prefix.len(), context });
        }
        let tokens = self.text.bare(text)?;
        let windows = tokens.chunks(window - prefix.len());
        Ok(windows.map(|tokens| [prefix, tokens].concat()).collect())
    }

    /// The logits of the positions from [`ForwardOptions::from`] on, `(n − from) × vocabulary`,
    /// row-major, of one sequence of `n` tokens. Row `i` says what follows token `from + i`.
    ///
    /// A row depends on the tokens up to its position, not on those after it nor on the number
    /// of threads, bit for bit. Costs two operations a weight and token and `O(n²)` for the
    /// attention.
    ///
    /// # Errors
    /// [`ForwardError`] if there are no tokens from `from` on, too many, some outside the
    /// vocabulary, or if the weights are broken.
    pub fn logits(
        &self,
        tokens: &[u32],
        options: ForwardOptions<'_>,
    ) -> Result<Vec<f32>, ForwardError> {
        let threads = options.threads;
        let states = self.states(tokens, options)?;
        let logits = self.network.head(self.kernels, threads, &states);
        self.finite(logits)
    }

    /// Runs `tokens` for what [`ForwardOptions::tap`] sees of it; the head is tapped and not
    /// computed.
    ///
    /// # Errors
    /// As [`Decoder::logits`].
    pub fn observe(&self, tokens: &[u32], options: ForwardOptions<'_>) -> Result<(), ForwardError> {
        self.states(tokens, options).map(|_| ())
    }

    fn states(
        &self,
        tokens: &[u32],
        options: ForwardOptions<'_>,
    ) -> Result<Vec<f32>, ForwardError> {
        let ForwardOptions { threads, from, tap } = options;
        let context = self.context();
        if !(from + 1..=context).contains(&tokens.len()) {
            return Err(ForwardError::Length { tokens: tokens.len(), from, context });
        }
        let vocabulary = self.vocabulary();
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return Err(ForwardError::Vocabulary { token, vocabulary });
        }
        let mut pass = Pass { kernels: self.kernels, threads, tap };
        let states = self.network.states(tokens, from, &mut pass);
        self.finite(states)
    }

    fn finite(&self, values: Vec<f32>) -> Result<Vec<f32>, ForwardError> {
        if values.iter().all(|value| value.is_finite()) {
            return Ok(values);
        }
        Err(ForwardError::NotFinite { path: self.path.clone() })
    }
}

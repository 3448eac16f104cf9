//! Texts to vectors.

use std::fmt;
use std::path::Path;

use kvant_kernels::Kernels;

use crate::arch::bert::Bert;
use crate::checkpoint::gguf::Header;
use crate::checkpoint::printable;
use crate::config::Config;
use crate::pool::Pooling;
use crate::tokenizer::{Sequence, Tokenizer};
use crate::trunk::{Trunk, Work};
use crate::{Cancel, Checkpoint, EmbedError, LoadError, Tap, Texts};

/// Texts whose tokens are held at a time.
pub(crate) const WINDOW: usize = 16_384;

/// How [`Encoder::embed`] and [`Classifier::scores`](crate::Classifier::scores) run. What they give
/// does not depend on any of it.
#[derive(Clone, Copy)]
pub struct EmbedOptions<'a> {
    /// Threads, at least 1.
    pub threads: usize,
    /// Tokens that go through the network together, at least one text; costs about 16 kB each.
    pub batch_tokens: usize,
    /// Called from any thread with the number of texts finished since the last call.
    pub progress: Option<&'a (dyn Fn(usize) + Sync)>,
    /// Ends the call before its next batch, with [`EmbedError::Cancelled`].
    pub cancel: Option<&'a Cancel>,
}

impl Default for EmbedOptions<'_> {
    fn default() -> Self {
        Self { threads: 1, batch_tokens: 512, progress: None, cancel: None }
    }
}

impl fmt::Debug for EmbedOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbedOptions")
            .field("threads", &self.threads)
            .field("batch_tokens", &self.batch_tokens)
            .finish_non_exhaustive()
    }
}

/// A BERT-like sentence encoder ready to run.
pub struct Encoder {
    trunk: Trunk,
    pooling: Pooling,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("dim", &self.dim())
            .field("max_tokens", &self.max_tokens())
            .field("pooling", &self.pooling)
            .finish_non_exhaustive()
    }
}

impl Encoder {
    /// Loads the sentence-transformers directory `dir`: `config.json`, `tokenizer.json`,
    /// `model.safetensors`, and if there `modules.json`, `1_Pooling/config.json` and
    /// `sentence_bert_config.json`. Without `modules.json`: mean pooling, not normalised.
    /// Or a GGUF file of the architecture `bert`, whose vectors are normalised unless it says no.
    ///
    /// # Errors
    /// [`LoadError`] naming the file at fault and the remedy.
    pub fn load(dir: &Path) -> Result<Self, LoadError> {
        Self::open(&Checkpoint::open(dir)?)
    }

    /// Loads the encoder in `checkpoint`, with what was replaced there and in the precision
    /// chosen there.
    ///
    /// # Errors
    /// As [`Encoder::load`].
    pub fn open(checkpoint: &Checkpoint) -> Result<Self, LoadError> {
        let dir = checkpoint.path();
        let (config, tokenizer, pooling) = match (checkpoint.gguf(), checkpoint.config()) {
            (Some(header), _) => gguf(checkpoint, header)?,
            (None, Some(config)) => {
                let config = Config::parse(&dir.join("config.json"), config)?;
                let tokenizer = Tokenizer::read(dir, config.positions, None)?;
                (config, tokenizer, Pooling::read(dir)?)
            }
            (None, None) => {
                let (what, remedy) = ("config.json", "copy it from the model's source");
                return Err(LoadError::Missing { path: dir.to_path_buf(), what, remedy });
            }
        };
        let network = Bert::load(checkpoint, config, 1)?;
        Ok(Self { trunk: Trunk::new(dir, tokenizer, network), pooling })
    }

    /// Length of the vectors.
    pub fn dim(&self) -> usize {
        self.trunk.network.hidden()
    }

    /// Tokens of the longest text, special ones included; longer texts are cut.
    pub fn max_tokens(&self) -> usize {
        self.trunk.tokenizer.max_tokens()
    }

    /// Whether the model says how states become a vector. Else it is their mean, not normalised,
    /// which may not be what the model was trained for.
    pub fn is_pooling_stated(&self) -> bool {
        self.pooling.is_stated()
    }

    /// Multiply-adds of a forward pass over one text of `tokens` tokens.
    pub fn macs(&self, tokens: usize) -> u64 {
        self.trunk.network.macs(tokens)
    }

    /// Bytes of the weights as held for running (mapped tables included).
    pub fn weight_bytes(&self) -> usize {
        self.trunk.network.size_bytes()
    }

    /// The tokens of `text` as the network gets them: with special tokens, cut to
    /// [`Encoder::max_tokens`]. Of a text only the first MiB is read.
    ///
    /// # Errors
    /// [`EmbedError`] with index 0 if the tokenizer refuses the text.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, EmbedError> {
        Ok(self.trunk.sequence(0, Texts::One(text))?.tokens)
    }

    /// The vectors of `texts`, `texts.len() × dim`, row-major, in the order of the texts.
    ///
    /// A vector depends on its text only, bit for bit: not on the other texts, the batches or
    /// the number of threads. Texts are sorted by length inside, so mixed lengths cost nothing.
    ///
    /// # Errors
    /// [`EmbedError`] naming the first text at fault, or that the call was cancelled.
    pub fn embed<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &EmbedOptions<'_>,
    ) -> Result<Vec<f32>, EmbedError> {
        let dim = self.dim();
        let mut out = vec![0.0; texts.len() * dim];
        let pool = |_: &Kernels, work: &mut Work| self.pool(work);
        let windows = texts.chunks(WINDOW).zip(out.chunks_mut(WINDOW * dim));
        for (index, (texts, out)) in windows.enumerate() {
            let from = index * WINDOW;
            let sequences = self.trunk.sequences((from, texts), one, options)?;
            self.trunk.run((from, &sequences), out, options, &pool)?;
        }
        Ok(out)
    }

    /// Runs `texts` for what `tap` sees of it: the inputs of all linear layers, batch after
    /// batch, the same for any number of threads (they only tokenize). Tables are not tapped.
    ///
    /// # Errors
    /// [`EmbedError`] naming the first text at fault, or one in a batch that gave NaN, or that it
    /// was cancelled.
    pub fn observe<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &EmbedOptions<'_>,
        tap: &mut dyn Tap,
    ) -> Result<(), EmbedError> {
        for (index, texts) in texts.chunks(WINDOW).enumerate() {
            let from = index * WINDOW;
            let sequences = self.trunk.sequences((from, texts), one, options)?;
            self.trunk.observe((from, &sequences), options, tap)?;
        }
        Ok(())
    }

    /// The vectors of `sequences`, whatever values they have.
    pub(crate) fn rows(
        &self,
        sequences: &[Sequence],
        out: &mut [f32],
        options: &EmbedOptions<'_>,
    ) -> Result<(), EmbedError> {
        let pool = |_: &Kernels, work: &mut Work| self.pool(work);
        self.trunk.rows(sequences, out, options, &pool)
    }

    /// The network and its tokenizer.
    pub(crate) fn trunk(&self) -> &Trunk {
        &self.trunk
    }

    fn pool(&self, work: &mut Work) {
        let (dim, Work { batch, scratch, rows }) = (self.dim(), work);
        rows.resize(batch.lengths.len() * dim, 0.0);
        let mut start = 0;
        for (length, row) in batch.lengths.iter().zip(rows.chunks_exact_mut(dim)) {
            let end = start + length * dim;
            self.pooling.forward(&scratch.hidden[start..end], row);
            start = end;
        }
    }
}

fn one<S: AsRef<str>>(text: &S) -> Texts<'_> {
    Texts::One(text.as_ref())
}

/// All but the network of a GGUF file.
fn gguf(
    checkpoint: &Checkpoint,
    header: &Header,
) -> Result<(Config, Tokenizer, Pooling), LoadError> {
    let path = checkpoint.path();
    let architecture = header.text("general.architecture").unwrap_or("none");
    if architecture != "bert" {
        let what = format!("architecture '{}'", printable(architecture));
        let supported = "sentence encoders of the architecture bert";
        return Err(LoadError::Unsupported { path: path.to_path_buf(), what, supported });
    }
    let config = Config::gguf(checkpoint, header)?;
    let tokenizer = Tokenizer::gguf(path, header, config.positions)?;
    Ok((config, tokenizer, Pooling::gguf(path, header)?))
}

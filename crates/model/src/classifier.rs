//! Texts, or pairs of texts, to scores of labels.

mod head;

use std::fmt;
use std::path::Path;

use kvant_kernels::Kernels;

use crate::arch::bert::{Bert, Head};
use crate::config::Config;
use crate::encoder::WINDOW;
use crate::tokenizer::{TYPES, Tokenizer};
use crate::trunk::{Trunk, Work};
use crate::{Checkpoint, EmbedError, EmbedOptions, LoadError};

pub use head::Squash;

/// What a classifier reads at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts<'a> {
    /// One text.
    One(&'a str),
    /// Two, as a query and a document that may answer it.
    Pair(&'a str, &'a str),
}

/// A BERT-like network with a head that scores labels: a classifier, or a cross-encoder that says
/// by one label how well two texts go together (Nogueira and Cho, 2019).
pub struct Classifier {
    trunk: Trunk,
    head: Head,
    labels: Vec<String>,
    squash: Squash,
}

impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Classifier")
            .field("labels", &self.labels)
            .field("squash", &self.squash)
            .field("max_tokens", &self.max_tokens())
            .finish_non_exhaustive()
    }
}

impl Classifier {
    /// Loads the directory `dir` of a `BertForSequenceClassification`: `config.json` (labels by
    /// `id2label`, `label2id` or `num_labels`; the [`Squash`]), `tokenizer.json`,
    /// `model.safetensors`. The longest sequence is the `max_seq_length` of
    /// `sentence_bert_config.json`, else the `model_max_length` of `tokenizer_config.json`, else as
    /// `tokenizer.json` cuts, at most what the network has positions for.
    ///
    /// # Errors
    /// [`LoadError`] naming the file at fault and the remedy; [`LoadError::Missing`] for a sentence
    /// encoder, which has no head.
    pub fn load(dir: &Path) -> Result<Self, LoadError> {
        Self::open(&Checkpoint::open(dir)?)
    }

    /// Loads the classifier in `checkpoint`, with what was replaced there and in the precision
    /// chosen there; the head reads its inputs in f32 whatever that is.
    ///
    /// # Errors
    /// As [`Classifier::load`].
    pub fn open(checkpoint: &Checkpoint) -> Result<Self, LoadError> {
        let dir = checkpoint.path();
        let Some(json) = checkpoint.config() else {
            if checkpoint.gguf().is_some() {
                return Err(head::missing(dir));
            }
            let (what, remedy) = ("config.json", "copy it from the model's source");
            return Err(LoadError::Missing { path: dir.to_path_buf(), what, remedy });
        };
        head::required(checkpoint, json)?;
        let path = dir.join("config.json");
        let config = Config::parse(&path, json)?;
        let rows = checkpoint.tensor("classifier.weight").and_then(|tensor| tensor.shape.first());
        let labels = head::labels(&path, json, rows.copied())?;
        let squash = Squash::read(&path, json, labels.len())?;
        let tokenizer = Tokenizer::read(dir, config.positions, head::max_tokens(dir)?)?;
        let tokenizer = tokenizer.with_pairs(config.types);
        let head = Head::load(checkpoint, config.hidden, labels.len())?;
        let network = Bert::load(checkpoint, config, TYPES)?;
        Ok(Self { trunk: Trunk::new(dir, tokenizer, network), head, labels, squash })
    }

    /// What the labels are called, in the order of the scores.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// What turns logits into the scores that the model's makers speak of.
    pub fn squash(&self) -> Squash {
        self.squash
    }

    /// Tokens of the longest sequence, special ones included; longer ones are cut.
    pub fn max_tokens(&self) -> usize {
        self.trunk.tokenizer.max_tokens()
    }

    /// Bytes of the weights as held for running (mapped tables included).
    pub fn weight_bytes(&self) -> usize {
        self.trunk.network.size_bytes() + self.head.size_bytes()
    }

    /// The tokens of `texts` as the network gets them, and the type of each: with special tokens,
    /// cut to [`Classifier::max_tokens`], of a pair the longer text first.
    ///
    /// # Errors
    /// [`EmbedError`] with index 0 if the tokenizer refuses the texts or takes no pairs.
    pub fn tokenize(&self, texts: Texts<'_>) -> Result<(Vec<u32>, Vec<u8>), EmbedError> {
        let mut sequence = self.trunk.sequence(0, texts)?;
        sequence.types.resize(sequence.tokens.len(), 0);
        Ok((sequence.tokens, sequence.types))
    }

    /// The logits of `items`, `items.len() × labels`, row-major, in the order of the items.
    /// [`Squash::apply`] makes scores of them.
    ///
    /// Logits depend on their item only, bit for bit: not on the other items, the batches or the
    /// number of threads.
    ///
    /// # Errors
    /// [`EmbedError`] naming the first item at fault, or that the call was cancelled.
    pub fn scores(
        &self,
        items: &[Texts<'_>],
        options: &EmbedOptions<'_>,
    ) -> Result<Vec<f32>, EmbedError> {
        let labels = self.labels.len();
        let mut out = vec![0.0; items.len() * labels];
        let finish = |kernels: &Kernels, work: &mut Work| self.head.forward(kernels, work);
        let windows = items.chunks(WINDOW).zip(out.chunks_mut(WINDOW * labels));
        for (index, (items, out)) in windows.enumerate() {
            let from = index * WINDOW;
            let sequences = self.trunk.sequences((from, items), |item| *item, options)?;
            self.trunk.run((from, &sequences), out, options, &finish)?;
        }
        Ok(out)
    }
}

//! Why a model did not load.

use std::path::PathBuf;

use kvant_storage::ReadError;

use crate::HeaderError;

/// A model that could not be opened, inspected or loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The operating system refused a file.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file the model needs is not there.
    #[error("{what} is missing in {}: {remedy}", path.display())]
    Missing {
        /// The directory (or file) that was looked into.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The content is of another kind than the name says.
    #[error("{} is {found}: {remedy}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What the content looks like.
        found: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A weight file whose header is broken or hostile.
    #[error("{} is damaged: {source}; get the file again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: HeaderError,
    },
    /// A configuration file that says something unusable.
    #[error("{}: {why}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The field and its value.
        why: String,
    },
    /// A valid model of a kind this version does not run.
    #[error("{}: {what} is not supported; supported: {supported}", path.display())]
    Unsupported {
        /// The file that says so.
        path: PathBuf,
        /// What was found.
        what: String,
        /// What would have been accepted.
        supported: &'static str,
    },
    /// A tensor that is missing, or whose shape, format or values do not fit.
    #[error("tensor '{name}' of {}: {why}", path.display())]
    Tensor {
        /// The model.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Expected and got.
        why: String,
    },
}

/// A sequence that a language model could not be run on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// The tokenizer refused it.
    #[error("the tokenizer fails: {why}")]
    Tokenize {
        /// The tokenizer's words.
        why: String,
    },
    /// The tokenizer and the network do not belong together.
    #[error(
        "token {token} is outside the {vocabulary} words of the network; the tokenizer belongs \
         to another model"
    )]
    Vocabulary {
        /// The token.
        token: u32,
        /// Entries of the word table.
        vocabulary: usize,
    },
    /// A sequence without a position to compute, or longer than the model was trained on.
    #[error("{tokens} tokens, expected from {} to {context}", from + 1)]
    Length {
        /// Tokens of the sequence.
        tokens: usize,
        /// The first position that is wanted.
        from: usize,
        /// The context length of the model.
        context: usize,
    },
    /// More tokens than a sequence has room for.
    #[error(
        "{tokens} tokens after {held} do not fit the context of {context}; shorten the prompt or \
         start anew"
    )]
    Full {
        /// Tokens read before.
        held: usize,
        /// Tokens to read.
        tokens: usize,
        /// Most tokens of a sequence.
        context: usize,
    },
    /// [`ForwardOptions::cancel`](crate::ForwardOptions::cancel) was set.
    #[error("cancelled")]
    Cancelled,
    /// A cache that was made by a network of another shape.
    #[error("the cache belongs to another model than {path}", path = path.display())]
    Foreign {
        /// The model.
        path: PathBuf,
    },
    /// A weight is NaN or infinite, or so large that the sums are.
    #[error(
        "{path}: the network gives NaN or infinity; its weights are broken, get the model again",
        path = path.display()
    )]
    NotFinite {
        /// The model.
        path: PathBuf,
    },
}

/// A text that could not be embedded or classified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// [`EmbedOptions::cancel`](crate::EmbedOptions::cancel) was set.
    #[error("cancelled")]
    Cancelled,
    /// A weight is NaN or infinite, or so large that the sums are.
    #[error(
        "{path}: the network gives NaN or infinity for text {index}; its weights are broken, \
         get the model again",
        path = path.display()
    )]
    NotFinite {
        /// Directory of the model.
        path: PathBuf,
        /// Place of the text in the list, from 0.
        index: usize,
    },
    /// The tokenizer refused it.
    #[error("text {index}: the tokenizer fails: {why}")]
    Tokenize {
        /// Place of the text in the list, from 0.
        index: usize,
        /// The tokenizer's words.
        why: String,
    },
    /// The tokenizer and the network do not belong together.
    #[error(
        "text {index}: token {token} is outside the {vocabulary} words of the network; \
         tokenizer.json belongs to another model"
    )]
    Vocabulary {
        /// Place of the text in the list, from 0.
        index: usize,
        /// The token.
        token: u32,
        /// Entries of the word table.
        vocabulary: usize,
    },
}

//! The tokenizer of a language model.

use crate::tokenizer::{self, one_line};
use crate::{Checkpoint, ForwardError, LoadError};

/// A tokenizer and what it puts before every text.
#[derive(Debug)]
pub(super) struct Text {
    inner: tokenizers::Tokenizer,
    prefix: Vec<u32>,
}

impl Text {
    /// The tokenizer inside a GGUF file, or `tokenizer.json` of a directory.
    pub(super) fn of(checkpoint: &Checkpoint) -> Result<Self, LoadError> {
        let path = checkpoint.path();
        let inner = match checkpoint.gguf() {
            Some(header) => tokenizer::from_gguf(path, header)?,
            None => tokenizer::from_directory(path)?,
        };
        let (prefix, _) = tokenizer::special(&inner)
            .map_err(|why| LoadError::Config { path: path.to_path_buf(), why })?;
        Ok(Self { inner, prefix })
    }

    pub(super) fn tokenizer(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    pub(super) fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// The tokens of `text` with the special ones around it.
    pub(super) fn tokens(&self, text: &str) -> Result<Vec<u32>, ForwardError> {
        self.encode(text, true)
    }

    /// The tokens of `text` alone.
    pub(super) fn bare(&self, text: &str) -> Result<Vec<u32>, ForwardError> {
        self.encode(text, false)
    }

    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, ForwardError> {
        let encoded = self.inner.encode_fast(text, special);
        Ok(encoded.map_err(|error| refused(&error.to_string()))?.get_ids().to_vec())
    }

    pub(super) fn text(&self, tokens: &[u32]) -> Result<String, ForwardError> {
        self.inner.decode(tokens, true).map_err(|error| refused(&error.to_string()))
    }
}

fn refused(why: &str) -> ForwardError {
    ForwardError::Tokenize { why: one_line(why) }
}

//! Text to tokens, cut to the length the network takes.

mod gguf;
mod merge;
mod pair;

use std::path::Path;

use serde_json::Value;

use crate::checkpoint::gguf::Header;
use crate::limit::{TEXT_BYTES, TOKENIZER_BYTES};
use crate::save::gguf::MAX_TOKENS;
use crate::{LoadError, file};

pub(crate) use gguf::{BEGIN, WORDS, describe, from_gguf, word_piece};
pub(crate) use pair::{Sequence, TYPES};

/// Characters per token that a first look takes; a second one looks at twice as many.
const GLANCE: usize = 20;
/// Tokens past the limit that must be there before the rest of a text is left unread: no
/// tokenizer joins words over that many.
const MARGIN: usize = 16;

/// A tokenizer with its special tokens and its longest sequence.
#[derive(Debug)]
pub(crate) struct Tokenizer {
    inner: tokenizers::Tokenizer,
    lowercase: bool,
    /// Special tokens before and after every sequence (`[CLS]`, `[SEP]`).
    before: Vec<u32>,
    after: Vec<u32>,
    max_tokens: usize,
    /// Where two texts stand in a sequence, or why they cannot.
    pair: Result<pair::Frame, String>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and the limits beside it. The longest sequence is the
    /// `max_seq_length` of `sentence_bert_config.json`, else `stated`, else the truncation of
    /// `tokenizer.json`, else `positions`; never more than `positions`.
    pub(crate) fn read(
        dir: &Path,
        positions: usize,
        stated: Option<usize>,
    ) -> Result<Self, LoadError> {
        let path = dir.join("tokenizer.json");
        let fail = |why: String| LoadError::Config { path: path.clone(), why };
        let mut inner = parse(dir)?;
        let own_limit = inner.get_truncation().map(|truncation| truncation.max_length);
        inner
            .with_truncation(None)
            .map_err(|error| fail(format!("not a tokenizer: {}", one_line(&error.to_string()))))?;
        inner.with_padding(None);
        let sentence = file::json_if_there(&dir.join("sentence_bert_config.json"))?;
        let sentence = |key: &str| sentence.as_ref().and_then(|config| config.get(key));
        let limit = sentence("max_seq_length").and_then(Value::as_u64).map(|n| n as usize);
        let lowercase = sentence("do_lower_case").and_then(Value::as_bool).unwrap_or(false);
        let max_tokens = limit.or(stated).or(own_limit).unwrap_or(positions).min(positions);
        Self::new(inner, lowercase, max_tokens).map_err(fail)
    }

    /// The tokenizer of the GGUF file at `path`. The longest sequence is what Kvant noted there,
    /// else the context the network was trained on; never more than `positions`.
    pub(crate) fn gguf(path: &Path, header: &Header, positions: usize) -> Result<Self, LoadError> {
        let inner = from_gguf(path, header)?;
        let limit = header.size(MAX_TOKENS).or(header.size("bert.context_length"));
        let max_tokens = limit.unwrap_or(positions).min(positions);
        Self::new(inner, false, max_tokens)
            .map_err(|why| LoadError::Config { path: path.to_path_buf(), why })
    }

    fn new(
        inner: tokenizers::Tokenizer,
        lowercase: bool,
        max_tokens: usize,
    ) -> Result<Self, String> {
        let (before, after) = special(&inner)?;
        if max_tokens <= before.len() + after.len() {
            return Err(format!("sequences of {max_tokens} tokens have no room for text"));
        }
        let pair = Err("this model reads one text at a time".to_owned());
        Ok(Self { inner, lowercase, before, after, max_tokens, pair })
    }

    /// Takes pairs too, for a network that knows `types` types of tokens. A tokenizer that joins
    /// none still takes single texts.
    pub(crate) fn with_pairs(mut self, types: usize) -> Self {
        self.pair = pair::Frame::of(&self.inner, types).and_then(|frame| {
            let fits = self.max_tokens > frame.special() + 1;
            let why = || format!("sequences of {} tokens have no room for two", self.max_tokens);
            fits.then_some(frame).ok_or_else(why)
        });
        self
    }

    /// Tokens of the longest sequence, special ones included.
    pub(crate) fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The tokens of `text` with the special ones, at most [`Tokenizer::max_tokens`].
    ///
    /// The same as if the whole text were tokenized and then cut, but reads only as much of it
    /// as that needs. Of a text only the first [`TEXT_BYTES`] are looked at. Linear in what is
    /// read.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        let limit = self.max_tokens - self.before.len() - self.after.len();
        let (tokens, _) = self.beginning(text, limit)?;
        let kept = &tokens[..tokens.len().min(limit)];
        Ok([&self.before, kept, &self.after].concat())
    }

    /// The tokens of `first` and `second` with the special ones, at most [`Tokenizer::max_tokens`]:
    /// of two texts that are too long together the longer one is cut, to the length of the other
    /// if need be and then both (`longest_first` of transformers). Reads as much as that needs.
    pub(crate) fn encode_pair(&self, first: &str, second: &str) -> Result<Sequence, String> {
        let frame = self.pair.as_ref().map_err(Clone::clone)?;
        let limit = self.max_tokens - frame.special();
        let (mut one, one_cut) = self.beginning(first, limit)?;
        let (mut two, two_cut) = self.beginning(second, limit)?;
        if one_cut && two_cut && limit % 2 == 1 {
            // Which of them is longer decides whose token the odd one is.
            one = self.pieces(head(first, TEXT_BYTES))?;
            two = self.pieces(head(second, TEXT_BYTES))?;
        }
        let (first, second) = pair::shares(one.len(), two.len(), limit);
        Ok(frame.join(&one[..first], &two[..second]))
    }

    /// The tokens of `text`, or the first of them, more than `limit`, and whether there are others.
    fn beginning(&self, text: &str, limit: usize) -> Result<(Vec<u32>, bool), String> {
        let text = head(text, TEXT_BYTES);
        let mut glance = GLANCE * limit;
        loop {
            let end = pause(text, glance);
            let tokens = self.pieces(&text[..end])?;
            if end == text.len() || tokens.len() >= limit + MARGIN {
                return Ok((tokens, end < text.len()));
            }
            glance = end.saturating_mul(2);
        }
    }

    fn pieces(&self, text: &str) -> Result<Vec<u32>, String> {
        let encoded = if self.lowercase {
            self.inner.encode_fast(text.to_lowercase(), false)
        } else {
            self.inner.encode_fast(text, false)
        };
        let encoded = encoded.map_err(|error| one_line(&error.to_string()))?;
        Ok(encoded.get_ids().to_vec())
    }
}

/// The tokenizer of `tokenizer.json` in `dir`, which neither cuts nor pads.
pub(crate) fn from_directory(dir: &Path) -> Result<tokenizers::Tokenizer, LoadError> {
    let mut inner = parse(dir)?;
    inner.with_padding(None);
    inner.with_truncation(None).map_err(|error| LoadError::Config {
        path: dir.join("tokenizer.json"),
        why: format!("not a tokenizer: {}", one_line(&error.to_string())),
    })?;
    Ok(inner)
}

fn parse(dir: &Path) -> Result<tokenizers::Tokenizer, LoadError> {
    let path = dir.join("tokenizer.json");
    if !path.exists() {
        let what = "tokenizer.json";
        let remedy = "copy it from the model's source; Kvant does not build it from vocab.txt";
        return Err(LoadError::Missing { path: dir.to_path_buf(), what, remedy });
    }
    let bytes = file::read_bounded(&path, TOKENIZER_BYTES)?;
    tokenizers::Tokenizer::from_bytes(&bytes).map_err(|error| {
        let why = format!("not a tokenizer: {}", one_line(&error.to_string()));
        LoadError::Config { path, why }
    })
}

/// Where `text` may be cut after at least `at` bytes: at white space that every tokenizer of
/// words treats as a break (others are stripped as control characters), else at its end.
fn pause(text: &str, at: usize) -> usize {
    let from = head(text, at).len();
    let rest = text[from..].bytes().position(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'));
    rest.map_or(text.len(), |rest| from + rest)
}

/// The first `size` bytes of `text`, less where a character would be cut.
fn head(text: &str, size: usize) -> &str {
    if text.len() <= size { text } else { &text[..text.floor_char_boundary(size)] }
}

/// What the tokenizer puts before and after a sequence, found by asking it.
pub(crate) fn special(inner: &tokenizers::Tokenizer) -> Result<(Vec<u32>, Vec<u32>), String> {
    let ask = |with: bool| {
        let encoded = inner.encode_fast("a", with).map_err(|error| one_line(&error.to_string()));
        encoded.map(|encoded| encoded.get_ids().to_vec())
    };
    let (bare, full) = (ask(false)?, ask(true)?);
    let at = full
        .windows(bare.len().max(1))
        .position(|window| window == bare)
        .ok_or("its post-processor changes the tokens, which is not supported")?;
    Ok((full[..at].to_vec(), full[at + bare.len()..].to_vec()))
}

pub(crate) fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

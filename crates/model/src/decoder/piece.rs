//! The bytes each token stands for.

use std::collections::HashMap;

use tokenizers::{DecoderWrapper, Tokenizer};

use crate::tokenizer::BEGIN;

/// The bytes of every token of a vocabulary, and which tokens are special.
///
/// A text is the bytes of its tokens one behind the other; single tokens need not be UTF-8.
#[derive(Debug)]
pub(crate) struct Pieces {
    /// Where the bytes of each token end.
    pub(super) ends: Vec<u32>,
    pub(super) bytes: Vec<u8>,
    pub(super) special: Vec<bool>,
}

impl Pieces {
    /// The pieces of `tokenizer`, `vocabulary` of them; tokens it does not know have no bytes.
    pub(crate) fn new(tokenizer: &Tokenizer, vocabulary: usize) -> Self {
        let mut words: Vec<Option<String>> = vec![None; vocabulary];
        for (word, token) in tokenizer.get_vocab(false) {
            if let Some(place) = words.get_mut(token as usize) {
                *place = Some(word);
            }
        }
        let (mut special, mut added) = (vec![false; vocabulary], HashMap::new());
        for (token, word) in tokenizer.get_added_tokens_decoder() {
            if let Some(special) = special.get_mut(token as usize) {
                *special = word.special;
                added.insert(token, word.content);
            }
        }
        let signs = signs(tokenizer);
        let (mut ends, mut bytes) = (Vec::with_capacity(vocabulary), Vec::new());
        for (token, word) in words.iter().enumerate() {
            if let Some(content) = added.get(&(token as u32)) {
                bytes.extend(content.as_bytes());
            } else if let Some(word) = word {
                spell(word, signs.as_ref(), &mut bytes);
            }
            ends.push(bytes.len() as u32);
        }
        Self { ends, bytes, special }
    }

    /// The bytes of `token`; none if there is no such token.
    pub(crate) fn bytes(&self, token: u32) -> &[u8] {
        let at = token as usize;
        let end = self.ends.get(at).map_or(0, |&end| end as usize);
        let start = at.checked_sub(1).and_then(|at| self.ends.get(at)).map_or(0, |&s| s as usize);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// Whether `token` is a mark that is no part of the text.
    pub(crate) fn is_special(&self, token: u32) -> bool {
        self.special.get(token as usize).copied().unwrap_or(false)
    }
}

/// The byte each sign stands for in tokenizers of the byte-level kind; `None` for others.
fn signs(tokenizer: &Tokenizer) -> Option<HashMap<char, u8>> {
    let byte_level = |decoder: &DecoderWrapper| matches!(decoder, DecoderWrapper::ByteLevel(_));
    let found = match tokenizer.get_decoder() {
        Some(DecoderWrapper::Sequence(all)) => all.get_decoders().iter().any(byte_level),
        other => other.is_some_and(byte_level),
    };
    let plain = |byte: &u8| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    found.then(|| {
        let others = (0..=u8::MAX).filter(|byte| !plain(byte));
        let others =
            others.zip(256u32..).filter_map(|(byte, sign)| Some((char::from_u32(sign)?, byte)));
        (0..=u8::MAX).filter(plain).map(|byte| (char::from(byte), byte)).chain(others).collect()
    })
}

/// Appends the bytes of `word`: signs for bytes, or a mark for a space and `<0xNN>` for a byte.
fn spell(word: &str, signs: Option<&HashMap<char, u8>>, out: &mut Vec<u8>) {
    if let Some(signs) = signs {
        for sign in word.chars() {
            match signs.get(&sign) {
                Some(&byte) => out.push(byte),
                None => out.extend(sign.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        return;
    }
    let byte = word.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    match byte.filter(|hex| hex.len() == 2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
        Some(byte) => out.push(byte),
        None => out.extend(word.replace(BEGIN, " ").as_bytes()),
    }
}

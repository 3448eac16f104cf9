//! Texts cut into tokens: one way for indexes, for filters without an index, and for BM25.

pub mod bm25;
mod language;
mod script;

use crate::{Stemmer, TextParams, Tokenizer};
use language::Snowball;
use script::{fold, parts, words};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfkc_quick};
use unicode_segmentation::UnicodeSegmentation;

/// Longest beginning of a word that is a token of its own, in characters. Longer words are found
/// by so much of them.
pub const PREFIX_CHARS_MAX: usize = 64;

/// Which side of a comparison a text is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It is stored: cut into all that may find it.
    Stored,
    /// It is asked for: cut into what has to be there.
    Asked,
}

/// What of a text must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// All its words, anywhere in one text.
    All,
    /// One of its words.
    Any,
    /// Its words one behind the other.
    Phrase,
}

/// A text cut, ready to be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    demand: Demand,
    /// Tokens and where they stand, in order of place.
    tokens: Vec<(String, u32)>,
}

impl Wanted {
    /// What of the text must be there.
    pub fn demand(&self) -> Demand {
        self.demand
    }

    /// Its tokens in order, each with its place.
    pub fn tokens(&self) -> &[(String, u32)] {
        &self.tokens
    }
}

/// Cuts texts as a schema says.
///
/// Words end at whatever is neither letter nor digit; a mark belongs to its letter, and spellings
/// that Unicode calls equal are one. Then come case, accents, words left out, endings, lengths.
/// As prefixes, a stored word is all its beginnings up to [`PREFIX_CHARS_MAX`]. Multilingual text
/// of scripts without spaces (Han, kana, Thai, Hangul, …) is its characters and pairs of
/// neighbours, whatever lengths are asked for, so that any part of it finds it without a
/// dictionary; compatibility forms become one.
#[derive(Clone, Debug)]
pub struct Cutter {
    tokenizer: Tokenizer,
    lowercase: bool,
    ascii_folding: bool,
    stopwords: HashSet<String>,
    snowball: Option<Snowball>,
    min_token_len: Option<usize>,
    max_token_len: Option<usize>,
}

impl Cutter {
    /// A cutter as `params` say.
    pub fn new(params: &TextParams) -> Self {
        let snowball = match params.stemmer {
            Some(Stemmer::Snowball(language)) => Snowball::of(language),
            Some(Stemmer::Disabled) | None => None,
        };
        let mut cutter = Self {
            tokenizer: params.tokenizer,
            lowercase: params.lowercase.unwrap_or(true),
            ascii_folding: params.ascii_folding.unwrap_or(false),
            stopwords: HashSet::new(),
            snowball,
            min_token_len: params.min_token_len,
            max_token_len: params.max_token_len,
        };
        let mut listed: Vec<&str> = Vec::new();
        if let Some(stopwords) = &params.stopwords {
            stopwords.languages().for_each(|name| listed.extend(language::stopwords(name)));
            listed.extend(stopwords.custom());
        }
        // Compared with words as they are after case and accents.
        let form = |word: &str| cutter.form(&cutter.normal(word.trim())).into_owned();
        cutter.stopwords = listed.into_iter().map(form).collect();
        cutter
    }

    /// Calls `each` with every token of `text` and its place, in order of place. Tokens that are
    /// left out take no place; characters of scripts without spaces take one each. O(length).
    pub fn cut(&self, text: &str, side: Side, each: &mut dyn FnMut(&str, u32)) {
        let text = self.normal(text);
        let mut cutting = Cutting { cutter: self, side, place: 0, each };
        match self.tokenizer {
            Tokenizer::Whitespace => text.split_whitespace().for_each(|w| cutting.word(w)),
            Tokenizer::Word => words(&text).for_each(|w| cutting.word(w)),
            Tokenizer::Prefix => words(&text).for_each(|w| cutting.beginnings(w)),
            Tokenizer::Multilingual => words(&text).flat_map(parts).for_each(|part| match part {
                (word, false) => cutting.word(word),
                (unspaced, true) => cutting.pairs(unspaced),
            }),
        }
    }

    /// `text` as a demand. Without any token in it nothing is found.
    pub fn wanted(&self, text: &str, demand: Demand) -> Wanted {
        let mut tokens = Vec::new();
        self.cut(text, Side::Asked, &mut |token, place| tokens.push((token.to_owned(), place)));
        Wanted { demand, tokens }
    }

    /// Whether `text` fulfils `wanted`: what an index answers, without one.
    pub fn matches(&self, text: &str, wanted: &Wanted) -> bool {
        let mut places: HashMap<&str, Vec<u32>> =
            wanted.tokens.iter().map(|(token, _)| (token.as_str(), Vec::new())).collect();
        self.cut(text, Side::Stored, &mut |token, place| {
            if let Some(list) = places.get_mut(token) {
                list.push(place);
            }
        });
        match wanted.demand {
            _ if wanted.tokens.is_empty() => false,
            Demand::All => places.values().all(|list| !list.is_empty()),
            Demand::Any => places.values().any(|list| !list.is_empty()),
            Demand::Phrase => {
                let lists = wanted.tokens.iter();
                let lists: Vec<_> =
                    lists.map(|(token, at)| (&places[token.as_str()], *at)).collect();
                in_sequence(&lists)
            }
        }
    }

    /// `text` in the one form of what can be written in several.
    fn normal<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let compatible = self.tokenizer == Tokenizer::Multilingual;
        if text.is_ascii() {
            Cow::Borrowed(text)
        } else if compatible && is_nfkc_quick(text.chars()) != IsNormalized::Yes {
            Cow::Owned(text.nfkc().collect())
        } else if is_nfc_quick(text.chars()) != IsNormalized::Yes {
            Cow::Owned(text.nfc().collect())
        } else {
            Cow::Borrowed(text)
        }
    }

    /// `word` as tokens are written: its case, its accents.
    fn form<'a>(&self, word: &'a str) -> Cow<'a, str> {
        let mut word = Cow::Borrowed(word);
        let upper = |c: char| !c.is_ascii() || c.is_ascii_uppercase();
        if self.lowercase && word.contains(upper) {
            word = Cow::Owned(word.to_lowercase());
        }
        if self.ascii_folding && !word.is_ascii() {
            let mut folded = String::with_capacity(word.len());
            fold(&word, &mut folded);
            word = Cow::Owned(folded);
        }
        word
    }

    fn stem<'a>(&self, word: Cow<'a, str>) -> Cow<'a, str> {
        match self.snowball {
            Some(snowball) => Cow::Owned(snowball.stem(&word).into_owned()),
            None => word,
        }
    }
}

type Each<'a> = &'a mut dyn FnMut(&str, u32);

/// A text being cut: how far it is.
struct Cutting<'a> {
    cutter: &'a Cutter,
    side: Side,
    place: u32,
    each: Each<'a>,
}

impl Cutting<'_> {
    fn emit(&mut self, token: &str) {
        (self.each)(token, self.place);
    }

    fn step(&mut self) {
        self.place = self.place.saturating_add(1);
    }

    fn word(&mut self, word: &str) {
        let form = self.cutter.form(word);
        if self.cutter.stopwords.contains(&*form) {
            return;
        }
        let token = self.cutter.stem(form);
        let Cutter { min_token_len, max_token_len, .. } = *self.cutter;
        let short = min_token_len.is_some_and(|min| token.chars().take(min).count() < min);
        let long = max_token_len.is_some_and(|max| token.chars().nth(max).is_some());
        if !token.is_empty() && !short && !long {
            self.emit(&token);
            self.step();
        }
    }

    /// All beginnings of a word that is stored; the longest of one that is asked for, which may be
    /// unfinished and so is not held against the words left out.
    fn beginnings(&mut self, word: &str) {
        let form = self.cutter.form(word);
        if self.side == Side::Stored && self.cutter.stopwords.contains(&*form) {
            return;
        }
        let word = self.cutter.stem(form);
        let min = self.cutter.min_token_len.unwrap_or(1).max(1);
        let max = self.cutter.max_token_len.unwrap_or(PREFIX_CHARS_MAX).min(PREFIX_CHARS_MAX);
        let ends = word.char_indices().map(|(at, c)| at + c.len_utf8()).take(max);
        let mut found = 0;
        for end in ends.skip(min - 1) {
            found = end;
            if self.side == Side::Stored {
                self.emit(&word[..end]);
            }
        }
        if found > 0 {
            if self.side == Side::Asked {
                self.emit(&word[..found]);
            }
            self.step();
        }
    }

    /// Characters and pairs of neighbours of a part without spaces. What is asked for is its
    /// pairs: they stand where it stands, and a lone character is found as such.
    fn pairs(&mut self, part: &str) {
        let form = self.cutter.form(part);
        let ends: Vec<usize> =
            form.grapheme_indices(true).map(|(at, text)| at + text.len()).collect();
        let mut start = 0;
        for (at, end) in ends.iter().enumerate() {
            if self.side == Side::Stored || ends.len() == 1 {
                self.piece(&form[start..*end]);
            }
            if let Some(next) = ends.get(at + 1) {
                self.piece(&form[start..*next]);
            }
            self.step();
            start = *end;
        }
    }

    fn piece(&mut self, piece: &str) {
        if !self.cutter.stopwords.contains(piece) {
            self.emit(piece);
        }
    }
}

/// Whether there is a place where all tokens stand, each as far from it as its own place says.
/// The lists are ascending.
pub(crate) fn in_sequence(tokens: &[(&Vec<u32>, u32)]) -> bool {
    let Some(((first, origin), rest)) = tokens.split_first() else { return false };
    first.iter().any(|start| {
        rest.iter().all(|(list, at)| {
            start.checked_add(at - origin).is_some_and(|place| list.binary_search(&place).is_ok())
        })
    })
}

#[cfg(test)]
mod tests;

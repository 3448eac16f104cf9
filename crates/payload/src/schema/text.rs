//! How texts become words.

use super::Language;
use std::collections::BTreeSet;

/// How texts become words. `None` is a parameter not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextParams {
    /// How texts are cut.
    pub tokenizer: Tokenizer,
    /// Fewest characters of a word that counts.
    pub min_token_len: Option<usize>,
    /// Most characters of a word that counts.
    pub max_token_len: Option<usize>,
    /// Whether case is ignored, true where not given.
    pub lowercase: Option<bool>,
    /// Whether letters with accents count as those without, false where not given.
    pub ascii_folding: Option<bool>,
    /// Whether the index knows where words stand, false where not given.
    pub phrase_matching: Option<bool>,
    /// Words that do not count.
    pub stopwords: Option<Stopwords>,
    /// How words are cut to their stems.
    pub stemmer: Option<Stemmer>,
}

/// How texts are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tokenizer {
    /// As [`Word`](Self::Word), and the beginnings of a word stand for it.
    Prefix,
    /// At white space.
    Whitespace,
    /// At everything that is neither letter nor digit.
    #[default]
    Word,
    /// By the rules of each script, also where it puts no spaces.
    Multilingual,
}

/// Words that do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopwords {
    /// Those of one language, given as its name alone.
    Language(Language),
    /// Those of several and more, `{"languages": ["english"], "custom": ["foo"]}`.
    Set {
        /// Languages with a list of stop words.
        languages: Option<BTreeSet<Language>>,
        /// Further words: at most 10,000 of at most 256 bytes.
        custom: Option<BTreeSet<String>>,
    },
}

/// How words are cut to their stems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stemmer {
    /// By the rules of a language: `{"type": "snowball", "language": "english"}`.
    Snowball(Language),
    /// Not at all: `{"type": "none"}`.
    Disabled,
}

impl Stopwords {
    /// The languages whose words do not count.
    pub fn languages(&self) -> impl Iterator<Item = Language> {
        let (one, several) = match self {
            Self::Language(language) => (Some(*language), None),
            Self::Set { languages, .. } => (None, languages.as_ref()),
        };
        one.into_iter().chain(several.into_iter().flatten().copied())
    }

    /// The further words that do not count.
    pub fn custom(&self) -> impl Iterator<Item = &str> {
        let custom = match self {
            Self::Language(_) => None,
            Self::Set { custom, .. } => custom.as_ref(),
        };
        custom.into_iter().flatten().map(String::as_str)
    }
}

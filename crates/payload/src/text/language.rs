//! What each language leaves out, and how it cuts endings.

use crate::Language;
use rust_stemmers::Algorithm;
use std::borrow::Cow;

/// Words of more characters than this are left as they are: no language has them.
const STEM_CHARS_MAX: usize = 128;

/// The words of `language` that say nothing about a text, in lower case. Empty where nobody listed
/// them.
pub(super) fn stopwords(language: Language) -> &'static [&'static str] {
    let code = match language {
        Language::Arabic => "ar",
        Language::Armenian => "hy",
        Language::Azerbaijani => "az",
        Language::Basque => "eu",
        Language::Bengali => "bn",
        Language::Catalan => "ca",
        Language::Chinese => "zh",
        Language::Danish => "da",
        Language::Dutch => "nl",
        Language::English => "en",
        Language::Finnish => "fi",
        Language::French => "fr",
        Language::German => "de",
        Language::Greek => "el",
        Language::Hebrew => "he",
        Language::Hinglish => "hinglish",
        Language::Hungarian => "hu",
        Language::Indonesian => "id",
        Language::Italian => "it",
        Language::Japanese => "ja",
        Language::Kazakh => "kk",
        Language::Nepali => "ne",
        Language::Norwegian => "no",
        Language::Portuguese => "pt",
        Language::Romanian => "ro",
        Language::Russian => "ru",
        Language::Slovene => "sl",
        Language::Spanish => "es",
        Language::Swedish => "sv",
        Language::Tajik => "tg",
        Language::Tamil => "ta",
        Language::Turkish => "tr",
    };
    stop_words::lookup(code).unwrap_or_default()
}

/// A Snowball algorithm (Porter 2001).
#[derive(Clone, Copy, Debug)]
pub(super) enum Snowball {
    /// The algorithms that client libraries make sparse vectors with. Later editions of them stem
    /// some words otherwise ("international", "university"), and then nothing would be found.
    Classic(Algorithm),
    /// Of which there is only a later edition.
    Armenian,
}

impl Snowball {
    /// That of `language`, if it has one.
    pub(super) fn of(language: Language) -> Option<Self> {
        Some(Self::Classic(match language {
            Language::Arabic => Algorithm::Arabic,
            Language::Armenian => return Some(Self::Armenian),
            Language::Danish => Algorithm::Danish,
            Language::Dutch => Algorithm::Dutch,
            Language::English => Algorithm::English,
            Language::Finnish => Algorithm::Finnish,
            Language::French => Algorithm::French,
            Language::German => Algorithm::German,
            Language::Greek => Algorithm::Greek,
            Language::Hungarian => Algorithm::Hungarian,
            Language::Italian => Algorithm::Italian,
            Language::Norwegian => Algorithm::Norwegian,
            Language::Portuguese => Algorithm::Portuguese,
            Language::Romanian => Algorithm::Romanian,
            Language::Russian => Algorithm::Russian,
            Language::Spanish => Algorithm::Spanish,
            Language::Swedish => Algorithm::Swedish,
            Language::Tamil => Algorithm::Tamil,
            Language::Turkish => Algorithm::Turkish,
            Language::Azerbaijani
            | Language::Basque
            | Language::Bengali
            | Language::Catalan
            | Language::Chinese
            | Language::Hebrew
            | Language::Hinglish
            | Language::Indonesian
            | Language::Japanese
            | Language::Kazakh
            | Language::Nepali
            | Language::Slovene
            | Language::Tajik => return None,
        }))
    }

    /// What stays of `word`, which is in lower case.
    pub(super) fn stem(self, word: &str) -> Cow<'_, str> {
        if word.len() > STEM_CHARS_MAX && word.chars().nth(STEM_CHARS_MAX).is_some() {
            return Cow::Borrowed(word);
        }
        match self {
            Self::Classic(algorithm) => rust_stemmers::Stemmer::create(algorithm).stem(word),
            Self::Armenian => {
                let stem = frostem::Stemmer::new(frostem::Algorithm::Armenian);
                Cow::Owned(stem.stem(word).into_owned())
            }
        }
    }
}

//! Languages by name.

/// A language that words are cut to their stems in, or whose frequent words are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say all")]
pub enum Language {
    Arabic,
    Armenian,
    Azerbaijani,
    Basque,
    Bengali,
    Catalan,
    Chinese,
    Danish,
    Dutch,
    English,
    Finnish,
    French,
    German,
    Greek,
    Hebrew,
    Hinglish,
    Hungarian,
    Indonesian,
    Italian,
    Japanese,
    Kazakh,
    Nepali,
    Norwegian,
    Portuguese,
    Romanian,
    Russian,
    Slovene,
    Spanish,
    Swedish,
    Tajik,
    Tamil,
    Turkish,
}

use Language as L;

/// Name, short name, language; for each whether there are stop words and whether stems.
#[rustfmt::skip]
const LANGUAGES: [(&str, &str, Language, bool, bool); 32] = [
    ("arabic",      "ar",    L::Arabic,      true,  true),
    ("armenian",    "hy",    L::Armenian,    false, true),
    ("azerbaijani", "az",    L::Azerbaijani, true,  false),
    ("basque",      "eu",    L::Basque,      true,  false),
    ("bengali",     "bn",    L::Bengali,     true,  false),
    ("catalan",     "ca",    L::Catalan,     true,  false),
    ("chinese",     "zh",    L::Chinese,     true,  false),
    ("danish",      "da",    L::Danish,      true,  true),
    ("dutch",       "nl",    L::Dutch,       true,  true),
    ("english",     "en",    L::English,     true,  true),
    ("finnish",     "fi",    L::Finnish,     true,  true),
    ("french",      "fr",    L::French,      true,  true),
    ("german",      "de",    L::German,      true,  true),
    ("greek",       "el",    L::Greek,       true,  true),
    ("hebrew",      "he",    L::Hebrew,      true,  false),
    ("hinglish",    "hi-en", L::Hinglish,    true,  false),
    ("hungarian",   "hu",    L::Hungarian,   true,  true),
    ("indonesian",  "id",    L::Indonesian,  true,  false),
    ("italian",     "it",    L::Italian,     true,  true),
    ("japanese",    "jp",    L::Japanese,    true,  false),
    ("kazakh",      "kk",    L::Kazakh,      true,  false),
    ("nepali",      "ne",    L::Nepali,      true,  false),
    ("norwegian",   "no",    L::Norwegian,   true,  true),
    ("portuguese",  "pt",    L::Portuguese,  true,  true),
    ("romanian",    "ro",    L::Romanian,    true,  true),
    ("russian",     "ru",    L::Russian,     true,  true),
    ("slovene",     "sl",    L::Slovene,     true,  false),
    ("spanish",     "es",    L::Spanish,     true,  true),
    ("swedish",     "sv",    L::Swedish,     true,  true),
    ("tajik",       "tg",    L::Tajik,       true,  false),
    ("tamil",       "ta",    L::Tamil,       false, true),
    ("turkish",     "tr",    L::Turkish,     true,  true),
];

impl Language {
    /// All of them, by name.
    pub fn all() -> impl Iterator<Item = Self> {
        LANGUAGES.iter().map(|row| row.2)
    }

    fn row(self) -> &'static (&'static str, &'static str, Self, bool, bool) {
        // Every language stands in the table at its own place, which a test walks.
        &LANGUAGES[self as usize]
    }

    /// Its name in JSON, as in `"english"`.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The language of that name, or of that short one, as in `"en"`.
    pub fn from_name(name: &str) -> Option<Self> {
        LANGUAGES.iter().find(|row| row.0 == name || row.1 == name).map(|row| row.2)
    }

    /// Whether the protocol has a list of stop words of it.
    pub fn has_stopwords(self) -> bool {
        self.row().3
    }

    /// Whether the protocol has stems of it.
    pub fn has_stems(self) -> bool {
        self.row().4
    }
}

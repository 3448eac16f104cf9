//! Texts as sparse vectors of words weighted by BM25 (Robertson & Zaragoza 2009), in the form the
//! inference model `qdrant/bm25` gives them: how rare a word is, the collection adds when asked.

use super::{Cutter, Side};
use crate::shape::At;
use crate::{FieldParams, FieldSchema, Language, ShapeError, Stemmer, Stopwords, TextParams};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

/// How words are weighted.
#[derive(Clone, Debug)]
pub struct Bm25Options {
    /// How much a word said often counts, from 0.
    pub k: f64,
    /// How much long texts are discounted, 0 to 1.
    pub b: f64,
    /// Tokens of a usual text, above 0.
    pub avg_len: f64,
    /// How texts become tokens.
    pub text: TextParams,
}

impl Bm25Options {
    /// English with its stems and without its stop words, as where nothing else is asked for.
    fn of(language: Option<Language>) -> Self {
        let stems = language.filter(|language| language.has_stems());
        let listed = language.filter(|language| language.has_stopwords());
        let text = TextParams {
            stopwords: listed.map(Stopwords::Language),
            stemmer: stems.map(Stemmer::Snowball),
            ..TextParams::default()
        };
        Self { k: 1.2, b: 0.75, avg_len: 256.0, text }
    }

    /// From the options of a document: `k`, `b`, `avg_len`, `language` (`english` where not given;
    /// `none` and languages nobody knows have neither stems nor stop words), and the parameters of
    /// an index of texts, which win over what the language would give. Other keys say nothing.
    ///
    /// # Errors
    /// [`ShapeError`], which names the key.
    pub fn from_json(mut options: Map<String, Value>) -> Result<Self, ShapeError> {
        let at = &At::Root("options");
        let given = options.remove("language").unwrap_or_default();
        let language = match given.as_str() {
            Some(name) => Language::from_name(name),
            None if given.is_null() => Some(Language::English),
            None => return Err(at.key("language").kind("the name of a language", &given)),
        };
        let mut number = |key: &'static str, else_: f64, fits: fn(f64) -> bool, expected| {
            let value = options.remove(key).unwrap_or_default();
            match value.as_f64() {
                _ if value.is_null() => Ok(else_),
                Some(number) if fits(number) => Ok(number),
                _ => Err(at.key(key).kind(expected, &value)),
            }
        };
        let mut read = Self::of(language);
        read.k = number("k", read.k, |k| k >= 0.0, "a number from 0")?;
        read.b = number("b", read.b, |b| (0.0..=1.0).contains(&b), "a number from 0 to 1")?;
        read.avg_len = number("avg_len", read.avg_len, |len| len > 0.0, "a number above 0")?;
        options.retain(|key, _| TEXT_KEYS.contains(&key.as_str()));
        options.insert("type".to_owned(), Value::String("text".to_owned()));
        if let FieldParams::Text(given) = FieldSchema::from_json(Value::Object(options))?.params {
            read.text = TextParams {
                stopwords: given.stopwords.or(read.text.stopwords),
                stemmer: given.stemmer.or(read.text.stemmer),
                ..given
            };
        }
        Ok(read)
    }
}

/// What options and indexes of texts have in common.
const TEXT_KEYS: [&str; 7] = [
    "tokenizer",
    "min_token_len",
    "max_token_len",
    "lowercase",
    "ascii_folding",
    "stopwords",
    "stemmer",
];

impl Default for Bm25Options {
    fn default() -> Self {
        Self::of(Some(Language::English))
    }
}

/// Weights words of texts.
#[derive(Clone, Debug)]
pub struct Bm25 {
    k: f64,
    b: f64,
    avg_len: f64,
    cutter: Cutter,
}

impl Bm25 {
    /// Weighting by `options`.
    pub fn new(options: Bm25Options) -> Self {
        let Bm25Options { k, b, avg_len, text } = options;
        Self { k, b, avg_len, cutter: Cutter::new(&text) }
    }

    /// A text to be found: `(dimension, weight)`, ascending and distinct by dimension, with
    /// `tf·(k+1) / (tf + k·(1 − b + b·tokens/avg_len))` for a word that it says `tf` times.
    pub fn document(&self, text: &str) -> Vec<(u32, f32)> {
        let mut counts: HashMap<String, u32> = HashMap::new();
        let mut len = 0u64;
        self.cutter.cut(text, Side::Stored, &mut |token, _| {
            len += 1;
            match counts.get_mut(token) {
                Some(count) => *count += 1,
                None => drop(counts.insert(token.to_owned(), 1)),
            }
        });
        let discount = self.k * (1.0 - self.b + self.b * len as f64 / self.avg_len);
        let weigh = |tf: u32| (f64::from(tf) * (self.k + 1.0) / (f64::from(tf) + discount)) as f32;
        // Two words of one dimension are rare; the one said more often stands for both.
        let mut weights = BTreeMap::new();
        for (token, count) in counts {
            let weight: &mut u32 = weights.entry(dimension(&token)).or_default();
            *weight = count.max(*weight);
        }
        weights.into_iter().map(|(at, count)| (at, weigh(count))).collect()
    }

    /// A text to find others by: each of its words with weight 1, ascending and distinct.
    pub fn query(&self, text: &str) -> Vec<(u32, f32)> {
        let mut words = BTreeMap::new();
        self.cutter.cut(text, Side::Asked, &mut |token, _| {
            words.insert(dimension(token), 1.0);
        });
        words.into_iter().collect()
    }
}

/// The dimension of `token`: how far the signed 32-bit `MurmurHash3` (Appleby 2011, seed 0) of its
/// bytes is from zero. Vectors made by client libraries use the same.
pub fn dimension(token: &str) -> u32 {
    murmur3(token.as_bytes()).cast_signed().unsigned_abs()
}

fn murmur3(data: &[u8]) -> u32 {
    let mix = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (words, rest) = data.as_chunks::<4>();
    let mut hash = words.iter().fold(0u32, |hash, word| {
        let hash = (hash ^ mix(u32::from_le_bytes(*word))).rotate_left(13);
        hash.wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        hash ^= mix(u32::from_le_bytes(last));
    }
    hash ^= data.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokenizer;
    use serde_json::json;

    fn options(value: &Value) -> Result<Bm25Options, ShapeError> {
        Bm25Options::from_json(value.as_object().unwrap().clone())
    }

    #[test]
    fn options_are_those_of_the_protocol() {
        let read = options(&json!({})).unwrap();
        assert_eq!((read.k, read.b, read.avg_len), (1.2, 0.75, 256.0));
        assert_eq!(read.text.stemmer, Some(Stemmer::Snowball(Language::English)));
        let all = json!({ "k": 2, "b": 0, "avg_len": 7.5, "language": "de", "lowercase": false,
            "tokenizer": "whitespace", "stopwords": { "custom": ["x"] }, "unknown": [1] });
        let read = options(&all).unwrap();
        assert_eq!((read.k, read.b, read.avg_len), (2.0, 0.0, 7.5));
        assert_eq!(read.text.stemmer, Some(Stemmer::Snowball(Language::German)));
        assert_eq!(read.text.tokenizer, Tokenizer::Whitespace);
        assert_eq!(read.text.lowercase, Some(false));
        assert!(matches!(read.text.stopwords, Some(Stopwords::Set { .. })));
        for plain in [json!({ "language": "none" }), json!({ "language": "klingon" })] {
            let read = options(&plain).unwrap();
            assert_eq!((read.text.stemmer, read.text.stopwords), (None, None));
        }
        let off = json!({ "stemmer": { "type": "none" }, "language": null });
        assert_eq!(options(&off).unwrap().text.stemmer, Some(Stemmer::Disabled));
        for bad in [
            json!({ "k": -1 }),
            json!({ "b": 1.5 }),
            json!({ "avg_len": 0 }),
            json!({ "language": 1 }),
            json!({ "tokenizer": "x" }),
            json!({ "k": "1" }),
        ] {
            assert!(options(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dimensions_are_the_published_hash() {
        let known = [
            ("", 0),
            ("hello, world", 0x149b_bb7f),
            ("The quick brown fox jumps over the lazy dog", 0x2e4f_f723),
        ];
        for (text, hash) in known {
            assert_eq!(murmur3(text.as_bytes()), hash, "{text}");
            assert_eq!(dimension(text), hash);
        }
        // The hash of this one is negative.
        let hash = murmur3(b"word");
        let negative = hash > i32::MAX as u32;
        assert_eq!(dimension("word"), if negative { hash.wrapping_neg() } else { hash });
        assert!(["a", "b", "c", "d", "e"].iter().any(|t| murmur3(t.as_bytes()) > i32::MAX as u32));
        assert!((0..1000).all(|n| dimension(&n.to_string()) <= 1 << 31));
    }

    #[test]
    fn documents_weigh_words_and_queries_name_them() {
        let bm25 = Bm25::new(Bm25Options::default());
        let document = bm25.document("Cats and cats, the dog: a CAT!");
        // cat three times, dog once: four tokens.
        let discount = 1.2 * (0.25 + 0.75 * 4.0 / 256.0);
        let weight = |tf: f64| (tf * 2.2 / (tf + discount)) as f32;
        let mut expected = vec![(dimension("cat"), weight(3.0)), (dimension("dog"), weight(1.0))];
        expected.sort_by_key(|(at, _)| *at);
        assert_eq!(document, expected);
        assert_eq!(bm25.query("a dog, dogs"), [(dimension("dog"), 1.0)]);
        assert!(bm25.document("the and of").is_empty() && bm25.query("").is_empty());
    }

    #[test]
    fn whatever_is_asked_meets_what_is_stored() {
        for tokenizer in [Tokenizer::Prefix, Tokenizer::Multilingual] {
            let text = TextParams { tokenizer, ..TextParams::default() };
            let bm25 = Bm25::new(Bm25Options { text, ..Bm25Options::default() });
            let stored = bm25.document("今天是星期一 hello");
            for asked in ["hello", "今天", "今"] {
                let asked = bm25.query(asked);
                let meets = |(at, _): &(u32, f32)| stored.iter().any(|(other, _)| at == other);
                assert!(!asked.is_empty() && asked.iter().all(meets));
            }
        }
    }
}

//! Schemas from JSON, and what is checked of them.

use super::{FieldKind, FieldParams, FieldSchema, Language, Placement, Stemmer, Stopwords};
use super::{MEMORIES, TOKENIZERS, TextParams, named};
use crate::limits::{SCHEMA_EXTRA_MAX, SCHEMA_EXTRA_SIZE_MAX, STOPWORD_SIZE_MAX, STOPWORDS_MAX};
use crate::shape::{At, Object, ShapeError, list, text};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::Value;
use std::collections::BTreeSet;

const KIND: &str = "one of keyword, integer, float, geo, text, bool, datetime, uuid";
const LANGUAGE: &str = "the name of a language with stop words, as in \"english\"";
const STEMS: &str = "the name of a language with stems, as in \"english\"";

impl FieldSchema {
    /// From JSON, which may be text of a kind or an object.
    ///
    /// # Errors
    /// [`ShapeError`], which names the key.
    pub fn from_json(value: Value) -> Result<Self, ShapeError> {
        read(value, &At::Root("field_schema"))
    }

    /// Checks what the types leave open; what was read from JSON has been checked.
    ///
    /// # Errors
    /// [`ShapeError`]: neither lookups nor ranges, a language without stems or stop words, too
    /// many stop words, too much in [`Placement::extra`].
    pub fn check(&self) -> Result<(), ShapeError> {
        let at = &At::Root("field_schema");
        if let FieldParams::Integer { lookup: Some(false), range: Some(false) } = &self.params {
            let expected = "true for one of \"lookup\" and \"range\"";
            return Err(at.key("range").kind(expected, &Value::Bool(false)));
        }
        if let FieldParams::Text(text) = &self.params {
            check_text(text, at)?;
        }
        let extra = &self.placement.extra;
        let limit = |what, got, max| {
            if got <= max {
                return Ok(());
            }
            Err(ShapeError::Limit { at: at.to_string(), what, got, max })
        };
        limit("further parameters", extra.len(), SCHEMA_EXTRA_MAX)?;
        let size = serde_json::to_vec(extra).map_or(usize::MAX, |json| json.len());
        limit("bytes of further parameters", size, SCHEMA_EXTRA_SIZE_MAX)
    }
}

impl<'de> Deserialize<'de> for FieldSchema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn read(value: Value, at: &At<'_>) -> Result<FieldSchema, ShapeError> {
    if let Value::String(name) = &value {
        let kind = FieldKind::from_name(name).ok_or_else(|| at.kind(KIND, &value))?;
        return Ok(kind.into());
    }
    let mut object = Object::new(value, "the name of a kind or an object with its \"type\"", at)?;
    let kind = choice(&object.need("type")?, FieldKind::from_name, KIND, &at.key("type"))?;
    let params = match kind {
        FieldKind::Keyword => FieldParams::Keyword { prefix: object.flag("prefix")? },
        FieldKind::Integer => {
            let (lookup, range) = (object.flag("lookup")?, object.flag("range")?);
            FieldParams::Integer { lookup, range }
        }
        FieldKind::Text => FieldParams::Text(read_text(&mut object)?),
        FieldKind::Float
        | FieldKind::Geo
        | FieldKind::Bool
        | FieldKind::Datetime
        | FieldKind::Uuid => kind.params(),
    };
    let memory = |value: Value| {
        choice(&value, |n| named(&MEMORIES, n), "cold, cached or pinned", &at.key("memory"))
    };
    let placement = Placement {
        on_disk: object.flag("on_disk")?,
        memory: object.take("memory").map(memory).transpose()?,
        enable_hnsw: object.flag("enable_hnsw")?,
        is_tenant: object.flag("is_tenant")?,
        is_principal: object.flag("is_principal")?,
        extra: object.rest(),
    };
    let schema = FieldSchema::new(params, placement);
    schema.check()?;
    Ok(schema)
}

fn choice<T>(
    value: &Value,
    from_name: impl Fn(&str) -> Option<T>,
    expected: &'static str,
    at: &At<'_>,
) -> Result<T, ShapeError> {
    value.as_str().and_then(from_name).ok_or_else(|| at.kind(expected, value))
}

fn read_text(object: &mut Object<'_>) -> Result<TextParams, ShapeError> {
    let at = object.at;
    let cut = |value| {
        let expected = "one of prefix, whitespace, word, multilingual";
        choice(&value, |name| named(&TOKENIZERS, name), expected, &at.key("tokenizer"))
    };
    Ok(TextParams {
        tokenizer: object.take("tokenizer").map(cut).transpose()?.unwrap_or_default(),
        min_token_len: object.count("min_token_len")?,
        max_token_len: object.count("max_token_len")?,
        lowercase: object.flag("lowercase")?,
        ascii_folding: object.flag("ascii_folding")?,
        phrase_matching: object.flag("phrase_matching")?,
        stopwords: object
            .take("stopwords")
            .map(|value| read_stopwords(value, &at.key("stopwords")))
            .transpose()?,
        stemmer: object
            .take("stemmer")
            .map(|value| read_stemmer(value, &at.key("stemmer")))
            .transpose()?,
    })
}

fn read_stopwords(value: Value, at: &At<'_>) -> Result<Stopwords, ShapeError> {
    if value.is_string() {
        let language = choice(&value, Language::from_name, LANGUAGE, at)?;
        return Ok(Stopwords::Language(language));
    }
    let mut object = Object::new(value, LANGUAGE, at)?;
    let languages = object.take("languages").map(|value| {
        let at = at.key("languages");
        let names = list(value, "an array of names of languages", &at)?;
        let read = |(n, name)| choice(&name, Language::from_name, LANGUAGE, &at.index(n));
        names.into_iter().enumerate().map(read).collect::<Result<BTreeSet<_>, _>>()
    });
    let custom = object.take("custom").map(|value| {
        let at = at.key("custom");
        let words = list(value, "an array of words", &at)?;
        let read = |(n, word)| text(word, STOPWORD_SIZE_MAX, &at.index(n));
        words.into_iter().enumerate().map(read).collect::<Result<BTreeSet<_>, _>>()
    });
    object.end("\"languages\" and \"custom\"")?;
    Ok(Stopwords::Set { languages: languages.transpose()?, custom: custom.transpose()? })
}

fn read_stemmer(value: Value, at: &At<'_>) -> Result<Stemmer, ShapeError> {
    let mut object = Object::new(value, "an object with \"type\" and \"language\"", at)?;
    let kind = object.need("type")?;
    match kind.as_str() {
        Some("none") => Ok(Stemmer::Disabled),
        Some("snowball") => {
            let at = at.key("language");
            choice(&object.need("language")?, Language::from_name, STEMS, &at)
                .map(Stemmer::Snowball)
        }
        _ => Err(at.key("type").kind("snowball or none", &kind)),
    }
}

fn check_text(params: &TextParams, at: &At<'_>) -> Result<(), ShapeError> {
    let none = |language: Language, expected, at: &At<'_>| {
        Err(at.kind(expected, &Value::String(language.name().to_owned())))
    };
    if let Some(Stemmer::Snowball(language)) = params.stemmer
        && !language.has_stems()
    {
        return none(language, STEMS, &at.key("stemmer"));
    }
    let Some(stopwords) = &params.stopwords else { return Ok(()) };
    let at = &at.key("stopwords");
    if let Some(language) = stopwords.languages().find(|language| !language.has_stopwords()) {
        return none(language, LANGUAGE, at);
    }
    let limit = |what, got, max| Err(ShapeError::Limit { at: at.to_string(), what, got, max });
    let got = stopwords.custom().count();
    if got > STOPWORDS_MAX {
        return limit("words", got, STOPWORDS_MAX);
    }
    match stopwords.custom().map(str::len).find(|len| *len > STOPWORD_SIZE_MAX) {
        Some(got) => limit("bytes of a word", got, STOPWORD_SIZE_MAX),
        None => Ok(()),
    }
}

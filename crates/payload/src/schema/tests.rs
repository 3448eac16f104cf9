//! Schemas in both forms.

use super::*;
use crate::ShapeError;
use crate::limits::{SCHEMA_EXTRA_MAX, SCHEMA_EXTRA_SIZE_MAX, STOPWORD_SIZE_MAX, STOPWORDS_MAX};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;

fn schema(value: Value) -> FieldSchema {
    FieldSchema::from_json(value).unwrap()
}

#[track_caller]
fn refused(value: Value, says: &str) {
    let error = serde_json::from_value::<FieldSchema>(value).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn kinds_have_a_short_and_a_long_form() {
    for (text, kind) in KINDS {
        let short = schema(json!(text));
        assert_eq!((short.kind(), short.is_name()), (kind, true));
        assert_eq!(serde_json::to_value(&short).unwrap(), json!(text));
        let long = schema(json!({ "type": text }));
        assert_eq!((long.kind(), long.is_name()), (kind, false));
        assert_eq!(long.params, short.params);
        assert_ne!(long, short, "which of the two it was is kept");
        assert_eq!(kind.params().kind(), kind);
        assert_eq!(FieldKind::from_name(kind.name()), Some(kind));
    }
    let long = FieldSchema::new(FieldParams::Bool, Placement::default());
    assert_eq!(serde_json::to_value(&long).unwrap(), json!({"type": "bool"}));
}

#[test]
fn all_parameters_of_the_protocol_come_back() {
    let text = json!({
        "type": "text", "tokenizer": "multilingual", "min_token_len": 2, "max_token_len": 20,
        "lowercase": false, "ascii_folding": true, "phrase_matching": true,
        "stopwords": {"languages": ["english", "spanish"], "custom": ["foo", "the"]},
        "stemmer": {"type": "snowball", "language": "tamil"}, "on_disk": true,
        "memory": "cached", "enable_hnsw": false,
    });
    for value in [
        json!({"type": "keyword", "prefix": true, "is_tenant": true, "on_disk": false}),
        json!({"type": "integer", "lookup": false, "range": true, "is_principal": true}),
        json!({"type": "float", "is_principal": false, "memory": "pinned"}),
        json!({"type": "geo", "enable_hnsw": true}),
        json!({"type": "bool", "memory": "cold"}),
        json!({"type": "datetime", "is_principal": true}),
        json!({"type": "uuid", "is_tenant": true}),
        json!({"type": "text", "tokenizer": "word", "stemmer": {"type": "none"}}),
        json!({"type": "text", "tokenizer": "prefix", "stopwords": "english"}),
        json!({"type": "text", "tokenizer": "whitespace", "stopwords": {}}),
        json!({"type": "float", "later": {"a": [1]}, "is_new": null}),
        text,
    ] {
        assert_eq!(serde_json::to_value(schema(value.clone())).unwrap(), value);
    }
    let given = json!({"type": "text", "stopwords": "en", "lowercase": null, "stemmer": null});
    let written = json!({"type": "text", "tokenizer": "word", "stopwords": "english"});
    assert_eq!(serde_json::to_value(schema(given)).unwrap(), written);
}

#[test]
fn what_was_given_is_what_is_asked() {
    let FieldParams::Text(text) =
        schema(json!({"type": "text", "stopwords": {"languages": ["de"], "custom": ["x"]}})).params
    else {
        panic!("text");
    };
    let words = text.stopwords.unwrap();
    assert_eq!(words.languages().collect::<Vec<_>>(), [Language::German]);
    assert_eq!(words.custom().collect::<Vec<_>>(), ["x"]);
    let words = Stopwords::Language(Language::Dutch);
    assert_eq!((words.languages().count(), words.custom().count()), (1, 0));
    for (value, cold) in [
        (json!({"type": "geo"}), false),
        (json!({"type": "geo", "on_disk": true}), true),
        (json!({"type": "geo", "on_disk": true, "memory": "pinned"}), false),
        (json!({"type": "geo", "memory": "cold"}), true),
    ] {
        assert_eq!(schema(value).is_cold(), cold);
    }
}

#[test]
fn every_language_has_its_row() {
    for (n, language) in Language::all().enumerate() {
        assert_eq!(language as usize, n);
        assert_eq!(Language::from_name(language.name()), Some(language));
        assert_eq!(format!("{language:?}").to_lowercase(), language.name());
        assert!(language.has_stems() || language.has_stopwords());
    }
    assert_eq!(Language::all().filter(|language| language.has_stopwords()).count(), 30);
    assert_eq!(Language::all().filter(|language| language.has_stems()).count(), 19);
}

#[test]
fn errors_name_the_key() {
    refused(json!("number"), "field_schema: expected one of keyword, integer");
    refused(json!(3), "the name of a kind or an object with its \"type\", got 3");
    refused(json!({}), "\"type\" is missing");
    refused(json!({"type": "key"}), "field_schema.type: expected one of keyword");
    refused(json!({"type": "keyword", "prefix": 1}), "field_schema.prefix: expected true or false");
    refused(json!({"type": "bool", "memory": "hot"}), "field_schema.memory: expected cold");
    let none = json!({"type": "integer", "lookup": false, "range": false});
    refused(none, "field_schema.range");
    let text = |key: &str, value: Value| json!({"type": "text", key: value});
    refused(text("tokenizer", json!("words")), "field_schema.tokenizer: expected one of prefix");
    refused(text("min_token_len", json!(-1)), "min_token_len: expected a whole number from 0");
    refused(text("min_token_len", json!(1.5)), "a whole number from 0, got 1.5");
    refused(text("stopwords", json!("tamil")), "a language with stop words");
    refused(text("stopwords", json!({"languages": ["en", "xx"]})), "stopwords.languages[1]");
    refused(text("stopwords", json!({"custom": [1]})), "stopwords.custom[0]: expected text");
    refused(text("stopwords", json!({"words": []})), "unknown key \"words\"");
    refused(text("stemmer", json!("snowball")), "field_schema.stemmer: expected an object");
    refused(text("stemmer", json!({"type": "x"})), "stemmer.type: expected snowball or none");
    let basque = json!({"type": "snowball", "language": "basque"});
    refused(text("stemmer", basque), "a language with stems");
    refused(text("stemmer", json!({"type": "snowball"})), "\"language\" is missing");
}

#[test]
fn limits_hold_just_under_and_just_over() {
    let words = |count: usize, size: usize| {
        let custom: BTreeSet<String> = (0..count).map(|n| format!("{n:0>size$}")).collect();
        json!({"type": "text", "stopwords": {"custom": custom}})
    };
    schema(words(STOPWORDS_MAX, 5));
    schema(words(1, STOPWORD_SIZE_MAX));
    refused(words(STOPWORDS_MAX + 1, 5), "10001 words, at most 10000");
    refused(words(1, STOPWORD_SIZE_MAX + 1), "257 bytes, at most 256");
    let custom = Some(BTreeSet::from(["x".repeat(STOPWORD_SIZE_MAX + 1)]));
    let stopwords = Some(Stopwords::Set { languages: None, custom });
    let text = TextParams { stopwords, ..TextParams::default() };
    let built = FieldSchema::new(FieldParams::Text(text), Placement::default());
    assert!(matches!(built.check(), Err(ShapeError::Limit { got: 257, .. })));
    let extra = |count: usize, size: usize| {
        let mut map: Map<String, Value> = (0..count).map(|n| (format!("k{n}"), json!(0))).collect();
        map.insert("type".to_owned(), json!("bool"));
        let used = serde_json::to_vec(&map).unwrap().len() - "\"type\":\"bool\",".len();
        if size > 0 {
            map.insert("k0".to_owned(), json!("x".repeat(size - used - 1)));
        }
        Value::Object(map)
    };
    schema(extra(SCHEMA_EXTRA_MAX, 0));
    schema(extra(1, SCHEMA_EXTRA_SIZE_MAX));
    refused(extra(SCHEMA_EXTRA_MAX + 1, 0), "33 further parameters, at most 32");
    refused(extra(1, SCHEMA_EXTRA_SIZE_MAX + 1), "4097 bytes of further parameters");
}

fn any_text() -> impl Strategy<Value = TextParams> {
    let stops = prop::sample::select(
        Language::all().filter(|language| language.has_stopwords()).collect::<Vec<_>>(),
    );
    let stems = prop::sample::select(
        Language::all().filter(|language| language.has_stems()).collect::<Vec<_>>(),
    );
    let several = prop::option::of(prop::collection::btree_set(stops.clone(), 0..4));
    let custom = prop::option::of(prop::collection::btree_set("\\PC{0,8}", 0..4));
    let stopwords = prop_oneof![
        stops.prop_map(Stopwords::Language),
        (several, custom).prop_map(|(languages, custom)| Stopwords::Set { languages, custom }),
    ];
    let stemmer = prop_oneof![stems.prop_map(Stemmer::Snowball), Just(Stemmer::Disabled)];
    let tokenizer = prop::sample::select(TOKENIZERS.map(|(_, tokenizer)| tokenizer).to_vec());
    let words = (prop::option::of(stopwords), prop::option::of(stemmer));
    let flags = any::<[Option<bool>; 3]>();
    (tokenizer, any::<[Option<usize>; 2]>(), flags, words).prop_map(
        |(tokenizer, lens, flags, (stopwords, stemmer))| TextParams {
            tokenizer,
            min_token_len: lens[0],
            max_token_len: lens[1],
            lowercase: flags[0],
            ascii_folding: flags[1],
            phrase_matching: flags[2],
            stopwords,
            stemmer,
        },
    )
}

proptest! {
    #[test]
    fn schemas_come_back(
        text in any_text(),
        kind in 0..8usize,
        tenant: Option<bool>,
        principal: Option<bool>,
        on_disk: Option<bool>,
        place in prop::option::of(0..3usize),
        short: bool,
    ) {
        let params = match KINDS[kind].0 {
            "text" => FieldParams::Text(text),
            "keyword" => FieldParams::Keyword { prefix: tenant },
            "integer" => FieldParams::Integer { lookup: tenant, range: None },
            _ => KINDS[kind].1.params(),
        };
        let placement = Placement {
            on_disk,
            memory: place.map(|n| MEMORIES[n].1),
            enable_hnsw: principal,
            is_tenant: tenant,
            is_principal: principal,
            extra: Map::new(),
        };
        let schema = if short {
            KINDS[kind].1.into()
        } else {
            FieldSchema::new(params, placement)
        };
        let json = serde_json::to_string(&schema).unwrap();
        prop_assert_eq!(serde_json::from_str::<FieldSchema>(&json).unwrap(), schema);
    }
}

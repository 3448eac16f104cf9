//! Schemas to JSON.

use super::{FieldKind, FieldParams, FieldSchema, Language, MEMORIES, Memory, Placement};
use super::{Stemmer, Stopwords, TOKENIZERS, TextParams, name};
use serde::ser::{Serialize, SerializeMap, Serializer};

impl Serialize for FieldSchema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_name() && *self == Self::from(self.kind()) {
            return self.kind().serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &self.kind())?;
        match &self.params {
            FieldParams::Keyword { prefix } => entry(&mut map, "prefix", prefix.as_ref())?,
            FieldParams::Integer { lookup, range } => {
                entry(&mut map, "lookup", lookup.as_ref())?;
                entry(&mut map, "range", range.as_ref())?;
            }
            FieldParams::Text(params) => write_text(&mut map, params)?,
            FieldParams::Float
            | FieldParams::Geo
            | FieldParams::Bool
            | FieldParams::Datetime
            | FieldParams::Uuid => {}
        }
        write_placement(&mut map, &self.placement)?;
        map.end()
    }
}

fn entry<M: SerializeMap, T: Serialize>(
    map: &mut M,
    key: &'static str,
    value: Option<&T>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, value))
}

fn write_text<M: SerializeMap>(map: &mut M, params: &TextParams) -> Result<(), M::Error> {
    map.serialize_entry("tokenizer", name(&TOKENIZERS, params.tokenizer))?;
    entry(map, "min_token_len", params.min_token_len.as_ref())?;
    entry(map, "max_token_len", params.max_token_len.as_ref())?;
    entry(map, "lowercase", params.lowercase.as_ref())?;
    entry(map, "ascii_folding", params.ascii_folding.as_ref())?;
    entry(map, "phrase_matching", params.phrase_matching.as_ref())?;
    entry(map, "stopwords", params.stopwords.as_ref())?;
    entry(map, "stemmer", params.stemmer.as_ref())
}

fn write_placement<M: SerializeMap>(map: &mut M, placement: &Placement) -> Result<(), M::Error> {
    entry(map, "is_tenant", placement.is_tenant.as_ref())?;
    entry(map, "is_principal", placement.is_principal.as_ref())?;
    entry(map, "on_disk", placement.on_disk.as_ref())?;
    entry(map, "memory", placement.memory.as_ref())?;
    entry(map, "enable_hnsw", placement.enable_hnsw.as_ref())?;
    placement.extra.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))
}

impl Serialize for FieldKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Serialize for Memory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name(&MEMORIES, *self))
    }
}

impl Serialize for Language {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Serialize for Stopwords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Language(language) => language.serialize(serializer),
            Self::Set { languages, custom } => {
                let mut map = serializer.serialize_map(None)?;
                entry(&mut map, "languages", languages.as_ref())?;
                entry(&mut map, "custom", custom.as_ref())?;
                map.end()
            }
        }
    }
}

impl Serialize for Stemmer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Snowball(language) => {
                map.serialize_entry("type", "snowball")?;
                map.serialize_entry("language", language)?;
            }
            Self::Disabled => map.serialize_entry("type", "none")?,
        }
        map.end()
    }
}

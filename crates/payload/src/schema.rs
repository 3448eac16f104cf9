//! What kind of values a field has and how it is to be indexed.

mod language;
mod read;
mod text;
mod write;

pub use language::Language;
pub use text::{Stemmer, Stopwords, TextParams, Tokenizer};

use serde_json::{Map, Value};

/// The kind of values that an index of a field is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// Whole texts.
    Keyword,
    /// Whole numbers of 64 bits with sign.
    Integer,
    /// Numbers.
    Float,
    /// Places, see [`GeoPoint`](crate::GeoPoint).
    Geo,
    /// Words of texts.
    Text,
    /// True or false.
    Bool,
    /// Moments, see [`Datetime`](crate::Datetime).
    Datetime,
    /// UUIDs as texts.
    Uuid,
}

/// How a field is indexed, in JSON as the protocol has it: the name of a kind alone, `"keyword"`,
/// or an object, `{"type": "integer", "range": false}`.
///
/// Which of the two it was is kept, and so is whether a parameter was given. The object form is
/// read leniently, as clients of this protocol expect: keys that are not known are kept in
/// [`Placement::extra`] and written back; known keys must have the right kind of value.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSchema {
    /// The kind and what only this kind has.
    pub params: FieldParams,
    /// What every kind has.
    pub placement: Placement,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Name,
    Object,
}

/// A kind with the parameters only it has. `None` is a parameter not given.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldParams {
    /// Whole texts.
    Keyword {
        /// Whether `match: {"prefix": …}` is served by the index; it is answered either way.
        prefix: Option<bool>,
    },
    /// Whole numbers.
    Integer {
        /// Whether the index serves equality, true where not given.
        lookup: Option<bool>,
        /// Whether the index serves ranges, true where not given. Not false beside `lookup` false.
        range: Option<bool>,
    },
    /// Numbers.
    Float,
    /// Places.
    Geo,
    /// Words of texts.
    Text(TextParams),
    /// True or false.
    Bool,
    /// Moments.
    Datetime,
    /// UUIDs.
    Uuid,
}

/// Where an index is kept and what it is used for: hints that change no result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// Whether it stays on disk; `memory` is the newer way to say so and wins.
    pub on_disk: Option<bool>,
    /// How much of it is kept in memory.
    pub memory: Option<Memory>,
    /// Whether graphs are built with this field in mind.
    pub enable_hnsw: Option<bool>,
    /// Whether the field says whose point it is, so that points of one owner are kept together.
    pub is_tenant: Option<bool>,
    /// Whether most searches filter by this field.
    pub is_principal: Option<bool>,
    /// Further parameters, kept and written back: at most 32 with 4096 bytes together.
    pub extra: Map<String, Value>,
}

/// How much of something on disk is kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// What was read stays as long as there is room.
    Cold,
    /// Read at the start, given up where room is needed.
    Cached,
    /// Held.
    Pinned,
}

const KINDS: [(&str, FieldKind); 8] = [
    ("keyword", FieldKind::Keyword),
    ("integer", FieldKind::Integer),
    ("float", FieldKind::Float),
    ("geo", FieldKind::Geo),
    ("text", FieldKind::Text),
    ("bool", FieldKind::Bool),
    ("datetime", FieldKind::Datetime),
    ("uuid", FieldKind::Uuid),
];

const MEMORIES: [(&str, Memory); 3] =
    [("cold", Memory::Cold), ("cached", Memory::Cached), ("pinned", Memory::Pinned)];

const TOKENIZERS: [(&str, Tokenizer); 4] = [
    ("prefix", Tokenizer::Prefix),
    ("whitespace", Tokenizer::Whitespace),
    ("word", Tokenizer::Word),
    ("multilingual", Tokenizer::Multilingual),
];

/// The name of `value` in a table that has all of its kind.
fn name<T: Copy + PartialEq>(table: &[(&'static str, T)], value: T) -> &'static str {
    table.iter().find(|(_, other)| *other == value).map_or("", |(name, _)| name)
}

fn named<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
}

impl FieldKind {
    /// Its name in JSON, as in `"keyword"`.
    pub fn name(self) -> &'static str {
        name(&KINDS, self)
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        named(&KINDS, name)
    }

    /// Its parameters, none of them given.
    pub fn params(self) -> FieldParams {
        match self {
            Self::Keyword => FieldParams::Keyword { prefix: None },
            Self::Integer => FieldParams::Integer { lookup: None, range: None },
            Self::Float => FieldParams::Float,
            Self::Geo => FieldParams::Geo,
            Self::Text => FieldParams::Text(TextParams::default()),
            Self::Bool => FieldParams::Bool,
            Self::Datetime => FieldParams::Datetime,
            Self::Uuid => FieldParams::Uuid,
        }
    }
}

impl FieldParams {
    /// The kind these are of.
    pub fn kind(&self) -> FieldKind {
        match self {
            Self::Keyword { .. } => FieldKind::Keyword,
            Self::Integer { .. } => FieldKind::Integer,
            Self::Float => FieldKind::Float,
            Self::Geo => FieldKind::Geo,
            Self::Text(_) => FieldKind::Text,
            Self::Bool => FieldKind::Bool,
            Self::Datetime => FieldKind::Datetime,
            Self::Uuid => FieldKind::Uuid,
        }
    }
}

impl From<FieldKind> for FieldSchema {
    /// The short form.
    fn from(kind: FieldKind) -> Self {
        let placement = Placement::default();
        Self { params: kind.params(), placement, form: Form::Name }
    }
}

impl FieldSchema {
    /// The object form. Checked by [`check`](Self::check).
    pub fn new(params: FieldParams, placement: Placement) -> Self {
        Self { params, placement, form: Form::Object }
    }

    /// The kind of values.
    pub fn kind(&self) -> FieldKind {
        self.params.kind()
    }

    /// Whether only the name of the kind was given: `params` are absent then in what is reported.
    pub fn is_name(&self) -> bool {
        self.form == Form::Name
    }

    /// Whether the index is to stay on disk rather than in memory.
    pub fn is_cold(&self) -> bool {
        match self.placement.memory {
            Some(memory) => memory == Memory::Cold,
            None => self.placement.on_disk == Some(true),
        }
    }
}

#[cfg(test)]
mod tests;

//! Data directories, the collections in them, and what imports remember there.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use kvant_db::{Collection, Condition, Config, Database, Dense, Filter};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::args::Stored;

/// Where imports go that name no collection.
pub(crate) const DEFAULT: &str = "default";
/// What imports remember is below this key of the collection's notes.
const NOTES: &str = "kvant";

/// A data directory and one of its collections.
pub(crate) struct Opened {
    /// Held while the collection is used.
    #[expect(dead_code, reason = "closed when dropped")]
    database: Database,
    pub(crate) collection: Arc<Collection>,
    /// Directory and collection, for messages.
    pub(crate) shown: String,
}

/// What was said at the first import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Notes {
    /// The encoder of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// Where identifiers are in records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id_field: Option<String>,
    /// Where texts are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text_field: Option<String>,
    /// Where vectors are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vector_field: Option<String>,
}

impl Notes {
    /// What a collection remembers; nothing where no import made it.
    pub(crate) fn of(config: &Config) -> Self {
        let notes = config.notes.get(NOTES).cloned();
        notes.and_then(|notes| serde_json::from_value(notes).ok()).unwrap_or_default()
    }

    /// As notes of a collection.
    ///
    /// # Errors
    /// Never in fact: they are texts.
    pub(crate) fn to_map(&self) -> anyhow::Result<Map<String, Value>> {
        Ok(Map::from_iter([(NOTES.to_owned(), serde_json::to_value(self)?)]))
    }
}

/// Opens a data directory and the collection that is meant: the one named, or the only one.
///
/// # Errors
/// If another process has it open, it is none, or no collection is meant.
pub(crate) fn open(args: &Stored) -> anyhow::Result<Opened> {
    let database = Database::open_existing(&args.data)?;
    let data = args.data.display();
    let name = match &args.collection {
        Some(name) => name.clone(),
        None => only(&database).with_context(|| data.to_string())?,
    };
    let collection = database.collection(&name).with_context(|| data.to_string())?;
    Ok(Opened { database, collection, shown: shown(&args.data, &name) })
}

/// A collection, for messages.
pub(crate) fn shown(data: &Path, name: &str) -> String {
    format!("{}: collection {name:?}", data.display())
}

/// The only collection there is.
fn only(database: &Database) -> anyhow::Result<String> {
    let names: Vec<String> = database.listing().collections.into_keys().collect();
    match &names[..] {
        [] => bail!("holds no collection yet"),
        [one] => Ok(one.clone()),
        several => bail!("holds {}; choose with --collection", several.join(", ")),
    }
}

/// The dense vector that is meant where none is named: the one without a name, or the only one.
///
/// # Errors
/// If there is none, or there are several.
pub(crate) fn vector(config: &Config) -> anyhow::Result<(&str, &Dense)> {
    let mut all = config.dense.iter();
    let found = match (config.dense.get_key_value(""), config.dense.len()) {
        (Some(unnamed), _) => Some(unnamed),
        (None, 1) => all.next(),
        (None, _) => None,
    };
    let Some((name, dense)) = found else {
        let names: Vec<&String> = config.dense.keys().collect();
        bail!("has no vector without a name; the dense ones are {names:?}");
    };
    Ok((name, dense))
}

/// The points that pass all of these conditions.
///
/// # Errors
/// For a text that is no condition.
pub(crate) fn filter(texts: &[String]) -> Result<Filter, String> {
    let one = |text: &String| text.parse::<Condition>().map_err(|error| error.to_string());
    Ok(Filter { must: texts.iter().map(one).collect::<Result<_, _>>()?, ..Filter::default() })
}

#[cfg(test)]
mod tests {
    use kvant_db::Metric;

    use super::*;

    #[test]
    fn notes_come_back() {
        let notes = Notes { model: Some("m".to_owned()), ..Notes::default() };
        let config = Config { notes: notes.to_map().expect("texts"), ..Config::default() };
        assert_eq!(Notes::of(&config), notes);
        assert_eq!(Notes::of(&Config::default()), Notes::default());
    }

    #[test]
    fn the_vector_without_a_name_or_the_only_one() {
        let dense = Dense::new(3, Metric::Dot);
        let mut config = Config::default();
        assert!(vector(&config).is_err());
        config.dense.insert("image".to_owned(), dense.clone());
        assert_eq!(vector(&config).expect("the only one").0, "image");
        config.dense.insert("text".to_owned(), dense.clone());
        let error = vector(&config).expect_err("which?").to_string();
        assert!(error.contains("image") && error.contains("text"), "{error}");
        config.dense.insert(String::new(), dense);
        assert_eq!(vector(&config).expect("that without a name").0, "");
    }

    #[test]
    fn conditions_are_keys_and_values() {
        assert!(filter(&[]).is_ok());
        assert!(filter(&["a=1".to_owned(), "b.c=x=y".to_owned()]).is_ok());
        for bad in ["nonsense", "=1", ""] {
            assert!(filter(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}

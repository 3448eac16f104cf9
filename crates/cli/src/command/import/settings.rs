//! What an import says about a collection, held against what the collection says itself.

use anyhow::{Context, bail};
use kvant_db::source::Fields;
use kvant_db::{Config, Dense, Metric};

use crate::args::Import;
use crate::reference::Reference;
use crate::store::{self, Notes};

/// Where no metric is named.
const METRIC: Metric = Metric::Cosine;

/// The fields to read: flags, then what the collection was made with, then the usual names.
pub(super) fn fields(args: &Import, notes: &Notes) -> Fields {
    let usual = Fields::default();
    let field = |flag: &Option<String>, noted: &Option<String>, usual: String| {
        flag.clone().or_else(|| noted.clone()).unwrap_or(usual)
    };
    Fields {
        id: field(&args.id_field, &notes.id_field, usual.id),
        text: field(&args.text_field, &notes.text_field, usual.text),
        vector: field(&args.vector_field, &notes.vector_field, usual.vector),
    }
}

/// What a collection of vectors of `dim` components is made of.
///
/// # Errors
/// If an index cannot be what was asked for.
pub(super) fn config(args: &Import, model: Option<&String>, dim: usize) -> anyhow::Result<Config> {
    let text_field = args.text_field.clone();
    let notes = Notes {
        model: model.cloned(),
        id_field: args.id_field.clone(),
        text_field: text_field.or_else(|| model.map(|_| Fields::default().text)),
        vector_field: args.vector_field.clone(),
    };
    let index = args.index.map(|index| index.to_string());
    let dense = Dense { index, ..Dense::new(dim, args.metric.unwrap_or(METRIC)) };
    let config = Config { notes: notes.to_map()?, ..Config::single(dense) };
    config.check_indexes()?;
    Ok(config)
}

/// A model's name that means the same from every directory.
///
/// # Errors
/// If it is a path and nothing is there.
pub(super) fn model_name(text: &str) -> anyhow::Result<String> {
    match text.parse()? {
        Reference::Local(path) => {
            let whole = path.canonicalize().with_context(|| {
                format!("{text}: no such model; give a path, hf:org/name or pypi:package")
            })?;
            let name = whole.into_os_string().into_string();
            name.map_err(|_| anyhow::anyhow!("{text}: its path is not UTF-8; move it"))
        }
        reference @ (Reference::Hub { .. } | Reference::PyPi { .. }) => Ok(reference.to_string()),
    }
}

/// Holds every flag that was given against the collection.
///
/// # Errors
/// Naming the first that disagrees, and both values.
pub(super) fn agree(args: &Import, config: &Config) -> anyhow::Result<()> {
    let usual = Fields::default();
    let notes = Notes::of(config);
    let (_, dense) = store::vector(config)?;
    let model = args.model.as_deref().map(model_name).transpose()?;
    let named = |field: &Option<String>, usual: &str| field.as_deref().unwrap_or(usual).to_owned();
    let index = dense.index.clone().unwrap_or_else(|| "the index that follows from size".into());
    let pairs = [
        ("--metric", args.metric.map(|m| m.to_string()), dense.metric.to_string()),
        ("--index", args.index.map(|i| i.to_string()), index),
        ("--model", model, notes.model.clone().unwrap_or_else(|| "no model".into())),
        ("--id-field", args.id_field.clone(), named(&notes.id_field, &usual.id)),
        ("--text-field", args.text_field.clone(), named(&notes.text_field, &usual.text)),
        ("--vector-field", args.vector_field.clone(), named(&notes.vector_field, &usual.vector)),
    ];
    for (flag, given, is) in pairs {
        if let Some(given) = given.filter(|given| *given != is) {
            bail!(
                "was made with {is}, {flag} says {given}; leave the flag out or import into a new \
                 collection"
            );
        }
    }
    Ok(())
}

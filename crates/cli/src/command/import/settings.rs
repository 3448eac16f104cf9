//! What an import says about a collection, held against what the collection says itself.

use anyhow::{Context, bail};
use kvant_db::Settings;
use kvant_db::source::Fields;
use kvant_index::Metric;

use crate::args::Import;
use crate::reference::Reference;

/// Where no metric is named.
pub(super) const METRIC: Metric = Metric::Cosine;

/// The fields to read: flags, then what the collection was made with, then the usual names.
pub(super) fn fields(args: &Import, stored: Option<&Settings>) -> Fields {
    let usual = Fields::default();
    let field = |flag: &Option<String>, stored: Option<&Option<String>>, usual: String| {
        flag.clone().or_else(|| stored.cloned().flatten()).unwrap_or(usual)
    };
    Fields {
        id: field(&args.id_field, stored.map(|s| &s.id_field), usual.id),
        text: field(&args.text_field, stored.map(|s| &s.text_field), usual.text),
        vector: field(&args.vector_field, stored.map(|s| &s.vector_field), usual.vector),
    }
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
pub(super) fn agree(args: &Import, stored: &Settings) -> anyhow::Result<()> {
    let usual = Fields::default();
    let model = args.model.as_deref().map(model_name).transpose()?;
    let named = |field: &Option<String>, usual: &str| field.as_deref().unwrap_or(usual).to_owned();
    let pairs = [
        ("--metric", args.metric.map(|m| m.to_string()), stored.metric.to_string()),
        ("--index", args.index.map(|i| i.to_string()), stored.spec.to_string()),
        ("--model", model, stored.model.clone().unwrap_or_else(|| "no model".into())),
        ("--id-field", args.id_field.clone(), named(&stored.id_field, &usual.id)),
        ("--text-field", args.text_field.clone(), named(&stored.text_field, &usual.text)),
        ("--vector-field", args.vector_field.clone(), named(&stored.vector_field, &usual.vector)),
    ];
    for (flag, given, is) in pairs {
        if let Some(given) = given.filter(|given| *given != is) {
            bail!(
                "{}: was made with {is}, {flag} says {given}; leave the flag out or import into a \
                 new collection",
                args.collection.display()
            );
        }
    }
    Ok(())
}

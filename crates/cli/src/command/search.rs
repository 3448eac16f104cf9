//! `kvant search COLLECTION QUERY`.

use anyhow::{Context, bail};
use kvant_db::{Collection, Filter, Found, PointId, Query};
use kvant_index::Effort;
use kvant_model::EmbedOptions;
use serde::Serialize;
use serde_json::Value;

use super::encoder;
use crate::args::Search;
use crate::print::{self, Lean, Table};
use crate::progress::Audience;
use crate::pull;

/// Characters of a text shown on the terminal.
const TEXT_CHARS: usize = 100;

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    /// How to read the scores.
    metric: String,
    /// Closest first.
    results: &'a [Found],
}

pub(super) fn run(args: &Search) -> anyhow::Result<()> {
    let collection = Collection::open(&args.collection)?;
    let like: Option<PointId> = args.like.as_deref().map(str::parse).transpose()?;
    let effort = match (args.exact, args.ef) {
        (true, _) => Effort::Exact,
        (false, Some(ef)) => Effort::Ef(ef),
        (false, None) => Effort::Default,
    };
    let query = Query {
        vector: vector(args, &collection, like.as_ref())?,
        // The point itself is found too, and left out below.
        k: args.k + usize::from(like.is_some()),
        filter: Filter { must: args.filters.clone() },
        effort,
    };
    let found = collection.search(&query);
    let mut found = found.with_context(|| args.collection.display().to_string())?;
    if let Some(like) = &like {
        found.retain(|point| point.id != *like);
    }
    found.truncate(args.k);
    let settings = collection.settings();
    if args.json {
        return print::json(&Answer { metric: settings.metric.to_string(), results: &found });
    }
    print::all(&text(&found, settings.text_field.as_deref().unwrap_or("text")))
}

/// What to search for: given, taken from a point, or embedded.
fn vector(
    args: &Search,
    collection: &Collection,
    like: Option<&PointId>,
) -> anyhow::Result<Vec<f32>> {
    let shown = args.collection.display();
    if let Some(json) = &args.vector {
        return serde_json::from_str(json).context("--vector must be a JSON array of numbers");
    }
    if let Some(id) = like {
        let point = collection.get(id)?;
        return Ok(point.with_context(|| format!("{shown}: no point {id}"))?.vector);
    }
    let Some(model) = &collection.settings().model else {
        bail!(
            "{shown}: holds vectors without a model, so a text cannot be searched for; use \
             --vector or --like"
        );
    };
    let query = args.query.clone().unwrap_or_default();
    if query.trim().is_empty() {
        bail!("the query is empty");
    }
    let checkpoint = pull::open(model, Audience::of(args.json))
        .with_context(|| format!("{shown}: its model is not to be had"))?;
    Ok(encoder::open(&checkpoint)?.embed(&[query], &EmbedOptions::default())?)
}

/// Score, identifier and text, or what else the payload holds.
fn text(found: &[Found], text_field: &str) -> String {
    if found.is_empty() {
        return "nothing found\n".into();
    }
    let mut table =
        Table::new(&[("score", Lean::Right), ("id", Lean::Left), (text_field, Lean::Left)]);
    for point in found {
        let text = match point.payload.get(text_field) {
            Some(Value::String(text)) => text.clone(),
            Some(_) | None if point.payload.is_empty() => String::new(),
            Some(_) | None => Value::Object(point.payload.clone()).to_string(),
        };
        table.row(vec![
            format!("{:.4}", point.score),
            print::snippet(&point.id.to_string(), 40),
            print::snippet(&text, TEXT_CHARS),
        ]);
    }
    table.to_string()
}

//! `kvant search DATA QUERY`.

use anyhow::{Context, bail};
use kvant_db::{Config, Effort, Payloads, PointId, Scored, Search as Find, Vector, With};
use kvant_model::EmbedOptions;
use serde::Serialize;
use serde_json::{Map, Value};

use super::encoder;
use crate::args::Search;
use crate::print::{self, Lean, Table};
use crate::progress::Audience;
use crate::pull;
use crate::store::{self, Notes, Opened};

/// Characters of a text shown on the terminal.
const TEXT_CHARS: usize = 100;

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    /// How to read the scores.
    metric: String,
    /// Closest first.
    results: Vec<Line<'a>>,
}

/// One point found.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a PointId,
    score: f32,
    payload: &'a Map<String, Value>,
}

impl<'a> Line<'a> {
    fn of(Scored { found, score, .. }: &'a Scored) -> Self {
        Self { id: &found.id, score: *score, payload: &found.payload }
    }
}

pub(super) fn run(args: &Search) -> anyhow::Result<()> {
    let opened = store::open(&args.stored)?;
    let Opened { collection, shown, .. } = &opened;
    let config = collection.config();
    let (using, dense) = store::vector(&config).with_context(|| shown.clone())?;
    let like: Option<PointId> = args.like.as_deref().map(str::parse).transpose()?;
    let effort = match (args.exact, args.ef) {
        (true, _) => Effort::Exact,
        (false, Some(ef)) => Effort::Ef(ef),
        (false, None) => Effort::Default,
    };
    let filter = store::filter(&args.filters).map_err(anyhow::Error::msg)?;
    let vector = vector(args, &opened, (&config, using), like.as_ref())?;
    let near = Find {
        // The point itself is found too, and left out below.
        limit: args.k + usize::from(like.is_some()),
        filter: (!args.filters.is_empty()).then_some(filter),
        effort,
        ..Find::nearest(using, vector)
    };
    let whole = With { payload: Payloads::All, ..With::default() };
    let mut scored = collection.search(&near, &whole).with_context(|| shown.clone())?;
    if let Some(like) = &like {
        scored.retain(|scored| scored.found.id != *like);
    }
    scored.truncate(args.k);
    if args.json {
        let results = scored.iter().map(Line::of).collect();
        return print::json(&Answer { metric: dense.metric.to_string(), results });
    }
    print::all(&text(&scored, Notes::of(&config).text_field.as_deref().unwrap_or("text")))
}

/// What to search for: given, taken from a point, or embedded.
fn vector(
    args: &Search,
    Opened { collection, shown, .. }: &Opened,
    (config, using): (&Config, &str),
    like: Option<&PointId>,
) -> anyhow::Result<Vector> {
    if let Some(json) = &args.vector {
        let values = serde_json::from_str(json);
        return values.map(Vector::Dense).context("--vector must be a JSON array of numbers");
    }
    if let Some(id) = like {
        let found = collection.get(std::slice::from_ref(id))?.pop();
        let mut found = found.with_context(|| format!("{shown}: no point {id}"))?;
        let vector = found.vectors.remove(using);
        return vector.with_context(|| format!("{shown}: point {id} has no such vector"));
    }
    let Some(model) = Notes::of(config).model else {
        bail!(
            "{shown}: holds vectors without a model, so a text cannot be searched for; use \
             --vector or --like"
        );
    };
    let query = args.query.clone().unwrap_or_default();
    if query.trim().is_empty() {
        bail!("the query is empty");
    }
    let checkpoint = pull::open(&model, Audience::of(args.json))
        .with_context(|| format!("{shown}: its model is not to be had"))?;
    let encoder = encoder::open(&checkpoint)?;
    Ok(Vector::Dense(encoder.embed(&[query], &EmbedOptions::default())?))
}

/// Score, identifier and text, or what else the payload holds.
fn text(scored: &[Scored], text_field: &str) -> String {
    if scored.is_empty() {
        return "nothing found\n".into();
    }
    let mut table =
        Table::new(&[("score", Lean::Right), ("id", Lean::Left), (text_field, Lean::Left)]);
    for Scored { found, score, .. } in scored {
        let text = match found.payload.get(text_field) {
            Some(Value::String(text)) => text.clone(),
            Some(_) | None if found.payload.is_empty() => String::new(),
            Some(_) | None => Value::Object(Map::clone(&found.payload)).to_string(),
        };
        table.row(vec![
            format!("{score:.4}"),
            print::snippet(&found.id.to_string(), 40),
            print::snippet(&text, TEXT_CHARS),
        ]);
    }
    table.to_string()
}

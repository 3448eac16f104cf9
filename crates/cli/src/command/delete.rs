//! `kvant delete COLLECTION ID…` and `kvant delete COLLECTION --filter KEY=VALUE`.

use kvant_db::limits::BATCH_POINTS_MAX;
use kvant_db::{Collection, Filter, PointId};
use serde::Serialize;

use crate::args::Delete;
use crate::print;

/// What `--json` prints.
#[derive(Serialize)]
struct Deleted {
    /// Points that were there and are gone.
    deleted: usize,
    /// Points left.
    points: usize,
}

pub(super) fn run(args: &Delete) -> anyhow::Result<()> {
    let given: Vec<PointId> = args.ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
    let mut collection = Collection::open(&args.collection)?;
    let ids = if args.filters.is_empty() {
        given
    } else {
        matching(&collection, &Filter { must: args.filters.clone() })?
    };
    let mut deleted = 0;
    for batch in ids.chunks(BATCH_POINTS_MAX) {
        deleted += collection.delete(batch)?;
    }
    let result = Deleted { deleted, points: collection.len() };
    if args.json {
        return print::json(&result);
    }
    print::line(&format!("{} deleted, {} left", result.deleted, result.points))
}

/// The points whose payload passes, in a fixed order.
fn matching(collection: &Collection, filter: &Filter) -> anyhow::Result<Vec<PointId>> {
    let mut found = Vec::new();
    for id in collection.ids() {
        if collection.get(id)?.is_some_and(|point| filter.matches(&point.payload)) {
            found.push(id.clone());
        }
    }
    found.sort_unstable();
    Ok(found)
}

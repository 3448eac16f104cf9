//! `kvant delete DATA ID…` and `kvant delete DATA --filter KEY=VALUE`.

use anyhow::Context;
use kvant_db::limits::BATCH_POINTS_MAX;
use kvant_db::{Change, Edit, PointId, Selector};
use serde::Serialize;

use crate::args::Delete;
use crate::print;
use crate::store::{self, Opened};

/// What `--json` prints.
#[derive(Serialize)]
struct Deleted {
    /// Points that were there and are gone.
    deleted: usize,
    /// Points left.
    points: usize,
}

pub(super) fn run(args: &Delete) -> anyhow::Result<()> {
    let ids: Vec<PointId> = args.ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
    let filter = store::filter(&args.filters).map_err(anyhow::Error::msg)?;
    let opened = store::open(&args.stored)?;
    let Opened { collection, shown, .. } = &opened;
    let changes: Vec<Change> = if args.filters.is_empty() {
        ids.chunks(BATCH_POINTS_MAX).map(|ids| Change::delete(ids.to_vec())).collect()
    } else {
        vec![Change::Edit(Edit::Delete(Selector::Filter(filter)))]
    };
    let mut deleted = 0;
    for change in changes {
        deleted += collection.write(change).with_context(|| shown.clone())?.1.points;
    }
    let result = Deleted { deleted, points: collection.len() };
    if args.json {
        return print::json(&result);
    }
    print::line(&format!("{} deleted, {} left", result.deleted, result.points))
}

//! `kvant info COLLECTION`.

use std::fmt::Write;

use kvant_db::Collection;

use crate::args::Info;
use crate::print;

pub(super) fn run(args: &Info) -> anyhow::Result<()> {
    let collection = Collection::open(&args.collection)?;
    let info = collection.info();
    if args.json {
        return print::json(&info);
    }
    let figures = [
        ("points", Some(info.points.to_string())),
        ("dim", Some(info.dim.to_string())),
        ("metric", Some(info.metric)),
        ("index", Some(info.index)),
        ("model", info.model),
        ("text field", info.text_field),
        ("segments", Some(info.segments.to_string())),
        ("not sealed", Some(format!("{} points", info.growing_points))),
        ("deleted", Some(format!("{} rows that still take space", info.deleted_rows))),
        ("on disk", Some(print::size(info.bytes_disk))),
    ];
    let mut text = String::new();
    for (name, value) in figures {
        if let Some(value) = value {
            writeln!(text, "{name:<11} {value}")?;
        }
    }
    print::all(&text)
}

//! The memory of one model or index, in a process of its own that `eval` or `bench ann` starts.

use std::io::Read;

use anyhow::Context;
use kvant_eval::cost::{Meter, held_bytes};
use kvant_index::SearchOptions;
use kvant_model::{EmbedOptions, Encoder};
use serde::{Deserialize, Serialize};

use super::index::{self, Vectors};
use crate::args::{Measure, MeasureIndex};
use crate::print;
use crate::progress::Audience;

/// Bytes of the texts.
const INPUT_BYTES_MAX: u64 = 64 << 20;

pub(super) fn run(args: &Measure) -> anyhow::Result<()> {
    let mut input = String::new();
    std::io::stdin().lock().take(INPUT_BYTES_MAX).read_to_string(&mut input)?;
    let texts: Vec<String> = serde_json::from_str(&input).context("standard input")?;
    let mut meter = Meter::start();
    let encoder = Encoder::load(&args.model)?;
    if let Some(meter) = &mut meter {
        meter.loaded();
    }
    let options = EmbedOptions { threads: args.threads.get(), ..Default::default() };
    encoder.embed(&texts, &options)?;
    print::json(&meter.and_then(Meter::finish))
}

/// Bytes held before an index is opened, and after so many searches.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) before: Option<u64>,
    pub(super) after: Option<u64>,
}

pub(super) fn index(args: &MeasureIndex) -> anyhow::Result<()> {
    let queries = Vectors::read(&args.queries, "test", Audience::Machine)?;
    let before = held_bytes();
    let mut stored = index::open(&args.file, false)?;
    stored.load()?;
    let effort = index::effort(args.effort, &stored.spec())?;
    let options = SearchOptions { k: args.k, effort, ..SearchOptions::default() };
    let index = stored.index()?;
    for query in queries.data.chunks_exact(queries.dim).cycle().take(args.count) {
        std::hint::black_box(index.search(query, &options)?);
    }
    print::json(&Held { before, after: held_bytes() })
}

//! The memory of one model, taken in a process of its own; `eval` starts it.

use std::io::Read;

use anyhow::Context;
use kvant_eval::cost::Meter;
use kvant_model::{EmbedOptions, Encoder};

use crate::args::Measure;
use crate::print;

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

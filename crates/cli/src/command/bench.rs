//! `kvant bench`: speed, one file for each thing that is measured.

mod ann;
mod arrival;
mod embed;
mod generate;
mod memory;
mod probe;

use crate::args::{Bench, Measured};

pub(super) fn run(args: &Bench) -> anyhow::Result<()> {
    match &args.what {
        Measured::Ann(args) => ann::run(args),
        Measured::Embed(args) => embed::run(args),
        Measured::Generate(args) => generate::run(args),
    }
}

/// The middle value, of an even number the mean of the middle two; `values` is not empty.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

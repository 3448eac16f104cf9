//! One file for each command: read the flags, call the house, print the result.

mod bench;
mod calibrate;
mod chat;
mod classify;
mod cluster;
mod completions;
mod compress;
mod convert;
mod delete;
mod embed;
mod encoder;
mod eval;
mod generate;
mod import;
mod index;
mod info;
mod inspect;
mod measure;
mod perplexity;
mod pull;
mod rerank;
mod score;
mod search;
mod text;
mod writer;

use crate::args::{Cli, Command};

/// Runs the command that was typed.
///
/// # Errors
/// Whatever the command cannot do.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Pull(args) => pull::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Compress(args) => compress::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Search(args) => search::run(&args),
        Command::Rerank(args) => rerank::run(&args),
        Command::Classify(args) => classify::run(&args),
        Command::Cluster(args) => cluster::run(&args),
        Command::Delete(args) => delete::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Index(args) => index::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Chat(args) => chat::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Perplexity(args) => perplexity::run(&args),
        Command::Measure(args) => measure::run(&args),
        Command::MeasureIndex(args) => measure::index(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

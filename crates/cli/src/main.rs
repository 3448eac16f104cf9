//! The binary `kvant`: compress a model, embed texts, store and search the vectors, say the cost.
//!
//! **Invariant:** the only room with flags, environment variables and exit codes. Results go to
//! standard output, progress and errors to standard error; every failure is one line that names
//! the file and the remedy.

#[expect(clippy::doc_markdown, reason = "these comments are the help text")]
mod args;
mod command;
mod failure;
mod place;
mod print;
mod progress;
mod pull;
mod reference;
mod store;

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;
use kvant_kernels::Level;

/// Exit code of a command that was understood and failed; clap gives 2 for one that was not.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(FAILED);
            // A closed terminal leaves nobody to tell.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match level().and_then(|()| failure::guarded(|| command::run(cli))) {
        Ok(()) => ExitCode::SUCCESS,
        // `kvant search … | head` is no failure of ours.
        Err(error) if failure::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            failure::report(&error);
            ExitCode::from(FAILED)
        }
    }
}

/// A `KVANT_SIMD` that cannot be obeyed is said, not silently replaced by another level.
fn level() -> anyhow::Result<()> {
    let Some(name) = std::env::var_os("KVANT_SIMD") else { return Ok(()) };
    let level: Level = name.to_string_lossy().parse().context("KVANT_SIMD")?;
    let best = Level::best();
    ensure!(level.available(), "KVANT_SIMD: this processor has no {level}; its best is {best}");
    Ok(())
}

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

use std::process::ExitCode;

use clap::Parser;

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
    match failure::guarded(|| command::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        // `kvant search … | head` is no failure of ours.
        Err(error) if failure::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            failure::report(&error);
            ExitCode::from(FAILED)
        }
    }
}

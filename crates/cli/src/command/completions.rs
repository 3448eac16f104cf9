//! `kvant completions SHELL`.

use clap::CommandFactory;

use crate::args::{Cli, Completions};
use crate::print;

pub(super) fn run(args: &Completions) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kvant", &mut script);
    print::all(&String::from_utf8_lossy(&script))
}

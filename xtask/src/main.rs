//! The executable laws of the house: `cargo xtask tidy`.
//!
//! **Invariant:** imports nothing of the house, reads only tracked files, changes none.

mod arrow;
mod finding;
mod header;
mod name;
mod outline;
mod page;
mod size;
mod tree;
mod word;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::finding::Finding;
use crate::tree::Tree;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => tidy(),
        Some(other) => bail!("unknown task '{other}': the tasks are: tidy"),
        None => bail!("say which task: tidy"),
    }
}

fn tidy() -> Result<bool> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask lies in the root of the repository")?
        .to_path_buf();
    let tree = Tree::read(&root)?;
    let mut findings = arrow::check(&root)?;
    findings.extend(laws(&tree));
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} files read, {} findings", tree.files.len(), findings.len());
    Ok(findings.is_empty())
}

/// Every law that needs only the text of the tree.
fn laws(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for law in [header::check, name::check, size::check, word::check, page::check] {
        findings.extend(law(tree));
    }
    findings
}

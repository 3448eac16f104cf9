//! Arrows between crates: strictly downwards, and never from wing to wing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::finding::Finding;

/// Who may import whom. A new arrow is a change to this table, reviewed as such.
const ALLOWED: [(&str, &[&str]); 13] = [
    ("kvant-kernels", &[]),
    ("kvant-storage", &[]),
    ("kvant-quant", &["kernels"]),
    ("kvant-model", &["kernels", "quant", "storage"]),
    ("kvant-index", &["kernels", "quant", "storage"]),
    ("kvant-payload", &["storage"]),
    ("kvant-compress", &["kernels", "quant", "storage", "model"]),
    ("kvant-db", &["index", "payload", "storage"]),
    ("kvant-eval", &["kernels", "quant", "storage", "model", "compress", "index", "payload", "db"]),
    ("kvant-server", &["storage", "model", "payload", "db", "index"]),
    ("kvant-cli", &CLI),
    ("kvant-testkit", &[]),
    ("kvant-examples", &CLI),
];

const CLI: [&str; 10] = [
    "kernels", "storage", "quant", "model", "index", "compress", "payload", "db", "eval", "server",
];

/// Asks cargo for the dependencies of every member and holds them against the table.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    Ok(arrows(&metadata))
}

fn arrows(metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let empty = Vec::new();
    for package in metadata["packages"].as_array().unwrap_or(&empty) {
        let name = package["name"].as_str().unwrap_or_default();
        let path = format!("{name}/Cargo.toml");
        let allowed = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name);
        for dependency in package["dependencies"].as_array().unwrap_or(&empty) {
            let target = dependency["name"].as_str().unwrap_or_default();
            let Some(short) = target.strip_prefix("kvant-") else { continue };
            if short == "testkit" && dependency["kind"].as_str() == Some("dev") {
                continue;
            }
            match allowed {
                Some((_, targets)) if targets.contains(&short) => {}
                Some(_) => findings.push(Finding::new(
                    &path,
                    1,
                    format!("{name} may not import {target}: see the table in xtask/src/arrow.rs"),
                )),
                None => findings.push(Finding::new(
                    &path,
                    1,
                    format!("{name} imports {target} but stands in no row of the table of arrows"),
                )),
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, target: &str, kind: Option<&str>) -> Value {
        serde_json::json!({ "packages": [
            { "name": name, "dependencies": [{ "name": target, "kind": kind }] }
        ]})
    }

    #[test]
    fn wings_do_not_import_each_other() {
        assert_eq!(arrows(&package("kvant-model", "kvant-index", None)).len(), 1);
        assert_eq!(arrows(&package("kvant-db", "kvant-model", None)).len(), 1);
        assert_eq!(arrows(&package("kvant-db", "kvant-model", Some("dev"))).len(), 1);
        assert_eq!(arrows(&package("kvant-index", "kvant-compress", None)).len(), 1);
    }

    #[test]
    fn downward_arrows_and_testkit_in_tests_are_fine() {
        assert!(arrows(&package("kvant-db", "kvant-index", None)).is_empty());
        assert!(arrows(&package("kvant-db", "kvant-testkit", Some("dev"))).is_empty());
        assert_eq!(arrows(&package("kvant-db", "kvant-testkit", None)).len(), 1);
        assert_eq!(arrows(&package("stranger", "kvant-db", None)).len(), 1);
    }

    #[test]
    fn the_table_itself_has_no_cycle() {
        for (name, targets) in ALLOWED {
            for target in targets {
                let back = ALLOWED.iter().find(|(other, _)| other.ends_with(target));
                let returns =
                    back.is_some_and(|(_, far)| far.iter().any(|far| name.ends_with(far)));
                assert!(!returns, "{name} and {target} import each other");
            }
        }
    }
}

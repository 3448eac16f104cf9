//! Sizes: functions, files, lines, crates, blobs.

use std::collections::BTreeMap;

use crate::finding::Finding;
use crate::outline::functions;
use crate::tree::Tree;

const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 500;
const TEST_FILE_LINES: usize = 900;
const LINE_COLUMNS: usize = 100;
const BLOB_BYTES: usize = 512 * 1024;

/// Lines of source a crate may have, tests apart. Budgets are raised in review, not in passing.
const BUDGETS: [(&str, usize); 11] = [
    // Each family of loops is written once for every level.
    ("kernels", 9000),
    ("storage", 3500),
    ("quant", 6000),
    ("model", 16000),
    // Shapes, codes, files and k-means: each shape and code is a few hundred lines.
    ("index", 20000),
    ("compress", 7000),
    // Filters, words of texts, and an index for every type of field.
    ("payload", 9000),
    ("db", 12000),
    ("eval", 5500),
    ("server", 3000),
    ("cli", 8500),
];

/// Whether the file holds only tests, benches or examples.
fn is_apart(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || ["/tests/", "/benches/", "/examples/"].iter().any(|room| path.contains(room))
        || path.starts_with("examples/")
}

/// Holds every Rust file, function and line to its limit.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, text) in tree.rust() {
        let body = text.find("#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at]);
        let count = body.lines().count();
        let limit = if is_apart(path) { TEST_FILE_LINES } else { FILE_LINES };
        if count > limit {
            findings.push(Finding::new(path, 1, format!("{count} lines, limit {limit}: split it")));
        }
        if let Some((name, _)) = path.strip_prefix("crates/").and_then(|rest| rest.split_once('/'))
            && !is_apart(path)
        {
            *totals.entry(name).or_default() += count;
        }
        findings.extend(long_lines(path, text));
        findings.extend(long_functions(path, text));
    }
    findings.extend(over_budget(&totals));
    for file in tree.files.iter().filter(|file| file.size_bytes > BLOB_BYTES) {
        let message = format!("{} bytes, limit {BLOB_BYTES}: keep it out", file.size_bytes);
        findings.push(Finding::new(&file.path, 1, message));
    }
    findings
}

fn long_lines(path: &str, text: &str) -> Vec<Finding> {
    let long = |(index, line): (usize, &str)| {
        let columns = line.chars().count();
        (columns > LINE_COLUMNS).then(|| {
            let message = format!("{columns} columns, limit {LINE_COLUMNS}");
            Finding::new(path, index + 1, message)
        })
    };
    text.lines().enumerate().filter_map(long).collect()
}

fn long_functions(path: &str, text: &str) -> Vec<Finding> {
    functions(text)
        .into_iter()
        .filter(|function| function.lines > FUNCTION_LINES)
        .map(|function| {
            let message = format!(
                "fn {} has {} lines, limit {FUNCTION_LINES}",
                function.name, function.lines
            );
            Finding::new(path, function.first_line, message)
        })
        .collect()
}

fn over_budget(totals: &BTreeMap<&str, usize>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, &count) in totals {
        let path = format!("crates/{name}");
        match BUDGETS.iter().find(|(budgeted, _)| budgeted == name) {
            Some(&(_, budget)) if count > budget => {
                findings.push(Finding::new(&path, 1, format!("{count} lines, budget {budget}")));
            }
            Some(_) => {}
            None => {
                findings.push(Finding::new(&path, 1, "has no line budget in xtask/src/size.rs"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_things_are_found() {
        let function = format!("fn a() {{\n{}}}\n", "    x();\n".repeat(70));
        let file = "// line\n".repeat(501);
        let line = format!("// {}\n", "x".repeat(98));
        let tree = Tree::of(&[
            ("crates/db/src/a.rs", function.as_str()),
            ("crates/db/src/b.rs", file.as_str()),
            ("crates/db/src/c.rs", line.as_str()),
            ("crates/db/tests/d.rs", file.as_str()),
            ("crates/attic/src/e.rs", "//! x\n"),
        ]);
        let paths: Vec<String> = check(&tree).into_iter().map(|finding| finding.path).collect();
        let expected =
            ["crates/db/src/a.rs", "crates/db/src/b.rs", "crates/db/src/c.rs", "crates/attic"];
        assert_eq!(paths, expected);
    }
}

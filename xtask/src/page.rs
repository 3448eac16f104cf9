//! The written pages: the map names every crate, links lead somewhere, the changelog has its head.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::tree::Tree;

const MAP_LINES: usize = 300;

/// Checks ARCHITECTURE.md, CHANGELOG.md, decision names and relative links of every page.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let paths: BTreeSet<&str> = tree.files.iter().map(|file| file.path.as_str()).collect();
    let text = |path: &str| {
        tree.files.iter().find(|file| file.path == path).and_then(|file| file.text.as_deref())
    };
    match text("ARCHITECTURE.md") {
        Some(map) => findings.extend(check_map(map, &paths)),
        None => findings.push(Finding::new("ARCHITECTURE.md", 1, "is missing")),
    }
    match text("CHANGELOG.md") {
        Some(log) if log.contains("## Unreleased") => {}
        _ => findings.push(Finding::new("CHANGELOG.md", 1, "has no `## Unreleased` heading")),
    }
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        findings.extend(check_links(&file.path, file.text.as_deref().unwrap_or_default(), &paths));
    }
    findings
}

fn check_map(map: &str, paths: &BTreeSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let count = map.lines().count();
    if count > MAP_LINES {
        let message = format!("{count} lines, limit {MAP_LINES}");
        findings.push(Finding::new("ARCHITECTURE.md", 1, message));
    }
    let crates: BTreeSet<&str> = paths
        .iter()
        .filter_map(|path| path.strip_prefix("crates/")?.split_once('/').map(|(name, _)| name))
        .collect();
    for name in crates {
        let section = map.split("\n### ").find(|part| part.starts_with(&format!("`{name}`")));
        if !section.is_some_and(|section| section.contains("**Invariant")) {
            let message = format!("has no section `### \\`{name}\\`` with an **Invariant**");
            findings.push(Finding::new("ARCHITECTURE.md", 1, message));
        }
    }
    findings
}

/// Relative links must name a tracked file or a folder of tracked files.
fn check_links(page: &str, text: &str, paths: &BTreeSet<&str>) -> Vec<Finding> {
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for part in line.split("](").skip(1) {
            let target = part.split([')', '#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let full = resolve(folder, target);
            let known = paths.contains(full.as_str())
                || paths.iter().any(|path| path.starts_with(&format!("{full}/")));
            if !known {
                findings.push(Finding::new(page, index + 1, format!("links to missing {target}")));
            }
        }
    }
    findings
}

fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_links_and_unmapped_crates_are_found() {
        let tree = Tree::of(&[
            ("ARCHITECTURE.md", "# Map\n\n### `db`\n\n**Invariant:** none.\n"),
            ("CHANGELOG.md", "## Unreleased\n"),
            ("docs/a.md", "[ok](../CHANGELOG.md) [ok](b/) [bad](c.md) [out](https://x.y)"),
            ("docs/b/d.md", ""),
            ("crates/db/src/lib.rs", ""),
            ("crates/attic/src/lib.rs", ""),
        ]);
        let messages: Vec<String> = check(&tree).into_iter().map(|found| found.message).collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(messages[0].contains("attic"));
        assert!(messages[1].contains("c.md"));
    }
}

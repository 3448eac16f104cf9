//! Names of modules: whole nouns, never a drawer for leftovers.

use crate::finding::Finding;
use crate::tree::Tree;

const FORBIDDEN: [&str; 20] = [
    "core",
    "common",
    "utils",
    "util",
    "helpers",
    "helper",
    "misc",
    "base",
    "types",
    "manager",
    "provider",
    "impl",
    "v2",
    "v3",
    "new",
    "old",
    "prototype",
    "experimental",
    "mod",
    "stuff",
];

/// No path component of a source file may be a forbidden name.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, _) in tree.rust() {
        for part in path.split('/') {
            let stem = part.strip_suffix(".rs").unwrap_or(part);
            if FORBIDDEN.contains(&stem) {
                let message = format!("'{stem}' is no name for a room: say what is in it");
                findings.push(Finding::new(path, 1, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawers_are_found() {
        let tree =
            Tree::of(&[("a/utils.rs", ""), ("a/mod.rs", ""), ("core/b.rs", ""), ("c.rs", "")]);
        assert_eq!(check(&tree).len(), 3);
    }
}

//! Every source file opens by saying what it is.

use crate::finding::Finding;
use crate::tree::Tree;

/// The first line of a Rust file is a `//!` line (after `#!` attributes and blank lines).
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
        if !first.is_some_and(|line| line.starts_with("//! ")) {
            findings.push(Finding::new(path, 1, "opens without a `//!` line saying what it is"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_header_is_found() {
        let tree = Tree::of(&[("a.rs", "use x;\n"), ("b.rs", "#![no_main]\n//! Says.\n")]);
        let found = check(&tree);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "a.rs");
    }
}

//! Words that must not be committed: machine paths, registry hosts, leftovers; and stray `unsafe`.

use crate::finding::Finding;
use crate::outline::code_only;
use crate::tree::Tree;

/// Written in pieces so that this file passes its own law.
const FORBIDDEN: [(&str, &str, &str); 10] = [
    ("/wo", "rk/", "a path of one machine"),
    ("/ro", "ot/", "a path of one machine"),
    ("/tmp/", "wt", "a path of one machine"),
    ("files.python", "hosted.org", "a registry host"),
    ("pypi", ".org", "a registry host"),
    ("deb.", "debian.org", "a registry host"),
    ("static.", "crates.io", "a registry host"),
    ("TO", "DO", "a note to self: do it, or write an issue"),
    ("FIX", "ME", "a note to self: do it, or write an issue"),
    ("todo", "!(", "a hole"),
];

/// Rooms where `unsafe` may stand.
const UNSAFE_ROOMS: [&str; 2] = ["crates/kernels/", "crates/storage/src/bytes"];

/// Searches every tracked text for forbidden words and every source for `unsafe`.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let Some(text) = file.text.as_deref() else { continue };
        if is_data(&file.path) {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            for (head, tail, why) in FORBIDDEN {
                if line.contains(&format!("{head}{tail}")) {
                    findings.push(Finding::new(&file.path, index + 1, format!("holds {why}")));
                }
            }
        }
    }
    for (path, text) in tree.rust() {
        if UNSAFE_ROOMS.iter().any(|room| path.starts_with(room)) {
            continue;
        }
        for (index, line) in code_only(text).lines().enumerate() {
            if line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
                findings.push(Finding::new(path, index + 1, "`unsafe` outside its rooms"));
            }
        }
    }
    findings
}

/// Lock files and test data are made by programs from foreign text.
fn is_data(path: &str) -> bool {
    path.ends_with(".lock") || path.starts_with("testdata/") || path.contains("/testdata/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_words_and_stray_unsafe_are_found() {
        let path = format!("see {}{}x", "/wo", "rk/");
        let tree = Tree::of(&[
            ("README.md", path.as_str()),
            ("crates/db/src/a.rs", "fn a() { unsafe { b() } }"),
            ("crates/db/src/b.rs", "// unsafe is named in a comment\n"),
            ("crates/kernels/src/c.rs", "fn a() { unsafe { b() } }"),
        ]);
        let paths: Vec<String> = check(&tree).into_iter().map(|finding| finding.path).collect();
        assert_eq!(paths, ["README.md", "crates/db/src/a.rs"]);
    }
}

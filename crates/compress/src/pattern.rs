//! Patterns over tensor names.

use std::fmt;

use serde::Deserialize;

/// A tensor name in which `*` stands for any run of characters, also none.
///
/// ```
/// use kvant_compress::Pattern;
///
/// let pattern = Pattern::from("*.attention.*.weight");
/// assert!(pattern.matches("encoder.layer.0.attention.self.query.weight"));
/// assert!(!pattern.matches("encoder.layer.0.output.dense.weight"));
/// assert!(Pattern::from("a*").matches("a") && !Pattern::from("a").matches("ab"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Pattern(String);

impl Pattern {
    /// Whether all of `name` follows the pattern. `O(pattern · name)` at worst.
    pub fn matches(&self, name: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last)
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_run() {
        let cases = [
            ("*", "", true),
            ("*", "abc", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "a", false),
            ("ab*bc", "abc", false),
            ("*b*", "abc", true),
            ("*bc*bc", "abcbc", true),
            ("*bc*bc", "abc", false),
            ("**x", "x", true),
            ("layer.1.*", "layer.10.w", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(Pattern::from(pattern).matches(name), expected, "{pattern} {name}");
        }
    }
}

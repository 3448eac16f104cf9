//! Names of files inside a directory of Kvant.

use crate::limits::{NAME_SEGMENT_SIZE_MAX, NAME_SEGMENTS_MAX};
use std::fmt;

/// A validated relative path: one to four segments of `[A-Za-z0-9._-]{1,100}` joined by `/`, none
/// with a leading dot. No name can leave its directory or meet a temporary or lock file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text is no [`Name`].
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// Too many or no segments.
    #[error("file name {name:?}: expected 1 to {NAME_SEGMENTS_MAX} segments, got {got}")]
    Segments {
        /// The text.
        name: String,
        /// Segments counted.
        got: usize,
    },
    /// A segment is empty, too long, starts with a dot or has a foreign character.
    #[error(
        "file name {name:?}: segment {segment:?} is not 1 to {NAME_SEGMENT_SIZE_MAX} of \
         A-Z a-z 0-9 . _ - without a leading dot"
    )]
    Segment {
        /// The text.
        name: String,
        /// The segment at fault.
        segment: String,
    },
}

impl Name {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`NameError`] naming the segment at fault.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let got = text.split('/').count();
        let short = |s: &str| s.chars().take(NAME_SEGMENT_SIZE_MAX).collect::<String>();
        if got > NAME_SEGMENTS_MAX {
            return Err(NameError::Segments { name: short(text), got });
        }
        match text.split('/').find(|s| !is_segment(s)) {
            None => Ok(Self(text.to_owned())),
            Some(bad) => Err(NameError::Segment { name: short(text), segment: short(bad) }),
        }
    }

    /// `folder/` and `number`, padded to ten digits so that names sort as numbers do.
    ///
    /// # Panics
    /// If `folder` is not one valid segment.
    pub fn numbered(folder: &str, number: u64) -> Self {
        assert!(is_segment(folder), "folder {folder:?}");
        Self(format!("{folder}/{number:010}"))
    }

    /// The number of a name that [`numbered`](Self::numbered) makes.
    pub fn number(&self) -> Option<u64> {
        let number = self.leaf().parse().ok()?;
        let folder = Some(self.folder()).filter(|folder| is_segment(folder))?;
        (Self::numbered(folder, number) == *self).then_some(number)
    }

    /// The text, segments joined by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Everything before the last `/`; empty at the top.
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The last segment.
    pub fn leaf(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, leaf)| leaf)
    }
}

/// Whether `text` may be one segment of a [`Name`].
pub(crate) fn is_segment(text: &str) -> bool {
    (1..=NAME_SEGMENT_SIZE_MAX).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_names() {
        let longest = "x".repeat(NAME_SEGMENT_SIZE_MAX);
        for good in ["a", "manifest/12", "a/b/c/d", "A-1_z.bin", longest.as_str()] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        let long = "x".repeat(NAME_SEGMENT_SIZE_MAX + 1);
        let bad = ["", "/", "a/", "/a", "..", "a/../b", ".a", "a/.b", "a b", "ä", "a\0", "a//b"];
        for bad in bad.into_iter().chain(["a/b/c/d/e", long.as_str(), "..%2f", "a\\b"]) {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbered_names_sort_and_read_back() {
        let names = [0, 9, 10, 9_999_999_999, 10_000_000_000].map(|n| Name::numbered("wal", n));
        assert_eq!(names[1].as_str(), "wal/0000000009");
        assert!(names[..4].is_sorted());
        assert!(names.iter().all(|n| n.number() == n.leaf().parse().ok()));
        for other in ["wal/1", "1", "0000000001", "wal/00000000001", "a/b/0000000001", "wal/x"] {
            assert_eq!(Name::new(other).unwrap().number(), None, "{other}");
        }
    }

    #[test]
    fn a_name_is_a_folder_and_a_leaf() {
        let name = Name::new("a/b/c").unwrap();
        assert_eq!((name.folder(), name.leaf()), ("a/b", "c"));
        let top = Name::new("c").unwrap();
        assert_eq!((top.folder(), top.leaf()), ("", "c"));
    }
}

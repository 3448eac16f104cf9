//! Paths from and to text.

use super::{Path, PathError, Step, too_long};
use crate::limits::PATH_SIZE_MAX;
use std::fmt::{self, Write as _};
use std::str::FromStr;

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > PATH_SIZE_MAX {
            return Err(too_long(text));
        }
        let mut reader = Reader { text, at: 0 };
        let first = reader.key()?;
        let mut rest = Vec::new();
        while let Some(next) = reader.rest().chars().next() {
            rest.push(match next {
                '.' => {
                    reader.at += 1;
                    Step::Key(reader.key()?)
                }
                '[' => reader.element()?,
                _ => {
                    return Err(reader.error(
                        "'.', '[' or the end (a key with other characters stands in double quotes)",
                    ));
                }
            });
        }
        // A quoted key that holds what needs no quotes gets shorter, nothing gets longer.
        Ok(Self { first, rest })
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, expected: &'static str) -> PathError {
        PathError::Form { text: self.text.chars().take(60).collect(), at: self.at, expected }
    }

    fn key(&mut self) -> Result<String, PathError> {
        if self.rest().starts_with('"') {
            return self.quoted();
        }
        let rest = self.rest();
        let key = rest[..rest.find(|c| !is_plain(c)).unwrap_or(rest.len())].to_owned();
        if key.is_empty() {
            return Err(self.error("a key (in double quotes unless it is letters, digits, _ or -)"));
        }
        self.at += key.len();
        Ok(key)
    }

    fn quoted(&mut self) -> Result<String, PathError> {
        let mut key = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.at += at + 1;
                    return Ok(key);
                }
                '\\' => {
                    let Some((_, escaped @ ('"' | '\\'))) = chars.next() else {
                        self.at += at;
                        return Err(self.error("'\\\"' or '\\\\'"));
                    };
                    key.push(escaped);
                }
                _ => key.push(char),
            }
        }
        self.at = self.text.len();
        Err(self.error("'\"' at the end of a quoted key"))
    }

    fn element(&mut self) -> Result<Step, PathError> {
        let rest = &self.rest()[1..];
        let Some((inside, _)) = rest.split_once(']') else {
            return Err(self.error("']' behind '['"));
        };
        let step = match inside {
            "" => Step::Every,
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Step::Index(digits.parse().map_err(|_| self.error("a smaller index"))?)
            }
            _ => return Err(self.error("an index or nothing between '[' and ']'")),
        };
        self.at += inside.len() + 2;
        Ok(step)
    }
}

fn is_plain(char: char) -> bool {
    char.is_alphanumeric() || char == '_' || char == '-'
}

/// In quotes where it needs them.
pub(super) fn write_key(key: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !key.is_empty() && key.chars().all(is_plain) {
        return f.write_str(key);
    }
    f.write_char('"')?;
    for char in key.chars() {
        if matches!(char, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(char)?;
    }
    f.write_char('"')
}

//! Distinct texts in order of their bytes, each with its set of rows.

use super::part::Part;
use super::posting::{SetWriter, Sets};
use super::{BuildError, FieldError};
use std::ops::Range;

/// Texts with their rows, to be written.
#[derive(Debug, Default)]
pub(super) struct DictionaryWriter {
    pub(super) keys: Vec<u8>,
    pub(super) ends: Vec<u8>,
    pub(super) sets: SetWriter,
}

impl DictionaryWriter {
    /// Appends `key`, greater than those before, with its rows, which ascend strictly.
    pub(super) fn push(&mut self, key: &str, rows: &[u32]) -> Result<(), BuildError> {
        self.keys.extend_from_slice(key.as_bytes());
        let end = u32::try_from(self.keys.len());
        let end = end.map_err(|_| BuildError::Texts { got: self.keys.len() as u64 })?;
        self.ends.extend_from_slice(&end.to_le_bytes());
        self.sets.push(rows);
        Ok(())
    }
}

/// Texts with their rows.
#[derive(Debug)]
pub(super) struct Dictionary {
    pub(super) keys: Part,
    pub(super) ends: Part,
    pub(super) sets: Sets,
}

impl Dictionary {
    /// How many texts.
    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    /// The bytes of text number `at`.
    fn key(&self, at: usize) -> Result<&[u8], FieldError> {
        let from = if at == 0 { 0 } else { self.ends.u32(at - 1)? as usize };
        let to = self.ends.u32(at)? as usize;
        self.keys.get(from..to).ok_or_else(|| self.ends.damaged())
    }

    /// Text number `at`.
    pub(super) fn text(&self, at: usize) -> Result<&str, FieldError> {
        std::str::from_utf8(self.key(at)?).map_err(|_| self.keys.damaged())
    }

    /// The first of the texts that is not `before`, if those that are come first.
    fn partition(&self, before: impl Fn(&[u8]) -> bool) -> Result<usize, FieldError> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = usize::midpoint(from, to);
            if before(self.key(middle)?) {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(from)
    }

    /// Which text is `key`.
    pub(super) fn find(&self, key: &str) -> Result<Option<usize>, FieldError> {
        let at = self.partition(|other| other < key.as_bytes())?;
        Ok((at < self.len() && self.key(at)? == key.as_bytes()).then_some(at))
    }

    /// The texts that begin with `prefix`.
    pub(super) fn beginning(&self, prefix: &str) -> Result<Range<usize>, FieldError> {
        let prefix = prefix.as_bytes();
        let from = self.partition(|key| key < prefix)?;
        let to = self.partition(|key| key < prefix || key.starts_with(prefix))?;
        Ok(from..to.max(from))
    }
}

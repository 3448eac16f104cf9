//! One section of an index file: numbers read where they lie, nothing trusted.

use super::FieldError;
use kvant_storage::Bytes;
use std::ops::Deref;

/// The bytes of one section.
#[derive(Clone, Debug)]
pub(super) struct Part {
    bytes: Bytes,
    name: &'static str,
}

impl Part {
    pub(super) fn new(bytes: Bytes, name: &'static str) -> Self {
        Self { bytes, name }
    }

    /// That its content makes no sense although its checksum is right.
    pub(super) fn damaged(&self) -> FieldError {
        FieldError::Senseless { part: self.name }
    }

    /// Number `at` of those of `N` bytes.
    pub(super) fn fixed<const N: usize>(&self, at: usize) -> Result<[u8; N], FieldError> {
        self.bytes.as_chunks::<N>().0.get(at).copied().ok_or_else(|| self.damaged())
    }

    pub(super) fn u32(&self, at: usize) -> Result<u32, FieldError> {
        self.fixed(at).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&self, at: usize) -> Result<u64, FieldError> {
        self.fixed(at).map(u64::from_le_bytes)
    }

    /// The first `N`-byte unit of 0..`len` that is not `before`, if those that are come first.
    pub(super) fn partition<const N: usize>(
        &self,
        len: usize,
        before: impl Fn([u8; N]) -> bool,
    ) -> usize {
        let units = self.bytes.as_chunks::<N>().0;
        units[..len.min(units.len())].partition_point(|unit| before(*unit))
    }
}

impl Deref for Part {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Appends `number` with seven bits a byte, the lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 127 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number off the front of `data`; `None` where it does not end or is too large.
pub(super) fn varint(data: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = data.split_first()?;
        *data = rest;
        let bits = u64::from(byte & 127);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if *byte < 128 {
            return Some(number);
        }
    }
    None
}

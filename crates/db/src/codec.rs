//! Little-endian numbers and identifiers as bytes, read back within bounds.

use crate::PointId;
use kvant_payload::limits::ID_SIZE_MAX;

const NUMBER: u8 = 1;
const UUID: u8 = 2;
const TEXT: u8 = 3;

/// Bytes read from the front, never past the end.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// An identifier as [`put_id`] writes it. Only canonical ones are accepted.
    pub(crate) fn id(&mut self) -> Option<PointId> {
        match self.u8()? {
            NUMBER => self.u64().map(PointId::Number),
            UUID => self.array().map(|bytes| PointId::Uuid(u128::from_le_bytes(bytes))),
            TEXT => {
                let len = usize::from(u16::from_le_bytes(self.array()?));
                if len > ID_SIZE_MAX {
                    return None;
                }
                let text = std::str::from_utf8(self.take(len)?).ok()?.to_owned();
                PointId::Text(text).canonical().ok().filter(|id| matches!(id, PointId::Text(_)))
            }
            _ => None,
        }
    }
}

/// Appends a canonical identifier: a kind byte, then 8, 16, or 2 + length bytes.
pub(crate) fn put_id(out: &mut Vec<u8>, id: &PointId) {
    match id {
        PointId::Number(number) => {
            out.push(NUMBER);
            out.extend_from_slice(&number.to_le_bytes());
        }
        PointId::Uuid(value) => {
            out.push(UUID);
            out.extend_from_slice(&value.to_le_bytes());
        }
        PointId::Text(text) => {
            assert!(text.len() <= ID_SIZE_MAX, "identifiers are checked where they enter");
            out.push(TEXT);
            out.extend_from_slice(&(text.len() as u16).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn foreign_identifiers_are_refused() {
        for bytes in
            [&[][..], &[0], &[4, 1], &[1, 0], &[3, 0, 0], &[3, 1, 0, b'7'], &[3, 1, 0, 255]]
        {
            assert_eq!(Reader::new(bytes).id(), None, "{bytes:?}");
        }
        let mut long = vec![3, 1, 2];
        long.resize(3 + 513, b'x');
        assert_eq!(Reader::new(&long).id(), None);
    }

    proptest! {
            #[test]
            fn identifiers_round_trip(number: u64, uuid: u128, text in "\\PC{1,60}") {
                let ids = [PointId::Number(number), PointId::Uuid(uuid), text.parse().unwrap()];
                let mut out = Vec::new();
                for id in &ids {
     put_id(&mut out, id);
    }
                let mut reader = Reader::new(&out);
                for id in ids {
                    prop_assert_eq!(reader.id(), Some(id));
                }
                prop_assert_eq!(reader.left(), 0);
            }
        }
}

//! What the pages of a parquet column claim to unpack to, before anything unpacks them.
//!
//! The library allocates what a page header asks for, up to 2 GiB. Here the headers are walked
//! first: Thrift's compact protocol, only as far as three numbers and the length of each header.

use crate::source::limits::PARQUET_PAGE_BYTES_MAX;

/// How deep the structures of a header may nest; honest ones nest three deep.
const DEPTH_MAX: usize = 16;

/// What is wrong with the pages of a column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PageProblem {
    /// A header that ends early or makes no sense.
    #[error("a page has a broken header")]
    Header,
    /// A page that reaches beyond its column.
    #[error("a page lies outside its column")]
    Outside,
    /// A page that unpacks to too much.
    #[error("a page claims {got} bytes, more than {PARQUET_PAGE_BYTES_MAX}")]
    Large {
        /// The claim.
        got: i64,
    },
}

/// Holds every page in the bytes of one column chunk to its limits.
pub(super) fn check(column: &[u8]) -> Result<(), PageProblem> {
    let mut rest = column;
    while !rest.is_empty() {
        let mut reader = Reader { rest };
        let header = reader.header().ok_or(PageProblem::Header)?;
        let (Some(unpacked), Some(packed)) = header else { return Err(PageProblem::Header) };
        if !(0..=PARQUET_PAGE_BYTES_MAX).contains(&unpacked) {
            return Err(PageProblem::Large { got: unpacked });
        }
        let packed = usize::try_from(packed).map_err(|_| PageProblem::Outside)?;
        rest = reader.rest.get(packed..).ok_or(PageProblem::Outside)?;
    }
    Ok(())
}

/// The type that ends a structure.
const END: u8 = 0;

/// Reads Thrift's compact protocol; `None` where it ends early or makes no sense.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// `uncompressed_page_size` and `compressed_page_size` of a `PageHeader`.
    fn header(&mut self) -> Option<(Option<i64>, Option<i64>)> {
        const INT32: u8 = 5;
        let (mut unpacked, mut packed) = (None, None);
        let mut id = 0;
        loop {
            match (self.field(&mut id)?, id) {
                (END, _) => return Some((unpacked, packed)),
                (INT32, 2) => unpacked = Some(self.integer()?),
                (INT32, 3) => packed = Some(self.integer()?),
                (kind, _) => self.skip(kind, DEPTH_MAX)?,
            }
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Zigzag: 0, −1, 1, −2, …
    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The type of the next field of a structure, its number in `id`; [`END`] after the last.
    fn field(&mut self, id: &mut i64) -> Option<u8> {
        let head = self.byte()?;
        if head == END {
            return Some(END);
        }
        *id = match head >> 4 {
            0 => self.integer()?,
            step => id.checked_add(i64::from(step))?,
        };
        // A head of 0 with a step is no field: it would be taken for the end.
        Some(head & 0x0F).filter(|kind| *kind != END)
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // Booleans stand in the type itself.
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.varint()?),
            7 => self.rest = self.rest.get(8..)?,
            8 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.rest = self.rest.get(length..)?;
            }
            9 | 10 => self.skip_list(depth)?,
            12 => {
                let mut id = 0;
                loop {
                    match self.field(&mut id)? {
                        END => break,
                        kind => self.skip(kind, depth)?,
                    }
                }
            }
            // Page headers hold no maps.
            _ => return None,
        }
        Some(())
    }

    fn skip_list(&mut self, depth: usize) -> Option<()> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            few => u64::from(few),
        };
        for _ in 0..count {
            match head & 0x0F {
                // In a list a boolean takes a byte.
                1 | 2 => drop(self.byte()?),
                kind => self.skip(kind, depth)?,
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of the two sizes behind a type and before a data page header, then the data.
    fn page(unpacked: i64, data: &[u8]) -> Vec<u8> {
        let zigzag = |value: i64| {
            let mut rest = ((value << 1) ^ (value >> 63)) as u64;
            let mut bytes = Vec::new();
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            bytes
        };
        let mut page = vec![0x15, 0x00, 0x15];
        page.extend(zigzag(unpacked));
        page.push(0x15);
        page.extend(zigzag(data.len() as i64));
        // Field 5, a structure of an integer, a text and a list; ends; the header ends.
        page.extend([0x2C, 0x15, 0x08, 0x18, 0x02, b'a', b'b', 0x19, 0x21, 0x01, 0x02, 0x00, 0x00]);
        page.extend(data);
        page
    }

    #[test]
    fn sizes_are_held_to_their_limits() {
        let two = [page(100, b"abc"), page(0, b"")].concat();
        assert_eq!(check(&two), Ok(()));
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&page(PARQUET_PAGE_BYTES_MAX, b"abc")), Ok(()));
        let got = PARQUET_PAGE_BYTES_MAX + 1;
        assert_eq!(check(&page(got, b"abc")), Err(PageProblem::Large { got }));
        assert_eq!(check(&page(-1, b"abc")), Err(PageProblem::Large { got: -1 }));
        assert_eq!(check(&two[..two.len() - 1]), Err(PageProblem::Header));
        let cut = page(100, b"abc");
        assert_eq!(check(&cut[..cut.len() - 1]), Err(PageProblem::Outside));
    }

    #[test]
    fn nesting_and_endless_lists_end() {
        let deep = [0x1C; 1000];
        assert_eq!(check(&deep), Err(PageProblem::Header));
        let mut list = vec![0x19, 0xF1];
        list.extend([0xFF; 9]);
        list.push(0x01);
        assert_eq!(check(&list), Err(PageProblem::Header));
    }
}

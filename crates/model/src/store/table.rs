//! The table of a file of packed weights: which layers it holds, in what form, and where.
//!
//! ```text
//! u32 layers, then of each:
//!   u32 length of its key, the key
//!   u32 weights, then of each:
//!     u8 form (0 f32, 1 int8, 2 blocks), u64 outputs, u64 inputs
//!     blocks: u64 columns of a block, u8 levels (0 four bits, 1 eight bits, 2 table),
//!             u8 zero or 16 × f32 levels, u8 whether there are minima
//!     u32 sections, then of each: u64 first byte in the data, u64 byte behind the last
//! ```

use std::ops::Range;

use super::ALIGN;
use super::form::Form;

/// Zeros between sections.
const PADDING: [u8; ALIGN] = [0; ALIGN];

/// A layer of the table.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Form and sections of each weight, as bytes of the data.
    pub(super) weights: Vec<(Form, Vec<Range<u64>>)>,
}

/// A layer to be written: form and sections of each weight.
#[derive(Debug)]
pub(super) struct Layer<'a> {
    pub(super) key: &'a str,
    pub(super) weights: Vec<(Form, Vec<&'a [u8]>)>,
}

/// All layers.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

/// The table of `layers` and the data it speaks of, in pieces: every section on a boundary.
pub(super) fn lay_out<'a>(layers: &[Layer<'a>]) -> (Vec<u8>, Vec<&'a [u8]>) {
    let (mut table, mut data, mut at) = (Writer::default(), Vec::new(), 0);
    table.count(layers.len());
    for Layer { key, weights } in layers {
        table.count(key.len());
        table.0.extend_from_slice(key.as_bytes());
        table.count(weights.len());
        for (form, sections) in weights {
            form.write(&mut table);
            table.count(sections.len());
            for &section in sections {
                table.size(at).size(at + section.len());
                let end = (at + section.len()).next_multiple_of(ALIGN);
                data.push(section);
                data.push(&PADDING[..end - at - section.len()]);
                at = end;
            }
        }
    }
    (table.0, data)
}

impl Table {
    /// Reads a table that fills `bytes`. Allocates no more than a small multiple of them.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let mut entries = Vec::new();
        for _ in 0..reader.count()? {
            let len = reader.count()?;
            let key = String::from_utf8(reader.take(len)?.to_vec()).ok()?;
            let mut weights = Vec::new();
            for _ in 0..reader.count()? {
                let form = Form::read(&mut reader)?;
                let mut sections = Vec::new();
                for _ in 0..reader.count()? {
                    sections.push(reader.number()?..reader.number()?);
                }
                weights.push((form, sections));
            }
            entries.push(Entry { key, weights });
        }
        reader.0.is_empty().then_some(Self { entries })
    }
}

/// Numbers in little endian, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    pub(super) fn size(&mut self, size: usize) -> &mut Self {
        self.0.extend_from_slice(&(size as u64).to_le_bytes());
        self
    }

    pub(super) fn float(&mut self, value: f32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn count(&mut self, count: usize) {
        self.0.extend_from_slice(&(count as u32).to_le_bytes());
    }
}

/// What is left to be read; nothing is read past its end.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn size(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    pub(super) fn float(&mut self) -> Option<f32> {
        self.array().map(f32::from_le_bytes)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).ok()
    }
}

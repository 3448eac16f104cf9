//! `.npy`: `NumPy`'s file of one array (NEP 1), versions 1 to 3, read row by row and written whole.

use half::f16;
use kvant_storage::Bytes;

use super::{HeaderProblem, limits};

mod whole;

pub use whole::{Whole, encode_whole};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// The data of a written file starts at a multiple of this, as `NumPy` does it.
const ALIGNMENT: usize = 64;

/// The bytes of a `.npy` file (version 1, `<f4`, C order) of `data.len() / dim` rows.
///
/// # Panics
/// If `data` is not whole rows of `dim ≥ 1`.
pub fn encode(data: &[f32], dim: usize) -> Vec<u8> {
    assert!(dim > 0 && data.len().is_multiple_of(dim), "{} numbers, dim {dim}", data.len());
    let mut file = header(data.len() / dim, dim);
    file.reserve_exact(data.len() * 4);
    for value in data {
        file.extend_from_slice(&value.to_le_bytes());
    }
    file
}

/// The bytes of a `.npy` file (version 1, `<i4`) of one dimension, such as row numbers.
pub fn encode_numbers(data: &[u32]) -> Vec<u8> {
    let mut file = header_of("<i4", &format!("({},)", data.len()));
    file.extend(data.iter().flat_map(|number| number.to_le_bytes()));
    file
}

/// Everything before the numbers, for writers that stream them; its length depends only on the
/// number of digits.
pub fn header(rows: usize, dim: usize) -> Vec<u8> {
    dictionary("<f4", rows, dim)
}

/// Everything before rows of the type `descr`.
fn dictionary(descr: &str, rows: usize, dim: usize) -> Vec<u8> {
    header_of(descr, &format!("({rows}, {dim})"))
}

fn header_of(number: &str, shape: &str) -> Vec<u8> {
    let mut dict = format!("{{'descr': '{number}', 'fortran_order': False, 'shape': {shape}, }}");
    let padding = (MAGIC.len() + 4 + dict.len() + 1).next_multiple_of(ALIGNMENT);
    while MAGIC.len() + 4 + dict.len() + 1 < padding {
        dict.push(' ');
    }
    dict.push('\n');
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&[1, 0]);
    header.extend_from_slice(&(dict.len() as u16).to_le_bytes());
    header.extend_from_slice(dict.as_bytes());
    header
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    F16,
    F32,
    F64,
}

impl Number {
    fn width(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F16 => numbers(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Self::F32 => numbers(bytes, f32::from_le_bytes),
            Self::F64 => numbers(bytes, |b| f64::from_le_bytes(b) as f32),
        }
    }
}

fn numbers<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|chunk| decode(*chunk)).collect()
}

/// Walks the rows.
#[derive(Debug)]
pub(super) struct Reader {
    data: Bytes,
    number: Number,
    dim: usize,
    rows: usize,
    row: usize,
}

impl Reader {
    /// Reads the header and holds the file to it.
    pub(super) fn new(bytes: &Bytes) -> Result<Self, HeaderProblem> {
        let (start, dict) = split(bytes)?;
        let (number, rows, dim) = Dict::parse(dict)?.layout()?;
        let row_bytes = dim * number.width();
        let needed = rows.checked_mul(row_bytes).and_then(|size| size.checked_add(start));
        let Some(end) = needed.filter(|&end| end <= bytes.len()) else {
            let expected = needed.map_or(u64::MAX, |end| end as u64);
            return Err(HeaderProblem::Truncated { expected, got: bytes.len() as u64 });
        };
        Ok(Self { data: bytes.slice(start..end), number, dim, rows, row: 0 })
    }

    /// The row that [`Self::read`] gives next, from 0.
    pub(super) fn row(&self) -> u64 {
        self.row as u64
    }

    pub(super) fn rows_left(&self) -> usize {
        self.rows - self.row
    }

    pub(super) fn skip(&mut self, count: usize) -> usize {
        let passed = count.min(self.rows_left());
        self.row += passed;
        passed
    }

    pub(super) fn read(&mut self) -> Option<Vec<f32>> {
        if self.row == self.rows {
            return None;
        }
        let stride = self.dim * self.number.width();
        let row = self.data.get(self.row * stride..(self.row + 1) * stride)?;
        self.row += 1;
        Some(self.number.decode(row))
    }
}

/// Where the data starts, and the dictionary before it.
fn split(bytes: &[u8]) -> Result<(usize, &str), HeaderProblem> {
    let got = bytes.len() as u64;
    let rest = bytes.strip_prefix(MAGIC).ok_or(HeaderProblem::Magic { kind: "NumPy .npy" })?;
    let (start, length) = match rest {
        [1, _, a, b, ..] => (10, u16::from_le_bytes([*a, *b]) as usize),
        [2 | 3, _, a, b, c, d, ..] => (12, u32::from_le_bytes([*a, *b, *c, *d]) as usize),
        [1..=3, ..] | [] => return Err(HeaderProblem::Truncated { expected: 12, got }),
        [_, ..] => return Err(HeaderProblem::Syntax { what: "format version must be 1, 2 or 3" }),
    };
    if length > limits::NPY_HEADER_BYTES_MAX {
        return Err(HeaderProblem::TooLong { got: length });
    }
    let end = start + length;
    let dict =
        bytes.get(start..end).ok_or(HeaderProblem::Truncated { expected: end as u64, got })?;
    let dict = std::str::from_utf8(dict)
        .map_err(|_| HeaderProblem::Syntax { what: "the dictionary must be text" })?;
    Ok((end, dict))
}

/// The three entries that `NumPy` writes, each as its source text.
#[derive(Default)]
struct Dict<'a> {
    descr: &'a str,
    fortran_order: &'a str,
    shape: &'a str,
}

impl<'a> Dict<'a> {
    /// Reads a Python dictionary of strings, booleans and tuples, as far as `NumPy` writes one.
    fn parse(text: &'a str) -> Result<Self, HeaderProblem> {
        let syntax = |what| HeaderProblem::Syntax { what };
        let inside = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let mut rest = inside.ok_or(syntax("a dictionary must stand in braces"))?.trim();
        let mut dict = Self::default();
        while !rest.is_empty() {
            let (key, after) = rest.split_once(':').ok_or(syntax("a key needs a value"))?;
            let after = after.trim_start();
            let length = value_length(after).ok_or(syntax("a value does not end"))?;
            let (value, after) = after.split_at(length);
            match key.trim() {
                "'descr'" | "\"descr\"" => dict.descr = value.trim(),
                "'fortran_order'" | "\"fortran_order\"" => dict.fortran_order = value.trim(),
                "'shape'" | "\"shape\"" => dict.shape = value.trim(),
                _ => return Err(syntax("keys must be descr, fortran_order and shape")),
            }
            rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        }
        Ok(dict)
    }

    /// Rows must lie one after the other.
    fn check_order(&self) -> Result<(), HeaderProblem> {
        match self.fortran_order {
            "False" => Ok(()),
            "True" => Err(HeaderProblem::FortranOrder),
            _ => Err(HeaderProblem::Syntax { what: "fortran_order must be True or False" }),
        }
    }

    /// Type of number, rows and dim.
    fn layout(&self) -> Result<(Number, usize, usize), HeaderProblem> {
        let number = match self.descr.trim_matches(['\'', '"']) {
            "<f2" => Number::F16,
            "<f4" => Number::F32,
            "<f8" => Number::F64,
            other => return Err(HeaderProblem::Dtype { got: other.chars().take(40).collect() }),
        };
        self.check_order()?;
        let wrong = || HeaderProblem::Shape { got: self.shape.chars().take(40).collect() };
        let inside = self.shape.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
        let mut sizes = inside.ok_or_else(wrong)?.trim_end().trim_end_matches(',').split(',');
        let (Some(rows), Some(dim), None) = (sizes.next(), sizes.next(), sizes.next()) else {
            return Err(wrong());
        };
        let rows: usize = rows.trim().parse().map_err(|_| wrong())?;
        let dim: usize = dim.trim().parse().map_err(|_| wrong())?;
        if dim == 0 || dim > limits::DIM_MAX {
            return Err(wrong());
        }
        Ok((number, rows, dim))
    }
}

/// Bytes up to the comma that ends a value, or all of it.
fn value_length(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth = depth.checked_sub(1)?,
            (None, ',') if depth == 0 => return Some(i),
            (Some(_) | None, _) => {}
        }
    }
    (depth == 0 && quote.is_none()).then_some(text.len())
}

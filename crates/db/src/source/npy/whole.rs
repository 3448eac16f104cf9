//! Arrays of whole numbers and of truth values: rows found, true neighbours, masks.

use std::path::Path;

use super::super::{HeaderProblem, SourceError};
use super::{Dict, dictionary, split};

/// One array of whole numbers, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// All numbers; truth values are 0 and 1.
    pub values: Vec<i64>,
    /// How many stand in a row; 1 of an array with one axis.
    pub cols: usize,
}

impl Whole {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.cols.max(1)
    }

    /// The array in the `.npy` file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, or is no such array.
    pub fn read(path: &Path) -> Result<Self, SourceError> {
        let bytes = kvant_storage::read_file(path)
            .map_err(|source| SourceError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(&bytes)
            .map_err(|problem| SourceError::Header { path: path.to_owned(), problem })
    }

    /// The array in the bytes of a `.npy` file: C order, one axis or two, of `<i4`, `<i8`, `<u4`,
    /// `|i1`, `|u1` or `|b1`.
    ///
    /// # Errors
    /// If it is no such array.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HeaderProblem> {
        let (start, dict) = split(bytes)?;
        let dict = Dict::parse(dict)?;
        let (width, decode) = number(dict.descr)?;
        dict.check_order()?;
        let (rows, cols) = sizes(dict.shape)?;
        let size = rows.checked_mul(cols).and_then(|count| count.checked_mul(width));
        let end = size.and_then(|size| size.checked_add(start)).filter(|&end| end <= bytes.len());
        let Some(end) = end else {
            let expected = size.map_or(u64::MAX, |size| (size as u64).saturating_add(start as u64));
            return Err(HeaderProblem::Truncated { expected, got: bytes.len() as u64 });
        };
        let values = bytes[start..end].chunks_exact(width).map(decode).collect();
        Ok(Self { values, cols })
    }
}

/// The bytes of a `.npy` file (version 1, `<i4`, C order) of `data.len() / cols` rows.
///
/// # Panics
/// If `data` is not whole rows of `cols ≥ 1`.
pub fn encode_whole(data: &[i32], cols: usize) -> Vec<u8> {
    assert!(cols > 0 && data.len().is_multiple_of(cols), "{} numbers by {cols}", data.len());
    let mut file = dictionary("<i4", data.len() / cols, cols);
    file.reserve_exact(data.len() * 4);
    file.extend(data.iter().flat_map(|value| value.to_le_bytes()));
    file
}

type Decode = fn(&[u8]) -> i64;

/// Bytes of a number, and what they say.
fn number(descr: &str) -> Result<(usize, Decode), HeaderProblem> {
    fn four(bytes: &[u8]) -> [u8; 4] {
        bytes.first_chunk().copied().unwrap_or_default()
    }
    Ok(match descr.trim_matches(['\'', '"']) {
        "<i4" => (4, |bytes| i32::from_le_bytes(four(bytes)).into()),
        "<u4" => (4, |bytes| u32::from_le_bytes(four(bytes)).into()),
        "<i8" => (8, |b| i64::from_le_bytes(b.first_chunk().copied().unwrap_or_default())),
        "|i1" => (1, |bytes| bytes.first().map_or(0, |&byte| i64::from(byte as i8))),
        "|u1" => (1, |bytes| bytes.first().map_or(0, |&byte| byte.into())),
        "|b1" => (1, |bytes| i64::from(bytes.first().is_some_and(|&byte| byte != 0))),
        _ => {
            let what =
                "numbers must be whole: <i4, <i8, <u4, |i1, |u1 or |b1 (array.astype('<i4'))";
            return Err(HeaderProblem::Syntax { what });
        }
    })
}

fn sizes(shape: &str) -> Result<(usize, usize), HeaderProblem> {
    let what = "expected an array of one axis or two, the second not empty";
    let inside = shape.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    let inside = inside.ok_or(HeaderProblem::Syntax { what })?;
    let sizes: Result<Vec<usize>, _> = inside
        .trim_end()
        .trim_end_matches(',')
        .split(',')
        .map(|size| size.trim().parse())
        .collect();
    match sizes.as_deref() {
        Ok(&[rows]) => Ok((rows, 1)),
        Ok(&[rows, cols]) if cols > 0 => Ok((rows, cols)),
        Ok(_) | Err(_) => Err(HeaderProblem::Syntax { what }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((dict.len() as u16).to_le_bytes());
        file.extend(dict.as_bytes());
        file.extend(data);
        file
    }

    #[test]
    fn numbers_of_every_width_come_back() {
        let read = |descr, shape, data: &[u8]| Whole::from_bytes(&file(descr, shape, data));
        let values = |values: &[i64], cols| Ok(Whole { values: values.to_vec(), cols });
        assert_eq!(read("|b1", "(3,)", &[0, 1, 7]), values(&[0, 1, 1], 1));
        assert_eq!(read("|u1", "(2,)", &[0, 255]), values(&[0, 255], 1));
        assert_eq!(read("|i1", "(2,)", &[0, 255]), values(&[0, -1], 1));
        assert_eq!(read("<u4", "(1, 1)", &[255; 4]), values(&[i64::from(u32::MAX)], 1));
        assert_eq!(read("<i8", "(1, 2)", &[255; 16]), values(&[-1, -1], 2));
        let data = [3, -1, i32::MAX, 0, 5, i32::MIN];
        let whole = Whole::from_bytes(&encode_whole(&data, 3)).unwrap();
        assert_eq!((whole.rows(), whole.cols), (2, 3));
        assert_eq!(whole.values, data.map(i64::from));
        assert_eq!(encode_whole(&data, 3).len() % 64, 24, "data on a multiple of 64");
    }

    #[test]
    fn other_arrays_are_refused() {
        for (descr, shape, words) in [
            ("<f4", "(1,)", "must be whole"),
            (">i4", "(1,)", "must be whole"),
            ("<i4", "(2,)", "cut short"),
            ("<i8", "(18446744073709551615, 2)", "cut short"),
            ("<i4", "(1, 0)", "one axis or two"),
            ("<i4", "(1, 1, 1)", "one axis or two"),
            ("<i4", "()", "one axis or two"),
            ("<i4", "(-1,)", "one axis or two"),
        ] {
            let error = Whole::from_bytes(&file(descr, shape, &[0; 4])).unwrap_err().to_string();
            assert!(error.contains(words), "{descr} {shape}: {error}");
        }
        assert!(Whole::from_bytes(b"\x93NUMPY").is_err());
    }
}

//! What can go wrong on the way to codes and back.

use crate::Scheme;

/// Why a matrix could not be encoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// A value is NaN or infinite.
    #[error("value {value} at row {row}, column {col} is not a finite number")]
    NotFinite {
        /// Row of the value.
        row: usize,
        /// Column of the value.
        col: usize,
        /// The value.
        value: f32,
    },
    /// The rows are no whole number of blocks.
    #[error(
        "{scheme} holds rows of whole blocks of {block} weights, these have {cols} columns; \
         {}int8, linear, sym and affine codes hold rows of any length",
        if *block > crate::BLOCK { "--fallback puts a scheme of 32-weight blocks in its place, " }
        else { "" }
    )]
    BlockCols {
        /// The scheme asked for.
        scheme: Scheme,
        /// Weights of its blocks.
        block: usize,
        /// Columns of the matrix.
        cols: usize,
    },
    /// A row holds numbers that the scheme's scale or minimum cannot express.
    #[error(
        "row {row} reaches {magnitude}, past the {limit} that {scheme} can express; \
         int8 reaches furthest, to {}",
        crate::int8::MAX
    )]
    Range {
        /// The scheme asked for.
        scheme: Scheme,
        /// The row.
        row: usize,
        /// Largest magnitude (or width of the range) found there.
        magnitude: f32,
        /// Largest one that fits.
        limit: f32,
    },
    /// A format that is read and not written.
    #[error("{scheme} is only read, not written; iq4_nl has as many levels and finer scales")]
    ReadOnly {
        /// The scheme asked for.
        scheme: Scheme,
    },
    /// A number of bits outside 2 to 8.
    #[error("codes have 2 to 8 bits, not {bits}")]
    Bits {
        /// Bits asked for.
        bits: u8,
    },
}

/// Why stored parts do not make a matrix.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LayoutError {
    /// `rows × cols` (or the bytes they need) overflows.
    #[error("{rows} x {cols} weights are more than this machine can address")]
    Overflow {
        /// Rows claimed.
        rows: usize,
        /// Columns claimed.
        cols: usize,
    },
    /// A part has the wrong number of elements.
    #[error("{part} should have {expected} elements, it has {got}")]
    Length {
        /// Which part.
        part: &'static str,
        /// Elements that the shape asks for.
        expected: usize,
        /// Elements found.
        got: usize,
    },
    /// A scale, minimum or step is NaN, infinite, or leads to infinite weights.
    #[error("{part} {index} is {value}, which does not give finite weights")]
    Scale {
        /// Which part.
        part: &'static str,
        /// Element of the part.
        index: usize,
        /// The value found.
        value: f32,
    },
    /// A minimum or step of a group that is no f16.
    #[error("{part} {index} is {value}, which is not an f16 number")]
    Precision {
        /// Which part.
        part: &'static str,
        /// Element of the part.
        index: usize,
        /// The value found.
        value: f32,
    },
    /// A number of bits outside 2 to 8.
    #[error("codes have 2 to 8 bits, not {bits}")]
    Bits {
        /// Bits claimed.
        bits: u8,
    },
    /// A number that the format does not allow in its place.
    #[error("{part} {index} is {value}, {why}")]
    Value {
        /// Which part.
        part: &'static str,
        /// Element of the part.
        index: usize,
        /// The value found.
        value: f32,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A group of no weights.
    #[error("a group needs at least one weight")]
    Group,
    /// The rows are no whole number of blocks.
    #[error("{format} rows are whole blocks of {block} weights, these have {cols} columns")]
    BlockCols {
        /// The block format.
        format: crate::BlockFormat,
        /// Weights of its blocks.
        block: usize,
        /// Columns claimed.
        cols: usize,
    },
}

/// A name that is no scheme or block format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no scheme is called {name:?}; there are {known}")]
pub struct SchemeError {
    /// The name asked for.
    pub name: String,
    /// The names that exist.
    pub known: &'static str,
}

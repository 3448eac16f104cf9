//! What can be wrong with the header of a weight file.

/// A header that is broken, or that asks for more than the limits allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The file is shorter than its own header says.
    #[error("the file ends inside {what}")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// A count or length over its limit.
    #[error("{what} is {got}, the limit is {limit}")]
    TooLarge {
        /// The quantity.
        what: &'static str,
        /// Its value in the file.
        got: u64,
        /// The largest accepted value.
        limit: u64,
    },
    /// Text that does not parse.
    #[error("the header does not parse: {why}")]
    Syntax {
        /// The parser's words.
        why: String,
    },
    /// A field with a value the format does not know.
    #[error("{what} is {got}, expected {expected}")]
    Unknown {
        /// The field.
        what: &'static str,
        /// Its value.
        got: String,
        /// What the format allows.
        expected: &'static str,
    },
    /// A tensor whose description contradicts itself or the file.
    #[error("tensor '{tensor}': {why}")]
    Tensor {
        /// The tensor, its name cut to a printable length.
        tensor: String,
        /// The contradiction.
        why: String,
    },
}

impl HeaderError {
    /// A [`HeaderError::Tensor`] whose name is cut and cleaned for printing.
    pub(crate) fn tensor(name: &str, why: impl Into<String>) -> Self {
        Self::Tensor { tensor: printable(name), why: why.into() }
    }
}

/// The first 80 characters of `name`, control characters escaped.
pub(crate) fn printable(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}

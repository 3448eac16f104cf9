//! What can be wrong with building, opening and asking an index.

use crate::FieldKind;
use kvant_storage::frame::FrameError;

/// Why an index was not opened or a question not answered.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    /// The file is damaged or of another kind.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Its checksum is right, but what it says is not.
    #[error("section {part:?} of a payload index makes no sense; create the payload index again")]
    Senseless {
        /// The section.
        part: &'static str,
    },
    /// Another index would have to be asked.
    #[error("an index of {kind} values cannot be asked for {asked}", kind = kind.name())]
    Unfit {
        /// What the index is over.
        kind: FieldKind,
        /// What it was asked for.
        asked: &'static str,
    },
}

/// Why an index was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// More text than a file takes.
    #[error(
        "distinct values of the field have {got} bytes together, at most {max} fit into an index; \
         index a shorter field",
        max = u32::MAX
    )]
    Texts {
        /// Bytes so far.
        got: u64,
    },
}

//! Which tensors a pass changes, and why the others stay.

use std::fmt;

use kvant_model::TensorInfo;
use kvant_quant::EncodeError;

/// The rule that picks the tensors to encode: weight matrices, not vectors and small tables.
///
/// Linear layers and embeddings hold nearly all parameters; norms, biases and tables of a few
/// rows hold few and are sensitive, so they stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    /// Both dimensions must be at least this.
    pub dim_min: usize,
    /// What becomes of word tables and heads.
    pub tables: Tables,
}

/// What becomes of the tables that turn words into vectors and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tables {
    /// They are matrices like others.
    #[default]
    Take,
    /// They stay: the readers of some containers expect it.
    Leave,
}

impl Default for Select {
    fn default() -> Self {
        Self { dim_min: 32, tables: Tables::Take }
    }
}

impl Select {
    /// Whether `tensor` is to be encoded; else why it stays.
    ///
    /// # Errors
    /// The [`Reason`] to keep it.
    pub fn judge(&self, tensor: &TensorInfo) -> Result<(), Reason> {
        if !holds_weights(tensor) {
            return Err(Reason::Index);
        }
        if self.tables == Tables::Leave && is_table(&tensor.name) {
            return Err(Reason::Table);
        }
        match tensor.shape[..] {
            [rows, cols] if rows.min(cols) >= self.dim_min => Ok(()),
            [_, _] => Err(Reason::Small { dim_min: self.dim_min }),
            _ => Err(Reason::Rank),
        }
    }
}

/// Whether the tensor turns words into vectors or back, by its name in any container.
fn is_table(name: &str) -> bool {
    name.contains("embed")
        || ["lm_head.weight", "token_embd.weight", "output.weight"].contains(&name)
}

/// Whether the elements are weights of the network, not indices or flags.
pub(crate) fn holds_weights(tensor: &TensorInfo) -> bool {
    !matches!(tensor.format.as_bytes(), [b'I' | b'U', b'0'..=b'9', ..] | b"BOOL")
}

/// Why a tensor stays as it was.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// It holds indices, not weights.
    Index,
    /// It is no matrix.
    Rank,
    /// A dimension is below the least one worth encoding.
    Small {
        /// That least dimension.
        dim_min: usize,
    },
    /// The scheme cannot hold it.
    Scheme(EncodeError),
    /// The recipe leaves it.
    Recipe,
    /// It is a table, and the container takes none in few bits.
    Table,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index => f.write_str("holds indices, not weights"),
            Self::Rank => f.write_str("is no matrix"),
            Self::Small { dim_min } => write!(f, "has a dimension below {dim_min}"),
            Self::Scheme(error) => error.fmt(f),
            Self::Table => f.write_str("is a table, which this container keeps in full"),
            Self::Recipe => f.write_str("is left by the recipe"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(format: &str, shape: &[usize]) -> TensorInfo {
        TensorInfo {
            name: "t".into(),
            shape: shape.to_vec(),
            format: format.into(),
            bits_per_weight: 32.0,
            size_bytes: 0,
        }
    }

    #[test]
    fn matrices_of_at_least_32_are_selected() {
        let select = Select::default();
        for format in ["F64", "F32", "F16", "BF16"] {
            assert_eq!(select.judge(&tensor(format, &[32, 32])), Ok(()));
        }
        let small = Err(Reason::Small { dim_min: 32 });
        assert_eq!(select.judge(&tensor("F32", &[31, 384])), small);
        assert_eq!(select.judge(&tensor("F32", &[384, 31])), small);
        for shape in [&[][..], &[384], &[64, 64, 64]] {
            assert_eq!(select.judge(&tensor("F32", shape)), Err(Reason::Rank));
        }
        for format in ["I64", "I32", "U8", "BOOL"] {
            assert_eq!(select.judge(&tensor(format, &[64, 512])), Err(Reason::Index));
        }
    }
}

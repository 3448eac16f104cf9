//! Which tensors a pass changes, and why the others stay.

use std::fmt;

use kvant_model::TensorInfo;
use kvant_quant::EncodeError;

/// The rule that picks the tensors to encode: weights of linear, recurrent and convolutional
/// layers and large tables, not vectors and small tables.
///
/// Linear layers and embeddings hold nearly all parameters; norms, biases and tables of a few
/// rows hold few and are sensitive, so they stay. A tensor of three axes or more is taken for a
/// convolution, whose rows are short by nature; one with a single output, or a single weight for
/// each, is a mask, a token or a scale of channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    /// Both dimensions of a matrix must be at least this, and the weights of any other tensor.
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
    /// Whether `tensor` is to be encoded by the output axis `axis`; else why it stays. Whether it
    /// has that axis is not asked.
    ///
    /// # Errors
    /// The [`Reason`] to keep it.
    pub fn judge(&self, tensor: &TensorInfo, axis: usize) -> Result<(), Reason> {
        if !holds_weights(tensor) {
            return Err(Reason::Index);
        }
        if self.tables == Tables::Leave && is_table(&tensor.name) {
            return Err(Reason::Table);
        }
        match tensor.shape[..] {
            [rows, cols] if rows.min(cols) >= self.dim_min => Ok(()),
            [_, _] => Err(Reason::Small { dim_min: self.dim_min }),
            [] | [_] => Err(Reason::Rank),
            [..] => match tensor.view(axis) {
                Some(view) if view.rows().min(view.cols()) < 2 => Err(Reason::Single),
                Some(_) if tensor.elements() < self.dim_min as u64 => {
                    Err(Reason::Few { dim_min: self.dim_min })
                }
                Some(_) | None => Ok(()),
            },
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
    /// It is no matrix, but a vector or a number.
    Rank,
    /// It has three axes or more, but only one output, or one weight for each.
    Single,
    /// It has three axes or more, but fewer weights than are worth encoding.
    Few {
        /// That least number.
        dim_min: usize,
    },
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
            Self::Single => f.write_str("has one output only, or one weight for each"),
            Self::Few { dim_min } => write!(f, "has fewer than {dim_min} weights"),
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
            axis: None,
            format: format.into(),
            bits_per_weight: 32.0,
            size_bytes: 0,
        }
    }

    #[test]
    fn matrices_of_at_least_32_are_selected() {
        let select = Select::default();
        for format in ["F64", "F32", "F16", "BF16"] {
            assert_eq!(select.judge(&tensor(format, &[32, 32]), 0), Ok(()));
        }
        let small = Err(Reason::Small { dim_min: 32 });
        assert_eq!(select.judge(&tensor("F32", &[31, 384]), 0), small);
        assert_eq!(select.judge(&tensor("F32", &[384, 31]), 1), small);
        for shape in [&[][..], &[384]] {
            assert_eq!(select.judge(&tensor("F32", shape), 0), Err(Reason::Rank));
        }
        for format in ["I64", "I32", "U8", "BOOL"] {
            assert_eq!(select.judge(&tensor(format, &[64, 512]), 0), Err(Reason::Index));
        }
    }

    #[test]
    fn convolutions_are_selected_and_masks_and_tokens_are_not() {
        let select = Select::default();
        let judge = |shape: &[usize], axis| select.judge(&tensor("F32", shape), axis);
        for shape in [&[64, 64, 64][..], &[16, 32, 1, 1], &[32, 3, 3, 3], &[96, 1, 3, 3]] {
            assert_eq!(judge(shape, 0), Ok(()), "{shape:?}");
        }
        for shape in [&[1, 77, 512][..], &[1, 1, 64, 64], &[512, 1, 1], &[0, 3, 3], &[64, 0, 3]] {
            assert_eq!(judge(shape, 0), Err(Reason::Single), "{shape:?}");
        }
        assert_eq!(judge(&[1, 77, 512], 1), Ok(()));
        assert_eq!(judge(&[3, 1, 3, 3], 0), Err(Reason::Few { dim_min: 32 }));
    }
}

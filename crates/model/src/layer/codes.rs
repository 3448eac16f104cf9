//! Inputs of linear layers in fewer bits, one token after the other.

use kvant_kernels::{Kernels, RowsBF16, RowsI8};

/// How tokens are coded, each on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CodeForm {
    /// 8 bits over the range of the token.
    #[default]
    Int8,
    /// bf16.
    Brain,
}

/// Some tokens in one of these forms.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    form: CodeForm,
    int8: RowsI8,
    brain: RowsBF16,
}

impl Codes {
    /// Makes room for `rows` tokens of `cols` values; [`Codes::set`] has to write each.
    pub(crate) fn reset(&mut self, form: CodeForm, rows: usize, cols: usize) {
        self.form = form;
        match form {
            CodeForm::Int8 => self.int8.reset(rows, cols),
            CodeForm::Brain => self.brain.reset(rows, cols),
        }
    }

    /// Writes token `m`.
    pub(crate) fn set(&mut self, kernels: &Kernels, m: usize, x: &[f32]) {
        match self.form {
            CodeForm::Int8 => kernels.quantize_row(x, m, &mut self.int8),
            CodeForm::Brain => kernels.round_row(x, m, &mut self.brain),
        }
    }

    /// Tokens held.
    pub(crate) fn rows(&self) -> usize {
        match self.form {
            CodeForm::Int8 => self.int8.rows(),
            CodeForm::Brain => self.brain.rows(),
        }
    }

    /// The tokens in 8 bits.
    ///
    /// # Panics
    /// If they are in another form.
    pub(crate) fn int8(&self) -> &RowsI8 {
        assert!(self.form == CodeForm::Int8, "tokens in 8 bits");
        &self.int8
    }

    /// The tokens in bf16.
    ///
    /// # Panics
    /// If they are in another form.
    pub(crate) fn brain(&self) -> &RowsBF16 {
        assert!(self.form == CodeForm::Brain, "tokens in bf16");
        &self.brain
    }
}

//! Operands in bf16: two neighbouring `k` to a number of 32 bits, as products multiply them.

use super::{Line, Operand, PANEL};
use crate::shared::Shared;
use crate::{Matrix, kernels};

/// Consecutive `k` values that one lane multiplies.
pub(crate) const PAIR: usize = 2;

/// Two `k` of a bf16 panel: the weights of 16 outputs, the first `k` in the lower half.
pub(crate) type LineBF16 = Line<u32, PANEL>;

/// A weight `W` of `n × k` rounded to bf16 and packed for `y = x · Wᵀ`.
///
/// Layout: `⌈n/16⌉` panels, each `⌈k/2⌉` lines of 16 pairs: pair `i` of line `j` of panel `p` is
/// `W[16·p + i][2·j]` and `W[16·p + i][2·j + 1]`; what is missing is zero.
#[derive(Clone, Debug, Default)]
pub struct PackedBF16 {
    pub(crate) data: Shared<LineBF16>,
    pub(super) n: usize,
    pub(super) k: usize,
}

impl Operand for PackedBF16 {
    fn n(&self) -> usize {
        self.n
    }
}

impl PackedBF16 {
    /// Packs `w` (`n × k`, one row per output), each value rounded to the nearest bf16.
    pub fn new(w: Matrix<'_, f32>) -> Self {
        let mut packed = Self::default();
        kernels().pack_bf16(w, &mut packed);
        packed
    }

    /// Makes room for `n × k`; what the lines hold is unspecified.
    pub(crate) fn reset(&mut self, n: usize, k: usize) {
        self.n = n;
        self.k = k;
        self.data.to_mut().resize(n.div_ceil(PANEL) * k.div_ceil(PAIR), Line([0; PANEL]));
    }

    /// Outputs of the product.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Length of the dot products.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Bytes held.
    pub fn size_bytes(&self) -> usize {
        self.data.len() * size_of::<LineBF16>()
    }
}

/// Activations in bf16, made by [`Kernels::round_row`](crate::Kernels::round_row); reusable
/// between calls.
#[derive(Clone, Debug, Default)]
pub struct RowsBF16 {
    /// `⌈cols/2⌉` pairs a row; an odd last value has a zero beside it.
    pub(crate) pairs: Vec<u32>,
    rows: usize,
    cols: usize,
}

impl RowsBF16 {
    /// Rows held.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns held.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Pairs between rows.
    pub(crate) fn stride(&self) -> usize {
        self.cols.div_ceil(PAIR)
    }

    /// The values of row `i`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn values(&self, i: usize) -> impl Iterator<Item = f32> + '_ {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        let pairs = &self.pairs[i * self.stride()..][..self.stride()];
        pairs.iter().flat_map(|&pair| crate::scalar::bf16::parts(pair)).take(self.cols)
    }

    /// The pairs of the rows, one row after the other.
    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [u32]> {
        let (rows, stride) = (self.rows, self.stride());
        let mut rest = self.pairs.as_mut_slice();
        (0..rows).map(move |_| rest.split_off_mut(..stride).unwrap_or_default())
    }

    /// Makes room for `rows × cols`; what they hold is unspecified until
    /// [`Kernels::round_row`](crate::Kernels::round_row) sets them.
    pub fn reset(&mut self, rows: usize, cols: usize) {
        self.rows = rows;
        self.cols = cols;
        self.pairs.resize(rows * cols.div_ceil(PAIR), 0);
    }
}

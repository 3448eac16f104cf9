//! Right-hand operands of the matrix products, in the order the micro-kernels read them.

use crate::Matrix;

/// Output columns per panel: one AVX-512 register of f32, two of AVX2.
pub(crate) const PANEL: usize = 16;
/// Consecutive `k` values that one VNNI lane multiplies.
pub(crate) const LANE: usize = 4;

/// An f32 weight `W` of `n × k` packed for `y = x · Wᵀ`.
///
/// Layout: `⌈n/16⌉` panels, each `k × 16`: element `(j, i)` of panel `p` is `W[16·p + i][j]`;
/// missing columns are zero.
#[derive(Clone, Debug, Default)]
pub struct PackedF32 {
    pub(crate) data: Vec<f32>,
    n: usize,
    k: usize,
}

impl PackedF32 {
    /// Packs `w` (`n × k`, one row per output).
    pub fn new(w: Matrix<'_, f32>) -> Self {
        let mut packed = Self::default();
        packed.pack(w);
        packed
    }

    /// Packs `w` (`n × k`) in place, reusing the allocation.
    pub fn pack(&mut self, w: Matrix<'_, f32>) {
        self.reset(w.rows(), w.cols());
        let k = self.k;
        for (p, panel) in self.data.chunks_exact_mut(k.max(1) * PANEL).enumerate() {
            for i in 0..PANEL.min(w.rows() - p * PANEL) {
                for (j, &value) in w.row(p * PANEL + i).iter().enumerate() {
                    panel[j * PANEL + i] = value;
                }
            }
        }
    }

    /// Packs the transpose of `w` (`k × n`, one column per output) in place.
    pub fn pack_transposed(&mut self, w: Matrix<'_, f32>) {
        self.reset(w.cols(), w.rows());
        let (k, n) = (self.k, self.n);
        for (p, panel) in self.data.chunks_exact_mut(k.max(1) * PANEL).enumerate() {
            let from = p * PANEL;
            let width = PANEL.min(n - from);
            for (j, lane) in panel.chunks_exact_mut(PANEL).enumerate() {
                lane[..width].copy_from_slice(&w.row(j)[from..from + width]);
            }
        }
    }

    fn reset(&mut self, n: usize, k: usize) {
        self.n = n;
        self.k = k;
        self.data.clear();
        self.data.resize(n.div_ceil(PANEL) * PANEL * k, 0.0);
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
        self.data.len() * 4
    }
}

/// An int8 weight of `n × k` with one f32 scale per row, packed for `y = x · Wᵀ` on int8 dots.
///
/// Layout: `⌈n/16⌉` panels, each `⌈k/4⌉ × 16 × 4` bytes: element `(j, i, t)` of panel `p` is
/// `W[16·p + i][4·j + t]`. `sums[i] = Σ_k W[i][k]` undoes the +128 offset of the activations.
#[derive(Clone, Debug, Default)]
pub struct PackedI8 {
    pub(crate) data: Vec<i8>,
    pub(crate) scales: Vec<f32>,
    pub(crate) sums: Vec<i32>,
    n: usize,
    k: usize,
}

impl PackedI8 {
    /// Packs `codes` (`n × k`) with `scales` (`n`): weight = code · scale of its row.
    ///
    /// # Panics
    /// If `scales.len() != codes.rows()`.
    pub fn new(codes: Matrix<'_, i8>, scales: &[f32]) -> Self {
        let (n, k) = (codes.rows(), codes.cols());
        assert_eq!(scales.len(), n, "one scale per row");
        let panels = n.div_ceil(PANEL);
        let panel_len = k.div_ceil(LANE) * PANEL * LANE;
        let mut packed = Self {
            data: vec![0; panels * panel_len],
            scales: scales.to_vec(),
            sums: Vec::with_capacity(panels * PANEL),
            n,
            k,
        };
        for row in 0..n {
            let panel = &mut packed.data[(row / PANEL) * panel_len..][..panel_len];
            for (j, &code) in codes.row(row).iter().enumerate() {
                panel[(j / LANE) * PANEL * LANE + (row % PANEL) * LANE + j % LANE] = code;
            }
            packed.sums.push(codes.row(row).iter().map(|&code| i32::from(code)).sum());
        }
        packed.scales.resize(panels * PANEL, 0.0);
        packed.sums.resize(panels * PANEL, 0);
        packed
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
        self.data.len() + self.scales.len() * 8
    }
}

/// Activations in int8: per row one scale, codes stored as `code + 128` in u8.
///
/// Rows are padded to a multiple of 4 bytes with the code of zero. Made by
/// [`Kernels::quantize_rows`](crate::Kernels::quantize_rows); reusable between calls.
#[derive(Clone, Debug, Default)]
pub struct RowsI8 {
    pub(crate) codes: Vec<u8>,
    pub(crate) scales: Vec<f32>,
    rows: usize,
    cols: usize,
}

impl RowsI8 {
    /// Rows held.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns held (without padding).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes between rows.
    pub(crate) fn stride(&self) -> usize {
        self.cols.next_multiple_of(LANE)
    }

    /// Makes room for `rows × cols`; codes are those of zero.
    pub(crate) fn reset(&mut self, rows: usize, cols: usize) {
        self.rows = rows;
        self.cols = cols;
        self.codes.clear();
        self.codes.resize(rows * cols.next_multiple_of(LANE), 128);
        self.scales.clear();
        self.scales.resize(rows, 0.0);
    }
}

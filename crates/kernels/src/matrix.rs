//! Row-major views: the only shape that crosses crates.

use std::ops::Range;

/// Whether the last row ends within `len` elements. Checked arithmetic: the SIMD kernels form
/// pointers from these numbers.
fn fits(len: usize, rows: usize, cols: usize, stride: usize) -> bool {
    let end = |last: usize| last.checked_mul(stride)?.checked_add(cols);
    rows == 0 || end(rows - 1).is_some_and(|end| end <= len)
}

/// A borrowed row-major matrix of `rows × cols`, rows `stride` elements apart.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A dense view of `rows × cols`.
    ///
    /// # Panics
    /// If `data` does not hold exactly `rows · cols` elements.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        assert_eq!(Some(data.len()), rows.checked_mul(cols), "matrix {rows} x {cols}");
        Self { data, rows, cols, stride: cols }
    }

    /// A view whose rows start `stride ≥ cols` elements apart (one head of a fused projection).
    ///
    /// # Panics
    /// If the last row ends past `data`, or `stride < cols`.
    pub fn strided(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(stride >= cols, "stride {stride} < cols {cols}");
        assert!(fits(data.len(), rows, cols, stride), "matrix past its data");
        Self { data, rows, cols, stride }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements between the starts of two rows.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Row `i`, `cols` elements.
    pub fn row(&self, i: usize) -> &'a [T] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        &self.data[i * self.stride..i * self.stride + self.cols]
    }

    /// The rows in `range`, same columns.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.rows, "rows out of range");
        let start = (range.start * self.stride).min(self.data.len());
        Self { data: &self.data[start..], rows: range.len(), cols: self.cols, stride: self.stride }
    }

    /// The underlying elements, from the first of the first row.
    pub fn data(&self) -> &'a [T] {
        self.data
    }
}

/// A mutable row-major matrix, as [`Matrix`].
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a, T> MatrixMut<'a, T> {
    /// A dense view of `rows × cols`.
    ///
    /// # Panics
    /// If `data` does not hold exactly `rows · cols` elements.
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        assert_eq!(Some(data.len()), rows.checked_mul(cols), "matrix {rows} x {cols}");
        Self { data, rows, cols, stride: cols }
    }

    /// A view whose rows start `stride ≥ cols` elements apart.
    ///
    /// # Panics
    /// If the last row ends past `data`, or `stride < cols`.
    pub fn strided(data: &'a mut [T], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(stride >= cols, "stride {stride} < cols {cols}");
        assert!(fits(data.len(), rows, cols, stride), "matrix past its data");
        Self { data, rows, cols, stride }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements between the starts of two rows.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Row `i`, `cols` elements.
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        &mut self.data[i * self.stride..i * self.stride + self.cols]
    }

    /// The rows in `range`, same columns, borrowed for a while.
    pub fn slice_mut(&mut self, range: Range<usize>) -> MatrixMut<'_, T> {
        assert!(range.start <= range.end && range.end <= self.rows, "rows out of range");
        let start = (range.start * self.stride).min(self.data.len());
        let (rows, cols, stride) = (range.len(), self.cols, self.stride);
        MatrixMut { data: &mut self.data[start..], rows, cols, stride }
    }

    /// The same elements, to look at.
    pub fn view(&self) -> Matrix<'_, T> {
        Matrix { data: self.data, rows: self.rows, cols: self.cols, stride: self.stride }
    }

    /// The underlying elements, from the first of the first row.
    pub fn data_mut(&mut self) -> &mut [T] {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `16 · 2⁶⁰` wraps to 0 in release arithmetic; it must not pass for a short slice.
    #[test]
    fn views_fit_exactly() {
        assert!(fits(16, 2, 8, 8) && fits(24, 2, 8, 16) && fits(0, 0, 8, 8));
        assert!(!fits(15, 2, 8, 8) && !fits(23, 2, 8, 16) && !fits(16, 17, 8, 1 << 60));
    }
}

//! Row-major views: the only shape that crosses crates.

use std::marker::PhantomData;
use std::ops::Range;

use crate::Pool;

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

/// A mutable row-major matrix, as [`Matrix`]; may be cut by rows and by columns.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    /// Where the first row begins. Every row is exclusively this view's for `'a`; what lies between
    /// the rows may belong to others.
    data: *mut T,
    rows: usize,
    cols: usize,
    stride: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: a view is an exclusive reference to its rows, and those may change threads if `T` may.
unsafe impl<T: Send> Send for MatrixMut<'_, T> {}
// SAFETY: a shared view gives no access to the elements at all.
unsafe impl<T: Sync> Sync for MatrixMut<'_, T> {}

/// Writes the columns of a range, as the thread of the number.
type Write<'a, T> = dyn Fn(usize, Range<usize>, MatrixMut<'_, T>) + Sync + 'a;

/// The pointer of a matrix whose columns several threads write.
struct Start<T>(*mut T);

// SAFETY: it is only the start of views of columns that do not overlap, whose elements may be
// written by other threads if `T` is `Send`, which `share_columns` asks for.
unsafe impl<T: Send> Sync for Start<T> {}

impl<T> Start<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

impl<'a, T> MatrixMut<'a, T> {
    /// A dense view of `rows × cols`.
    ///
    /// # Panics
    /// If `data` does not hold exactly `rows · cols` elements.
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        assert_eq!(Some(data.len()), rows.checked_mul(cols), "matrix {rows} x {cols}");
        Self::strided(data, rows, cols, cols)
    }

    /// A view whose rows start `stride ≥ cols` elements apart.
    ///
    /// # Panics
    /// If the last row ends past `data`, or `stride < cols`.
    pub fn strided(data: &'a mut [T], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(stride >= cols, "stride {stride} < cols {cols}");
        assert!(fits(data.len(), rows, cols, stride), "matrix past its data");
        Self { data: data.as_mut_ptr(), rows, cols, stride, lifetime: PhantomData }
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
        // SAFETY: row `i` is one of the view's, see `data`, and `self` is borrowed for the slice.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(i * self.stride), self.cols) }
    }

    /// The rows in `range`, same columns, borrowed for a while.
    pub fn slice_mut(&mut self, range: Range<usize>) -> MatrixMut<'_, T> {
        assert!(range.start <= range.end && range.end <= self.rows, "rows out of range");
        let data = self.data.wrapping_add(range.start * self.stride);
        MatrixMut { data, rows: range.len(), ..self.again() }
    }

    /// The columns in `range` of all rows, borrowed for a while.
    pub fn columns_mut(&mut self, range: Range<usize>) -> MatrixMut<'_, T> {
        assert!(range.start <= range.end && range.end <= self.cols, "columns out of range");
        let data = self.data.wrapping_add(range.start);
        MatrixMut { data, cols: range.len(), ..self.again() }
    }

    /// The first `at` columns and the others, to be written by two threads, say.
    ///
    /// # Panics
    /// If there are fewer columns.
    pub fn split_columns(self, at: usize) -> (Self, Self) {
        assert!(at <= self.cols, "column {at} of {}", self.cols);
        let Self { data, rows, cols, stride, lifetime } = self;
        let right = data.wrapping_add(at);
        let right = Self { data: right, rows, cols: cols - at, stride, lifetime };
        (Self { data, rows, cols: at, stride, lifetime }, right)
    }

    /// Calls `write` with every run of `step` columns and the view of it, from the threads of
    /// `pool`; the first argument is the number of the thread.
    pub fn share_columns(&mut self, pool: &Pool, step: usize, write: &Write<'_, T>)
    where
        T: Send,
    {
        let (rows, cols, stride, step) = (self.rows, self.cols, self.stride, step.max(1));
        let start = Start(self.data);
        pool.run(cols.div_ceil(step), &|thread, job| {
            let range = job * step..cols.min((job + 1) * step);
            let data = start.get().wrapping_add(range.start);
            // Every job has columns of its own, and `self` is borrowed until all have run.
            let part = MatrixMut { data, rows, cols: range.len(), stride, lifetime: PhantomData };
            write(thread, range, part);
        });
    }

    fn again(&mut self) -> MatrixMut<'_, T> {
        let Self { data, rows, cols, stride, .. } = *self;
        MatrixMut { data, rows, cols, stride, lifetime: PhantomData }
    }

    /// Where the first row begins, for kernels that write rows of `cols` elements, `stride` apart.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_matrix_is_written_by_two_threads() {
        let mut data = vec![0; 3 * 8];
        let whole = MatrixMut::strided(&mut data, 3, 7, 8);
        let (mut left, mut right) = whole.split_columns(2);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..3).for_each(|row| left.row_mut(row).fill(1)));
            scope.spawn(|| right.columns_mut(1..5).slice_mut(1..3).row_mut(1).fill(2));
        });
        let rows: Vec<&[i32]> = data.chunks(8).collect();
        assert_eq!(rows[0], [1, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(rows[2], [1, 1, 0, 2, 2, 2, 2, 0]);
    }

    #[test]
    fn threads_share_the_columns() {
        let pool = Pool::new(3);
        let mut data = vec![0; 2 * 11];
        let mut matrix = MatrixMut::strided(&mut data, 2, 10, 11);
        matrix.share_columns(&pool, 4, &|_, columns, mut part| {
            for row in 0..2 {
                let values = part.row_mut(row).iter_mut().zip(columns.clone());
                values.for_each(|(value, column)| *value = 100 * row + column);
            }
        });
        assert_eq!(data[..11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
        assert_eq!(data[11..], [100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 0]);
    }

    /// `16 · 2⁶⁰` wraps to 0 in release arithmetic; it must not pass for a short slice.
    #[test]
    fn views_fit_exactly() {
        assert!(fits(16, 2, 8, 8) && fits(24, 2, 8, 16) && fits(0, 0, 8, 8));
        assert!(!fits(15, 2, 8, 8) && !fits(23, 2, 8, 16) && !fits(16, 17, 8, 1 << 60));
    }
}

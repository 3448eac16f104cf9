//! A tensor of any rank as the matrix that is quantized.

use std::borrow::Cow;

/// A shape and its output axis: that axis gives the rows of a matrix, all others, in their order,
/// the columns.
///
/// A convolution `[out, in, height, width]` by axis 0 is a matrix of `out` rows; a transposed one
/// `[in, out, height, width]` is so by axis 1.
///
/// ```
/// use kvant_model::View;
///
/// let view = View::new(&[2, 3, 2], 1).ok_or("no such axis")?;
/// assert_eq!((view.rows(), view.cols()), (3, 4));
/// let values = [0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11.];
/// let matrix = view.unfold(&values);
/// assert_eq!(*matrix, [0., 1., 6., 7., 2., 3., 8., 9., 4., 5., 10., 11.]);
/// assert_eq!(view.fold(matrix.into_owned()), values);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    shape: Vec<usize>,
    axis: usize,
}

impl View {
    /// The view of a tensor of this shape (slowest dimension first) by `axis`; `None` if the shape
    /// has no such axis or more elements than can be counted.
    pub fn new(shape: &[usize], axis: usize) -> Option<Self> {
        shape.iter().try_fold(1usize, |count, &n| count.checked_mul(n.max(1)))?;
        (axis < shape.len()).then(|| Self { shape: shape.to_vec(), axis })
    }

    /// A matrix as it is.
    pub fn plain(rows: usize, cols: usize) -> Self {
        Self { shape: vec![rows, cols], axis: 0 }
    }

    /// Whether the tensor is a matrix and its rows are the outputs.
    pub fn is_plain(&self) -> bool {
        self.shape.len() == 2 && self.axis == 0
    }

    /// Dimensions of the tensor, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The output axis.
    pub fn axis(&self) -> usize {
        self.axis
    }

    /// Outputs: rows of the matrix.
    pub fn rows(&self) -> usize {
        self.shape[self.axis]
    }

    /// The product of all other dimensions: columns of the matrix.
    pub fn cols(&self) -> usize {
        self.outer() * self.inner()
    }

    /// The values of the tensor as the rows of the matrix; nothing is copied by axis 0.
    ///
    /// # Panics
    /// If `values` does not fill the shape.
    pub fn unfold<'a>(&self, values: &'a [f32]) -> Cow<'a, [f32]> {
        self.check(values.len());
        if self.axis == 0 {
            return Cow::Borrowed(values);
        }
        let (outer, rows, inner) = (self.outer(), self.rows(), self.inner());
        let starts = (0..rows).flat_map(|row| (0..outer).map(move |at| at * rows + row));
        starts.flat_map(|at| &values[at * inner..(at + 1) * inner]).copied().collect()
    }

    /// The rows of the matrix as the values of the tensor; nothing is copied by axis 0.
    ///
    /// # Panics
    /// If `values` does not fill the shape.
    pub fn fold(&self, values: Vec<f32>) -> Vec<f32> {
        self.check(values.len());
        if self.axis == 0 {
            return values;
        }
        let (outer, rows, inner) = (self.outer(), self.rows(), self.inner());
        let starts = (0..outer).flat_map(|at| (0..rows).map(move |row| row * outer + at));
        starts.flat_map(|at| &values[at * inner..(at + 1) * inner]).copied().collect()
    }

    fn outer(&self) -> usize {
        self.shape[..self.axis].iter().product()
    }

    fn inner(&self) -> usize {
        self.shape[self.axis + 1..].iter().product()
    }

    fn check(&self, len: usize) {
        assert_eq!(self.rows() * self.cols(), len, "values do not fill the shape");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_of_every_rank_unfolds_and_folds_back() {
        for shape in [&[7][..], &[3, 4], &[2, 3, 5], &[4, 1, 3, 3], &[2, 3, 1, 2, 2], &[2, 0, 3]] {
            let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| i as f32).collect();
            for axis in 0..shape.len() {
                let view = View::new(shape, axis).unwrap();
                let matrix = view.unfold(&values);
                // By the definition: the index of an element without the axis is its column.
                for (at, value) in values.iter().enumerate() {
                    let (mut rest, mut row, mut col, mut step) = (at, 0, 0, 1);
                    for (place, &n) in shape.iter().enumerate().rev() {
                        if place == axis {
                            row = rest % n;
                        } else {
                            col += rest % n * step;
                            step *= n;
                        }
                        rest /= n;
                    }
                    assert_eq!(matrix[row * view.cols() + col], *value, "{shape:?} {axis} {at}");
                }
                assert_eq!(view.fold(matrix.into_owned()), values, "{shape:?} {axis}");
            }
        }
    }

    #[test]
    fn shapes_without_the_axis_or_past_counting_have_no_view() {
        assert_eq!(View::new(&[], 0), None);
        assert_eq!(View::new(&[3, 4], 2), None);
        assert_eq!(View::new(&[usize::MAX, 0, 2], 0), None);
        assert!(View::plain(3, 4).is_plain() && !View::new(&[3, 4], 1).unwrap().is_plain());
    }
}

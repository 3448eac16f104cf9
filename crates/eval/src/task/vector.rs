//! The vectors of a task's texts.

/// A view of `n × dim` vectors, row-major, each of length 1 or 0 (see [`unit_rows`]).
#[derive(Clone, Copy, Debug)]
pub struct Vectors<'a> {
    data: &'a [f32],
    dim: usize,
    threads: usize,
}

impl<'a> Vectors<'a> {
    /// Rows of `dim` components; work on them uses up to `threads`.
    ///
    /// # Panics
    /// If `dim` is 0 or the length of `data` no multiple of it.
    pub fn new(data: &'a [f32], dim: usize, threads: usize) -> Self {
        assert!(dim > 0 && data.len().is_multiple_of(dim), "{} in rows of {dim}", data.len());
        Self { data, dim, threads: threads.max(1) }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Components of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Threads to use, at least 1.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// All components.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.dim..(i + 1) * self.dim]
    }

    /// The rows in `range`.
    #[must_use]
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        Self { data: &self.data[range.start * self.dim..range.end * self.dim], ..*self }
    }
}

/// Scales each row of `dim` components to length 1; a row of zeros stays.
///
/// # Panics
/// If `dim` is 0.
pub fn unit_rows(data: &mut [f32], dim: usize) {
    for row in data.chunks_exact_mut(dim) {
        let norm = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
        if norm > 0.0 {
            for x in row {
                *x = (f64::from(*x) / norm) as f32;
            }
        }
    }
}

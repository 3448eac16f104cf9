//! Some rows of a weight and the levels their weights may take.

use kvant_kernels::Matrix;
use kvant_quant::{Grid, Group};

/// Rows worked on together: enough for a product to pay, few enough to stay in the cache.
pub(crate) const ROWS: usize = 64;

/// The levels of one row, by column.
pub(crate) struct RowLevels<'a> {
    groups: Vec<Group<'a>>,
    of: Vec<u32>,
}

impl<'a> RowLevels<'a> {
    pub(crate) fn new(grid: &'a Grid, row: usize) -> Self {
        let (mut groups, mut of) = (Vec::new(), vec![0; grid.cols]);
        for (cols, group) in grid.row(row) {
            of[cols].fill(groups.len() as u32);
            groups.push(group);
        }
        Self { groups, of }
    }

    /// The levels of the weight in column `col`.
    #[inline]
    pub(crate) fn at(&self, col: usize) -> Group<'a> {
        self.groups[self.of[col] as usize]
    }
}

/// Calls `work` with every stripe: its first row and its rows of `codes`, on `threads` threads.
/// What becomes of a row must depend on nothing but the row.
pub(crate) fn each(
    codes: &mut [u8],
    cols: usize,
    threads: usize,
    work: impl Fn(usize, &mut [u8]) + Sync,
) {
    let stripes = codes.chunks_mut((ROWS * cols).max(1)).enumerate();
    if threads <= 1 {
        stripes.for_each(|(index, codes)| work(index * ROWS, codes));
        return;
    }
    let stripes = std::sync::Mutex::new(stripes);
    let next = || stripes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, codes)) = next() {
                    work(index * ROWS, codes);
                }
            });
        }
    });
}

/// `w − ŵ` of the rows from `first`, in the order of the columns.
pub(crate) fn errors(w: Matrix<'_, f32>, grid: &Grid, first: usize, codes: &[u8]) -> Vec<f32> {
    let mut errors = Vec::with_capacity(codes.len());
    for (at, codes) in codes.chunks_exact(w.cols().max(1)).enumerate() {
        for (cols, group) in grid.row(first + at) {
            let pairs = w.row(first + at)[cols.clone()].iter().zip(&codes[cols]);
            errors.extend(pairs.map(|(&value, &code)| value - group.restore(code)));
        }
    }
    errors
}

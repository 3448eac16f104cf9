//! What a walk needs of a graph: one that is finished, or one that grows beneath it.

use crate::Row;

/// Rows linked to rows, level by level.
pub(super) trait Net: Sync {
    /// Number of rows; no link leads past them.
    fn len(&self) -> usize;

    /// Links per node above level 0 when finished.
    fn m(&self) -> usize;

    /// Where every walk starts; `None` in an empty graph.
    fn entry(&self) -> Option<Row>;

    /// The highest level, that of the entry.
    fn top(&self) -> usize;

    /// The highest level `row` is on.
    fn level(&self, row: Row) -> usize;

    /// The neighbours of `row` on `level`, which it must be on.
    fn each_link(&self, row: Row, level: usize) -> impl Iterator<Item = Row> + '_;

    /// Asks for the links of `row` on level 0, which are soon to be followed.
    fn fetch(&self, row: Row);
}

/// A graph whose links can be replaced.
pub(super) trait Weave: Net {
    /// The most links a finished list of `level` has.
    fn most(&self, level: usize) -> usize;

    /// The places of a list of `level`.
    fn width(&self, level: usize) -> usize;

    /// Replaces the neighbours of `row` on `level`.
    fn set_links(&mut self, row: Row, level: usize, ids: &[u32]);
}

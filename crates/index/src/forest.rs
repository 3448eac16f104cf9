//! The shape of many trees, each of which halves the rows by planes: a forest of random projection
//! trees (Dasgupta & Freund, 2008), searched as Annoy does (Bernhardsson, 2013).
//!
//! A tree cuts the rows by the plane halfway between two centres of a few of them, where it halves
//! them, then each half again, down to leaves. Near rows are cut apart by some trees, not by all: a
//! search looks into the leaf of the query in each, then into those that are left by crossing the
//! least, `Σ margin²` over the planes crossed, all trees in one queue.

mod build;
mod file;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use kvant_kernels::kernels;

use crate::key::{distance, order};
use crate::sieve::{Lists, Sieve, Usual};
use crate::space::Space;
use crate::{Account, BuildOptions, Hit, Metric, Rows, SearchOptions};

/// Most rows of a leaf.
const LEAF: usize = 48;
/// Leaves a default search looks into, for each tree.
const LEAVES_PER_TREE: usize = 10;
/// The same for products, whose largest are not those of rows near one another.
const LEAVES_PER_TREE_DOT: usize = 20;

/// Trees over the rows. A tree holds 4 bytes a row and `dim + 8` bytes a cut, and a cut for 24 to
/// 48 rows: at most `trees·(4 + (dim + 8)/24)` bytes a row. Built in O(trees·n·dim·log n); a search
/// looks at `trees·log₂(n/24)` planes, then at leaves.
#[derive(Debug)]
pub struct Forest {
    trees: usize,
    space: Space,
    /// Cuts on the way to a leaf; none where the rows cannot be cut.
    depth: usize,
    /// By trees: `2^depth − 1` planes, each of `dim` bytes.
    normals: Vec<i8>,
    /// What a byte of each plane stands for, and where the plane lies.
    planes: Vec<(f32, f32)>,
    /// By trees: the rows, leaf by leaf.
    rows: Vec<u32>,
    sieve: Sieve,
}

/// Cuts until leaves are small enough.
fn depth_of(len: usize) -> usize {
    let leaves = len.div_ceil(LEAF).max(1);
    leaves.next_power_of_two().ilog2() as usize
}

/// The rows of the `at`-th of all nodes that are `depth` cuts below the root, of `len` rows.
fn range(len: usize, depth: usize, at: usize) -> Range<usize> {
    let (mut from, mut to) = (0usize, len);
    for bit in (0..depth).rev() {
        let middle = from.midpoint(to);
        if at >> bit & 1 == 1 { from = middle } else { to = middle }
    }
    from..to
}

impl Forest {
    /// Grows `trees` trees, 1 to [`TREES_MAX`](crate::TREES_MAX), over `rows`. The same for any
    /// number of threads.
    ///
    /// Rows with a value that is not finite are not cut, and so are rows that are not at hand as
    /// vectors: every search then measures all.
    pub fn build<R: Rows<Query = [f32]>>(
        rows: &R,
        trees: usize,
        options: &BuildOptions<'_>,
    ) -> Self {
        build::build(rows.vectors().as_ref(), rows.len(), trees, options)
    }

    /// Trees asked for.
    pub fn trees(&self) -> usize {
        self.trees
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.sieve.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether rows of so many values by this measure may be what it was built over.
    pub fn serves(&self, dim: usize, metric: Metric) -> bool {
        self.depth == 0 || (self.space.dim, self.space.metric) == (dim, metric)
    }

    /// Cuts of a tree.
    fn cuts(&self) -> usize {
        (1 << self.depth) - 1
    }

    /// The `k` allowed rows closest to `query`, closest first, of the leaves looked into: as many
    /// as [`Effort::Probes`](crate::Effort::Probes) says, or as hold 16 rows for each candidate of
    /// [`Effort::Ef`](crate::Effort::Ef), and more while there are too few allowed rows in them.
    ///
    /// # Panics
    /// If `rows` are not the ones this was built over (by number), the query does not fit them, or
    /// the allowed set ranges over another number of rows.
    pub fn search<R: Rows<Query = [f32]>>(
        &self,
        rows: &R,
        query: &[f32],
        options: &SearchOptions<'_>,
    ) -> Vec<Hit> {
        self.search_within(rows, query, options, &Account::new(&options.budget))
    }

    /// [`search`](Self::search), with what it uses of the budget put to `account`. Planes are not
    /// counted as rows.
    ///
    /// # Panics
    /// As [`search`](Self::search).
    pub fn search_within<R: Rows<Query = [f32]>>(
        &self,
        rows: &R,
        query: &[f32],
        options: &SearchOptions<'_>,
        account: &Account<'_>,
    ) -> Vec<Hit> {
        let leaf = if self.depth > 0 { self.len() as f64 / (1 << self.depth) as f64 } else { 0.0 };
        let per_tree = match self.space.metric {
            Metric::Dot => LEAVES_PER_TREE_DOT,
            Metric::Cosine | Metric::Euclid | Metric::Manhattan => LEAVES_PER_TREE,
        };
        let usual = Usual { lists: self.trees * per_tree, rows: leaf };
        let lists = || Leaves::new(self, query);
        self.sieve.search(rows, query, (options, account), (usual, lists))
    }
}

/// The leaves of all trees, nearest first.
struct Leaves<'a> {
    forest: &'a Forest,
    query: Vec<i8>,
    /// What a byte of the query stands for.
    scale: f32,
    /// What was left aside: the order of what crossing there costs, the tree, the node.
    aside: BinaryHeap<Reverse<(u32, u32, u32)>>,
    /// Leaves that hold the query: tree and leaf.
    own: std::vec::IntoIter<u32>,
    tree: usize,
}

impl<'a> Leaves<'a> {
    fn new(forest: &'a Forest, query: &[f32]) -> Self {
        assert_eq!(query.len(), forest.space.dim, "query of another dimension");
        let largest = query.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let step = if largest > 0.0 && largest.is_finite() { largest / 127.0 } else { 1.0 };
        let bytes = query.iter().map(|x| (x / step).round() as i8).collect();
        let scale = step * forest.space.scale(query);
        let own = Vec::new().into_iter();
        let mut leaves =
            Self { forest, query: bytes, scale, aside: BinaryHeap::new(), own, tree: 0 };
        // All trees level by level: what one waits for in memory does not hold up the others.
        let mut nodes = vec![1; forest.trees];
        for _ in 0..forest.depth {
            for (tree, node) in nodes.iter_mut().enumerate() {
                *node = leaves.step(tree, *node, 0.0);
            }
        }
        leaves.own = nodes.into_iter();
        leaves
    }

    /// The side of a node that the query is on; the other one is left aside.
    fn step(&mut self, tree: usize, node: u32, cost: f32) -> u32 {
        let at = tree * self.forest.cuts() + node as usize - 1;
        let (step, threshold) = self.forest.planes[at];
        let dim = self.forest.space.dim;
        let normal = &self.forest.normals[at * dim..][..dim];
        let product = kernels().dot_i8(normal, &self.query) as f32 * step * self.scale;
        let margin = product - threshold;
        let side = u32::from(margin >= 0.0);
        let other = Reverse((order(cost + margin * margin), tree as u32, 2 * node + 1 - side));
        self.aside.push(other);
        2 * node + side
    }

    fn leaf(&self, tree: usize, node: u32) -> &'a [u32] {
        let (len, depth) = (self.forest.len(), self.forest.depth);
        let rows = &self.forest.rows[tree * len..][..len];
        &rows[range(len, depth, node as usize - (1 << depth))]
    }
}

impl Lists for Leaves<'_> {
    fn next(&mut self) -> Option<&[u32]> {
        if let Some(node) = self.own.next() {
            self.tree += 1;
            return Some(self.leaf(self.tree - 1, node));
        }
        let Reverse((cost, tree, mut node)) = self.aside.pop()?;
        while (node as usize) < 1 << self.forest.depth {
            node = self.step(tree as usize, node, distance(cost));
        }
        Some(self.leaf(tree as usize, node))
    }
}

#[cfg(test)]
mod tests;

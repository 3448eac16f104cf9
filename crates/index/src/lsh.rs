//! The shape of hash tables in which near rows often meet: locality-sensitive hashing.
//!
//! A table gives each row a key of a few bits, made of its directions along random axes (rows of
//! random rotations):
//!
//! - **Planes** (Charikar, 2002): a bit says on which side of the median of all rows a row lies
//!   along an axis. Differences along a random axis are normal with the Euclidean distance as their
//!   deviation (Datar et al., 2004), so this serves that distance as well as the angle.
//! - **Cross-polytopes** (Andoni et al., 2015): some bits say along which of `c` axes, forwards or
//!   backwards, a row is farthest from the mean of all. This hashes the direction from the mean.
//!
//! A search looks into the bucket of the query in each table, then into those that a near row may
//! have fallen into instead, the likeliest first, all tables in one queue (query-directed probing:
//! Lv et al., 2007, §4). How products and the Manhattan distance come to this is said in `space`.

mod build;
mod file;
mod hash;
mod probe;

use crate::code::rotated::rotation::Rotation;
use crate::sieve::{Sieve, Usual};
use crate::space::Space;
use crate::{Account, BuildOptions, Hit, Metric, Rows, SearchOptions};

use hash::Digits;
use probe::Buckets;

/// Tables where none are asked for.
const TABLES: usize = 16;
/// Rows of a bucket, about, where bits are not asked for.
const BUCKET: usize = 64;
/// Buckets a default search looks into, for each table.
const BUCKETS_PER_TABLE: usize = 16;

/// What a key is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    /// Sides of random planes.
    #[default]
    Planes,
    /// Nearest vertices of cross-polytopes.
    Polytopes,
}

/// How rows are hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LshOptions {
    /// What a key is made of.
    pub family: Family,
    /// Tables; 16 where 0.
    pub tables: usize,
    /// Bits of a key; where 0 as many as leave about 64 rows to a key.
    pub bits: usize,
}

/// One table: the rows in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    /// Every key there is, rising.
    keys: Vec<u32>,
    /// Where the rows of each key begin; one more for the end.
    starts: Vec<u32>,
    rows: Vec<u32>,
    /// Where the keys begin whose first bits are at least so much.
    prefix: Vec<u32>,
}

/// Hash tables over the rows. A table holds 4 bytes a row and 12 a key: about `tables·4.2` bytes a
/// row, at most `tables·16`; axes are made of the seed. Built in O(n·tables·bits·log dim); a
/// search turns the query in O(tables·bits·log dim), then looks into buckets.
#[derive(Debug)]
pub struct Lsh {
    options: LshOptions,
    seed: u64,
    space: Space,
    digits: Digits,
    rotations: Vec<Rotation>,
    /// What is taken from the values along the axes.
    middles: Vec<f32>,
    /// None where the rows cannot be hashed.
    tables: Vec<Table>,
    sieve: Sieve,
}

impl Lsh {
    /// Hashes `rows`. The same for any number of threads.
    ///
    /// Rows with a value that is not finite are not hashed, and neither are rows that are not at
    /// hand as vectors: every search then measures all.
    pub fn build<R: Rows<Query = [f32]>>(
        rows: &R,
        lsh: LshOptions,
        options: &BuildOptions<'_>,
    ) -> Self {
        build::build(rows.vectors().as_ref(), rows.len(), lsh, options)
    }

    /// What was asked for.
    pub fn options(&self) -> LshOptions {
        self.options
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
        self.tables.is_empty() || (self.space.dim, self.space.metric) == (dim, metric)
    }

    /// The `k` allowed rows closest to `query`, closest first, of the buckets looked into: as many
    /// as [`Effort::Probes`](crate::Effort::Probes) says, empty ones not counted, or as hold 16
    /// rows for each candidate of [`Effort::Ef`](crate::Effort::Ef), and more while there are too
    /// few allowed rows in them.
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

    /// [`search`](Self::search), with what it uses of the budget put to `account`.
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
        let keys: usize = self.tables.iter().map(|table| table.keys.len()).sum();
        let held = (self.tables.len() * self.len()) as f64;
        let rows_each = if keys > 0 { held / keys as f64 } else { 0.0 };
        let usual = Usual { lists: self.tables.len() * BUCKETS_PER_TABLE, rows: rows_each };
        let lists = || Buckets::new(self, query);
        self.sieve.search(rows, query, (options, account), (usual, lists))
    }
}

impl Table {
    /// The rows of keys in rising order of key, then row.
    fn new(pairs: &[u64], bits: usize) -> Self {
        let rows = pairs.iter().map(|&pair| pair as u32).collect();
        let (mut keys, mut starts) = (Vec::new(), Vec::new());
        for (at, pair) in pairs.iter().enumerate() {
            let key = (pair >> 32) as u32;
            if keys.last() != Some(&key) {
                keys.push(key);
                starts.push(at as u32);
            }
        }
        starts.push(pairs.len() as u32);
        Self::of(keys, starts, rows, bits)
    }

    fn of(keys: Vec<u32>, starts: Vec<u32>, rows: Vec<u32>, bits: usize) -> Self {
        // About as many prefixes as keys, so that few keys share one.
        let used = bits.min(keys.len().max(1).next_power_of_two().ilog2() as usize);
        let first = |prefix: u32| keys.partition_point(|key| key >> (bits - used) < prefix) as u32;
        let prefix = (0..=1 << used).map(first).collect();
        Self { keys, starts, rows, prefix }
    }

    /// The rows with this key of `bits` bits.
    fn bucket(&self, key: u32, bits: usize) -> &[u32] {
        let used = (self.prefix.len() - 1).ilog2() as usize;
        let prefix = (key >> (bits - used)) as usize;
        let (from, to) = (self.prefix[prefix] as usize, self.prefix[prefix + 1] as usize);
        match self.keys[from..to].binary_search(&key) {
            Ok(at) => {
                let at = from + at;
                &self.rows[self.starts[at] as usize..self.starts[at + 1] as usize]
            }
            Err(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests;

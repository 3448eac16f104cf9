//! The shape that looks into the nearest of many lists: an inverted file (Jégou et al., 2011, §4).
//!
//! Rows are split into lists by k-means. A search measures the centroids, then the rows of the
//! lists nearest to the query. The lists say in which [`Order`] codes are best held: each list in
//! a row, so that it is scanned.

mod build;
mod file;
mod near;
mod probe;

use std::sync::Arc;

use crate::choice::Field;
use crate::number::Numbers;
use crate::{
    Account, Bitmap, Budget, BuildOptions, Effort, FloatRows, Hit, Metric, Order, Row, Rows,
    Scorer, SearchOptions, Top, flat,
};

pub(crate) use build::lists_of;
use near::Near;
use probe::{Barred, Probe};

/// How rows are split into lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IvfOptions {
    /// Lists; about `√n` where 0. Never more than rows.
    pub lists: usize,
    /// Whether a row lies in two lists.
    pub spill: Spill,
    /// The places of a list begin at a multiple of this: 32 for codes in blocks.
    pub align: usize,
}

/// Whether a row lies in two lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Spill {
    /// In that of the nearest centroid.
    #[default]
    One,
    /// In another as well, of a centroid that is near in another direction (SOAR: Sun et al.,
    /// 2023): what is hard to find in one is easy in the other.
    Two,
}

/// Lists of rows near one another. Holds the centroids, and 8 bytes a row: none where it is opened
/// from a file.
#[derive(Debug)]
pub struct Ivf {
    options: IvfOptions,
    metric: Metric,
    dim: usize,
    /// `lists × dim`, the bits of f32.
    centroids: Numbers,
    /// The same in bytes, which are measured.
    near: Near,
    /// The first place of each list, and how many rows it has.
    lists: Vec<(u32, u32)>,
    order: Arc<Order>,
}

impl Ivf {
    /// Splits `rows` into lists. The same for any number of threads.
    ///
    /// Rows with a value that is not finite make it one list, and so do rows that are not at hand
    /// as vectors.
    pub fn build<R: Rows<Query = [f32]>>(
        rows: &R,
        lists: IvfOptions,
        options: &BuildOptions<'_>,
    ) -> Self {
        build::build(rows.vectors().as_ref(), rows.len(), lists, options)
    }

    /// Splits other rows into lists of the same centroids, where these are as many as would be
    /// learnt for them or half to twice that and rows are of the same kind; else anew.
    pub(crate) fn rebuilt<R: Rows<Query = [f32]>>(
        &self,
        rows: &R,
        options: &BuildOptions<'_>,
    ) -> Self {
        let fits = |rows: &FloatRows<'_>| (rows.dim(), rows.metric()) == (self.dim, self.metric);
        let some = self.len() / 2..=self.len().saturating_mul(2);
        let rows_at_hand = rows.vectors().filter(|rows| fits(rows) && some.contains(&rows.len()));
        let rebuilt = rows_at_hand.and_then(|rows| build::rebuild(&rows, self, options));
        rebuilt.unwrap_or_else(|| Self::build(rows, self.options, options))
    }

    /// What was asked for.
    pub fn options(&self) -> IvfOptions {
        self.options
    }

    /// Values of a centroid.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The measure of the rows.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The centroids, `lists × dim`.
    fn centroids(&self) -> Vec<f32> {
        self.centroids.all().iter().map(|&bits| f32::from_bits(bits)).collect()
    }

    /// Lists there are.
    pub fn lists(&self) -> usize {
        self.lists.len()
    }

    /// The order in which codes are best held.
    pub fn order(&self) -> &Arc<Order> {
        &self.order
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` allowed rows closest to `query`, closest first, of the lists looked into: as many
    /// as the effort says, and more while there are fewer than `k` allowed rows in them.
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
        assert_eq!(rows.len(), self.len(), "rows of another index");
        flat::assert_fits(options.allowed, self.len());
        let eligible = options.allowed.map_or(self.len(), Bitmap::count);
        let k = options.k.min(eligible);
        if k == 0 || options.effort == Effort::Exact {
            return flat::scan(rows, query, options, account);
        }
        let field = Field { options, account, eligible };
        let hits = field.choose(rows, query, |found| {
            let probe = Probe::new(self, (k, found, eligible), options.effort);
            let mut top = self.top(found);
            let found = !probe.is_dear(probe.goal(probe.share()), single(rows))
                && self.look(rows, query, (options.allowed, &probe, account), &mut top);
            found.then(|| top.into_hits())
        });
        hits.unwrap_or_else(|| flat::scan(rows, query, options, account))
    }

    /// [`search`](Self::search) of many queries: each list is read once for all that look into it.
    ///
    /// # Panics
    /// As [`search`](Self::search).
    pub fn search_batch<R: Rows<Query = [f32]>>(
        &self,
        rows: &R,
        queries: &[&[f32]],
        options: &SearchOptions<'_>,
    ) -> Vec<(Vec<Hit>, bool)> {
        let one = |query: &&[f32]| {
            let account = Account::new(&options.budget);
            let hits = self.search_within(rows, query, options, &account);
            (hits, account.is_cut())
        };
        let k = options.k.min(self.len());
        let found = rows.candidates(k).min(self.len());
        let probe = Probe::new(self, (k, found, self.len()), options.effort);
        let Budget { distances, deadline, cancel } = options.budget;
        let limited = distances.is_some() || deadline.is_some() || cancel.is_some();
        let alone = options.allowed.is_some() || options.effort == Effort::Exact || limited;
        if alone || k == 0 || probe.is_dear(probe.goal(1.0), 1) || rows.order().is_none() {
            return queries.iter().map(one).collect();
        }
        assert_eq!(rows.len(), self.len(), "rows of another index");
        let groups = queries.chunks(TOGETHER);
        let all = groups.flat_map(|queries| self.group(rows, queries, (options, &probe, found)));
        all.map(|hits| (hits, false)).collect()
    }

    fn group<R: Rows<Query = [f32]>>(
        &self,
        rows: &R,
        queries: &[&[f32]],
        (options, probe, found): (&SearchOptions<'_>, &Probe, usize),
    ) -> Vec<Vec<Hit>> {
        let distances = self.near.measure(queries);
        let mut pairs = Vec::with_capacity(queries.len() * probe.lists());
        for (query, distances) in distances.chunks_exact(self.lists()).enumerate() {
            for key in &ranked(distances, probe.lists())[..probe.lists()] {
                pairs.push((*key as u32, query as u32));
            }
        }
        pairs.sort_unstable();
        let mut tops: Vec<Top> = queries.iter().map(|_| self.top(found)).collect();
        let mut scorers: Vec<R::Scorer<'_>> = queries.iter().map(|q| rows.scorer(q)).collect();
        let mut near = Vec::new();
        for &(list, query) in &pairs {
            let (scorer, top) = (&mut scorers[query as usize], &mut tops[query as usize]);
            near.clear();
            self.scan(rows, scorer, self.lists[list as usize], (top.reach(), &mut near));
            for hit in &near {
                top.offer(hit.row, hit.distance);
            }
        }
        let last = |(query, mut top): (&&[f32], Top)| {
            if top.is_full() {
                finish(rows, query, (top, options.k.min(self.len())))
            } else {
                self.search(rows, query, options)
            }
        };
        queries.iter().zip(tops).map(last).collect()
    }

    fn top(&self, found: usize) -> Top {
        match self.options.spill {
            Spill::One => Top::new(found),
            Spill::Two => Top::distinct(found),
        }
    }

    /// Offers what the nearest lists hold; `false` if that is no way to find what is allowed.
    fn look<R: Rows<Query = [f32]>>(
        &self,
        rows: &R,
        query: &[f32],
        (allowed, probe, account): (Option<&Bitmap>, &Probe, &Account<'_>),
        top: &mut Top,
    ) -> bool {
        let mut keys = ranked(&self.near.measure(&[query]), probe.lists());
        let mut scorer = rows.scorer(query);
        let mut goal = probe.lists();
        let (mut near, mut barred) = (Vec::new(), Barred::default());
        for at in 0..keys.len() {
            if at == probe.lists() {
                keys[at..].sort_unstable();
            }
            if at >= goal {
                if allowed.is_some() {
                    goal = probe.goal_past(&mut barred, top);
                    if probe.is_dear(goal.saturating_sub(at), single(rows)) {
                        return false;
                    }
                }
                if at >= goal && top.is_full() {
                    return true;
                }
            }
            let (first, count) = self.lists[(keys[at] as u32) as usize];
            if rows.order().is_some()
                && let Some(&next) = keys.get(at + 1).filter(|_| at + 1 < probe.lists())
            {
                let (first, count) = self.lists[(next as u32) as usize];
                scorer.ahead(first..first + count);
            }
            near.clear();
            let granted = account.grant(count as usize) as u32;
            self.scan(rows, &mut scorer, (first, granted), (top.reach(), &mut near));
            for hit in &near {
                if allowed.is_none_or(|allowed| allowed.contains(hit.row)) {
                    top.offer(hit.row, hit.distance);
                } else {
                    barred.add(hit.distance);
                }
            }
            if granted < count {
                return true;
            }
        }
        true
    }

    /// The rows of a list no farther than `reach`.
    fn scan<R: Rows<Query = [f32]>>(
        &self,
        rows: &R,
        scorer: &mut R::Scorer<'_>,
        (first, count): (u32, u32),
        (reach, near): (f32, &mut Vec<Hit>),
    ) {
        let (lying, len) = (self.order.rows(first..first + count), self.len() as u32);
        if rows.order().is_some() {
            scorer.scan(first..first + count, reach, near);
            near.retain_mut(|hit| {
                let row = lying.get((hit.row.0 - first) as usize).copied().unwrap_or(u32::MAX);
                hit.row = Row(row);
                row < len
            });
            return;
        }
        let mut out = [0.0; SOME];
        for lying in lying.chunks(SOME) {
            let some = lying.iter().copied().filter(|&row| row < len);
            let some: Vec<Row> = some.map(Row).collect();
            let out = &mut out[..some.len()];
            scorer.score(&some, out);
            crate::rows::keep(&some, out, reach, near);
        }
    }
}

/// The best `k` of what was found.
fn finish<R: Rows<Query = [f32]>>(rows: &R, query: &[f32], (top, k): (Top, usize)) -> Vec<Hit> {
    let mut hits = top.into_hits();
    rows.refine(query, &mut hits);
    hits.truncate(k);
    hits
}

/// How many rows of a list are measured while one is that lies anywhere.
fn single<R: Rows>(rows: &R) -> usize {
    if rows.is_scanned() { SCANNED } else { 1 }
}

/// The lists as keys, the `count` nearest in order before the others.
fn ranked(distances: &[f32], count: usize) -> Vec<u64> {
    let keys = (0..).zip(distances).map(|(list, &d)| crate::key::key(d, Row(list)));
    let mut keys: Vec<u64> = keys.collect();
    if count < keys.len() {
        keys.select_nth_unstable(count);
        keys[..count].sort_unstable();
    } else {
        keys.sort_unstable();
    }
    keys
}

/// Rows of codes that are scanned in blocks, for one that is measured by itself.
const SCANNED: usize = 8;
/// Rows measured at a time.
const SOME: usize = 64;
/// Queries of a batch that look into lists together: their tables are a few megabytes.
const TOGETHER: usize = 512;

/// Rows whose space the lists are made in.
fn space(rows: &FloatRows<'_>) -> Metric {
    match rows.metric() {
        Metric::Cosine => Metric::Cosine,
        Metric::Euclid | Metric::Dot | Metric::Manhattan => Metric::Euclid,
    }
}

#[cfg(test)]
mod tests;

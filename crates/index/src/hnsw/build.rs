//! Building the graph: batches of rows at once, the same graph for any number of threads.
//!
//! Where vectors are at hand, products of whole groups of rows say what is near ([`leaf`]). Else
//! rows are inserted in a random order, in batches that grow with the graph (prefix doubling as
//! Manohar et al., 2024, do in `ParlayANN`). Every row of a batch looks for its neighbours in the
//! graph as it was before the batch; then the new links are applied, grouped by the row they lead
//! to. What one row or one group gives depends on nothing that runs beside it.

use crate::seed::mix;
use crate::spread::spread;
use crate::{BuildOptions, FloatRows, Row, Rows, Scorer};

use super::graph::{Graph, NONE, Slack};
use super::net::{Net, Weave};
use super::search::{Gate, Scratch, Walk};
use super::stage::{Done, Kept};
use super::{leaf, reach};

/// A batch is at most this part of the rows inserted so far …
pub(super) const BATCH_OF_INSERTED: usize = 8;
/// … and this part of all rows: members of a batch do not see one another.
pub(super) const BATCH_OF_ALL: usize = 50;
/// Rows whose neighbours are chosen before any of them is linked back to.
const TOGETHER: usize = 1 << 16;
/// Rows whose neighbours are chosen before what was done is kept, at the earliest.
const AT_A_TIME: usize = 1 << 12;
/// Selected rows that a candidate is compared with per call of the scorer.
const COMPARED: usize = 4;

/// The finished graph of `rows`, `m` links per node and level.
pub(super) fn build<R: Rows>(rows: &R, m: usize, options: &BuildOptions<'_>) -> Graph {
    let len = rows.len();
    let levels: Vec<u8> =
        (0..len as u64).map(|row| level(mix(options.seed ^ mix(row)), m)).collect();
    let order = order(&levels, options.seed);
    let graph = Graph::new(&levels, order.first().copied(), m, Slack::Half);
    let mut course = Course::new(rows, graph, &order, options);
    match rows.vectors().filter(|vectors| leaf::serves(vectors)) {
        Some(vectors) => {
            course.above(&levels);
            course.by_leaves(&vectors);
        }
        None => course.by_walks(len.min(1)),
    }
    course.end(&levels)
}

/// A graph on its way, from where an earlier build left it.
struct Course<'r, R> {
    rows: &'r R,
    /// The rows in the order in which they are linked.
    order: &'r [Row],
    options: &'r BuildOptions<'r>,
    graph: Graph,
    done: Done,
    kept: Kept<'r>,
    scratches: Vec<Scratch>,
}

impl<'r, R: Rows> Course<'r, R> {
    fn new(rows: &'r R, mut graph: Graph, order: &'r [Row], options: &'r BuildOptions<'r>) -> Self {
        let (kept, done) = Kept::open(&mut graph, options);
        let scratches = vec![Scratch::new(order.len()); options.threads.max(1)];
        Self { rows, order, options, graph, done, kept, scratches }
    }

    fn report(&self, rows: usize) {
        self.options.progress.iter().for_each(|progress| progress(rows));
    }

    /// Links rows above level 0, by walks.
    fn above(&mut self, levels: &[u8]) {
        let above = self.order.iter().copied().filter(|row| levels[row.position()] > 0);
        let above: Vec<Row> = above.collect();
        self.done.above = self.done.above.max(1);
        while self.done.above < above.len() {
            let done = self.done.above;
            let batch = &above[done..above.len().min(done + batch(done, above.len()))];
            self.insert(batch, 1);
            self.done.above += batch.len();
            self.kept.keep((&self.graph, self.done), None, [].into_iter());
        }
    }

    /// Links rows on level 0 by leaves, scale by scale. A row chooses among those of its scale and
    /// of coarser ones, so that the first ones get long links, as they do where rows are inserted
    /// one by one.
    fn by_leaves(&mut self, vectors: &FloatRows<'_>) {
        self.report(self.done.rows);
        for to in leaf::scales(self.order.len()) {
            if self.done.rows >= to {
                continue;
            }
            let near = self.kept.near(to, leaf::PLACES);
            let near = leaf::near(vectors, &self.order[..to], near, self.options);
            while self.done.rows < to {
                let end = to.min(self.done.rows + TOGETHER);
                let chosen = self.choose_near(&near, (end, to));
                join(self.rows, &mut self.graph, &chosen, &mut self.scratches);
                self.done.rows = end;
                self.kept.keep((&self.graph, self.done), Some((to, near.named())), [].into_iter());
            }
        }
    }

    /// The links that the next rows, up to place `end` of a scale, choose of what is near them.
    fn choose_near(&mut self, near: &leaf::Near<'_>, (end, scale): (usize, usize)) -> Vec<Chosen> {
        let (from, m) = (self.done.rows, self.graph.m());
        let (rows, order) = (self.rows, self.order);
        let most = self.options.ef_construction.max(m);
        let of = |row, ids| Chosen { row, lists: vec![(0, ids)] };
        let kept = self.kept.links(self.done, (end - from, m), order.len());
        let mut chosen: Vec<Chosen> =
            order[from..].iter().zip(kept).map(|(&row, ids)| of(row, ids)).collect();
        self.report(chosen.len());
        while from + chosen.len() < end {
            let first = from + chosen.len();
            let count = (end - first).min(AT_A_TIME);
            chosen.extend(spread(&mut self.scratches, count, |_, at| {
                let row = order[first + at];
                let mut candidates = measured(rows, row, near.of(first + at, row));
                candidates.truncate(most);
                of(row, select(rows, &candidates, m))
            }));
            self.report(count);
            let links = chosen.iter().map(|chosen| &chosen.lists[0].1[..]);
            self.kept.keep((&self.graph, self.done), Some((scale, near.named())), links);
        }
        chosen
    }

    /// Links rows by walks, behind the first `linked`.
    fn by_walks(&mut self, linked: usize) {
        let len = self.order.len();
        self.done.rows = self.done.rows.max(linked);
        self.report(self.done.rows);
        while self.done.rows < len {
            let done = self.done.rows;
            let batch = &self.order[done..len.min(done + batch(done, len))];
            self.insert(batch, 0);
            self.done.rows += batch.len();
            self.report(batch.len());
            self.kept.keep((&self.graph, self.done), None, [].into_iter());
        }
    }

    fn insert(&mut self, batch: &[Row], lowest: usize) {
        let ef = self.options.ef_construction;
        insert(self.rows, &mut self.graph, (batch, lowest), &mut self.scratches, ef);
    }

    /// The finished graph, over rows of these levels.
    fn end(mut self, levels: &[u8]) -> Graph {
        let mut graph = finish(self.rows, &self.graph, levels, &mut self.scratches);
        reach::connect(self.rows, &mut graph, &mut self.scratches[0]);
        graph
    }
}

/// The most rows that are linked at once, when so many are of so many in all.
fn batch(done: usize, of: usize) -> usize {
    (done / BATCH_OF_INSERTED).min(of / BATCH_OF_ALL).max(1)
}

/// The graph of `rows`, of which the first were those `from` of `old`.
pub(super) fn rebuild<R: Rows>(
    rows: &R,
    old: &Graph,
    from: &[u32],
    options: &BuildOptions<'_>,
) -> Graph {
    let m = old.m();
    let level_of = |row: u64| level(mix(options.seed ^ mix(row)), m);
    let kept = from.iter().map(|&row| old.level(Row(row)) as u8);
    let new = (from.len() as u64..rows.len() as u64).map(level_of);
    // Rows that come into a graph are on no higher level than those that are in it.
    let top = kept.clone().max().unwrap_or(0);
    let levels: Vec<u8> = kept.chain(new.map(|level| level.min(top))).collect();
    let entry = (0..from.len()).max_by_key(|&row| (levels[row], std::cmp::Reverse(row)));
    let mut graph = Graph::new(&levels, entry.map(|row| Row(row as u32)), m, Slack::Half);
    let mut now = vec![NONE; old.len()];
    for (row, &old) in (0..).zip(from) {
        now[old as usize] = row;
    }
    let mended = spread(&mut vec![(); options.threads.max(1)], from.len(), |(), at| {
        let lists = 0..=old.level(Row(from[at]));
        lists.map(|level| mend(rows, (old, &now), (at, from[at]), level)).collect::<Vec<_>>()
    });
    for (row, lists) in (0..).zip(mended) {
        for (level, ids) in lists.iter().enumerate() {
            graph.set_links(Row(row), level, ids);
        }
    }
    let order: Vec<Row> = (0..rows.len() as u32).map(Row).collect();
    let mut course = Course::new(rows, graph, &order, options);
    course.by_walks(from.len());
    course.end(&levels)
}

/// The links of the row `at`, once `was`, to rows that are left: for one that is not, its own.
fn mend<R: Rows>(
    rows: &R,
    (old, now): (&Graph, &[u32]),
    (at, was): (usize, u32),
    level: usize,
) -> Vec<u32> {
    let left = |row: Row| Some(now[row.position()]).filter(|&id| id != NONE);
    let (kept, gone): (Vec<Row>, Vec<Row>) =
        old.each_link(Row(was), level).partition(|&row| left(row).is_some());
    let mut ids: Vec<u32> = kept.into_iter().filter_map(left).collect();
    if gone.is_empty() {
        return ids;
    }
    let beyond = gone.iter().flat_map(|&row| old.each_link(row, level));
    ids.extend(beyond.filter_map(left).filter(|&id| id as usize != at));
    ids.sort_unstable();
    ids.dedup();
    prune(rows, Row(at as u32), &ids, old.most(level))
}

/// Rows in a random order, one of the highest level first: it is the entry from the start.
fn order(levels: &[u8], seed: u64) -> Vec<Row> {
    let mut order: Vec<Row> = (0..levels.len() as u32).map(Row).collect();
    for at in (1..order.len()).rev() {
        let bits = mix(seed.wrapping_add(mix(!(at as u64))));
        let other = (u128::from(bits) * (at as u128 + 1)) >> 64;
        order.swap(at, other as usize);
    }
    let level = |row: &Row| levels[row.position()];
    if let Some(at) = (0..order.len()).rev().max_by_key(|&at| level(&order[at])) {
        order.swap(0, at);
    }
    order
}

/// A level `l` has probability `(1/m)^l · (1 − 1/m)`, as `⌊−ln u / ln m⌋` has (Alg. 1, line 4),
/// in whole numbers so that it is the same everywhere.
pub(super) fn level(bits: u64, m: usize) -> u8 {
    let (mut bits, mut level) = (bits, 0);
    while bits < u64::MAX / m as u64 && level < crate::LEVEL_MAX as u8 {
        bits *= m as u64;
        level += 1;
    }
    level
}

/// The neighbours a new row chose on each of its levels, from the highest it shares with the graph.
struct Chosen {
    row: Row,
    lists: Vec<(usize, Vec<u32>)>,
}

/// Links the rows of `batch`, which do not see one another, to those in the graph and back, from
/// their highest level down to `lowest`.
pub(super) fn insert<R: Rows>(
    rows: &R,
    graph: &mut impl Weave,
    (batch, lowest): (&[Row], usize),
    scratches: &mut [Scratch],
    ef: usize,
) {
    let frozen = &*graph;
    let chosen = spread(scratches, batch.len(), |scratch, at| {
        choose(rows, frozen, (batch[at], lowest), scratch, ef)
    });
    join(rows, graph, &chosen, scratches);
}

/// Links rows to the neighbours they chose, and these back.
fn join<R: Rows>(rows: &R, graph: &mut impl Weave, chosen: &[Chosen], scratches: &mut [Scratch]) {
    let mut back: Vec<(usize, u32, u32)> = Vec::new();
    for (at, Chosen { row, lists }) in chosen.iter().enumerate() {
        for (level, ids) in lists {
            graph.set_links(*row, *level, ids);
            back.extend(ids.iter().map(|&id| (*level, id, at as u32)));
        }
    }
    back.sort_unstable();
    let groups: Vec<_> = back.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).collect();
    let frozen = &*graph;
    let merged = spread(scratches, groups.len(), |_, at| {
        let (level, target, _) = groups[at][0];
        let mut ids: Vec<u32> = frozen.each_link(Row(target), level).map(|id| id.0).collect();
        ids.extend(groups[at].iter().map(|&(_, _, source)| chosen[source as usize].row.0));
        if ids.len() > frozen.width(level) {
            ids = prune(rows, Row(target), &ids, frozen.most(level));
        }
        ids
    });
    for (group, ids) in groups.iter().zip(&merged) {
        graph.set_links(Row(group[0].1), group[0].0, ids);
    }
}

/// Algorithm 1 up to the links of the new row itself.
fn choose<R: Rows>(
    rows: &R,
    graph: &impl Net,
    (row, lowest): (Row, usize),
    scratch: &mut Scratch,
    ef: usize,
) -> Chosen {
    let scorer = &mut rows.scorer_of(row);
    let from = graph.level(row).min(graph.top());
    let mut lists = Vec::with_capacity(from + 1);
    let mut start = scratch.descend(graph, scorer, from, &Gate::OPEN);
    for level in (lowest..=from).rev() {
        let Some(begin) = start else { break };
        let ef = ef.max(graph.m());
        scratch.walk(graph, level, scorer, &Walk { start: begin, ef, gate: &Gate::OPEN });
        let candidates: Vec<_> = scratch.admitted().map(|hit| (hit.distance, hit.row)).collect();
        start = candidates.first().map(|&(_, row)| row);
        lists.push((level, select(rows, &candidates, graph.m())));
    }
    Chosen { row, lists }
}

/// The links `ids` of `row` cut down to `most`.
fn prune<R: Rows>(rows: &R, row: Row, ids: &[u32], most: usize) -> Vec<u32> {
    let ids = ids.iter().copied().map(Row).collect();
    select(rows, &measured(rows, row, ids), most)
}

/// How far some rows are from `row`, in rising order.
fn measured<R: Rows>(rows: &R, row: Row, ids: Vec<Row>) -> Vec<(f32, Row)> {
    let mut distances = vec![0.0; ids.len()];
    rows.scorer_of(row).score(&ids, &mut distances);
    let mut candidates: Vec<_> = distances.into_iter().zip(ids).collect();
    candidates.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    candidates
}

/// Algorithm 4 over candidates in rising order: one is taken if it is closer to the row than to
/// every neighbour taken before it, so that links point in different directions; then the nearest
/// of those passed over fill what room is left (`keepPrunedConnections`).
///
/// On equal distances a candidate is taken, unless all three rows are equally far apart: of many
/// equal rows one is taken and the rest of the list leads elsewhere.
fn select<R: Rows>(rows: &R, candidates: &[(f32, Row)], most: usize) -> Vec<u32> {
    let mut taken: Vec<Row> = Vec::with_capacity(most);
    let mut reach: Vec<f32> = Vec::with_capacity(most);
    let mut passed = Vec::new();
    for &(distance, row) in candidates {
        if taken.len() == most {
            break;
        }
        let mut scorer = rows.scorer_of(row);
        let mut between = [0.0; COMPARED];
        let mut equal = false;
        let apart = taken.chunks(COMPARED).zip(reach.chunks(COMPARED)).all(|(taken, reach)| {
            let between = &mut between[..taken.len()];
            scorer.score(taken, between);
            let mut pairs = between.iter().zip(reach);
            pairs.all(|(&b, &reach)| {
                equal = distance == b && reach == distance;
                distance <= b && !equal
            })
        });
        if apart {
            taken.push(row);
            reach.push(distance);
        } else if !equal {
            passed.push(row);
        }
    }
    let room = most - taken.len();
    taken.into_iter().chain(passed.into_iter().take(room)).map(|row| row.0).collect()
}

/// The graph with every list cut to its final length.
fn finish<R: Rows>(rows: &R, built: &Graph, levels: &[u8], scratches: &mut [Scratch]) -> Graph {
    let mut graph = Graph::new(levels, built.entry(), built.m(), Slack::None);
    for from in (0..built.len()).step_by(TOGETHER) {
        let lists = spread(scratches, (built.len() - from).min(TOGETHER), |_, at| {
            let row = Row((from + at) as u32);
            let cut = |level| {
                let ids = built.links(row, level);
                if ids.len() > built.most(level) {
                    prune(rows, row, ids, built.most(level))
                } else {
                    ids.to_vec()
                }
            };
            (0..=built.level(row)).map(cut).collect::<Vec<_>>()
        });
        for (at, lists) in (from..).zip(lists) {
            for (level, ids) in lists.iter().enumerate() {
                assert!(!ids.contains(&NONE), "a link to no row");
                graph.set_links(Row(at as u32), level, ids);
            }
        }
    }
    graph
}

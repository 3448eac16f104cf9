//! A graph that is being built, kept as far as it is.
//!
//! Three parts, each in the place of the one before it: `graph`, the lists after some rows were
//! linked; `near`, what leaves name on the scale that is being linked; `links`, what the rows after
//! those of the graph have chosen. Numbers of 32 bits, little endian: `rows linked above level 0 ·
//! rows linked · level 0 · the other levels`; `rows of the scale · what is named`; `rows linked ·
//! rows that chose · for each its links: how many, which`.

use kvant_storage::{Bytes, bytes_of_u32};

use super::graph::{Graph, NONE};
use crate::number::numbers_of;
use crate::stage::bytes_of;
use crate::{BuildOptions, Stages};

const GRAPH: &str = "graph";
const NEAR: &str = "near";
const LINKS: &str = "links";

/// How far a graph is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Rows linked above level 0, where that is done first.
    pub(super) above: usize,
    /// Rows linked on all levels.
    pub(super) rows: usize,
}

/// What is kept of a graph that is being built.
pub(super) struct Kept<'o> {
    options: &'o BuildOptions<'o>,
    /// How far the graph was that was saved last.
    graph: Option<Done>,
    /// The scale whose neighbours are saved.
    scale: Option<usize>,
    /// Whether an earlier build may have left what is near, and links.
    left: [bool; 2],
}

impl<'o> Kept<'o> {
    /// Brings `graph`, which has no links yet, to where an earlier build left it.
    pub(super) fn open(graph: &mut Graph, options: &'o BuildOptions<'o>) -> (Self, Done) {
        let done = options.kept(GRAPH, |bytes| {
            let (head, lists) = bytes.split_at_checked(8)?;
            let done = done_of(head);
            let fits = done.above <= lists.len() && done.rows <= lists.len();
            (fits && graph.restore(lists)).then_some(done)
        });
        let left = [done.is_some(); 2];
        (Self { options, graph: done, scale: None, left }, done.unwrap_or_default())
    }

    /// What is near each of the `rows` rows of a scale, `each` of them.
    pub(super) fn near(&mut self, rows: usize, each: usize) -> Option<Vec<u32>> {
        if !std::mem::take(&mut self.left[0]) {
            return None;
        }
        let named = self.options.kept(NEAR, |bytes| {
            let (head, named) = bytes.split_at_checked(4)?;
            let fits = numbers_of(head) == [rows as u32] && named.len() == rows * each * 4;
            let named = if fits { numbers_of(named) } else { return None };
            named.iter().all(|&at| at == NONE || (at as usize) < rows).then_some(named)
        });
        self.scale = named.is_some().then_some(rows);
        named
    }

    /// The links that the rows after those `done` have chosen: at most `most` rows, `m` links each.
    pub(super) fn links(
        &mut self,
        done: Done,
        (most, m): (usize, usize),
        len: usize,
    ) -> Vec<Vec<u32>> {
        if !std::mem::take(&mut self.left[1]) {
            return Vec::new();
        }
        let read = |bytes: Bytes| {
            let numbers = numbers_of(&bytes);
            let ([at, count], mut rest) = numbers.split_first_chunk()?;
            let mut lists = Vec::new();
            for _ in 0..(*count as usize).min(most) {
                let (&count, more) = rest.split_first()?;
                let (list, more) = more.split_at_checked(count as usize)?;
                let known = list.len() <= m && list.iter().all(|&id| (id as usize) < len);
                lists.push(known.then(|| list.to_vec())?);
                rest = more;
            }
            (*at as usize == done.rows).then_some(lists)
        };
        self.options.kept(LINKS, read).unwrap_or_default()
    }

    /// Keeps all of it that is not kept yet, if it is time.
    pub(super) fn keep<'l>(
        &mut self,
        (graph, done): (&Graph, Done),
        near: Option<(usize, &[u32])>,
        links: impl ExactSizeIterator<Item = &'l [u32]>,
    ) {
        let Some(stages) = self.options.stages.filter(|stages| stages.is_due()) else { return };
        if self.graph != Some(done) {
            let head = bytes_of(&[done.above as u32, done.rows as u32]);
            let [base, upper] = graph.lists().map(bytes_of_u32);
            stages.save(GRAPH, &[&head, base, upper]);
            self.graph = Some(done);
        }
        if let Some((rows, named)) = near.filter(|&(rows, _)| self.scale != Some(rows)) {
            stages.save(NEAR, &[&bytes_of(&[rows as u32]), bytes_of_u32(named)]);
            self.scale = Some(rows);
        }
        if links.len() > 0 {
            save_links(stages, done, links);
        }
    }
}

fn save_links<'l>(
    stages: &dyn Stages,
    done: Done,
    links: impl ExactSizeIterator<Item = &'l [u32]>,
) {
    let mut numbers = vec![done.rows as u32, links.len() as u32];
    for list in links {
        numbers.push(list.len() as u32);
        numbers.extend_from_slice(list);
    }
    stages.save(LINKS, &[bytes_of_u32(&numbers)]);
}

fn done_of(head: &[u8]) -> Done {
    match *numbers_of(head) {
        [above, rows] => Done { above: above as usize, rows: rows as usize },
        _ => Done::default(),
    }
}

//! Making every row reachable from the entry on level 0.

use crate::{Row, Rows};

use super::graph::{Graph, NONE};
use super::net::{Net, Weave};
use super::search::{Gate, Scratch, Walk};

/// Candidates for the row that is to lead to an unreachable one.
const EF: usize = 64;

/// Links every row that no path leads to from a near one that is reached, so that no row is lost
/// however pruning went (many equal rows are the hard case). The links through which the others
/// were first reached are never given up for it.
pub(super) fn connect<R: Rows>(rows: &R, graph: &mut Graph, scratch: &mut Scratch) {
    let Some(entry) = graph.entry() else { return };
    let mut tree = Tree { parent: vec![NONE; graph.len()] };
    tree.parent[entry.position()] = entry.0;
    tree.flood(graph, entry);
    for row in (0..graph.len() as u32).map(Row) {
        if tree.reached(row) {
            continue;
        }
        let mut scorer = rows.scorer_of(row);
        let start = scratch
            .descend(graph, &mut scorer, 0, &Gate::OPEN)
            .filter(|&start| tree.reached(start));
        let start = start.unwrap_or(entry);
        scratch.walk(graph, 0, &mut scorer, &Walk { start, ef: EF, gate: &Gate::OPEN });
        let near = scratch.admitted().map(|hit| hit.row);
        let every = (0..graph.len() as u32).map(Row);
        // Fewer tree links than rows: somewhere there is a place, and nearly always it is near.
        let mut host = near.chain(every).filter(|&host| tree.reached(host));
        let Some((host, place)) = host.find_map(|host| Some((host, tree.place(graph, host)?)))
        else {
            continue;
        };
        let mut ids = graph.links(host, 0).to_vec();
        match ids.get_mut(place) {
            Some(id) => *id = row.0,
            None => ids.push(row.0),
        }
        graph.set_links(host, 0, &ids);
        tree.parent[row.position()] = host.0;
        tree.flood(graph, row);
    }
}

/// By which row each row was first reached.
struct Tree {
    parent: Vec<u32>,
}

impl Tree {
    fn reached(&self, row: Row) -> bool {
        self.parent[row.position()] != NONE
    }

    /// Reaches what can be reached from `from`.
    fn flood(&mut self, graph: &Graph, from: Row) {
        let mut open = vec![from];
        while let Some(row) = open.pop() {
            for &id in graph.links(row, 0) {
                if self.parent[id as usize] == NONE {
                    self.parent[id as usize] = row.0;
                    open.push(Row(id));
                }
            }
        }
    }

    /// Where `host` can take a link: a free place, else the last link that reached nothing first.
    fn place(&self, graph: &Graph, host: Row) -> Option<usize> {
        let ids = graph.links(host, 0);
        if ids.len() < graph.width(0) {
            return Some(ids.len());
        }
        ids.iter().rposition(|&id| self.parent[id as usize] != host.0)
    }
}

//! What the parts of a graph promise one another.

use kvant_testkit::clustered;

use super::build::{build, level};
use super::graph::{Graph, Slack};
use super::net::{Net, Weave};
use super::search::{Gate, Scratch};
use super::{Hnsw, reach};
use crate::{BuildOptions, FloatRows, Metric, Row};

const DIM: usize = 8;

fn walk(graph: &Graph, rows: &FloatRows<'_>, query: &[f32], ef: usize) -> Vec<u32> {
    let mut scratch = Scratch::new(graph.len());
    let mut scorer = crate::Rows::scorer(rows, query);
    let hits = scratch.search(graph, &mut scorer, ef, &Gate::OPEN);
    hits.unwrap().map(|hit| hit.row.0).collect()
}

#[test]
fn levels_thin_out_by_m() {
    // Evenly spaced bits stand for random ones.
    let levels: Vec<u8> = (0..100_000u64).map(|i| level(i * (u64::MAX / 100_000), 10)).collect();
    for (least, expected) in [(1, 10_000), (2, 1000), (3, 100), (4, 10)] {
        let got = levels.iter().filter(|&&level| level >= least).count();
        assert!(got.abs_diff(expected) <= 2, "{got} rows on level {least}, expected {expected}");
    }
    assert_eq!(level(0, 4), crate::LEVEL_MAX as u8);
    assert_eq!(level(u64::MAX, 4), 0);
}

#[test]
fn links_are_within_bounds_and_lead_everywhere() {
    for (n, m) in [(1, 4), (2, 4), (700, 4), (700, 16)] {
        let data = clustered(n, DIM, 5);
        let rows = FloatRows::new(&data, DIM, Metric::Euclid);
        let graph = build(&rows, m, &BuildOptions::default());
        for row in (0..n as u32).map(Row) {
            for level in 0..=graph.level(row) {
                let ids = graph.links(row, level);
                assert!(ids.len() <= graph.most(level), "{row} on level {level}");
                assert!(!ids.contains(&row.0), "{row} is linked to itself");
                assert!(ids.iter().all(|&id| graph.level(Row(id)) >= level));
                let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
                assert_eq!(distinct.len(), ids.len(), "{row} on level {level}: {ids:?}");
            }
        }
        // A walk that keeps every candidate meets every row.
        assert_eq!(walk(&graph, &rows, &data[..DIM], n).len(), n);
    }
}

/// Rows that nothing leads to, also where the nearest lists are full, become reachable.
#[test]
fn unreachable_rows_are_connected() {
    let n = 40;
    let data = clustered(n, DIM, 6);
    let rows = FloatRows::new(&data, DIM, Metric::Euclid);
    let mut graph = Graph::new(&vec![0; n], Some(Row(0)), 4, Slack::None);
    // Rows 0 to 8 are all linked to one another, their lists full; the rest is apart.
    for row in 0..9 {
        let others: Vec<u32> = (0..9).filter(|&other| other != row).collect();
        graph.set_links(Row(row), 0, &others);
    }
    graph.set_links(Row(20), 0, &[21, 22]);
    assert_eq!(walk(&graph, &rows, &data[..DIM], n).len(), 9);
    reach::connect(&rows, &mut graph, &mut Scratch::new(n));
    assert_eq!(walk(&graph, &rows, &data[..DIM], n).len(), n);
    assert!((0..n as u32).all(|row| graph.links(Row(row), 0).len() <= 8));
}

#[test]
fn working_memory_is_returned() {
    let data = clustered(3000, DIM, 7);
    let rows = FloatRows::new(&data, DIM, Metric::Cosine);
    let hnsw = Hnsw::build(&rows, 8, &BuildOptions::default());
    for _ in 0..3 {
        assert_eq!(hnsw.search(&rows, &data[..DIM], &crate::SearchOptions::default()).len(), 10);
        assert_eq!(hnsw.idle.0.lock().unwrap().len(), 1);
    }
}

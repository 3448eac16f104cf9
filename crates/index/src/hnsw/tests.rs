//! What the parts of a graph promise one another.

use kvant_testkit::clustered;

use super::beside::Beside;
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

/// Estimates of neighbours are those of their distances, without bias, and as near as two bits of a
/// dimension allow: a third of what the lengths of both sides would be off at random.
#[test]
fn what_lies_beside_a_row_estimates_its_neighbours() {
    const WIDE: usize = 96;
    let data = clustered(1200, WIDE, 9);
    for metric in [Metric::Euclid, Metric::Dot, Metric::Cosine] {
        let mut data = data.clone();
        data.chunks_exact_mut(WIDE).for_each(|row| metric.prepare(row));
        let (base, queries) = data.split_at(1100 * WIDE);
        let rows = FloatRows::new(base, WIDE, metric);
        let graph = build(&rows, 16, &BuildOptions::default());
        let beside = Beside::build(&rows, &graph, &BuildOptions::default()).unwrap();
        let (mut sum, mut squares, mut sizes, mut count) = (0.0, 0.0, 0.0, 0);
        for (at, query) in queries.chunks_exact(WIDE).enumerate() {
            let (asked, row) = (beside.ask(query), Row((at * 11) as u32));
            let mut scorer = crate::Rows::scorer(&rows, query);
            let links: Vec<Row> = graph.each_link(row, 0).collect();
            let (mut own, mut truth) = ([0.0], vec![0.0; links.len()]);
            crate::Scorer::score(&mut scorer, &[row], &mut own);
            crate::Scorer::score(&mut scorer, &links, &mut truth);
            let mut estimates = vec![0.0; 32];
            beside.estimate(row, own[0], &asked, &mut estimates);
            let gap = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum()
            };
            let double = if metric == Metric::Euclid { 4.0 } else { 1.0 };
            for ((&link, &estimate), &truth) in links.iter().zip(&estimates).zip(&truth) {
                let error = f64::from(estimate) - f64::from(truth);
                let centre = rows.vector(row);
                let product = gap(rows.vector(link), centre) * gap(query, centre);
                sum += error;
                squares += error * error;
                sizes += double * product / WIDE as f64;
                count += 1;
            }
        }
        let (mean, deviation) = (sum / f64::from(count), (squares / f64::from(count)).sqrt());
        let expected = (sizes / f64::from(count)).sqrt();
        assert!(mean.abs() < 0.05 * expected, "{metric}: {mean} off, {expected}");
        assert!(deviation < 0.45 * expected, "{metric}: {deviation} of {expected}");
    }
}

//! Trees: what lies where, and that more of them find more.

use kvant_testkit::clustered;

use super::*;
use crate::{Effort, Flat, FloatRows, Index};

const DIM: usize = 32;
const N: usize = 6000;

fn forest(data: &[f32], trees: usize, metric: Metric) -> Forest {
    let options = BuildOptions { threads: 2, seed: 4, ..BuildOptions::default() };
    Forest::build(&FloatRows::new(data, DIM, metric), trees, &options)
}

#[test]
fn every_row_lies_in_one_leaf_of_each_tree_and_leaves_are_even() {
    for n in [0, 1, LEAF, LEAF + 1, 777, N] {
        let data = clustered(n, DIM, 1);
        let forest = forest(&data, 3, Metric::Euclid);
        assert_eq!((forest.len(), forest.depth == 0), (n, n <= LEAF), "{n}");
        for tree in forest.rows.chunks_exact(n.max(1)) {
            let mut rows = tree.to_vec();
            rows.sort_unstable();
            assert_eq!(rows, (0..n as u32).collect::<Vec<_>>());
        }
        let sizes = (0..1 << forest.depth).map(|leaf| range(n, forest.depth, leaf).len());
        let sizes: Vec<usize> = sizes.collect();
        assert_eq!(sizes.iter().sum::<usize>(), n);
        assert!(sizes.iter().all(|&size| size <= LEAF), "{n}: {sizes:?}");
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(most - least <= 1, "{n}: {sizes:?}");
    }
}

/// The leaf that a row is led to as a query is nearly always the one that it lies in: its bytes
/// are rounded, and some rows lie at a plane.
#[test]
fn rows_are_led_to_their_own_leaves() {
    let data = clustered(N, DIM, 2);
    for metric in [Metric::Euclid, Metric::Manhattan] {
        let forest = forest(&data, 4, metric);
        let mut found = 0;
        for row in (0..N).step_by(10) {
            let mut leaves = Leaves::new(&forest, &data[row * DIM..][..DIM]);
            found += (0..4).filter(|_| leaves.next().unwrap().contains(&(row as u32))).count();
        }
        assert!(found >= 4 * 600 * 9 / 10, "{metric}: {found} of 2400");
    }
}

/// All leaves come, each once, and what crossing costs rises.
#[test]
fn every_leaf_comes_once() {
    let data = clustered(1000, DIM, 3);
    let forest = forest(&data, 3, Metric::Cosine);
    let mut leaves = Leaves::new(&forest, &data[..DIM]);
    let mut times = vec![0; 1000];
    let mut count = 0;
    let mut before = 0;
    while let Some(rows) = leaves.next() {
        for &row in rows {
            times[row as usize] += 1;
        }
        count += 1;
        let least = leaves.aside.peek().map_or(u32::MAX, |Reverse((cost, ..))| *cost);
        assert!(count < 3 || least >= before);
        before = if count < 3 { 0 } else { least };
    }
    assert_eq!(count, 3 << forest.depth);
    assert!(times.iter().all(|&times| times == 3));
}

#[test]
fn more_leaves_and_more_trees_find_more() {
    for metric in Metric::ALL {
        let mut data = clustered(N + 50, DIM, 5);
        data.chunks_exact_mut(DIM).for_each(|row| metric.prepare(row));
        let (base, queries) = data.split_at(N * DIM);
        let rows = || FloatRows::new(base, DIM, metric);
        let recall = |trees: usize, leaves| {
            let spec = format!("forest{trees}").parse().unwrap();
            let index = Index::build(&spec, rows(), &BuildOptions::default()).unwrap();
            let options = SearchOptions { effort: leaves, ..SearchOptions::default() };
            let found = |query: &[f32]| {
                let truth = Flat::new(N).search(&rows(), query, &SearchOptions::default());
                let hits = index.search(query, &options).unwrap().hits;
                truth.iter().filter(|t| hits.iter().any(|hit| hit.row == t.row)).count()
            };
            queries.chunks_exact(DIM).map(found).sum::<usize>()
        };
        let few = recall(4, Effort::Probes(4));
        assert!(few > 50 && few < 490, "{metric}: {few} of 500");
        assert!(recall(16, Effort::Probes(16)) > few, "{metric}");
        let more = recall(4, Effort::Probes(24));
        assert!(more > few, "{metric}: {more} after {few}");
        assert!(recall(4, Effort::Ef(64)) > few, "{metric}");
    }
}

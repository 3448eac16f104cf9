//! Hash tables: which rows meet, and the order in which buckets come.

use std::collections::BTreeMap;

use kvant_testkit::clustered;

use super::hash::Turn;
use super::*;
use crate::sieve::Lists;
use crate::{Effort, Flat, FloatRows, Index};

const DIM: usize = 32;
const N: usize = 6000;
const FAMILIES: [Family; 2] = [Family::Planes, Family::Polytopes];

fn lsh(data: &[f32], options: LshOptions) -> Lsh {
    let building = BuildOptions { threads: 2, seed: 4, ..BuildOptions::default() };
    Lsh::build(&FloatRows::new(data, DIM, Metric::Euclid), options, &building)
}

#[test]
fn every_row_lies_in_every_table_under_its_key() {
    let data = clustered(700, DIM, 1);
    for family in FAMILIES {
        for bits in [1, 7, 11, 24] {
            let lsh = lsh(&data, LshOptions { family, tables: 3, bits });
            for (at, table) in lsh.tables.iter().enumerate() {
                let mut rows = table.rows.clone();
                rows.sort_unstable();
                assert_eq!(rows, (0..700).collect::<Vec<u32>>());
                for row in (0..700).step_by(13) {
                    let mut values = Vec::new();
                    lsh.values((&data[row * DIM..][..DIM], 1.0, 0.0), &mut values);
                    let axes = lsh.digits.all_axes();
                    let key = lsh.digits.key(&values[at * axes..][..axes]);
                    assert!(key >> bits == 0 && table.bucket(key, bits).contains(&(row as u32)));
                }
                let held: usize = (0..1 << bits.min(11)).map(|k| table.bucket(k, bits).len()).sum();
                assert!(bits > 11 || held == 700, "{family:?} {bits}: {held}");
            }
        }
    }
}

#[test]
fn planes_halve_the_rows() {
    let data = clustered(N, DIM, 2);
    let lsh = lsh(&data, LshOptions { family: Family::Planes, tables: 12, bits: 1 });
    for table in &lsh.tables {
        let half = table.bucket(0, 1).len();
        assert!(half.abs_diff(N / 2) < N / 20, "{half} of {N}");
    }
}

/// Near rows share keys far more often than any two.
#[test]
fn near_rows_meet() {
    let mut data = clustered(N, DIM, 3);
    for row in 0..N / 2 {
        // Every second row again, a little off.
        let (from, to) = ((2 * row) * DIM, (2 * row + 1) * DIM);
        data.copy_within(from..from + DIM, to);
        data[to] += 0.01;
    }
    for family in FAMILIES {
        let lsh = lsh(&data, LshOptions { family, tables: 4, bits: 9 });
        let mut met = 0;
        for table in &lsh.tables {
            let mut keys = vec![0; N];
            for (at, &key) in table.keys.iter().enumerate() {
                let rows = table.starts[at] as usize..table.starts[at + 1] as usize;
                for &row in &table.rows[rows] {
                    keys[row as usize] = key;
                }
            }
            met += keys.chunks_exact(2).filter(|pair| pair[0] == pair[1]).count();
        }
        assert!(met > 4 * N / 2 * 9 / 10, "{family:?}: {met}");
    }
}

/// The turns of a key are those that brute force over all keys finds, in their order.
#[test]
fn buckets_come_in_the_order_of_their_costs() {
    let data = clustered(N, DIM, 4);
    for family in FAMILIES {
        // Of every key there is a row, nearly.
        let lsh = lsh(&data, LshOptions { family, tables: 1, bits: 6 });
        let query = &data[..DIM];
        let mut values = Vec::new();
        lsh.values((query, 1.0, 0.0), &mut values);
        let mut turns: Vec<Turn> = Vec::new();
        lsh.digits.turns(&values[..lsh.digits.all_axes()], 63, &mut turns);
        let own = lsh.digits.key(&values[..lsh.digits.all_axes()]);
        let mut costs = BTreeMap::from([(own, 0.0f32)]);
        for turn in &turns {
            for (key, cost) in costs.clone() {
                let free = family == Family::Planes || key == own;
                if free {
                    costs.entry(key ^ turn.flips).or_insert(cost + turn.cost);
                }
            }
        }
        let mut buckets = Buckets::new(&lsh, query);
        let mut before = 0.0;
        let mut count = 0;
        while let Some(rows) = buckets.next() {
            let mut values = Vec::new();
            lsh.values((&data[rows[0] as usize * DIM..][..DIM], 1.0, 0.0), &mut values);
            let cost = costs[&lsh.digits.key(&values[..lsh.digits.all_axes()])];
            assert!(cost >= before * 0.999, "{family:?}: {cost} after {before}");
            assert!(count > 0 || cost == 0.0);
            (before, count) = (cost, count + 1);
        }
        let most = 64;
        assert!(count > most / 2 && count <= most, "{family:?}: {count}");
    }
}

#[test]
fn more_buckets_find_more() {
    for metric in Metric::ALL {
        let mut data = clustered(N + 50, DIM, 5);
        data.chunks_exact_mut(DIM).for_each(|row| metric.prepare(row));
        let (base, queries) = data.split_at(N * DIM);
        let rows = || FloatRows::new(base, DIM, metric);
        for name in ["lsh8x9", "lshcp8x9"] {
            let spec = name.parse().unwrap();
            let index = Index::build(&spec, rows(), &BuildOptions::default()).unwrap();
            let recall = |effort| {
                let options = SearchOptions { effort, ..SearchOptions::default() };
                let found = |query: &[f32]| {
                    let truth = Flat::new(N).search(&rows(), query, &SearchOptions::default());
                    let hits = index.search(query, &options).unwrap().hits;
                    truth.iter().filter(|t| hits.iter().any(|hit| hit.row == t.row)).count()
                };
                queries.chunks_exact(DIM).map(found).sum::<usize>()
            };
            let few = recall(Effort::Probes(2));
            assert!(few < 490, "{name} {metric}: {few} of 500");
            let more = recall(Effort::Probes(64));
            assert!(more > few, "{name} {metric}: {more} after {few}");
            assert!(recall(Effort::Ef(64)) > few, "{name} {metric}");
        }
    }
}

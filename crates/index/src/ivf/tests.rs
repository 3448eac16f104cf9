//! Lists: what lies where, and that ways of searching agree.

use kvant_testkit::clustered;

use super::*;
use crate::{Index, IndexSpec, SearchResult};

const DIM: usize = 32;
const N: usize = 6000;

fn build(data: &[f32], text: &str, options: &BuildOptions<'_>) -> (IndexSpec, Vec<u8>) {
    let spec: IndexSpec = text.parse().unwrap();
    let rows = FloatRows::new(data, DIM, Metric::Euclid);
    (spec, Index::build(&spec, rows, options).unwrap().shape().to_bytes())
}

fn lists(data: &[f32], spill: Spill, balance: Option<f64>) -> Ivf {
    let options = BuildOptions { threads: 2, seed: 4, balance, ..BuildOptions::default() };
    let rows = FloatRows::new(data, DIM, Metric::Euclid);
    Ivf::build(&rows, IvfOptions { lists: 60, spill, align: 32 }, &options)
}

#[test]
fn every_row_lies_in_a_list_and_lists_begin_blocks() {
    let data = clustered(N, DIM, 1);
    for (spill, most) in [(Spill::One, 1), (Spill::Two, 2)] {
        let ivf = lists(&data, spill, None);
        let mut times = vec![0; N];
        for &(first, count) in &ivf.lists {
            assert!(first.is_multiple_of(32) && count > 0);
            let rows = ivf.order.rows(first..first + count);
            assert!(rows.is_sorted());
            for &row in rows {
                times[row as usize] += 1;
            }
        }
        assert!(times.iter().all(|&times| (1..=most).contains(&times)));
        // Nearly every row has a second list, where there is one.
        assert!(times.iter().sum::<usize>() > N * most * 9 / 10);
    }
}

#[test]
fn balanced_lists_keep_their_bound() {
    let data = clustered(N, DIM, 2);
    let sizes = |balance| {
        let ivf = lists(&data, Spill::One, balance);
        ivf.lists.iter().map(|&(_, count)| count).max().unwrap_or(0)
    };
    assert!(sizes(Some(1.3)) <= (N as f64 / 60.0 * 1.3) as u32);
    assert!(sizes(None) > sizes(Some(1.3)));
}

#[test]
fn rows_seen_twice_are_told_once() {
    let data = clustered(N, DIM, 3);
    let rows = || FloatRows::new(&data, DIM, Metric::Euclid);
    for text in ["ivf60x2,pq", "ivf60x2,f32", "ivf60x2,rq8", "ivf60x2,pq,rerank32"] {
        let spec: IndexSpec = text.parse().unwrap();
        let index = Index::build(&spec, rows(), &BuildOptions::default()).unwrap();
        for k in [1, 30, 300] {
            let options = SearchOptions { k, effort: Effort::Probes(10), ..Default::default() };
            let hits = index.search(&data[..DIM], &options).unwrap().hits;
            let mut found: Vec<u32> = hits.iter().map(|hit| hit.row.0).collect();
            found.sort_unstable();
            found.dedup();
            assert_eq!(found.len(), k, "{text}");
        }
    }
}

/// More queries than share a list, through all ways of searching many.
#[test]
fn groups_of_queries_find_what_each_finds() {
    let data = clustered(N, DIM, 4);
    let (base, queries) = data.split_at((N - 700) * DIM);
    for text in ["ivf60,pq,rerank32", "ivf60x2,pq", "ivf60,rq4", "ivf60"] {
        let spec: IndexSpec = text.parse().unwrap();
        let rows = FloatRows::new(base, DIM, Metric::Euclid);
        let index = Index::build(&spec, rows, &BuildOptions::default()).unwrap();
        for effort in [Effort::Default, Effort::Probes(1), Effort::Probes(5)] {
            for k in [5, 150] {
                let options = SearchOptions { k, effort, ..SearchOptions::default() };
                let each = queries.chunks_exact(DIM).map(|q| index.search(q, &options).unwrap());
                let each: Vec<SearchResult> = each.collect();
                for threads in [1, 2] {
                    let all = index.search_batch(queries, &options, threads).unwrap();
                    assert!(all == each, "{text} {effort:?} {k} {threads}");
                }
            }
        }
    }
}

#[test]
fn more_lists_find_more() {
    let data = clustered(N, DIM, 5);
    let (base, queries) = data.split_at((N - 50) * DIM);
    let rows = || FloatRows::new(base, DIM, Metric::Euclid);
    let flat = Index::build(&"flat".parse().unwrap(), rows(), &BuildOptions::default()).unwrap();
    let spec: IndexSpec = "ivf100,pq,rerank32".parse().unwrap();
    let index = Index::build(&spec, rows(), &BuildOptions::default()).unwrap();
    let mut before = 0;
    for lists in [1, 4, 16, 64] {
        let options = SearchOptions { effort: Effort::Probes(lists), ..SearchOptions::default() };
        let found = |query: &[f32]| {
            let truth = flat.search(query, &SearchOptions::default()).unwrap().hits;
            let hits = index.search(query, &options).unwrap().hits;
            truth.iter().filter(|t| hits.iter().any(|hit| hit.row == t.row)).count()
        };
        let sum: usize = queries.chunks_exact(DIM).map(found).sum();
        assert!(sum >= before, "{lists}: {sum} after {before}");
        before = sum;
    }
    assert!(before > 490, "{before} of 500");
}

#[test]
fn one_seed_gives_one_shape() {
    let data = clustered(N, DIM, 6);
    for text in ["ivf50,pq", "ivf50x2,pq16"] {
        let bytes = |seed, threads| {
            build(&data, text, &BuildOptions { seed, threads, ..BuildOptions::default() })
        };
        let one = bytes(1, 1);
        assert!(bytes(1, 2) == one && bytes(1, 3) == one, "{text}");
        assert!(bytes(2, 1) != one, "{text}");
    }
}

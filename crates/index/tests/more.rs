//! Searches that go on, and searches by several vectors.

use std::collections::BTreeSet;

use kvant_index::{
    Among, Bitmap, BuildOptions, Certainty, Effort, FloatRows, Hit, Index, Metric, Row,
    SearchError, SearchOptions,
};
use kvant_testkit::clustered;

const DIM: usize = 16;
const N: usize = 3000;
const SPECS: [&str; 5] = ["flat", "hnsw8", "hnsw8,rq4,rerank32", "ivf,pq,rerank32", "flat,bound4"];

fn data() -> Vec<f32> {
    clustered(N + 20, DIM, 11)
}

fn index<'a>(spec: &str, data: &'a [f32]) -> Result<Index<'a>, Box<dyn std::error::Error>> {
    let rows = FloatRows::new(&data[..N * DIM], DIM, Metric::Euclid);
    Ok(Index::build(&spec.parse()?, rows, &BuildOptions::default())?)
}

fn queries(data: &[f32]) -> impl Iterator<Item = &[f32]> {
    data[N * DIM..].chunks_exact(DIM)
}

#[test]
fn going_on_gives_every_row_once_and_first_what_a_search_gives() {
    let data = data();
    for spec in SPECS {
        let index = index(spec, &data).unwrap();
        for query in queries(&data).take(3) {
            let options = SearchOptions { k: 7, ..SearchOptions::default() };
            let first = index.search(query, &options).unwrap().hits;
            let all: Vec<Hit> = index.resume(query, &options).unwrap().collect();
            assert_eq!(all[..7], first, "{spec}");
            let rows: BTreeSet<Row> = all.iter().map(|hit| hit.row).collect();
            assert_eq!((all.len(), rows.len()), (N, N), "{spec}");
            // Of the first three hundred nearly all are the true ones.
            let wanted = SearchOptions { k: 300, effort: Effort::Exact, ..options };
            let truth = index.search(query, &wanted).unwrap().hits;
            let near = all[..300].iter().filter(|hit| hit.distance <= truth[299].distance);
            assert!(near.clone().count() >= 285, "{spec}: {}", near.count());
            let mut odd = Bitmap::new(N);
            for row in (1..200).step_by(2) {
                odd.insert(Row(row));
            }
            let options = SearchOptions { allowed: Some(&odd), ..options };
            let some: Vec<Row> =
                index.resume(query, &options).unwrap().map(|hit| hit.row).collect();
            assert_eq!(some.len(), 100, "{spec}");
            assert!(some.iter().all(|&row| odd.contains(row)), "{spec}");
        }
        assert!(index.resume(&[0.0; 3], &SearchOptions::default()).is_err());
    }
}

#[test]
fn several_vectors_find_what_is_near_any_or_all_of_them() {
    let data = data();
    let rows = FloatRows::new(&data[..N * DIM], DIM, Metric::Euclid);
    let some: Vec<&[f32]> = queries(&data).take(4).collect();
    let distance = |query: &[f32], row: u32| {
        let pairs = query.iter().zip(rows.vector(Row(row)));
        pairs.map(|(a, b)| f64::from(a - b) * f64::from(a - b)).sum::<f64>()
    };
    for spec in SPECS {
        let index = index(spec, &data).unwrap();
        for among in [Among::Nearest, Among::Sum] {
            let far = |row: u32| {
                let each = some.iter().map(|query| distance(query, row));
                if among == Among::Sum { each.sum() } else { each.fold(f64::INFINITY, f64::min) }
            };
            let mut truth: Vec<f64> = (0..N as u32).map(far).collect();
            let exact = SearchOptions { effort: Effort::Exact, ..SearchOptions::default() };
            let found = index.search_several(&some, among, &exact).unwrap();
            for hit in &found.hits {
                let own = truth[hit.row.position()];
                assert!((f64::from(hit.distance) - own).abs() < 1e-3 * own.max(1.0), "{spec}");
            }
            truth.sort_unstable_by(f64::total_cmp);
            assert_eq!((found.hits.len(), found.certainty), (10, Certainty::Exact), "{spec}");
            for (hit, expected) in found.hits.iter().zip(&truth) {
                let off = (f64::from(hit.distance) - expected).abs();
                assert!(off < 1e-3 * expected.max(1.0), "{spec}: {hit:?}, in truth {expected}");
            }
            let usual = index.search_several(&some, among, &SearchOptions::default()).unwrap();
            assert_eq!(usual.hits.len(), 10);
            if among == Among::Nearest {
                let near = usual.hits.iter().filter(|hit| found.hits.contains(hit)).count();
                assert!(near >= 9, "{spec}: {near} of 10");
            }
        }
        let none = index.search_several(&[], Among::Sum, &SearchOptions::default());
        assert_eq!(none, Err(SearchError::Dimension { expected: DIM, got: 0 }));
        let zero = SearchOptions { k: 0, ..SearchOptions::default() };
        assert_eq!(index.search_several(&some, Among::Sum, &zero), Err(SearchError::Nothing));
    }
}

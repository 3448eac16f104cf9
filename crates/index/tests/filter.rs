//! Searches among few and among many allowed rows, near the query and far from it.

use kvant_index::{
    Bitmap, BuildOptions, Effort, FloatRows, Index, Metric, Row, SearchError, SearchOptions, Spec,
};
use kvant_testkit::{Random, clustered};

const ROWS: usize = 20_000;
const DIM: usize = 32;
const QUERIES: usize = 40;
const K: usize = 10;

/// `count` of the rows in `order`.
fn first(order: &[Row], count: usize) -> Bitmap {
    let mut allowed = Bitmap::new(ROWS);
    for &row in &order[..count] {
        allowed.insert(row);
    }
    allowed
}

/// The share of the true neighbours that a search finds; all it gives is allowed and enough.
fn recall(
    index: &Index<'_>,
    queries: &[f32],
    (effort, allowed): (Effort, &Bitmap),
) -> Result<f64, SearchError> {
    let options =
        SearchOptions { k: K, effort, allowed: Some(allowed), ..SearchOptions::default() };
    let mut found = 0;
    let mut wanted = 0;
    for query in queries.chunks_exact(DIM) {
        let exact = SearchOptions { effort: Effort::Exact, ..options };
        let truth = index.search(query, &exact)?.hits;
        let hits = index.search(query, &options)?.hits;
        assert_eq!(hits.len(), K.min(allowed.count()));
        assert!(hits.iter().all(|hit| allowed.contains(hit.row)));
        found += hits.iter().filter(|hit| truth.contains(hit)).count();
        wanted += truth.len();
    }
    Ok(found as f64 / wanted as f64)
}

#[test]
fn every_share_of_allowed_rows_is_searched_well() {
    let mut data = clustered(ROWS + QUERIES, DIM, 5);
    let queries = data.split_off(ROWS * DIM);
    let indexes: Vec<Index<'_>> = ["hnsw,int8", "forest,int8", "lsh,int8", "lshcp,int8", "qg,int8"]
        .into_iter()
        .map(|spec| {
            let rows = FloatRows::new(&data, DIM, Metric::Euclid);
            let options = BuildOptions { threads: 2, ..BuildOptions::default() };
            Index::build(&spec.parse().unwrap(), rows, &options).unwrap()
        })
        .collect();
    let mut drawn: Vec<Row> = (0..ROWS as u32).map(Row).collect();
    let mut random = Random::new(3);
    (1..ROWS).rev().for_each(|at| drawn.swap(at, random.below(at + 1)));
    let every = SearchOptions { k: ROWS, effort: Effort::Exact, ..SearchOptions::default() };
    let hits = indexes[0].search(&queries[..DIM], &every).unwrap().hits;
    let near: Vec<Row> = hits.iter().map(|hit| hit.row).collect();
    let far: Vec<Row> = near.iter().rev().copied().collect();
    for index in &indexes {
        for (name, order) in [("drawn", &drawn), ("near", &near), ("far", &far)] {
            for per_mille in [1, 5, 10, 30, 50, 100, 300, 500, 700, 900] {
                let allowed = first(order, ROWS * per_mille / 1000);
                // Walks of the first effort are mostly scans, those of the second begin with a
                // third of the rows; other shapes have an effort of their own.
                let hnsw = matches!(index.spec().shape, Spec::Hnsw { .. });
                for effort in
                    [Effort::Default, Effort::Ef(24)].into_iter().take(1 + usize::from(hnsw))
                {
                    let recall = recall(index, &queries, (effort, &allowed)).unwrap();
                    let name = format!("{}: {per_mille} of 1000 {name}, {effort:?}", index.spec());
                    assert!(recall >= 0.95, "{name}: {recall}");
                }
            }
        }
    }
}

/// A walk among allowed rows is cut short as any other, and never returns another row.
#[test]
fn a_narrow_walk_ends_with_its_budget() {
    let mut data = clustered(ROWS + 1, DIM, 6);
    let query = data.split_off(ROWS * DIM);
    let rows = FloatRows::new(&data, DIM, Metric::Euclid);
    let index =
        Index::build(&"hnsw4,f32".parse().unwrap(), rows, &BuildOptions::default()).unwrap();
    let allowed = first(&(0..ROWS as u32).map(Row).collect::<Vec<_>>(), ROWS / 2);
    for distances in [0, 1, 10, 100] {
        let mut options = SearchOptions { k: 5, allowed: Some(&allowed), ..Default::default() };
        options.effort = Effort::Ef(10);
        options.budget.distances = Some(distances);
        let result = index.search(&query, &options).unwrap();
        assert!(result.hits.iter().all(|hit| allowed.contains(hit.row)));
        assert_eq!(result.certainty, kvant_index::Certainty::Truncated, "{distances}");
    }
}

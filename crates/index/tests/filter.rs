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

/// Rows of a filter: drawn, nearest to where the queries are, farthest from there.
fn orders(data: &[f32], queries: &[f32], dim: usize) -> [(&'static str, Vec<Row>); 3] {
    let n = data.len() / dim;
    let mut drawn: Vec<Row> = (0..n as u32).map(Row).collect();
    let mut random = Random::new(3);
    (1..n).rev().for_each(|at| drawn.swap(at, random.below(at + 1)));
    let near = by_distance(data, &mean(queries, dim));
    let far = near.iter().rev().copied().collect();
    [("drawn", drawn), ("near", near), ("far", far)]
}

fn mean(vectors: &[f32], dim: usize) -> Vec<f32> {
    let mut mean = vec![0.0; dim];
    for vector in vectors.chunks_exact(dim) {
        mean.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x * dim as f32);
    }
    mean.iter().map(|sum| sum / vectors.len() as f32).collect()
}

fn by_distance(data: &[f32], query: &[f32]) -> Vec<Row> {
    let distance =
        |row: &[f32]| -> f32 { row.iter().zip(query).map(|(x, q)| (x - q).powi(2)).sum() };
    let mut rows: Vec<(f32, u32)> = data.chunks_exact(query.len()).map(distance).zip(0..).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows.into_iter().map(|(_, row)| Row(row)).collect()
}

/// Codes that find by estimates, coarse ones among them, and measure again. Far rows differ by less
/// than such codes are off: of the farthest tenth four candidates for each row wanted held 0.79 of
/// the neighbours by product codes, 0.57 by shorter ones and 0.89 by single bits.
#[test]
fn what_measures_again_finds_near_and_far() {
    const WIDE: usize = 96;
    let mut data = clustered(ROWS + 50 * QUERIES, WIDE, 5);
    let queries = data.split_off(ROWS * WIDE);
    // Queries that are near one another: what is far from one is far from all.
    let group = by_distance(&queries, &queries[..WIDE]);
    let near_one = |row: &Row| queries[row.position() * WIDE..][..WIDE].to_vec();
    let queries: Vec<f32> = group.iter().take(QUERIES).flat_map(near_one).collect();
    let build = |spec: &str| {
        let rows = FloatRows::new(&data, WIDE, Metric::Euclid);
        let options = BuildOptions { threads: 2, ..BuildOptions::default() };
        Index::build(&spec.parse().unwrap(), rows, &options).unwrap()
    };
    let flat = build("flat");
    let specs = [
        "flat,pq,rerank8",
        "flat,rq1,rerank16",
        "ivf,pq,rerank8",
        "ivf,pq24,rerank16",
        "ivf,rq1,rerank32",
        "ivfx2,opq,rerank8",
        "ivf,rq2,rerank8",
        "hnsw,rq4,rerank16",
        "hnsw,rq1,rerank8",
        "qg,rq2,rerank32",
        "forest,pq,rerank8",
        "forest,rq1,rerank32",
        "lsh,rq2,rerank16",
        "lshcp,pq,rerank8",
    ];
    let indexes: Vec<Index<'_>> = specs.into_iter().map(build).collect();
    for (name, order) in orders(&data, &queries, WIDE) {
        for per_mille in [1, 10, 100, 500, 900] {
            let allowed = first(&order, ROWS * per_mille / 1000);
            let options =
                SearchOptions { k: K, allowed: Some(&allowed), ..SearchOptions::default() };
            let every = SearchOptions { effort: Effort::Exact, ..options };
            let truth = flat.search_batch(&queries, &every, 2).unwrap();
            for index in &indexes {
                let found = index.search_batch(&queries, &options, 2).unwrap();
                let (mut hits, mut wanted) = (0, 0);
                for (found, truth) in found.iter().zip(&truth) {
                    assert_eq!(found.hits.len(), K.min(allowed.count()));
                    let rows: Vec<Row> = truth.hits.iter().map(|hit| hit.row).collect();
                    hits += found.hits.iter().filter(|hit| rows.contains(&hit.row)).count();
                    wanted += rows.len();
                }
                let recall = hits as f64 / wanted as f64;
                let name = format!("{}: {per_mille} of 1000 {name}", index.spec());
                assert!(recall >= 0.95, "{name}: {recall}");
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

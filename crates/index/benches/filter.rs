//! Recall and speed of searches with a filter, one query a call on one thread.
//!
//! `cargo bench -p kvant-index --bench filter -- FOLDER METRIC SPEC…`, where FOLDER holds
//! `base.npy` in f32 and a SPEC may be `auto`. Every sixtieth row is taken out of the base and is
//! a query; with `KVANT_QUERIES=own` they are the first thousand of its `queries.npy`. Filters
//! allow a share of the rows: drawn at random, nearest to the mean of the 200 queries nearest to
//! the first one, or farthest from it; then these alone are asked. `KVANT_EFFORTS` are further
//! efforts to try, for each filter, beside the default one; `KVANT_CELL` is how the name of a
//! filter begins. In the last filter a predicate is asked of every row within the time of each
//! search.

mod npy;

use std::time::Instant;

use kvant_index::{
    Bitmap, BuildOptions, Effort, FloatRows, Index, Metric, Plan, PlanOptions, Row, SearchOptions,
    Spec,
};
use kvant_testkit::Random;
use npy::floats;

const QUERIES: usize = 1000;
const GROUP: usize = 200;
const K: usize = 10;
const REPEATS: usize = 3;
const PER_MILLE: [usize; 7] = [1, 10, 50, 100, 250, 500, 900];

/// Rows, queries and dimensions.
type Vectors = (Vec<f32>, Vec<f32>, usize);

#[derive(Clone, Debug)]
struct Cell {
    name: String,
    allowed: Bitmap,
    /// Numbers of the rows below which this allows them, if it is asked in every search.
    below: Option<(Vec<u32>, u32)>,
    queries: Vec<f32>,
    truth: Vec<Vec<u32>>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let folder = args.next().ok_or("say which folder holds base.npy")?;
    let metric: Metric = args.next().ok_or("say which metric")?.parse()?;
    let (base, queries, dim) = vectors(&folder, metric)?;
    let rows = || FloatRows::new(&base, dim, metric);
    println!("{} x {dim} {metric}, {} queries", base.len() / dim, queries.len() / dim);
    let cells = cells(&base, &queries, (dim, metric))?;
    for spec in args {
        let build = BuildOptions { threads: 2, ..BuildOptions::default() };
        let index = if spec == "auto" {
            let options = PlanOptions { build, ..PlanOptions::default() };
            Plan::auto(&rows(), &options)?.build(rows(), &build)?
        } else {
            Index::build(&spec.parse()?, rows(), &build)?
        };
        println!("\n{spec}: {}, {:?}", index.spec(), index.tuning());
        let walked = matches!(index.spec().shape, Spec::Hnsw { .. } | Spec::Qg { .. });
        let given = std::env::var("KVANT_EFFORTS").unwrap_or_default();
        let given = given.split(',').filter_map(|text| text.parse().ok());
        let given = given.map(|n| if walked { Effort::Ef(n) } else { Effort::Probes(n) });
        let efforts: Vec<Effort> = [Effort::Default].into_iter().chain(given).collect();
        let named = std::env::var("KVANT_CELL").unwrap_or_default();
        for cell in cells.iter().filter(|cell| cell.name.starts_with(&named)) {
            let found: Vec<String> = efforts
                .iter()
                .map(|&effort| {
                    let (recall, qps) = measure(&index, cell, effort);
                    format!("{recall:.4} {qps:>7.0}/s")
                })
                .collect();
            println!("  {:<12} {}", cell.name, found.join("   "));
        }
    }
    Ok(())
}

/// Recall and queries a second, best of several runs.
fn measure(index: &Index<'_>, cell: &Cell, effort: Effort) -> (f64, f64) {
    let (mut hits, mut best) = (0, f64::INFINITY);
    for _ in 0..REPEATS {
        hits = 0;
        let mut seconds = 0.0;
        for (query, truth) in cell.queries.chunks_exact(index.dim()).zip(&cell.truth) {
            let start = Instant::now();
            let asked = cell.below.as_ref().map(|(column, below)| {
                Bitmap::of(column.len(), |row| column[row.position()] < *below)
            });
            let allowed = Some(asked.as_ref().unwrap_or(&cell.allowed));
            let options = SearchOptions { k: K, effort, allowed, ..SearchOptions::default() };
            let found = index.search(query, &options);
            seconds += start.elapsed().as_secs_f64();
            let found = found.map(|found| found.hits).unwrap_or_default();
            hits += found.iter().filter(|hit| truth.contains(&hit.row.0)).count();
        }
        best = best.min(seconds);
    }
    let wanted: usize = cell.truth.iter().map(Vec::len).sum();
    (hits as f64 / wanted as f64, cell.truth.len() as f64 / best)
}

/// Every share drawn, near and far.
fn cells(
    base: &[f32],
    queries: &[f32],
    (dim, metric): (usize, Metric),
) -> Result<Vec<Cell>, Box<dyn std::error::Error>> {
    let (build, n) = (BuildOptions::default(), base.len() / dim);
    let order = |data: &[f32], query: &[f32]| -> Result<Vec<Row>, Box<dyn std::error::Error>> {
        let index = Index::build(&"flat".parse()?, FloatRows::new(data, dim, metric), &build)?;
        let k = data.len() / dim;
        let options = SearchOptions { k, effort: Effort::Exact, ..SearchOptions::default() };
        Ok(index.search(query, &options)?.hits.iter().map(|hit| hit.row).collect())
    };
    let group = order(queries, &queries[..dim])?;
    let group: Vec<f32> = group
        .iter()
        .take(GROUP)
        .flat_map(|row| queries[row.position() * dim..][..dim].iter().copied())
        .collect();
    let mut mean = vec![0.0; dim];
    for query in group.chunks_exact(dim) {
        mean.iter_mut().zip(query).for_each(|(sum, x)| *sum += x);
    }
    for sum in &mut mean {
        *sum /= (group.len() / dim) as f32;
    }
    let near = order(base, &mean)?;
    let far: Vec<Row> = near.iter().rev().copied().collect();
    let mut drawn: Vec<Row> = (0..n as u32).map(Row).collect();
    let mut random = Random::new(2);
    (1..n).rev().for_each(|at| drawn.swap(at, random.below(at + 1)));
    let exact = Index::build(&"flat".parse()?, FloatRows::new(base, dim, metric), &build)?;
    let mut cells = Vec::new();
    for (name, order, queries) in
        [("drawn", &drawn, queries), ("near", &near, &group), ("far", &far, &group)]
    {
        for per_mille in PER_MILLE {
            let mut allowed = Bitmap::new(n);
            order.iter().take(n * per_mille / 1000).for_each(|&row| {
                allowed.insert(row);
            });
            let options = SearchOptions {
                k: K,
                effort: Effort::Exact,
                allowed: Some(&allowed),
                ..SearchOptions::default()
            };
            let found = exact.search_batch(queries, &options, 2)?;
            let rows = found.iter().map(|found| found.hits.iter().map(|hit| hit.row.0).collect());
            let truth = rows.collect();
            let name = format!("{name} {:.1} %", per_mille as f64 / 10.0);
            cells.push(Cell { name, allowed, below: None, queries: queries.to_vec(), truth });
        }
    }
    let drawn = cells.iter().find(|cell| cell.name == "drawn 1.0 %").cloned();
    cells.extend(drawn.map(|cell| {
        let number = |row: Row| if cell.allowed.contains(row) { 0 } else { 100 } + row.0 % 100;
        let column = (0..n as u32).map(|row| number(Row(row))).collect();
        Cell { name: "asked 1.0 %".into(), below: Some((column, 100)), ..cell }
    }));
    Ok(cells)
}

fn vectors(folder: &str, metric: Metric) -> Result<Vectors, Box<dyn std::error::Error>> {
    let (all, dim) = floats(&format!("{folder}/base.npy"))?;
    let (mut base, mut queries) = (Vec::new(), Vec::new());
    if std::env::var("KVANT_QUERIES").is_ok_and(|what| what == "own") {
        (base, queries) = (all, floats(&format!("{folder}/queries.npy"))?.0);
        queries.truncate(QUERIES * dim);
    } else {
        let every = all.len() / dim / QUERIES;
        for (at, row) in all.chunks_exact(dim).enumerate() {
            let to = if at % every == 0 { &mut queries } else { &mut base };
            to.extend_from_slice(row);
        }
    }
    for vector in base.chunks_exact_mut(dim).chain(queries.chunks_exact_mut(dim)) {
        metric.prepare(vector);
    }
    Ok((base, queries, dim))
}

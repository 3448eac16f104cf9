//! Searches of sparse rows: lists beside scans of every row, all rows and some.
//!
//! `cargo bench -p kvant-index --bench sparse -- TEXTS [queries 3000] [k 10]`, where TEXTS has a
//! text a line; the first ones are the queries. Words are runs of letters and digits in lower
//! case, each a dimension; values are those of BM25, queries are weighed by idf. Then rows of 120
//! values and queries of 30, as learned weights have them, drawn at random. One thread.

use std::collections::HashMap;
use std::time::Instant;

use kvant_index::{
    Bitmap, Flat, Inverted, Row, Rows, SearchOptions, SearchResult, Sparse, SparseRows, idf,
};

/// Parameters of BM25.
const K1: f32 = 1.2;
const B: f32 = 0.75;
/// Rows that are still in memory as they came.
const GROWING: usize = 20_000;
const REPEATS: usize = 3;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let path = args.next().ok_or("say which file holds the texts")?;
    let count = args.next().map_or(Ok(3000), |arg| arg.parse())?;
    let k = args.next().map_or(Ok(10), |arg| arg.parse())?;
    let text = std::fs::read_to_string(&path)?;
    let lines: Vec<&str> = text.lines().collect();
    let (queries, texts) = lines.split_at(count);
    let rows = bm25(texts);
    let queries: Vec<Sparse> = queries
        .iter()
        .map(|text| {
            let mut words: Vec<(u32, f32)> = words(text).map(|word| (word, 1.0)).collect();
            words.sort_unstable_by_key(|word| word.0);
            words.dedup_by_key(|word| word.0);
            Sparse::new(words).unwrap_or_default()
        })
        .collect();
    println!("BM25 of {path}");
    compare(&rows, &queries, k)?;
    let mut state = 7;
    let rows: SparseRows = (0..texts.len()).map(|_| learned(&mut state, 120)).collect();
    let queries: Vec<Sparse> = (0..count / 10).map(|_| learned(&mut state, 30)).collect();
    println!("drawn at random, 120 values a row");
    compare(&rows, &queries, k)
}

fn compare(rows: &SparseRows, queries: &[Sparse], k: usize) -> Outcome {
    let len = rows.len();
    let start = Instant::now();
    let inverted = Inverted::build(rows);
    let built = start.elapsed().as_secs_f64();
    let bytes = inverted.to_bytes().len();
    println!(
        "{len} rows, {} values in {} dimensions: built in {built:.2} s, {:.1} bytes a value",
        inverted.values(),
        inverted.dimensions(),
        bytes as f64 / inverted.values() as f64
    );
    let weighted = queries
        .iter()
        .map(|query| {
            let counts = inverted.frequencies(query.indices(), None)?;
            let factor = |index: u32| {
                let at = query.indices().binary_search(&index).unwrap_or(0);
                idf(len, counts[at])
            };
            Ok(query.weighted(factor).unwrap_or_default())
        })
        .collect::<Result<Vec<Sparse>, kvant_index::SearchError>>()?;
    let mean = weighted.iter().map(|query| query.indices().len()).sum::<usize>();
    println!("{} queries of {:.1} values", queries.len(), mean as f64 / queries.len() as f64);
    for one_in in [1, 10, 100, 1000] {
        let allowed = Bitmap::of(len, |row| row.0 % one_in == 0);
        let allowed = Some(&allowed).filter(|_| one_in > 1);
        let options = SearchOptions { k, allowed, ..SearchOptions::default() };
        let lists = timed(&weighted, |query| inverted.search(query, &options))?;
        let few = &weighted[..weighted.len().min(100)];
        let scan = timed(few, |query| rows.search(query, &options))?;
        let same = few.iter().all(|query| {
            let found = (inverted.search(query, &options), rows.search(query, &options));
            matches!(found, (Ok(a), Ok(b)) if a.hits == b.hits)
        });
        println!(
            "1 in {one_in}: lists {:.0} µs, scan {:.0} µs a query, same answers: {same}",
            lists * 1e6,
            scan * 1e6
        );
    }
    let options = SearchOptions { k, ..SearchOptions::default() };
    let flat = Flat::new(len);
    let merged = timed(&weighted[..weighted.len().min(100)], |query| {
        let hits = flat.search(rows, query, &options);
        Ok(SearchResult { hits, certainty: kvant_index::Certainty::Exact })
    })?;
    let growing: SparseRows = (0..GROWING.min(len) as u32).map(|row| sparse(rows, row)).collect();
    let grown = timed(&weighted, |query| growing.search(query, &options))?;
    println!(
        "row by row {:.0} µs; {GROWING} rows as they came {:.0} µs a query",
        merged * 1e6,
        grown * 1e6
    );
    Ok(())
}

fn sparse(rows: &SparseRows, row: u32) -> Sparse {
    let (indices, values) = rows.row(Row(row));
    Sparse::new(indices.iter().copied().zip(values.iter().copied()).collect()).unwrap_or_default()
}

/// Seconds a query, the best of several runs.
fn timed(
    queries: &[Sparse],
    search: impl Fn(&Sparse) -> Result<SearchResult, kvant_index::SearchError>,
) -> Result<f64, kvant_index::SearchError> {
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        let start = Instant::now();
        for query in queries {
            std::hint::black_box(search(query)?);
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best / queries.len() as f64)
}

/// The words of a text by a hash (FNV-1a).
fn words(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(|word| {
        word.chars()
            .flat_map(char::to_lowercase)
            .fold(0x811C_9DC5, |hash: u32, c| (hash ^ c as u32).wrapping_mul(0x0100_0193))
    })
}

fn bm25(texts: &[&str]) -> SparseRows {
    let counts: Vec<HashMap<u32, f32>> = texts
        .iter()
        .map(|text| {
            let mut counts = HashMap::new();
            words(text).for_each(|word| *counts.entry(word).or_insert(0.0) += 1.0);
            counts
        })
        .collect();
    let length = |counts: &HashMap<u32, f32>| counts.values().sum::<f32>();
    let mean = counts.iter().map(length).sum::<f32>() / counts.len().max(1) as f32;
    counts
        .iter()
        .map(|counts| {
            let scale = K1 * (1.0 - B + B * length(counts) / mean);
            let value = |(&word, &tf): (&u32, &f32)| (word, tf * (K1 + 1.0) / (tf + scale));
            Sparse::new(counts.iter().map(value).collect()).unwrap_or_default()
        })
        .collect()
}

/// Values at `count` of 30,000 dimensions, the first ones more often.
fn learned(state: &mut u64, count: usize) -> Sparse {
    let mut unit = || {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 40) as f32 / (1u64 << 24) as f32
    };
    let mut pairs: Vec<(u32, f32)> = (0..count)
        .map(|_| {
            let at = (30_000.0 * unit().powi(3)) as u32;
            (at, 0.05 + 2.5 * unit().powi(3))
        })
        .collect();
    pairs.sort_unstable_by_key(|pair| pair.0);
    pairs.dedup_by_key(|pair| pair.0);
    Sparse::new(pairs).unwrap_or_default()
}

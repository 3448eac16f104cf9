//! The vector library alone: a shape over rows, no database, no files.

use kvant_index::{AnyShape, Bitmap, BuildOptions, FloatRows, Metric, SearchOptions, Spec};

fn main() -> anyhow::Result<()> {
    let (n, dim) = (2_000, 16);
    let metric = Metric::Cosine;

    // Points on a slow spiral: neighbours in number are neighbours in space.
    let mut data: Vec<f32> =
        (0..n * dim).map(|at| ((at / dim) as f32 * 0.003 * (1 + at % dim) as f32).cos()).collect();
    data.chunks_exact_mut(dim).for_each(|row| metric.prepare(row));
    let rows = FloatRows::new(&data, dim, metric);

    let spec: Spec = "hnsw".parse()?;
    let index = AnyShape::build(&spec, &rows, &BuildOptions { threads: 2, ..Default::default() });

    let query = &data[700 * dim..701 * dim];
    let hits = index.search(&rows, query, &SearchOptions { k: 5, ..Default::default() });
    println!("nearest to row 700: {:?}", hits.iter().map(|hit| hit.row.0).collect::<Vec<_>>());
    anyhow::ensure!(hits[0].row.0 == 700, "a row is its own nearest neighbour");

    // A filter is a set of allowed rows, tested inside the search: never fewer than k results.
    let mut even = Bitmap::new(n);
    for row in (0..n).step_by(2) {
        even.insert(kvant_index::Row(row as u32));
    }
    let options = SearchOptions { k: 5, allowed: Some(&even), ..Default::default() };
    let hits = index.search(&rows, query, &options);
    println!("among even rows:    {:?}", hits.iter().map(|hit| hit.row.0).collect::<Vec<_>>());
    anyhow::ensure!(hits.len() == 5 && hits.iter().all(|hit| hit.row.0 % 2 == 0), "filter kept");
    Ok(())
}

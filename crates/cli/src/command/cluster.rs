//! `kvant cluster --base FILE --k K`.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use anyhow::{bail, ensure};
use kvant_db::source::{Fields, Format, Source, npy};
use kvant_index::{FloatRows, Iteration, KmeansOptions, Metric, kmeans, silhouette};
use serde::Serialize;

use crate::args::Cluster;
use crate::place;
use crate::print::{self, Lean, Table};
use crate::progress::{Audience, Progress, Unit};

/// What `--json` prints.
#[derive(Serialize)]
struct Clustered<'a> {
    /// The file of vectors, how many and how long they are.
    base: &'a Path,
    rows: usize,
    dim: usize,
    k: usize,
    /// `l2` or `cos`.
    metric: &'static str,
    /// The sum of (squared) distances to the centroids, and its part for one vector.
    inertia: f64,
    mean_distance: f64,
    /// Iterations done.
    iterations: usize,
    /// The inertia of each iteration.
    history: &'a [f64],
    sizes: Sizes,
    /// Of a sample; missing where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    silhouette: Option<f64>,
    /// Time of clustering alone.
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assign: Option<&'a Path>,
}

/// How many vectors clusters have.
#[derive(Serialize)]
struct Sizes {
    least: u32,
    median: u32,
    most: u32,
    mean: f64,
}

impl Sizes {
    fn of(sizes: &[u32]) -> Self {
        let mut sorted = sizes.to_vec();
        sorted.sort_unstable();
        let at = |place: usize| sorted.get(place).copied().unwrap_or(0);
        let sum: u64 = sorted.iter().map(|&size| u64::from(size)).sum();
        let mean = sum as f64 / sorted.len().max(1) as f64;
        let (median, most) = (at(sorted.len() / 2), at(sorted.len().saturating_sub(1)));
        Self { least: at(0), median, most, mean }
    }
}

pub(super) fn run(args: &Cluster) -> anyhow::Result<()> {
    let audience = Audience::of(args.json);
    for path in [&args.out, &args.assign].into_iter().flatten() {
        let npy = Format::of(path) == Some(Format::Npy);
        ensure!(npy, "{}: clusters are written as .npy", path.display());
        place::new_file(path)?;
    }
    let (mut data, dim) = read(&args.base, audience)?;
    data.chunks_exact_mut(dim).for_each(|row| args.metric.prepare(row));
    let rows = FloatRows::new(&data, dim, args.metric);
    let bar = Progress::new("clustering", Some(args.iterations as u64), Unit::Items, audience);
    let watch = |step: &Iteration| {
        bar.advance(1);
        bar.say(&format!("clustering, inertia {:.5e}", step.inertia));
        ControlFlow::Continue(())
    };
    let options = KmeansOptions {
        iterations: args.iterations,
        batch: args.batch,
        seed: args.seed,
        threads: args.threads.get(),
        balance: args.balanced,
        watch: Some(&watch),
        ..KmeansOptions::default()
    };
    let began = Instant::now();
    let found = kmeans(&rows, args.k, &options)?;
    let seconds = began.elapsed().as_secs_f64();
    drop(bar);
    let width = (args.silhouette > 0)
        .then(|| silhouette(&rows, &found, args.silhouette, (args.seed, args.threads.get())));
    if let Some(out) = &args.out {
        kvant_storage::write_new_file(out, &npy::encode(&found.centroids, dim))?;
    }
    if let Some(out) = &args.assign {
        kvant_storage::write_new_file(out, &npy::encode_numbers(&found.assigned))?;
    }
    let count = found.assigned.len();
    tell(
        args,
        &Clustered {
            base: &args.base,
            rows: count,
            dim,
            k: args.k,
            metric: if args.metric == Metric::Cosine { "cos" } else { "l2" },
            inertia: found.inertia,
            mean_distance: found.inertia / count as f64,
            iterations: found.history.len(),
            history: &found.history,
            sizes: Sizes::of(&found.sizes),
            silhouette: width,
            seconds,
            out: args.out.as_deref(),
            assign: args.assign.as_deref(),
        },
    )
}

fn tell(args: &Cluster, found: &Clustered<'_>) -> anyhow::Result<()> {
    if args.json {
        return print::json(found);
    }
    let mut table = Table::new(&[("clusters", Lean::Left), (&found.k.to_string(), Lean::Left)]);
    let mut row = |name: &str, value: String| table.row(vec![name.to_owned(), value]);
    row("vectors", format!("{} x {}, {}", found.rows, found.dim, found.metric));
    row("inertia", format!("{:.6e}, {:.6} a vector", found.inertia, found.mean_distance));
    let Sizes { least, median, most, mean } = found.sizes;
    row("sizes", format!("{least} to {most}, median {median}, mean {mean:.1}"));
    if let Some(width) = found.silhouette {
        row("silhouette", format!("{width:.4}"));
    }
    row("time", format!("{:.2} s, {} iterations", found.seconds, found.iterations));
    print::all(&table.to_string())
}

/// The vectors of a file and their length.
fn read(path: &Path, audience: Audience) -> anyhow::Result<(Vec<f32>, usize)> {
    let source = Source::open(path, &Fields::default())?;
    let total = source.len_hint().map(|n| n as u64);
    let bar = Progress::new("reading", total, Unit::Items, audience);
    let (mut data, mut dim) = (Vec::new(), 0);
    for (at, record) in source.enumerate() {
        let Some(vector) = record?.vector else {
            bail!("{}: record {at} has no vector", path.display());
        };
        if dim == 0 {
            dim = vector.len();
        }
        let got = vector.len();
        ensure!(
            got == dim && dim > 0,
            "{}: record {at} has {got} numbers, others {dim}",
            path.display()
        );
        data.extend(vector);
        bar.advance(1);
    }
    ensure!(dim > 0, "{}: no vectors in it", path.display());
    Ok((data, dim))
}

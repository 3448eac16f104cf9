//! `kvant bench ann`: builds an index, searches it with every setting, and says how well and fast.

mod page;
mod time;
mod truth;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, ensure};
use kvant_db::source::npy;
use kvant_eval::ann::recall;
use kvant_index::{Bitmap, Check, Effort, Index, IndexSpec, SearchOptions, Sizes, Spec, Stored};
use serde::Serialize;

use super::super::index::{self, Account, Made, Vectors};
use super::super::measure::Held;
use crate::args::BenchAnn;
use crate::print::{self, Lean, Table};
use crate::progress::{Audience, Progress, Unit};

/// Candidates that graphs are searched with, as `run_peers.py` has them.
const EF: [usize; 13] = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768];
/// Lists looked into.
const PROBES: [usize; 16] = [2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
/// Leaves of a forest or buckets of hash tables looked into, for each tree or table.
const PROBES_PER: [f64; 16] =
    [0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0];
/// Hash tables where the name of an index says nothing of them.
const TABLES: usize = 16;
/// No further setting is measured past this recall.
const ENOUGH: f64 = 0.9995;
/// Of an index that was chosen, settings below this recall are not told.
const LEAST: f64 = 0.8;
/// The recall at which memory is taken, and searches in all for it.
const USUAL: f64 = 0.95;
const SEARCHES: usize = 10_000;

/// How a setting is called.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Param {
    Number(usize),
    Name(&'static str),
}

/// A way to search.
#[derive(Clone, Debug)]
struct Setting {
    param: Param,
    effort: Effort,
}

/// Every setting of an index, cheap ones first, and the one that was chosen, if any was.
fn settings(spec: &IndexSpec, chosen: Option<Effort>) -> Vec<Setting> {
    let with = |all: &[usize], chosen: Option<usize>| {
        let all: BTreeSet<usize> = all.iter().copied().chain(chosen).collect();
        all.into_iter()
    };
    match spec.shape {
        Spec::Flat => vec![Setting { param: Param::Name("scan"), effort: Effort::Default }],
        Spec::Ivf { .. } => {
            let of = |lists| Setting { param: Param::Number(lists), effort: Effort::Probes(lists) };
            let own = chosen.and_then(|effort| match effort {
                Effort::Probes(lists) => Some(lists),
                Effort::Default | Effort::Ef(_) | Effort::Exact => None,
            });
            with(&PROBES, own).map(of).collect()
        }
        Spec::Forest { trees } => cuts(trees),
        Spec::Lsh { tables, .. } => cuts(if tables == 0 { TABLES } else { tables }),
        Spec::Hnsw { .. } | Spec::Qg { .. } => {
            let of = |ef| Setting { param: Param::Number(ef), effort: Effort::Ef(ef) };
            let own = chosen.and_then(|effort| match effort {
                Effort::Ef(ef) => Some(ef),
                Effort::Default | Effort::Probes(_) | Effort::Exact => None,
            });
            with(&EF, own).map(of).collect()
        }
    }
}

/// The settings of a shape that has lists in so many places.
fn cuts(places: usize) -> Vec<Setting> {
    let of = |share: f64| {
        let lists = (share * places as f64).round().max(1.0) as usize;
        Setting { param: Param::Number(lists), effort: Effort::Probes(lists) }
    };
    PROBES_PER.map(of).to_vec()
}

/// A line of `result.jsonl`.
#[derive(Clone, Debug, Serialize)]
struct Line {
    engine: String,
    param: Param,
    /// Rows found, (queries, k) of <i4, a file beside it.
    ids: String,
    #[serde(skip)]
    found: Vec<i32>,
    recall: f64,
    qps_one: f64,
    qps_batch: f64,
    /// The same for every number of threads; that above is the first of them.
    batches: Vec<Batch>,
    /// Of one query a call.
    p50_ms: f64,
    p99_ms: f64,
    threads: usize,
    build_s: f64,
    build_threads: usize,
    /// Seconds of the choice, where the index was chosen.
    plan_s: Option<f64>,
    /// Whether this is the effort that was chosen.
    tuned: bool,
    /// Bytes of the index on disk.
    size: u64,
    n: usize,
    k: usize,
    queries: usize,
    /// The filter, and the rows that it lets pass.
    mask: Option<String>,
    allowed: Option<usize>,
    bytes_per_vector: f64,
    /// Without what measures again.
    bytes_per_vector_hot: f64,
    bytes_per_vector_rerank: f64,
    /// Memory that is no file, after 10,000 searches in a process of its own, less what it held
    /// before it opened the index.
    rss_delta: Option<u64>,
    rss_per_vector: Option<f64>,
}

/// All queries in one call.
#[derive(Clone, Copy, Debug, Serialize)]
struct Batch {
    threads: usize,
    qps: f64,
}

/// What is searched for.
struct Task<'a> {
    args: &'a BenchAnn,
    queries: &'a Vectors,
    cells: Vec<Cell>,
    plan: Option<Chosen>,
    audience: Audience,
}

/// Among what, and what is to be found there.
struct Cell {
    /// The file of the mask.
    mask: Option<String>,
    allowed: Option<Bitmap>,
    /// Says which rows are allowed, and is asked in every call.
    predicate: Option<Predicate>,
    truth: Vec<i32>,
}

/// Rows whose number in a column is below another.
struct Predicate {
    column: Arc<Vec<i64>>,
    below: i64,
}

impl Predicate {
    fn allowed(&self) -> Bitmap {
        let column = &self.column;
        Bitmap::of(column.len(), |row| column[row.position()] < self.below)
    }
}

impl Task<'_> {
    /// The most threads that a call is measured with.
    fn threads_most(&self) -> usize {
        self.args.threads.iter().copied().max().unwrap_or(1)
    }
}

pub(super) fn run(args: &BenchAnn) -> anyhow::Result<()> {
    let (of, audience) = (&args.of, Audience::of(args.json));
    let out = &args.out;
    let overlays = page::overlays(&args.engines)?;
    let base = index::base(of, audience)?;
    let queries = Vectors::read(&args.queries, "test", audience)?;
    queries.hold_to(base.dim, &args.queries)?;
    let mut task = Task { args, queries: &queries, cells: Vec::new(), plan: None, audience };
    let most = task.threads_most();
    if let Some(given) = args.cores.as_ref().map(|cores| cores.numbers().len()) {
        ensure!(given >= most, "--pin names {given} cores for {most} threads: give more");
    }
    task.cells = truth::cells(&task, &base)?;
    std::fs::create_dir_all(out).with_context(|| format!("{}: cannot create", out.display()))?;
    let build_threads = args.build_threads.unwrap_or(most);
    let Made { index: built, account, seconds: build_s } =
        index::build(of, &base, (build_threads, args.k), (audience, None))?;
    task.plan = plan_file(out, account.as_ref())?;
    let shape = built.spec().shape;
    let file = out.join("index.kvant");
    let mut sink = kvant_storage::stream_passing_file(&file)?;
    built.write(&mut *sink)?;
    sink.publish()?;
    let bytes = kvant_storage::read_file(&file)?;
    let cost = Cost { build_s, build_threads, size: bytes.len() as u64, sizes: built.sizes() };
    let mut lines = if args.mapped {
        drop(built);
        let stored = Stored::open(bytes, &file, Check::Opened)?;
        sweep(&task, &stored.index()?, &cost)?
    } else {
        sweep(&task, &built, &cost)?
    };
    let held = held(&task, (&file, shape), &lines)?;
    for line in &mut lines {
        line.rss_delta = held;
        line.rss_per_vector = held.map(|bytes| bytes as f64 / line.n as f64);
    }
    let text: Result<Vec<String>, _> = lines.iter().map(serde_json::to_string).collect();
    let text = text?.join("\n") + "\n";
    kvant_storage::write_file_atomic(&out.join("result.jsonl"), text.as_bytes())?;
    let curves = page::curves(&task, &base, &text, overlays)?;
    let page = kvant_eval::report::curves(&curves);
    kvant_storage::write_file_atomic(&out.join("plot.html"), page.as_bytes())?;
    if args.json {
        return print::json(&lines);
    }
    if let Some(account) = &account {
        print::all(&account.text()?)?;
    }
    print::all(&table(&lines))?;
    print::all(&page::levels(&curves))?;
    print::line(&format!("{}: result.jsonl, plot.html, index.kvant", out.display()))
}

/// Writes why an index was chosen, and gives what the bench says of it.
fn plan_file(out: &Path, account: Option<&Account>) -> anyhow::Result<Option<Chosen>> {
    let Some(account) = account else { return Ok(None) };
    let text = serde_json::to_string_pretty(account)? + "\n";
    kvant_storage::write_file_atomic(&out.join("plan.json"), text.as_bytes())?;
    let effort = account.tuning().map(|tuning| tuning.effort);
    Ok(Some(Chosen { effort, seconds: account.seconds }))
}

/// What was chosen by trying.
#[derive(Clone, Copy, Debug)]
struct Chosen {
    /// How hard its searches try.
    effort: Option<Effort>,
    seconds: f64,
}

/// What the index took and takes.
struct Cost {
    build_s: f64,
    build_threads: usize,
    size: u64,
    sizes: Sizes,
}

/// Measures every setting of each cell until enough is found, and writes the rows found.
fn sweep<B: AsRef<[u8]> + Sync>(
    task: &Task<'_>,
    index: &Index<'_, B>,
    cost: &Cost,
) -> anyhow::Result<Vec<Line>> {
    let settings = settings(&index.spec(), task.plan.and_then(|chosen| chosen.effort));
    let last = settings.last().map_or(Param::Name(""), |setting| setting.param.clone());
    let total = settings.len() * task.cells.len();
    let bar = Progress::new("searching", Some(total as u64), Unit::Items, task.audience);
    let mut lines = Vec::new();
    for cell in &task.cells {
        for setting in &settings {
            let mut line = measure(task, (index, cost), cell, setting)?;
            if task.plan.is_some() && line.recall < LEAST && line.param != last {
                continue;
            }
            line.ids = format!("ids-{}.npy", lines.len());
            let file = npy::encode_whole(&line.found, task.args.k);
            kvant_storage::write_file_atomic(&task.args.out.join(&line.ids), &file)?;
            let enough = line.recall > ENOUGH;
            lines.push(line);
            bar.advance(1);
            if enough {
                break;
            }
        }
    }
    Ok(lines)
}

/// Measures one setting.
fn measure<B: AsRef<[u8]> + Sync>(
    task: &Task<'_>,
    (index, cost): (&Index<'_, B>, &Cost),
    cell: &Cell,
    setting: &Setting,
) -> anyhow::Result<Line> {
    let (args, n) = (task.args, index.len());
    let allowed = cell.allowed.as_ref();
    let options =
        SearchOptions { k: args.k, effort: setting.effort, allowed, ..SearchOptions::default() };
    let timed = time::measure(task, index, (&options, cell.predicate.as_ref()))?;
    let each = |bytes: u64| bytes as f64 / n as f64;
    let first = timed.batches.first().copied().unwrap_or(Batch { threads: 1, qps: 0.0 });
    let auto = if task.plan.is_some() { "auto: " } else { "" };
    let mask = cell.mask.as_ref().map_or_else(String::new, |mask| format!(" · {mask}"));
    Ok(Line {
        engine: format!("kvant {auto}{}{mask}", index.spec()),
        param: setting.param.clone(),
        ids: String::new(),
        recall: recall(&timed.ids, &cell.truth, args.k),
        found: timed.ids,
        qps_one: timed.qps_one,
        qps_batch: first.qps,
        batches: timed.batches,
        p50_ms: timed.p50_ms,
        p99_ms: timed.p99_ms,
        threads: first.threads,
        build_s: cost.build_s,
        build_threads: cost.build_threads,
        plan_s: task.plan.map(|chosen| chosen.seconds),
        tuned: task.plan.is_some_and(|chosen| chosen.effort == Some(setting.effort)),
        size: cost.size,
        n,
        k: args.k,
        queries: task.queries.rows(),
        mask: cell.mask.clone(),
        allowed: allowed.map(Bitmap::count),
        bytes_per_vector: each(cost.size),
        bytes_per_vector_hot: cost.sizes.hot_per_row(n),
        bytes_per_vector_rerank: each(cost.sizes.rerank),
        rss_delta: None,
        rss_per_vector: None,
    })
}

/// Memory that searches of the usual recall hold, `None` where the system does not tell.
fn held(
    task: &Task<'_>,
    (file, shape): (&Path, Spec),
    lines: &[Line],
) -> anyhow::Result<Option<u64>> {
    let usual = lines.iter().find(|line| line.recall >= USUAL).or(lines.last());
    let mut command = Command::new(std::env::current_exe().context("this program")?);
    command.arg("measure-index").arg(file).arg("--queries").arg(&task.args.queries);
    command.args(["--k", &task.args.k.to_string(), "--count", &SEARCHES.to_string()]);
    match (usual.map(|line| &line.param), shape) {
        (Some(Param::Number(ef)), Spec::Hnsw { .. }) => {
            command.args(["--ef", &ef.to_string()]);
        }
        (Some(Param::Number(probes)), Spec::Ivf { .. }) => {
            command.args(["--probes", &probes.to_string()]);
        }
        _ => {}
    }
    let output = command.output().context("the process that measures memory")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    ensure!(output.status.success(), "the process that measures memory failed: {said}");
    let held: Held = serde_json::from_slice(&output.stdout).context("memory")?;
    Ok(held.before.zip(held.after).map(|(before, after)| after.saturating_sub(before)))
}

/// A row for each setting.
fn table(lines: &[Line]) -> String {
    let head = ["setting", "recall", "one/s", "batch/s", "p50 ms", "p99 ms"];
    let mut head = head.map(|name| (name, Lean::Right)).to_vec();
    head.push(("mask", Lean::Left));
    let mut table = Table::new(&head);
    for line in lines {
        let param = match line.param {
            Param::Number(number) => number.to_string(),
            Param::Name(name) => name.to_owned(),
        };
        table.row(vec![
            param,
            format!("{:.4}", line.recall),
            format!("{:.0}", line.qps_one),
            format!("{:.0}", line.qps_batch),
            format!("{:.3}", line.p50_ms),
            format!("{:.3}", line.p99_ms),
            line.mask.clone().unwrap_or_else(|| "–".to_owned()),
        ]);
    }
    let Some(line) = lines.last() else { return String::new() };
    let held = line.rss_per_vector.map_or_else(String::new, |bytes| format!(", {bytes:.1} held"));
    let Line { engine, build_s, build_threads, .. } = line;
    let (disk, hot) = (line.bytes_per_vector, line.bytes_per_vector_hot);
    let again = line.bytes_per_vector_rerank;
    format!(
        "{table}{engine}: built in {build_s:.2} s on {build_threads} threads; bytes a vector: \
         {disk:.1} on disk, {hot:.1} searched, {again:.1} measured again{held}\n"
    )
}

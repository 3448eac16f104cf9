//! `kvant index`: nearest neighbours among the vectors of a file, one file for each verb.

mod build;
mod info;
mod part;
mod plan;
mod search;
mod verify;

pub(super) use build::{Made, base, build};
pub(super) use plan::Account;
pub(super) use search::ids;

use std::path::Path;

use anyhow::{Context, bail, ensure};
use kvant_db::source::npy::Whole;
use kvant_db::source::{Fields, Source};
use kvant_index::{Bitmap, Check, Effort, IndexSpec, Metric, ROWS_MAX, Row, Spec, Stored};

use crate::args::{self, Index, Indexed};
use crate::progress::{Audience, Progress, Unit};

pub(super) fn run(args: &Index) -> anyhow::Result<()> {
    match &args.what {
        Indexed::Build(args) => build::run(args),
        Indexed::Search(args) => search::run(args),
        Indexed::Info(args) => info::run(args),
        Indexed::Verify(args) => verify::run(args),
    }
}

/// Vectors one after the other, all of one dimension.
#[derive(Debug)]
pub(super) struct Vectors {
    pub(super) data: Vec<f32>,
    pub(super) dim: usize,
}

impl Vectors {
    /// All vectors of a file, at least one; of an .hdf5 file those of `dataset`, if it is there.
    pub(super) fn read(path: &Path, dataset: &str, audience: Audience) -> anyhow::Result<Self> {
        let hdf5 = path.extension().is_some_and(|ext| ext == "hdf5" || ext == "h5");
        let vector = if hdf5 { dataset.to_owned() } else { Fields::default().vector };
        let mut source = Source::open(path, &Fields { vector, ..Fields::default() })?;
        let count = source.len_hint();
        let bar = Progress::new("reading", count.map(|n| n as u64), Unit::Items, audience);
        let mut all = Self { data: Vec::new(), dim: 0 };
        while let Some(record) = source.next() {
            let shown = || format!("{}: {}", path.display(), source.place());
            let vector = record?.vector.with_context(|| format!("{}: no vector", shown()))?;
            if all.dim == 0 {
                all.dim = vector.len();
                all.data.reserve_exact(count.unwrap_or(0).min(ROWS_MAX) * all.dim);
            }
            let (got, dim) = (vector.len(), all.dim);
            ensure!(got == dim, "{}: {got} components, the first has {dim}", shown());
            all.data.extend_from_slice(&vector);
            bar.advance(1);
        }
        ensure!(all.dim > 0, "{}: no vectors in it", path.display());
        let rows = all.rows();
        ensure!(rows <= ROWS_MAX, "{}: {rows} vectors, at most {ROWS_MAX}", path.display());
        Ok(all)
    }

    pub(super) fn rows(&self) -> usize {
        self.data.len() / self.dim.max(1)
    }

    /// Brings them into the form that rows of an index have.
    pub(super) fn prepare(&mut self, metric: Metric) {
        for row in self.data.chunks_exact_mut(self.dim) {
            metric.prepare(row);
        }
    }

    /// Refuses vectors of `path` that are not of dimension `dim`.
    pub(super) fn hold_to(&self, dim: usize, path: &Path) -> anyhow::Result<()> {
        let got = self.dim;
        ensure!(got == dim, "{}: {got} components, the index has {dim}", path.display());
        Ok(())
    }
}

/// The rows that a mask of `rows` values lets pass.
pub(super) fn mask(path: &Path, rows: usize) -> anyhow::Result<Bitmap> {
    let mask = Whole::read(path)?;
    let got = mask.values.len();
    ensure!(got == rows, "{}: {got} values, the index has {rows} rows", path.display());
    let mut allowed = Bitmap::new(rows);
    for (row, _) in mask.values.iter().enumerate().filter(|(_, value)| **value != 0) {
        allowed.insert(Row(row as u32));
    }
    Ok(allowed)
}

/// The file of an index, mapped.
pub(super) fn open(path: &Path, verify: bool) -> anyhow::Result<Stored> {
    let check = if verify { Check::Everything } else { Check::Opened };
    Ok(Stored::open(kvant_storage::read_file(path)?, path, check)?)
}

/// What --ef and --probes say of an index that is what `spec` says.
///
/// # Errors
/// If it does not fit the shape.
pub(super) fn effort(asked: args::Effort, spec: &IndexSpec) -> anyhow::Result<Effort> {
    match (spec.shape, asked.ef, asked.probes) {
        (_, None, None) => Ok(Effort::Default),
        (Spec::Hnsw { .. } | Spec::Qg { .. }, Some(ef), _)
        | (Spec::Forest { .. } | Spec::Lsh { .. }, Some(ef), None) => Ok(Effort::Ef(ef)),
        (Spec::Ivf { .. } | Spec::Forest { .. } | Spec::Lsh { .. }, _, Some(probes)) => {
            Ok(Effort::Probes(probes))
        }
        (Spec::Hnsw { .. } | Spec::Qg { .. }, None, _) => {
            bail!("--probes is for lists, {spec} is a graph: use --ef")
        }
        (Spec::Ivf { .. }, _, None) => {
            bail!("--ef is for graphs, {spec} is of lists: use --probes")
        }
        (Spec::Flat, ..) => {
            bail!("{spec} measures every row: --ef is for graphs, --probes for lists, use neither")
        }
    }
}

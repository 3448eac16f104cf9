//! Which indexes are worth a try: shapes and codes put together, by the bytes they take.

use crate::{CodeSpec, Half, IndexSpec, Metric, Spec, Spill, Width};

/// Links per node of graphs, the usual number first; fewer where memory is short.
const LINKS: [usize; 2] = [16, 8];
/// Indexes of one kind of shape that are tried, the largest that fit.
const EACH: usize = 2;

/// Rows to be indexed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground {
    pub(super) rows: usize,
    pub(super) dim: usize,
    pub(super) metric: Metric,
    /// Bytes a row that searches may hold.
    pub(super) budget: Option<f64>,
}

impl Ground {
    pub(super) fn fits(&self, spec: &IndexSpec) -> bool {
        self.budget.is_none_or(|budget| bytes(spec, self) <= budget)
    }

    /// Codes in falling size that a walk is worth it with: it reads rows here and there.
    fn walked(&self) -> Vec<CodeSpec> {
        if self.metric == Metric::Manhattan {
            return vec![CodeSpec::Int8];
        }
        let rotated = [Width::Four, Width::Two, Width::One].map(CodeSpec::Rotated);
        [CodeSpec::Int8].into_iter().chain(rotated).collect()
    }

    /// Codes in falling size that are scanned: 4 bits for every two dimensions, for four, for
    /// eight.
    fn scanned(&self) -> Vec<CodeSpec> {
        let parts = [2, 4, 8].map(|each| self.dim.div_ceil(each));
        let usual = |&parts: &usize| if parts == self.dim.div_ceil(2) { 0 } else { parts };
        let mut codes: Vec<CodeSpec> =
            parts.iter().map(usual).map(|parts| CodeSpec::Product { parts }).collect();
        codes.dedup();
        codes
    }

    /// What is tried: without a budget one graph over bytes, one over half as many, and lists;
    /// within a budget the largest of both shapes that fit.
    pub(super) fn candidates(&self) -> Vec<IndexSpec> {
        let links = if self.budget.is_some() { &LINKS[..] } else { &LINKS[..1] };
        let graphs = self.walked().into_iter().filter_map(|code| {
            links
                .iter()
                .map(move |&m| (Spec::Hnsw { m }, code))
                .find(|&(shape, code)| self.fits(&IndexSpec { shape, code, rerank: None }))
        });
        let mut all: Vec<IndexSpec> = graphs.take(EACH).map(plain).collect();
        let lists = Spec::Ivf { lists: 0, spill: Spill::One };
        let lists = self.scanned().into_iter().map(|code| plain((lists, code)));
        let most = if self.budget.is_some() { EACH } else { 1 };
        all.extend(lists.filter(|spec| self.fits(spec)).take(most));
        all
    }

    /// Codes in falling size of a scan of few rows.
    fn flats(&self) -> impl Iterator<Item = IndexSpec> {
        let rotated = [Width::Four, Width::One].map(CodeSpec::Rotated);
        let short = [CodeSpec::Half(Half::F16), CodeSpec::Int8].into_iter().chain(rotated);
        let known = self.metric != Metric::Manhattan;
        let codes = [CodeSpec::Float].into_iter().chain(short);
        let codes = codes.filter(move |code| known || !matches!(code, CodeSpec::Rotated(_)));
        codes.map(|code| plain((Spec::Flat, code)))
    }

    /// The largest code that a scan of few rows can do with, by the budget.
    pub(super) fn flat(&self) -> Option<IndexSpec> {
        self.flats().find(|spec| self.fits(spec))
    }

    /// The fewest bytes a row of such a scan.
    pub(super) fn least_flat(&self) -> f64 {
        self.flats().map(|spec| bytes(&spec, self)).fold(f64::INFINITY, f64::min)
    }

    /// The fewest bytes a row of [`candidates`](Self::candidates).
    pub(super) fn least(&self) -> f64 {
        let graphs = self.walked().into_iter().map(|code| (Spec::Hnsw { m: LINKS[1] }, code));
        let lists = Spec::Ivf { lists: 0, spill: Spill::One };
        let lists = self.scanned().into_iter().map(|code| (lists, code));
        let all = graphs.chain(lists).map(|spec| bytes(&plain(spec), self));
        all.fold(f64::INFINITY, f64::min)
    }
}

fn plain((shape, code): (Spec, CodeSpec)) -> IndexSpec {
    IndexSpec { shape, code, rerank: None }
}

/// Bytes a row of shape and code, what is computed once for each code left out.
pub(super) fn bytes(spec: &IndexSpec, ground: &Ground) -> f64 {
    let (rows, dim) = (ground.rows.max(1) as f64, ground.dim as f64);
    let code = match spec.code {
        CodeSpec::Float => 4.0 * dim,
        CodeSpec::Half(_) => 2.0 * dim,
        CodeSpec::Int8 => dim + 4.0,
        CodeSpec::Rotated(width) => (width.bits() as f64 * dim / 8.0).ceil() + 10.0,
        CodeSpec::Sign => (dim / 8.0).ceil(),
        CodeSpec::Bound(packing) => 4.0 * dim + packing.bytes(ground.dim) as f64 + 12.0,
        CodeSpec::Product { parts } => product(parts, ground),
        CodeSpec::Opq { parts } => product(parts, ground) + 4.0 * dim * dim / rows,
    };
    let shape = match spec.shape {
        Spec::Flat => 0.0,
        Spec::Hnsw { m } => 8.0 * m as f64 + 8.0,
        Spec::Ivf { lists, .. } => {
            let lists = if lists == 0 { rows.sqrt() } else { lists as f64 };
            4.0 + lists * (4.0 * dim + 8.0) / rows
        }
        Spec::Forest { trees } => trees as f64 * (4.0 + (dim + 8.0) / 32.0),
        Spec::Lsh { tables, .. } => 4.2 * if tables == 0 { 16.0 } else { tables as f64 },
        Spec::Qg { links } => links as f64 * (4.0 + 8.0 + dim / 4.0) + 8.0,
    };
    code + shape
}

/// Bytes a row of a product code of so many parts.
fn product(parts: usize, ground: &Ground) -> f64 {
    let (rows, dim) = (ground.rows.max(1) as f64, ground.dim as f64);
    let parts = if parts == 0 { (dim / 2.0).ceil() } else { parts as f64 };
    parts / 2.0 + 32.0 * dim / rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ground: &Ground) -> Vec<String> {
        ground.candidates().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn shapes_and_codes_are_put_together_by_what_they_take() {
        let metric = Metric::Cosine;
        let ground = Ground { rows: 100_000, dim: 384, metric, budget: None };
        assert_eq!(names(&ground), ["hnsw,int8", "hnsw,rq4", "ivf,pq"]);
        let within = |bytes: f64| names(&Ground { budget: Some(bytes), ..ground });
        assert_eq!(within(1000.0), ["hnsw,int8", "hnsw,rq4", "ivf,pq", "ivf,pq96"]);
        assert_eq!(within(300.0), ["hnsw8,rq4", "hnsw,rq2", "ivf,pq", "ivf,pq96"]);
        assert_eq!(within(75.0), ["ivf,pq96", "ivf,pq48"]);
        assert_eq!(within(20.0), [""; 0]);
        assert!((30.0..45.0).contains(&ground.least()), "{}", ground.least());
        let plane = Ground { metric: Metric::Manhattan, ..ground };
        assert_eq!(names(&plane), ["hnsw,int8", "ivf,pq"]);
        let thin = Ground { dim: 2, ..ground };
        assert_eq!(names(&Ground { budget: Some(1e9), ..thin })[2..], ["ivf,pq"]);
    }

    #[test]
    fn few_rows_take_the_largest_code_that_fits() {
        let ground = Ground { rows: 500, dim: 64, metric: Metric::Euclid, budget: None };
        let flat = |budget: Option<f64>, metric| {
            Ground { metric, budget, ..ground }.flat().map(|spec| spec.to_string())
        };
        assert_eq!(flat(None, Metric::Euclid).as_deref(), Some("flat"));
        assert_eq!(flat(Some(200.0), Metric::Euclid).as_deref(), Some("flat,f16"));
        assert_eq!(flat(Some(50.0), Metric::Euclid).as_deref(), Some("flat,rq4"));
        assert_eq!(flat(Some(50.0), Metric::Manhattan), None);
        assert_eq!(ground.least_flat(), 18.0);
    }
}

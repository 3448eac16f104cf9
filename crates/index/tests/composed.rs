//! One suite for every shape over every code, alone and measured again, against f32.

use kvant_index::{
    AnyRows, BitMetric, BitRows, Bitmap, BuildOptions, Certainty, CodeError, CodeSpec, Effort,
    Family, FileError, Flat, FloatRows, Hit, Hnsw, Index, IndexSpec, Metric, RerankSpec, Row, Rows,
    Scorer, SearchError, SearchOptions, Spec, Spill, Width,
};
use kvant_testkit::{Random, clustered};

const DIM: usize = 72;
const QUERIES: usize = 20;
/// Enough that searches of default effort walk the graph.
const N: usize = 1000;
const SHAPES: [Spec; 8] = [
    Spec::Flat,
    Spec::Ivf { lists: 0, spill: Spill::Two },
    Spec::Hnsw { m: 8 },
    Spec::Lsh { family: Family::Polytopes, tables: 0, bits: 0 },
    Spec::Ivf { lists: 40, spill: Spill::One },
    Spec::Qg { links: 32 },
    Spec::Forest { trees: 6 },
    Spec::Lsh { family: Family::Planes, tables: 8, bits: 6 },
];

/// Rows and queries of one distribution, prepared for a metric.
struct Set {
    metric: Metric,
    rows: Vec<f32>,
    queries: Vec<f32>,
}

impl Set {
    fn clusters(n: usize, metric: Metric) -> Self {
        let mut data = clustered(n + QUERIES, DIM, 17);
        let mut random = Random::new(18);
        for vector in data.chunks_exact_mut(DIM) {
            metric.prepare(vector);
            let scale = if metric == Metric::Dot { (0.2 * random.normal()).exp() } else { 1.0 };
            for x in vector {
                *x *= scale;
            }
        }
        let queries = data.split_off(n * DIM);
        Self { metric, rows: data, queries }
    }

    fn rows(&self) -> FloatRows<'_> {
        FloatRows::new(&self.rows, DIM, self.metric)
    }

    fn queries(&self) -> impl Iterator<Item = &[f32]> {
        self.queries.chunks_exact(DIM)
    }

    fn build(&self, spec: &IndexSpec) -> Index<'_> {
        let options = BuildOptions { threads: 2, seed: 5, ..BuildOptions::default() };
        let built = Index::build(spec, self.rows(), &options);
        built.unwrap_or_else(|error| unreachable!("{spec}: {error}"))
    }

    /// What f32 says, measured in full.
    fn truth(&self, query: &[f32], options: &SearchOptions<'_>) -> Vec<Hit> {
        Flat::new(self.rows().len()).search(&self.rows(), query, options)
    }
}

/// Whether a code knows a measure.
fn knows(code: CodeSpec, metric: Metric) -> bool {
    let turned = matches!(code, CodeSpec::Rotated(_) | CodeSpec::Bound(_) | CodeSpec::Opq { .. });
    metric != Metric::Manhattan || !turned
}

/// What goes with a rerank here: half of the shapes, which scan, walk and look into lists.
fn shapes(rerank: Option<RerankSpec>) -> impl Iterator<Item = Spec> {
    let step = if rerank.is_none() { 1 } else { 2 };
    SHAPES.into_iter().step_by(step)
}

/// Every shape × code that measures `metric`, and half of the shapes with each rerank.
fn specs(metric: Metric) -> Vec<IndexSpec> {
    let reranks = [None].into_iter().chain(RerankSpec::ALL.map(Some));
    let mut specs = Vec::new();
    for rerank in reranks {
        for code in AnyRows::CODES.into_iter().filter(|&code| knows(code, metric)) {
            for shape in shapes(rerank) {
                specs.push(IndexSpec { shape, code, rerank: rerank.map(|rerank| (rerank, 10)) });
            }
        }
    }
    specs
}

/// The least mean recall@10 on these sets, graph or not. Bare codes of one bit only order.
fn floor(spec: &IndexSpec) -> f64 {
    if spec.rerank.is_some() {
        return if spec.code == CodeSpec::Sign { 0.6 } else { 0.93 };
    }
    match spec.code {
        CodeSpec::Float | CodeSpec::Half(_) | CodeSpec::Int8 | CodeSpec::Bound(_) => 0.95,
        CodeSpec::Rotated(Width::Seven | Width::Eight) => 0.94,
        CodeSpec::Rotated(Width::Five | Width::Six) => 0.9,
        CodeSpec::Rotated(Width::Four) => 0.85,
        CodeSpec::Rotated(Width::Three) => 0.75,
        CodeSpec::Rotated(Width::Two) | CodeSpec::Product { .. } | CodeSpec::Opq { .. } => 0.6,
        CodeSpec::Rotated(Width::One) => 0.35,
        CodeSpec::Sign => 0.15,
    }
}

/// Mean share of the true neighbours found; every answer is checked for order and doubles.
fn recall(set: &Set, index: &Index<'_>, options: &SearchOptions<'_>) -> f64 {
    let mut sum = 0.0;
    for query in set.queries() {
        let truth = set.truth(query, options);
        let hits = index.search(query, options).map_or(Vec::new(), |found| found.hits);
        assert_eq!(hits.len(), truth.len(), "{}", index.spec());
        assert!(hits.windows(2).all(|w| w[0].distance <= w[1].distance), "{}", index.spec());
        let allowed = |hit: &Hit| options.allowed.is_none_or(|set| set.contains(hit.row));
        assert!(hits.iter().all(allowed), "{}", index.spec());
        let mut rows: Vec<Row> = hits.iter().map(|hit| hit.row).collect();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), hits.len(), "{}", index.spec());
        let found = truth.iter().filter(|hit| rows.binary_search(&hit.row).is_ok()).count();
        sum += if truth.is_empty() { 1.0 } else { found as f64 / truth.len() as f64 };
    }
    sum / QUERIES as f64
}

#[test]
fn every_composition_finds_its_share() {
    for metric in Metric::ALL {
        let set = Set::clusters(N, metric);
        for spec in specs(metric) {
            let index = set.build(&spec);
            let found = recall(&set, &index, &SearchOptions::default());
            assert!(found >= floor(&spec), "{metric} {spec}: recall {found}");
            let options = SearchOptions { effort: Effort::Exact, ..SearchOptions::default() };
            let exact = index.search(&set.queries[..DIM], &options).unwrap();
            let same = matches!(spec.code, CodeSpec::Float | CodeSpec::Bound(_));
            let full = spec.rerank.map_or(same, |(again, _)| again == RerankSpec::Float);
            assert_eq!(exact.certainty == Certainty::Exact, full, "{spec}");
            let rows = |hits: &[Hit]| hits.iter().map(|hit| hit.row).collect::<Vec<_>>();
            let truth = set.truth(&set.queries[..DIM], &options);
            assert!(!full || rows(&exact.hits) == rows(&truth), "{spec}");
        }
    }
}

#[test]
fn filters_are_obeyed_in_every_composition() {
    let metric = Metric::Euclid;
    let set = Set::clusters(N, metric);
    let mut random = Random::new(19);
    for spec in specs(metric) {
        let index = set.build(&spec);
        for one_in in [2, 40, N, usize::MAX] {
            let mut allowed = Bitmap::new(N);
            for row in 0..N as u32 {
                if random.below(one_in) == 0 {
                    allowed.insert(Row(row));
                }
            }
            let options = SearchOptions { allowed: Some(&allowed), ..SearchOptions::default() };
            let found = recall(&set, &index, &options);
            assert!(found >= floor(&spec), "{spec}, 1 in {one_in}: recall {found}");
        }
    }
}

#[test]
fn any_k_on_any_number_of_rows() {
    for metric in Metric::ALL {
        for n in [0, 1, 2, 65] {
            let set = Set::clusters(n, metric);
            for spec in specs(metric) {
                let index = set.build(&spec);
                assert_eq!((index.len(), index.is_empty()), (n, n == 0));
                for k in [1, n + 1, usize::MAX] {
                    let options = SearchOptions { k, ..SearchOptions::default() };
                    let found = recall(&set, &index, &options);
                    assert!(k <= n || found == 1.0, "{metric} {spec}, n {n}, k {k}");
                }
            }
        }
    }
}

/// Rows that are all one row, rows of zeros (a zero has no direction), and a zero query.
#[test]
fn equal_rows_and_zeros_are_searchable() {
    for metric in Metric::ALL {
        for value in [0.0, 0.25, -1e-30, 1e15] {
            let rows = vec![value; 400 * DIM];
            let set = Set { metric, rows, queries: vec![value; QUERIES * DIM] };
            for spec in specs(metric) {
                let index = set.build(&spec);
                let hits = index.search(&set.queries[..DIM], &SearchOptions::default()).unwrap();
                let rows: Vec<u32> = hits.hits.iter().map(|hit| hit.row.0).collect();
                assert_eq!(rows.len(), 10, "{metric} {spec} {value}");
                if spec.shape == Spec::Flat {
                    assert_eq!(rows, (0..10).collect::<Vec<_>>(), "{metric} {spec} {value}");
                }
                let distance = hits.hits[0].distance;
                assert!(distance.is_finite() || value > 1.0, "{metric} {spec} {distance}");
                let zero = index.search(&[0.0; DIM], &SearchOptions::default()).unwrap();
                assert_eq!(zero.hits.len(), 10, "{metric} {spec} {value}");
            }
        }
    }
}

/// A row asked for is found first, its doubles with it, in the order of rows.
#[test]
fn doubles_come_in_the_order_of_rows() {
    for metric in [Metric::Cosine, Metric::Euclid] {
        let mut set = Set::clusters(1200, metric);
        let same = set.rows[7 * DIM..8 * DIM].to_vec();
        for row in [3, 500, 1199] {
            set.rows[row * DIM..][..DIM].copy_from_slice(&same);
        }
        for spec in specs(metric).into_iter().filter(|spec| spec.code != CodeSpec::Sign) {
            let index = set.build(&spec);
            let options = SearchOptions { k: 4, ..SearchOptions::default() };
            let hits = index.search(&same, &options).unwrap().hits;
            let rows: Vec<u32> = hits.iter().map(|hit| hit.row.0).collect();
            assert_eq!(rows, [3, 7, 500, 1199], "{metric} {spec}");
        }
    }
}

#[test]
fn bytes_bring_back_the_same_index() {
    for metric in Metric::ALL {
        for n in [0, 1, 600] {
            let set = Set::clusters(n, metric);
            for spec in specs(metric) {
                let (index, again) = (set.build(&spec), set.build(&spec));
                let shape = index.shape().to_bytes();
                assert_eq!(shape, again.shape().to_bytes(), "{spec}");
                assert_eq!(index.rows().sections(), again.rows().sections(), "{spec}");
                let sections = index.rows().sections();
                let read = Index::open(&spec, set.rows(), &shape, sections).unwrap();
                for query in set.queries() {
                    let options = SearchOptions::default();
                    assert_eq!(read.search(query, &options), index.search(query, &options));
                }
                assert_eq!(read.rows().sections(), sections, "{spec}");
            }
        }
    }
}

#[test]
fn a_batch_is_its_queries_for_any_number_of_threads() {
    let set = Set::clusters(900, Metric::Cosine);
    for spec in specs(set.metric) {
        let index = set.build(&spec);
        let options = SearchOptions { k: 7, ..SearchOptions::default() };
        let one: Vec<_> = set.queries().map(|q| index.search(q, &options).unwrap()).collect();
        for threads in [0, 1, 3] {
            let batch = index.search_batch(&set.queries, &options, threads).unwrap();
            assert_eq!(batch, one, "{spec} {threads}");
        }
    }
}

#[test]
fn a_range_holds_all_that_is_near_and_nothing_else() {
    for metric in Metric::ALL {
        let set = Set::clusters(700, metric);
        let query = &set.queries[..DIM];
        let all = SearchOptions { k: 700, ..SearchOptions::default() };
        for spec in specs(metric) {
            let index = set.build(&spec);
            let exact = SearchOptions { effort: Effort::Exact, ..all };
            let ranked = index.search(query, &exact).unwrap().hits;
            let radius = ranked[41].distance;
            let expected: Vec<Hit> =
                ranked.into_iter().filter(|hit| hit.distance <= radius).collect();
            let got = index.range(query, radius, &all).unwrap().hits;
            // Bounds prove the order in f64; ranges are measured in f32.
            let proven = matches!(spec.code, CodeSpec::Bound(_)) && spec.rerank.is_none();
            assert!(proven || got == expected, "{metric} {spec}");
            assert!(got.len().abs_diff(expected.len()) <= 1, "{metric} {spec}");
        }
    }
}

#[test]
fn what_no_code_holds_is_refused() {
    for code in AnyRows::CODES.into_iter().filter(|&code| code != CodeSpec::Float) {
        let spec = IndexSpec { shape: Spec::Flat, code, rerank: None };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut data = vec![0.5; 3 * DIM];
            data[DIM + 4] = bad;
            let rows = FloatRows::new(&data, DIM, Metric::Dot);
            let error = Index::build(&spec, rows, &BuildOptions::default()).unwrap_err();
            assert_eq!(error, CodeError::NotFinite { row: 1, at: 4 }, "{spec}");
        }
        let data = vec![0.5; 1 << 16];
        let rows = FloatRows::new(&data, 1 << 16, Metric::Dot);
        let error = Index::build(&spec, rows, &BuildOptions::default()).unwrap_err();
        assert_eq!(error, CodeError::Dimension { got: 1 << 16, most: 65_535 }, "{spec}");
        if !knows(code, Metric::Manhattan) {
            let rows = FloatRows::new(&data, 64, Metric::Manhattan);
            let error = Index::build(&spec, rows, &BuildOptions::default()).unwrap_err();
            assert!(error.to_string().contains("use cosine, dot or euclid"), "{error}");
        }
    }
}

#[test]
fn searches_that_do_not_fit_are_refused() {
    let set = Set::clusters(50, Metric::Euclid);
    let index = set.build(&"hnsw,rq4,rerank32".parse().unwrap());
    let (query, options) = (&set.queries[..DIM], SearchOptions::default());
    let refused = |query: &[f32], options: &SearchOptions<'_>| {
        let error = index.search(query, options).unwrap_err();
        assert_eq!(index.search_batch(query, options, 1).unwrap_err(), error);
        error
    };
    assert_eq!(refused(query, &SearchOptions { k: 0, ..options }), SearchError::Nothing);
    let dimension = SearchError::Dimension { expected: DIM, got: DIM - 1 };
    assert_eq!(refused(&query[1..], &options), dimension);
    let mut bad = query.to_vec();
    bad[9] = f32::NAN;
    assert_eq!(refused(&bad, &options), SearchError::NotFinite { at: 9 });
    let other = Bitmap::new(51);
    let options = SearchOptions { allowed: Some(&other), ..options };
    assert_eq!(refused(query, &options), SearchError::Allowed { expected: 50, got: 51 });
}

/// Every byte of a header, every cut and a tail: an error, or rows that can be searched.
#[test]
fn changed_codes_are_refused_or_searchable() {
    let set = Set::clusters(20, Metric::Euclid);
    for code in AnyRows::CODES.into_iter().filter(|&code| code != CodeSpec::Float) {
        let spec = IndexSpec { shape: Spec::Flat, code, rerank: None };
        let index = set.build(&spec);
        let bytes = index.rows().sections().0.unwrap().to_vec();
        let open = |bytes: &[u8]| AnyRows::open(&spec, set.rows(), (Some(bytes), None)).map(drop);
        for cut in 0..bytes.len() {
            let error = open(&bytes[..cut]).unwrap_err();
            let short = matches!(error, FileError::Length { .. } | FileError::Magic);
            assert!(short, "{spec} {cut}: {error}");
        }
        assert!(open(&[&bytes[..], &[0]].concat()).is_err(), "{spec}: a tail");
        for at in 0..bytes.len() {
            for value in [0, 1, 2, 77, 255] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let codes = (Some(&changed[..]), None);
                if let Ok(rows) = AnyRows::open(&spec, set.rows(), codes) {
                    let flat = Flat::new(20);
                    let hits = flat.search(&rows, &set.queries[..DIM], &SearchOptions::default());
                    assert_eq!(hits.len(), 10, "{spec} {at} {value}");
                }
            }
        }
    }
}

/// Bits: sets and fingerprints, over both shapes.
#[test]
fn rows_of_bits_are_measured_bit_by_bit() {
    let mut random = Random::new(20);
    for dim in [1, 7, 8, 64, 200] {
        let stride = usize::div_ceil(dim, 8);
        let bytes: Vec<u8> = (0..600 * stride).map(|_| random.bits() as u8).collect();
        for metric in BitMetric::ALL {
            let rows = BitRows::new(&bytes, dim, metric).unwrap();
            let bit = |row: usize, at: usize| bytes[row * stride + at / 8] >> (at % 8) & 1 == 1;
            let distance = |a: usize, b: usize| {
                let count = |f: fn(bool, bool) -> bool| {
                    (0..dim).filter(|&at| f(bit(a, at), bit(b, at))).count() as f64
                };
                let (one, both) = (count(|a, b| a ^ b), count(|a, b| a & b));
                match metric {
                    BitMetric::Hamming => one as f32,
                    BitMetric::Jaccard if one == 0.0 => 0.0,
                    BitMetric::Jaccard => (one / (one + both)) as f32,
                }
            };
            let all: Vec<Row> = (0..600).map(Row).collect();
            let mut out = vec![0.0; 600];
            rows.scorer_of(Row(5)).score(&all, &mut out);
            let expected: Vec<f32> = (0..600).map(|row| distance(5, row)).collect();
            assert_eq!(out, expected, "{metric} {dim}");
            let mut query = bytes[5 * stride..6 * stride].to_vec();
            if dim % 8 > 0 {
                query[stride - 1] &= (1 << (dim % 8)) - 1;
            }
            let read = BitRows::open(rows.to_bytes(), 600).unwrap();
            let options = SearchOptions::default();
            let flat = Flat::new(600).search(&read, &query, &options);
            assert_eq!(flat[0].distance, 0.0, "{metric} {dim}");
            let hnsw = Hnsw::build(&rows, 8, &BuildOptions::default());
            let hits = hnsw.search(&rows, &query, &options);
            assert_eq!(hits.len(), 10, "{metric} {dim}");
            assert_eq!(hits[0].distance, 0.0, "{metric} {dim}");
        }
    }
}

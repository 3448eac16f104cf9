//! Trying what could serve, side by side.

use std::time::Instant;

use super::candidate::Ground;
use super::choice;
use super::sample::Sample;
use super::trial::{Parts, ROUNDS, Trial};
use super::{Plan, PlanError, PlanOptions};
use crate::code::paired::Paired;
use crate::{
    AnyRows, AnyShape, BuildOptions, CodeError, CodeSpec, FloatRows, Half, IndexSpec, Int8Rows,
    Metric, Packing, RerankSpec, Rows, Spec,
};

/// Times that candidates per row are doubled where codes cannot tell neighbours apart.
const DOUBLED: usize = 2;

/// A shape, and the seconds its build took.
struct Shaped {
    spec: Spec,
    shape: AnyShape,
    seconds: f64,
}

/// Rows in a code, in the order of the shape at this place of a list.
struct Coded<'a> {
    spec: IndexSpec,
    shape: usize,
    rows: AnyRows<'a>,
    seconds: f64,
}

/// What measures again.
pub(super) struct Again<'a> {
    kind: RerankSpec,
    rows: AnyRows<'a>,
    seconds: f64,
}

/// The recall asked for, and those with a fifth and a fiftieth of its misses.
pub(super) fn recalls(recall: f64) -> [f64; 3] {
    [recall, 1.0 - (1.0 - recall) / 5.0, 1.0 - (1.0 - recall) / 50.0]
}

/// Tries and chooses.
pub(super) fn run(
    rows: &FloatRows<'_>,
    ground: &Ground,
    options: &PlanOptions<'_>,
) -> Result<Plan, PlanError> {
    let specs = ground.candidates();
    if specs.is_empty() {
        return Err(ground.too_little("any index", ground.least()));
    }
    let sample = Sample::draw(rows, (options.sample, options.k), &options.build)?;
    let recalls = recalls(options.recall);
    let again = again(&sample, recalls[2], &options.build)?;
    let mut shapes: Vec<Shaped> = Vec::new();
    for spec in &specs {
        if !shapes.iter().any(|shaped| shaped.spec == spec.shape) {
            shapes.push(shaped(spec.shape, &sample, &options.build));
        }
    }
    shapes.push(shaped(Spec::Flat, &sample, &options.build));
    let mut codes = Vec::new();
    for spec in specs.iter().copied().chain(proof(ground)) {
        codes.extend(coded(spec, &sample, &shapes, &options.build)?);
    }
    let threads = options.build.threads;
    let mut trials: Vec<Trial<'_>> = Vec::new();
    for coded in &codes {
        let shaped = &shapes[coded.shape];
        let parts = Parts { sample: &sample, shape: &shaped.shape, fast: &coded.rows, again: None };
        let begin = (coded.seconds + shaped.seconds, threads);
        trials.extend(variants(coded.spec, &parts, (begin, &again), recalls[2]));
    }
    for trial in &mut trials {
        trial.sweep(&recalls);
    }
    for _ in 0..ROUNDS {
        trials.iter_mut().for_each(Trial::time);
    }
    let chosen = choice::choose(&trials, (ground, rows.len()), (&sample, options))?;
    choice::told(&trials, chosen, (ground, &sample), options)
}

/// A scan that proves what it finds, where that is possible and fits.
fn proof(ground: &Ground) -> Option<IndexSpec> {
    let code = CodeSpec::Bound(Packing::Four);
    let code = if ground.metric == Metric::Manhattan { CodeSpec::Float } else { code };
    Some(IndexSpec { shape: Spec::Flat, code, rerank: None }).filter(|spec| ground.fits(spec))
}

fn shaped(spec: Spec, sample: &Sample, build: &BuildOptions<'_>) -> Shaped {
    let began = Instant::now();
    let rows = sample.rows();
    let whole = IndexSpec { shape: spec, ..IndexSpec::default() };
    // A graph of any code is built over 8 bits, and lists begin where blocks of product codes do.
    let bytes = match spec {
        Spec::Hnsw { .. } | Spec::Qg { .. } => AnyRows::for_building(&whole, &rows, build),
        Spec::Flat | Spec::Ivf { .. } | Spec::Forest { .. } | Spec::Lsh { .. } => None,
    };
    let align = kvant_kernels::BLOCK_ROWS;
    let shape = match &bytes {
        Some(bytes) => {
            AnyShape::made(&spec, &Paired::new(bytes, rows.view()), (align, None, build))
        }
        None => AnyShape::made(&spec, &rows, (align, None, build)),
    };
    Shaped { spec, shape, seconds: began.elapsed().as_secs_f64() }
}

/// The rows in the code of `spec`; `None` if it does not know their measure.
fn coded<'a>(
    spec: IndexSpec,
    sample: &'a Sample,
    shapes: &[Shaped],
    build: &BuildOptions<'_>,
) -> Result<Option<Coded<'a>>, CodeError> {
    let Some(shape) = shapes.iter().position(|shaped| shaped.spec == spec.shape) else {
        return Ok(None);
    };
    let began = Instant::now();
    let order = shapes[shape].shape.order();
    match AnyRows::encode_in(&spec, sample.rows(), (order, build)) {
        Ok(rows) => {
            let seconds = began.elapsed().as_secs_f64();
            Ok(Some(Coded { spec, shape, rows, seconds }))
        }
        Err(CodeError::Metric { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The fewest bytes that tell neighbours apart as well as `recall` asks for.
pub(super) fn again<'a>(
    sample: &'a Sample,
    recall: f64,
    build: &BuildOptions<'_>,
) -> Result<Again<'a>, CodeError> {
    let began = Instant::now();
    let of = |code| {
        let spec = IndexSpec { shape: Spec::Flat, code, rerank: None };
        AnyRows::encode(&spec, sample.rows(), build)
    };
    let told = |kind, rows| Again { kind, rows, seconds: began.elapsed().as_secs_f64() };
    if Int8Rows::are_bytes(&sample.rows()) {
        return Ok(told(RerankSpec::Eight, of(CodeSpec::Int8)?));
    }
    let halves = of(CodeSpec::Half(Half::F16))?;
    if sample.ceiling(&halves, build.threads).is_above(recall) {
        return Ok(told(RerankSpec::Sixteen, halves));
    }
    Ok(told(RerankSpec::Float, of(CodeSpec::Float)?))
}

/// Trials of one code: alone where it has 8 bits, and measured again with more candidates until
/// that tells neighbours apart as well as `recall` asks for.
fn variants<'a>(
    spec: IndexSpec,
    parts: &Parts<'a>,
    ((seconds, threads), again): ((f64, usize), &'a Again<'a>),
    recall: f64,
) -> Vec<Trial<'a>> {
    let mut all = Vec::new();
    if matches!(spec.code, CodeSpec::Int8 | CodeSpec::Float | CodeSpec::Bound(_)) {
        all.push(Trial::new(spec, parts, (seconds, threads)));
    }
    let parts = Parts { again: Some(&again.rows), ..*parts };
    for doubled in 0..=DOUBLED {
        if all.last().is_some_and(|trial: &Trial<'_>| trial.ceiling.is_above(recall)) {
            break;
        }
        let rerank = Some((again.kind, spec.code.factor() << doubled));
        let spec = IndexSpec { rerank, ..spec };
        all.push(Trial::new(spec, &parts, (seconds + again.seconds, threads)));
    }
    all
}

/// The effort that `spec` takes for `recall` among the first `rows` of a sample, if it gets there.
pub(super) fn effort_among(
    spec: &IndexSpec,
    (sample, rows): (&Sample, usize),
    options: &PlanOptions<'_>,
) -> Result<Option<usize>, CodeError> {
    let part = sample.part(rows, &options.build)?;
    let shapes = [shaped(spec.shape, &part, &options.build)];
    let plain = IndexSpec { rerank: None, ..*spec };
    let Some(coded) = coded(plain, &part, &shapes, &options.build)? else { return Ok(None) };
    let again = again(&part, recalls(options.recall)[2], &options.build)?;
    let parts = Parts {
        sample: &part,
        shape: &shapes[0].shape,
        fast: &coded.rows,
        again: Some(&again.rows),
    };
    let mut trial = Trial::new(*spec, &parts, (0.0, options.build.threads));
    trial.sweep(&[options.recall]);
    Ok(trial.at(options.recall).map(|reached| reached.count))
}

//! From a model directory to a smaller one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use kvant_kernels::Matrix;
use kvant_model::{
    Activations, Checkpoint, Container, Dense, SaveError, SaveOptions, TensorInfo, save, save_gguf,
};
use kvant_quant::Scheme;
use kvant_storage::write_file_atomic;

use crate::assign::{Assignment, assign};
use crate::budget::{Request, open, settle};
use crate::correct::correct;
use crate::draft::Change;
use crate::place::Place;
use crate::report::REPORT_FILE;
use crate::{
    Action, AwqOptions, CalibrateOptions, Calibration, CompressError, Draft, Method, Pass,
    PassError, Plan, PlanError, Probe, Quantize, Report, Rest, Rotate, Run, Settled, SmoothOptions,
    Step, Task, Transform, awq as awq_scales, smooth,
};

/// Compresses the model `source` into the new directory or GGUF file `out`. The source is a model
/// directory, a GGUF file, or the weights of a network in one file of `PyTorch` or ONNX.
///
/// Every tensor the plan selects is encoded; one that the scheme cannot hold stays as it is, and
/// the report says why. `out` appears complete or not at all, with the [`Report`] in
/// [`REPORT_FILE`]; `source` is only read. `progress` is called on this thread.
///
/// Takes the time of one pass over the weights and the memory of the encoded model plus, per
/// thread, two copies of a tensor in f32.
///
/// # Errors
/// [`CompressError`] when `source` is no full-precision model, a weight is NaN or
/// infinite, `out` exists, or writing fails.
pub fn compress(
    source: &Path,
    out: &Path,
    plan: &Plan,
    progress: &dyn Fn(Step),
) -> Result<Report, CompressError> {
    let start = Instant::now();
    let place = Place::new(out)?;
    refuse_file(source)?;
    refuse_misfits(out, plan)?;
    let mut draft = Draft::new(Checkpoint::open(source)?);
    if let Some(calibration) = &plan.calibration {
        calibration.check(draft.source())?;
        if plan.recipe.rotates() {
            return Err(PlanError::Rotated.into());
        }
    } else if plan.texts.is_empty()
        && let Some(pass) = plan.recipe.needing_data()
    {
        return Err(PlanError::Data { pass }.into());
    }
    let (passes, settled) = change(&mut draft, out, plan, progress)?;
    refuse_nothing(&draft, plan)?;
    let mut report = Report::of(&draft, plan.recipe.to_string(), passes);
    report.settled = settled;
    report.seconds = start.elapsed().as_secs_f64();
    progress(Step::Saving);
    let (source, tensors) = draft.into_saved();
    let json = report.to_json();
    if is_gguf(out) {
        save_gguf(out, &source, &tensors)?;
        write_file_atomic(&report_of(out), &json).map_err(SaveError::from)?;
    } else {
        let options = SaveOptions { container: plan.container, activations: plan.activations };
        save(place.path(), source.path(), &tensors, &options)?;
        write_file_atomic(&place.path().join(REPORT_FILE), &json).map_err(SaveError::from)?;
        place.publish()?;
    }
    Ok(report)
}

/// Runs all passes of the plan over `draft`; says which ran and what budgets came to.
fn change(
    draft: &mut Draft,
    out: &Path,
    plan: &Plan,
    progress: &dyn Fn(Step),
) -> Result<(Vec<String>, Vec<Settled>), CompressError> {
    let run = Run { threads: plan.threads, progress };
    let mut passes: Vec<String> = Vec::new();
    let mut calibration = plan.calibration.as_deref().cloned();
    // Nobody else would apply a scale that is stored beside a weight.
    let own = plan.container == Container::Kvant && !is_gguf(out);
    let rest = if own { Rest::Store } else { Rest::Leave };
    for transform in &plan.recipe.transforms {
        prepare(*transform, draft, &mut calibration, (plan, &run, rest))?;
        passes.push(transform.to_string());
    }
    observe(draft, &mut calibration, plan, &run)?;
    if plan.activations == Some(Activations::Static) {
        let Some(seen) = &calibration else {
            return Err(PlanError::Data { pass: Activations::Static.to_string() }.into());
        };
        fix_inputs(draft, seen)?;
    }
    let mut assignment = assign(draft, &plan.recipe, &plan.select, plan.fallback)?;
    for (name, reason) in std::mem::take(&mut assignment.kept) {
        draft.keep(name, reason);
    }
    for (name, axis) in std::mem::take(&mut assignment.axes) {
        draft.turn(name, axis);
    }
    let shared = share(draft, (plan, calibration.as_ref()), &mut assignment, progress)?;
    let awq = |task: &Task| task.quantizer.method == Some(Method::Awq);
    if let Some(seen) = &mut calibration
        && assignment.tasks.iter().any(awq)
    {
        let options = AwqOptions { tasks: &assignment.tasks, threads: plan.threads, rest };
        awq_scales(draft, seen, &options)?;
        passes.push("awq".to_owned());
    }
    let (calibration, requantize) = (calibration.map(Arc::new), plan.requantize);
    let quantize = Quantize { tasks: assignment.tasks, calibration, requantize };
    quantize.apply(draft, &run)?;
    passes.push(quantize.name().to_owned());
    for transform in &plan.recipe.transforms {
        if let Transform::LowRank { rank } = *transform {
            correct(draft, quantize.calibration.as_deref(), rank, plan.threads)?;
        }
    }
    let mut settled = Vec::with_capacity(shared.len());
    for (mut outcome, probe) in shared {
        if let Some(probe) = probe {
            outcome.measured = Some(probe.loss(&finished(draft)?, plan.threads)?);
        }
        settled.push(outcome);
    }
    Ok((passes, settled))
}

/// Changes the weights before they are quantized; what the layers see follows.
fn prepare(
    transform: Transform,
    draft: &mut Draft,
    calibration: &mut Option<Calibration>,
    (plan, run, rest): (&Plan, &Run<'_>, Rest),
) -> Result<(), CompressError> {
    match transform {
        Transform::Rotate { seed } => {
            Rotate { seed }.apply(draft, run)?;
            // The layers see something else now.
            *calibration = None;
        }
        Transform::Smooth => {
            observe(draft, calibration, plan, run)?;
            if let Some(seen) = calibration {
                smooth(draft, seen, &SmoothOptions { threads: run.threads, rest })?;
            }
        }
        // After the codes are chosen.
        Transform::LowRank { .. } => {}
    }
    Ok(())
}

/// Sees what the layers of the draft see of the plan's texts, where that is not known.
fn observe(
    draft: &Draft,
    calibration: &mut Option<Calibration>,
    plan: &Plan,
    run: &Run<'_>,
) -> Result<(), CompressError> {
    if calibration.is_some() || plan.texts.is_empty() {
        return Ok(());
    }
    (run.progress)(Step::Calibrating);
    let options = CalibrateOptions { threads: plan.threads, ..CalibrateOptions::default() };
    *calibration = Some(Calibration::observe(open(draft)?, &plan.texts, &options)?);
    Ok(())
}

/// Largest code of 8 bits.
const TOP: f32 = 127.0;

/// Stores one scale per layer for its input: that of the largest value seen.
fn fix_inputs(draft: &mut Draft, seen: &Calibration) -> Result<(), CompressError> {
    for moment in &seen.inputs {
        let largest = moment.max_abs.iter().fold(0.0f32, |max, &value| max.max(value));
        if largest <= 0.0 {
            // Of an importance matrix, which does not know.
            return Err(PlanError::Data { pass: Activations::Static.to_string() }.into());
        }
        for weight in &moment.weights {
            let layer = weight.strip_suffix("weight").unwrap_or(weight);
            let scale = Dense::owned(vec![1], vec![largest / TOP]);
            draft.rewrite(format!("{layer}input_scale"), scale);
        }
    }
    Ok(())
}

/// Whether a model of this name is one GGUF file.
fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// Where the report of the model `out` lies: in a directory as [`REPORT_FILE`], of a GGUF file
/// beside it as `x.gguf.compression.json`.
pub fn report_of(out: &Path) -> PathBuf {
    if !is_gguf(out) {
        return out.join(REPORT_FILE);
    }
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{name}.{REPORT_FILE}"))
}

/// Settles the budgets of an assignment, one after the other, by what is left for each.
fn share(
    draft: &Draft,
    (plan, seen): (&Plan, Option<&Calibration>),
    assignment: &mut Assignment,
    progress: &dyn Fn(Step),
) -> Result<Vec<(Settled, Option<Probe>)>, CompressError> {
    let mut settled = Vec::new();
    for (rule, names) in std::mem::take(&mut assignment.shared) {
        let Action::Allocate { budget, choices } = &plan.recipe.rules[rule].action else {
            continue;
        };
        let sized = |name: &String| names.iter().all(|other| other != name);
        let mut taken = 0;
        for tensor in draft.tensors().iter().filter(|tensor| sized(&tensor.name)) {
            let task = assignment.tasks.iter().find(|task| task.name == tensor.name);
            taken += match task {
                Some(task) => coded_bytes(draft, tensor, task),
                None => tensor.size_bytes,
            };
        }
        let request =
            Request { draft, plan, seen, names: &names, budget: *budget, choices, taken, progress };
        let (tasks, outcome, probe) = settle(&request)?;
        assignment.tasks.extend(tasks);
        settled.push((outcome, probe));
    }
    Ok(settled)
}

/// Bytes of a tensor in the format of its task, scales included.
fn coded_bytes(draft: &Draft, tensor: &TensorInfo, task: &Task) -> u64 {
    let Some(view) = draft.view(&tensor.name) else { return tensor.size_bytes };
    let (rows, cols) = (view.rows(), view.cols());
    let zeros = vec![0.0; rows * cols];
    let coded = task.quantizer.scheme.encode(Matrix::new(&zeros, rows, cols));
    coded.map_or(tensor.size_bytes, |coded| coded.size_bytes() as u64)
}

/// The model as it is going to be saved.
fn finished(draft: &Draft) -> Result<Checkpoint, PassError> {
    let mut checkpoint = open(draft)?;
    for tensor in draft.tensors() {
        if let Some(Change::Coded(coded, ..)) = draft.change(&tensor.name) {
            checkpoint.replace(tensor.name.clone(), draft.weight(&tensor.name, coded));
        }
    }
    Ok(checkpoint)
}

/// Files that are whole models, or weights that need no configuration to be read.
const FILES: [&str; 6] = ["gguf", "onnx", "pth", "pt", "bin", "ckpt"];
/// What the output has no place for, as far as that is known before the work.
fn refuse_misfits(out: &Path, plan: &Plan) -> Result<(), PlanError> {
    let gguf = is_gguf(out);
    let transforms = &plan.recipe.transforms;
    let correction = |transform: &&Transform| matches!(transform, Transform::LowRank { .. });
    let flag = match (plan.container, plan.activations, transforms.iter().find(correction)) {
        (Container::Kvant, None, None) => None,
        (Container::Kvant, None, Some(transform)) => Some(format!("--transform {transform}")),
        (Container::Kvant, Some(activations), _) => Some(format!("--activations {activations}")),
        (container, ..) => Some(format!("--as {container}")),
    };
    if let Some(flag) = flag.filter(|_| gguf) {
        return Err(PlanError::Gguf { flag, out: out.to_owned() });
    }
    let held = |scheme: &Scheme| {
        if gguf { Container::gguf_holds(scheme) } else { plan.container.holds(scheme) }
    };
    match plan.recipe.schemes().into_iter().find(|scheme| !held(scheme)) {
        Some(scheme) => {
            let container = if gguf { "GGUF".to_owned() } else { plan.container.to_string() };
            Err(PlanError::Scheme { scheme, container })
        }
        None => Ok(()),
    }
}

fn refuse_file(source: &Path) -> Result<(), CompressError> {
    let extension = source.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    if !source.is_file() || FILES.contains(&extension.as_str()) {
        return Ok(());
    }
    Err(PlanError::File { path: source.to_owned() }.into())
}

/// A copy in which nothing changed would look like a compressed model.
fn refuse_nothing(draft: &Draft, plan: &Plan) -> Result<(), CompressError> {
    let tensors = draft.tensors();
    let coded = |name: &str| matches!(draft.change(name), Some(Change::Coded(..)));
    if tensors.iter().any(|tensor| coded(&tensor.name)) {
        return Ok(());
    }
    let largest = tensors.iter().max_by_key(|tensor| tensor.elements());
    let why = largest.map_or_else(
        || "it has none".to_owned(),
        |tensor| match draft.change(&tensor.name) {
            Some(Change::Kept(reason)) => format!("'{}' {reason}", tensor.name),
            Some(Change::Coded(..)) | None => format!("'{}' was not selected", tensor.name),
        },
    );
    let (path, scheme) = (draft.source().path().to_owned(), plan.recipe.to_string());
    Err(PlanError::Nothing { path, scheme, why }.into())
}

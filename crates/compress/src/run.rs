//! From a model directory to a smaller one.

use std::path::Path;
use std::time::Instant;

use kvant_model::{Checkpoint, SaveError, save};
use kvant_storage::write_file_atomic;

use crate::assign::assign;
use crate::draft::Change;
use crate::place::Place;
use crate::report::REPORT_FILE;
use crate::{CompressError, Draft, Pass, Plan, Quantize, Report, Run, Step};

/// Compresses the model directory `source` into the new directory `out`.
///
/// Every tensor the plan selects is encoded; one that the scheme cannot hold stays as it is, and
/// the report says why. `out` appears complete or not at all, with the [`Report`] in
/// [`REPORT_FILE`]; `source` is only read. `progress` is called on this thread.
///
/// Takes the time of one pass over the weights and the memory of the encoded model plus, per
/// thread, two copies of a tensor in f32.
///
/// # Errors
/// [`CompressError`] when `source` is no full-precision model directory, a weight is NaN or
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
    let mut draft = Draft::new(Checkpoint::open(source)?);
    if let Some(calibration) = &plan.calibration {
        calibration.check(draft.source())?;
    } else if let Some(pass) = plan.recipe.needing_data() {
        return Err(CompressError::Data { pass });
    }
    let run = Run { threads: plan.threads, progress };
    let mut passes = Vec::new();
    let assignment = assign(&draft, &plan.recipe, &plan.select, plan.fallback)?;
    for (name, reason) in assignment.kept {
        draft.keep(name, reason);
    }
    let (calibration, requantize) = (plan.calibration.clone(), plan.requantize);
    let quantize = Quantize { tasks: assignment.tasks, calibration, requantize };
    quantize.apply(&mut draft, &run)?;
    passes.push(quantize.name());
    refuse_nothing(&draft, plan)?;
    let mut report = Report::of(&draft, plan.recipe.to_string(), passes);
    report.seconds = start.elapsed().as_secs_f64();
    progress(Step::Saving);
    save(place.path(), source, &draft.into_saved())?;
    write_file_atomic(&place.path().join(REPORT_FILE), &report.to_json())
        .map_err(SaveError::from)?;
    place.publish()?;
    Ok(report)
}

fn refuse_file(source: &Path) -> Result<(), CompressError> {
    if !source.is_file() {
        return Ok(());
    }
    let gguf = source.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    let kind = if gguf { "a GGUF file" } else { "a file" };
    Err(CompressError::File { path: source.to_owned(), kind })
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
    Err(CompressError::Nothing { path, scheme, why })
}

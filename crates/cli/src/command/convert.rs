//! `kvant convert SOURCE -o OUT`.

use std::cell::Cell;

use anyhow::bail;
use kvant_compress::Transform;
use kvant_model::{Checkpoint, ConvertOptions, FloatFormat, TensorInfo};
use serde::Serialize;

use crate::args::Convert;
use crate::print;
use crate::progress::{Audience, Progress, Unit};
use crate::pull;

/// What was written.
#[derive(Serialize)]
struct Converted {
    source: String,
    out: String,
    /// Bytes of the tensors before and now.
    size_bytes_before: u64,
    size_bytes: u64,
    tensors: usize,
    /// Tensors of the source that the output has no place for.
    left_out: usize,
    seconds: f64,
}

pub(super) fn run(args: &Convert) -> anyhow::Result<()> {
    let began = std::time::Instant::now();
    let audience = Audience::of(args.json);
    let source = pull::model(&args.source, audience)?;
    let bar = Progress::new("writing", Some(0), Unit::Items, audience);
    let known = Cell::new(false);
    let progress = |weights, total| {
        if !known.replace(true) {
            bar.total(total);
        }
        bar.advance(weights);
    };
    match (args.transform, args.dtype.0) {
        (None, float) => {
            let options = ConvertOptions { float, progress: Some(&progress) };
            kvant_model::convert(&source, &args.out, &options)?;
        }
        (Some(Transform::Rotate { seed }), None | Some(FloatFormat::F32)) => {
            kvant_compress::rotate(&source, &args.out, seed)?;
        }
        (Some(Transform::Rotate { .. }), Some(_)) => {
            bail!("a rotated model is written in f32: leave --dtype out, or convert it again");
        }
        (Some(other @ (Transform::Smooth | Transform::LowRank { .. })), _) => {
            bail!("convert knows only the transform rotate; {other} goes with kvant compress");
        }
    }
    drop(bar);
    let (before, after) = (Checkpoint::open(&source)?, Checkpoint::open(&args.out)?);
    let size = |model: &Checkpoint| -> u64 { model.tensors().iter().map(bytes).sum() };
    let converted = Converted {
        source: source.display().to_string(),
        out: args.out.display().to_string(),
        size_bytes_before: size(&before),
        size_bytes: size(&after),
        tensors: after.tensors().len(),
        left_out: before.tensors().len().saturating_sub(after.tensors().len()),
        seconds: began.elapsed().as_secs_f64(),
    };
    if args.json {
        return print::json(&converted);
    }
    let left_out = match converted.left_out {
        0 => String::new(),
        count => format!(", {count} left out that {} does not hold", converted.out),
    };
    print::line(&format!(
        "{}: {} tensors, {} → {}{left_out}, {:.1} s",
        converted.out,
        converted.tensors,
        print::size(converted.size_bytes_before),
        print::size(converted.size_bytes),
        converted.seconds,
    ))
}

fn bytes(tensor: &TensorInfo) -> u64 {
    tensor.size_bytes
}

//! What every method is worth on every format: the linear layers of a sentence encoder are
//! encoded, and the vectors of sentences that were not calibrated on compared with those of the
//! uncompressed model.
//!
//! `cargo run --release -p kvant-compress --example method_quality -- MODEL CALIBRATION.txt
//! HELD_OUT.txt QUANTIZER…` with texts one a line and quantizers as `q4_0@gptq`.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use kvant_compress::{CalibrateOptions, Calibration, Method, Moment, Quantizer, Solve, Solver};
use kvant_model::{Checkpoint, Dense, EmbedOptions, Encoder, SaveOptions, SavedTensor, save};

/// Threads of everything.
const THREADS: usize = 2;

fn lines(path: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).context(path.to_owned())?;
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

fn embed(model: &Path, texts: &[String]) -> Result<Vec<Vec<f32>>> {
    let encoder = Encoder::load(model)?;
    let options = EmbedOptions { threads: THREADS, ..EmbedOptions::default() };
    let vectors = encoder.embed(texts, &options)?;
    Ok(vectors.chunks_exact(encoder.dim()).map(<[f32]>::to_vec).collect())
}

/// The encoded linears in f32, their bits, the mean square of their errors under H, and seconds.
struct Encoded {
    tensors: Vec<(String, SavedTensor)>,
    bits: f64,
    error: f64,
    seconds: f64,
}

fn one(
    model: &Checkpoint,
    moment: &Moment,
    quantizer: Quantizer,
) -> Result<Vec<(String, Dense, f64, f64)>> {
    let method = quantizer.method.unwrap_or(Method::Rtn);
    let solver = Solver::new(Some(moment), method)?;
    let solve = Solve { scheme: quantizer.scheme, method, observer: None, threads: 1 };
    let mut out = Vec::new();
    for name in &moment.weights {
        let dense = model.dense(name)?;
        let coded = solver.encode(dense.matrix(), &solve)?;
        let restored = coded.decode();
        let error = solver.error(dense.matrix(), &restored).unwrap_or(f64::NAN);
        let bits = coded.bits_per_weight();
        out.push((name.clone(), Dense::owned(dense.shape().to_vec(), restored), bits, error));
    }
    Ok(out)
}

fn encode(model: &Checkpoint, calibration: &Calibration, quantizer: Quantizer) -> Result<Encoded> {
    let start = Instant::now();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let found = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(moment) = calibration.inputs.get(index) else { return };
                    let result = one(model, moment, quantizer);
                    found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(result);
                }
            });
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    let found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (mut coded, mut bits, mut weights, mut errors) = (Vec::new(), 0.0, 0.0, Vec::new());
    for (name, dense, bpw, error) in
        found.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten()
    {
        bits += bpw * dense.values().len() as f64;
        weights += dense.values().len() as f64;
        errors.push(error * error);
        coded.push((name, dense));
    }
    let tensors = model.tensors().iter().map(|tensor| {
        let found = coded.iter().find(|(name, _)| *name == tensor.name);
        let saved = found.map_or(SavedTensor::Kept, |(_, dense)| SavedTensor::Dense(dense.clone()));
        (tensor.name.clone(), saved)
    });
    let tensors = tensors.collect();
    let error = errors.iter().sum::<f64>() / errors.len().max(1) as f64;
    Ok(Encoded { tensors, bits: bits / weights, error, seconds })
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, text, held_out, quantizers @ ..] = &args[..] else {
        anyhow::bail!("MODEL CALIBRATION.txt HELD_OUT.txt QUANTIZER…");
    };
    let (model, texts) = (Path::new(model), lines(held_out)?);
    let start = Instant::now();
    let options = CalibrateOptions { threads: THREADS, ..CalibrateOptions::default() };
    let calibration = Calibration::collect(model, &lines(text)?, &options)?;
    let seen = calibration.inputs.first().map_or(0, |input| input.count);
    println!("calibrated on {seen} tokens in {:.1} s", start.elapsed().as_secs_f64());
    let checkpoint = Checkpoint::open(model)?;
    let before = embed(model, &texts)?;
    println!("quantizer                 bits  error under H   cosine   least   seconds");
    for name in quantizers {
        let encoded = encode(&checkpoint, &calibration, name.parse()?)?;
        let place = tempfile::tempdir()?;
        let out = place.path().join("out");
        save(&out, model, &encoded.tensors, &SaveOptions::default())?;
        let after = embed(&out, &texts)?;
        let cosines = before.iter().zip(&after);
        let cosines = cosines.map(|(a, b)| kvant_kernels::kernels().cosine_f32(a, b));
        let cosines: Vec<f32> = cosines.collect();
        let mean = cosines.iter().map(|&c| f64::from(c)).sum::<f64>() / cosines.len() as f64;
        let least = cosines.iter().copied().fold(f32::INFINITY, f32::min);
        println!(
            "{name:<24} {:6.3}  {:.3e}      {mean:.5}  {least:.4}  {:.2}",
            encoded.bits, encoded.error, encoded.seconds
        );
    }
    Ok(())
}

//! The encoder against ONNX Runtime, on the real model (see `testdata/golden/embed/make.py`).
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use std::fs;
use std::path::{Path, PathBuf};

use kvant_kernels::Kernels;
use kvant_model::{Activations, Checkpoint, EmbedOptions, Encoder, SaveOptions, SavedTensor, save};
use kvant_quant::Scheme;
use serde_json::Value;

const DIM: usize = 384;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/embed").join(name)
}

fn texts() -> Vec<String> {
    let lines = fs::read_to_string(golden("texts.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn expected() -> Value {
    serde_json::from_str(&fs::read_to_string(golden("expected.json")).unwrap()).unwrap()
}

fn reference() -> Vec<f32> {
    let bytes = fs::read(golden("minilm.f32")).unwrap();
    bytes.as_chunks().0.iter().map(|bits| f32::from_le_bytes(*bits)).collect()
}

fn kernels() -> &'static Kernels {
    kvant_kernels::kernels()
}

fn model() -> Option<PathBuf> {
    let found = kvant_testkit::minilm();
    if found.is_none() {
        kvant_testkit::skip("all-MiniLM-L6-v2 is not here");
    }
    found
}

/// The real model with every matrix in `scheme`.
fn compressed(source: &Path, folder: &Path, scheme: Scheme) -> PathBuf {
    let checkpoint = Checkpoint::open(source).unwrap();
    let tensor = |name: &str, shape: &[usize], format: &str| {
        if shape.len() != 2 || format != "F32" {
            return (name.to_owned(), SavedTensor::Kept);
        }
        let dense = checkpoint.dense(name).unwrap();
        (name.to_owned(), SavedTensor::Coded(scheme.encode(dense.matrix()).unwrap()))
    };
    let tensors = checkpoint.tensors().iter();
    let tensors: Vec<_> = tensors.map(|t| tensor(&t.name, &t.shape, &t.format)).collect();
    let out = folder.join(scheme.to_string());
    let activations = Some(Activations::Token);
    save(&out, source, &tensors, &SaveOptions { activations, ..Default::default() }).unwrap();
    out
}

#[test]
fn vectors_equal_those_of_onnx_runtime() {
    let Some(model) = model() else { return };
    let encoder = Encoder::load(&model).unwrap();
    assert_eq!((encoder.dim(), encoder.max_tokens()), (DIM, 256));
    let texts = texts();
    let vectors = encoder.embed(&texts, &EmbedOptions::default()).unwrap();
    let tokens = expected()["tokens"].clone();
    let mut lowest = 1.0f32;
    for (i, (ours, theirs)) in vectors.chunks(DIM).zip(reference().chunks(DIM)).enumerate() {
        let counted = encoder.tokenize(&texts[i]).unwrap().len();
        assert_eq!(Some(counted as u64), tokens[i].as_u64(), "tokens of text {i}");
        let cosine = kernels().cosine_f32(ours, theirs);
        assert!(cosine >= 0.99999, "text {i} '{}': cosine {cosine}", texts[i]);
        let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
        assert!(worst < 2e-6, "text {i} '{}': differs by {worst}", texts[i]);
        lowest = lowest.min(cosine);
    }
    println!("lowest cosine {lowest}");
    let short = encoder.embed(&texts[..1], &EmbedOptions::default()).unwrap();
    for (ours, published) in short.iter().zip([0.06766, 0.06350, 0.04871, 0.07930]) {
        assert!((ours - published).abs() < 6e-6, "{ours} {published}");
    }
}

#[test]
fn a_vector_depends_on_its_text_only() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let texts = texts();
    depends_on_its_text_only(&model, &texts);
    depends_on_its_text_only(&compressed(&model, folder.path(), Scheme::Int8), &texts);
}

#[test]
fn a_vector_depends_on_its_text_only_whatever_the_scheme() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<String> = texts().into_iter().filter(|text| text.len() < 60).take(8).collect();
    let fits = |scheme: &Scheme| *scheme != Scheme::Int8 && DIM.is_multiple_of(scheme.whole_cols());
    for scheme in Scheme::ALL.into_iter().filter(fits) {
        let place = compressed(&model, folder.path(), scheme);
        depends_on_its_text_only(&place, &texts);
        fs::remove_dir_all(place).unwrap();
    }
}

/// The same bits together, alone, in batches of any size, on any number of threads.
fn depends_on_its_text_only(place: &Path, texts: &[String]) {
    let encoder = Encoder::load(place).unwrap();
    let embed = |texts: &[String], threads, batch_tokens| {
        let options = EmbedOptions { threads, batch_tokens, ..EmbedOptions::default() };
        let vectors = encoder.embed(texts, &options).unwrap();
        vectors.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
    };
    let together = embed(texts, 1, 4096);
    for (threads, batch_tokens) in [(1, 100), (2, 4096), (2, 700), (5, 1)] {
        let again = embed(texts, threads, batch_tokens);
        assert!(again == together, "{}: {threads} threads, {batch_tokens} tokens", place.display());
    }
    for (i, text) in texts.iter().enumerate() {
        let alone = embed(std::slice::from_ref(text), 1, 4096);
        assert!(alone == together[i * DIM..(i + 1) * DIM], "{}: text {i} alone", place.display());
    }
}

/// Average ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let below = values.iter().filter(|&&value| value < values[group[0]]).count();
        for &at in group {
            ranks[at] = below as f64 + (group.len() - 1) as f64 / 2.0;
        }
    }
    ranks
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let product = |x: &[f64], y: &[f64], mx: f64, my: f64| {
        x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum::<f64>()
    };
    let norm = product(a, a, mean_a, mean_a) * product(b, b, mean_b, mean_b);
    product(a, b, mean_a, mean_b) / norm.sqrt()
}

/// Spearman correlation of cosines with human scores, times 100.
fn spearman(model: &Path, pairs: &Path) -> f64 {
    let encoder = Encoder::load(model).unwrap();
    let lines = fs::read_to_string(pairs).unwrap();
    let mut scores = Vec::new();
    let mut texts = Vec::new();
    for line in lines.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        scores.push(fields[4].parse::<f64>().unwrap());
        texts.extend([fields[5], fields[6]]);
    }
    let options = EmbedOptions { threads: 2, ..EmbedOptions::default() };
    let vectors = encoder.embed(&texts, &options).unwrap();
    let cosine = |pair: &[f32]| {
        let (a, b) = pair.split_at(DIM);
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>()
    };
    let cosines: Vec<f64> = vectors.chunks(2 * DIM).map(cosine).collect();
    correlation(&ranks(&scores), &ranks(&cosines)) * 100.0
}

#[test]
fn sts_scores_equal_those_of_onnx_runtime() {
    let Some(model) = model() else { return };
    let Some(pairs) = kvant_testkit::shared("data/stsb-dev.tsv") else {
        return kvant_testkit::skip("stsb-dev.tsv is not here");
    };
    let reference = expected()["stsb_dev_spearman"].as_f64().unwrap() * 100.0;
    let float = spearman(&model, &pairs);
    println!("STS-B dev: reference {reference:.4}, f32 {float:.4}");
    assert!((float - reference).abs() <= 0.01, "{float} against {reference}");
    let folder = tempfile::tempdir().unwrap();
    let int8 = spearman(&compressed(&model, folder.path(), Scheme::Int8), &pairs);
    println!("STS-B dev: int8 {int8:.4}");
    assert!((int8 - reference).abs() <= 0.2, "{int8} against {reference}");
}

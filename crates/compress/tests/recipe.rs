//! What `compress` does with models that are small, odd or broken.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use kvant_compress::{CompressError, PassError, Plan, PlanError, REPORT_FILE, Step, compress};
use kvant_model::{Checkpoint, SaveError, Weight};
use kvant_quant::{BlockFormat, Scheme};
use kvant_testkit::Random;
use tempfile::TempDir;

type Tensor<'a> = (&'a str, &'a str, Vec<usize>, Vec<u8>);

fn float<'a>(name: &'a str, shape: &[usize], values: &[f32]) -> Tensor<'a> {
    (name, "F32", shape.to_vec(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

/// A model directory of the given tensors, written byte by byte.
fn model(tensors: &[Tensor<'_>]) -> (TempDir, PathBuf) {
    let written = || {
        let place = tempfile::tempdir()?;
        let path = place.path().join("model");
        fs::create_dir(&path)?;
        let mut header = serde_json::Map::new();
        let mut data = Vec::new();
        for (name, dtype, shape, bytes) in tensors {
            let start = data.len();
            data.extend_from_slice(bytes);
            let offsets = [start, data.len()];
            let entry = serde_json::json!(
                {"dtype": dtype, "shape": shape, "data_offsets": offsets});
            header.insert((*name).to_owned(), entry);
        }
        let mut header = serde_json::to_vec(&header)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(&header);
        file.extend_from_slice(&data);
        fs::write(path.join("model.safetensors"), file)?;
        fs::write(path.join("config.json"), br#"{"model_type": "bert", "hidden_size": 64}"#)?;
        fs::write(path.join("tokenizer.json"), b"{}")?;
        std::io::Result::Ok((place, path))
    };
    match written() {
        Ok(written) => written,
        Err(error) => unreachable!("{error}"),
    }
}

/// Matrices of several sizes, one of 48 columns, a bias, and a table of indices.
fn ordinary() -> (TempDir, PathBuf) {
    let mut random = Random::new(11);
    model(&[
        float("a.weight", &[64, 128], &random.normals(64 * 128)),
        float("b.weight", &[40, 48], &random.normals(40 * 48)),
        float("b.bias", &[40], &random.normals(40)),
        float("c.weight", &[96, 32], &random.normals(96 * 32)),
        float("small.weight", &[31, 64], &random.normals(31 * 64)),
        ("ids", "I64", vec![64, 64], vec![1; 64 * 64 * 8]),
    ])
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn run(source: &Path, out: &Path, scheme: Scheme) -> Result<(), CompressError> {
    compress(source, out, &Plan::uniform(scheme), &|_| {}).map(|_| ())
}

#[test]
fn what_a_scheme_cannot_hold_stays_and_is_listed() {
    let (place, source) = ordinary();
    let out = place.path().join("out");
    let report =
        compress(&source, &out, &Plan::uniform(Scheme::Block(BlockFormat::Q4_0)), &|_| {}).unwrap();
    let of = |name: &str| report.tensors.iter().find(|t| t.name == name).unwrap();
    for (name, format, why) in [
        ("a.weight", "q4_0", None),
        ("c.weight", "q4_0", None),
        ("b.weight", "F32", Some("48 columns")),
        ("b.bias", "F32", Some("is no matrix")),
        ("small.weight", "F32", Some("below 32")),
        ("ids", "I64", Some("indices")),
    ] {
        let line = of(name);
        assert_eq!(line.format, format, "{name}");
        match (why, &line.kept) {
            (None, None) => assert!(line.mean_abs > 0.0 && line.max_abs > line.mean_abs),
            (Some(why), Some(kept)) => {
                assert!(kept.contains(why), "{name}: {kept}");
                assert_eq!((line.mean_abs, line.max_abs, line.relative), (0.0, 0.0, 0.0));
            }
            (why, kept) => panic!("{name}: {why:?} {kept:?}"),
        }
    }
    let (before, after) = (Checkpoint::open(&source).unwrap(), Checkpoint::open(&out).unwrap());
    for name in ["b.weight", "b.bias", "small.weight"] {
        let Weight::Dense(kept) = after.weight(name).unwrap() else { panic!("{name} is coded") };
        assert_eq!(kept.values(), before.dense(name).unwrap().values(), "{name}");
    }
    let weights = (64 * 128 + 40 * 48 + 40 + 96 * 32 + 31 * 64) as u64;
    assert_eq!(report.parameters, weights);
    let coded = (64 * 128 + 96 * 32) as f64;
    let bits = (coded * 4.5 + (weights as f64 - coded) * 32.0) / weights as f64;
    assert!((report.bits_per_weight - bits).abs() < 1e-9, "{}", report.bits_per_weight);
}

#[test]
fn the_weights_do_not_depend_on_the_threads() {
    let (place, source) = ordinary();
    let mut files = Vec::new();
    for threads in [0, 1, 2, 7] {
        let out = place.path().join(format!("out{threads}"));
        let plan = Plan { threads, ..Plan::uniform("linear4".parse::<Scheme>().unwrap()) };
        let mut report = compress(&source, &out, &plan, &|_| {}).unwrap();
        report.seconds = 0.0;
        let weights = fs::read(out.join("model.safetensors")).unwrap();
        files.push((weights, fs::read(out.join("config.json")).unwrap(), report));
    }
    assert!(files.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn progress_counts_up_to_the_whole() {
    let (place, source) = ordinary();
    let steps = RefCell::new(Vec::new());
    let plan = Plan { threads: 2, ..Plan::uniform(Scheme::Int8) };
    let out = place.path().join("out");
    compress(&source, &out, &plan, &|step| steps.borrow_mut().push(step)).unwrap();
    let steps = steps.into_inner();
    assert_eq!(steps.len(), 4, "{steps:?}");
    let mut last = 0;
    for step in &steps[..3] {
        let Step::Encoded { done, total, .. } = step else { panic!("{step:?}") };
        assert!(*done > last && *total == 64 * 128 + 40 * 48 + 96 * 32);
        last = *done;
    }
    assert_eq!((last, &steps[3]), (64 * 128 + 40 * 48 + 96 * 32, &Step::Saving));
}

#[test]
fn an_existing_place_is_refused_and_untouched() {
    let (place, source) = ordinary();
    let out = place.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine"), b"x").unwrap();
    let error = run(&source, &out, Scheme::Int8).unwrap_err();
    assert!(matches!(error, CompressError::Save(SaveError::Exists { .. })), "{error}");
    assert_eq!(names(&out), ["mine"]);
    let error = run(&source, &source, Scheme::Int8).unwrap_err();
    assert!(matches!(error, CompressError::Save(SaveError::Exists { .. })), "{error}");
    assert_eq!(names(&source), ["config.json", "model.safetensors", "tokenizer.json"]);
}

#[test]
fn a_file_is_refused_by_its_kind() {
    let (place, source) = ordinary();
    let out = place.path().join("out");
    let gguf = place.path().join("model.gguf");
    fs::write(&gguf, b"GGUF").unwrap();
    let error = run(&gguf, &out, Scheme::Int8).unwrap_err().to_string();
    assert!(error.contains("model.gguf is damaged"), "{error}");
    let error = run(&source.join("model.safetensors"), &out, Scheme::Int8).unwrap_err();
    assert!(matches!(error, CompressError::Plan(PlanError::File { .. })), "{error}");
    let error = run(&place.path().join("absent"), &out, Scheme::Int8).unwrap_err();
    assert!(matches!(error, CompressError::Load(_)), "{error}");
    assert!(!out.exists());
}

#[test]
fn a_compressed_model_is_refused() {
    let (place, source) = ordinary();
    let (once, twice) = (place.path().join("once"), place.path().join("twice"));
    for scheme in [Scheme::Int8, "linear3".parse().unwrap(), Scheme::Block(BlockFormat::Q8_0)] {
        run(&source, &once, scheme).unwrap();
        let error = run(&once, &twice, Scheme::Int8).unwrap_err();
        let CompressError::Pass(PassError::Coded { format, .. }) = &error else {
            panic!("{error}")
        };
        assert_eq!(*format, scheme.to_string());
        assert!(!twice.exists());
        fs::remove_dir_all(&once).unwrap();
    }
}

#[test]
fn broken_weights_are_named_and_leave_nothing() {
    let mut values = Random::new(2).normals(64 * 64);
    values[64 * 5 + 9] = f32::NAN;
    let good = Random::new(3).normals(64 * 64);
    let (place, source) = model(&[
        float("first.weight", &[64, 64], &good),
        float("second.weight", &[64, 64], &values),
        float("third.weight", &[64, 64], &values),
    ]);
    let out = place.path().join("out");
    for threads in [1, 2, 3] {
        let plan = Plan { threads, ..Plan::uniform(Scheme::Int8) };
        let error = compress(&source, &out, &plan, &|_| {}).unwrap_err().to_string();
        assert_eq!(
            error,
            "tensor 'second.weight': value NaN at row 5, column 9 is not a finite number"
        );
    }
    assert_eq!(names(place.path()), ["model"], "nothing stays");
}

#[test]
fn a_model_that_would_not_change_is_refused() {
    let (place, source) = model(&[float("w", &[64, 40], &Random::new(4).normals(64 * 40))]);
    let out = place.path().join("out");
    let error = run(&source, &out, Scheme::Block(BlockFormat::Q4_0)).unwrap_err();
    assert!(matches!(error, CompressError::Plan(PlanError::Nothing { .. })), "{error}");
    assert!(error.to_string().contains("40 columns"), "{error}");
    assert_eq!(names(place.path()), ["model"]);
    run(&source, &out, "linear5".parse().unwrap()).unwrap();
    assert_eq!(names(place.path()), ["model", "out"], "no temporary directory stays");
    let expected = ["compression.json", "config.json", "model.safetensors", "tokenizer.json"];
    assert_eq!(names(&out), expected);
    assert!(expected.contains(&REPORT_FILE));
}

#[test]
fn a_place_that_cannot_be_made_leaves_nothing() {
    let (place, source) = ordinary();
    fs::write(place.path().join("file"), b"x").unwrap();
    let error = run(&source, &place.path().join("file/out"), Scheme::Int8).unwrap_err();
    assert!(matches!(error, CompressError::Save(_)), "{error}");
    assert_eq!(names(place.path()), ["file", "model"]);
    run(&source, &place.path().join("new/folder/out"), Scheme::Int8).unwrap();
    assert_eq!(names(&place.path().join("new/folder")), ["out"]);
}

/// The weights are written by then; the directory must still not appear.
#[cfg(unix)]
#[test]
fn a_failure_while_writing_leaves_nothing() {
    let (place, source) = ordinary();
    fs::write(place.path().join("secret.json"), b"{}").unwrap();
    std::os::unix::fs::symlink("../secret.json", source.join("vocab.json")).unwrap();
    let error = run(&source, &place.path().join("out"), Scheme::Int8).unwrap_err();
    assert!(matches!(error, CompressError::Save(SaveError::Outside { .. })), "{error}");
    assert_eq!(names(place.path()), ["model", "secret.json"]);
}

/// A copy that was killed half-way has left its hidden directory; the next one clears it.
#[test]
fn what_a_killed_run_left_is_no_obstacle() {
    let (place, source) = ordinary();
    let hidden = place.path().join(format!(".compress-{}-out", std::process::id()));
    fs::create_dir(&hidden).unwrap();
    fs::write(hidden.join("model.safetensors"), b"half").unwrap();
    run(&source, &place.path().join("out"), Scheme::Int8).unwrap();
    assert_eq!(names(place.path()), ["model", "out"]);
}

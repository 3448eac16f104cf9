//! The whole evaluation on the real model and real data, where this machine has them.

use std::path::{Path, PathBuf};

use kvant_compress::{Plan, Quantizer};
use kvant_eval::task::{Kind, Task};
use kvant_eval::{Model, Options, evaluate, report};
use kvant_model::Activations;
use kvant_testkit::{minilm, shared, skip};

/// The Spearman correlation of all-MiniLM-L6-v2 on the dev part of STS-B.
const STSB_DEV: f64 = 0.867;

fn files(names: &[&str]) -> Option<(PathBuf, Vec<PathBuf>)> {
    let files = minilm().zip(names.iter().map(|name| shared(name)).collect());
    if files.is_none() {
        skip("MiniLM or the shared evaluation data is absent");
    }
    files
}

#[cfg(test)]
fn compressed(source: &Path, scheme: &str, into: &Path) -> Model {
    let activations = Some(Activations::Token);
    let plan = Plan { activations, ..Plan::uniform(scheme.parse::<Quantizer>().unwrap()) };
    let out = into.join(scheme);
    kvant_compress::compress(source, &out, &plan, &|_| {}).unwrap();
    Model::open(&out).unwrap()
}

#[test]
fn similarity_survives_int8() {
    let Some((source, data)) = files(&["data/stsb-dev.tsv"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (base, int8) = (Model::open(&source).unwrap(), compressed(&source, "int8", folder.path()));
    let task = Task::read(Kind::Sts, &data[0], None).unwrap();
    let sides = [base.side("f32", None), int8.side("int8", None)];
    let options =
        Options { threads: 2, rounds: 2, calls: 20, batch_texts: 32, ..Options::default() };
    let report = evaluate(&sides, &task, &options).unwrap();
    let [base, int8] = &report.models[..] else { panic!("two models") };
    assert!((base.quality.score - STSB_DEV).abs() < 0.001, "{}", base.quality.score);
    assert!(int8.quality.kept.unwrap() > 0.99, "{:?}", int8.quality);
    assert!(int8.quality.agreement.unwrap().mean > 0.99, "{:?}", int8.quality);
    let interval = int8.quality.difference.unwrap();
    assert!(interval.low <= interval.value && interval.value <= interval.high);
    assert!(int8.ratio.unwrap().weights.unwrap() < 0.3, "{:?}", int8.size);
    assert!(int8.size.bits_per_weight.unwrap() < 9.0 && !int8.tensors.is_empty());
    let page = report::html(&report);
    assert_eq!(page.matches("<svg").count(), 5, "all plots but that of memory");
    eprintln!("{}", report::table(&report));
}

#[test]
fn intents_are_told_apart() {
    let Some((source, data)) = files(&["data/banking77-test.csv"]) else { return };
    // Ten classes, so that the test is quick without the fast kernels too.
    let text = std::fs::read_to_string(&data[0]).unwrap();
    let few: Vec<&str> = text.lines().take(401).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("few.csv");
    std::fs::write(&path, few.join("\n")).unwrap();
    let model = Model::open(&source).unwrap();
    let sides = [model.side("f32", None)];
    let options = Options { threads: 2, rounds: 0, ..Options::default() };
    for (kind, least) in [(Kind::Classify, 0.9), (Kind::Retrieval, 0.6)] {
        let task = Task::read(kind, &path, None).unwrap();
        let report = evaluate(&sides, &task, &options).unwrap();
        let score = report.models[0].quality.score;
        assert!(score > least, "{kind}: {score}");
        eprintln!("{kind}: {score:.4}, {:?}", report.models[0].quality.scores);
    }
}

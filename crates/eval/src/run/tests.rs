//! The whole evaluation with made-up models.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::Failure;
use crate::report::Memory;

/// Embeds a text as its first three letters; `noise` turns each vector a little.
struct Letters {
    name: &'static str,
    noise: f32,
    calls: Option<&'static Mutex<Vec<(&'static str, usize)>>>,
}

impl Letters {
    fn new(name: &'static str, noise: f32) -> Self {
        Self { name, noise, calls: None }
    }
}

impl Embed for Letters {
    fn dim(&self) -> usize {
        26
    }

    fn embed(&self, texts: &[&str], _: usize) -> Result<Vec<f32>, Failure> {
        if let Some(calls) = self.calls {
            calls.lock().unwrap().push((self.name, texts.len()));
        }
        let mut rows = vec![0.0; texts.len() * 26];
        for (row, text) in rows.chunks_exact_mut(26).zip(texts) {
            if *text == "fail" {
                return Err("out of letters".into());
            }
            for (i, letter) in text.bytes().take(3).enumerate() {
                row[usize::from(letter - b'a')] += 1.0;
                row[(usize::from(letter - b'a') + 7 * i + 1) % 26] += self.noise;
            }
            if *text == "nan" {
                row[0] = f32::NAN;
            }
        }
        Ok(rows)
    }

    fn tokens(&self, text: &str) -> Result<usize, Failure> {
        Ok(text.len())
    }

    fn macs(&self, tokens: usize) -> u64 {
        100 * tokens as u64
    }

    fn weight_bytes(&self) -> usize {
        104
    }
}

fn task(kind: &str, name: &str, text: &str) -> Task {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    Task::read(kind.parse().unwrap(), &path, None).unwrap()
}

const PAIRS: &str = "5\tabc\tabc\n3\tabc\tabd\n1\tabc\taxy\n0\tabc\txyz\n4\tklm\tklmn\n2\tkl\tk\n";

fn quick() -> Options<'static> {
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    Options { rounds: 1, calls: 3, batch_texts: 4, now, ..Options::default() }
}

#[test]
fn baseline_and_candidates_are_compared() {
    let (exact, same, rough) =
        (Letters::new("f", 0.0), Letters::new("s", 0.0), Letters::new("r", 0.6));
    let memory = |peak_bytes| Some(Memory { start_bytes: 1, loaded_bytes: 2, peak_bytes });
    let mut sides =
        [Side::new("f32", &exact), Side::new("same", &same), Side::new("rough", &rough)];
    sides[0].memory = memory(200);
    sides[1].memory = memory(50);
    sides[1].path = Some(Path::new("a/b").into());
    let report = evaluate(&sides, &task("sts", "a.tsv", PAIRS), &quick()).unwrap();
    assert_eq!((report.task.n, report.task.texts), (6, 12));
    assert_eq!(report.date, "2023-11-14T22:13:20Z");
    let [base, same, rough] = &report.models[..] else { panic!("three models") };
    assert_eq!((base.ratio, base.quality.kept, base.quality.difference), (None, None, None));
    assert_eq!(same.quality.kept, Some(1.0));
    assert_eq!(same.quality.overlap, Some(1.0));
    let interval = same.quality.difference.unwrap();
    assert_eq!((interval.low, interval.value, interval.high), (0.0, 0.0, 0.0));
    assert!(same.quality.agreement.unwrap().min > 1.0 - 1e-6);
    assert_eq!(same.ratio.unwrap().peak_memory, Some(0.25));
    assert_eq!(same.path.as_deref(), Some("a/b"));
    assert_eq!(same.ratio.unwrap().weights, None, "what was not measured has no ratio");
    assert_eq!(same.ratio.unwrap().macs, Some(1.0));
    assert!(rough.quality.agreement.unwrap().mean < 0.99);
    assert_eq!(rough.size.loaded_bytes, Some(104));
    // Texts have 3, 3, 3, 3, 3, 2 and 3, 3, 3, 3, 4, 1 letters.
    assert_eq!(base.compute.unwrap().tokens_per_text, 34.0 / 12.0);
    assert_eq!(base.compute.unwrap().macs_per_text, 3400.0 / 12.0);
    assert_eq!(base.latency.as_ref().unwrap().samples_ms.len(), 3);
    assert_eq!(base.throughput.as_ref().unwrap().runs.len(), 1);
}

#[test]
fn models_take_turns_in_alternating_order() {
    static CALLS: Mutex<Vec<(&str, usize)>> = Mutex::new(Vec::new());
    let logged = |name| Letters { calls: Some(&CALLS), ..Letters::new(name, 0.0) };
    let (a, b) = (logged("a"), logged("b"));
    let sides = [Side::new("a", &a), Side::new("b", &b)];
    let options = Options { rounds: 2, calls: 4, ..quick() };
    evaluate(&sides, &task("sts", "a.tsv", PAIRS), &options).unwrap();
    let calls = CALLS.lock().unwrap();
    // The task once each; then two uncounted and two counted single calls a turn; then batches,
    // the first round of which does not count.
    let single: String = calls[2..18].iter().map(|call| call.0).collect();
    assert_eq!(single, "aaaabbbbbbbbaaaa");
    assert!(calls[2..18].iter().all(|call| call.1 == 1));
    assert_eq!(calls[18..], [("a", 4), ("b", 4), ("b", 4), ("a", 4), ("a", 4), ("b", 4)]);
}

#[test]
fn progress_reaches_its_totals_and_no_rounds_take_no_time() {
    let model = Letters::new("m", 0.0);
    let sides = [Side::new("a", &model), Side::new("b", &model)];
    let told = Mutex::new(Vec::new());
    let progress = |at: Progress| told.lock().unwrap().push(at);
    let options = Options { progress: Some(&progress), ..quick() };
    let task = task("sts", "a.tsv", PAIRS);
    evaluate(&sides, &task, &options).unwrap();
    let told = told.into_inner().unwrap();
    assert!(told.contains(&Progress::Embed { done: 24, total: 24 }));
    assert_eq!(told.last(), Some(&Progress::Time { done: 4, total: 4 }));
    let report = evaluate(&sides, &task, &Options { rounds: 0, resamples: 0, ..quick() }).unwrap();
    assert_eq!((&report.models[1].latency, &report.models[1].throughput), (&None, &None));
    assert_eq!(report.models[1].quality.difference, None);
    assert_eq!(report.models[1].ratio.unwrap().latency_p50, None);
}

#[test]
fn questions_are_answered_by_every_model() {
    let text = "{\"id\":\"x\",\"text\":\"abc\"}\n{\"id\":\"y\",\"text\":\"xyz\"}\n\
                {\"query\":\"abd\",\"relevant\":[\"x\"]}\n";
    let (a, b) = (Letters::new("a", 0.0), Letters::new("b", 0.1));
    let sides = [Side::new("a", &a), Side::new("b", &b)];
    let options = Options { questions: vec!["xya".into()], ..quick() };
    let report = evaluate(&sides, &task("retrieval", "a.jsonl", text), &options).unwrap();
    let [example] = &report.examples[..] else { panic!("one example") };
    assert_eq!(example.query, "xya");
    let labels: Vec<&str> = example.answers.iter().map(|answers| answers.label.as_str()).collect();
    assert_eq!(labels, ["a", "b"]);
    let first = &example.answers[0].found;
    assert_eq!((first[0].id.as_str(), first[0].text.as_str(), first.len()), ("y", "xyz", 2));
    assert!((first[0].score - 2.0 / 3.0).abs() < 1e-6);
    assert_eq!(report.models[0].quality.score, 1.0);
}

#[test]
fn faults_name_the_model() {
    let model = Letters::new("m", 0.0);
    let said = |sides: &[Side<'_>], pairs: &str| {
        evaluate(sides, &task("sts", "a.tsv", pairs), &quick()).unwrap_err().to_string()
    };
    let one = [Side::new("int8", &model)];
    assert_eq!(said(&[], PAIRS), "there is no model to evaluate");
    let twice = [Side::new("x", &model), Side::new("x", &model)];
    assert_eq!(said(&twice, PAIRS), "two models are called 'x'; give them names that differ");
    assert_eq!(said(&one, "1\ta\tfail\n2\ta\tb\n"), "int8: out of letters");
    let broken = "int8: the vector of 'nan' is not finite; the model is damaged";
    assert_eq!(said(&one, "1\ta\tb\n2\tnan\tb\n"), broken);
    let constant = "int8: Pearson is undefined: all values are equal, so there is no correlation";
    assert_eq!(said(&one, "1\ta\ta\n2\tb\tb\n"), constant);
}

/// The names in a JSON value, with the names inside each.
fn names(value: &serde_json::Value, path: &str, into: &mut BTreeSet<String>) {
    if let serde_json::Value::Object(fields) = value {
        for (name, value) in fields {
            let path = format!("{path}.{name}");
            names(value, &path, into);
            into.insert(path);
        }
    }
}

#[test]
fn the_report_has_the_layout_its_comment_shows() {
    let source = include_str!("../report.rs");
    let shown = source.split("/// ```json\n").nth(1).unwrap().split("/// ```").next().unwrap();
    let shown: String = shown.lines().map(|line| line.trim_start_matches("///")).collect();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let mut documented = BTreeSet::new();
    names(&shown, "", &mut documented);
    names(&shown["models"][0], "", &mut documented);
    let typed: Report = serde_json::from_value(shown).unwrap();

    let model = Letters::new("m", 0.3);
    let mut side = Side::new("a", &model);
    side.memory = typed.models[0].memory;
    let report = evaluate(&[side], &task("sts", "a.tsv", PAIRS), &quick()).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    let mut written = BTreeSet::new();
    names(&json, "", &mut written);
    names(&json["models"][0], "", &mut written);
    assert_eq!(written, documented);
    let back: Report = serde_json::from_value(json).unwrap();
    assert_eq!((back.schema, back.models.len(), back.date), (SCHEMA, 1, report.date));
    assert!((back.models[0].quality.score - report.models[0].quality.score).abs() < 1e-12);
}

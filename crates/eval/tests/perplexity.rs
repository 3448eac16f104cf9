//! Perplexity of a made-up language model, window by window against its own logits, and of the
//! real SmolLM2.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use kvant_eval::{Perplexity, PerplexityError, PerplexityOptions, perplexity};
use kvant_model::{Cancel, Checkpoint, Compute, Decoder, ForwardError, ForwardOptions};

const TEXT: &str = "It was the best of times, it was the worst of times, it was the age of wisdom.";

fn model(seed: u64, change: impl FnOnce(&Path)) -> Decoder {
    let folder = tempfile::tempdir().unwrap();
    kvant_testkit::llama(folder.path(), seed).unwrap();
    change(folder.path());
    Decoder::load(folder.path()).unwrap()
}

fn run(model: &Decoder, reference: Option<&Decoder>, text: &str, threads: usize) -> Perplexity {
    let options = PerplexityOptions { context: 16, threads, ..PerplexityOptions::default() };
    perplexity(model, reference, text, &options).unwrap()
}

/// The protocol by itself: ln p of every scored token and all distributions at its position.
fn distributions(model: &Decoder, first: Option<u32>) -> Vec<(f64, Vec<f64>)> {
    let tokens = model.tokenize(TEXT).unwrap();
    let mut found = Vec::new();
    for window in tokens.chunks_exact(16) {
        let mut window = window.to_vec();
        window[0] = first.unwrap_or(window[0]);
        let logits = model.logits(&window, ForwardOptions::default()).unwrap();
        let rows: Vec<&[f32]> = logits.chunks(256).collect();
        for at in 9..16 {
            let weights = rows[at - 1].iter().map(|&value| f64::from(value).exp());
            let sum = weights.clone().sum::<f64>();
            let shares: Vec<f64> = weights.map(|weight| weight / sum).collect();
            found.push((-shares[window[at] as usize].ln(), shares));
        }
    }
    found
}

fn near(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-5 * expected.abs().max(1.0), "{got} is not {expected}");
}

#[test]
fn the_second_half_of_every_window_is_scored() {
    let (ours, theirs) = (model(1, |_| ()), model(2, |_| ()));
    let (a, b) = (distributions(&ours, None), distributions(&theirs, None));
    let found = run(&ours, Some(&theirs), TEXT, 1);
    assert_eq!((found.context, found.chunks, found.scored), (16, 4, 28));
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / 28.0;
    near(found.perplexity.value, mean(&mut a.iter().map(|(loss, _)| *loss)).exp());
    let against = found.against.unwrap();
    near(against.reference.value, mean(&mut b.iter().map(|(loss, _)| *loss)).exp());
    near(against.ratio.value, found.perplexity.value / against.reference.value);
    let divergences = b
        .iter()
        .zip(&a)
        .map(|((_, p), (_, q))| p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum::<f64>());
    near(against.mean.value, mean(&mut divergences.clone()));
    near(against.max, divergences.fold(0.0, f64::max));
    assert!(against.median <= against.p99 && against.p99 <= against.max);
}

#[test]
fn figures_are_the_same_for_any_number_of_threads() {
    let (ours, theirs) = (model(1, |_| ()), model(2, |_| ()));
    let alone = run(&ours, Some(&theirs), TEXT, 1);
    for threads in [2, 3, 16] {
        assert_eq!(run(&ours, Some(&theirs), TEXT, threads), alone);
    }
    let itself = run(&ours, Some(&ours), TEXT, 2).against.unwrap();
    assert!(itself.max < 1e-12 && itself.same_top.value == 1.0 && itself.ratio.value == 1.0);
}

#[test]
fn windows_begin_as_the_model_wants_texts_to_begin() {
    let marked = model(1, |path| {
        let path = path.join("tokenizer.json");
        let text = fs::read_to_string(&path).unwrap();
        let post = r#""post_processor":{"type":"TemplateProcessing","pair":[],
            "single":[{"SpecialToken":{"id":"Z","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
            "special_tokens":{"Z":{"id":"Z","ids":[57],"tokens":["Z"]}}},"decoder""#;
        let (head, tail) = text.split_once(r#""post_processor""#).unwrap();
        let tail = tail.split_once(r#""decoder""#).unwrap().1;
        fs::write(path, format!("{head}{post}{tail}")).unwrap();
    });
    assert_eq!(marked.prefix(), [57]);
    let expected = distributions(&marked, Some(57));
    let loss = expected.iter().map(|(loss, _)| *loss).sum::<f64>() / expected.len() as f64;
    near(run(&marked, None, TEXT, 1).perplexity.value, loss.exp());
    let other = model(1, |_| ());
    let options = PerplexityOptions { context: 16, ..PerplexityOptions::default() };
    let error = perplexity(&marked, Some(&other), TEXT, &options).unwrap_err();
    assert_eq!(error, PerplexityError::Foreign);
}

#[test]
fn chunks_bound_the_work_and_progress_tells_it() {
    let model = model(1, |_| ());
    let told = Mutex::new(Vec::new());
    let progress = |done, all| told.lock().unwrap().push((done, all));
    let options = PerplexityOptions {
        context: 16,
        chunks: Some(3),
        progress: Some(&progress),
        ..PerplexityOptions::default()
    };
    let found = perplexity(&model, None, TEXT, &options).unwrap();
    assert_eq!((found.chunks, found.scored, found.against), (3, 21, None));
    assert_eq!(*told.lock().unwrap(), [(1, 3), (2, 3), (3, 3)]);
    let start: String = TEXT.chars().take(48).collect();
    assert_eq!(run(&model, None, &start, 1), found);
}

#[test]
fn a_cancelled_call_scores_no_further_window() {
    let model = model(1, |_| ());
    let (cancel, told) = (Cancel::new(), Mutex::new(0));
    let progress = |done, all| {
        *told.lock().unwrap() = done;
        assert!(all > 2);
        if done == 2 {
            cancel.cancel();
        }
    };
    let options = PerplexityOptions {
        context: 16,
        progress: Some(&progress),
        cancel: Some(&cancel),
        ..PerplexityOptions::default()
    };
    let found = perplexity(&model, None, TEXT, &options);
    assert_eq!(found, Err(PerplexityError::Model(ForwardError::Cancelled)));
    assert_eq!(*told.lock().unwrap(), 2);
}

#[test]
fn texts_and_windows_that_do_not_fit_are_refused() {
    let model = model(1, |_| ());
    let run = |context, text| {
        let options = PerplexityOptions { context, ..PerplexityOptions::default() };
        perplexity(&model, None, text, &options).map(|found| found.scored)
    };
    let limit = kvant_testkit::LLAMA_CONTEXT;
    for got in [0, 3, limit + 1] {
        assert_eq!(run(got, TEXT), Err(PerplexityError::Context { got, limit }));
    }
    assert_eq!(run(4, "four"), Ok(1));
    assert_eq!(run(5, "four"), Err(PerplexityError::Short { tokens: 4, context: 5 }));
    assert_eq!(run(4, ""), Err(PerplexityError::Short { tokens: 0, context: 4 }));
}

/// The first windows of WikiText-2 validation; the figure of an independent forward pass is in
/// `testdata/golden/decoder`.
#[test]
fn the_real_model_predicts_a_real_text() {
    let Some(path) = kvant_testkit::smollm2() else {
        return kvant_testkit::skip("SmolLM2 is not here (KVANT_TEST_SMOLLM2)");
    };
    let Some(text) = kvant_testkit::shared("data/wikitext2-valid.txt") else {
        return kvant_testkit::skip("wikitext2-valid.txt is not here");
    };
    let exact = Checkpoint::open(&path).unwrap().with_compute(Compute::Float32);
    let model = Decoder::open(&exact).unwrap();
    let text = fs::read_to_string(text).unwrap();
    let options = PerplexityOptions { chunks: Some(2), threads: 2, ..PerplexityOptions::default() };
    let found = perplexity(&model, None, &text, &options).unwrap();
    assert_eq!(found.scored, 510);
    let golden = "../../testdata/golden/decoder/expected.json";
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(golden);
    let golden: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(golden).unwrap()).unwrap();
    near(found.perplexity.value, golden["perplexity"]["value"].as_f64().unwrap());
    near(found.perplexity.error, golden["perplexity"]["error"].as_f64().unwrap());
}

//! The real SmolLM2 against a tokenizer and a network written in Python
//! (`testdata/golden/decoder/make.py`).

use std::fs;
use std::path::{Path, PathBuf};

use kvant_model::{Checkpoint, Compute, Decoder, ForwardOptions};
use serde_json::Value;

fn expected() -> Value {
    let path = "../../testdata/golden/decoder/expected.json";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn model() -> Option<PathBuf> {
    let found = kvant_testkit::smollm2();
    if found.is_none() {
        kvant_testkit::skip("SmolLM2-135M-Instruct.Q4_1.gguf is not here (KVANT_TEST_SMOLLM2)");
    }
    found
}

fn numbers(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect()
}

#[test]
fn tokens_equal_those_of_the_papers() {
    let Some(model) = model() else { return };
    let decoder = Decoder::load(&model).unwrap();
    assert_eq!((decoder.vocabulary(), decoder.context()), (49_152, 8192));
    assert!(decoder.prefix().is_empty());
    for entry in expected()["texts"].as_array().unwrap() {
        let (text, tokens) = (entry["text"].as_str().unwrap(), numbers(&entry["tokens"]));
        assert_eq!(decoder.tokenize(text).unwrap(), tokens, "{text:?}");
        let back = decoder.detokenize(&tokens).unwrap();
        let plain = text.replace("<|im_start|>", "").replace("<|im_end|>", "");
        assert_eq!(back, plain);
    }
}

#[test]
fn logits_equal_those_of_the_papers() {
    let Some(model) = model() else { return };
    let exact = Checkpoint::open(&model).unwrap().with_compute(Compute::Float32);
    let decoder = Decoder::open(&exact).unwrap();
    let expected = expected();
    let at = expected["logits_of"].as_u64().unwrap() as usize;
    let tokens = numbers(&expected["texts"][at]["tokens"]);
    let options = ForwardOptions { threads: 2, ..ForwardOptions::default() };
    let logits = decoder.logits(&tokens, options).unwrap();
    let rows: Vec<&[f32]> = logits.chunks(decoder.vocabulary()).collect();
    let log_sum = |row: &[f32]| {
        let most = row.iter().fold(f32::MIN, |most, value| most.max(*value));
        let sum = row.iter().map(|value| f64::from(value - most).exp()).sum::<f64>();
        f64::from(most) + sum.ln()
    };
    let near = |ours: f64, theirs: &Value, what: &str| {
        let theirs = theirs.as_f64().unwrap();
        assert!((ours - theirs).abs() < 5e-4, "{what}: {ours} against {theirs}");
    };
    for entry in expected["logits"].as_array().unwrap() {
        let row = rows[entry["position"].as_u64().unwrap() as usize];
        let mut order: Vec<u32> = (0..row.len() as u32).collect();
        order.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]));
        let top = numbers(&entry["top"]);
        assert_eq!(order[..top.len()], top);
        for (token, value) in top.iter().zip(entry["values"].as_array().unwrap()) {
            near(f64::from(row[*token as usize]), value, "logit");
        }
        let mean = row.iter().map(|value| f64::from(*value)).sum::<f64>() / row.len() as f64;
        near(mean, &entry["mean"], "mean");
        near(log_sum(row), &entry["log_sum"], "log of the sum");
    }
    let losses = rows.iter().zip(&tokens[1..]);
    let loss = losses.map(|(row, &next)| log_sum(row) - f64::from(row[next as usize]));
    near(loss.sum::<f64>() / (tokens.len() - 1) as f64, &expected["loss"], "loss");
}

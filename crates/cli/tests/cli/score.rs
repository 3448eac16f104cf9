//! `rerank` and `classify` on small networks, from the command line to the last line.

use std::path::Path;

use serde_json::{Value, json};

use crate::house::House;

/// A house with the small cross-encoder `cross` and the classifier `classes`.
fn with_models() -> House {
    let house = House::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/head");
    let read = |name: &str| std::fs::read(golden.join(name)).expect(name);
    for model in ["cross", "classes"] {
        for file in ["config.json", "model.safetensors"] {
            let name = format!("{model}/{file}");
            house.write(&name, read(&name));
        }
        house.write(&format!("{model}/tokenizer.json"), read("tokenizer.json"));
    }
    house
}

const QUERY: &str = "what is a vector?";
const CAT: &str = "the red cat sits on the mat.";
const BITS: &str = "a vector is many bits in a model.";

fn order(answer: &Value) -> Vec<u64> {
    let results = answer["results"].as_array().expect("results");
    results.iter().filter_map(|result| result["index"].as_u64()).collect()
}

#[test]
fn documents_are_sorted_by_score() {
    let house = with_models();
    let answer = house.json(&["rerank", "cross", QUERY, CAT, BITS, "dog"]);
    assert_eq!((&answer["query"], &answer["scores"]), (&json!(QUERY), &json!("identity")));
    assert_eq!(order(&answer), [1, 2, 0]);
    assert_eq!(answer["results"][0]["text"], BITS);
    // What transformers gives, see the golden files.
    let score = answer["results"][0]["score"].as_f64().expect("a number");
    assert!((score - 1.25299).abs() < 1e-4, "{score}");
    let lines = format!("{}\n\n{}\n", json!({ "text": CAT }), json!({ "text": BITS }));
    house.write("documents.jsonl", lines);
    let file = ["rerank", "cross", QUERY, "--documents", "documents.jsonl"];
    assert_eq!(order(&house.json(&file)), [1, 0]);
    let top = house.json(&[&file[..], &["--top", "1", "--threads", "3"]].concat());
    assert_eq!(order(&top), [1]);
    assert_eq!(top["results"][0]["score"], answer["results"][0]["score"]);
    let table = house.succeed(&file);
    assert!(table.lines().nth(1).expect("a row").contains(BITS), "{table}");
}

#[test]
fn scores_are_squashed_unless_raw_ones_are_asked_for() {
    let house = with_models();
    let config = std::fs::read_to_string(house.path("cross/config.json")).expect("there");
    house.write("cross/config.json", config.replace("linear.Identity", "activation.Sigmoid"));
    let score = |more: &[&str]| {
        let answer = house.json(&[&["rerank", "cross", QUERY, BITS], more].concat());
        answer["results"][0]["score"].as_f64().expect("a number")
    };
    let (raw, squashed) = (score(&["--raw-scores"]), score(&[]));
    assert!((1.0 / (1.0 + (-raw).exp()) - squashed).abs() < 1e-6, "{raw} {squashed}");
}

#[test]
fn texts_and_pairs_are_classified() {
    let house = with_models();
    let answer = house.json(&["classify", "classes", "dog", BITS]);
    assert_eq!(answer["labels"], json!(["bad", "fair", "good"]));
    assert_eq!(answer["scores"], "softmax");
    let result = &answer["results"][0];
    assert_eq!((&result["text"], &result["label"]), (&json!("dog"), &json!("bad")));
    let scores = result["scores"].as_array().expect("scores");
    let sum: f64 = scores.iter().filter_map(Value::as_f64).sum();
    assert!((sum - 1.0).abs() < 1e-6 && scores[0] == result["score"], "{result}");
    house.write("pairs.jsonl", json!({ "text": QUERY, "answer": BITS }).to_string());
    let file = ["classify", "classes", "--texts", "pairs.jsonl", "--raw-scores"];
    let pair = house.json(&[&file[..], &["--pair-field", "answer"]].concat());
    assert_eq!(pair["results"][0]["pair"], BITS);
    let score = pair["results"][0]["score"].as_f64().expect("a number");
    assert!((score - 2.083_324).abs() < 1e-4, "{score}");
    let line = house.fail(&[&file[..], &["--pair-field", "none"]].concat());
    assert!(line.contains("record 0") && line.contains("none"), "{line}");
    let table = house.succeed(&["classify", "classes", "dog"]);
    assert!(table.lines().nth(1).expect("a row").contains("bad"), "{table}");
}

#[test]
fn compressed_models_still_score() {
    let house = with_models();
    for (scheme, container) in [("int8", "kvant"), ("int8", "compressed-tensors"), ("nf4", "bnb")] {
        let out = format!("{scheme}-{container}");
        house.json(&["compress", "cross", "--scheme", scheme, "--as", container, "-o", &out]);
        let answer = house.json(&["rerank", &out, QUERY, CAT, BITS]);
        assert_eq!(order(&answer), [1, 0], "{out}");
    }
    let text: Vec<String> = (0..200).map(|at| format!("the cat {at} sits. {QUERY}")).collect();
    house.write("text.txt", text.join("\n"));
    let mut fixed = house.command(&["compress", "cross", "--scheme", "int8", "--activations"]);
    fixed.args(["int8:static", "--calibrate", "text.txt", "-o", "fixed"]);
    assert!(fixed.output().expect("runs").status.success());
    assert_eq!(order(&house.json(&["rerank", "fixed", QUERY, CAT, BITS])), [1, 0]);
    let line = house.fail(&["compress", "cross", "--scheme", "q8_0", "-o", "cross.gguf"]);
    assert!(line.contains("classifier") && line.contains("GGUF"), "{line}");
}

/// Nothing in the directory says how states become a vector.
#[test]
fn a_model_without_a_pooling_configuration_is_warned_about() {
    let house = with_models();
    house.write("texts.txt", "few bits\n\nthe cat\n");
    let run = |args: &[&str]| {
        let output = house.command(args).output().expect("runs");
        assert!(output.status.success(), "{output:?}");
        crate::house::said(&output)
    };
    let (out, err) = run(&["embed", "--model", "cross", "--from", "texts.txt"]);
    assert_eq!(out.lines().count(), 2);
    for words in ["warning: ", "cross", "1_Pooling/config.json", "mean"] {
        assert!(err.contains(words) && err.lines().count() == 1, "{err}");
    }
    let pooling = json!({ "pooling_mode_mean_tokens": true });
    house.write("cross/1_Pooling/config.json", pooling.to_string());
    assert_eq!(run(&["embed", "--model", "cross", "--from", "texts.txt"]), (out, String::new()));
    let bench = "bench embed cross --texts texts.txt --rounds 2 --arrivals 500 --seed 3 --json";
    let waits: Value = serde_json::from_str(&house.run(bench)).expect("JSON");
    assert_eq!((&waits["texts"], &waits["seed"]), (&json!(4), &json!(3)));
    let class = &waits["classes"][0];
    assert_eq!(class["texts"], 4);
    for how in ["plain", "scheduled"] {
        assert!(class[how]["p99_ms"].as_f64() >= class[how]["p50_ms"].as_f64(), "{class}");
        assert!(class[how]["p50_ms"].as_f64() > Some(0.0), "{class}");
    }
}

#[test]
fn models_and_texts_that_do_not_fit() {
    let house = with_models();
    let says = |args: &[&str], words: &[&str]| {
        let line = house.fail(args);
        for word in words {
            assert!(line.contains(word), "{line:?} does not say {word:?}");
        }
    };
    says(&["rerank", "classes", "q", "d"], &["classes: ", "3 labels", "kvant classify"]);
    says(&["rerank", "cross", " ", "d"], &["the query is empty"]);
    says(&["rerank", "cross", "q", ""], &["a text is empty"]);
    says(&["rerank", "cross", "q"], &["no texts", "--documents"]);
    says(&["classify", "classes"], &["no texts", "--texts"]);
    says(&["rerank", "cross", "q", "--documents", "absent.txt"], &["absent.txt"]);
    let config = std::fs::read_to_string(house.path("cross/config.json")).expect("there");
    let plain = config.replace("BertForSequenceClassification", "BertForPreTraining");
    house.write("cross/config.json", plain);
    says(&["rerank", "cross", "q", "d"], &["BertForPreTraining", "cross-encoders"]);
    if let Some(model) = kvant_testkit::minilm() {
        let model = model.canonicalize().expect("there");
        let words = ["head", "sentence encoder", "kvant embed"];
        says(&["rerank", crate::house::text(&model), "q", "d"], &words);
    } else {
        kvant_testkit::skip("all-MiniLM-L6-v2 is not there");
    }
}

//! Classifiers and cross-encoders against transformers (see `testdata/golden/head/make.py`), and
//! directories that are not what they should be.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use std::fs;
use std::path::{Path, PathBuf};

use kvant_model::{
    Activations, Cancel, Checkpoint, Classifier, Compute, Dense, EmbedError, EmbedOptions, Encoder,
    LoadError, SaveOptions, SavedTensor, Squash, Texts, Weight, save,
};
use kvant_quant::Scheme;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Tokens of the small networks.
const MAX_TOKENS: usize = 24;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/head").join(name)
}

/// A copy of one of the small networks, with its tokenizer.
fn model(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(golden(name).join(file), folder.path().join(file)).unwrap();
    }
    fs::copy(golden("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    folder
}

/// The same with a field of its configuration changed; null takes it out.
fn changed(name: &str, fields: &Value) -> TempDir {
    let folder = model(name);
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let object = config.as_object_mut().unwrap();
    for (key, value) in fields.as_object().unwrap() {
        object.remove(key);
        if !value.is_null() {
            object.insert(key.clone(), value.clone());
        }
    }
    fs::write(path, config.to_string()).unwrap();
    folder
}

/// What transformers says of a text or a pair.
struct Item {
    first: String,
    second: Option<String>,
    tokens: Value,
    ones: u64,
    logits: Vec<f64>,
}

impl Item {
    fn texts(&self) -> Texts<'_> {
        match &self.second {
            None => Texts::One(&self.first),
            Some(second) => Texts::Pair(&self.first, second),
        }
    }
}

fn expected(name: &str) -> Vec<Item> {
    let all = fs::read_to_string(golden("expected.json")).unwrap();
    let all: Value = serde_json::from_str(&all).unwrap();
    let item = |item: &Value| Item {
        first: item["first"].as_str().unwrap().to_owned(),
        second: item["second"].as_str().map(str::to_owned),
        tokens: item["tokens"].clone(),
        ones: item["ones"].as_u64().unwrap(),
        logits: item["logits"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect(),
    };
    all[name].as_array().unwrap().iter().map(item).collect()
}

fn scores(classifier: &Classifier, items: &[Item], options: &EmbedOptions<'_>) -> Vec<f32> {
    let texts: Vec<Texts<'_>> = items.iter().map(Item::texts).collect();
    classifier.scores(&texts, options).unwrap()
}

/// Logits within 1e-4 of those of transformers, and the sequences the same.
fn agrees(classifier: &Classifier, items: &[Item]) {
    let logits = scores(classifier, items, &EmbedOptions::default());
    let labels = classifier.labels().len();
    for (item, logits) in items.iter().zip(logits.chunks_exact(labels)) {
        let shown = format!("{:.40} | {:.40}", item.first, item.second.as_deref().unwrap_or("-"));
        let (tokens, types) = classifier.tokenize(item.texts()).unwrap();
        match item.tokens.as_u64() {
            Some(count) => assert_eq!(tokens.len() as u64, count, "{shown}"),
            None => assert_eq!(json!(tokens), item.tokens, "{shown}"),
        }
        assert_eq!(types.iter().map(|&kind| u64::from(kind)).sum::<u64>(), item.ones, "{shown}");
        assert!(types.is_sorted(), "{shown}");
        for (ours, theirs) in logits.iter().zip(&item.logits) {
            assert!((f64::from(*ours) - theirs).abs() < 1e-4, "{shown}: {ours} {theirs}");
        }
    }
}

#[test]
fn logits_equal_those_of_transformers() {
    for (name, labels) in [("cross", &["LABEL_0"][..]), ("classes", &["bad", "fair", "good"])] {
        let classifier = Classifier::load(model(name).path()).unwrap();
        assert_eq!(classifier.labels(), labels);
        assert_eq!(classifier.max_tokens(), MAX_TOKENS);
        agrees(&classifier, &expected(name));
    }
}

/// The real trunk with its own pooler; the last layer by the formula of the script, as a shard.
#[test]
fn logits_at_real_size_equal_those_of_transformers() {
    let Some(trunk) = kvant_testkit::minilm() else {
        return kvant_testkit::skip("all-MiniLM-L6-v2 is not here");
    };
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let config = fs::read_to_string(trunk.join("config.json")).unwrap();
    put("config.json", config.replace("BertModel", "BertForSequenceClassification").as_bytes());
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        put(name, &fs::read(trunk.join(name)).unwrap());
    }
    fs::hard_link(trunk.join("model.safetensors"), folder.path().join("trunk.safetensors"))
        .or_else(|_| {
            let to = folder.path().join("trunk.safetensors");
            fs::copy(trunk.join("model.safetensors"), to).map(|_| ())
        })
        .unwrap();
    let formula = |at: i64| ((at * 389 + 7) % 1009) as f64 / 504.5 - 1.0;
    let values = (0..3 * 384).chain(0..3).map(|at| (formula(at) as f32).to_le_bytes());
    let header = json!({
        "classifier.weight": { "dtype": "F32", "shape": [3, 384], "data_offsets": [0, 4608] },
        "classifier.bias": { "dtype": "F32", "shape": [3], "data_offsets": [4608, 4620] },
    })
    .to_string();
    let mut head = (header.len() as u64).to_le_bytes().to_vec();
    head.extend(header.as_bytes());
    head.extend(values.flatten());
    put("head.safetensors", &head);
    let names = Checkpoint::open(&trunk).unwrap();
    let names = names.tensors().iter().map(|tensor| (tensor.name.as_str(), "trunk.safetensors"));
    let heads = ["classifier.weight", "classifier.bias"].map(|name| (name, "head.safetensors"));
    let map: serde_json::Map<String, Value> =
        names.chain(heads).map(|(name, file)| (name.to_owned(), file.into())).collect();
    put("model.safetensors.index.json", json!({ "weight_map": map }).to_string().as_bytes());
    let classifier = Classifier::load(folder.path()).unwrap();
    assert_eq!((classifier.labels().len(), classifier.max_tokens()), (3, 512));
    agrees(&classifier, &expected("minilm"));
}

#[test]
fn logits_depend_on_their_item_only() {
    let folder = model("classes");
    let items = expected("classes");
    for compute in [Compute::Float32, Compute::Int8] {
        let checkpoint = Checkpoint::open(folder.path()).unwrap().with_compute(compute);
        let classifier = Classifier::open(&checkpoint).unwrap();
        let together = scores(&classifier, &items, &EmbedOptions::default());
        for (threads, batch_tokens) in [(1, 1), (1, 50), (2, 512), (3, 30), (10_000, 7), (0, 90)] {
            let options = EmbedOptions { threads, batch_tokens, ..EmbedOptions::default() };
            assert_eq!(scores(&classifier, &items, &options), together);
        }
        for (item, row) in items.iter().zip(together.chunks(3)) {
            let alone = std::slice::from_ref(item);
            assert_eq!(scores(&classifier, alone, &EmbedOptions::default()), row);
        }
    }
}

#[test]
fn the_trunk_is_an_encoder_that_types_do_not_touch() {
    let folder = model("cross");
    let encoder = Encoder::load(folder.path()).unwrap();
    let vector = encoder.embed(&["few bits"], &EmbedOptions::default()).unwrap();
    assert_eq!(vector.len(), 32);
    let mut checkpoint = Checkpoint::open(folder.path()).unwrap();
    let name = "bert.embeddings.token_type_embeddings.weight";
    let mut types = checkpoint.dense(name).unwrap().values().to_vec();
    types[32..].fill(7.0);
    checkpoint.replace(name.into(), Weight::Dense(Dense::owned(vec![2, 32], types)));
    let changed = Encoder::open(&checkpoint).unwrap();
    assert_eq!(changed.embed(&["few bits"], &EmbedOptions::default()).unwrap(), vector);
    let score = |classifier: Classifier, texts| {
        classifier.scores(&[texts], &EmbedOptions::default()).unwrap()[0]
    };
    let load = || Classifier::load(folder.path()).unwrap();
    let replaced = || Classifier::open(&checkpoint).unwrap();
    let (one, two) = (Texts::One("few bits"), Texts::Pair("few", "bits"));
    assert_eq!(score(load(), one).to_bits(), score(replaced(), one).to_bits());
    assert!((score(load(), two) - score(replaced(), two)).abs() > 1e-3);
}

#[test]
fn compressed_models_keep_their_heads() {
    let folder = model("classes");
    let items = expected("classes");
    let exact = Classifier::load(folder.path()).unwrap();
    let exact = scores(&exact, &items, &EmbedOptions::default());
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    for (scheme, activations, bound) in [
        ("int8", Some(Activations::Token), 0.5),
        ("int8", None, 0.25),
        ("linear8", None, 0.25),
        ("q8_0", Some(Activations::Block), 0.5),
        ("nf4", None, 2.5),
    ] {
        let scheme: Scheme = scheme.parse().unwrap();
        let coded = |tensor: &kvant_model::TensorInfo| {
            let saved = match tensor.shape[..] {
                [rows, 32 | 64] if rows >= 32 => {
                    let dense = checkpoint.dense(&tensor.name).unwrap();
                    SavedTensor::Coded(scheme.encode(dense.matrix()).unwrap())
                }
                _ => SavedTensor::Kept,
            };
            (tensor.name.clone(), saved)
        };
        let tensors: Vec<_> = checkpoint.tensors().iter().map(coded).collect();
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("out");
        let options = SaveOptions { activations, ..SaveOptions::default() };
        save(&out, folder.path(), &tensors, &options).unwrap();
        let saved = Checkpoint::open(&out).unwrap();
        assert_eq!(saved.tensor("bert.pooler.dense.weight").unwrap().format, scheme.to_string());
        assert_eq!(saved.tensor("classifier.weight").unwrap().format, "F16");
        let classifier = Classifier::open(&saved).unwrap();
        assert_eq!(classifier.labels(), ["bad", "fair", "good"]);
        let logits = scores(&classifier, &items, &EmbedOptions::default());
        let worst = logits.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
        println!("{scheme} {activations:?}: {worst}");
        assert!(worst < bound && worst > 0.0, "{scheme} {activations:?}: {worst}");
    }
}

#[test]
fn cancelled_calls_stop() {
    let classifier = Classifier::load(model("cross").path()).unwrap();
    let encoder = Encoder::load(model("cross").path()).unwrap();
    let cancel = Cancel::new();
    let done = std::sync::atomic::AtomicUsize::new(0);
    let progress = |count: usize| {
        done.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        cancel.cancel();
    };
    let options = EmbedOptions {
        batch_tokens: 1,
        progress: Some(&progress),
        cancel: Some(&cancel),
        ..EmbedOptions::default()
    };
    let items = [Texts::One("few bits"); 9];
    assert_eq!(classifier.scores(&items, &options), Err(EmbedError::Cancelled));
    assert_eq!(done.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(encoder.embed(&["few bits"], &options), Err(EmbedError::Cancelled));
}

#[test]
fn what_the_configuration_says_of_the_head() {
    let read = |name: &str, fields: Value| {
        let classifier = Classifier::load(changed(name, &fields).path()).unwrap();
        (classifier.labels().join(" "), classifier.squash())
    };
    let own = |name: &str| json!({ "sentence_transformers": { "activation_fn": name } });
    let one = |squash| ("LABEL_0".to_owned(), squash);
    assert_eq!(read("cross", json!({})), one(Squash::Identity));
    assert_eq!(read("cross", json!({ "sentence_transformers": null })), one(Squash::Sigmoid));
    assert_eq!(read("cross", own("torch.nn.modules.activation.Sigmoid")), one(Squash::Sigmoid));
    let old = json!({ "sentence_transformers": null,
        "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity" });
    assert_eq!(read("cross", old), one(Squash::Identity));
    let regression = json!({ "sentence_transformers": null, "problem_type": "regression" });
    assert_eq!(read("cross", regression), one(Squash::Identity));
    let three = |squash| ("bad fair good".to_owned(), squash);
    assert_eq!(read("classes", json!({})), three(Squash::Softmax));
    let several = json!({ "problem_type": "multi_label_classification", "id2label": null });
    assert_eq!(read("classes", several), three(Squash::Sigmoid));
    let none = json!({ "id2label": null, "label2id": null });
    let unnamed = ("LABEL_0 LABEL_1 LABEL_2".to_owned(), Squash::Softmax);
    assert_eq!(read("classes", none), unnamed);
    let counted = json!({ "id2label": null, "label2id": null, "num_labels": 3 });
    assert_eq!(read("classes", counted), unnamed);
    assert_eq!(read("classes", json!({ "architectures": null })), three(Squash::Softmax));
}

#[track_caller]
fn refuses(folder: &TempDir, words: &[&str]) {
    let error = Classifier::load(folder.path()).unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "'{error}' does not say '{word}'");
    }
    assert!(!error.contains('\n') && error.len() < 500, "{error}");
}

#[test]
fn heads_that_do_not_fit_are_named() {
    let names = json!({ "0": "a", "1": "b" });
    for (fields, words) in [
        (json!({ "num_labels": 2 }), &["config.json", "num_labels is 2", "3 labels"][..]),
        (json!({ "num_labels": 0 }), &["num_labels", "1 to"]),
        (json!({ "num_labels": 1u64 << 40 }), &["num_labels", "1 to"]),
        (json!({ "id2label": names }), &["classifier.weight", "3 x 32", "2 x 32"]),
        (json!({ "id2label": { "0": "a", "2": "b" } }), &["id2label", "from 0"]),
        (json!({ "id2label": {} }), &["id2label"]),
        (json!({ "id2label": null, "label2id": { "a": 0, "b": 0 } }), &["label2id", "from 0"]),
        (json!({ "id2label": null, "label2id": { "a": -1 } }), &["label2id"]),
        (
            json!({ "sentence_transformers": { "activation_fn": "a.b.Tanh\n" } }),
            &["activation function 'Tanh", "Sigmoid"],
        ),
        (json!({ "architectures": ["BertForTokenClassification"] }), &["BertForTokenClass"]),
        (json!({ "architectures": ["RobertaForSequenceClassification"] }), &["Roberta"]),
        (json!({ "hidden_size": 64 }), &["tensor", "32"]),
    ] {
        refuses(&changed("classes", &fields), words);
    }
}

/// Writes the small network anew with `change` made to the entries of its header.
fn rewritten(change: impl Fn(&mut serde_json::Map<String, Value>)) -> TempDir {
    let folder = model("classes");
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + size]).unwrap();
    change(header.as_object_mut().unwrap());
    let mut header = header.to_string();
    // Its length stays, so that the offsets of the data do.
    assert!(header.len() <= size, "no longer than before");
    header.push_str(&" ".repeat(size - header.len()));
    let file = [&bytes[..8], header.as_bytes(), &bytes[8 + size..]].concat();
    fs::write(path, file).unwrap();
    folder
}

#[test]
fn tensors_of_a_head_that_are_missing_or_misshapen_are_named() {
    for name in ["classifier.weight", "classifier.bias", "bert.pooler.dense.weight"] {
        let renamed = |header: &mut serde_json::Map<String, Value>| {
            let entry = header.remove(name).unwrap();
            header.insert(name.replace("er", "r"), entry);
        };
        refuses(&rewritten(renamed), &[name, "is missing"]);
    }
    let turned = |name: &'static str, shape: Value| {
        rewritten(move |header| header[name]["shape"] = shape.clone())
    };
    refuses(&turned("classifier.weight", json!([32, 3])), &["classifier.weight", "32 x 3"]);
    let flat = turned("bert.pooler.dense.weight", json!([16, 64]));
    refuses(&flat, &["pooler.dense.weight", "16 x 64", "32 x 32"]);
    let split = turned("classifier.bias", json!([3, 1]));
    assert!(Classifier::load(split.path()).is_ok(), "three values are three values");
}

#[test]
fn a_sentence_encoder_has_no_head() {
    let folder = changed("classes", &json!({ "architectures": ["BertModel"] }));
    refuses(&folder, &["config.json", "BertModel", "BertForSequenceClassification"]);
    if let Some(path) = kvant_testkit::minilm() {
        let error = Classifier::load(&path).unwrap_err();
        assert!(matches!(error, LoadError::Missing { .. }));
        let error = error.to_string();
        assert!(error.contains("head") && error.contains("kvant embed"), "{error}");
    } else {
        kvant_testkit::skip("all-MiniLM-L6-v2 is not here");
    }
}

#[test]
fn a_tokenizer_without_pairs_reads_single_texts() {
    let folder = model("classes");
    let path = folder.path().join("tokenizer.json");
    let whole: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let fails = |tokenizer: &Value, words: &[&str]| {
        fs::write(&path, tokenizer.to_string()).unwrap();
        let classifier = Classifier::load(folder.path()).unwrap();
        let items = [Texts::One("few bits"), Texts::Pair("few", "bits")];
        assert!(classifier.scores(&items[..1], &EmbedOptions::default()).is_ok());
        let error = classifier.scores(&items, &EmbedOptions::default()).unwrap_err().to_string();
        for word in words.iter().chain(&["text 1"]) {
            assert!(error.contains(word), "{error} {word}");
        }
    };
    let mut single = whole.clone();
    single["post_processor"]["pair"] = whole["post_processor"]["single"].clone();
    fails(&single, &["second text"]);
    let mut typed = whole.clone();
    typed["post_processor"]["pair"][3]["Sequence"]["type_id"] = 2.into();
    fails(&typed, &["type 2"]);
    fs::write(&path, whole.to_string()).unwrap();
    let short = json!({ "max_seq_length": 4 });
    fs::write(folder.path().join("sentence_bert_config.json"), short.to_string()).unwrap();
    fails(&whole, &["4 tokens", "no room"]);
    let limits = json!({ "model_max_length": 1e30 });
    fs::remove_file(folder.path().join("sentence_bert_config.json")).unwrap();
    fs::write(folder.path().join("tokenizer_config.json"), limits.to_string()).unwrap();
    assert_eq!(Classifier::load(folder.path()).unwrap().max_tokens(), MAX_TOKENS);
}

#[test]
fn scores_are_what_their_names_say() {
    let apply = |squash: Squash, values: &[f32]| {
        let mut values = values.to_vec();
        squash.apply(&mut values);
        values
    };
    assert_eq!(apply(Squash::Identity, &[3.5, -2.0]), [3.5, -2.0]);
    assert_eq!(apply(Squash::Sigmoid, &[0.0, 200.0, -200.0]), [0.5, 1.0, 0.0]);
    let soft = apply(Squash::Softmax, &[1000.0, 1000.0, 999.0]);
    assert!((soft.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    assert!((soft[0] / soft[2] - std::f32::consts::E).abs() < 1e-5 && soft[0] == soft[1]);
}

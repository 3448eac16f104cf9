//! The encoder on small made-up networks: against a double-precision forward pass written out
//! here, and on directories that are not what they should be.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kvant_kernels::Matrix;
use kvant_model::{
    Cancel, Checkpoint, Compute, ConvertOptions, Dense, EmbedError, EmbedOptions, Encoder,
    LoadError, Network, ObserveOptions, Tap, Weight, convert,
};
use kvant_quant::Scheme;
use kvant_testkit::Random;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const HIDDEN: usize = 48;
const HEADS: usize = 3;
const INNER: usize = 80;
const LAYERS: usize = 2;
const WORDS: [&str; 9] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "few", "bits", "of", "many", "##s"];

/// A made-up BERT: its weights by name, ready to be written or run here.
struct Toy {
    folder: TempDir,
    weights: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    config: Value,
    /// What every linear layer of [`Toy::states`] read, by the name of its weight.
    read: RefCell<BTreeMap<String, Vec<f64>>>,
}

impl Toy {
    fn new() -> Self {
        let mut random = Random::new(11);
        let mut weights = BTreeMap::new();
        let mut add = |name: String, shape: &[usize], scale: f32, offset: f32| {
            let values = random.normals(shape.iter().product());
            let values = values.into_iter().map(|v| v * scale + offset).collect();
            weights.insert(name, (shape.to_vec(), values));
        };
        for (table, rows) in [("word", WORDS.len()), ("position", 12), ("token_type", 2)] {
            add(format!("embeddings.{table}_embeddings.weight"), &[rows, HIDDEN], 1.0, 0.0);
        }
        let mut norms = vec!["embeddings.LayerNorm".to_owned()];
        for layer in 0..LAYERS {
            let at = |name: &str| format!("encoder.layer.{layer}.{name}");
            norms.extend(["attention.output.LayerNorm", "output.LayerNorm"].map(at));
            for (name, rows, cols) in [
                ("attention.self.query", HIDDEN, HIDDEN),
                ("attention.self.key", HIDDEN, HIDDEN),
                ("attention.self.value", HIDDEN, HIDDEN),
                ("attention.output.dense", HIDDEN, HIDDEN),
                ("intermediate.dense", INNER, HIDDEN),
                ("output.dense", HIDDEN, INNER),
            ] {
                add(at(&format!("{name}.weight")), &[rows, cols], 0.2, 0.0);
                add(at(&format!("{name}.bias")), &[rows], 0.1, 0.0);
            }
        }
        for norm in norms {
            add(format!("{norm}.weight"), &[HIDDEN], 0.1, 1.0);
            add(format!("{norm}.bias"), &[HIDDEN], 0.1, 0.0);
        }
        let config = json!({
            "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu",
            "hidden_size": HIDDEN, "num_attention_heads": HEADS, "intermediate_size": INNER,
            "num_hidden_layers": LAYERS, "vocab_size": WORDS.len(), "type_vocab_size": 2,
            "max_position_embeddings": 12, "layer_norm_eps": 1e-12,
        });
        Self { folder: tempfile::tempdir().unwrap(), weights, config, read: RefCell::default() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn put(&self, name: &str, value: &Value) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, value.to_string()).unwrap();
    }

    /// Writes a whole model directory; `rename` turns names into those of the file.
    fn write(&self, rename: impl Fn(&str) -> String) -> &Self {
        let (mut header, mut body) = (Map::new(), Vec::new());
        for (name, (shape, values)) in &self.weights {
            let start = body.len();
            body.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            let offsets = [start, body.len()];
            let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": offsets });
            header.insert(rename(name), entry);
        }
        let header = Value::Object(header).to_string();
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.extend(body);
        fs::write(self.path().join("model.safetensors"), file).unwrap();
        self.put("config.json", &self.config);
        self.put("tokenizer.json", &tokenizer());
        self.modules("mean_tokens", true);
        self
    }

    fn modules(&self, mode: &str, normalized: bool) {
        let module = |name: &str, path: &str| json!({ "type": format!("x.{name}"), "path": path });
        let mut modules = vec![module("Transformer", ""), module("Pooling", "1_Pooling")];
        if normalized {
            modules.push(module("Normalize", "2_Normalize"));
        }
        self.put("modules.json", &Value::Array(modules));
        let flag = format!("pooling_mode_{mode}");
        self.put("1_Pooling/config.json", &json!({ flag: true, "pooling_mode_other": false }));
    }

    fn load(&self) -> Result<Encoder, LoadError> {
        Encoder::load(self.path())
    }

    fn refuses(&self, words: &[&str]) {
        let error = self.load().unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "'{error}' does not say '{word}'");
        }
        assert!(!error.contains('\n') && error.len() < 500, "{error}");
    }

    fn weight(&self, name: &str) -> &[f32] {
        &self.weights[name].1
    }

    fn linear(&self, x: &[f64], name: &str) -> Vec<f64> {
        let (weight, bias) =
            (self.weight(&format!("{name}.weight")), self.weight(&format!("{name}.bias")));
        self.read.borrow_mut().entry(format!("{name}.weight")).or_default().extend(x);
        let dot = |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>();
        let rows = weight.chunks(x.len()).zip(bias);
        rows.map(|(row, bias)| dot(row) + f64::from(*bias)).collect()
    }

    fn norm(&self, x: &mut [f64], name: &str) {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let var = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let (gain, bias) =
            (self.weight(&format!("{name}.weight")), self.weight(&format!("{name}.bias")));
        for ((value, gain), bias) in x.iter_mut().zip(gain).zip(bias) {
            *value = (*value - mean) / (var + 1e-12).sqrt() * f64::from(*gain) + f64::from(*bias);
        }
    }

    /// The states of every token, straight from the definition.
    fn states(&self, tokens: &[u32]) -> Vec<Vec<f64>> {
        let table = |name: &str, row: usize| {
            let weight = self.weight(&format!("embeddings.{name}_embeddings.weight"));
            weight[row * HIDDEN..(row + 1) * HIDDEN].iter().map(|v| f64::from(*v))
        };
        let embed = |(at, &token): (usize, &u32)| {
            let sum = table("word", token as usize).zip(table("position", at));
            let mut x: Vec<f64> =
                sum.zip(table("token_type", 0)).map(|((a, b), c)| a + b + c).collect();
            self.norm(&mut x, "embeddings.LayerNorm");
            x
        };
        let mut states: Vec<Vec<f64>> = tokens.iter().enumerate().map(embed).collect();
        for layer in 0..LAYERS {
            let at = |name: &str| format!("encoder.layer.{layer}.{name}");
            let project = |name: &str| {
                let name = at(&format!("attention.self.{name}"));
                states.iter().map(|x| self.linear(x, &name)).collect::<Vec<_>>()
            };
            let context = attend(&project("query"), &project("key"), &project("value"));
            for (x, context) in states.iter_mut().zip(&context) {
                let update = self.linear(context, &at("attention.output.dense"));
                x.iter_mut().zip(&update).for_each(|(x, add)| *x += add);
                self.norm(x, &at("attention.output.LayerNorm"));
                let mut inner = self.linear(x, &at("intermediate.dense"));
                for v in &mut inner {
                    *v *= 0.5 * (1.0 + erf(*v / 2f64.sqrt()));
                }
                let update = self.linear(&inner, &at("output.dense"));
                x.iter_mut().zip(&update).for_each(|(x, add)| *x += add);
                self.norm(x, &at("output.LayerNorm"));
            }
        }
        states
    }
}

fn attend(q: &[Vec<f64>], k: &[Vec<f64>], v: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let width = HIDDEN / HEADS;
    let mut out = vec![vec![0.0; HIDDEN]; q.len()];
    for head in 0..HEADS {
        let part = |row: &[f64]| row[head * width..(head + 1) * width].to_vec();
        for (i, query) in q.iter().enumerate() {
            let score = |key: &Vec<f64>| {
                let dot: f64 = part(query).iter().zip(part(key)).map(|(a, b)| a * b).sum();
                (dot / (width as f64).sqrt()).exp()
            };
            let scores: Vec<f64> = k.iter().map(score).collect();
            let sum: f64 = scores.iter().sum();
            for (score, value) in scores.iter().zip(v) {
                for (at, value) in part(value).iter().enumerate() {
                    out[i][head * width + at] += score / sum * value;
                }
            }
        }
    }
    out
}

/// The error function by its Taylor series, exact to double precision for the small arguments
/// of these networks.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

fn tokenizer() -> Value {
    let vocab: Map<String, Value> =
        WORDS.iter().enumerate().map(|(i, word)| ((*word).to_owned(), i.into())).collect();
    let special = |id: usize| json!({ "SpecialToken": { "id": WORDS[id], "type_id": 0 } });
    let known = |id: usize| json!({ "id": WORDS[id], "ids": [id], "tokens": [WORDS[id]] });
    let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "strip_accents": null,
            "handle_chinese_chars": true, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "TemplateProcessing",
            "single": [special(2), text, special(3)], "pair": [special(2), text, special(3)],
            "special_tokens": { "[CLS]": known(2), "[SEP]": known(3) } },
        "decoder": null,
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab },
    })
}

fn one(encoder: &Encoder, text: &str) -> Vec<f32> {
    encoder.embed(&[text], &EmbedOptions::default()).unwrap()
}

#[test]
fn every_pooling_equals_the_definition() {
    let toy = Toy::new();
    toy.write(str::to_owned);
    for text in ["few bits", "many few of bits many", "", "word", "few few few few few few few few"]
    {
        for mode in ["mean_tokens", "cls_token", "max_tokens"] {
            for normalized in [false, true] {
                toy.modules(mode, normalized);
                let encoder = toy.load().unwrap();
                let states = toy.states(&encoder.tokenize(text).unwrap());
                let pool = |at: usize| {
                    let column = states.iter().map(|row| row[at]);
                    match mode {
                        "mean_tokens" => column.sum::<f64>() / states.len() as f64,
                        "cls_token" => states[0][at],
                        _ => column.fold(f64::NEG_INFINITY, f64::max),
                    }
                };
                let mut expected: Vec<f64> = (0..HIDDEN).map(pool).collect();
                if normalized {
                    let norm = expected.iter().map(|v| v * v).sum::<f64>().sqrt();
                    for v in &mut expected {
                        *v /= norm;
                    }
                }
                for (ours, exact) in one(&encoder, text).iter().zip(&expected) {
                    let difference = (f64::from(*ours) - exact).abs();
                    assert!(difference < 1e-5, "{text} {mode}: {ours} {exact}");
                }
            }
        }
    }
}

#[test]
fn older_and_prefixed_names_are_the_same_network() {
    let toy = Toy::new();
    let expected = one(&toy.write(str::to_owned).load().unwrap(), "few bits");
    let old = |name: &str| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        format!("bert.{}", name.replace("LayerNorm.bias", "LayerNorm.beta"))
    };
    assert_eq!(one(&toy.write(old).load().unwrap(), "few bits"), expected);
}

#[test]
fn without_modules_it_is_the_mean_of_the_states() {
    let toy = Toy::new();
    toy.write(str::to_owned).modules("mean_tokens", false);
    let expected = one(&toy.load().unwrap(), "many bits");
    fs::remove_file(toy.path().join("modules.json")).unwrap();
    assert_eq!(one(&toy.load().unwrap(), "many bits"), expected);
    assert!(toy.load().unwrap().is_pooling_stated(), "by 1_Pooling");
    fs::remove_file(toy.path().join("1_Pooling/config.json")).unwrap();
    assert_eq!(one(&toy.load().unwrap(), "many bits"), expected);
    assert!(!toy.load().unwrap().is_pooling_stated());
    toy.put("modules.json", &json!([{ "type": "x.Pooling", "path": "1_Pooling" }]));
    assert!(!toy.load().unwrap().is_pooling_stated(), "modules.json names a file that is not here");
}

#[test]
fn the_longest_text_is_what_the_files_say() {
    let toy = Toy::new();
    toy.write(str::to_owned);
    assert_eq!(toy.load().unwrap().max_tokens(), 12);
    let mut tokens = tokenizer();
    tokens["truncation"] = json!({
        "max_length": 6, "strategy": "LongestFirst", "stride": 0, "direction": "Right",
    });
    toy.put("tokenizer.json", &tokens);
    assert_eq!(toy.load().unwrap().max_tokens(), 6);
    toy.put("sentence_bert_config.json", &json!({ "max_seq_length": 8, "do_lower_case": true }));
    let encoder = toy.load().unwrap();
    assert_eq!(encoder.max_tokens(), 8);
    assert_eq!(encoder.tokenize(&"FEW bits ".repeat(20)).unwrap(), [2, 4, 5, 4, 5, 4, 5, 3]);
    toy.put("sentence_bert_config.json", &json!({ "max_seq_length": 900 }));
    assert_eq!(toy.load().unwrap().max_tokens(), 12);
    toy.put("sentence_bert_config.json", &json!({ "max_seq_length": 2 }));
    toy.refuses(&["2 tokens", "no room"]);
}

#[test]
fn the_work_of_a_pass_is_counted() {
    let toy = Toy::new();
    let encoder = toy.write(str::to_owned).load().unwrap();
    let linears = 4 * HIDDEN * HIDDEN + 2 * HIDDEN * INNER;
    let expected = LAYERS * (10 * linears + 2 * HIDDEN * 10 * 10);
    assert_eq!(encoder.macs(10), expected as u64);
    assert!(encoder.weight_bytes() >= 4 * LAYERS * linears);
    assert!(encoder.embed::<&str>(&[], &EmbedOptions::default()).unwrap().is_empty());
}

/// The vectors of `texts` from int8 weights under smoothing factors: as codes, which products in
/// int8 read, or as the numbers that the codes stand for, which products in f32 read.
fn smoothed_int8(toy: &Toy, texts: &[&str], coded: bool, options: &EmbedOptions) -> Vec<f32> {
    let mut checkpoint = Checkpoint::open(toy.path()).unwrap();
    let linears = toy.weights.iter().filter(|(name, _)| name.contains("encoder"));
    for (name, (shape, values)) in linears.filter(|(_, (shape, _))| shape.len() == 2) {
        let matrix = Matrix::new(values, shape[0], shape[1]);
        let codes = "int8".parse::<Scheme>().unwrap().encode(matrix).unwrap();
        let decoded = Weight::Dense(Dense::owned(shape.clone(), codes.decode()));
        let weight = if coded { Weight::Coded(codes) } else { decoded };
        checkpoint.replace(name.clone(), weight);
        let mut random = Random::new(shape[1] as u64);
        let factors = (0..shape[1]).map(|_| 1.0 + random.unit().abs()).collect();
        let factors = Weight::Dense(Dense::owned(vec![shape[1]], factors));
        checkpoint.replace(format!("{name}_smooth"), factors);
    }
    let encoder = Encoder::open(&checkpoint.with_compute(Compute::Int8)).unwrap();
    encoder.embed(texts, options).unwrap()
}

/// Inputs are rounded alike on both paths; only where a value lies on the edge between two codes
/// do they differ, by one code in 127.
#[test]
fn products_in_int8_give_what_rounded_inputs_give() {
    let toy = Toy::new();
    toy.write(str::to_owned);
    let texts: Vec<&str> = "few bits,many,of few bits of many bits,,bits bits".split(',').collect();
    let texts = texts.repeat(13);
    let together = EmbedOptions { batch_tokens: 1000, ..EmbedOptions::default() };
    let expected = smoothed_int8(&toy, &texts, false, &together);
    let found = smoothed_int8(&toy, &texts, true, &together);
    for (found, expected) in found.chunks(HIDDEN).zip(expected.chunks(HIDDEN)) {
        let cosine: f32 = found.iter().zip(expected).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.9999, "{cosine}");
    }
    for (threads, batch_tokens) in [(1, 1), (2, 7), (3, 100)] {
        let options = EmbedOptions { threads, batch_tokens, ..EmbedOptions::default() };
        assert_eq!(smoothed_int8(&toy, &texts, true, &options), found, "{options:?}");
    }
}

#[test]
fn progress_counts_every_text_once() {
    let toy = Toy::new();
    let encoder = toy.write(str::to_owned).load().unwrap();
    let texts: Vec<String> = (0..50).map(|i| "few ".repeat(i % 9)).collect();
    let done = std::sync::atomic::AtomicUsize::new(0);
    let count = |n| {
        done.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
    };
    let options =
        EmbedOptions { threads: 2, batch_tokens: 16, progress: Some(&count), cancel: None };
    encoder.embed(&texts, &options).unwrap();
    assert_eq!(done.into_inner(), 50);
}

#[test]
fn no_batch_begins_after_the_call_is_cancelled() {
    let toy = Toy::new();
    let encoder = toy.write(str::to_owned).load().unwrap();
    let texts: Vec<String> = (0..50).map(|i| "few ".repeat(1 + i % 9)).collect();
    let (cancel, batches) = (Cancel::new(), Mutex::new(0));
    let third = |_| {
        let mut batches = batches.lock().unwrap();
        *batches += 1;
        if *batches == 3 {
            cancel.cancel();
        }
    };
    let (progress, cancel): (Option<&(dyn Fn(usize) + Sync)>, _) = (Some(&third), Some(&cancel));
    let options = EmbedOptions { threads: 1, batch_tokens: 16, progress, cancel };
    assert_eq!(encoder.embed(&texts, &options), Err(EmbedError::Cancelled));
    assert_eq!(*batches.lock().unwrap(), 3);
    // The flag is set: nothing begins.
    assert_eq!(encoder.embed(&texts, &options), Err(EmbedError::Cancelled));
    assert_eq!(*batches.lock().unwrap(), 3);
    let expected = encoder.embed(&texts, &EmbedOptions::default()).unwrap();
    let options = EmbedOptions { cancel: Some(&Cancel::new()), ..EmbedOptions::default() };
    assert_eq!(encoder.embed(&texts, &options).unwrap(), expected);
}

#[test]
fn directories_with_something_missing_name_it() {
    let toy = Toy::new();
    let remove = |name: &str| fs::remove_file(toy.write(str::to_owned).path().join(name)).unwrap();
    remove("tokenizer.json");
    toy.refuses(&["tokenizer.json is missing", "copy it"]);
    remove("config.json");
    toy.refuses(&["config.json is missing", "copy it"]);
    remove("model.safetensors");
    toy.refuses(&["model.safetensors is missing"]);
    let mut toy = Toy::new();
    toy.weights.remove("encoder.layer.1.output.dense.bias");
    toy.write(str::to_owned).refuses(&["'encoder.layer.1.output.dense.bias'", "is missing"]);
    let mut toy = Toy::new();
    let name = "encoder.layer.0.intermediate.dense.weight";
    toy.weights.get_mut(name).unwrap().0.reverse();
    toy.write(str::to_owned).refuses(&[name, "48 x 80", "80 x 48"]);
    assert!(Encoder::load(&PathBuf::from("nowhere/at/all")).is_err());
}

#[test]
fn configurations_it_does_not_run_are_named() {
    for (key, value, words) in [
        ("architectures", json!(["LlamaForCausalLM"]), ["LlamaForCausalLM", "BertModel"]),
        ("model_type", json!("roberta"), ["architecture", "supported"]),
        ("hidden_act", json!("relu"), ["hidden_act 'relu'", "gelu"]),
        ("position_embedding_type", json!("relative_key"), ["relative_key", "absolute"]),
        ("hidden_size", json!(0), ["hidden_size", "from 1"]),
        ("hidden_size", json!(1u64 << 40), ["hidden_size", "16384"]),
        ("hidden_size", json!("wide"), ["hidden_size", "number"]),
        ("num_attention_heads", json!(5), ["hidden_size 48", "5 heads"]),
        ("num_hidden_layers", json!(3), ["encoder.layer.2", "is missing"]),
        ("vocab_size", json!(10), ["word_embeddings", "10 x 48"]),
        ("layer_norm_eps", json!(-1), ["layer_norm_eps", "0..1"]),
        ("quantization_config", json!({"quant_method": "quip"}), ["'quip'", "supported"]),
        ("quantization_config", json!({}), ["quantization_config", "quant_method"]),
    ] {
        let mut toy = Toy::new();
        toy.config[key] = value;
        toy.write(str::to_owned).refuses(&words);
    }
    let toy = Toy::new();
    fs::write(toy.write(str::to_owned).path().join("config.json"), "[".repeat(5000)).unwrap();
    toy.refuses(&["config.json", "not valid JSON"]);
}

#[test]
fn modules_it_does_not_run_are_named() {
    let toy = Toy::new();
    toy.write(str::to_owned).modules("lasttoken", true);
    toy.refuses(&["pooling 'lasttoken'", "mean, cls and max"]);
    toy.put("1_Pooling/config.json", &json!({ "pooling_mode_cls_token": false }));
    toy.refuses(&["no pooling mode"]);
    toy.put("modules.json", &json!([{ "type": "a.Pooling", "path": "../elsewhere" }]));
    toy.refuses(&["'../elsewhere'", "no plain name"]);
    toy.put("modules.json", &json!([{ "type": "a.Dense", "path": "2_Dense" }]));
    toy.refuses(&["module 'Dense'"]);
    toy.put("modules.json", &json!("none"));
    toy.refuses(&["not a list"]);
}

#[test]
fn a_foreign_tokenizer_is_an_error_of_its_text() {
    let toy = Toy::new();
    toy.write(str::to_owned);
    let mut foreign = tokenizer();
    foreign["model"]["vocab"]["novel"] = 77.into();
    toy.put("tokenizer.json", &foreign);
    let encoder = toy.load().unwrap();
    let texts = ["few", "bits", "a novel", "novel"];
    for threads in [1, 2] {
        let options = EmbedOptions { threads, ..EmbedOptions::default() };
        let error = encoder.embed(&texts, &options).unwrap_err().to_string();
        assert!(error.contains("text 2") && error.contains("token 77"), "{error}");
    }
    toy.put("tokenizer.json", &json!({ "model": 1 }));
    toy.refuses(&["tokenizer.json", "not a tokenizer"]);
    fs::write(toy.path().join("tokenizer.json"), "version https://git-lfs").unwrap();
    toy.refuses(&["tokenizer.json"]);
}

/// A checkpoint with one NaN once gave vectors of NaN and no error.
#[test]
fn broken_weights_are_an_error_not_a_vector() {
    let mut toy = Toy::new();
    let name = "encoder.layer.1.output.dense.weight";
    toy.weights.get_mut(name).unwrap().1[7] = f32::NAN;
    let encoder = toy.write(str::to_owned).load().unwrap();
    let error = encoder.embed(&["few bits"], &EmbedOptions::default()).unwrap_err().to_string();
    assert!(error.contains("NaN") && error.contains(&*toy.path().to_string_lossy()), "{error}");
}

/// What was seen of the input of each weight.
#[derive(Default, PartialEq)]
struct Seen(Vec<(String, Vec<f32>)>);

impl Tap for Seen {
    fn input(&mut self, weights: &[&str], x: Matrix<'_, f32>) {
        let values: Vec<f32> = (0..x.rows()).flat_map(|row| x.row(row).to_vec()).collect();
        self.0.extend(weights.iter().map(|name| ((*name).to_owned(), values.clone())));
    }
}

#[test]
fn taps_see_what_every_linear_layer_reads() {
    let toy = Toy::new();
    let observe = |encoder: &Encoder, texts: &[&str], threads| {
        let mut seen = Seen::default();
        let options = EmbedOptions { threads, batch_tokens: 8, ..EmbedOptions::default() };
        encoder.observe(texts, &options, &mut seen).unwrap();
        seen
    };
    for prefix in ["", "bert."] {
        let encoder = toy.write(|name| format!("{prefix}{name}")).load().unwrap();
        toy.read.borrow_mut().clear();
        toy.states(&encoder.tokenize("few bits of many bits").unwrap());
        let seen = observe(&encoder, &["few bits of many bits"], 1).0;
        let read = toy.read.borrow();
        assert_eq!(seen.len(), read.len());
        for (name, values) in seen {
            let expected = &read[name.strip_prefix(prefix).unwrap()];
            assert_eq!(values.len(), expected.len(), "{name}");
            for (ours, theirs) in values.iter().zip(expected) {
                assert!((f64::from(*ours) - theirs).abs() < 1e-4, "{name}: {ours} {theirs}");
            }
        }
        let texts = ["few", "bits of many", "", "many few few bits bits", "of of"];
        let many = observe(&encoder, &texts, 1);
        assert!(many.0.len() > 2 * read.len(), "several batches");
        assert!(many == observe(&encoder, &texts, 3));
    }
}

#[test]
fn a_gguf_file_gives_the_vectors_of_its_directory() {
    let toy = Toy::new();
    toy.write(str::to_owned);
    let texts = ["few bits", "many few of bits many", "", "word", "few few few few few few few"];
    for (mode, normalized) in [("mean_tokens", true), ("cls_token", false)] {
        toy.modules(mode, normalized);
        toy.put("sentence_bert_config.json", &json!({ "max_seq_length": 7 }));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        convert(toy.path(), &path, &ConvertOptions::default()).unwrap();
        let (directory, gguf) = (toy.load().unwrap(), Encoder::load(&path).unwrap());
        assert_eq!((gguf.dim(), gguf.max_tokens()), (HIDDEN, 7));
        let embed = |encoder: &Encoder| encoder.embed(&texts, &EmbedOptions::default()).unwrap();
        assert_eq!(embed(&gguf), embed(&directory));
        let mut seen = Seen::default();
        let network = Network::load(&path).unwrap();
        network.observe(&texts[..1], &ObserveOptions::default(), &mut seen).unwrap();
        let names: Vec<&str> = seen.0.iter().map(|(name, _)| name.as_str()).collect();
        let blocks = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"];
        let layers =
            (0..LAYERS).flat_map(|at| blocks.map(|name| format!("blk.{at}.{name}.weight")));
        assert_eq!(names, layers.collect::<Vec<_>>());
    }
}

//! A made-up decoder that can be written as a directory or as a GGUF file, or run here.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use kvant_testkit::Random;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

pub(crate) const HIDDEN: usize = 48;
pub(crate) const WIDTH: usize = 16;
pub(crate) const INNER: usize = 80;
pub(crate) const LAYERS: usize = 2;
pub(crate) const CONTEXT: usize = 200;
const EPS: f64 = 1e-5;
const THETA: f64 = 10_000.0;

/// What distinguishes the families.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) architecture: &'static str,
    pub(crate) heads: usize,
    pub(crate) groups: usize,
    pub(crate) tied: bool,
}

pub(crate) const LLAMA: Kind = Kind { architecture: "llama", heads: 3, groups: 3, tied: false };
pub(crate) const SHARED: Kind = Kind { architecture: "llama", heads: 6, groups: 2, tied: true };
pub(crate) const QWEN: Kind = Kind { architecture: "qwen2", heads: 4, groups: 1, tied: false };

/// A decoder: weights by their safetensors names.
pub(crate) struct Toy {
    pub(crate) kind: Kind,
    pub(crate) folder: TempDir,
    pub(crate) weights: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    pub(crate) config: Value,
    /// Turns of each pair of a head for every position.
    pub(crate) frequencies: Vec<f64>,
}

impl Toy {
    pub(crate) fn new(kind: Kind) -> Self {
        let Kind { heads, groups, .. } = kind;
        let words = words().len();
        let mut random = Random::new(5);
        let mut weights = BTreeMap::new();
        let mut add = |name: String, shape: &[usize], scale: f32, offset: f32| {
            let values = random.normals(shape.iter().product());
            let values = values.into_iter().map(|v| v * scale + offset).collect();
            weights.insert(name, (shape.to_vec(), values));
        };
        add("model.embed_tokens.weight".into(), &[words, HIDDEN], 1.0, 0.0);
        add("model.norm.weight".into(), &[HIDDEN], 0.1, 1.0);
        if !kind.tied {
            add("lm_head.weight".into(), &[words, HIDDEN], 0.3, 0.0);
        }
        for layer in 0..LAYERS {
            let at = |name: &str| format!("model.layers.{layer}.{name}");
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                add(at(&format!("{norm}.weight")), &[HIDDEN], 0.1, 1.0);
            }
            for (name, rows, cols) in [
                ("self_attn.q_proj", heads * WIDTH, HIDDEN),
                ("self_attn.k_proj", groups * WIDTH, HIDDEN),
                ("self_attn.v_proj", groups * WIDTH, HIDDEN),
                ("self_attn.o_proj", HIDDEN, heads * WIDTH),
                ("mlp.gate_proj", INNER, HIDDEN),
                ("mlp.up_proj", INNER, HIDDEN),
                ("mlp.down_proj", HIDDEN, INNER),
            ] {
                add(at(&format!("{name}.weight")), &[rows, cols], 0.2, 0.0);
                if kind.architecture == "qwen2" && name.starts_with("self_attn") && cols == HIDDEN {
                    add(at(&format!("{name}.bias")), &[rows], 0.3, 0.0);
                }
            }
        }
        let config = json!({
            "model_type": kind.architecture, "hidden_act": "silu", "hidden_size": HIDDEN,
            "num_hidden_layers": LAYERS, "num_attention_heads": heads, "head_dim": WIDTH,
            "num_key_value_heads": groups, "intermediate_size": INNER, "vocab_size": words,
            "max_position_embeddings": CONTEXT, "rms_norm_eps": EPS, "rope_theta": THETA,
            "tie_word_embeddings": kind.tied, "rope_scaling": null,
        });
        let power = |i| THETA.powf(-2.0 * f64::from(i) / WIDTH as f64);
        let frequencies = (0..WIDTH as u32 / 2).map(power).collect();
        Self { kind, folder: tempfile::tempdir().unwrap(), weights, config, frequencies }
    }

    /// Writes the model directory.
    pub(crate) fn directory(&self) -> PathBuf {
        let path = self.folder.path().join("model");
        fs::create_dir_all(&path).unwrap();
        let (mut header, mut body) = (Map::new(), Vec::new());
        for (name, (shape, values)) in &self.weights {
            let start = body.len();
            body.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            let offsets = [start, body.len()];
            let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": offsets });
            header.insert(name.clone(), entry);
        }
        let header = Value::Object(header).to_string();
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.extend(body);
        fs::write(path.join("model.safetensors"), file).unwrap();
        fs::write(path.join("config.json"), self.config.to_string()).unwrap();
        fs::write(path.join("tokenizer.json"), tokenizer().to_string()).unwrap();
        path
    }

    /// The metadata of the same model as a GGUF file.
    pub(crate) fn metadata(&self) -> Gguf {
        let Kind { architecture, heads, groups, .. } = self.kind;
        let mut gguf = Gguf::default();
        gguf.text("general.architecture", architecture);
        for (name, value) in [
            ("block_count", LAYERS),
            ("context_length", CONTEXT),
            ("embedding_length", HIDDEN),
            ("feed_forward_length", INNER),
            ("attention.head_count", heads),
            ("attention.head_count_kv", groups),
            ("attention.key_length", WIDTH),
            ("rope.dimension_count", WIDTH),
        ] {
            gguf.size(&format!("{architecture}.{name}"), value);
        }
        let epsilon = format!("{architecture}.attention.layer_norm_rms_epsilon");
        gguf.float(&epsilon, EPS as f32);
        gguf.float(&format!("{architecture}.rope.freq_base"), THETA as f32);
        gguf.text("tokenizer.ggml.model", "gpt2");
        gguf.text("tokenizer.ggml.pre", "gpt-2");
        gguf.texts("tokenizer.ggml.tokens", &words());
        gguf.texts("tokenizer.ggml.merges", &MERGES.map(|(a, b)| format!("{a} {b}")));
        let kinds: Vec<i32> = words().iter().map(|word| kind_of(word)).collect();
        gguf.integers("tokenizer.ggml.token_type", &kinds);
        gguf
    }

    /// Writes the GGUF file `gguf`, with the weights in it.
    pub(crate) fn gguf(&self, mut gguf: Gguf) -> PathBuf {
        for (name, (shape, values)) in &self.weights {
            let permuted = self.kind.architecture == "llama";
            let values = match name {
                name if permuted && (name.contains("q_proj") || name.contains("k_proj")) => {
                    interleave(values, shape.get(1).copied().unwrap_or(1))
                }
                _ => values.clone(),
            };
            gguf.tensor(&renamed(name), shape, &values);
        }
        let path = self.folder.path().join("model.gguf");
        fs::write(&path, gguf.finish()).unwrap();
        path
    }

    fn weight(&self, name: &str) -> &[f32] {
        &self.weights[name].1
    }

    fn linear(&self, x: &[f64], name: &str) -> Vec<f64> {
        let weight = self.weight(&format!("{name}.weight"));
        let dot = |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>();
        let mut out: Vec<f64> = weight.chunks(x.len()).map(dot).collect();
        if let Some((_, bias)) = self.weights.get(&format!("{name}.bias")) {
            out.iter_mut().zip(bias).for_each(|(out, bias)| *out += f64::from(*bias));
        }
        out
    }

    pub(crate) fn norm(&self, x: &[f64], name: &str) -> Vec<f64> {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let gains = self.weight(&format!("{name}.weight"));
        let scale = 1.0 / (mean + EPS).sqrt();
        x.iter().zip(gains).map(|(x, gain)| x * scale * f64::from(*gain)).collect()
    }

    pub(crate) fn word(&self, token: u32) -> Vec<f64> {
        let table = self.weight("model.embed_tokens.weight");
        let row = &table[token as usize * HIDDEN..][..HIDDEN];
        row.iter().map(|value| f64::from(*value)).collect()
    }

    /// Pairs of halves, in heads side by side.
    fn rotate(&self, x: &mut [f64], position: usize) {
        let half = WIDTH / 2;
        for head in x.chunks_mut(WIDTH) {
            for (i, frequency) in self.frequencies.iter().enumerate() {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                let (a, b) = (head[i], head[i + half]);
                (head[i], head[i + half]) = (a * cos - b * sin, a * sin + b * cos);
            }
        }
    }

    /// The logits of every position, in double precision.
    pub(crate) fn logits(&self, tokens: &[u32]) -> Vec<Vec<f64>> {
        let Kind { heads, groups, .. } = self.kind;
        let mut states: Vec<Vec<f64>> = tokens.iter().map(|&token| self.word(token)).collect();
        for layer in 0..LAYERS {
            let at = |name: &str| format!("model.layers.{layer}.{name}");
            let (mut keys, mut values) = (Vec::new(), Vec::new());
            for (position, state) in states.iter_mut().enumerate() {
                let x = self.norm(state, &at("input_layernorm"));
                let mut query = self.linear(&x, &at("self_attn.q_proj"));
                let mut key = self.linear(&x, &at("self_attn.k_proj"));
                self.rotate(&mut query, position);
                self.rotate(&mut key, position);
                keys.push(key);
                values.push(self.linear(&x, &at("self_attn.v_proj")));
                let mut mixed = vec![0.0; heads * WIDTH];
                for head in 0..heads {
                    let group = head / (heads / groups) * WIDTH..;
                    let query = &query[head * WIDTH..][..WIDTH];
                    let score = |key: &Vec<f64>| {
                        let key = &key[group.clone()][..WIDTH];
                        let dot = query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>();
                        (dot / (WIDTH as f64).sqrt()).exp()
                    };
                    let scores: Vec<f64> = keys.iter().map(score).collect();
                    let sum = scores.iter().sum::<f64>();
                    for (score, value) in scores.iter().zip(&values) {
                        let out = mixed[head * WIDTH..][..WIDTH].iter_mut();
                        out.zip(&value[group.clone()]).for_each(|(o, v)| *o += score / sum * v);
                    }
                }
                add(state, &self.linear(&mixed, &at("self_attn.o_proj")));
                let x = self.norm(state, &at("post_attention_layernorm"));
                let gates = self.linear(&x, &at("mlp.gate_proj"));
                let ups = self.linear(&x, &at("mlp.up_proj"));
                let silu = |gate: &f64| gate / (1.0 + (-gate).exp());
                let inner: Vec<f64> = gates.iter().zip(&ups).map(|(g, u)| silu(g) * u).collect();
                add(state, &self.linear(&inner, &at("mlp.down_proj")));
            }
        }
        let head = if self.kind.tied { "model.embed_tokens" } else { "lm_head" };
        let logits = |state: &Vec<f64>| self.linear(&self.norm(state, "model.norm"), head);
        states.iter().map(logits).collect()
    }
}

fn add(state: &mut [f64], update: &[f64]) {
    state.iter_mut().zip(update).for_each(|(state, change)| *state += change);
}

/// Rows of every head in the order in which halves become neighbours.
fn interleave(values: &[f32], cols: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = values.chunks(cols).collect();
    let order = |head: usize| (0..WIDTH).map(move |i| head + i / 2 + i % 2 * WIDTH / 2);
    (0..rows.len()).step_by(WIDTH).flat_map(order).flat_map(|row| rows[row].to_vec()).collect()
}

fn renamed(name: &str) -> String {
    [
        ("model.layers", "blk"),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ]
    .iter()
    .fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// Pairs that join to a token, first ones first.
pub(crate) const MERGES: [(&str, &str); 6] =
    [("h", "e"), ("Ġ", "t"), ("Ġt", "he"), ("l", "l"), ("he", "ll"), ("Ð", "°")];

/// A token for each byte, for each pair, and two special ones.
pub(crate) fn words() -> Vec<String> {
    let plain = |byte: &u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..256).filter(|byte| !plain(byte)).zip(256..);
    let signs = (0..256).filter(plain).chain(others.map(|(_, sign)| sign));
    let signs = signs.map(|sign| char::from_u32(sign).unwrap().to_string());
    let joined = MERGES.iter().map(|(a, b)| format!("{a}{b}"));
    signs.chain(joined).chain(["<|begin|>".into(), "<|turn|>".into()]).collect()
}

fn kind_of(word: &str) -> i32 {
    if word.starts_with("<|") { 3 } else { 1 }
}

/// The `tokenizer.json` of [`words`].
pub(crate) fn tokenizer() -> Value {
    let words = words();
    let ids: Map<String, Value> =
        words.iter().enumerate().map(|(id, word)| (word.clone(), id.into())).collect();
    let special = words.iter().enumerate().filter(|(_, word)| kind_of(word) == 3);
    let special = special.map(|(id, word)| {
        json!({
            "id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    });
    let level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": special.collect::<Vec<_>>(), "normalizer": null,
        "pre_tokenizer": level, "post_processor": level, "decoder": level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false,
            "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "byte_fallback": false, "ignore_merges": false, "vocab": ids,
            "merges": MERGES.map(|(a, b)| [a, b]),
        },
    })
}

/// A GGUF file in the making: F32 tensors, alignment 32.
#[derive(Clone, Default)]
pub(crate) struct Gguf {
    entries: BTreeMap<String, Vec<u8>>,
    infos: Vec<u8>,
    tensors: u64,
    data: Vec<u8>,
}

impl Gguf {
    fn put(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.entries.insert(key.to_owned(), [&kind.to_le_bytes(), value].concat());
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.entries.remove(key).unwrap();
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.put(key, 8, &string(value));
    }

    pub(crate) fn size(&mut self, key: &str, value: usize) {
        self.put(key, 4, &(value as u32).to_le_bytes());
    }

    pub(crate) fn float(&mut self, key: &str, value: f32) {
        self.put(key, 6, &value.to_le_bytes());
    }

    pub(crate) fn flag(&mut self, key: &str, value: bool) {
        self.put(key, 7, &[u8::from(value)]);
    }

    fn list(&mut self, key: &str, kind: u32, values: &[Vec<u8>]) {
        let count = (values.len() as u64).to_le_bytes();
        self.put(key, 9, &[&kind.to_le_bytes()[..], &count, &values.concat()].concat());
    }

    pub(crate) fn texts<S: AsRef<str>>(&mut self, key: &str, values: &[S]) {
        let values: Vec<_> = values.iter().map(|value| string(value.as_ref())).collect();
        self.list(key, 8, &values);
    }

    pub(crate) fn integers(&mut self, key: &str, values: &[i32]) {
        let values: Vec<_> = values.iter().map(|value| value.to_le_bytes().to_vec()).collect();
        self.list(key, 5, &values);
    }

    pub(crate) fn floats(&mut self, key: &str, values: &[f32]) {
        let values: Vec<_> = values.iter().map(|value| value.to_le_bytes().to_vec()).collect();
        self.list(key, 6, &values);
    }

    pub(crate) fn tensor(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.infos.extend(string(name));
        self.infos.extend((shape.len() as u32).to_le_bytes());
        self.infos.extend(shape.iter().rev().flat_map(|&n| (n as u64).to_le_bytes()));
        self.infos.extend(0u32.to_le_bytes());
        self.infos.extend((self.data.len() as u64).to_le_bytes());
        self.data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        self.tensors += 1;
    }

    pub(crate) fn finish(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3u32.to_le_bytes());
        file.extend(self.tensors.to_le_bytes());
        file.extend((self.entries.len() as u64).to_le_bytes());
        for (key, value) in &self.entries {
            file.extend(string(key));
            file.extend(value);
        }
        file.extend(&self.infos);
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(&self.data);
        file
    }
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

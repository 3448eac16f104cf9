//! Transforms leave what a network computes as it is.

use std::fs;
use std::path::{Path, PathBuf};

use kvant_compress::{Draft, Pass, PassError, Rotate, Run, sites};
use kvant_model::{Checkpoint, Decoder, EmbedOptions, Encoder, ForwardOptions, save};
use kvant_testkit::Random;
use tempfile::TempDir;

const WORDS: usize = 40;

fn good<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => unreachable!("{error}"),
    }
}

/// A model under construction: tensors in the order they were added.
struct Toy {
    random: Random,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl Toy {
    fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), tensors: Vec::new() }
    }

    /// A matrix whose products keep the size of what goes in.
    fn matrix(&mut self, name: &str, rows: usize, cols: usize) {
        let scale = 1.0 / (cols as f32).sqrt();
        let values = self.random.normals(rows * cols).into_iter().map(|v| v * scale);
        self.tensors.push((format!("{name}.weight"), vec![rows, cols], values.collect()));
    }

    fn vector(&mut self, name: &str, len: usize, mean: f32) {
        let values = self.random.normals(len).into_iter().map(|v| mean + 0.3 * v);
        self.tensors.push((name.to_owned(), vec![len], values.collect()));
    }

    fn linear(&mut self, name: &str, rows: usize, cols: usize) {
        self.matrix(name, rows, cols);
        self.vector(&format!("{name}.bias"), rows, 0.0);
    }

    fn norm(&mut self, name: &str, len: usize) {
        self.vector(&format!("{name}.weight"), len, 1.0);
        self.vector(&format!("{name}.bias"), len, 0.0);
    }

    fn write(&self, config: &serde_json::Value) -> (TempDir, PathBuf) {
        let place = good(tempfile::tempdir());
        let path = place.path().join("model");
        good(fs::create_dir(&path));
        let mut header = serde_json::Map::new();
        let mut data: Vec<u8> = Vec::new();
        for (name, shape, values) in &self.tensors {
            let start = data.len();
            data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            let offsets = [start, data.len()];
            let entry =
                serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": offsets});
            header.insert(name.clone(), entry);
        }
        let mut header = good(serde_json::to_vec(&header));
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        file.extend(data);
        good(fs::write(path.join("model.safetensors"), file));
        good(fs::write(path.join("config.json"), config.to_string()));
        good(fs::write(path.join("tokenizer.json"), tokenizer()));
        (place, path)
    }
}

/// One word for every token: `w0` to `w39`.
fn tokenizer() -> String {
    let vocab: serde_json::Map<_, _> =
        (0..WORDS).map(|id| (format!("w{id}"), serde_json::Value::from(id))).collect();
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"},
    })
    .to_string()
}

/// 48 channels (16 · 3), 6 query heads over `groups` value heads of 8 channels.
fn llama(groups: usize, tied: bool) -> (TempDir, PathBuf) {
    let (hidden, width, heads, inner, layers) = (48, 8, 6, 40, 2);
    let mut toy = Toy::new(5);
    toy.matrix("model.embed_tokens", WORDS, hidden);
    for layer in 0..layers {
        let at = |name: &str| format!("model.layers.{layer}.{name}");
        toy.vector(&at("input_layernorm.weight"), hidden, 1.0);
        toy.linear(&at("self_attn.q_proj"), heads * width, hidden);
        toy.linear(&at("self_attn.k_proj"), groups * width, hidden);
        toy.linear(&at("self_attn.v_proj"), groups * width, hidden);
        toy.matrix(&at("self_attn.o_proj"), hidden, heads * width);
        toy.vector(&at("post_attention_layernorm.weight"), hidden, 1.0);
        toy.matrix(&at("mlp.gate_proj"), inner, hidden);
        toy.matrix(&at("mlp.up_proj"), inner, hidden);
        toy.matrix(&at("mlp.down_proj"), hidden, inner);
    }
    toy.vector("model.norm.weight", hidden, 1.0);
    if !tied {
        toy.matrix("lm_head", WORDS, hidden);
    }
    toy.write(&serde_json::json!({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": groups, "head_dim": width,
        "vocab_size": WORDS, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": tied,
    }))
}

fn bert() -> (TempDir, PathBuf) {
    let (hidden, inner, layers) = (32, 48, 2);
    let mut toy = Toy::new(6);
    toy.matrix("embeddings.word_embeddings", WORDS, hidden);
    toy.matrix("embeddings.position_embeddings", 16, hidden);
    toy.matrix("embeddings.token_type_embeddings", 2, hidden);
    toy.norm("embeddings.LayerNorm", hidden);
    for layer in 0..layers {
        let at = |name: &str| format!("encoder.layer.{layer}.{name}");
        for name in ["query", "key", "value"] {
            toy.linear(&at(&format!("attention.self.{name}")), hidden, hidden);
        }
        toy.linear(&at("attention.output.dense"), hidden, hidden);
        toy.norm(&at("attention.output.LayerNorm"), hidden);
        toy.linear(&at("intermediate.dense"), inner, hidden);
        toy.linear(&at("output.dense"), hidden, inner);
        toy.norm(&at("output.LayerNorm"), hidden);
    }
    toy.write(&serde_json::json!({
        "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu",
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": 4, "vocab_size": WORDS, "max_position_embeddings": 16,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12,
    }))
}

fn draft(source: &Path) -> Draft {
    Draft::new(good(Checkpoint::open(source)))
}

fn saved(draft: Draft, source: &Path) -> PathBuf {
    let out = source.with_file_name("out");
    good(save(&out, source, &draft.into_saved()));
    out
}

fn logits(model: &Path) -> Vec<f32> {
    let tokens: Vec<u32> = (0..24).map(|at| at * 7 % WORDS as u32).collect();
    good(good(Decoder::load(model)).logits(&tokens, ForwardOptions::default()))
}

fn vectors(model: &Path) -> Vec<f32> {
    let texts: Vec<String> = (0..6).map(|at| format!("w{at} w{} w{}", at * 3, at * 5)).collect();
    let encoder = good(Encoder::load(model));
    good(encoder.embed(&texts, &EmbedOptions::default()))
}

/// `‖a − b‖ / ‖a‖`.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |x: f64| x * x;
    let apart: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(a - b))).sum();
    let size: f64 = a.iter().map(|a| square(f64::from(*a))).sum();
    assert!(size > 0.0);
    (apart / size).sqrt()
}

fn apply(pass: &dyn Pass, draft: &mut Draft) -> Result<(), PassError> {
    pass.apply(draft, &Run { threads: 2, progress: &|_| {} })
}

/// Logits of f32 networks of this depth agree to a few roundings, 2⁻²⁴ each.
const ROUNDING: f64 = 1e-5;

#[test]
fn rotated_decoders_give_the_same_logits_and_other_weights() {
    for (groups, tied) in [(6, false), (2, true), (3, false), (1, true)] {
        let (_place, source) = llama(groups, tied);
        let expected = logits(&source);
        let mut draft = draft(&source);
        apply(&Rotate { seed: 9 }, &mut draft).unwrap();
        for tensor in Checkpoint::open(&source).unwrap().tensors() {
            let before = draft.source().dense(&tensor.name).unwrap();
            let after = draft.dense(&tensor.name).unwrap();
            let moved = distance(before.values(), after.values());
            let stays = ["q_proj.bias", "k_proj.bias"].iter().any(|n| tensor.name.ends_with(n));
            assert!(if stays { moved == 0.0 } else { moved > 0.1 }, "{} {moved}", tensor.name);
            if tensor.name.ends_with("norm.weight") {
                assert!(after.values().iter().all(|&gain| gain == 1.0));
            }
        }
        let out = saved(draft, &source);
        let apart = distance(&expected, &logits(&out));
        assert!(apart < ROUNDING, "{groups} groups, tied {tied}: {apart}");
        let config: serde_json::Value =
            serde_json::from_slice(&fs::read(out.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["tie_word_embeddings"], false);
    }
}

#[test]
fn a_seed_gives_one_rotation() {
    let (_place, source) = llama(2, true);
    let words = |seed| {
        let mut draft = draft(&source);
        apply(&Rotate { seed }, &mut draft).unwrap();
        draft.dense("model.embed_tokens.weight").unwrap().values().to_vec()
    };
    assert_eq!(words(1), words(1));
    assert!(distance(&words(1), &words(2)) > 0.1);
}

#[test]
fn encoders_do_not_rotate() {
    let (_place, source) = bert();
    let mut draft = draft(&source);
    let error = apply(&Rotate::default(), &mut draft).unwrap_err();
    assert!(matches!(error, PassError::Unfit { .. }), "{error}");
}

/// Scales by hand at every site that has something to take them.
#[test]
fn scaled_sites_leave_the_network_as_it_is() {
    for (groups, tied) in [(6, false), (2, true)] {
        let (_place, source) = llama(groups, tied);
        let expected = logits(&source);
        let mut draft = draft(&source);
        assert_eq!(scale_all(&mut draft), if tied { 8 } else { 9 });
        let apart = distance(&expected, &logits(&saved(draft, &source)));
        assert!(apart < ROUNDING, "{groups} groups: {apart}");
    }
    let (_place, source) = bert();
    let expected = vectors(&source);
    let mut draft = draft(&source);
    assert_eq!(scale_all(&mut draft), 2, "the values of each layer and nothing else");
    let apart = distance(&expected, &vectors(&saved(draft, &source)));
    assert!(apart < ROUNDING, "bert: {apart}");
}

/// How many sites took a scale.
fn scale_all(draft: &mut Draft) -> usize {
    let mut random = Random::new(1);
    let mut count = 0;
    for site in good(sites(draft)) {
        let Some(absorber) = site.absorber.clone() else {
            assert!(site.scale(draft, &[2.0]).is_err());
            continue;
        };
        let channels = good(draft.dense(&site.readers[0])).cols();
        let slots = absorber.share.slots(channels);
        let scale: Vec<f32> = (0..slots).map(|_| random.normal().exp()).collect();
        assert_eq!(good(site.scale(draft, &scale)).len(), channels);
        count += 1;
    }
    count
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let (_place, source) = llama(2, true);
    let config = fs::read_to_string(source.join("config.json")).unwrap();
    let wrong = config.replace("\"num_key_value_heads\":2", "\"num_key_value_heads\":3");
    assert_ne!(wrong, config);
    fs::write(source.join("config.json"), wrong).unwrap();
    let error = sites(&draft(&source)).unwrap_err().to_string();
    assert!(error.contains("k_proj.weight") && error.contains("24 x 48"), "{error}");
}

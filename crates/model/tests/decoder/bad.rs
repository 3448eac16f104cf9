//! Models and sequences that are not what they should be.

use kvant_model::{Decoder, ForwardError, ForwardOptions, LoadError, Network};
use serde_json::{Value, json};

use crate::toy::{CONTEXT, Gguf, LLAMA, QWEN, Toy, words};

fn says(loaded: Result<Decoder, LoadError>, words: &[&str]) {
    let error = loaded.unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "'{error}' does not say '{word}'");
    }
    assert!(!error.contains('\n') && error.len() < 400, "{error}");
}

fn configured(changes: &[(&str, Value)]) -> Result<Decoder, LoadError> {
    let mut toy = Toy::new(LLAMA);
    for (key, value) in changes {
        toy.config[*key] = value.clone();
    }
    Decoder::load(&toy.directory())
}

#[test]
fn configurations_that_are_not_computed_are_refused() {
    let one = |key: &'static str, value: Value| configured(&[(key, value)]);
    says(one("model_type", json!("gemma2")), &["model_type 'gemma2'", "qwen2"]);
    says(one("model_type", Value::Null), &["model_type 'none'"]);
    says(one("hidden_act", json!("gelu")), &["hidden_act 'gelu'"]);
    let yarn = json!({ "rope_type": "yarn", "factor": 2.0 });
    says(one("rope_scaling", yarn), &["rotary scaling 'yarn'", "llama3"]);
    let window = [("model_type", json!("mistral")), ("sliding_window", json!(64))];
    says(configured(&window), &["sliding window"]);
    assert!(configured(&window[..1]).is_ok());
    let window = [("model_type", json!("qwen2")), ("sliding_window", json!(64))];
    assert!(configured(&window).is_ok());
    says(one("use_sliding_window", json!(true)), &["sliding window"]);
}

#[test]
fn configurations_beyond_the_limits_are_refused() {
    let one = |key: &'static str, value: Value| configured(&[(key, value)]);
    for key in [
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
    ] {
        for value in [json!(0), json!(1u64 << 60)] {
            says(one(key, value), &[key, "from 1 to"]);
        }
    }
    says(one("hidden_size", json!("48")), &["hidden_size"]);
    says(one("num_key_value_heads", json!(2)), &["3 heads do not share 2"]);
    says(one("head_dim", json!(15)), &["15 values cannot be rotated"]);
    says(one("rms_norm_eps", json!(2.0)), &["epsilon 2"]);
    says(one("rope_theta", json!(-3.0)), &["base of the rotary"]);
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let mut toy = Toy::new(LLAMA);
    let (shape, values) = toy.weights.remove("lm_head.weight").unwrap();
    says(Decoder::load(&toy.directory()), &["lm_head.weight", "is missing"]);
    toy.config["tie_word_embeddings"] = json!(true);
    assert!(Decoder::load(&toy.directory()).is_ok());
    toy.weights.insert("lm_head.weight".into(), (shape, values));
    let norm = "model.layers.1.input_layernorm.weight";
    toy.weights.insert(norm.into(), (vec![47], vec![1.0; 47]));
    says(Decoder::load(&toy.directory()), &[norm, "47 values, expected 48"]);
    let down = "model.layers.0.mlp.down_proj.weight";
    toy.weights.insert(down.into(), (vec![2, 80], vec![1.0; 160]));
    says(Decoder::load(&toy.directory()), &[down, "2 x 80", "48 x 80"]);
}

#[test]
fn gguf_files_that_are_not_computed_are_refused() {
    let changed = |change: &dyn Fn(&mut Gguf)| {
        let toy = Toy::new(QWEN);
        let mut metadata = toy.metadata();
        change(&mut metadata);
        Decoder::load(&toy.gguf(metadata))
    };
    assert!(changed(&|_| ()).is_ok());
    says(changed(&|g| g.text("general.architecture", "mamba")), &["architecture 'mamba'"]);
    says(changed(&|g| g.size("qwen2.expert_count", 8)), &["mixture of experts"]);
    says(changed(&|g| g.size("qwen2.rope.dimension_count", 8)), &["8 rotary", "heads of 16"]);
    says(changed(&|g| g.text("qwen2.rope.scaling.type", "yarn")), &["scaling 'yarn'"]);
    says(changed(&|g| g.remove("qwen2.block_count")), &["qwen2.block_count", "from 1"]);
    says(changed(&|g| g.size("qwen2.attention.head_count_kv", 3)), &["4 heads do not share 3"]);
    says(changed(&|g| g.size("qwen2.block_count", 3)), &["blk.2.", "is missing"]);
}

#[test]
fn sequences_must_fit_the_model() {
    let decoder = Decoder::load(&Toy::new(LLAMA).directory()).unwrap();
    let run = |tokens: &[u32], from| {
        let options = ForwardOptions { from, ..ForwardOptions::default() };
        decoder.logits(tokens, options).map(|logits| logits.len())
    };
    let (context, vocabulary) = (CONTEXT, words().len());
    assert_eq!(run(&[0, 1, 2], 2), Ok(vocabulary));
    let length = |tokens, from| Err(ForwardError::Length { tokens, from, context });
    assert_eq!(run(&[], 0), length(0, 0));
    assert_eq!(run(&[0, 1], 2), length(2, 2));
    assert_eq!(run(&vec![0; CONTEXT + 1], 0), length(CONTEXT + 1, 0));
    let token = vocabulary as u32;
    assert_eq!(run(&[0, token], 0), Err(ForwardError::Vocabulary { token, vocabulary }));
    for window in [0, CONTEXT + 1] {
        assert_eq!(decoder.windows("he", window).map(|w| w.len()), length(window, 0));
    }
}

#[test]
fn broken_weights_are_noticed() {
    let mut toy = Toy::new(LLAMA);
    toy.weights.get_mut("model.embed_tokens.weight").unwrap().1[7 * 48] = f32::NAN;
    let decoder = Decoder::load(&toy.directory()).unwrap();
    let run = |tokens: &[u32]| decoder.logits(tokens, ForwardOptions::default());
    assert!(run(&[1, 2, 3]).is_ok());
    let path = toy.directory();
    assert_eq!(run(&[1, 7, 3]).err(), Some(ForwardError::NotFinite { path }));
}

#[test]
fn a_network_is_what_its_files_say() {
    let mut toy = Toy::new(LLAMA);
    assert!(matches!(Network::load(&toy.directory()), Ok(Network::Decoder(_))));
    assert!(matches!(Network::load(&toy.gguf(toy.metadata())), Ok(Network::Decoder(_))));
    toy.config["model_type"] = json!("t5");
    let error = Network::load(&toy.directory()).unwrap_err().to_string();
    assert!(error.contains("architecture 't5'") && error.contains("bert"), "{error}");
}

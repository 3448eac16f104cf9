//! A language model small enough to be made up in a test.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use crate::Random;

const HIDDEN: usize = 32;
const INNER: usize = 64;
const LAYERS: usize = 2;
const HEADS: usize = 4;
const GROUPS: usize = 2;
/// Its trained context, tokens.
pub const LLAMA_CONTEXT: usize = 128;

/// Writes a random Llama of 256 tokens (one for each byte) as a model directory at `dir`: two
/// layers, shared key heads, the word table being the head; `config.json`, `model.safetensors`
/// in f32, `tokenizer.json`. The same seed gives the same files.
///
/// # Errors
/// If `dir` cannot be made or written.
pub fn llama(dir: &Path, seed: u64) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut random = Random::new(seed);
    let (mut header, mut data) = (String::from("{"), Vec::new());
    let mut add = |name: &str, shape: &[usize], scale: f32, offset: f32| {
        let start = data.len();
        for _ in 0..shape.iter().product() {
            data.extend((random.normal() * scale + offset).to_le_bytes());
        }
        let comma = if header.len() > 1 { "," } else { "" };
        let end = data.len();
        // Writing to a string cannot fail.
        let _ = write!(
            header,
            r#"{comma}"{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        );
    };
    add("model.embed_tokens.weight", &[256, HIDDEN], 0.6, 0.0);
    add("model.norm.weight", &[HIDDEN], 0.1, 1.0);
    let keys = HIDDEN / HEADS * GROUPS;
    for layer in 0..LAYERS {
        let at = |name: &str| format!("model.layers.{layer}.{name}.weight");
        add(&at("input_layernorm"), &[HIDDEN], 0.1, 1.0);
        add(&at("post_attention_layernorm"), &[HIDDEN], 0.1, 1.0);
        add(&at("self_attn.q_proj"), &[HIDDEN, HIDDEN], 0.2, 0.0);
        add(&at("self_attn.k_proj"), &[keys, HIDDEN], 0.2, 0.0);
        add(&at("self_attn.v_proj"), &[keys, HIDDEN], 0.2, 0.0);
        add(&at("self_attn.o_proj"), &[HIDDEN, HIDDEN], 0.2, 0.0);
        add(&at("mlp.gate_proj"), &[INNER, HIDDEN], 0.2, 0.0);
        add(&at("mlp.up_proj"), &[INNER, HIDDEN], 0.2, 0.0);
        add(&at("mlp.down_proj"), &[HIDDEN, INNER], 0.2, 0.0);
    }
    header.push('}');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.into_bytes());
    file.append(&mut data);
    fs::write(dir.join("model.safetensors"), file)?;
    fs::write(dir.join("config.json"), config())?;
    fs::write(dir.join("tokenizer.json"), tokenizer())
}

fn config() -> String {
    format!(
        r#"{{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_act":"silu",
"hidden_size":{HIDDEN},"num_hidden_layers":{LAYERS},"num_attention_heads":{HEADS},
"num_key_value_heads":{GROUPS},"intermediate_size":{INNER},"vocab_size":256,
"max_position_embeddings":{LLAMA_CONTEXT},"rms_norm_eps":1e-5,"rope_theta":10000.0,
"tie_word_embeddings":true}}"#
    )
}

/// Byte-level BPE without merges; tokens are in the order of the signs GPT-2 gives the bytes.
fn tokenizer() -> String {
    let plain = |byte: &u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (256..).take((0..256).filter(|byte| !plain(byte)).count());
    let signs = (0..256).filter(plain).chain(others).filter_map(char::from_u32);
    let entry = |(id, sign): (usize, char)| match sign {
        '"' | '\\' => format!(r#""\{sign}":{id}"#),
        sign => format!(r#""{sign}":{id}"#),
    };
    let vocabulary: Vec<String> = signs.enumerate().map(entry).collect();
    let level = r#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,
"use_regex":true}"#;
    format!(
        r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
"pre_tokenizer":{level},"post_processor":{level},"decoder":{level},
"model":{{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,
"vocab":{{{}}},"merges":[]}}}}"#,
        vocabulary.join(",")
    )
}

//! A GGUF file as the directory that transformers loads.

use std::borrow::Cow;

use kvant_storage::{Dir, FsDir, Name};
use serde_json::{Map, Value, json};

use super::gguf::{MAX_TOKENS, NORMALIZED, SPECIAL};
use super::hyper::Hyper;
use super::{SaveError, SaveOptions, Stored, container, pretty, quantization};
use crate::checkpoint::{CORRECTION, Content, Format, gguf, owned, owner, printable};
use crate::name::{Family, deinterleave};
use crate::{Checkpoint, LoadError, Weight};

/// Writes weights, `config.json`, the tokenizer and, for a sentence encoder, its pooling.
pub(super) fn write(
    dir: &FsDir,
    source: &Checkpoint,
    header: &gguf::Header,
    stored: Vec<(&str, Stored<'_>)>,
    (options, progress): (&SaveOptions, &dyn Fn(u64)),
) -> Result<(), SaveError> {
    let mut hyper = Hyper::from_gguf(source.path(), header)?;
    hyper.tied &= !stored.iter().any(|(name, _)| *name == "output.weight");
    let mut renamed = Vec::with_capacity(stored.len());
    for (name, stored) in stored {
        renamed.push(rename(source, &hyper, name, stored)?);
    }
    let missing = |gguf: &String| source.tensor(gguf).is_none();
    if let Some(name) = hyper.family.required(hyper.layers).find(missing) {
        return Err(source.fail(&name, "is missing".into()).into());
    }
    let rows = |name: &str| source.tensor(name).and_then(|tensor| tensor.shape.first().copied());
    let vocabulary = rows("token_embd.weight").unwrap_or(0);
    let mut config = hyper.config(vocabulary, rows("token_types.weight").unwrap_or(1));
    extend(&mut config, header, &renamed);
    let (names, stored): (Vec<String>, Vec<Stored<'_>>) = renamed.into_iter().unzip();
    let listed: Vec<(&str, Stored<'_>)> = names.iter().map(String::as_str).zip(stored).collect();
    let config = quantization::describe(source.path(), &Value::Object(config), &listed, *options)?;
    container::write(dir, &listed, (options.container, progress))?;
    let put = |name: &str, value: &Value| -> Result<(), SaveError> {
        Ok(dir.create_new(&Name::new(name)?, pretty(value).as_bytes())?)
    };
    put("config.json", &config)?;
    put("tokenizer.json", &crate::tokenizer::describe(source.path(), header)?)?;
    put("tokenizer_config.json", &settings(header, hyper.positions()))?;
    if hyper.family == Family::Bert {
        for (name, value) in pooling(source, header)? {
            put(name, &value)?;
        }
    }
    Ok(())
}

/// The Hugging Face name of a tensor, its rows in that order, blocks as codes.
fn rename<'a>(
    source: &Checkpoint,
    hyper: &Hyper,
    name: &str,
    stored: Stored<'a>,
) -> Result<(String, Stored<'a>), SaveError> {
    let unfit = |why: String| SaveError::Unfit { name: printable(name), why };
    let part = owner(name);
    let weight = part.as_ref().map_or(name, |(weight, _)| weight);
    let hugging = hyper.family.to_hugging(weight).ok_or_else(|| {
        unfit(format!("has no name in the checkpoints of {} models", hyper.family.name()))
    })?;
    let hugging = match &part {
        Some((_, suffix)) => owned(&hugging, suffix),
        None => hugging,
    };
    let stored = match foreign(&stored) {
        None => stored,
        Some(format) if format.content == Content::Opaque => {
            let why = format!("is stored as {}, which a directory cannot hold", format.name);
            return Err(unfit(format!("{why}: convert it with --dtype f32")));
        }
        Some(_) => match source.weight(name)? {
            Weight::Coded(coded) => Stored::Coded(Cow::Owned(coded)),
            Weight::Dense(dense) => Stored::Dense(Cow::Owned(dense)),
        },
    };
    // Of what lies beside a weight only the left factor of a correction has its rows.
    let rows = part.as_ref().is_none_or(|(_, suffix)| *suffix == CORRECTION[1]);
    let heads = hyper.family.interleaved(weight).filter(|_| rows);
    let Some(heads) = heads else { return Ok((hugging, stored)) };
    let heads = hyper.heads(heads);
    let order = deinterleave(stored.shape().first().copied().unwrap_or(0), heads);
    let order = order.ok_or_else(|| unfit(format!("its rows are not those of {heads} heads")))?;
    stored.refuse_viewed(name, &"a model whose heads are reordered")?;
    Ok((hugging, stored.select_rows(order)))
}

/// The format of a tensor that is stored as it is, if safetensors does not have it.
fn foreign(stored: &Stored<'_>) -> Option<&'static Format> {
    if let Stored::Raw(raw) = stored { Some(raw.format) } else { None }
        .filter(|format| !format.is_safetensors())
}

/// What `config.json` says besides the hyperparameters.
fn extend(config: &mut Map<String, Value>, header: &gguf::Header, tensors: &[(String, Stored)]) {
    if let Some(name) = header.text("general.name") {
        config.insert("_name_or_path".into(), name.into());
    }
    for (name, key) in
        [("bos", "bos_token_id"), ("eos", "eos_token_id"), ("pad", "padding_token_id")]
    {
        if let Some(id) = header.size(&format!("tokenizer.ggml.{key}")) {
            config.insert(format!("{name}_token_id"), id.into());
        }
    }
    let formats = tensors.iter().filter_map(|(_, stored)| match stored {
        Stored::Raw(raw) if raw.shape.len() > 1 => Some(raw.format),
        Stored::Cast(cast) if cast.shape.len() > 1 => Some(cast.format.format()),
        Stored::Raw(_)
        | Stored::Dense(_)
        | Stored::Coded(_)
        | Stored::Viewed(..)
        | Stored::Cast(_) => None,
    });
    let halves = [("F16", "float16"), ("BF16", "bfloat16")];
    let dtype = formats.map(|format| halves.iter().find(|(name, _)| *name == format.name)).next();
    let dtype = dtype.flatten().map_or("float32", |(_, dtype)| dtype);
    config.insert("torch_dtype".into(), dtype.into());
}

/// The files of sentence-transformers behind the network.
fn pooling(
    source: &Checkpoint,
    header: &gguf::Header,
) -> Result<Vec<(&'static str, Value)>, LoadError> {
    let mode = match header.size("bert.pooling_type") {
        None | Some(0 | 1) => "pooling_mode_mean_tokens",
        Some(2) => "pooling_mode_cls_token",
        Some(other) => {
            let (path, what) = (source.path().into(), format!("pooling of type {other}"));
            let supported = "mean (1) and cls (2) pooling";
            return Err(LoadError::Unsupported { path, what, supported });
        }
    };
    let module = |index: usize, path: &str, kind: &str| {
        let kind = format!("sentence_transformers.models.{kind}");
        json!({ "idx": index, "name": index.to_string(), "path": path, "type": kind })
    };
    let mut modules = vec![module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")];
    if header.flag(NORMALIZED) == Some(true) {
        modules.push(module(2, "2_Normalize", "Normalize"));
    }
    let width = header.size("bert.embedding_length");
    let mut files = vec![
        ("modules.json", Value::Array(modules)),
        ("1_Pooling/config.json", json!({ "word_embedding_dimension": width, mode: true })),
    ];
    if let Some(limit) = header.size(MAX_TOKENS) {
        let sentence = json!({ "max_seq_length": limit, "do_lower_case": false });
        files.push(("sentence_bert_config.json", sentence));
    }
    Ok(files)
}

/// `tokenizer_config.json` for texts of at most `positions` tokens.
fn settings(header: &gguf::Header, positions: usize) -> Value {
    let bert = header.text("tokenizer.ggml.model") == Some("bert");
    let class = if bert { "BertTokenizer" } else { "PreTrainedTokenizerFast" };
    let mut settings = Map::new();
    settings.insert("tokenizer_class".into(), class.into());
    settings.insert("model_max_length".into(), positions.into());
    settings.insert("clean_up_tokenization_spaces".into(), bert.into());
    let tokens = header.array("tokenizer.ggml.tokens").and_then(gguf::Array::texts);
    let tokens = tokens.unwrap_or_default();
    // In a GGUF file cls and sep of an encoder are also its bos and eos.
    let (own, other) =
        if bert { (["cls", "sep"], ["bos", "eos"]) } else { (["bos", "eos"], ["cls", "sep"]) };
    for (name, _, key) in SPECIAL.iter().filter(|(name, _, _)| !other.contains(name)) {
        let twin = own.iter().position(|own| own == name).map(|at| other[at]);
        let twin = twin.and_then(|twin| SPECIAL.iter().find(|(name, _, _)| *name == twin));
        let id = |key: &str| header.size(&format!("tokenizer.ggml.{key}"));
        let id = id(key).or_else(|| id(twin.filter(|_| bert)?.2));
        if let Some(token) = id.and_then(|id| tokens.get(id)) {
            let token = if bert { crate::tokenizer::word_piece(token) } else { token.clone() };
            settings.insert(format!("{name}_token"), token.into());
        }
    }
    for (key, flag) in [
        ("add_bos_token", "add_bos_token"),
        ("add_eos_token", "add_eos_token"),
        ("add_prefix_space", "add_space_prefix"),
    ] {
        if let Some(value) = header.flag(&format!("tokenizer.ggml.{flag}")) {
            settings.insert(key.into(), value.into());
        }
    }
    if let Some(template) = header.text("tokenizer.chat_template") {
        settings.insert("chat_template".into(), template.into());
    }
    Value::Object(settings)
}

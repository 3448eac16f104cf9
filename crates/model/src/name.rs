//! Tensor names of the two ecosystems: Hugging Face checkpoints and GGUF files.
//!
//! One table for each family of networks, read in both directions. Names that mean nothing to
//! the other side ([`Family::is_left_out`]) are the exception.

use std::borrow::Cow;

use crate::Checkpoint;

/// A family of networks that both ecosystems know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Llama, SmolLM2: rows of query and key are interleaved in GGUF.
    Llama,
    /// Qwen2: as Llama with biases on query, key and value; rows in the order of Hugging Face.
    Qwen2,
    /// BERT-like encoders.
    Bert,
}

/// What [`Family`] can be, for messages.
pub(crate) const FAMILIES: &str = "llama, qwen2 and bert";

/// Module names, GGUF first; `#` stands for the number of the layer.
const DECODER: [(&str, &str); 12] = [
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"),
    ("output", "lm_head"),
    ("blk.#.attn_norm", "model.layers.#.input_layernorm"),
    ("blk.#.attn_q", "model.layers.#.self_attn.q_proj"),
    ("blk.#.attn_k", "model.layers.#.self_attn.k_proj"),
    ("blk.#.attn_v", "model.layers.#.self_attn.v_proj"),
    ("blk.#.attn_output", "model.layers.#.self_attn.o_proj"),
    ("blk.#.ffn_norm", "model.layers.#.post_attention_layernorm"),
    ("blk.#.ffn_gate", "model.layers.#.mlp.gate_proj"),
    ("blk.#.ffn_up", "model.layers.#.mlp.up_proj"),
    ("blk.#.ffn_down", "model.layers.#.mlp.down_proj"),
];

const ENCODER: [(&str, &str); 12] = [
    ("token_embd", "embeddings.word_embeddings"),
    ("position_embd", "embeddings.position_embeddings"),
    ("token_types", "embeddings.token_type_embeddings"),
    ("token_embd_norm", "embeddings.LayerNorm"),
    ("blk.#.attn_q", "encoder.layer.#.attention.self.query"),
    ("blk.#.attn_k", "encoder.layer.#.attention.self.key"),
    ("blk.#.attn_v", "encoder.layer.#.attention.self.value"),
    ("blk.#.attn_output", "encoder.layer.#.attention.output.dense"),
    ("blk.#.attn_output_norm", "encoder.layer.#.attention.output.LayerNorm"),
    ("blk.#.ffn_up", "encoder.layer.#.intermediate.dense"),
    ("blk.#.ffn_down", "encoder.layer.#.output.dense"),
    ("blk.#.layer_output_norm", "encoder.layer.#.output.LayerNorm"),
];

/// Which heads the rows of a tensor belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heads {
    /// The query heads.
    Query,
    /// The key heads, of which there may be fewer.
    Key,
}

impl Checkpoint {
    /// The name that tensor `name` of this model has in a GGUF file; its own if it is one.
    pub fn gguf_name(&self, name: &str) -> Option<String> {
        if self.gguf().is_some() {
            return Some(name.to_owned());
        }
        let kind = self.config()?.get("model_type")?.as_str()?;
        Family::named(kind)?.to_gguf(name)
    }
}

impl Family {
    /// The family that `model_type` of a `config.json` or `general.architecture` of a GGUF file
    /// names; both use the same words.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Llama, Self::Qwen2, Self::Bert].into_iter().find(|family| family.name() == name)
    }

    /// `llama`, `qwen2` or `bert`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Bert => "bert",
        }
    }

    const fn table(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Llama | Self::Qwen2 => &DECODER,
            Self::Bert => &ENCODER,
        }
    }

    /// The GGUF name of a Hugging Face tensor.
    pub(crate) fn to_gguf(self, name: &str) -> Option<String> {
        let name =
            if self == Self::Bert { name.strip_prefix("bert.").unwrap_or(name) } else { name };
        self.table().iter().find_map(|(gguf, hugging)| translate(name, hugging, gguf))
    }

    /// The Hugging Face name of a GGUF tensor.
    pub(crate) fn to_hugging(self, name: &str) -> Option<String> {
        self.table().iter().find_map(|(gguf, hugging)| translate(name, gguf, hugging))
    }

    /// Whether a Hugging Face tensor has no place in a GGUF file: positions that are only
    /// counted, and the pooler, which llama.cpp leaves out as well.
    pub(crate) fn is_left_out(self, name: &str) -> bool {
        match self {
            Self::Llama | Self::Qwen2 => name.ends_with(".rotary_emb.inv_freq"),
            Self::Bert => {
                let name = name.strip_prefix("bert.").unwrap_or(name);
                name == "embeddings.position_ids" || name.starts_with("pooler.dense.")
            }
        }
    }

    /// GGUF names of the tensors that a network of `layers` layers cannot do without.
    pub(crate) fn required(self, layers: usize) -> impl Iterator<Item = String> {
        let needed = |gguf: &&str| *gguf != "output" && *gguf != "token_types";
        self.table().iter().map(|(gguf, _)| *gguf).filter(needed).flat_map(move |gguf| {
            let count = if gguf.contains('#') { layers } else { 1 };
            (0..count).map(move |layer| gguf.replace('#', &layer.to_string()) + ".weight")
        })
    }

    /// The heads whose rows GGUF interleaves in the tensor it calls `name`.
    pub(crate) fn interleaved(self, name: &str) -> Option<Heads> {
        let (module, _) = name.rsplit_once('.')?;
        match module.rsplit_once('.')?.1 {
            "attn_q" if self == Self::Llama => Some(Heads::Query),
            "attn_k" if self == Self::Llama => Some(Heads::Key),
            _ => None,
        }
    }
}

/// `name` with the pattern `from` replaced by `to`, if it is that pattern and `.weight` or `.bias`.
fn translate(name: &str, from: &str, to: &str) -> Option<String> {
    let (module, part) = name.rsplit_once('.')?;
    if !matches!(part, "weight" | "bias") {
        return None;
    }
    let module = match from.split_once('#') {
        None => (module == from).then_some(Cow::Borrowed(to)),
        Some((before, after)) => {
            let layer = module.strip_prefix(before)?.strip_suffix(after)?;
            let number: usize = layer.parse().ok()?;
            (number.to_string() == layer).then(|| Cow::Owned(to.replace('#', layer)))
        }
    };
    Some(format!("{}.{part}", module?))
}

/// Which row of Hugging Face stands at each row of GGUF, where rotated pairs are neighbours:
/// `reshape(heads, 2, width / 2).swapaxes(1, 2)`. `None` unless the rows are `heads` even heads.
pub(crate) fn interleave(rows: usize, heads: usize) -> Option<Vec<usize>> {
    let width = rows.checked_div(heads).filter(|width| width * heads == rows && width % 2 == 0)?;
    let row = |at: usize| {
        let (head, within) = (at / width, at % width);
        head * width + within % 2 * (width / 2) + within / 2
    };
    Some((0..rows).map(row).collect())
}

/// The inverse of [`interleave`].
pub(crate) fn deinterleave(rows: usize, heads: usize) -> Option<Vec<usize>> {
    let order = interleave(rows, heads)?;
    let mut inverse = vec![0; rows];
    for (at, from) in order.into_iter().enumerate() {
        inverse[from] = at;
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both tables, both parts, all layers: every name and its way back.
    #[test]
    fn every_name_has_one_translation_and_its_way_back() {
        for family in [Family::Llama, Family::Qwen2, Family::Bert] {
            assert_eq!(Family::named(family.name()), Some(family));
            let mut seen = std::collections::HashSet::new();
            for name in
                family.required(3).chain(["output.weight".into(), "token_types.weight".into()])
            {
                let Some(hugging) = family.to_hugging(&name) else {
                    assert!(name == "output.weight" || name == "token_types.weight", "{name}");
                    continue;
                };
                assert!(seen.insert(hugging.clone()), "{hugging} twice");
                assert_eq!(family.to_gguf(&hugging).as_deref(), Some(name.as_str()));
                let bias = hugging.replace(".weight", ".bias");
                let back = family.to_gguf(&bias).and_then(|name| family.to_hugging(&name));
                assert_eq!(back, Some(bias));
            }
            assert_eq!(seen.len(), 1 + family.required(3).count());
        }
    }

    #[test]
    fn names_that_are_not_in_the_table_have_none() {
        for name in [
            "model.layers.01.self_attn.q_proj.weight",
            "model.layers.+1.self_attn.q_proj.weight",
            "model.layers.x.self_attn.q_proj.weight",
            "model.layers..self_attn.q_proj.weight",
            "model.layers.1.self_attn.q_proj.weight_scale",
            "model.layers.1.self_attn.q_proj",
            "lm_head",
            "",
        ] {
            assert_eq!(Family::Llama.to_gguf(name), None, "{name}");
        }
        assert_eq!(Family::Llama.to_hugging("rope_freqs.weight"), None);
        let prefixed = Family::Bert.to_gguf("bert.embeddings.LayerNorm.bias");
        assert_eq!(prefixed.as_deref(), Some("token_embd_norm.bias"));
        assert!(Family::Bert.is_left_out("bert.pooler.dense.bias"));
        assert!(!Family::Bert.is_left_out("embeddings.LayerNorm.bias"));
    }

    #[test]
    fn real_models_translate_whole() {
        if let Some(path) = kvant_testkit::minilm() {
            let model = crate::Checkpoint::open(&path).expect("opens");
            let names = model.tensors().iter().map(|tensor| tensor.name.as_str());
            for name in names.filter(|name| !Family::Bert.is_left_out(name)) {
                let gguf = Family::Bert.to_gguf(name).expect(name);
                assert_eq!(Family::Bert.to_hugging(&gguf).as_deref(), Some(name));
            }
        } else {
            kvant_testkit::skip("no MiniLM");
        }
    }

    #[test]
    fn heads_interleave_and_back() {
        assert_eq!(interleave(8, 1).expect("even"), [0, 4, 1, 5, 2, 6, 3, 7]);
        assert_eq!(interleave(8, 2).expect("even"), [0, 2, 1, 3, 4, 6, 5, 7]);
        let (there, back) =
            (interleave(576, 9).expect("even"), deinterleave(576, 9).expect("even"));
        assert!((0..576).all(|row| there[back[row]] == row && back[there[row]] == row));
        for (rows, heads) in [(8, 0), (8, 3), (9, 3), (2, 2)] {
            assert_eq!(interleave(rows, heads), None, "{rows} {heads}");
        }
        assert_eq!(Family::Llama.interleaved("blk.3.attn_k.bias"), Some(Heads::Key));
        assert_eq!(Family::Llama.interleaved("blk.3.attn_v.weight"), None);
        assert_eq!(Family::Qwen2.interleaved("blk.3.attn_q.weight"), None);
    }
}

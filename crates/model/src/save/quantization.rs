//! The `quantization_config` of a saved model.

use std::path::Path;

use kvant_quant::Coded;
use serde_json::{Map, Value, json};

use super::{Container, SaveError, SaveOptions, Stored, foreign};
use crate::checkpoint::{RANKED, VERSION};
use crate::{Activations, LoadError, View};

/// `config` with the description of the coded tensors, or without any if none is coded.
pub(super) fn describe(
    path: &Path,
    config: &Value,
    stored: &[(&str, Stored<'_>)],
    options: SaveOptions,
) -> Result<Value, SaveError> {
    let Value::Object(mut config) = config.clone() else {
        let why = "not a JSON object".into();
        return Err(LoadError::Config { path: path.to_path_buf(), why }.into());
    };
    let head = stored.iter().any(|(name, stored)| {
        super::HEADS.contains(name)
            && matches!(stored, Stored::Dense(_) | Stored::Coded(_) | Stored::Viewed(..))
    });
    if head && config.get("tie_word_embeddings") == Some(&Value::Bool(true)) {
        // The head is not the word table, or no longer.
        config.insert("tie_word_embeddings".into(), Value::Bool(false));
    }
    let coded: Vec<(&str, &Coded, Option<&View>)> = stored
        .iter()
        .filter_map(|(name, stored)| match stored {
            Stored::Coded(coded) => Some((*name, coded.as_ref(), None)),
            Stored::Viewed(coded, view) => Some((*name, coded.as_ref(), Some(view.as_ref()))),
            Stored::Raw(_) | Stored::Dense(_) | Stored::Cast(_) => None,
        })
        .collect();
    let tensors: Map<String, Value> =
        coded.iter().map(|(name, coded, view)| ((*name).to_owned(), entry(coded, *view))).collect();
    let plain = coded.iter().all(|(_, _, view)| view.is_none());
    if coded.is_empty() {
        config.remove("quantization_config");
    } else if options.container != Container::Kvant {
        config.insert("quantization_config".into(), foreign::describe(stored, options)?);
    } else if plain && coded.iter().all(|(_, coded, _)| matches!(coded, Coded::Int8(_))) {
        config.insert("quantization_config".into(), int_quantized(stored, &tensors, options));
    } else {
        let version = if plain { VERSION } else { RANKED };
        let mut own = json!({ "quant_method": "kvant", "version": version, "tensors": tensors });
        if let Some(activations) = options.activations {
            own["activations"] = activations.to_string().into();
        }
        config.insert("quantization_config".into(), own);
    }
    Ok(Value::Object(config))
}

/// The entry of a matrix by its rows, or of a view.
fn entry(coded: &Coded, view: Option<&View>) -> Value {
    let scheme = coded.format();
    match view {
        None => json!({ "scheme": scheme, "shape": [coded.rows(), coded.cols()] }),
        Some(view) => json!({ "scheme": scheme, "shape": view.shape(), "axis": view.axis() }),
    }
}

/// The int8 layout of compressed-tensors: symmetric, one scale per output row.
fn int_quantized(
    stored: &[(&str, Stored<'_>)],
    tensors: &Map<String, Value>,
    options: SaveOptions,
) -> Value {
    let embedding = |name: &str| name.contains("embeddings");
    let targets: &[&str] = if tensors.keys().any(|name| embedding(name)) {
        &["Linear", "Embedding"]
    } else {
        &["Linear"]
    };
    let kept = stored.iter().filter(|(name, stored)| {
        let matrix = match stored {
            Stored::Raw(raw) => raw.shape.len() == 2,
            Stored::Dense(dense) => dense.shape().len() == 2,
            Stored::Cast(cast) => cast.shape.len() == 2,
            Stored::Coded(_) | Stored::Viewed(..) => false,
        };
        matrix && (targets.len() == 2 || !embedding(name))
    });
    let ignore: Vec<&str> = kept.filter_map(|(name, _)| name.strip_suffix(".weight")).collect();
    let mut own = json!({ "version": VERSION, "tensors": tensors });
    if let Some(activations) = options.activations {
        own["activations"] = activations.to_string().into();
    }
    json!({
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "global_compression_ratio": null,
        "kv_cache_scheme": null,
        "ignore": ignore,
        "config_groups": { "group_0": {
            "targets": targets,
            "weights": {
                "num_bits": 8, "type": "int", "symmetric": true, "strategy": "channel",
                "group_size": null, "dynamic": false, "actorder": null, "observer": "minmax",
            },
            "input_activations": options.activations.map(inputs),
            "output_activations": null,
        }},
        "kvant": own,
    })
}

/// Activations as compressed-tensors says them.
pub(super) fn inputs(activations: Activations) -> Value {
    let (strategy, dynamic, group) = match activations {
        Activations::Token => ("token", true, None),
        Activations::Block => ("group", true, Some(32)),
        Activations::Static => ("tensor", false, None),
    };
    json!({
        "num_bits": 8, "type": "int", "symmetric": activations != Activations::Token,
        "strategy": strategy, "group_size": group, "dynamic": dynamic, "actorder": null,
        "observer": null,
    })
}

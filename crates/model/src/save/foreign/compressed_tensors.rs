//! Writing compressed-tensors: `int-quantized` where all codes are bytes, else `pack-quantized`.

use kvant_quant::{CodeShape, Coded, ScaledMatrix, Span};
use kvant_storage::bytes_of_f32;
use serde_json::{Map, Value, json};

use super::gptq::escaped;
use super::{Piece, SaveError, Stored};
use super::{is_table, kept, scaled, unfit, words, zero_words};
use crate::Activations;
use crate::save::quantization::inputs;

/// The format of all tensors of a model.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// A byte per code.
    Bytes,
    /// Codes in 32-bit words.
    Words,
}

/// Bytes if all codes have 8 bits and no groups.
pub(super) fn layout(all: &[(&str, Stored<'_>)]) -> Layout {
    let bytes = all.iter().all(|(_, stored)| match stored {
        Stored::Coded(coded) => match coded.as_ref() {
            Coded::Int8(_) => true,
            Coded::Scaled(matrix) => {
                matrix.shape().bits == 8 && !matches!(matrix.shape().span, Span::Group(_))
            }
            Coded::Linear(_) | Coded::Float4(_) | Coded::Codebook(_) | Coded::Block(_) => false,
        },
        Stored::Raw(_) | Stored::Dense(_) | Stored::Cast(_) | Stored::Viewed(..) => true,
    });
    if bytes { Layout::Bytes } else { Layout::Words }
}

pub(super) fn pieces<'a>(
    name: &str,
    matrix: &ScaledMatrix,
    layout: Layout,
) -> Result<Vec<Piece<'a>>, SaveError> {
    let shape = matrix.shape();
    let CodeShape { rows, cols, bits, span } = shape;
    let groups = shape.groups();
    if let Span::Group(group) = span
        && !cols.is_multiple_of(group)
    {
        let why = format!("has rows of {cols} in groups of {group}");
        return Err(unfit(name, format!("{why}; compressed-tensors wants whole groups")));
    }
    let scale_shape = if span == Span::Tensor { vec![1] } else { vec![rows, groups] };
    let part = |suffix: &str| format!("{name}_{suffix}");
    let mut pieces = vec![scales(part("scale"), matrix, scale_shape.clone())];
    if layout == Layout::Bytes {
        let codes = matrix.codes().iter().map(|code| code ^ 0x80).collect();
        pieces.push(Piece::new(name.to_owned(), "I8", vec![rows, cols], codes));
    } else {
        let width = (cols * usize::from(bits)).div_ceil(32);
        let codes = words(matrix.codes(), shape.row_bytes(), width);
        let sides = [rows, cols].iter().flat_map(|&side| (side as u64).to_le_bytes()).collect();
        pieces.push(Piece::new(part("packed"), "I32", vec![rows, width], codes));
        pieces.push(Piece::new(part("shape"), "I64", vec![2], sides));
    }
    pieces.extend(matrix.zeros().map(|zeros| {
        if layout == Layout::Words && span != Span::Tensor {
            let (width, zeros) = zero_words(zeros, groups, bits);
            let by_word = super::transposed::<4>(&zeros, groups, width);
            return Piece::new(part("zero_point"), "I32", vec![width, groups], by_word);
        }
        let middle = 1u8 << (bits - 1);
        let zeros = zeros.iter().map(|zero| zero.wrapping_sub(middle)).collect();
        Piece::new(part("zero_point"), "I8", scale_shape, zeros)
    }));
    Ok(pieces)
}

fn scales<'a>(name: String, matrix: &ScaledMatrix, shape: Vec<usize>) -> Piece<'a> {
    let scales = matrix.scales();
    if matrix.scale_bytes() == 4 {
        return Piece::new(name, "F32", shape, bytes_of_f32(scales).to_vec());
    }
    let bytes = scales.iter().flat_map(|&scale| half::f16::from_f32(scale).to_le_bytes());
    Piece::new(name, "F16", shape, bytes.collect())
}

/// One group of settings for all linear layers, or a group with the names of its layers for
/// each kind of settings.
pub(super) fn describe(
    coded: &[(&str, &Coded)],
    stored: &[(&str, Stored<'_>)],
    (layout, activations): (Layout, Option<Activations>),
) -> Value {
    let mut settings: Vec<(Value, Vec<&str>)> = Vec::new();
    for (name, coded) in coded {
        let Some(matrix) = scaled(coded) else { continue };
        let weights = weights(&matrix);
        match settings.iter_mut().find(|(known, _)| *known == weights) {
            Some((_, names)) => names.push(name),
            None => settings.push((weights, vec![name])),
        }
    }
    let format = if layout == Layout::Bytes { "int-quantized" } else { "pack-quantized" };
    let tables = coded.iter().any(|(name, _)| is_table(name));
    let mut ignore = kept(stored);
    if tables {
        let floats = stored.iter().filter(|(name, stored)| {
            let matrix = !matches!(stored, Stored::Coded(_)) && stored.shape().len() == 2;
            matrix && is_table(name)
        });
        ignore.extend(floats.filter_map(|(name, _)| name.strip_suffix(".weight")));
    }
    let single = settings.len() == 1;
    let mut groups = Map::new();
    for (index, (weights, names)) in settings.into_iter().enumerate() {
        let targets = match (single, tables) {
            (true, false) => vec!["Linear".to_owned()],
            (true, true) => vec!["Linear".to_owned(), "Embedding".to_owned()],
            (false, _) => names.into_iter().map(target).collect(),
        };
        let group = json!({
            "targets": targets, "weights": weights, "format": format,
            "input_activations": activations.map(inputs), "output_activations": null,
        });
        groups.insert(format!("group_{index}"), group);
    }
    json!({
        "quant_method": "compressed-tensors", "format": format,
        "quantization_status": "compressed", "global_compression_ratio": null,
        "kv_cache_scheme": null, "ignore": ignore, "config_groups": groups,
    })
}

/// A pattern for the module of a weight, whatever the network is a part of.
fn target(name: &str) -> String {
    let module = name.strip_suffix(".weight").unwrap_or(name);
    format!("re:.*{}$", escaped(module.strip_prefix("model.").unwrap_or(module)))
}

fn weights(matrix: &ScaledMatrix) -> Value {
    let CodeShape { bits, span, .. } = matrix.shape();
    let (strategy, group) = match span {
        Span::Tensor => ("tensor", None),
        Span::Channel => ("channel", None),
        Span::Group(group) => ("group", Some(group)),
    };
    json!({
        "num_bits": bits, "type": "int", "symmetric": matrix.zeros().is_none(),
        "strategy": strategy, "group_size": group, "dynamic": false, "actorder": null,
        "observer": "minmax",
    })
}

//! Writing GPTQ: codes in words along the inputs of a layer.

use kvant_quant::{Coded, ScaledMatrix};
use serde_json::{Map, Value, json};

use super::{Container, Piece, SaveError, Stored};
use super::{group_of, half_scales, scaled, transposed, words, zero_words, zeros_of};

/// What zero points are stored as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Less one; read by everything.
    One,
    /// As they are.
    Two,
}

/// Version 1 if all zero points are in the middle.
pub(super) fn version(all: &[(&str, Stored<'_>)]) -> Version {
    let zeros = all.iter().any(|(_, stored)| match stored {
        Stored::Coded(coded) => {
            matches!(coded.as_ref(), Coded::Scaled(matrix) if matrix.zeros().is_some())
        }
        Stored::Raw(_) | Stored::Dense(_) | Stored::Cast(_) | Stored::Viewed(..) => false,
    });
    if zeros { Version::Two } else { Version::One }
}

pub(super) fn pieces<'a>(
    name: &str,
    matrix: &ScaledMatrix,
    version: Version,
) -> Result<Vec<Piece<'a>>, SaveError> {
    let shape = matrix.shape();
    let group = group_of(name, shape, (32, 32))?;
    let base = name.strip_suffix("weight").unwrap_or(name);
    let part = |suffix: &str| format!("{base}{suffix}");
    let width = shape.cols * usize::from(shape.bits) / 32;
    let codes = words(matrix.codes(), shape.row_bytes(), width);
    let scales = half_scales(name, matrix, Container::Gptq)?;
    let mask = u8::MAX >> (8 - shape.bits);
    let shift = u8::from(version == Version::One);
    let zeros: Vec<u8> =
        zeros_of(matrix).iter().map(|zero| zero.wrapping_sub(shift) & mask).collect();
    let (zero_width, zeros) = zero_words(&zeros, shape.groups(), shape.bits);
    let index = (0..shape.cols).flat_map(|col| ((col / group) as i32).to_le_bytes()).collect();
    Ok(vec![
        Piece::new(
            part("qweight"),
            "I32",
            vec![width, shape.rows],
            transposed::<4>(&codes, shape.rows, width),
        ),
        Piece::new(part("qzeros"), "I32", vec![shape.groups(), zero_width], zeros),
        Piece::new(part("scales"), "F16", vec![shape.groups(), shape.rows], scales),
        Piece::new(part("g_idx"), "I32", vec![shape.cols], index),
    ])
}

/// The first tensor gives bits and group; others are exceptions by name.
pub(super) fn describe(coded: &[(&str, &Coded)], kept: &[&str], version: Version) -> Value {
    let setting = |coded: &Coded| {
        let matrix = scaled(coded)?;
        let shape = matrix.shape();
        Some((shape.bits, shape.span.weights(shape.cols)))
    };
    let usual = coded.first().and_then(|(_, coded)| setting(coded)).unwrap_or((4, 128));
    let mut dynamic = Map::new();
    for (name, matrix) in coded {
        if let Some((bits, group)) = setting(matrix).filter(|setting| *setting != usual) {
            let rule = format!("+:^{}$", escaped(name.strip_suffix(".weight").unwrap_or(name)));
            dynamic.insert(rule, json!({ "bits": bits, "group_size": group }));
        }
    }
    for name in kept {
        dynamic.insert(format!("-:^{}$", escaped(name)), json!({}));
    }
    let (format, symmetric) = match version {
        Version::One => ("gptq", true),
        Version::Two => ("gptq_v2", false),
    };
    let mut config = json!({
        "quant_method": "gptq", "bits": usual.0, "group_size": usual.1, "desc_act": false,
        "static_groups": true, "sym": symmetric, "lm_head": false, "true_sequential": true,
        "checkpoint_format": format, "pack_dtype": "int32",
        "meta": { "quantizer": [concat!("kvant:", env!("CARGO_PKG_VERSION"))] },
    });
    if !dynamic.is_empty() {
        config["dynamic"] = Value::Object(dynamic);
    }
    config
}

/// The name of a module in a regular expression.
pub(super) fn escaped(name: &str) -> String {
    name.replace('.', "\\.")
}

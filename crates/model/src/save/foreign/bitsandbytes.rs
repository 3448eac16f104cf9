//! Writing the four-bit layout of bitsandbytes.

use kvant_quant::{Absmax, Coded, Float4, Float4Matrix, NESTED_BLOCK};
use kvant_storage::bytes_of_f32;
use serde_json::{Value, json};

use super::{Container, Piece, SaveError, alien};

/// Blocks that it restores.
pub(super) const BLOCKS: [usize; 7] = [64, 128, 256, 512, 1024, 2048, 4096];

pub(super) fn pieces<'a>(name: &str, coded: &'a Coded) -> Result<Vec<Piece<'a>>, SaveError> {
    let Coded::Float4(matrix) = coded else {
        return Err(alien(name, coded, Container::BitsAndBytes));
    };
    let part = |suffix: &str| format!("{name}.{suffix}");
    let numbers = |suffix: &str, values: &[f32]| {
        Piece::new(part(suffix), "F32", vec![values.len()], bytes_of_f32(values).to_vec())
    };
    let bytes = |name: String, shape: Vec<usize>, bytes: &[u8]| {
        Piece::new(name, "U8", shape, bytes.to_vec())
    };
    let codes = matrix.codes();
    let mut pieces = vec![
        bytes(name.to_owned(), vec![codes.len(), 1], codes),
        numbers("quant_map", &matrix.shape().format.table()),
    ];
    match matrix.absmax() {
        Absmax::Plain(scales) => pieces.push(numbers("absmax", scales)),
        Absmax::Double { codes, scales, map, .. } => {
            pieces.push(bytes(part("absmax"), vec![codes.len()], codes));
            pieces.push(numbers("nested_absmax", scales));
            pieces.push(numbers("nested_quant_map", &map[..]));
        }
    }
    let state = state(matrix).to_string();
    let kind = format!("quant_state.bitsandbytes__{}", kind(matrix.shape().format));
    pieces.push(bytes(part(&kind), vec![state.len()], state.as_bytes()));
    Ok(pieces)
}

fn kind(format: Float4) -> &'static str {
    match format {
        Float4::Nf4 => "nf4",
        Float4::Fp4 => "fp4",
    }
}

fn state(matrix: &Float4Matrix) -> Value {
    let shape = matrix.shape();
    let mut state = json!({
        "quant_type": kind(shape.format), "blocksize": shape.block, "dtype": "float32",
        "shape": [shape.rows, shape.cols],
    });
    if let Absmax::Double { offset, .. } = matrix.absmax() {
        state["nested_blocksize"] = NESTED_BLOCK.into();
        state["nested_dtype"] = "float32".into();
        state["nested_offset"] = f64::from(*offset).into();
    }
    state
}

pub(super) fn describe(coded: &[(&str, &Coded)], kept: &[&str]) -> Value {
    let first = coded
        .iter()
        .find_map(|(_, coded)| if let Coded::Float4(matrix) = coded { Some(matrix) } else { None });
    let format = first.map_or("nf4", |matrix| kind(matrix.shape().format));
    let double = first.is_some_and(|matrix| matches!(matrix.absmax(), Absmax::Double { .. }));
    // The head is kept by default, but not once others are named.
    let mut kept = kept.to_vec();
    if !kept.is_empty() && !kept.contains(&"lm_head") {
        kept.push("lm_head");
    }
    let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
    json!({
        "quant_method": "bitsandbytes", "load_in_4bit": true, "load_in_8bit": false,
        "bnb_4bit_quant_type": format, "bnb_4bit_use_double_quant": double,
        "bnb_4bit_compute_dtype": "float32", "bnb_4bit_quant_storage": "uint8",
        "llm_int8_skip_modules": kept, "llm_int8_threshold": 6.0,
    })
}

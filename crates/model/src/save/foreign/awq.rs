//! Writing AWQ, version `gemm`: codes in words along the outputs of a layer.

use kvant_quant::{CodeShape, Coded, ScaledMatrix, Span, pack};
use serde_json::{Value, json};

use super::{Container, Piece, SaveError};
use super::{group_of, half_scales, scaled, transposed, unfit, zeros_of};
use crate::checkpoint::AWQ_ORDER;

pub(super) fn pieces<'a>(name: &str, matrix: &ScaledMatrix) -> Result<Vec<Piece<'a>>, SaveError> {
    let shape = matrix.shape();
    group_of(name, shape, (8, 1))?;
    let CodeShape { rows, cols, .. } = shape;
    let groups = shape.groups();
    let base = name.strip_suffix("weight").unwrap_or(name);
    let part = |suffix: &str| format!("{base}{suffix}");
    let scales = half_scales(name, matrix, Container::Awq)?;
    let mut codes = vec![0; rows * cols];
    if cols > 0 {
        let packed = matrix.codes().chunks_exact(shape.row_bytes());
        for (codes, packed) in codes.chunks_exact_mut(cols).zip(packed) {
            pack::unpack(packed, 4, codes);
        }
    }
    Ok(vec![
        Piece::new(part("qweight"), "I32", vec![cols, rows / 8], ordered(&codes, rows, cols)),
        Piece::new(
            part("qzeros"),
            "I32",
            vec![groups, rows / 8],
            ordered(&zeros_of(matrix), rows, groups),
        ),
        Piece::new(part("scales"), "F16", vec![groups, rows], scales),
    ])
}

/// Codes row by row as words column by column.
fn ordered(codes: &[u8], rows: usize, cols: usize) -> Vec<u8> {
    let columns = transposed::<1>(codes, rows, cols);
    let word = |codes: &[u8; 8]| {
        let places = AWQ_ORDER.iter().enumerate();
        places.fold(0u32, |word, (place, &output)| word | u32::from(codes[output]) << (4 * place))
    };
    columns.as_chunks().0.iter().flat_map(|codes| word(codes).to_le_bytes()).collect()
}

pub(super) fn describe(coded: &[(&str, &Coded)], kept: &[&str]) -> Result<Value, SaveError> {
    let mut group = None;
    for (name, coded) in coded {
        let Some(Span::Group(own)) = scaled(coded).map(|matrix| matrix.shape().span) else {
            continue;
        };
        if *group.get_or_insert(own) != own {
            let why = "has groups of another length than the tensors before; awq has one for all";
            return Err(unfit(name, why.into()));
        }
    }
    let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
    Ok(json!({
        "quant_method": "awq", "bits": 4, "group_size": group.unwrap_or(128), "zero_point": true,
        "version": "gemm", "modules_to_not_convert": kept,
    }))
}

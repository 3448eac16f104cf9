//! `kvant compress --scheme help`: the formats, what they take, and when to use them.

use kvant_kernels::Matrix;
use kvant_model::Container;
use kvant_quant::Scheme;

use crate::print::{Lean, Table};

/// Weights of the matrix whose true bits are shown: one row of many blocks, as in a real model.
const SHAPE: (usize, usize) = (64, 1536);

/// What each family is for.
const FAMILIES: [(&str, &str); 19] = [
    ("int8", "8 bits, a scale per row: with --activations int8 the fastest to run"),
    ("linear", "minimum and step per span, any number of bits"),
    ("affine", "scale and integer zero point, fitted: compressed-tensors, GPTQ, AWQ"),
    ("sym", "scale only: compressed-tensors, GPTQ"),
    ("kmeans", "levels where the weights are: best at 2 and 3 bits"),
    ("quantile", "as many weights on every level"),
    ("nf4dq", "4.13 bits, scales in 8 bits: bitsandbytes"),
    ("nf4", "levels of a normal distribution: bitsandbytes, QLoRA"),
    ("fp4", "levels of a 4-bit float: bitsandbytes"),
    ("iq4_nl", "16 levels closer around zero: the best 4.5 bits in GGUF"),
    ("iq4_xs", "the same levels, 4.25 bits, rows of 256"),
    ("q4_0", "4 bits and a scale per 32: the fastest in llama.cpp"),
    ("q4_1", "with a minimum"),
    ("q5_0", "5 bits and a scale per 32"),
    ("q5_1", "with a minimum"),
    ("q8_0", "8 bits and a scale per 32: no loss to speak of"),
    ("q2_k", "2 bits, rows of 256: only for large models"),
    ("q3_k", "3 bits, rows of 256"),
    ("q", "blocks of 256 with scales in 6 or 8 bits, rows of 256"),
];

/// The containers, besides Kvant's own, that hold `scheme`.
fn containers(scheme: &Scheme) -> String {
    let others = Container::ALL.into_iter().filter(|other| *other != Container::Kvant);
    let held = others.filter(|other| other.holds(scheme)).map(|other| other.to_string());
    let gguf = matches!(scheme, Scheme::Block(_)).then(|| "gguf".to_owned());
    gguf.into_iter().chain(held).collect::<Vec<_>>().join(", ")
}

/// One line per format.
pub(super) fn text() -> String {
    let mut table = Table::new(&[
        ("format", Lean::Left),
        ("bits", Lean::Right),
        ("also in", Lean::Left),
        ("what it is and when to use it", Lean::Left),
    ]);
    let weights: Vec<f32> =
        (0..SHAPE.0 * SHAPE.1).map(|i| ((i % 97) as f32 - 48.0) / 48.0).collect();
    let w = Matrix::new(&weights, SHAPE.0, SHAPE.1);
    for scheme in Scheme::ALL {
        let bits = scheme.encode(w).map_or_else(
            |_| "read only".to_owned(),
            |coded| format!("{:.3}", coded.bits_per_weight()),
        );
        let name = scheme.to_string();
        let family = FAMILIES.iter().find(|(family, _)| name.starts_with(family));
        let about = family.map_or("", |(_, about)| about);
        table.row(vec![name, bits, containers(&scheme), about.to_owned()]);
    }
    format!(
        "FORMAT[:SPAN][@METHOD]\n\n{table}\n\
         SPAN: tensor, channel, or g and the weights that share a scale, as linear4:g64 \
         (linear, affine, sym, kmeans, quantile; g32 if nothing is said)\n\
         METHOD: rtn, search, gptq, awq, hqq; if nothing is said gptq with --calibrate, else \
         search\n"
    )
}

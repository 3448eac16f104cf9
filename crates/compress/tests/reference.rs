//! The errors on every matrix of the real MiniLM are those of independent implementations.

use kvant_model::Checkpoint;
use kvant_quant::{BlockFormat, Scheme, measure};
use kvant_testkit::{minilm, shared, skip};

/// Numpy's int8 per row, and ggml's own quantizers.
const SCHEMES: [(&str, Scheme); 5] = [
    ("int8_absmax_channel", Scheme::Int8),
    ("ggml_q4_0", Scheme::Block(BlockFormat::Q4_0)),
    ("ggml_q4_1", Scheme::Block(BlockFormat::Q4_1)),
    ("ggml_q5_0", Scheme::Block(BlockFormat::Q5_0)),
    ("ggml_q8_0", Scheme::Block(BlockFormat::Q8_0)),
];

/// Relative difference allowed: roundings at ties, and nothing else.
const TOLERANCE: f64 = 0.01;

#[test]
fn errors_are_those_of_the_reference() {
    let (Some(path), Some(table)) = (minilm(), shared("bench/quant_error_reference.csv")) else {
        return skip("the MiniLM model or the table of reference errors is absent");
    };
    let model = Checkpoint::open(&path).unwrap();
    let table = std::fs::read_to_string(table).unwrap();
    let mut compared = 0;
    for line in table.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let [name, shape, scheme, _, expected @ ..] = &fields[..] else { panic!("{line}") };
        let Some((_, scheme)) = SCHEMES.iter().find(|(known, _)| known == scheme) else { continue };
        if name.starts_with("ALL") {
            continue;
        }
        let dense = model.dense(name).unwrap();
        assert_eq!(*shape, format!("{}x{}", dense.rows(), dense.cols()));
        let coded = scheme.encode(dense.matrix()).unwrap();
        let got = measure(dense.values(), &coded.decode());
        let got = [got.mean_abs, got.max_abs, got.relative];
        assert_eq!(expected.len(), got.len(), "{line}");
        for (expected, got) in expected.iter().zip(got) {
            let expected: f64 = expected.parse().unwrap();
            assert!((got - expected).abs() <= TOLERANCE * expected, "{line}: got {got}");
        }
        compared += 1;
    }
    assert_eq!(compared, 5 * 39, "39 matrices in five schemes");
}

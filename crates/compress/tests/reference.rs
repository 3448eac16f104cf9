//! The errors on every matrix of the real MiniLM are those of independent implementations.

use kvant_model::Checkpoint;
use kvant_quant::{Scheme, measure};
use kvant_testkit::{minilm, shared, skip};

/// How a scheme of the reference compares with one of ours.
#[derive(Clone, Copy)]
enum Rule {
    /// The same formula on numbers of the same precision: this part more or less in mean, largest
    /// and relative error (roundings at ties, and of scales to f16 where said).
    Same(f64),
    /// The mean and the relative error, this part more or less; the largest error may be that of
    /// another weight.
    Near(f64),
    /// The relative error is at most that of the reference, and this part more.
    AtMost(f64),
}

/// Numpy's formulas, ggml's own quantizers, bitsandbytes' tables, scikit-learn's k-means.
const SCHEMES: [(&str, &str, Rule); 16] = [
    ("int8_absmax_channel", "int8", Rule::Same(0.01)),
    ("int8_absmax_tensor", "int8:tensor", Rule::Same(0.01)),
    ("ggml_q4_0", "q4_0", Rule::Same(0.01)),
    ("ggml_q4_1", "q4_1", Rule::Same(0.01)),
    ("ggml_q5_0", "q5_0", Rule::Same(0.01)),
    ("ggml_q8_0", "q8_0", Rule::Same(0.01)),
    // Scales and minimums are f32 there and f16 here, rounded outwards.
    ("int4_asym_g32", "linear4", Rule::Near(0.003)),
    ("int4_asym_g64", "linear4:g64", Rule::Near(0.003)),
    ("int4_asym_g128", "linear4:g128", Rule::Near(0.003)),
    ("int4_asymzp_g32", "affine4", Rule::Near(0.003)),
    ("int4_asymzp_g64", "affine4:g64", Rule::Near(0.003)),
    ("int4_asymzp_g128", "affine4:g128", Rule::Near(0.003)),
    ("int4_sym_g32", "sym4", Rule::Near(0.003)),
    ("nf4_b64", "nf4", Rule::Same(0.001)),
    ("nf4_b64_dq", "nf4dq", Rule::Near(0.003)),
    // Levels are f32 there and f16 here: `(2^−12·level)²` more to a squared error of a hundredth.
    ("kmeans16_tensor", "kmeans4:tensor", Rule::AtMost(1e-5)),
];

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
        let known = SCHEMES.iter().find(|(known, _, _)| known == scheme);
        let Some((_, scheme, rule)) = known else { continue };
        let scheme: Scheme = scheme.parse().unwrap();
        if name.starts_with("ALL") {
            continue;
        }
        let dense = model.dense(name).unwrap();
        assert_eq!(*shape, format!("{}x{}", dense.rows(), dense.cols()));
        let coded = scheme.encode(dense.matrix()).unwrap();
        let got = measure(dense.values(), &coded.decode());
        let got = [got.mean_abs, got.max_abs, got.relative];
        assert_eq!(expected.len(), got.len(), "{line}");
        let expected: Vec<f64> = expected.iter().map(|field| field.parse().unwrap()).collect();
        for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
            let near = |tolerance: f64| (got - expected).abs() <= tolerance * expected;
            let holds = match *rule {
                Rule::Same(tolerance) => near(tolerance),
                Rule::Near(tolerance) => index == 1 || near(tolerance),
                Rule::AtMost(tolerance) => index != 2 || got <= expected * (1.0 + tolerance),
            };
            assert!(holds, "{line}: got {got}");
        }
        compared += 1;
    }
    assert_eq!(compared, 16 * 39, "39 matrices in every scheme of the reference");
}

//! Every scheme on the real MiniLM: the copy loads, is as small as promised, and differs from the
//! original by exactly what the report says.

use std::path::Path;

use kvant_compress::{Plan, REPORT_FILE, Report, compress};
use kvant_model::{Checkpoint, Summary, Weight};
use kvant_quant::{BlockFormat, Coded, Float4, Scheme, measure};
use kvant_testkit::{minilm, skip};

/// Relative (Frobenius) error of the worst tensor of MiniLM, measured when the formats were fixed,
/// and 2 % more. The hard bound per weight is in [`check_bound`]; this is to notice a code that
/// keeps its bound and still got worse.
fn relative_max(scheme: Scheme) -> f64 {
    1.02 * match scheme {
        Scheme::Int8 => 0.02119,
        Scheme::Linear { bits: 2, .. } => 0.5039,
        Scheme::Linear { bits: 3, .. } => 0.2161,
        Scheme::Linear { bits: 4, .. } => 0.1025,
        Scheme::Linear { bits: 5, .. } => 0.04981,
        Scheme::Linear { bits: 6, .. } => 0.0248,
        Scheme::Linear { bits: 7, .. } => 0.01213,
        Scheme::Linear { .. } => 0.01406,
        Scheme::Sym { bits, .. } => {
            [0.671, 0.2565, 0.1104, 0.05166, 0.0252, 0.0127, 0.006_463][usize::from(bits) - 2]
        }
        Scheme::Affine { bits, .. } => {
            [0.4297, 0.1872, 0.08748, 0.04232, 0.02079, 0.01035, 0.005_146][usize::from(bits) - 2]
        }
        Scheme::Float4 { format: Float4::Nf4, .. } => 0.0995,
        Scheme::Float4 { format: Float4::Fp4, .. } => 0.1395,
        Scheme::Block(BlockFormat::Q4_0) => 0.09727,
        Scheme::Block(BlockFormat::Q4_1 | BlockFormat::Q5_0 | BlockFormat::Q5_1) => 0.1,
        Scheme::Block(BlockFormat::Q8_0) => 0.006_461,
        Scheme::Block(BlockFormat::IQ4_NL) => 0.0863,
        Scheme::Block(_) => unreachable!("rows of whole blocks of 256"),
    }
}

fn check_tensors(source: &Checkpoint, out: &Checkpoint, report: &Report, scheme: Scheme) {
    assert_eq!(report.tensors.len(), source.tensors().len());
    assert_eq!(out.tensors().len(), source.tensors().len());
    let mut coded_weights = 0;
    for (line, before) in report.tensors.iter().zip(source.tensors()) {
        let after = out.tensor(&line.name);
        assert_eq!((&line.name, &line.shape), (&before.name, &before.shape));
        let after = after.map(|t| (&t.shape, &t.format, t.bits_per_weight, t.size_bytes));
        let said = (&line.shape, &line.format, line.bits_per_weight, line.size_bytes);
        assert_eq!(after, Some(said), "{}", line.name);
        let matrix = matches!(before.shape[..], [rows, cols] if rows.min(cols) >= 32);
        if before.format != "F32" || !matrix {
            assert!(line.kept.is_some() && line.format == before.format, "{line:?}");
            continue;
        }
        let (Ok(dense), Ok(weight)) = (source.dense(&line.name), out.weight(&line.name)) else {
            unreachable!("{} does not load", line.name)
        };
        let Weight::Coded(coded) = weight else { unreachable!("{} is not coded", line.name) };
        assert_eq!((coded.scheme(), &line.kept), (scheme, &None));
        let error = measure(dense.values(), &coded.decode());
        assert_eq!(error.mean_abs, line.mean_abs, "{}", line.name);
        assert_eq!((error.max_abs, error.relative), (line.max_abs, line.relative));
        assert!(error.relative <= relative_max(scheme), "{line:?}");
        check_bound(&coded, dense.values(), &line.name);
        coded_weights += dense.values().len();
    }
    assert_eq!(coded_weights, 22_681_344, "weights of the 39 matrices");
}

/// Every weight within half a step (and the roundings of f32) where that is the bound.
fn check_bound(coded: &Coded, values: &[f32], name: &str) {
    let cols = coded.cols();
    let mut restored = vec![0.0; cols];
    for (row, weights) in values.chunks_exact(cols).enumerate() {
        let (group, steps) = match coded {
            Coded::Int8(m) => (cols, &m.scales()[row..=row]),
            Coded::Linear(m) => {
                let groups = m.shape().groups();
                (
                    m.shape().span.weights(m.shape().cols),
                    &m.steps()[row * groups..(row + 1) * groups],
                )
            }
            Coded::Scaled(_) | Coded::Float4(_) | Coded::Block(_) => return,
        };
        coded.decode_row(row, &mut restored);
        for ((weights, restored), step) in
            weights.chunks(group).zip(restored.chunks(group)).zip(steps)
        {
            let max = weights.iter().fold(0.0f32, |max, w| max.max(w.abs()));
            let bound = f64::from(*step) / 2.0 + 2f64.powi(-21) * f64::from(max);
            let error = measure(weights, restored).max_abs;
            assert!(error <= bound, "{name} row {row}: {error} > {bound}");
        }
    }
}

fn check_scheme(source: &Path, out: &Path, scheme: Scheme) -> Report {
    let plan = Plan { threads: 2, ..Plan::new(scheme) };
    let report = match compress(source, out, &plan, &|_| {}) {
        Ok(report) => report,
        Err(error) => unreachable!("{scheme}: {error}"),
    };
    let (Ok(before), Ok(after)) = (Checkpoint::open(source), Checkpoint::open(out)) else {
        unreachable!("{scheme} does not open")
    };
    check_tensors(&before, &after, &report, scheme);
    report
}

#[test]
fn every_scheme_saves_what_it_reports() {
    let Some(source) = minilm() else { return skip("the MiniLM model is absent") };
    let before = Summary::of(&source).unwrap();
    // Not the blocks of 256 weights: the rows of MiniLM have 384.
    for scheme in Scheme::ALL.into_iter().filter(|scheme| 384 % scheme.whole_cols() == 0) {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("out");
        let report = check_scheme(&source, &out, scheme);
        let after = Summary::of(&out).unwrap();
        assert_eq!(report.parameters, before.parameters);
        assert_eq!(after.parameters, before.parameters);
        assert_eq!(report.bits_per_weight_before, before.bits_per_weight);
        assert_eq!(report.bits_per_weight, after.bits_per_weight);
        assert_eq!(
            (report.size_bytes_before, report.size_bytes),
            (before.size_bytes, after.size_bytes)
        );
        assert_eq!(report.ratio, before.size_bytes as f64 / after.size_bytes as f64);
        let file = out.join("model.safetensors").metadata().unwrap().len();
        let header = file - report.size_bytes;
        assert!(header < 40_000, "{scheme}: {header} bytes that are no tensors");
        let json = serde_json::to_string_pretty(&report).unwrap() + "\n";
        assert!(std::fs::read_to_string(out.join(REPORT_FILE)).unwrap() == json, "{scheme}");
        for name in ["tokenizer.json", "config.json", "modules.json", "1_Pooling/config.json"] {
            assert!(out.join(name).is_file(), "{name}");
        }
        println!(
            "{scheme}: {file} bytes, {:.3} bits per weight, {:.2} times smaller, {:.2} s",
            report.bits_per_weight, report.ratio, report.seconds
        );
    }
}

/// 22.6 million int8 weights, their scales, and 0.1 million f32 ones: 23.2 MB and room.
#[test]
fn int8_is_a_quarter() {
    let Some(source) = minilm() else { return skip("the MiniLM model is absent") };
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let report = check_scheme(&source, &out, Scheme::Int8);
    let file = out.join("model.safetensors").metadata().unwrap().len();
    assert!(file <= 26_000_000, "{file} bytes");
    assert!(report.ratio > 3.8 && report.bits_per_weight < 8.3, "{report:?}");
}

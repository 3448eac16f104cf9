//! Every scheme on the real MiniLM: the copy loads, is as small as promised, and differs from the
//! original by exactly what the report says.

use std::path::Path;

use kvant_compress::{Plan, Quantizer, REPORT_FILE, Report, compress};
use kvant_model::{Checkpoint, Summary, Weight};
use kvant_quant::{Coded, Scheme, measure};
use kvant_testkit::{minilm, skip};

/// A scheme of every family, and the relative (Frobenius) error of the worst tensor of MiniLM when
/// the formats were fixed, to which 2 % are allowed: a code that keeps its bound per weight
/// ([`check_bound`]) and still got worse is noticed.
const SCHEMES: [(&str, f64); 9] = [
    ("int8@rtn", 0.02119),
    ("linear3:g64@rtn", 0.2161),
    ("linear4:g64@rtn", 0.1025),
    ("linear8:channel@rtn", 0.01406),
    ("sym4@rtn", 0.12),
    ("affine4@rtn", 0.12),
    ("q4_0@rtn", 0.09727),
    ("q8_0@rtn", 0.006_461),
    ("iq4_nl@rtn", 0.0863),
];

fn relative_max(scheme: Scheme) -> f64 {
    let named = |(name, _): &&(&str, f64)| name.split('@').next() == Some(&scheme.to_string());
    SCHEMES.iter().find(named).map_or(0.0, |(_, max)| 1.02 * max)
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
            Coded::Scaled(_) | Coded::Float4(_) | Coded::Codebook(_) | Coded::Block(_) => return,
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

fn check_scheme(source: &Path, out: &Path, quantizer: Quantizer) -> Report {
    let scheme = quantizer.scheme;
    let plan = Plan { threads: 2, ..Plan::uniform(quantizer) };
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
    for (name, _) in SCHEMES {
        let scheme: Quantizer = name.parse().unwrap();
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
    let report = check_scheme(&source, &out, "int8@rtn".parse().unwrap());
    let file = out.join("model.safetensors").metadata().unwrap().len();
    assert!(file <= 26_000_000, "{file} bytes");
    assert!(report.ratio > 3.8 && report.bits_per_weight < 8.3, "{report:?}");
}

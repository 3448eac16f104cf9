//! A made-up report, as a table and as a page.

use kvant_testkit::Random;

use super::figure::{Words, bytes, grouped, percent, times};
use super::*;

/// A report of a baseline and two candidates, every field filled, the same each time.
pub(crate) fn sample() -> Report {
    let mut random = Random::new(5);
    let mut models = vec![
        entry("f32", (0.8672, 90_868_376, 4.1, 512.0), None, &mut random),
        entry("int8", (0.8669, 23_100_000, 1.9, 1130.0), Some(0.009), &mut random),
        entry("q4_0", (0.8591, 13_300_000, 2.6, 800.0), Some(0.09), &mut random),
    ];
    let (base, rest) = models.split_first_mut().unwrap();
    for entry in rest {
        entry.quality.kept = Some(entry.quality.score / base.quality.score);
        let value = entry.quality.score - base.quality.score;
        entry.quality.difference =
            Some(Interval { value, low: value - 0.0011, high: value + 0.0013 });
        entry.quality.agreement = Some(Agreement { mean: 0.9987, p1: 0.9961, min: 0.9902 });
        entry.quality.overlap = Some(0.957);
        entry.ratio = Some(Ratio::of(entry, base));
    }
    Report {
        schema: SCHEMA,
        task: Subject {
            kind: "sts".into(),
            data: "data/stsb-dev.tsv".into(),
            test: None,
            n: 1500,
            texts: 3000,
            metric: "Spearman".into(),
        },
        date: "2026-03-01T12:00:00Z".into(),
        machine: Machine {
            cpu: "Example CPU 9000".into(),
            cores: 2,
            simd: "avx512".into(),
            os: "linux".into(),
        },
        timing: Timing { threads: 1, batch_texts: 256, rounds: 5 },
        models,
        examples: vec![Example {
            query: "an animal that carries its house on its back".into(),
            answers: vec![
                answers("f32", &["snail", "turtle", "camel"]),
                answers("int8", &["snail", "turtle", "camel"]),
                answers("q4_0", &["turtle", "snail", "tent"]),
            ],
        }],
    }
}

fn answers(label: &str, words: &[&str]) -> Answers {
    let answer = |(i, word): (usize, &&str)| Answer {
        id: (*word).to_owned(),
        score: 0.61 - 0.03 * i as f64,
        text: format!("{word}: something found in a dictionary of the English language"),
    };
    Answers { label: label.into(), found: words.iter().enumerate().map(answer).collect() }
}

fn entry(
    label: &str,
    (score, size, ms, per_s): (f64, u64, f64, f64),
    error: Option<f64>,
    random: &mut Random,
) -> Entry {
    let mut samples_ms: Vec<f64> = (0..300)
        .map(|_| {
            ms * (1.0 + 0.12 * f64::from(random.normal()).abs() + 0.02 * f64::from(random.normal()))
        })
        .collect();
    samples_ms.sort_by(f64::total_cmp);
    let runs: Vec<f64> = (0..5).map(|_| per_s * (1.0 + 0.01 * f64::from(random.unit()))).collect();
    let tensors = (0..if error.is_some() { 39 } else { 0 }).map(|i| TensorError {
        name: format!("encoder.layer.{}.weight.{}", i / 6, i % 6),
        format: label.into(),
        relative: error.unwrap_or(0.0) * (1.0 + 0.35 * f64::from(random.unit())),
        bits_per_weight: Some(8.0),
        mean_abs: None,
        max_abs: None,
    });
    Entry {
        label: label.into(),
        path: Some(format!("models/{label}")),
        quality: Quality {
            score,
            scores: vec![Score { name: "Pearson".into(), value: score + 0.003 }],
            kept: None,
            difference: None,
            agreement: None,
            overlap: None,
        },
        tensors: tensors.collect(),
        latency: Some(Latency { p50_ms: samples_ms[149], p99_ms: samples_ms[296], samples_ms }),
        throughput: Some(Throughput { texts_per_s: per_s, runs }),
        compute: Some(Compute { tokens_per_text: 14.2, macs_per_text: 1.6e8 }),
        size: Size {
            weights_bytes: Some(size),
            directory_bytes: Some(size + 700_000),
            loaded_bytes: Some(size),
            parameters: Some(22_713_216),
            bits_per_weight: Some(size as f64 * 8.0 / 22_713_216.0),
        },
        memory: Some(Memory {
            start_bytes: 3_000_000,
            loaded_bytes: size + 9_000_000,
            peak_bytes: size + 21_000_000,
        }),
        ratio: None,
    }
}

#[test]
fn the_table_is_as_it_was() {
    let mut report = sample();
    for entry in &mut report.models {
        // Samples come from sines and logarithms, which differ in the last digit between systems.
        let latency = entry.latency.as_mut().unwrap();
        latency.p50_ms = latency.p50_ms.round();
        latency.p99_ms = latency.p99_ms.round();
    }
    let (base, rest) = report.models.split_first_mut().unwrap();
    for entry in rest {
        entry.ratio = Some(Ratio::of(entry, base));
    }
    let expected = include_str!("testdata/table.txt");
    assert_eq!(table(&report), expected, "\n{}", table(&report));
}

#[test]
fn the_table_is_plain_and_aligned() {
    let mut report = sample();
    report.models[1].label = "\u{1b}[31mred\u{7}".repeat(9);
    let text = table(&report);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
    let edges = |line: &str| -> Vec<usize> {
        line.chars().enumerate().filter(|(_, c)| "│┼".contains(*c)).map(|(i, _)| i).collect()
    };
    let lines: Vec<&str> = text.lines().skip(2).collect();
    assert!(lines.iter().all(|line| edges(line) == edges(lines[0])), "{text}");
}

#[test]
fn the_page_is_whole_and_alone() {
    let page = html(&sample());
    assert!(!page.contains("http://") && !page.contains("https://"));
    for absent in ["<script", "src=", "@import", "url(", "<link", "NaN", "inf"] {
        assert!(!page.contains(absent), "{absent}");
    }
    if let Some(place) = std::env::var_os("KVANT_TEST_PAGE") {
        std::fs::write(place, &page).unwrap();
    }
    assert_eq!(page.matches("<svg").count(), 6);
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    for tag in ["figure", "section", "article", "table", "div", "ol", "li", "tr", "td", "text"] {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(page.contains("3.93× smaller") && page.contains("99.97 %"));
    assert!(page.contains("<b>↑1</b>") && page.contains("<b class=\"new\">new</b> tent"));
    assert!(page.contains("3 of 3 as the baseline") && page.contains("2 of 3 as the baseline"));
}

#[test]
fn foreign_text_is_harmless() {
    let evil = "<script>alert(1)</script>\"'&\0";
    let mut report = sample();
    report.task.data = evil.into();
    report.task.test = Some(evil.into());
    report.task.metric = evil.into();
    report.task.kind = evil.into();
    report.machine.cpu = evil.into();
    report.machine.simd = evil.into();
    report.date = evil.into();
    for entry in &mut report.models {
        entry.label = evil.into();
        entry.path = Some(evil.into());
        entry.quality.scores[0].name = evil.into();
        for tensor in &mut entry.tensors {
            tensor.name = evil.into();
            tensor.format = evil.into();
        }
    }
    let example = &mut report.examples[0];
    example.query = evil.into();
    for answers in &mut example.answers {
        answers.label = evil.into();
        answers.found[0].id = evil.into();
        answers.found[0].text = evil.into();
    }
    let page = html(&report);
    assert!(!page.contains("<script") && !page.contains("</script"));
    assert!(!page.contains("(1)&lt;/script&gt;\""), "a quote that could end an attribute");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
    assert!(!page.contains('\0'));
}

#[test]
fn what_was_not_measured_is_not_drawn() {
    let mut report = sample();
    report.examples.clear();
    for entry in &mut report.models {
        entry.latency = None;
        entry.throughput = None;
        entry.compute = None;
        entry.memory = None;
        entry.size = Size::default();
        entry.tensors.clear();
        entry.ratio = None;
    }
    let page = html(&report);
    assert!(!page.contains("<svg") && page.contains("0.8672"));
    let text = table(&report);
    assert!(text.contains("Spearman") && !text.contains("memory") && !text.contains("speed"));
    report.models.truncate(1);
    assert!(html(&report).contains("0.8672"));
    report.models.clear();
    assert!(html(&report).contains("</html>") && table(&report).contains("sts"));
}

#[test]
fn odd_figures_neither_panic_nor_hang() {
    let odd = [0.0, -1.0, 1e-300, 1e300, f64::NAN, f64::INFINITY];
    for value in odd {
        for other in odd {
            let mut report = sample();
            report.models[0].quality.score = other;
            let entry = &mut report.models[1];
            entry.quality.score = value;
            entry.quality.difference = Some(Interval { value, low: other, high: value });
            let latency = entry.latency.as_mut().unwrap();
            (latency.p50_ms, latency.p99_ms) = (other, value);
            latency.samples_ms = vec![value, other];
            entry.throughput = Some(Throughput { texts_per_s: value, runs: vec![other] });
            entry.tensors[0].relative = value;
            entry.tensors[1].relative = other;
            entry.ratio = Some(Ratio { weights: Some(value), ..Ratio::default() });
            assert!(html(&report).len() < 1 << 20);
            assert!(table(&report).len() < 1 << 16);
        }
    }
}

#[test]
fn curves_of_any_figures_are_drawn() {
    use crate::ann::{Curves, Engine, Point};
    let point = |recall, qps| Point {
        param: "<16>".into(),
        recall,
        qps_one: qps,
        qps_batch: qps.map(|qps| qps * 2.0),
    };
    let engine = |name: &str, points: &[(f64, Option<f64>)]| Engine {
        name: name.into(),
        points: points.iter().map(|&(recall, qps)| point(recall, qps)).collect(),
        ..Engine::default()
    };
    let mut all = Curves {
        data: "<base>.npy".into(),
        shape: (60_000, 784),
        metric: "euclid".into(),
        queries: 1000,
        k: 10,
        threads: 2,
        allowed: Some(600),
        date: "2026-03-01T12:00:00Z".into(),
        machine: sample().machine,
        engines: vec![
            engine(
                "kvant hnsw",
                &[(0.91, Some(20_000.0)), (0.99, Some(9000.0)), (1.0, Some(70.0))],
            ),
            engine("</svg>", &[(0.7, Some(150_000.0)), (0.97, None)]),
        ],
    };
    let page = curves(&all);
    assert_eq!(page.matches("<svg").count(), 2);
    assert_eq!(page.matches("</svg>").count(), 2, "names are escaped");
    assert!(page.contains("&lt;base&gt;.npy: 60,000 vectors of 784, euclid"), "{page}");
    assert!(page.contains("Filtered: 600 of 60,000") && page.contains("20,000"));
    for engines in [
        vec![],
        vec![engine("none", &[])],
        vec![engine("one", &[(1.0, Some(1.0))])],
        vec![engine("zero", &[(0.0, Some(1e-9)), (0.0, Some(1e12))])],
    ] {
        all.engines = engines;
        let page = curves(&all);
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}

#[test]
fn figures_read_well() {
    assert_eq!(times(0.25, Words::Size), "4.00× smaller");
    assert_eq!(times(2.0, Words::Time), "2.00× slower");
    assert_eq!(times(12.4, Words::Rate), "12× faster");
    assert_eq!(times(1.001, Words::Amount), "the same");
    assert_eq!(times(0.0, Words::Amount), "–");
    assert_eq!((percent(0.9997), percent(0.5)), ("99.97 %".into(), "50.0 %".into()));
    assert_eq!((bytes(999), bytes(90_868_376)), ("999 B".into(), "90.9 MB".into()));
    assert_eq!((grouped(999), grouped(1_234_567)), ("999".into(), "1,234,567".into()));
}

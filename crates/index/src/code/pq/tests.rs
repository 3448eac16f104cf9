//! Codes: what they stand for, and that scans and single rows agree.

use kvant_testkit::clustered;

use super::*;
use crate::SearchOptions;

fn options(parts: usize) -> PqOptions {
    PqOptions { parts, training: 2000, seed: 1, threads: 2 }
}

#[test]
fn scans_and_single_rows_agree_at_every_place() {
    for (n, dim, parts) in [(1, 5, 3), (31, 8, 8), (32, 8, 0), (33, 16, 5), (300, 24, 0)] {
        let data = clustered(n, dim, 3);
        for metric in Metric::ALL {
            let rows = FloatRows::new(&data, dim, metric);
            let coded = PqRows::encode(&rows, None, &options(parts)).unwrap();
            let mut scorer = coded.scorer(&data[..dim]);
            let all: Vec<Row> = (0..n as u32).map(Row).collect();
            let mut out = vec![0.0; n];
            scorer.score(&all, &mut out);
            for (from, to) in [(0, n), (0, 1), (n / 3, n - n / 4), (n / 2, n / 2)] {
                for reach in [f32::INFINITY, out[n / 2], out[0], f32::NEG_INFINITY] {
                    let mut found = Vec::new();
                    scorer.scan(from as u32..to as u32, reach, &mut found);
                    let near = (from..to).filter(|&at| out[at] <= reach);
                    let expected: Vec<Hit> =
                        near.map(|at| Hit { row: Row(at as u32), distance: out[at] }).collect();
                    assert_eq!(found, expected, "{metric} {n} {from} {to} {reach}");
                }
            }
        }
    }
}

/// Distances are those of what codes stand for, but for the rounding of tables.
#[test]
fn distances_are_those_of_decoded_rows() {
    let (n, dim) = (400, 48);
    let data = clustered(n, dim, 4);
    for metric in Metric::ALL {
        let rows = FloatRows::new(&data, dim, metric);
        let coded = PqRows::encode(&rows, None, &options(0)).unwrap();
        let decoded: Vec<f32> = (0..n as u32).flat_map(|row| coded.decode(row)).collect();
        let plain = FloatRows::new(&decoded, dim, metric);
        let all: Vec<Row> = (0..n as u32).map(Row).collect();
        let (mut got, mut expected) = (vec![0.0; n], vec![0.0; n]);
        coded.scorer(&data[..dim]).score(&all, &mut got);
        plain.scorer(&data[..dim]).score(&all, &mut expected);
        let size = expected.iter().fold(0.0f32, |size, d| size.max(d.abs()));
        for (got, expected) in got.iter().zip(&expected) {
            assert!((got - expected).abs() < 0.02 * size, "{metric} {got} {expected}");
        }
        // Between rows, both ways are the same, to the bit.
        let mut there = [0.0];
        for row in [1, 77, 399] {
            coded.scorer_of(Row(0)).score(&[Row(row)], &mut got[..1]);
            coded.scorer_of(Row(row)).score(&[Row(0)], &mut there);
            assert_eq!(got[0], there[0], "{metric} {row}");
        }
    }
}

/// The error falls with parts, and rows of few values lose nothing.
#[test]
fn more_parts_lose_less() {
    let (n, dim) = (1000, 32);
    let data = clustered(n, dim, 5);
    let rows = FloatRows::new(&data, dim, Metric::Euclid);
    let loss = |parts: usize| {
        let coded = PqRows::encode(&rows, None, &options(parts)).unwrap();
        let decoded = (0..n as u32).flat_map(|row| coded.decode(row));
        decoded.zip(&data).map(|(d, &x)| f64::from(d - x).powi(2)).sum::<f64>()
    };
    let losses = [2, 4, 8, 16, 32].map(loss);
    assert!(losses.windows(2).all(|w| w[1] < w[0]), "{losses:?}");
    let few: Vec<f32> = (0..n * dim).map(|at| (at % 16) as f32).collect();
    let rows = FloatRows::new(&few, dim, Metric::Euclid);
    let coded = PqRows::encode(&rows, None, &options(dim)).unwrap();
    assert_eq!(coded.decode(7), few[7 * dim..8 * dim]);
    let hits = crate::Flat::new(n).search(&coded, &few[..dim], &SearchOptions::default());
    assert_eq!(hits.len(), 10);
}

#[test]
fn more_parts_than_dimensions_are_refused() {
    let data = clustered(10, 6, 6);
    let rows = FloatRows::new(&data, 6, Metric::Euclid);
    let error = PqRows::encode(&rows, None, &options(7)).unwrap_err();
    assert!(error.to_string().contains("use 6 or fewer"), "{error}");
}

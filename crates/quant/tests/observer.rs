//! Every observer on every format: a defined result, and less error where that is promised.

use kvant_kernels::Matrix;
use kvant_quant::{Coded, Fit, Observer, Scheme};
use kvant_testkit::Random;
use proptest::prelude::*;

const OBSERVERS: [Observer; 4] =
    [Observer::MinMax, Observer::Percentile, Observer::Mse, Observer::Entropy];

/// Formats whose scales are fitted here; blocks have tests of their own.
fn schemes() -> Vec<Scheme> {
    let names = "int8 linear2 linear4 linear8:channel linear4:tensor sym2 sym3 sym4 sym8:channel \
                 sym4:tensor affine2 affine4 affine8:channel affine4:tensor nf4 nf4dq fp4 \
                 kmeans2 kmeans4 kmeans5 kmeans3:tensor quantile4";
    let scheme = |name: &str| match name.parse() {
        Ok(scheme) => scheme,
        Err(error) => unreachable!("{error}"),
    };
    names.split_whitespace().map(scheme).collect()
}

/// `Σ h·(w − w')²`, `h` one per column or one for all.
fn loss(coded: &Coded, weights: &[f32], importance: &[f32]) -> f64 {
    let square = |(index, (w, back)): (usize, (&f32, f32))| {
        let error = f64::from(*w) - f64::from(back);
        f64::from(importance[index % importance.len()]) * error * error
    };
    weights.iter().zip(coded.decode()).enumerate().map(square).sum()
}

fn fit(observer: Observer, importance: &[f32]) -> Fit<'_> {
    Fit { observer, importance: (importance.len() > 1).then_some(importance) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The search starts from the whole range and keeps the better. Double quantization rounds
    /// the found scale once more, and codebooks are fitted in turn: there a little room.
    #[test]
    fn searched_scales_lose_no_more(seed: u64, exponent in -3i32..4) {
        let size = 10f32.powi(exponent);
        let mut random = Random::new(seed);
        let weights: Vec<f32> = random.normals(512).iter().map(|w| w * size).collect();
        let importance: Vec<f32> = random.normals(128).iter().map(|v| v * v).collect();
        let matrix = Matrix::new(&weights, 4, 128);
        for scheme in schemes() {
            for importance in [&importance[..], &[1.0]] {
                let plain = scheme.fit(matrix, &fit(Observer::MinMax, importance)).unwrap();
                let found = scheme.fit(matrix, &fit(Observer::Mse, importance)).unwrap();
                let [plain, found] = [plain, found].map(|m| loss(&m, &weights, importance));
                let room = if matches!(scheme, Scheme::Float4 { double: true, .. }) {
                    1.05
                } else if matches!(scheme, Scheme::Codebook { .. }) {
                    1.01
                } else {
                    1.0001
                };
                prop_assert!(found <= plain * room, "{} {} {}", scheme, found, plain);
            }
        }
    }

    #[test]
    fn any_finite_weights_are_fitted(
        weights in prop::collection::vec(
            prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO, 64)
    ) {
        let small: Vec<f32> = weights.iter().map(|w| w.clamp(-6e4, 6e4)).collect();
        for scheme in schemes() {
            for observer in OBSERVERS {
                for weights in [&weights, &small] {
                    match scheme.fit(Matrix::new(weights, 2, 32), &fit(observer, &[])) {
                        Ok(coded) => {
                            prop_assert!(coded.decode().iter().all(|w| w.is_finite()));
                            prop_assert_eq!(coded.grid().restore(&coded.codes()), coded.decode());
                        }
                        Err(error) => prop_assert!(weights != &small, "{} {}", scheme, error),
                    }
                }
            }
        }
    }
}

#[test]
fn nothing_constant_and_one_row() {
    for scheme in schemes() {
        for observer in OBSERVERS {
            let fit = fit(observer, &[]);
            let zeros = scheme.fit(Matrix::new(&[0.0; 96], 2, 48), &fit).unwrap();
            assert!(zeros.decode().iter().all(|w| *w == 0.0), "{scheme} {observer:?}");
            let same = scheme.fit(Matrix::new(&[0.25; 96], 2, 48), &fit).unwrap();
            assert!(same.decode().iter().all(|w| (w - 0.25).abs() < 0.05), "{scheme} {observer:?}");
            for (rows, cols) in [(0, 5), (5, 0), (1, 1), (1, 33)] {
                let weights = vec![-1.5; rows * cols];
                let coded = scheme.fit(Matrix::new(&weights, rows, cols), &fit).unwrap();
                assert_eq!(coded.decode().len(), weights.len(), "{scheme} {observer:?}");
            }
        }
    }
}

/// A weight of 8192 that dwarfs the others is clipped by every observer but the full range.
#[test]
fn an_outlier_is_clipped() {
    let mut weights = Random::new(6).normals(8192);
    weights[4000] = 90.0;
    let matrix = Matrix::new(&weights, 2, 4096);
    for name in ["int8", "sym4:tensor", "linear4:tensor", "affine4:tensor", "sym8:tensor"] {
        let scheme: Scheme = name.parse().unwrap();
        let restored = |observer| scheme.fit(matrix, &fit(observer, &[])).unwrap().decode()[4000];
        assert!((restored(Observer::MinMax) - 90.0).abs() < 4.0, "{name}");
        for observer in [Observer::Percentile, Observer::Entropy] {
            let back = restored(observer);
            // Entropy keeps 8 bits wide, and 4 bits narrow.
            let most = if observer == Observer::Percentile { 6.0 } else { 60.0 };
            assert!((2.0..most).contains(&back), "{name} {observer:?}: {back}");
        }
    }
}

/// Measured once; a change for the worse is noticed.
#[test]
fn searching_gains_what_it_should() {
    let weights = Random::new(11).normals(64 * 256);
    let matrix = Matrix::new(&weights, 64, 256);
    for (name, gain) in [
        ("sym3", 0.74),
        ("sym4", 0.85),
        ("affine3", 0.95),
        ("affine4", 0.98),
        ("linear3", 0.92),
        ("linear4", 0.94),
        ("nf4", 0.95),
        ("kmeans3", 0.965),
    ] {
        let scheme: Scheme = name.parse().unwrap();
        let plain = loss(&scheme.encode(matrix).unwrap(), &weights, &[1.0]).sqrt();
        let found = scheme.fit(matrix, &fit(Observer::Mse, &[])).unwrap();
        let found = loss(&found, &weights, &[1.0]).sqrt();
        println!("{name}: {:.4}", found / plain);
        assert!(found <= gain * plain, "{name}: {}", found / plain);
    }
}

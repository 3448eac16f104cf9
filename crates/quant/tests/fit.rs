//! Fitted scales lose less than the full range, and what does not matter is given up first.

use kvant_kernels::Matrix;
use kvant_quant::{BlockFormat, Coded, Fit, Observer, Scheme};
use kvant_testkit::Random;
use proptest::prelude::*;

const SEARCH: Fit<'static> = Fit { observer: Observer::Mse, importance: None };

fn blocks() -> impl Iterator<Item = Scheme> {
    let block = |scheme: &Scheme| matches!(scheme, Scheme::Block(_));
    Scheme::ALL.into_iter().filter(block)
}

/// `Σ h·(w − w')²`, `h` one per column.
fn loss(coded: &Coded, weights: &[f32], importance: &[f32]) -> f64 {
    let square = |(index, (w, back)): (usize, (&f32, f32))| {
        let error = f64::from(*w) - f64::from(back);
        f64::from(importance[index % importance.len()]) * error * error
    };
    weights.iter().zip(coded.decode()).enumerate().map(square).sum()
}

proptest! {
    #[test]
    fn searched_scales_lose_no_more(seed: u64, exponent in -3i32..4) {
        let size = 10f32.powi(exponent);
        let weights: Vec<f32> = Random::new(seed).normals(512).iter().map(|w| w * size).collect();
        for scheme in blocks() {
            let matrix = Matrix::new(&weights, 2, 256);
            let (plain, searched) =
                (scheme.encode(matrix).unwrap(), scheme.fit(matrix, &SEARCH).unwrap());
            prop_assert_eq!(searched.scheme(), scheme);
            let (plain, searched) =
                (loss(&plain, &weights, &[1.0]), loss(&searched, &weights, &[1.0]));
            prop_assert!(searched <= plain * 1.02, "{} {} {}", scheme, searched, plain);
        }
    }

    #[test]
    fn any_finite_weights_are_fitted(
        weights in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO, 256)
    ) {
        let weights: Vec<f32> = weights.iter().map(|w| w.clamp(-6e4, 6e4)).collect();
        for scheme in blocks() {
            let coded = scheme.fit(Matrix::new(&weights, 1, 256), &SEARCH).unwrap();
            prop_assert!(coded.decode().iter().all(|w| w.is_finite()));
            prop_assert_eq!(coded.grid().restore(&coded.codes()), coded.decode());
        }
    }
}

/// The gain is there on average, not only not lost.
#[test]
fn searching_gains_what_it_should() {
    let weights = Random::new(11).normals(64 * 256);
    let matrix = Matrix::new(&weights, 64, 256);
    for (format, gain) in [
        (BlockFormat::Q4_0, 0.89),
        (BlockFormat::Q5_0, 0.93),
        (BlockFormat::Q8_0, 0.81),
        (BlockFormat::Q4_1, 0.80),
        (BlockFormat::Q5_1, 0.80),
        (BlockFormat::Q2_K, 0.64),
        (BlockFormat::Q3_K, 0.87),
        (BlockFormat::Q4_K, 0.81),
        (BlockFormat::Q5_K, 0.83),
        (BlockFormat::Q6_K, 0.79),
        (BlockFormat::IQ4_XS, 0.87),
        (BlockFormat::IQ4_NL, 0.86),
    ] {
        let scheme = Scheme::Block(format);
        let plain = loss(&scheme.encode(matrix).unwrap(), &weights, &[1.0]);
        let searched = loss(&scheme.fit(matrix, &SEARCH).unwrap(), &weights, &[1.0]);
        assert!(searched < gain * plain, "{scheme}: {}", searched / plain);
    }
}

#[test]
fn errors_go_where_they_do_not_matter() {
    let mut random = Random::new(5);
    let weights = random.normals(64 * 256);
    let importance: Vec<f32> = (0..256).map(|_| random.normal().powi(2)).collect();
    let matrix = Matrix::new(&weights, 64, 256);
    let fit = Fit { importance: Some(&importance), ..SEARCH };
    for scheme in blocks() {
        let with = loss(&scheme.fit(matrix, &fit).unwrap(), &weights, &importance);
        let without = loss(&scheme.fit(matrix, &SEARCH).unwrap(), &weights, &importance);
        assert!(with < without, "{scheme}: {with} {without}");
        // How large importances are together changes nothing.
        let doubled: Vec<f32> = importance.iter().map(|h| h * 1024.0).collect();
        let again = Fit { importance: Some(&doubled), ..SEARCH };
        assert_eq!(scheme.fit(matrix, &again).unwrap(), scheme.fit(matrix, &fit).unwrap());
        let dead = [0.0; 256];
        let dead = scheme.fit(matrix, &Fit { importance: Some(&dead), ..SEARCH }).unwrap();
        assert!(dead.decode().iter().all(|w| w.is_finite()), "{scheme}");
    }
}

#[test]
fn the_full_range_is_the_reference() {
    let weights = Random::new(7).normals(512);
    let matrix = Matrix::new(&weights, 2, 256);
    for scheme in blocks() {
        for observer in [Observer::MinMax, Observer::Percentile] {
            let fit = Fit { observer, importance: None };
            assert_eq!(scheme.fit(matrix, &fit).unwrap(), scheme.encode(matrix).unwrap());
        }
    }
}

/// Weights at the end of what a scale holds, where a wider range would have none.
#[test]
fn the_largest_weights_are_fitted() {
    for scheme in blocks() {
        let mut weights = vec![0.0f32; 256];
        weights[3] = 65504.0;
        weights[40] = -65504.0;
        let coded = scheme.fit(Matrix::new(&weights, 1, 256), &SEARCH).unwrap();
        let loss = loss(&coded, &weights, &[1.0]);
        assert!(loss < 0.01 * 65504.0 * 65504.0, "{scheme} {loss}");
    }
}

//! Pages and the matrix that keys are turned by.

use half::f16;
use kvant_kernels::{Matrix, MatrixMut, PackedF32, kernels};
use proptest::prelude::*;

use super::CacheFormat;
use super::page::{PAGE, Page, Part};
use super::rotate::rotate;

const WIDTH: usize = 16;

/// What a page gives back of `values` that were written to the last slot of the last group.
fn stored(format: CacheFormat, values: &[f32]) -> Vec<f32> {
    let mut page = Page::new(format, 3, WIDTH);
    let (mut memory, other) = (PackedF32::default(), [7.0; WIDTH]);
    page.write(Part::Keys, (2, PAGE - 1), &other);
    page.write(Part::Values, (2, PAGE - 1), values);
    page.write(Part::Values, (1, PAGE - 1), &other);
    let (mut weights, mut out) = ([0.0; PAGE], vec![0.0; WIDTH]);
    weights[PAGE - 1] = 1.0;
    let weights = Matrix::new(&weights, 1, PAGE);
    let to = MatrixMut::new(&mut out, 1, WIDTH);
    page.multiply(kernels(), (Part::Values, 2), weights, &mut memory, to);
    out
}

proptest! {
    #[test]
    fn pages_give_back_what_they_hold(
        values in prop::collection::vec(-1e3f32..1e3, WIDTH),
        power in -30i32..20,
    ) {
        let values: Vec<f32> = values.iter().map(|value| value * 2f32.powi(power)).collect();
        prop_assert_eq!(stored(CacheFormat::F32, &values), values.clone());
        let halves: Vec<f32> = values.iter().map(|&value| f16::from_f32(value).to_f32()).collect();
        prop_assert_eq!(stored(CacheFormat::F16, &values), halves);
        let largest = values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let half = largest / 127.0 / 2.0 * (1.0 + 1e-5);
        for (value, kept) in values.iter().zip(stored(CacheFormat::Int8, &values)) {
            prop_assert!((value - kept).abs() <= half, "{value} {kept} {half}");
        }
    }

    #[test]
    fn turning_twice_gives_back_and_products_stay(
        a in prop::collection::vec(-10.0f32..10.0, 64),
        b in prop::collection::vec(-10.0f32..10.0, 64),
    ) {
        let products = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let (mut turned, mut other) = (a.clone(), b.clone());
        rotate(&mut turned);
        rotate(&mut other);
        prop_assert!((products(&a, &b) - products(&turned, &other)).abs() < 1e-2);
        rotate(&mut turned);
        prop_assert!(a.iter().zip(&turned).all(|(a, b)| (a - b).abs() < 1e-4));
    }
}

#[test]
fn an_outlier_is_spread_over_the_head() {
    let mut values = [0.0; 64];
    values[5] = 8.0;
    rotate(&mut values);
    assert!(values.iter().all(|value| value.abs() == 1.0), "{values:?}");
}

#[test]
fn zeros_stay_and_nan_is_not_lost() {
    assert_eq!(stored(CacheFormat::Int8, &[0.0; WIDTH]), [0.0; WIDTH]);
    assert_eq!(stored(CacheFormat::Int8, &[1e-40; WIDTH]), [0.0; WIDTH]);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut values = [1.0; WIDTH];
        values[3] = bad;
        assert!(stored(CacheFormat::Int8, &values)[0].is_nan());
    }
}

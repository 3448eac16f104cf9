//! Functions over one row of activations, against f64.

use std::f64::consts::PI;

use kvant_testkit::Random;

use crate::{U, tables};

/// `Φ(x)` by its series about 0, all terms of one sign (Abramowitz & Stegun 26.2.11): to 1e-15 of
/// 1 for `|x| ≤ 8`.
fn normal_cdf(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > sum.abs() * 1e-18 {
        n += 2.0;
        term *= x * x / n;
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * PI).sqrt()
}

#[test]
fn gelu_is_within_2e_6() {
    let x: Vec<f32> = (-800_000..=800_000).map(|i| i as f32 * 1e-5).collect();
    let exact: Vec<f64> = x.iter().map(|&x| f64::from(x) * normal_cdf(x.into())).collect();
    for table in tables() {
        let mut got = x.clone();
        table.gelu(&mut got);
        let mut worst = (0.0, 0.0);
        for i in 0..x.len() {
            let error = (f64::from(got[i]) - exact[i]).abs();
            if error > worst.0 {
                worst = (error, x[i]);
            }
        }
        assert!(worst.0 <= 2e-6, "{}: {:e} at {}", table.level(), worst.0, worst.1);
    }
}

#[test]
fn gelu_of_special_values() {
    for table in tables() {
        for n in 1..=40 {
            let mut x = vec![f32::NAN; n];
            x[n - 1] = 0.0;
            table.gelu(&mut x);
            assert!(x[..n - 1].iter().all(|v| v.is_nan()));
            assert_eq!(x[n - 1], 0.0);
        }
        let mut x = [1e30, 50.0, f32::INFINITY, -1e30, -50.0, -0.0, 1e-40, -1e-40];
        table.gelu(&mut x);
        assert_eq!(x[..6], [1e30, 50.0, f32::INFINITY, 0.0, 0.0, 0.0], "{}", table.level());
        let mut low = [f32::NEG_INFINITY; 33];
        table.gelu(&mut low);
        assert_eq!(low, [0.0; 33], "{}", table.level());
        assert!((x[6] - 5e-41).abs() < 1e-44 && (x[7] + 5e-41).abs() < 1e-44);
    }
}

/// 1e-5 of the value: `x − max` is rounded to 3.8e-6 where it nears 87, the sum of `n` terms to
/// `n·u`, the exponential to 3e-7. Values under 1.2e-38 of the largest may be 0.
#[test]
fn softmax_is_within_1e_5() {
    let mut random = Random::new(1);
    for n in 1..=300 {
        for spread in [0.01, 1.0, 10.0, 40.0] {
            let x: Vec<f32> = (0..n).map(|_| 5.0 + random.unit() * spread).collect();
            let max = x.iter().copied().map(f64::from).fold(f64::MIN, f64::max);
            let terms: Vec<f64> = x.iter().map(|&x| (f64::from(x) - max).exp()).collect();
            let sum: f64 = terms.iter().sum();
            for table in tables() {
                let mut got = x.clone();
                table.softmax(&mut got);
                for (&got, term) in got.iter().zip(&terms) {
                    let (got, exact) = (f64::from(got), term / sum);
                    let bound = 1e-5 * exact + 1.2e-38;
                    let error = (got - exact).abs();
                    assert!(error <= bound, "{} n {n}: {got} for {exact}", table.level());
                }
            }
        }
    }
}

#[test]
fn softmax_of_special_values() {
    const LOW: f32 = f32::NEG_INFINITY;
    for table in tables() {
        table.softmax(&mut []);
        for n in 1..=40 {
            let mut x = vec![LOW; n];
            x[n / 2] = -1e30;
            table.softmax(&mut x);
            let single = (0..n).all(|i| x[i] == f32::from(u8::from(i == n / 2)));
            assert!(single, "{} n {n}: {x:?}", table.level());
            let mut x = vec![3e38; n];
            table.softmax(&mut x);
            assert!(x.iter().all(|&v| (v - 1.0 / n as f32).abs() < 1e-6), "{}", table.level());
            for bad in [f32::NAN, f32::INFINITY] {
                let mut x = vec![1.0; n];
                x[n - 1] = bad;
                table.softmax(&mut x);
                assert!(x[n - 1].is_nan() && x.iter().all(|v| v.is_nan()), "{}", table.level());
            }
            let mut x = vec![LOW; n];
            table.softmax(&mut x);
            assert!(x.iter().all(|v| v.is_nan()), "{} all masked", table.level());
        }
    }
}

/// With `M = max|x|`, `σ = √(var + eps)`, `z` the normalised value: the mean is off by at most
/// `n·u·M`, which moves `z` by that over σ and σ by no more relatively; the rest are roundings.
#[test]
fn layer_norm_stays_within_the_bound_at_every_length() {
    let mut random = Random::new(2);
    let lengths = (1..=130).chain([257, 384, 768, 1000]);
    for (n, shift) in lengths.flat_map(|n| [0.0, 1.0, 100.0].map(|shift| (n, shift))) {
        let x: Vec<f32> = (0..n).map(|_| shift + random.normal()).collect();
        let (gain, bias) = (random.normals(n), random.normals(n));
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n as f64;
        let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n as f64;
        let sigma = (variance + 1e-5).sqrt();
        let largest = x.iter().fold(0.0, |max: f64, &v| max.max(f64::from(v).abs()));
        for table in tables() {
            let mut got = x.clone();
            table.layer_norm(&mut got, &gain, &bias, 1e-5);
            for i in 0..n {
                let z = (f64::from(x[i]) - mean) / sigma;
                let (gain, bias) = (f64::from(gain[i]), f64::from(bias[i]));
                let (exact, size) = (z * gain + bias, (z * gain).abs() + bias.abs());
                let shift = (n + 6) as f64 * U * largest / sigma * (1.0 + z.abs()) * gain.abs();
                let (error, bound) = ((f64::from(got[i]) - exact).abs(), shift + 6.0 * U * size);
                let place = format!("{} n {n} at {i}", table.level());
                assert!(error <= bound, "{place}: {} for {exact}, bound {bound:e}", got[i]);
            }
        }
    }
}

/// The size of an encoder: what the bound promises in the worst case is far from what happens.
#[test]
fn layer_norm_of_384_centred_values_is_within_2e_6() {
    let mut random = Random::new(3);
    for _ in 0..50 {
        let x = random.normals(384);
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / 384.0;
        let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / 384.0;
        for table in tables() {
            let mut got = x.clone();
            table.layer_norm(&mut got, &[1.0; 384], &[0.0; 384], 1e-12);
            for (&got, &x) in got.iter().zip(&x) {
                let exact = (f64::from(x) - mean) / (variance + 1e-12).sqrt();
                assert!((f64::from(got) - exact).abs() <= 2e-6, "{}", table.level());
            }
        }
    }
}

#[test]
fn a_residual_is_added_to_every_element_with_one_rounding() {
    let mut random = Random::new(4);
    for n in 0..=130 {
        let (x, other) = (random.normals(n), random.normals(n));
        let exact: Vec<f32> = x.iter().zip(&other).map(|(x, other)| x + other).collect();
        for table in tables() {
            let mut got = x.clone();
            table.add(&mut got, &other);
            assert_eq!(got, exact, "{} n {n}", table.level());
        }
    }
}

#[test]
fn a_product_of_elements_has_one_rounding() {
    let mut random = Random::new(14);
    for n in 0..=130 {
        let (a, b) = (random.normals(n), random.normals(n));
        let exact: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a * b).collect();
        for table in tables() {
            let mut got = vec![7.0; n];
            table.multiply(&a, &b, &mut got);
            assert_eq!(got, exact, "{} n {n}", table.level());
        }
    }
}

#[test]
fn layer_norm_of_a_constant_row_is_the_bias() {
    for table in tables() {
        for n in 1..=40 {
            let (mut x, bias) = (vec![0.5; n], vec![2.0; n]);
            table.layer_norm(&mut x, &vec![3.0; n], &bias, 1e-12);
            assert_eq!(x, bias, "{} n {n}", table.level());
        }
    }
}

#[test]
fn swiglu_is_within_2e_6_of_itself() {
    let mut random = Random::new(21);
    let ends = [0.0, -0.0, 1e-30, -1e-30, 80.0, -80.0, 87.5, -87.5, 1e30, -1e30];
    for table in tables() {
        for n in (0..40).chain([1536]) {
            let mut gate: Vec<f32> = random.normals(n).iter().map(|v| v * 20.0).collect();
            gate.iter_mut().zip(ends).for_each(|(gate, end)| *gate = end);
            let up = random.normals(n);
            let mut out = vec![7.0; n];
            table.swiglu(&gate, &up, &mut out);
            for ((got, &gate), &up) in out.iter().zip(&gate).zip(&up) {
                let exact = f64::from(gate) / (1.0 + (-f64::from(gate)).exp()) * f64::from(up);
                let small = 1e-30 * f64::from(up).abs() * (1.0 + f64::from(gate).abs());
                let bound = 2e-6 * exact.abs() + small;
                assert!((f64::from(*got) - exact).abs() <= bound, "{gate} {up}: {got} {exact}");
            }
        }
        let mut out = [0.0; 2];
        table.swiglu(&[f32::NAN, 1.0], &[1.0, f32::NAN], &mut out);
        assert!(out[0].is_nan() && out[1].is_nan(), "{out:?} at {}", table.level());
    }
}

//! Distances between two vectors.

use kvant_kernels::Kernels;
use kvant_testkit::Random;

use crate::{TINY, U, tables};

const LENGTH_MAX: usize = 257;
const OFFSET_MAX: usize = 63;
/// Lengths around the sizes of registers and of unrolled steps; these meet every offset.
const EDGES: [usize; 14] = [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 129];

type Distance = fn(&Kernels, &[f32], &[f32]) -> f32;
type Term = fn(f64, f64) -> f64;

/// Name, kernel, one term of its sum in f64.
const SUMS: [(&str, Distance, Term); 3] = [
    ("dot", Kernels::dot_f32, |a, b| a * b),
    ("l2", Kernels::l2_f32, |a, b| (a - b) * (a - b)),
    ("l1", Kernels::l1_f32, |a, b| (a - b).abs()),
];

/// Every length at a few offsets, and every offset at a few lengths; both sides shift differently.
fn windows() -> impl Iterator<Item = (usize, usize, usize)> {
    let lengths = (0..=LENGTH_MAX).flat_map(|n| [0, 1, 5, 16, 63].map(|offset| (n, offset)));
    let offsets = EDGES.into_iter().flat_map(|n| (0..=OFFSET_MAX).map(move |offset| (n, offset)));
    lengths.chain(offsets).map(|(n, offset)| (n, offset, (offset * 7 + 3) % (OFFSET_MAX + 1)))
}

/// `(n + 3)·u·Σ|term|`: a term is rounded at most three times, and no order of adding `n` terms
/// rounds any of them more than `n` times (Higham, Accuracy and Stability, §4.2); the last part is
/// what underflow adds.
fn bound(n: usize, magnitude: f64) -> f64 {
    (n + 3) as f64 * (U * magnitude + TINY)
}

fn check_sums(a: &[f32], b: &[f32], place: &str) {
    for (name, kernel, term) in SUMS {
        let terms = a.iter().zip(b).map(|(&a, &b)| term(a.into(), b.into()));
        let (exact, magnitude) = terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()));
        for table in tables() {
            let got = kernel(table, a, b);
            let error = (f64::from(got) - exact).abs();
            let bound = bound(a.len(), magnitude);
            let level = table.level();
            assert!(error <= bound, "{name} {level} {place}: {got} for {exact}, bound {bound:e}");
        }
    }
}

#[test]
fn sums_stay_within_the_bound_at_every_length_and_offset() {
    let mut random = Random::new(1);
    let data = random.normals(2 * (LENGTH_MAX + OFFSET_MAX + 1));
    let (left, right) = data.split_at(data.len() / 2);
    for (n, i, j) in windows() {
        check_sums(&left[i..i + n], &right[j..j + n], &format!("n {n} at {i}, {j}"));
    }
}

#[test]
fn sums_stay_within_the_bound_for_extreme_values() {
    let extremes =
        [0.0, -0.0, f32::MIN_POSITIVE, 1e-45, -3e-42, 1e-20, 1e17, -1e17, 1.0, f32::EPSILON];
    let mut random = Random::new(2);
    for n in [1, 3, 8, 16, 31, 64, 100, 257] {
        let mut draw = || extremes[random.below(extremes.len())];
        let a: Vec<f32> = (0..n).map(|_| draw()).collect();
        let b: Vec<f32> = (0..n).map(|_| draw()).collect();
        check_sums(&a, &b, &format!("extremes, n {n}"));
    }
}

#[test]
fn a_sum_past_f32_is_infinite() {
    for table in tables() {
        let large = [f32::MAX; 40];
        assert_eq!(table.dot_f32(&large, &large), f32::INFINITY);
        assert_eq!(table.l2_f32(&large, &[0.0; 40]), f32::INFINITY);
        assert_eq!(table.l1_f32(&large, &[0.0; 40]), f32::INFINITY);
    }
}

#[test]
fn nan_anywhere_reaches_the_result() {
    for n in [1, 7, 8, 16, 17, 40, 64, 100] {
        for at in 0..n {
            let (mut a, b) = (vec![1.0; n], vec![2.0; n]);
            a[at] = f32::NAN;
            for table in tables() {
                for kernel in
                    [Kernels::dot_f32, Kernels::l2_f32, Kernels::l1_f32, Kernels::cosine_f32]
                {
                    assert!(kernel(table, &a, &b).is_nan(), "{} n {n} at {at}", table.level());
                    assert!(kernel(table, &b, &a).is_nan(), "{} n {n} at {at}", table.level());
                }
            }
        }
    }
}

/// Three sums with the relative bound of [`bound`] against `|a|·|b|`, two square roots, a quotient.
#[test]
fn cosine_stays_within_the_bound_at_every_length() {
    let mut random = Random::new(3);
    let data = random.normals(2 * (LENGTH_MAX + OFFSET_MAX + 1));
    let (left, right) = data.split_at(data.len() / 2);
    for (n, i, j) in windows() {
        let (a, b) = (&left[i..i + n], &right[j..j + n]);
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        let exact = if n == 0 { 0.0 } else { dot(a, b) / (dot(a, a) * dot(b, b)).sqrt() };
        for table in tables() {
            let error = (f64::from(table.cosine_f32(a, b)) - exact).abs();
            assert!(error <= 2.0 * (n + 4) as f64 * U, "{} n {n}: {error:e}", table.level());
        }
    }
}

#[test]
fn cosine_of_parallel_and_zero_vectors_is_in_range() {
    let mut random = Random::new(4);
    for n in [1, 8, 33, 384] {
        let a = random.normals(n);
        let (zero, opposite) = (vec![0.0; n], a.iter().map(|v| -3.0 * v).collect::<Vec<_>>());
        for table in tables() {
            assert_eq!(table.cosine_f32(&a, &zero), 0.0);
            assert_eq!(table.cosine_f32(&zero, &zero), 0.0);
            let (same, back) = (table.cosine_f32(&a, &a), table.cosine_f32(&a, &opposite));
            assert!((1.0 - 1e-6..=1.0).contains(&same), "{same}");
            assert!((-1.0..=-1.0 + 1e-4).contains(&back), "{back}");
        }
    }
}

/// Products of the two norms leave the range of f32 long before the norms do.
#[test]
fn cosine_of_large_and_small_vectors_is_right() {
    for table in tables() {
        for size in [1e-17f32, 1e18] {
            let cosine = table.cosine_f32(&[size, 0.0, size], &[size, size, 0.0]);
            assert!((cosine - 0.5).abs() < 1e-6, "{} {size}: {cosine}", table.level());
        }
    }
}

#[test]
fn the_integer_dot_is_exact_at_every_length_and_offset() {
    let mut random = Random::new(5);
    let mut codes =
        || -> Vec<i8> { (0..=LENGTH_MAX + OFFSET_MAX).map(|_| random.bits() as i8).collect() };
    let (left, right) = (codes(), codes());
    for (n, i, j) in windows() {
        let (a, b) = (&left[i..i + n], &right[j..j + n]);
        let exact: i64 = a.iter().zip(b).map(|(&a, &b)| i64::from(a) * i64::from(b)).sum();
        for table in tables() {
            assert_eq!(i64::from(table.dot_i8(a, b)), exact, "{} n {n} at {i}", table.level());
        }
    }
}

#[test]
fn the_integer_dot_is_exact_at_its_extremes() {
    for n in [1, 2, 15, 16, 17, 63, 64, 65, 384, 4096, (1 << 17) - 1] {
        for (a, b) in [(-128, -128), (-128, 127), (127, 127), (0, -128), (127, -128)] {
            let (left, right) = (vec![a; n], vec![b; n]);
            let exact = i64::from(a) * i64::from(b) * n as i64;
            for table in tables() {
                let got = i64::from(table.dot_i8(&left, &right));
                assert_eq!(got, exact, "{} {a} x {b}, n {n}", table.level());
            }
        }
    }
}

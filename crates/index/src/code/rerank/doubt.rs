//! How many neighbours may be missing among candidates.
//!
//! The candidates are the rows of the least estimates. Measured again, they say what a distance is
//! on average for an estimate (a line of least squares) and how far off it is (`σ`); how they lie
//! says how many rows there are for estimates beyond the last one, `e`: their number is taken to
//! grow like `exp(g·x)` as it did towards `e`, with `1/g = e − mean`. With `T` the `k`-th of the
//! distances measured, a row of estimate `x` is nearer with probability `Φ((T − line(x))/σ)`. The
//! expected number of such rows beyond the last of `n` candidates is then
//!
//! ```text
//! n·∫₀^∞ g·exp(g·y)·Φ(−z − y·b/σ) dy = n·(exp(γ²/2 − γ·z)·Φ(γ − z) − Φ(−z)),
//! z = (line(e) − T)/σ,  γ = g·σ/b,  b the slope of the line
//! ```

/// Standard errors that the slope is taken less than it seems.
const CAUTION: f64 = 1.0;

/// The expected number of the `k` nearest that are not among the candidates, of which `pairs` has
/// estimates, rising, and distances; infinite where they tell nothing.
pub(super) fn missing(pairs: &[(f32, f32)], k: usize) -> f64 {
    let count = pairs.len();
    if k == 0 || count <= k.max(2) {
        return f64::INFINITY;
    }
    let n = count as f64;
    let wide = || pairs.iter().map(|&(x, y)| (f64::from(x), f64::from(y)));
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / n;
    let (x, y) = (mean(&mut wide().map(|pair| pair.0)), mean(&mut wide().map(|pair| pair.1)));
    let sum = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>();
    let xx = sum(&mut wide().map(|pair| (pair.0 - x).powi(2)));
    let xy = sum(&mut wide().map(|pair| (pair.0 - x) * (pair.1 - y)));
    let yy = sum(&mut wide().map(|pair| (pair.1 - y).powi(2)));
    if yy == 0.0 {
        // All are as far: so are whatever others there are.
        return 0.0;
    }
    let off = ((yy - xy * xy / xx).max(0.0) / (n - 2.0)).sqrt();
    let slope = xy / xx - CAUTION * off / xx.sqrt();
    // Not so of NaN either.
    let told = xx > 0.0 && slope > 0.0 && xx.is_finite() && yy.is_finite();
    if !told {
        return f64::INFINITY;
    }
    let last = wide().next_back().map_or(x, |pair| pair.0);
    let mut distances: Vec<f32> = pairs.iter().map(|pair| pair.1).collect();
    let (_, kth, _) = distances.select_nth_unstable_by(k - 1, f32::total_cmp);
    let margin = y + slope * (last - x) - f64::from(*kth);
    // A rounding of what was measured at least.
    let off = off.max(f64::from(f32::EPSILON) * y.abs()).max(f64::MIN_POSITIVE);
    let (z, gamma) = (margin / off, off / ((last - x) * slope));
    let beyond = (gamma * gamma / 2.0 - gamma * z).exp() * below(gamma - z) - below(-z);
    n * beyond.max(0.0)
}

/// `Φ`, to 1e-7 (Abramowitz & Stegun, 26.2.17).
fn below(z: f64) -> f64 {
    const TERMS: [f64; 5] =
        [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let series = TERMS.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    let tail = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * series;
    if z < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use kvant_testkit::Random;

    use super::*;

    #[test]
    fn the_normal_distribution_is_met() {
        for (z, expected) in [(0.0, 0.5), (1.0, 0.841_344_746), (-2.0, 0.022_750_132)] {
            assert!((below(z) - expected).abs() < 1e-7, "{z}");
        }
        assert!(below(-40.0) < 1e-7 && below(40.0) > 1.0 - 1e-7);
    }

    #[test]
    fn what_tells_nothing_is_doubted_and_what_is_equal_is_not() {
        assert_eq!(missing(&[(1.0, 1.0), (2.0, 2.0)], 2), f64::INFINITY);
        assert_eq!(missing(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0), (1.0, 0.0)], 2), f64::INFINITY);
        assert_eq!(missing(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0), (4.0, 0.0)], 2), f64::INFINITY);
        assert_eq!(missing(&[(1.0, 7.0); 9], 3), 0.0);
        for odd in [f32::NAN, f32::INFINITY] {
            assert_eq!(
                missing(&[(1.0, odd), (2.0, 2.0), (3.0, 3.0), (4.0, 4.0)], 2),
                f64::INFINITY
            );
        }
        let exact: Vec<(f32, f32)> = (0..40u8).map(|x| (f32::from(x), f32::from(x))).collect();
        assert_eq!(missing(&exact, 10), 0.0);
    }

    /// Rows that grow dense as real ones do, `exp(distance)` of them, with estimates that are off:
    /// where little is said to be missing little is, and codes that are good are soon believed.
    #[test]
    fn little_is_missing_where_little_is_said_to_be() {
        const K: usize = 10;
        const TIMES: usize = 50;
        let mut random = Random::new(4);
        for (off, most) in [(0.0, 40), (0.1, 50), (0.3, 80), (1.0, 1500), (2.0, 5000)] {
            let (mut missed, mut measured) = (0, 0);
            for _ in 0..TIMES {
                let far = |random: &mut Random| 9.0 + random.unit().max(1e-9).ln();
                let row =
                    |distance, random: &mut Random| (distance + off * random.normal(), distance);
                let mut rows: Vec<(f32, f32)> =
                    (0..5000).map(|_| row(far(&mut random), &mut random)).collect();
                rows.sort_by(|a, b| a.0.total_cmp(&b.0));
                let mut all: Vec<f32> = rows.iter().map(|row| row.1).collect();
                all.sort_by(f32::total_cmp);
                let mut count = 40;
                while missing(&rows[..count], K) > 0.02 * K as f64 && count < rows.len() {
                    count = rows.len().min(2 * count);
                }
                let found = rows[..count].iter().filter(|row| row.1 <= all[K - 1]).count();
                missed += K.saturating_sub(found);
                measured += count;
            }
            assert!(missed * 100 < 3 * K * TIMES, "off by {off}: {missed} missed");
            assert!(measured <= most * TIMES, "off by {off}: {measured} measured");
        }
    }
}

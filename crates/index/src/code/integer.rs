//! A query in whole numbers, for rows of bytes.

use kvant_kernels::{Kernels, Picked};

/// The largest magnitude of the two parts together.
const WIDE: f64 = 127.0 * 128.0;

/// A query as `scale · (128·high + low)`: 15 bits, so that rows of 8 bits lose nothing to it.
#[derive(Debug)]
pub(crate) struct Integer {
    scale: f64,
    high: Vec<i8>,
    /// Empty where the high part is all there is.
    low: Vec<i8>,
    /// Sum of all numbers.
    sum: i64,
}

impl Integer {
    /// Rounds `values`; where all are bytes times `grid`, nothing is rounded.
    pub(crate) fn new(values: &[f64], grid: Option<f64>) -> Self {
        let fits = |v: f64| v.fract() == 0.0 && (-128.0..=127.0).contains(&v);
        let on_grid = |grid: &f64| values.iter().all(|v| fits(v / grid));
        if let Some(grid) = grid.filter(on_grid) {
            return Self::narrow(values.iter().map(|v| (v / grid) as i8).collect(), grid);
        }
        let most = values.iter().fold(0.0f64, |most, v| most.max(v.abs()));
        let scale = if most > 0.0 { most / WIDE } else { 1.0 };
        let wide: Vec<i32> = values.iter().map(|v| (v / scale).round() as i32).collect();
        let high: Vec<i8> = wide.iter().map(|w| ((w + 64) >> 7) as i8).collect();
        let low = wide.iter().zip(&high).map(|(w, &h)| (w - 128 * i32::from(h)) as i8).collect();
        Self { scale, high, low, sum: wide.iter().map(|&w| i64::from(w)).sum() }
    }

    /// The query `scale · codes`.
    pub(crate) fn narrow(codes: Vec<i8>, scale: f64) -> Self {
        let sum = codes.iter().map(|&code| i32::from(code)).sum::<i32>().into();
        Self { scale, high: codes, low: Vec::new(), sum }
    }

    /// `Σ (byte − 128)·query` over each of at most 256 rows, exact before the scale.
    pub(crate) fn products(
        &self,
        kernels: &Kernels,
        rows: Picked<'_, u8>,
        mut give: impl FnMut(usize, f64),
        count: usize,
    ) {
        let (mut high, mut low) = ([0; super::NUMBERS], [0; super::NUMBERS]);
        kernels.pick_u8(rows, &self.high, &mut high[..count]);
        let factor = if self.low.is_empty() { 1 } else { 128 };
        if !self.low.is_empty() {
            kernels.pick_u8(rows, &self.low, &mut low[..count]);
        }
        for at in 0..count {
            let sum = i64::from(high[at]) * factor + i64::from(low[at]) - 128 * self.sum;
            give(at, sum as f64 * self.scale);
        }
    }
}

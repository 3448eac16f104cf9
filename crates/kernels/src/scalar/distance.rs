//! Distances between two vectors, 16 independent partial sums so that compilers vectorise them.

const LANES: usize = 16;

#[inline]
fn fold(a: &[f32], b: &[f32], step: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a_body, a_tail) = a.split_at(a.len() - a.len() % LANES);
    let (b_body, b_tail) = b.split_at(a_body.len());
    for (x, y) in a_body.chunks_exact(LANES).zip(b_body.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += step(x[lane], y[lane]);
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(&x, &y)| step(x, y)).sum();
    sums.iter().sum::<f32>() + tail
}

pub(crate) fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, |x, y| x * y)
}

pub(crate) fn l2_f32(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, |x, y| (x - y) * (x - y))
}

pub(crate) fn l1_f32(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, |x, y| (x - y).abs())
}

/// `Σ a·b`, `Σ a·a`, `Σ b·b`.
pub(crate) fn products_f32(a: &[f32], b: &[f32]) -> [f32; 3] {
    [dot_f32(a, b), dot_f32(a, a), dot_f32(b, b)]
}

pub(crate) fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&x, &y)| i32::from(x) * i32::from(y)).sum()
}

//! The Hadamard matrix that spreads outliers of keys over a head.

/// Multiplies `values`, a power of two of them, by the normalised Hadamard matrix of their number
/// (Sylvester's construction), in `n · log₂ n` additions. It is orthogonal and its own inverse, so
/// products of two rotated vectors are those of the plain ones.
pub(crate) fn rotate(values: &mut [f32]) {
    let len = values.len();
    let mut half = 1;
    while half < len {
        for block in values.chunks_exact_mut(2 * half) {
            let (first, second) = block.split_at_mut(half);
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (len as f32).sqrt();
    for value in values {
        *value *= scale;
    }
}

//! Random numbers that are a function of a seed and a place.

/// Uniform in 0..1, a multiple of 2⁻⁵³: the number `index` of the stream `seed` of `SplitMix64`
/// (Steele et al., 2014), which can be entered anywhere. Not for secrets.
pub(super) fn unit(seed: u64, index: u64) -> f64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 53) as f64
}

//! Polynomials behind the vectorised transcendental functions, and what they are exact to.

/// `exp(r)` for `|r| ≤ ln 2 / 2`: minimax in relative error with the first two terms kept exact,
/// 1.1e-7 before rounding. The argument is split as `x = n·ln 2 + r` (Cody & Waite, 1980).
pub(crate) const EXP: [f32; 6] =
    [1.0, 1.0, 0.499_992_3, 0.166_671_14, 0.041_890_137, 0.008_312_598];

/// Below this `exp(x)`, at most 1.2e-38, is given as 0.
pub(crate) const EXP_MIN: f32 = -87.336_54;

/// `2^r` for `|r| ≤ ½`: minimax in relative error, 7.5e-5, a 26th part of a rounding to bf16.
pub(crate) const EXP2: [f32; 4] = [0.999_928_06, 0.693_261, 0.242_611_13, 0.055_171_67];

/// Upper bits of ln 2: `n · LN2_HIGH` is exact for the `n` that occur.
pub(crate) const LN2_HIGH: f32 = 355.0 / 512.0;
/// `ln 2 − LN2_HIGH`.
pub(crate) const LN2_LOW: f32 = -0.000_212_194_44;

/// From here on `x·Φ(−x) ≤ 1.1e-7` counts as 0.
pub(crate) const GELU_END: f32 = 5.5;

/// `Φ(−a)` for `0 ≤ a ≤ 5.5` in `t = a·2/5.5 − 1`: minimax of `(a + 0.02)·error`, 1.3e-7.
///
/// GELU is `x·Φ(x) = max(x, 0) − |x|·Φ(−|x|)`: the second term is at most 0.17, so that neither
/// branch cancels and large values stay exact.
pub(crate) const GELU: [f32; 16] = [
    0.002_979_773,
    -0.025_008_084,
    0.094_558_11,
    -0.206_807_32,
    0.271_885_13,
    -0.177_171_93,
    -0.051_355_39,
    0.218_451_41,
    -0.163_230_43,
    -0.034_908_49,
    0.133_552_8,
    -0.049_205_102,
    -0.043_845_765,
    0.030_315_008,
    0.005_453_324_4,
    -0.005_663_063,
];

/// Beyond this magnitude of the gate its power is as good as 0, or as large as need be: 2¹²⁶ and
/// less, so that nothing overflows.
pub(crate) const SWIGLU_END: f32 = 87.0;

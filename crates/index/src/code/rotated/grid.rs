//! The levels that a code of few bits stands for.

use kvant_kernels::Packing;

/// Bits of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// Signs (`RaBitQ`).
    One,
    /// Four Lloyd–Max levels.
    Two,
    /// Sixteen Lloyd–Max levels.
    Four,
    /// 255 evenly spaced levels.
    Eight,
}

/// The positive levels that lose least on a standard normal distribution (Max, 1960, table I),
/// times 127 over the largest, and what lies half way between them on the distribution itself.
const LEVELS_TWO: [i8; 2] = [38, 127];
const EDGES_TWO: [f32; 1] = [0.981_6];
const LEVELS_FOUR: [i8; 8] = [6, 18, 31, 44, 58, 75, 96, 127];
const EDGES_FOUR: [f32; 7] = [0.258_2, 0.522_4, 0.799_6, 1.099, 1.437, 1.844, 2.401];

impl Width {
    /// Every width.
    pub const ALL: [Self; 4] = [Self::One, Self::Two, Self::Four, Self::Eight];

    /// The width of so many bits.
    pub fn of(bits: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|width| width.bits() == bits)
    }

    /// Bits of a code.
    pub fn bits(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// Bytes of `dim` codes.
    pub fn bytes(self, dim: usize) -> usize {
        (dim * self.bits()).div_ceil(8)
    }

    /// How codes share bytes, where they meet a table of levels.
    pub(super) fn packing(self) -> Option<Packing> {
        match self {
            Self::Two => Some(Packing::Two),
            Self::Four => Some(Packing::Four),
            Self::One | Self::Eight => None,
        }
    }

    fn half(self) -> (&'static [i8], &'static [f32]) {
        match self {
            Self::One => (&[1], &[]),
            Self::Two => (&LEVELS_TWO, &EDGES_TWO),
            Self::Four => (&LEVELS_FOUR, &EDGES_FOUR),
            Self::Eight => (&[], &[]),
        }
    }

    /// The levels of codes of up to 4 bits, plus 128; they rise with the codes.
    pub(super) fn levels(self) -> [u8; 16] {
        let (half, _) = self.half();
        let level = |code: usize| match code.checked_sub(half.len()) {
            Some(place) => i16::from(half[place]),
            None => -i16::from(half[half.len() - 1 - code]),
        };
        let count = 2 * half.len();
        std::array::from_fn(|code| if count == 0 { 128 } else { (level(code % count) + 128) as u8 })
    }

    /// Codes `turned` into `bytes`, and writes the levels the codes stand for.
    pub(super) fn encode(self, turned: &[f32], bytes: &mut [u8], levels: &mut [i8]) {
        bytes.fill(0);
        let square: f64 = turned.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        if self == Self::Eight {
            let largest = turned.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            let per_level = if largest > 0.0 { 127.0 / f64::from(largest) } else { 0.0 };
            for ((&x, byte), level) in turned.iter().zip(bytes).zip(levels) {
                *level = (f64::from(x) * per_level).round() as i8;
                *byte = (i16::from(*level) + 128) as u8;
            }
            return;
        }
        let unit = if square > 0.0 { (turned.len() as f64 / square).sqrt() } else { 0.0 };
        let ((half, edges), bits) = (self.half(), self.bits());
        for (at, (&x, level)) in turned.iter().zip(levels).enumerate() {
            let x = (f64::from(x) * unit) as f32;
            let place = edges.iter().filter(|&&edge| x.abs() > edge).count();
            let code = if x < 0.0 { half.len() - 1 - place } else { half.len() + place };
            *level = if x < 0.0 { -half[place] } else { half[place] };
            bytes[at * bits / 8] |= (code << (at * bits % 8)) as u8;
        }
    }

    /// The levels that `bytes` stand for.
    pub(super) fn decode(self, bytes: &[u8], dim: usize) -> Vec<i8> {
        if self == Self::Eight {
            return bytes.iter().map(|&byte| (i16::from(byte) - 128).max(-127) as i8).collect();
        }
        let (levels, bits) = (self.levels(), self.bits());
        let code = |at: usize| usize::from(bytes[at * bits / 8] >> (at * bits % 8)) % (1 << bits);
        (0..dim).map(|at| (i16::from(levels[code(at)]) - 128) as i8).collect()
    }
}

#[cfg(test)]
mod tests {
    use kvant_testkit::Random;

    use super::*;

    #[test]
    fn codes_come_back_and_lose_what_they_should() {
        let mut random = Random::new(4);
        // Mean squared error of the best scale, of a standard normal distribution.
        for (width, most) in
            [(Width::One, 0.37), (Width::Two, 0.12), (Width::Four, 0.0101), (Width::Eight, 1e-4)]
        {
            for dim in [1, 7, 8, 63, 1 << 14] {
                let values = random.normals(dim);
                let (mut bytes, mut levels) = (vec![255; width.bytes(dim)], vec![0; dim]);
                width.encode(&values, &mut bytes, &mut levels);
                assert_eq!(width.decode(&bytes, dim), levels, "{width:?} {dim}");
                let pairs = || values.iter().zip(&levels).map(|(&x, &l)| (x, f32::from(l)));
                let factor = pairs().map(|(x, l)| x * l).sum::<f32>()
                    / pairs().map(|(_, l)| l * l).sum::<f32>();
                let loss: f32 = pairs().map(|(x, l)| (x - factor * l).powi(2)).sum();
                let size: f32 = values.iter().map(|x| x * x).sum();
                assert!(dim < 1000 || loss < most * size, "{width:?}: {}", loss / size);
            }
        }
    }
}

//! The levels that a code of few bits stands for.

use kvant_kernels::{DenseWidth, Packing};

use super::coder::Shared;

/// Bits of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// Signs (`RaBitQ`).
    One,
    /// Four Lloyd–Max levels.
    Two,
    /// Eight Lloyd–Max levels.
    Three,
    /// Sixteen Lloyd–Max levels.
    Four,
    /// 32 evenly spaced levels.
    Five,
    /// 64 evenly spaced levels.
    Six,
    /// 128 evenly spaced levels.
    Seven,
    /// 255 evenly spaced levels.
    Eight,
}

/// The positive levels that lose least on a standard normal distribution (Max, 1960, table I),
/// times 127 (3 bits: 63) over the largest, and what lies half way between them on the distribution
/// itself.
const LEVELS_TWO: [i8; 2] = [38, 127];
const EDGES_TWO: [f32; 1] = [0.981_6];
const LEVELS_THREE: [i8; 4] = [7, 22, 39, 63];
const EDGES_THREE: [f32; 3] = [0.500_6, 1.050, 1.748];
const LEVELS_FOUR: [i8; 8] = [6, 18, 31, 44, 58, 75, 96, 127];
const EDGES_FOUR: [f32; 7] = [0.258_2, 0.522_4, 0.799_6, 1.099, 1.437, 1.844, 2.401];

/// How far apart evenly spaced levels lose least on a standard normal distribution (Max, 1960,
/// table II), and what is tried around it for each row.
const STEPS: [f64; 3] = [0.1881, 0.1041, 0.056_9];
const TRIED: [f64; 8] = [0.68, 0.76, 0.84, 0.92, 1.0, 1.08, 1.18, 1.3];

impl Width {
    /// Every width.
    pub const ALL: [Self; 8] = [
        Self::One,
        Self::Two,
        Self::Three,
        Self::Four,
        Self::Five,
        Self::Six,
        Self::Seven,
        Self::Eight,
    ];

    /// The width of so many bits.
    pub fn of(bits: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|width| width.bits() == bits)
    }

    /// Bits of a code.
    pub fn bits(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
            Self::Four => 4,
            Self::Five => 5,
            Self::Six => 6,
            Self::Seven => 7,
            Self::Eight => 8,
        }
    }

    /// Bytes of `dim` codes.
    pub fn bytes(self, dim: usize) -> usize {
        match self.shared() {
            Shared::Dense(dense) => dense.bytes(dim),
            Shared::Bits | Shared::Packed(_) | Shared::Bytes => (dim * self.bits()).div_ceil(8),
        }
    }

    /// How codes share bytes.
    pub(super) fn shared(self) -> Shared {
        match self {
            Self::One => Shared::Bits,
            Self::Two => Shared::Packed(Packing::Two),
            Self::Three => Shared::Dense(DenseWidth::Three),
            Self::Four => Shared::Packed(Packing::Four),
            Self::Five => Shared::Dense(DenseWidth::Five),
            Self::Six => Shared::Dense(DenseWidth::Six),
            Self::Seven => Shared::Dense(DenseWidth::Seven),
            Self::Eight => Shared::Bytes,
        }
    }

    /// The positive levels and what lies between them, where they are not evenly spaced.
    fn half(self) -> (&'static [i8], &'static [f32]) {
        match self {
            Self::One => (&[1], &[]),
            Self::Two => (&LEVELS_TWO, &EDGES_TWO),
            Self::Three => (&LEVELS_THREE, &EDGES_THREE),
            Self::Four => (&LEVELS_FOUR, &EDGES_FOUR),
            Self::Five | Self::Six | Self::Seven | Self::Eight => (&[], &[]),
        }
    }

    /// What levels are counted from where a code meets a table.
    fn middle(self) -> i16 {
        if matches!(self.shared(), Shared::Dense(_)) { 64 } else { 128 }
    }

    /// The levels of codes of up to 4 bits, plus 128 (3 bits: 64); they rise with the codes.
    pub(super) fn levels(self) -> [u8; 16] {
        let (half, _) = self.half();
        let level = |code: usize| match code.checked_sub(half.len()) {
            Some(place) => i16::from(half[place]),
            None => -i16::from(half[half.len() - 1 - code]),
        };
        let (count, middle) = (2 * half.len(), self.middle());
        let level = |code: usize| if count == 0 { middle } else { level(code % count) + middle };
        std::array::from_fn(|code| level(code) as u8)
    }

    /// The level of what a kernel meets, `step·met − shift`.
    pub(super) fn line(self) -> (i64, i64) {
        match self {
            Self::Five | Self::Six | Self::Seven => (2, (1 << self.bits()) - 1),
            Self::One | Self::Two | Self::Three | Self::Four | Self::Eight => {
                (1, self.middle().into())
            }
        }
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
        if let Shared::Dense(dense) = self.shared()
            && self != Self::Three
        {
            let step = self.step(turned, square);
            for (at, (&x, level)) in turned.iter().zip(levels).enumerate() {
                let code = self.even(x, step);
                *level = self.odd(code);
                dense.put(bytes, turned.len(), at, code);
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
            match self.shared() {
                Shared::Dense(dense) => dense.put(bytes, turned.len(), at, code as u8),
                Shared::Bits | Shared::Packed(_) | Shared::Bytes => {
                    bytes[at * bits / 8] |= (code << (at * bits % 8)) as u8;
                }
            }
        }
    }

    /// The evenly spaced code of a value.
    fn even(self, x: f32, per_step: f64) -> u8 {
        let half = (1 << (self.bits() - 1)) as f64;
        (f64::from(x) * per_step + half).floor().clamp(0.0, 2.0 * half - 1.0) as u8
    }

    /// The level of an evenly spaced code: an odd number.
    fn odd(self, code: u8) -> i8 {
        (2 * i16::from(code) - ((1 << self.bits()) - 1)) as i8
    }

    /// One over the step whose levels lie nearest in direction to `turned`, of those tried.
    fn step(self, turned: &[f32], square: f64) -> f64 {
        if square <= 0.0 {
            return 0.0;
        }
        let per_unit = (turned.len() as f64 / square).sqrt();
        let near = |per_step: f64| {
            let (mut product, mut size) = (0.0f64, 0.0f64);
            for &x in turned {
                let level = f64::from(self.odd(self.even(x, per_step)));
                product += f64::from(x) * level;
                size += level * level;
            }
            product * product.abs() / size
        };
        let tried = TRIED.map(|part| per_unit / (STEPS[self.bits() - 5] * part));
        let best =
            tried.into_iter().map(|step| (near(step), step)).max_by(|a, b| a.0.total_cmp(&b.0));
        best.map_or(0.0, |(_, step)| step)
    }

    /// The levels that `bytes` stand for.
    pub(super) fn decode(self, bytes: &[u8], dim: usize) -> Vec<i8> {
        if self == Self::Eight {
            return bytes.iter().map(|&byte| (i16::from(byte) - 128).max(-127) as i8).collect();
        }
        let (levels, bits, middle) = (self.levels(), self.bits(), self.middle());
        let level = |code: u8| (i16::from(levels[usize::from(code) % 16]) - middle) as i8;
        match self.shared() {
            Shared::Dense(dense) if self == Self::Three => {
                (0..dim).map(|at| level(dense.code(bytes, dim, at))).collect()
            }
            Shared::Dense(dense) => {
                (0..dim).map(|at| self.odd(dense.code(bytes, dim, at))).collect()
            }
            Shared::Bits | Shared::Packed(_) | Shared::Bytes => {
                let code = |at: usize| bytes[at * bits / 8] >> (at * bits % 8) & ((1 << bits) - 1);
                (0..dim).map(|at| level(code(at))).collect()
            }
        }
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
        // Those of Max and 6 % for the sample.
        let losses = [0.37, 0.12, 0.0366, 0.0101, 0.0037, 0.0011, 0.000_322, 1e-4];
        for (width, most) in Width::ALL.into_iter().zip(losses) {
            for dim in [1, 7, 8, 63, 130, 1 << 14] {
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

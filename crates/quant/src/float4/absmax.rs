//! Scales of blocks, stored plainly or quantized once more.

use crate::LayoutError;

/// Scales that share a scale of their own when they are quantized once more.
pub const NESTED_BLOCK: usize = 256;

/// The scales of a [`Float4Matrix`](crate::Float4Matrix), one per block.
#[derive(Clone, Debug, PartialEq)]
pub enum Absmax {
    /// In f32.
    Plain(Vec<f32>),
    /// `map[code] · scale + offset` with a scale for every [`NESTED_BLOCK`] codes:
    /// 0.127 instead of 0.5 bits per weight in blocks of 64 (Dettmers et al., "`QLoRA`", 2023, §3).
    Double {
        /// Places in the map, one per block.
        codes: Vec<u8>,
        /// `nested_absmax` of a file, one per [`NESTED_BLOCK`] codes.
        scales: Vec<f32>,
        /// `nested_offset` of a file: the mean of all scales.
        offset: f32,
        /// `nested_quant_map` of a file: [`dynamic_map`], but for its last bits, which hang on
        /// the machine that the file is from.
        map: Box<[f32; 256]>,
    },
}

impl Absmax {
    /// Quantizes finite scales once more: their mean becomes the offset.
    pub(super) fn double(absmax: &[f32]) -> Self {
        let map = dynamic_map();
        let sum: f64 = absmax.iter().copied().map(f64::from).sum();
        let offset = (sum / absmax.len().max(1) as f64) as f32;
        let mut codes = Vec::with_capacity(absmax.len());
        let mut scales = Vec::with_capacity(absmax.len().div_ceil(NESTED_BLOCK));
        for group in absmax.chunks(NESTED_BLOCK) {
            let scale = group.iter().fold(0.0f32, |max, v| max.max((v - offset).abs()));
            scales.push(scale);
            let place = |v: &f32| if scale > 0.0 { (v - offset) / scale } else { 0.0 };
            codes.extend(group.iter().map(|v| nearest(&map, place(v))));
        }
        Self::Double { codes, scales, offset, map: Box::new(map) }
    }

    /// Checks the lengths for this many blocks, and that nested scales are finite.
    pub(super) fn check(&self, blocks: usize) -> Result<(), LayoutError> {
        let lengths = match self {
            Self::Plain(scales) => [("absmax", blocks, scales.len()); 2],
            Self::Double { codes, scales, .. } => [
                ("absmax", blocks, codes.len()),
                ("nested absmax", blocks.div_ceil(NESTED_BLOCK), scales.len()),
            ],
        };
        for (part, expected, got) in lengths {
            if expected != got {
                return Err(LayoutError::Length { part, expected, got });
            }
        }
        Ok(())
    }

    /// The scales that are stored here, in f32.
    pub fn scales(&self) -> Vec<f32> {
        match self {
            Self::Plain(scales) => scales.clone(),
            Self::Double { codes, scales, offset, map } => {
                let groups = codes.chunks(NESTED_BLOCK).zip(scales);
                let restore = |(group, scale): (&[u8], &f32)| -> Vec<f32> {
                    group.iter().map(|&code| map[usize::from(code)] * scale + offset).collect()
                };
                groups.flat_map(restore).collect()
            }
        }
    }

    /// The map, if it is not [`dynamic_map`] to the last bit.
    pub fn other_map(&self) -> Option<&[f32]> {
        let same = |map: &[f32; 256]| map.map(f32::to_bits) == dynamic_map().map(f32::to_bits);
        match self {
            Self::Double { map, .. } if !same(map) => Some(&map[..]),
            Self::Plain(_) | Self::Double { .. } => None,
        }
    }

    /// Bytes as stored; the map counts where it is another than [`dynamic_map`].
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Plain(scales) => 4 * scales.len(),
            Self::Double { codes, scales, .. } => {
                let map = self.other_map().map_or(0, <[f32]>::len);
                codes.len() + 4 * (scales.len() + 1 + map)
            }
        }
    }
}

/// The 256 levels of the dynamic 8-bit map, ascending: in the decade `10^(i − 6)` to
/// `10^(i − 5)`, `i` from 0 to 6, the middles of `2^i` equal steps, of both signs; 0 and 1
/// (Dettmers, "8-Bit Approximations for Parallelism in Deep Learning", 2016). `nested_quant_map`
/// of a file.
pub fn dynamic_map() -> [f32; 256] {
    let mut map = [0.0; 256];
    let mut at = 0;
    for (i, decade) in [1e-6f32, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0].into_iter().enumerate() {
        let steps = 1usize << i;
        for k in 0..steps {
            let middle = f32::midpoint(boundary(k, steps), boundary(k + 1, steps));
            map[at] = decade * middle;
            map[at + 1] = -(decade * middle);
            at += 2;
        }
    }
    map[at + 1] = 1.0;
    map.sort_by(f32::total_cmp);
    map
}

/// Place `k` of `steps` equal steps from 0.1 to 1, counted from the nearer end and rounded once
/// (the `linspace` of torch on processors with fused multiplication).
fn boundary(k: usize, steps: usize) -> f32 {
    let step = (1.0f32 - 0.1) / steps as f32;
    if k < steps.div_ceil(2) {
        step.mul_add(k as f32, 0.1)
    } else {
        (-step).mul_add((steps - k) as f32, 1.0)
    }
}

/// The code of the level nearest to `place`; the lower of two equally near.
fn nearest(map: &[f32; 256], place: f32) -> u8 {
    let above = map.partition_point(|&level| level < place);
    let below = above == map.len() || above > 0 && place - map[above - 1] <= map[above] - place;
    (above - usize::from(below)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_symmetric_but_for_one() {
        let map = dynamic_map();
        assert!(map.windows(2).all(|pair| pair[0] < pair[1]), "{map:?}");
        assert_eq!((map[127], map[255]), (0.0, 1.0));
        for i in 0..127 {
            assert_eq!(map[i], -map[254 - i]);
        }
        assert!((map[254] - (1.0 - 0.9 / 128.0)).abs() < 1e-6);
        // All bits, as torch 2.15 computes them on x86-64 with `create_dynamic_map`'s steps.
        let mix = |sum: u32, v: &f32| sum.wrapping_mul(31).wrapping_add(v.to_bits());
        assert_eq!(map.iter().fold(0, mix), 0xA441_6A6C);
    }

    #[test]
    fn scales_come_back_within_half_a_step_of_the_map() {
        let mut random = kvant_testkit::Random::new(11);
        let absmax: Vec<f32> = random.normals(700).iter().map(|v| 0.05 + v.abs() * 0.02).collect();
        let double = Absmax::double(&absmax);
        double.check(700).unwrap();
        let Absmax::Double { scales, .. } = &double else { unreachable!("doubly quantized") };
        assert_eq!((scales.len(), double.size_bytes()), (3, 700 + 12 + 4));
        for (index, (exact, got)) in absmax.iter().zip(double.scales()).enumerate() {
            let bound = 0.00704 * scales[index / NESTED_BLOCK] + 1e-7;
            assert!((exact - got).abs() <= bound, "{exact} came back {got}");
        }
        let same = Absmax::double(&[0.25; 300]);
        assert_eq!(same.scales(), [0.25; 300]);
        assert_eq!(Absmax::double(&[]).scales(), [0.0; 0]);
    }
}

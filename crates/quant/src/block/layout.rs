//! Where codes lie in the bytes of a block.

use super::group::Factors;
use super::{BlockFormat, STEPS_MAX};

/// Some bits of every code of a block. The bytes come in runs of `width`: the first `width` codes
/// lie in the lowest `bits` of a run's bytes, the next `width` above them, and so on.
#[derive(Clone, Copy, Debug)]
struct Plane {
    /// First byte in the block.
    at: usize,
    /// Bits of a code that lie here: 1, 2, 4 or 8.
    bits: usize,
    /// Bytes of a run.
    width: usize,
    /// Place of the lowest of these bits in the code.
    shift: usize,
}

const fn plane(at: usize, bits: usize, width: usize, shift: usize) -> Plane {
    Plane { at, bits, width, shift }
}

impl Plane {
    fn read(self, block: &[u8], codes: &mut [u8]) {
        let Self { at, bits, width, shift } = self;
        let mask = 0xFF >> (8 - bits);
        let bytes = &block[at..at + codes.len() * bits / 8];
        let runs = codes.chunks_exact_mut(width * 8 / bits);
        for (codes, bytes) in runs.zip(bytes.chunks_exact(width)) {
            for (part, codes) in codes.chunks_exact_mut(width).enumerate() {
                for (code, byte) in codes.iter_mut().zip(bytes) {
                    *code |= (byte >> (part * bits) & mask) << shift;
                }
            }
        }
    }

    fn write(self, codes: &[u8], block: &mut [u8]) {
        let Self { at, bits, width, shift } = self;
        let mask = 0xFF >> (8 - bits);
        let bytes = &mut block[at..at + codes.len() * bits / 8];
        bytes.fill(0);
        let runs = codes.chunks_exact(width * 8 / bits);
        for (codes, bytes) in runs.zip(bytes.chunks_exact_mut(width)) {
            for (part, codes) in codes.chunks_exact(width).enumerate() {
                for (code, byte) in codes.iter().zip(bytes.iter_mut()) {
                    *byte |= (code >> shift & mask) << (part * bits);
                }
            }
        }
    }
}

impl BlockFormat {
    const fn planes(self) -> &'static [Plane] {
        match self {
            Self::Q4_0 | Self::IQ4_NL => const { &[plane(2, 4, 16, 0)] },
            Self::Q4_1 => const { &[plane(4, 4, 16, 0)] },
            Self::Q5_0 => const { &[plane(6, 4, 16, 0), plane(2, 1, 1, 4)] },
            Self::Q5_1 => const { &[plane(8, 4, 16, 0), plane(4, 1, 1, 4)] },
            Self::Q8_0 => const { &[plane(2, 8, 32, 0)] },
            Self::Q2_K => const { &[plane(16, 2, 32, 0)] },
            Self::Q3_K => const { &[plane(32, 2, 32, 0), plane(0, 1, 32, 2)] },
            Self::Q4_K => const { &[plane(16, 4, 32, 0)] },
            Self::Q5_K => const { &[plane(48, 4, 32, 0), plane(16, 1, 32, 4)] },
            Self::Q6_K => const { &[plane(0, 4, 64, 0), plane(128, 2, 32, 4)] },
            Self::IQ4_XS => const { &[plane(8, 4, 16, 0)] },
            Self::MXFP4 => const { &[plane(1, 4, 16, 0)] },
        }
    }

    /// Where the factors of the groups lie, those of the scales before those of the minimums.
    const fn factor_planes(self) -> &'static [Plane] {
        match self {
            Self::Q2_K => const { &[plane(0, 4, 16, 0)] },
            Self::Q3_K => const { &[plane(96, 4, 8, 0), plane(104, 2, 4, 4)] },
            Self::Q6_K => const { &[plane(192, 8, 16, 0)] },
            Self::IQ4_XS => const { &[plane(4, 4, 1, 0), plane(2, 2, 1, 4)] },
            // One scale per block; and six bits that lie in no planes.
            Self::Q4_0
            | Self::Q4_1
            | Self::Q5_0
            | Self::Q5_1
            | Self::Q8_0
            | Self::IQ4_NL
            | Self::MXFP4
            | Self::Q4_K
            | Self::Q5_K => &[],
        }
    }

    /// Reads the codes of a block as numbers of levels, in ascending order of the levels.
    pub(super) fn unpack(self, block: &[u8], codes: &mut [u8]) {
        codes.fill(0);
        for plane in self.planes() {
            plane.read(block, codes);
        }
        if self == Self::Q8_0 {
            flip(codes, 0x80, 0x80);
        } else if self == Self::MXFP4 {
            // Sign and magnitude: below zero more magnitude is a lower level.
            flip(codes, 8, 15);
        }
    }

    /// Writes the codes of a block, given as numbers of levels, which it overwrites.
    pub(super) fn pack(self, codes: &mut [u8], block: &mut [u8]) {
        if self == Self::Q8_0 {
            flip(codes, 0x80, 0x80);
        } else if self == Self::MXFP4 {
            flip(codes, 15, 8);
        }
        for plane in self.planes() {
            plane.write(codes, block);
        }
    }

    /// Groups of a block.
    pub(super) const fn groups(self) -> usize {
        self.weights_per_block() / self.weights_per_scale()
    }

    /// Smallest and largest factor of a scale.
    pub(super) const fn factor_ends(self) -> (i16, i16) {
        match self {
            Self::Q2_K => (0, 15),
            Self::Q4_K | Self::Q5_K => (0, 63),
            Self::Q3_K | Self::IQ4_XS => (-32, 31),
            Self::Q6_K => (-128, 127),
            Self::Q4_0
            | Self::Q4_1
            | Self::Q5_0
            | Self::Q5_1
            | Self::Q8_0
            | Self::IQ4_NL
            | Self::MXFP4 => (1, 1),
        }
    }

    /// The factors of the groups of a block.
    pub(super) fn factors(self, block: &[u8]) -> Factors {
        let mut stored = [0; 2 * STEPS_MAX];
        let (count, low) = (self.groups(), self.factor_ends().0);
        let stored = &mut stored[..if self.has_offsets() { 2 * count } else { count }];
        if matches!(self, Self::Q4_K | Self::Q5_K) {
            read_sixes(&block[4..16], stored);
        }
        for plane in self.factor_planes() {
            plane.read(block, stored);
        }
        let mut factors = Factors::default();
        for (factor, &byte) in factors.scales.iter_mut().zip(&stored[..count]) {
            let signed = self == Self::Q6_K;
            *factor = if signed { i16::from(byte.cast_signed()) } else { i16::from(byte) + low };
        }
        for (factor, &byte) in factors.minimums.iter_mut().zip(&stored[count..]) {
            *factor = i16::from(byte);
        }
        factors
    }

    /// Writes the factors of the groups of a block.
    pub(super) fn set_factors(self, factors: &Factors, block: &mut [u8]) {
        let mut stored = [0; 2 * STEPS_MAX];
        let (count, low) = (self.groups(), self.factor_ends().0);
        let stored = &mut stored[..if self.has_offsets() { 2 * count } else { count }];
        let (scales, minimums) = stored.split_at_mut(count);
        for (byte, factor) in scales.iter_mut().zip(factors.scales) {
            // Those of Q6_K are signed, not counted from the lowest.
            *byte = if self == Self::Q6_K { factor as u8 } else { (factor - low) as u8 };
        }
        for (byte, factor) in minimums.iter_mut().zip(factors.minimums) {
            *byte = factor as u8;
        }
        if matches!(self, Self::Q4_K | Self::Q5_K) {
            write_sixes(stored, &mut block[4..16]);
        }
        for plane in self.factor_planes() {
            plane.write(stored, block);
        }
    }
}

/// Flips these bits of codes below 8, and those of the others.
fn flip(codes: &mut [u8], below: u8, above: u8) {
    for code in codes {
        *code ^= if *code < 8 { below } else { above };
    }
}

/// Eight scales and eight minimums of six bits in twelve bytes: bytes 0 to 3 hold scales 0 to 3,
/// bytes 4 to 7 minimums 0 to 3; bytes 8 to 11 the low nibbles of scales (below) and minimums
/// (above) 4 to 7, whose high pairs of bits are the upper ones of bytes 0 to 7.
fn read_sixes(bytes: &[u8], factors: &mut [u8]) {
    for j in 0..4 {
        factors[j] = bytes[j] & 63;
        factors[8 + j] = bytes[4 + j] & 63;
        factors[4 + j] = bytes[8 + j] & 15 | bytes[j] >> 6 << 4;
        factors[12 + j] = bytes[8 + j] >> 4 | bytes[4 + j] >> 6 << 4;
    }
}

fn write_sixes(factors: &[u8], bytes: &mut [u8]) {
    for j in 0..4 {
        bytes[j] = factors[j] & 63 | factors[4 + j] >> 4 << 6;
        bytes[4 + j] = factors[8 + j] & 63 | factors[12 + j] >> 4 << 6;
        bytes[8 + j] = factors[4 + j] & 15 | factors[12 + j] << 4;
    }
}

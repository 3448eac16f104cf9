//! Where codes lie in the bytes of a block.

use super::BlockFormat;

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
        }
    }

    /// Reads the codes of a block as numbers of levels, in ascending order of the levels.
    pub(super) fn unpack(self, block: &[u8], codes: &mut [u8]) {
        codes.fill(0);
        for plane in self.planes() {
            plane.read(block, codes);
        }
        if self == Self::Q8_0 {
            complement(codes);
        }
    }

    /// Writes the codes of a block, given as numbers of levels.
    pub(super) fn pack(self, codes: &mut [u8], block: &mut [u8]) {
        if self == Self::Q8_0 {
            complement(codes);
        }
        for plane in self.planes() {
            plane.write(codes, block);
        }
    }
}

/// Between the codes of signed bytes and numbers of levels.
fn complement(codes: &mut [u8]) {
    for code in codes {
        *code ^= 0x80;
    }
}

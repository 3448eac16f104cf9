//! Codes of 3, 5, 6 and 7 bits: what does not divide a byte lies in planes of one bit.
//!
//! A row of `dim` codes has, for 5 to 7 bits, `⌈dim/2⌉` bytes with the low 4 bits of two codes
//! each, the first in the lower half, then `⌈dim/8⌉` bytes for each bit above; for 3 bits three
//! such planes and nothing before. A plane goes by chunks of 128 codes: first the bits of those in
//! even places, then of those in odd ones, so that they meet the halves of the bytes.

/// Codes of a chunk.
pub(crate) const CHUNK: usize = 128;
/// Bytes of a chunk in a plane.
pub(crate) const PLANE: usize = CHUNK / 8;
/// Bytes of a chunk in the lower 4 bits.
pub(crate) const HALVES: usize = CHUNK / 2;

/// Bits of a dense code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenseWidth {
    /// Three planes.
    Three,
    /// 4 bits and a plane.
    Five,
    /// 4 bits and two planes.
    Six,
    /// 4 bits and three planes.
    Seven,
}

impl DenseWidth {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Three, Self::Five, Self::Six, Self::Seven];

    /// Bits of a code.
    pub fn bits(self) -> usize {
        match self {
            Self::Three => 3,
            Self::Five => 5,
            Self::Six => 6,
            Self::Seven => 7,
        }
    }

    /// Bits of a code that lie in planes.
    pub(crate) fn planes(self) -> usize {
        if self == Self::Three { 3 } else { self.bits() - 4 }
    }

    /// Bytes before the planes.
    pub(crate) fn before(self, dim: usize) -> usize {
        if self == Self::Three { 0 } else { dim.div_ceil(2) }
    }

    /// Bytes of `dim` codes.
    pub fn bytes(self, dim: usize) -> usize {
        self.before(dim) + self.planes() * dim.div_ceil(8)
    }

    /// Where in a plane the bit of code `at` of `dim` is.
    fn bit(at: usize, dim: usize) -> usize {
        let from = at / CHUNK * CHUNK;
        let even = (dim - from).min(CHUNK).div_ceil(2);
        from + at % CHUNK / 2 + if at.is_multiple_of(2) { 0 } else { even }
    }

    /// Sets code `at` of `dim` in a row of zeros.
    ///
    /// # Panics
    /// If the row is too short for it.
    pub fn put(self, row: &mut [u8], dim: usize, at: usize, code: u8) {
        let (before, bit) = (self.before(dim), Self::bit(at, dim));
        let high = if before > 0 {
            row[at / 2] |= (code & 15) << (at % 2 * 4);
            code >> 4
        } else {
            code
        };
        for plane in 0..self.planes() {
            let byte = before + plane * dim.div_ceil(8) + bit / 8;
            row[byte] |= (high >> plane & 1) << (bit % 8);
        }
    }

    /// Code `at` of `dim` in a row.
    ///
    /// # Panics
    /// If the row is too short for it.
    pub fn code(self, row: &[u8], dim: usize, at: usize) -> u8 {
        let (before, bit) = (self.before(dim), Self::bit(at, dim));
        let (low, from) = if before > 0 { (row[at / 2] >> (at % 2 * 4) & 15, 4) } else { (0, 0) };
        (0..self.planes()).fold(low, |code, plane| {
            let byte = before + plane * dim.div_ceil(8) + bit / 8;
            code | (row[byte] >> (bit % 8) & 1) << (from + plane)
        })
    }
}

/// An int8 query in the order in which dense codes meet it, and what the codes stand for.
#[derive(Clone, Debug)]
pub struct DenseQuery {
    width: DenseWidth,
    dim: usize,
    /// By chunks: what meets the even and the odd places; zeros after the last.
    pub(crate) chunks: Vec<[[i8; HALVES]; 2]>,
    /// Of codes of 3 bits; others stand for themselves.
    pub(crate) levels: [u8; 16],
}

impl DenseQuery {
    /// Arranges `query`. A code of 3 bits stands for one of `levels`, a wider one for itself.
    ///
    /// # Panics
    /// If a level is above 127.
    pub fn new(query: &[i8], width: DenseWidth, levels: &[u8; 8]) -> Self {
        assert!(levels.iter().all(|&level| level < 128), "a level above 127");
        let mut chunks = vec![[[0; HALVES]; 2]; query.len().div_ceil(CHUNK)];
        for (at, &value) in query.iter().enumerate() {
            chunks[at / CHUNK][at % 2][at % CHUNK / 2] = value;
        }
        let levels = std::array::from_fn(|code| levels[code % 8]);
        Self { width, dim: query.len(), chunks, levels }
    }

    /// Bits of a code.
    pub fn width(&self) -> DenseWidth {
        self.width
    }

    /// Codes of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Bytes of a row.
    pub fn bytes(&self) -> usize {
        self.width.bytes(self.dim)
    }

    /// What a code stands for.
    pub(crate) fn level(&self, code: u8) -> u8 {
        if self.width == DenseWidth::Three { self.levels[usize::from(code % 8)] } else { code }
    }

    /// What meets code `at`.
    pub(crate) fn value(&self, at: usize) -> i8 {
        self.chunks[at / CHUNK][at % 2][at % CHUNK / 2]
    }

    /// How far the bits of odd places are behind those of even ones in chunk `chunk`.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn odd_bits(&self, chunk: usize) -> u32 {
        (self.dim - chunk * CHUNK).min(CHUNK).div_ceil(2) as u32
    }
}

/// The bits of a chunk of a plane: those of even and of odd places; what follows the last may be
/// anything.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn plane_bits(plane: &[u8], odd: u32) -> [u64; 2] {
    let bits = match plane.first_chunk::<PLANE>() {
        Some(&whole) => u128::from_le_bytes(whole),
        None => plane.iter().rev().fold(0, |bits, &byte| bits << 8 | u128::from(byte)),
    };
    [bits as u64, (bits >> odd) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_from_every_place() {
        for width in DenseWidth::ALL {
            for dim in [1, 2, 7, 8, 15, 63, 127, 128, 129, 200, 384] {
                let code = |at: usize| ((at * 37 + 11) % (1 << width.bits())) as u8;
                let mut row = vec![0; width.bytes(dim)];
                (0..dim).for_each(|at| width.put(&mut row, dim, at, code(at)));
                let got: Vec<u8> = (0..dim).map(|at| width.code(&row, dim, at)).collect();
                assert_eq!(got, (0..dim).map(code).collect::<Vec<_>>(), "{width:?} {dim}");
                let dense = (dim * width.bits()).div_ceil(8);
                assert!(row.len() <= dense + 3, "{width:?} {dim}: {} bytes", row.len());
            }
        }
    }
}

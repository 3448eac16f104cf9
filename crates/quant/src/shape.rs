//! The shape of a matrix of packed codes: all lengths of its parts follow from it.

use half::f16;

use crate::pack::{pack, packed_len, unpack};
use crate::{Cut, LayoutError, Span};

/// Shape of a [`LinearMatrix`](crate::LinearMatrix) or a [`ScaledMatrix`](crate::ScaledMatrix);
/// all lengths follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeShape {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Bits per code, 2 to 8.
    pub bits: u8,
    /// Weights that share a scale.
    pub span: Span,
}

impl CodeShape {
    /// Scales of the whole matrix.
    pub fn numbers(&self) -> usize {
        match self.span {
            Span::Tensor => usize::from(self.rows * self.cols > 0),
            Span::Channel | Span::Group(_) => self.rows * self.groups(),
        }
    }

    /// Scales that a row takes.
    pub fn groups(&self) -> usize {
        self.cols.div_ceil(self.span.weights(self.cols))
    }

    /// The number of the first scale of row `row`.
    pub(crate) fn first(&self, row: usize) -> usize {
        if self.span == Span::Tensor { 0 } else { row * self.groups() }
    }

    /// Bytes of the codes of one row, padded to a whole byte.
    pub fn row_bytes(&self) -> usize {
        packed_len(self.cols, self.bits)
    }

    /// Bytes of one number that is written for a span: f16 in groups, f32 per row or tensor.
    pub fn number_bytes(&self) -> usize {
        if self.is_half() { 2 } else { 4 }
    }

    /// How the spans cut the matrix.
    pub(crate) fn cut(&self) -> Cut {
        Cut::of(self.span, self.rows, self.cols)
    }

    /// The largest code.
    pub(crate) fn top(&self) -> u8 {
        u8::MAX >> (8 - self.bits)
    }

    pub(crate) fn is_half(&self) -> bool {
        matches!(self.span, Span::Group(_))
    }

    pub(crate) fn check(&self) -> Result<(), LayoutError> {
        if !(2..=8).contains(&self.bits) {
            return Err(LayoutError::Bits { bits: self.bits });
        }
        if self.span == Span::Group(0) {
            return Err(LayoutError::Group);
        }
        let overflow = LayoutError::Overflow { rows: self.rows, cols: self.cols };
        let bytes = self.cols.checked_mul(9).and_then(|row| row.checked_mul(self.rows));
        bytes.map(|_| ()).ok_or(overflow)
    }

    /// One code per weight, packed row by row.
    pub(crate) fn pack(&self, codes: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; self.rows * self.row_bytes()];
        if self.cols > 0 {
            let rows = bytes.chunks_exact_mut(self.row_bytes());
            for (bytes, codes) in rows.zip(codes.chunks_exact(self.cols)) {
                pack(codes, self.bits, bytes);
            }
        }
        bytes
    }

    /// One code per weight, unpacked row by row.
    pub(crate) fn unpack(&self, bytes: &[u8]) -> Vec<u8> {
        let mut codes = vec![0; self.rows * self.cols];
        if self.cols > 0 {
            let rows = codes.chunks_exact_mut(self.cols);
            for (codes, bytes) in rows.zip(bytes.chunks_exact(self.row_bytes())) {
                unpack(bytes, self.bits, codes);
            }
        }
        codes
    }

    /// Codes of one row, unpacked into `out` as numbers.
    pub(crate) fn unpack_row(&self, bytes: &[u8], row: usize, out: &mut [f32]) {
        let mut codes = [0u8; PIECE];
        let bytes = &bytes[row * self.row_bytes()..(row + 1) * self.row_bytes()];
        let pieces = out.chunks_mut(PIECE).zip(bytes.chunks(packed_len(PIECE, self.bits)));
        for (values, bytes) in pieces {
            let codes = &mut codes[..values.len()];
            unpack(bytes, self.bits, codes);
            for (value, &code) in values.iter_mut().zip(codes.iter()) {
                *value = f32::from(code);
            }
        }
    }
}

/// Codes unpacked at a time; a multiple of 8, so that every piece starts on a byte.
const PIECE: usize = 512;

/// The smallest f16 number that is not below `x`, for `|x| ≤ 65504`.
pub(crate) fn at_least(x: f32) -> f32 {
    -at_most(-x)
}

/// The largest f16 number that is not above `x`, for `|x| ≤ 65504`.
pub(crate) fn at_most(x: f32) -> f32 {
    let near = f16::from_f32(x);
    if near.to_f32() <= x {
        return near.to_f32();
    }
    let bits = near.to_bits();
    let below = match bits {
        0 => 0x8001,
        1..0x8000 => bits - 1,
        0x8000.. => bits + 1,
    };
    f16::from_bits(below).to_f32()
}

/// The nearest f16 number; infinite past the largest.
pub(crate) fn to_half(x: f32) -> f32 {
    f16::from_f32(x).to_f32()
}

/// Largest finite f16 number.
pub(crate) const F16_MAX: f32 = 65504.0;

/// Whether f16 holds every one of these numbers.
pub(crate) fn all_half(numbers: &[f32]) -> bool {
    numbers.iter().all(|&value| to_half(value) == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_is_the_floor_in_f16() {
        for bits in 0..0x7C00u16 {
            for sign in [0, 0x8000] {
                let exact = f16::from_bits(bits | sign).to_f32();
                assert_eq!((at_most(exact), at_least(exact)), (exact, exact));
                if exact.abs() < F16_MAX {
                    let (up, down) = (exact.next_up(), exact.next_down());
                    assert!(at_most(up) == exact || exact == 0.0 && at_most(up) == 0.0, "{exact}");
                    let floor = at_most(down);
                    assert!(floor < exact, "{exact}");
                    assert_eq!(at_most(floor.next_up()), floor, "nothing between");
                }
            }
        }
    }

    #[test]
    fn shapes_say_their_lengths() {
        let shape = |span| CodeShape { rows: 3, cols: 130, bits: 3, span };
        let lengths = |shape: CodeShape| (shape.groups(), shape.numbers(), shape.row_bytes());
        assert_eq!(lengths(shape(Span::Group(64))), (3, 9, 49));
        assert_eq!(lengths(shape(Span::Channel)), (1, 3, 49));
        assert_eq!(lengths(shape(Span::Tensor)), (1, 1, 49));
        let empty = CodeShape { cols: 0, ..shape(Span::Tensor) };
        assert_eq!(lengths(empty), (0, 0, 0));
    }
}

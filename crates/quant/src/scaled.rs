//! Integer codes with a scale, and for some an integer zero point, per span.

mod fit;

use kvant_kernels::Matrix;

use crate::coded::gather;
use crate::fit::part::parts;
use crate::refit::all_stored;
use crate::shape::all_half;
use crate::{CodeShape, EncodeError, Fit, Grid, LayoutError, Levels, Scheme, Span};

/// `w = scale · (code − zero)` per span, codes of 2 to 8 bits.
///
/// The integer formats of the field: `zero` is an integer below `2^n` per span (`affineN`, and
/// AWQ, GPTQ and compressed-tensors with zero points), or `2^(n−1)` everywhere (`symN`, and the
/// symmetric files of these). Codes are unsigned; signed ones are `code − 2^(n−1)`.
///
/// Encoding rounds to nearest, ties to even. From minimum to maximum, `symN` takes
/// `scale = max|w| / (2^(n−1) − 1)`;
/// `affineN` widens the range to hold 0, takes `scale = (max − min) / (2^n − 1)` and
/// `zero = round(−min / scale)`. In groups the scale is rounded up to f16. The error of a weight
/// is at most `scale / 2`, and `2^n · 2^−22 · scale` more for the roundings of f32; zeros stay
/// exact. `n + 16 / g` bits per weight in groups of `g` (`n + (16 + n) / g` with zero points),
/// `n + 32 / cols` per row. A search may clip, uses all codes (also `−2^(n−1)`) and takes
/// negative scales where the largest weight is positive and fits that code. The formulas are
/// [`affine::Symmetric`](crate::affine::Symmetric) and
/// [`affine::Asymmetric`](crate::affine::Asymmetric).
#[derive(Clone, Debug, PartialEq)]
pub struct ScaledMatrix {
    shape: CodeShape,
    codes: Vec<u8>,
    scales: Vec<f32>,
    zeros: Option<Vec<u8>>,
}

/// Where the zero points of an encoded matrix come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zeros {
    /// In the middle of the codes, none stored.
    Middle,
    /// One per span, fitted.
    Fitted,
}

impl ScaledMatrix {
    /// Encodes finite rows.
    pub(crate) fn encode(
        w: Matrix<'_, f32>,
        shape: CodeShape,
        zeros: Zeros,
        fit: &Fit<'_>,
    ) -> Result<Self, EncodeError> {
        if !(2..=8).contains(&shape.bits) {
            return Err(EncodeError::Bits { bits: shape.bits });
        }
        let zeros = (zeros == Zeros::Fitted).then(Vec::new);
        let mut out = Self { shape, codes: Vec::new(), scales: Vec::new(), zeros };
        let scheme = out.scheme();
        parts(w, shape.cut(), fit, |row, target| {
            let range = |(magnitude, limit)| EncodeError::Range { scheme, row, magnitude, limit };
            let scale = match &mut out.zeros {
                None => fit::symmetric(target, &shape, fit.observer).map_err(range)?,
                Some(zeros) => {
                    let (scale, zero) =
                        fit::asymmetric(target, &shape, fit.observer).map_err(range)?;
                    zeros.push(zero);
                    scale
                }
            };
            out.scales.push(scale);
            Ok(())
        })?;
        let codes = out.grid().nearest(w);
        out.set_grid_codes(&codes);
        Ok(out)
    }

    /// Puts stored parts together: packed `codes` row by row ([`CodeShape::row_bytes`] each, low
    /// bits first, unsigned), one scale per span, row by row, and as many zero points below
    /// `2^bits`, or none: `2^(bits − 1)` everywhere. Any finite scale is kept as it is.
    ///
    /// # Errors
    /// [`LayoutError`] when a length does not follow from the shape, a scale does not give finite
    /// weights, or a zero point has no code.
    pub fn from_parts(
        shape: CodeShape,
        codes: Vec<u8>,
        scales: Vec<f32>,
        zeros: Option<Vec<u8>>,
    ) -> Result<Self, LayoutError> {
        shape.check()?;
        let spans = shape.numbers();
        let zero_count = zeros.as_ref().map_or(spans, Vec::len);
        for (part, expected, got) in [
            ("codes", shape.rows * shape.row_bytes(), codes.len()),
            ("scales", spans, scales.len()),
            ("zero points", spans, zero_count),
        ] {
            if expected != got {
                return Err(LayoutError::Length { part, expected, got });
            }
        }
        let most = f32::from(shape.top());
        if let Some(index) = scales.iter().position(|scale| !(scale * most).is_finite()) {
            return Err(LayoutError::Scale { part: "scale", index, value: scales[index] });
        }
        let zero = zeros.iter().flatten().position(|&zero| zero > shape.top());
        if let (Some(index), Some(zeros)) = (zero, &zeros) {
            let (value, why) = (f32::from(zeros[index]), "past the codes of its bits");
            return Err(LayoutError::Value { part: "zero point", index, value, why });
        }
        Ok(Self { shape, codes, scales, zeros })
    }

    /// Rows, columns, bits and span.
    pub fn shape(&self) -> CodeShape {
        self.shape
    }

    /// The scheme that writes this matrix.
    pub fn scheme(&self) -> Scheme {
        let CodeShape { bits, span, .. } = self.shape;
        match self.zeros {
            Some(_) => Scheme::Affine { bits, span },
            None => Scheme::Sym { bits, span },
        }
    }

    /// The packed codes, row by row, low bits first.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// One scale per span, row by row.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// One zero point per span, row by row; `None`: `2^(bits − 1)` everywhere.
    pub fn zeros(&self) -> Option<&[u8]> {
        self.zeros.as_deref()
    }

    /// The zero points as they are stored: packed like codes, padded to a whole byte per row
    /// (per matrix where it has only one).
    pub fn packed_zeros(&self) -> Option<Vec<u8>> {
        self.zeros.as_ref().map(|zeros| zero_shape(&self.shape).pack(zeros))
    }

    /// Zero points from their stored form.
    ///
    /// # Errors
    /// [`LayoutError`] when there is another number of bytes than the shape asks for.
    pub fn unpack_zeros(shape: CodeShape, packed: &[u8]) -> Result<Vec<u8>, LayoutError> {
        shape.check()?;
        let zeros = zero_shape(&shape);
        let expected = zeros.rows * zeros.row_bytes();
        if packed.len() != expected {
            let got = packed.len();
            return Err(LayoutError::Length { part: "zero points", expected, got });
        }
        Ok(zeros.unpack(packed))
    }

    /// Bytes of one stored scale: 2 in groups if all are f16 numbers, else 4.
    pub fn scale_bytes(&self) -> usize {
        if self.shape.is_half() && all_half(&self.scales) { 2 } else { 4 }
    }

    /// Bytes of codes, scales and zero points as stored.
    pub fn size_bytes(&self) -> usize {
        let zeros = zero_shape(&self.shape);
        let zeros = if self.zeros.is_some() { zeros.rows * zeros.row_bytes() } else { 0 };
        self.codes.len() + self.scales.len() * self.scale_bytes() + zeros
    }

    pub(crate) fn select_rows(&self, order: &[usize]) -> Self {
        let width = self.shape.groups();
        let shared = self.shape.span == Span::Tensor;
        let scales = if shared { self.scales.clone() } else { gather(&self.scales, width, order) };
        let zeros = self.zeros.as_ref();
        Self {
            shape: CodeShape { rows: order.len(), ..self.shape },
            codes: gather(&self.codes, self.shape.row_bytes(), order),
            scales,
            zeros: zeros.map(
                |zeros| {
                    if shared { zeros.clone() } else { gather(zeros, width, order) }
                },
            ),
        }
    }

    /// Restores row `row` into `out`.
    ///
    /// # Panics
    /// If there is no such row, or `out` does not hold exactly `cols` values.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        let CodeShape { rows, cols, span, .. } = self.shape;
        assert!(row < rows, "row {row} of {rows}");
        assert_eq!(out.len(), cols, "one value per column");
        self.shape.unpack_row(&self.codes, row, out);
        let first = self.shape.first(row);
        let groups = out.chunks_mut(span.weights(cols)).zip(&self.scales[first..]);
        for (index, (values, scale)) in groups.enumerate() {
            let zero = self.zero(first + index);
            for value in values {
                *value = scale * (*value - zero);
            }
        }
    }

    fn zero(&self, index: usize) -> f32 {
        let middle = 1 << (self.shape.bits - 1);
        f32::from(self.zeros.as_ref().map_or(middle, |zeros| zeros[index]))
    }

    /// The levels: `scale · (code − zero)` per span, the whole range of codes.
    pub(crate) fn grid(&self) -> Grid {
        let CodeShape { rows, cols, bits, .. } = self.shape;
        Grid {
            rows,
            cols,
            cut: self.shape.cut(),
            levels: Levels::Uniform(1 << bits),
            scales: self.scales.clone(),
            zeros: (0..self.scales.len()).map(|index| self.zero(index)).collect(),
            offsets: Vec::new(),
        }
    }

    pub(crate) fn set_scales(&mut self, scales: &[f32]) -> bool {
        // Scales of other programs need not be f16; those stay f32.
        let half = self.shape.is_half() && all_half(&self.scales);
        let Some(scales) = all_stored(scales, half) else { return false };
        let top = f32::from(self.shape.top());
        let finite = scales.iter().all(|scale| (scale * top).is_finite());
        if finite {
            self.scales = scales;
        }
        finite
    }

    pub(crate) fn grid_codes(&self) -> Vec<u8> {
        self.shape.unpack(&self.codes)
    }

    pub(crate) fn set_grid_codes(&mut self, codes: &[u8]) {
        self.codes = self.shape.pack(codes);
    }
}

/// Zero points as a matrix of codes: a row per row, or one for a tensor.
fn zero_shape(shape: &CodeShape) -> CodeShape {
    let groups = shape.groups();
    CodeShape { rows: shape.numbers().checked_div(groups).unwrap_or(0), cols: groups, ..*shape }
}

//! Other scales for codes that stay.

use half::f16;

use crate::Coded;

impl Coded {
    /// Gives every group of [`Coded::grid`] another scale, and another offset where its grid has
    /// offsets; codes, zero points and levels stay. Each number is rounded to the nearest one the
    /// format stores. Returns `false`, with nothing changed, where scales are not free: K-quants
    /// and doubly quantized ones, or numbers that are not finite in the format.
    ///
    /// # Panics
    /// If there is not one scale per group, and one offset per group or none as in the grid.
    pub fn set_scales(&mut self, scales: &[f32], offsets: &[f32]) -> bool {
        let grid = self.grid();
        assert_eq!(scales.len(), grid.scales.len(), "one scale per group");
        assert_eq!(offsets.len(), grid.offsets.len(), "offsets as the grid has them");
        match self {
            Self::Int8(m) => m.set_scales(scales),
            Self::Linear(m) => m.set_scales(scales, offsets),
            Self::Scaled(m) => m.set_scales(scales),
            Self::Float4(m) => m.set_scales(scales),
            Self::Codebook(m) => m.set_scales(scales),
            Self::Block(m) => m.set_scales(scales, offsets),
        }
    }
}

/// `value` as f16 stores it, if `half`; `None` if it is not finite there.
pub(crate) fn stored(value: f32, half: bool) -> Option<f32> {
    let value = if half { f16::from_f32(value).to_f32() } else { value };
    value.is_finite().then_some(value)
}

/// All of `values` as they are stored, or `None`.
pub(crate) fn all_stored(values: &[f32], half: bool) -> Option<Vec<f32>> {
    values.iter().map(|&value| stored(value, half)).collect()
}

#[cfg(test)]
mod tests {
    use kvant_kernels::Matrix;
    use kvant_testkit::Random;

    use crate::Scheme;

    #[test]
    fn scales_are_replaced_and_codes_stay() {
        let values = Random::new(3).normals(2 * 256);
        let w = Matrix::new(&values, 2, 256);
        let mut free = 0;
        for scheme in Scheme::ALL {
            let Ok(mut coded) = scheme.encode(w) else { continue };
            let (codes, grid, before) = (coded.codes(), coded.grid(), coded.decode());
            let doubled = |values: &[f32]| values.iter().map(|v| v * 2.0).collect::<Vec<_>>();
            let changed = coded.set_scales(&doubled(&grid.scales), &doubled(&grid.offsets));
            assert_eq!(coded.codes(), codes, "{scheme}");
            let factor = if changed { 2.0 } else { 1.0 };
            free += u32::from(changed);
            for (after, before) in coded.decode().iter().zip(&before) {
                assert!((after - factor * before).abs() <= 1e-3 * before.abs(), "{scheme}");
            }
            assert!(!coded.set_scales(&vec![f32::NAN; grid.scales.len()], &grid.offsets));
        }
        assert!(free >= 10, "{free} formats with free scales");
    }
}

//! Stored parts come back as the same matrix, and no other parts do.

use kvant_kernels::Matrix;
use kvant_quant::{
    Absmax, BlockFormat, BlockMatrix, Books, CodeShape, CodebookMatrix, CodebookShape, Coded,
    Filling, Float4, Float4Matrix, Float4Shape, Int8Matrix, LayoutError, LinearMatrix,
    ScaledMatrix, Scheme, Span,
};
use kvant_testkit::Random;
use proptest::prelude::*;

/// Per row at 8 bits, else in groups of 64.
fn shape(rows: usize, cols: usize, bits: u8) -> CodeShape {
    let span = if bits == 8 { Span::Channel } else { Span::Group(64) };
    CodeShape { rows, cols, bits, span }
}

/// The matrix that the parts of `coded` make.
fn again(coded: &Coded) -> Result<Coded, LayoutError> {
    match coded {
        Coded::Int8(m) => {
            let (codes, scales) = (m.codes().to_vec(), m.scales().to_vec());
            Int8Matrix::from_parts(m.rows(), m.cols(), codes, scales).map(Coded::Int8)
        }
        Coded::Linear(m) => {
            let (mins, steps) = (m.mins().to_vec(), m.steps().to_vec());
            LinearMatrix::from_parts(m.shape(), m.codes().to_vec(), mins, steps).map(Coded::Linear)
        }
        Coded::Scaled(m) => {
            let zeros =
                m.packed_zeros().map(|packed| ScaledMatrix::unpack_zeros(m.shape(), &packed));
            let zeros = zeros.transpose()?;
            assert_eq!(zeros.as_deref(), m.zeros(), "zero points read back");
            ScaledMatrix::from_parts(m.shape(), m.codes().to_vec(), m.scales().to_vec(), zeros)
                .map(Coded::Scaled)
        }
        Coded::Float4(m) => {
            Float4Matrix::from_parts(m.shape(), m.codes().to_vec(), m.absmax().clone())
                .map(Coded::Float4)
        }
        Coded::Codebook(m) => {
            let (codes, levels) = (m.codes().to_vec(), m.levels().to_vec());
            CodebookMatrix::from_parts(m.shape(), codes, levels, m.scales().to_vec())
                .map(Coded::Codebook)
        }
        Coded::Block(m) => {
            BlockMatrix::from_parts(m.format(), m.rows(), m.cols(), m.data().to_vec())
                .map(Coded::Block)
        }
    }
}

/// Every scheme, and every span of those that have several.
fn schemes() -> Vec<Scheme> {
    let names = "linear3:tensor sym5:tensor sym4:channel affine3:g48 affine6:tensor \
                 affine4:channel \
                 sym3:g5 nf4:g48 fp4dq:g7 kmeans3:tensor kmeans2:channel quantile4:book64 \
                 kmeans4:g9";
    let scheme = |name: &str| match name.parse() {
        Ok(scheme) => scheme,
        Err(error) => unreachable!("{error}"),
    };
    Scheme::ALL.into_iter().chain(names.split_whitespace().map(scheme)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn parts_make_the_same_matrix(seed: u64, rows in 0usize..4, blocks in 0usize..5) {
        let cols = blocks * 256;
        let weights = Random::new(seed).normals(rows * cols);
        for scheme in schemes() {
            let coded = scheme.encode(Matrix::new(&weights, rows, cols)).unwrap();
            prop_assert_eq!(again(&coded), Ok(coded));
        }
    }

    /// The grid holds exactly what the decoder restores, and codes go in and out unchanged.
    #[test]
    fn grids_are_what_decoders_restore(seed: u64, rows in 0usize..4, blocks in 0usize..4) {
        let cols = blocks * 256;
        let weights = Random::new(seed).normals(rows * cols);
        for scheme in schemes() {
            let mut coded = scheme.encode(Matrix::new(&weights, rows, cols)).unwrap();
            let (grid, codes) = (coded.grid(), coded.codes());
            prop_assert!(cols == 0 || grid.scales.len() == grid.groups());
            prop_assert_eq!(grid.restore(&codes), coded.decode());
            let before = coded.clone();
            coded.set_codes(&codes);
            prop_assert_eq!(&coded, &before, "{}", scheme);
            let last = (grid.count() - 1) as u8;
            let other: Vec<u8> = codes.iter().map(|code| last - code).collect();
            coded.set_codes(&other);
            prop_assert_eq!(coded.codes(), other, "{}", scheme);
            prop_assert_eq!(coded.grid(), grid, "{}", scheme);
        }
    }

    /// Whatever bytes a file holds, decoding them gives finite weights or the parts are refused.
    #[test]
    fn foreign_blocks_decode_to_finite_weights(
        data in prop::collection::vec(any::<u8>(), 210 * 3)
    ) {
        for format in BlockFormat::ALL {
            let bytes = data[..3 * format.block_bytes()].to_vec();
            let cols = format.weights_per_block();
            if let Ok(block) = BlockMatrix::from_parts(format, 3, cols, bytes) {
                let block = Coded::Block(block);
                prop_assert_eq!(block.grid().restore(&block.codes()), block.decode());
                let mut again = block.clone();
                again.set_codes(&block.codes());
                prop_assert_eq!(&again, &block);
                prop_assert!(block.decode().iter().all(|w| w.is_finite()));
            }
        }
    }

    #[test]
    fn foreign_numbers_decode_to_finite_weights(
        min in any::<f32>(), step in any::<f32>(), codes in prop::collection::vec(any::<u8>(), 8)
    ) {
        for bits in 2..=8u8 {
            let shape = shape(1, 64 / usize::from(bits), bits);
            let codes = codes[..shape.row_bytes()].to_vec();
            if let Ok(m) = LinearMatrix::from_parts(shape, codes, vec![min], vec![step]) {
                prop_assert!(Coded::Linear(m).decode().iter().all(|w| w.is_finite()));
            }
        }
        for bits in 2..=8u8 {
            let shape = shape(1, 64 / usize::from(bits), bits);
            let codes = codes[..shape.row_bytes()].to_vec();
            let zero = min.to_bits() as u8;
            for zeros in [None, Some(vec![zero])] {
                let refused = zeros.is_some() && u32::from(zero) >= 1 << bits;
                let parts = ScaledMatrix::from_parts(shape, codes.clone(), vec![step], zeros);
                prop_assert!(parts.is_err() || !refused);
                if let Ok(m) = parts {
                    prop_assert!(Coded::Scaled(m).decode().iter().all(|w| w.is_finite()));
                }
            }
        }
        let codes = codes.iter().map(|c| c.cast_signed()).collect();
        if let Ok(m) = Int8Matrix::from_parts(1, 8, codes, vec![step]) {
            prop_assert!(Coded::Int8(m).decode().iter().all(|w| w.is_finite()));
        }
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let length = |part, expected, got| LayoutError::Length { part, expected, got };
    for (codes, scales, error) in [
        (5, 2, length("codes", 6, 5)),
        (7, 2, length("codes", 6, 7)),
        (6, 1, length("scales", 2, 1)),
        (6, 3, length("scales", 2, 3)),
    ] {
        let got = Int8Matrix::from_parts(2, 3, vec![0; codes], vec![1.0; scales]);
        assert_eq!(got, Err(error));
    }
    let shape = shape(2, 65, 3);
    let (bytes, groups) = (2 * 25, 4);
    for (codes, mins, steps, error) in [
        (bytes - 1, groups, groups, length("codes", bytes, bytes - 1)),
        (bytes, groups + 1, groups, length("minimums", groups, groups + 1)),
        (bytes, groups, groups - 1, length("steps", groups, groups - 1)),
    ] {
        let (mins, steps) = (vec![0.0; mins], vec![1.0; steps]);
        assert_eq!(LinearMatrix::from_parts(shape, vec![0; codes], mins, steps), Err(error));
    }
    for (codes, scales, zeros, error) in [
        (bytes + 1, groups, groups, length("codes", bytes, bytes + 1)),
        (bytes, groups - 1, groups, length("scales", groups, groups - 1)),
        (bytes, groups, groups + 1, length("zero points", groups, groups + 1)),
    ] {
        let (scales, zeros) = (vec![1.0; scales], Some(vec![0; zeros]));
        assert_eq!(ScaledMatrix::from_parts(shape, vec![0; codes], scales, zeros), Err(error));
    }
    for got in [0, 1, 3] {
        let error = length("zero points", 2, got);
        assert_eq!(ScaledMatrix::unpack_zeros(shape, &vec![0; got]), Err(error));
    }
    for format in BlockFormat::ALL {
        let expected = 4 * format.block_bytes();
        for got in [0, expected - 1, expected + 1] {
            let cols = 2 * format.weights_per_block();
            let parts = BlockMatrix::from_parts(format, 2, cols, vec![0; got]);
            assert_eq!(parts, Err(length("blocks", expected, got)));
        }
    }
}

#[test]
fn shapes_that_overflow_are_refused() {
    let (rows, cols) = (usize::MAX / 2, 256);
    let overflow = LayoutError::Overflow { rows, cols };
    assert_eq!(Int8Matrix::from_parts(rows, cols, vec![], vec![]), Err(overflow.clone()));
    let shape = shape(rows, cols, 4);
    assert_eq!(LinearMatrix::from_parts(shape, vec![], vec![], vec![]), Err(overflow.clone()));
    assert_eq!(ScaledMatrix::from_parts(shape, vec![], vec![], None), Err(overflow.clone()));
    assert_eq!(ScaledMatrix::unpack_zeros(shape, &[]), Err(overflow.clone()));
    for format in BlockFormat::ALL {
        assert_eq!(BlockMatrix::from_parts(format, rows, cols, vec![]), Err(overflow.clone()));
    }
}

#[test]
fn shapes_that_mean_nothing_are_refused() {
    for bits in [0, 1, 9, 255] {
        let shape = CodeShape { rows: 1, cols: 1, bits, span: Span::Group(64) };
        let error = LinearMatrix::from_parts(shape, vec![0], vec![0.0], vec![0.0]);
        assert_eq!(error, Err(LayoutError::Bits { bits }));
        let error = ScaledMatrix::from_parts(shape, vec![0], vec![0.0], None);
        assert_eq!(error, Err(LayoutError::Bits { bits }));
    }
    let shape = CodeShape { rows: 1, cols: 1, bits: 4, span: Span::Group(0) };
    let error = LinearMatrix::from_parts(shape, vec![0], vec![0.0], vec![0.0]);
    assert_eq!(error, Err(LayoutError::Group));
    let error = BlockMatrix::from_parts(BlockFormat::Q5_1, 1, 33, vec![]);
    assert_eq!(
        error,
        Err(LayoutError::BlockCols { format: BlockFormat::Q5_1, block: 32, cols: 33 })
    );
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    for value in [f32::NAN, f32::INFINITY, -f32::INFINITY, f32::MAX] {
        let error = Int8Matrix::from_parts(2, 1, vec![0; 2], vec![1.0, value]).unwrap_err();
        assert!(matches!(error, LayoutError::Scale { part: "scale", index: 1, .. }), "{error}");
        let shape = shape(2, 1, 8);
        let error = LinearMatrix::from_parts(shape, vec![0; 2], vec![0.0; 2], vec![0.0, value])
            .unwrap_err();
        assert!(matches!(error, LayoutError::Scale { part: "step", index: 1, .. }), "{error}");
        let error =
            ScaledMatrix::from_parts(shape, vec![0; 2], vec![1.0, value], None).unwrap_err();
        assert!(matches!(error, LayoutError::Scale { part: "scale", index: 1, .. }), "{error}");
    }
    for (format, slots) in [
        ("q4_0", &[0][..]),
        ("q4_1", &[0, 2]),
        ("q5_0", &[0]),
        ("q5_1", &[0, 2]),
        ("q8_0", &[0]),
        ("iq4_nl", &[0]),
        ("q2_k", &[80, 82]),
        ("q3_k", &[108]),
        ("q4_k", &[0, 2]),
        ("q5_k", &[0, 2]),
        ("q6_k", &[208]),
        ("iq4_xs", &[0]),
    ] {
        let format: BlockFormat = format.parse().unwrap();
        for slot in slots {
            let mut data = vec![0; 2 * format.block_bytes()];
            data[format.block_bytes() + slot + 1] = 0x7C; // infinity in f16
            let cols = 2 * format.weights_per_block();
            let error = BlockMatrix::from_parts(format, 1, cols, data).unwrap_err();
            assert!(matches!(error, LayoutError::Scale { index: 1, .. }), "{error}");
        }
    }
    let mut data = vec![0; 17];
    data[0] = 252;
    let block = |data: &[u8]| BlockMatrix::from_parts(BlockFormat::MXFP4, 1, 32, data.to_vec());
    assert!(block(&data).is_ok());
    data[0] = 253; // 12 · 2^125
    assert!(matches!(block(&data), Err(LayoutError::Scale { index: 0, .. })));
}

#[test]
fn numbers_of_groups_are_f16() {
    let third = 1.0 / 3.0;
    for bits in 2..=8 {
        let shape = shape(1, 1, bits);
        let parts = |min, step| LinearMatrix::from_parts(shape, vec![0], vec![min], vec![step]);
        assert!(parts(0.25, 0.5).is_ok());
        for (result, name) in [(parts(third, 0.5), "minimum"), (parts(0.25, third), "step")] {
            match result {
                Ok(_) => assert_eq!(bits, 8),
                Err(error) => assert!(
                    matches!(error, LayoutError::Precision { part, .. } if part == name && bits < 8)
                ),
            }
        }
    }
}

#[test]
fn selected_rows_are_those_rows() {
    let (rows, cols) = (6, 512);
    let weights = Random::new(3).normals(rows * cols);
    let order = [4, 0, 0, 5];
    for scheme in schemes() {
        let coded = scheme.encode(Matrix::new(&weights, rows, cols)).unwrap();
        let chosen = coded.select_rows(&order);
        assert_eq!((chosen.rows(), chosen.cols()), (order.len(), cols), "{scheme}");
        let (all, some) = (coded.decode(), chosen.decode());
        for (row, &from) in some.chunks_exact(cols).zip(&order) {
            assert_eq!(row, &all[from * cols..(from + 1) * cols], "{scheme}");
        }
        // Where scales and levels are not shared by rows, and not restored to f32.
        let own = !scheme.to_string().contains([':', 'd', 'm', 'q']);
        if own || matches!(scheme, Scheme::Block(_)) {
            assert_eq!(chosen.size_bytes() * rows, coded.size_bytes() * order.len(), "{scheme}");
        }
        assert_eq!(coded.select_rows(&[0, 1, 2, 3, 4, 5]), coded, "{scheme}");
    }
}

/// What files of others hold: any scales, zero points anywhere, codes of the whole range.
#[test]
fn foreign_integers_are_kept_as_they_are() {
    let shape = CodeShape { rows: 2, cols: 3, bits: 4, span: Span::Group(2) };
    let codes = vec![0x0F, 0x08, 0x71, 0x00]; // 15 0 8, 1 7 0
    let scales = vec![0.1, -2.0, 3.0e-9, 0.0];
    let m = ScaledMatrix::from_parts(shape, codes.clone(), scales.clone(), None).unwrap();
    assert_eq!((m.scale_bytes(), m.size_bytes()), (4, 4 + 16), "0.1 is no f16");
    let m = Coded::Scaled(m);
    assert_eq!(m.scheme().to_string(), "sym4:g2");
    assert_eq!(m.decode(), [0.7, -0.8, 0.0, -7.0 * 3.0e-9, -3.0e-9, 0.0]);
    let zeros = Some(vec![15, 0, 7, 3]);
    let m = ScaledMatrix::from_parts(shape, codes.clone(), scales.clone(), zeros).unwrap();
    assert_eq!(m.size_bytes(), 4 + 16 + 2, "four bits per zero point");
    assert_eq!(Coded::Scaled(m).decode(), [0.0, -1.5, -16.0, -6.0 * 3.0e-9, 0.0, 0.0]);
    let zeros = Some(vec![15, 0, 16, 3]);
    let error = ScaledMatrix::from_parts(shape, codes, scales, zeros).unwrap_err();
    assert_eq!(
        error,
        LayoutError::Value {
            part: "zero point",
            index: 2,
            value: 16.0,
            why: "past the codes of its bits",
        }
    );
}

/// A file of bitsandbytes by hand: the first code is in the high half of a byte, blocks run over
/// row ends, doubly quantized scales are `map · nested + offset`.
#[test]
fn foreign_tables_restore_as_their_library_says() {
    let shape = Float4Shape { rows: 3, cols: 3, format: Float4::Nf4, block: 4 };
    let codes = vec![0x0F, 0x77, 0xF0, 0x7F, 0x00];
    let plain = Absmax::Plain(vec![2.0, 0.5, 3.0]);
    let m = Float4Matrix::from_parts(shape, codes.clone(), plain).unwrap();
    assert_eq!(m.size_bytes(), 5 + 12);
    assert_eq!(Coded::Float4(m).decode(), [-2.0, 2.0, 0.0, 0.0, 0.5, -0.5, 0.0, 0.5, -3.0]);
    let mut map = Box::new(kvant_quant::dynamic_map());
    let double =
        |map| Absmax::Double { codes: vec![255, 0, 127], scales: vec![0.5], offset: 1.0, map };
    let m = Float4Matrix::from_parts(shape, codes.clone(), double(map.clone())).unwrap();
    assert_eq!(m.scales(), [1.5, map[0] * 0.5 + 1.0, 1.0]);
    assert_eq!((m.size_bytes(), m.scheme().to_string().as_str()), (5 + 3 + 8, "nf4dq:g4"));
    map[0] = -0.99;
    let m = Float4Matrix::from_parts(shape, codes.clone(), double(map)).unwrap();
    assert_eq!(m.absmax().other_map().map(|map| map[0]), Some(-0.99));
    assert_eq!(m.size_bytes(), 5 + 3 + 8 + 1024);
    let shape = Float4Shape { format: Float4::Fp4, ..shape };
    let m = Float4Matrix::from_parts(shape, codes, Absmax::Plain(vec![12.0; 3])).unwrap();
    assert_eq!(Coded::Float4(m).decode(), [0.0, -3.0, 3.0, 3.0, -3.0, 0.0, 3.0, -3.0, 0.0]);
}

#[test]
fn tables_with_other_lengths_are_refused() {
    let shape = Float4Shape { rows: 3, cols: 3, format: Float4::Nf4, block: 4 };
    let length = |part, expected, got| Err(LayoutError::Length { part, expected, got });
    let plain = |count| Absmax::Plain(vec![1.0; count]);
    let parts = |codes, absmax| Float4Matrix::from_parts(shape, vec![0; codes], absmax);
    assert_eq!(parts(4, plain(3)), length("codes", 5, 4));
    assert_eq!(parts(5, plain(2)), length("absmax", 3, 2));
    let map = Box::new(kvant_quant::dynamic_map());
    let double = |codes, scales| Absmax::Double {
        codes: vec![0; codes],
        scales: vec![1.0; scales],
        offset: 0.0,
        map: map.clone(),
    };
    assert_eq!(parts(5, double(4, 1)), length("absmax", 3, 4));
    assert_eq!(parts(5, double(3, 2)), length("nested absmax", 1, 2));
    let error = parts(5, Absmax::Plain(vec![1.0, f32::NAN, 0.0])).unwrap_err();
    assert!(matches!(error, LayoutError::Scale { part: "absmax", index: 1, .. }), "{error}");
    let none = Float4Shape { block: 0, ..shape };
    assert_eq!(Float4Matrix::from_parts(none, vec![], plain(0)), Err(LayoutError::Group));
    let (rows, cols) = (usize::MAX / 2, 64);
    let wide = Float4Shape { rows, cols, ..shape };
    let error = Float4Matrix::from_parts(wide, vec![], plain(0));
    assert_eq!(error, Err(LayoutError::Overflow { rows, cols }));
}

#[test]
fn codebooks_that_are_none_are_refused() {
    let books = Books::Row;
    let shape = CodebookShape { rows: 2, cols: 3, bits: 2, filling: Filling::Kmeans, books };
    let levels = [-1.0, 0.0, 0.5, 2.0, -2.0, -2.0, 0.25, 0.25];
    let parts = |shape, codes, levels: &[f32], scales| {
        CodebookMatrix::from_parts(
            shape,
            vec![0b11_01_00; codes],
            levels.to_vec(),
            vec![1.0; scales],
        )
    };
    let good = Coded::Codebook(parts(shape, 2, &levels, 0).unwrap());
    assert_eq!(good.decode(), [-1.0, 0.0, 2.0, -2.0, -2.0, 0.25]);
    assert_eq!((good.size_bytes(), good.scheme().to_string().as_str()), (18, "kmeans2:channel"));
    let length = |part, expected, got| Err(LayoutError::Length { part, expected, got });
    assert_eq!(parts(shape, 3, &levels, 0), length("codes", 2, 3));
    assert_eq!(parts(shape, 2, &levels[1..], 0), length("levels", 8, 7));
    assert_eq!(parts(shape, 2, &levels, 1), length("scales", 0, 1));
    let scaled = CodebookShape { books: Books::Scaled(2), ..shape };
    assert!(parts(scaled, 2, &levels[..4], 4).is_ok());
    assert_eq!(parts(scaled, 2, &levels[..4], 3), length("scales", 4, 3));
    let with = |index: usize, value: f32| {
        let mut levels = levels;
        levels[index] = value;
        parts(shape, 2, &levels, 0).unwrap_err()
    };
    let error = with(5, -2.5);
    assert!(matches!(error, LayoutError::Value { part: "level", index: 5, .. }), "{error}");
    let error = with(2, 0.3);
    assert!(matches!(error, LayoutError::Precision { part: "level", index: 2, .. }), "{error}");
    let error = with(7, f32::INFINITY);
    assert!(matches!(error, LayoutError::Scale { part: "level", index: 7, .. }), "{error}");
    let none = CodebookShape { books: Books::Group(0), ..shape };
    assert_eq!(parts(none, 2, &levels, 0), Err(LayoutError::Group));
    let (rows, cols) = (usize::MAX / 64, 64);
    let wide = CodebookShape { rows, cols, ..shape };
    assert_eq!(parts(wide, 0, &[], 0), Err(LayoutError::Overflow { rows, cols }));
}

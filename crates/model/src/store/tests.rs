//! Tables that are no tables, and the bytes that packing gives.

use kvant_kernels::{
    BlockShape, CodeLevels, Matrix, Minima, PackedBF16, PackedBlocks, PackedF32, PackedI8,
};
use kvant_storage::crc32c_append;

use super::form::Form;
use super::table::{Layer, lay_out};
use super::*;

/// One weight of every form, of odd sizes.
fn weights() -> Vec<Packed> {
    let (n, k) = (21, 50);
    let values: Vec<f32> = (0..n * k).map(|at| (at * 37 % 101) as f32 / 50.0 - 1.0).collect();
    let codes: Vec<i8> = (0..n * k).map(|at| (at * 37 % 255) as u8 as i8).collect();
    let blocks = |levels, block, minima| {
        PackedBlocks::new(BlockShape { n, k, block }, levels, minima, |row, out| {
            for (at, code) in out.codes.iter_mut().enumerate() {
                *code = ((row * 7 + at * 3) % 16) as u8;
            }
            for (at, scale) in out.scales.iter_mut().enumerate() {
                *scale = 0.01 * (1 + row + at) as f32;
            }
            if minima == Minima::Some {
                out.minima.fill(-0.25);
            }
        })
    };
    let table = std::array::from_fn(|at| at as f32 / 8.0 - 1.0);
    vec![
        Packed::Float(PackedF32::new(Matrix::new(&values, n, k))),
        Packed::Brain(PackedBF16::new(Matrix::new(&values, n, k))),
        Packed::Int8(PackedI8::new(Matrix::new(&codes, n, k), &values[..n])),
        Packed::Blocks(blocks(CodeLevels::Four(8), 32, Minima::None)),
        Packed::Blocks(blocks(CodeLevels::Four(0), 32, Minima::Some)),
        Packed::Blocks(blocks(CodeLevels::Eight(128), 16, Minima::None)),
        Packed::Blocks(blocks(CodeLevels::Table(table), 16, Minima::None)),
    ]
}

/// A file of `weights`, all in one layer.
fn file(weights: &[Packed]) -> Bytes {
    let layers = [Layer { key: "layer", weights: weights.iter().map(Form::of).collect() }];
    let (table, data) = lay_out(&layers);
    let sections = [
        frame::Section { name: "key", data: b"key" },
        frame::Section { name: "table", data: &table },
        frame::Section { name: "data", data: &data.concat() },
    ];
    frame::to_bytes(&KIND, 0, &sections).into()
}

#[test]
fn every_form_comes_back_as_it_was() {
    let weights = weights();
    let file = file(&weights);
    assert_eq!(PackedStore::check(&file), Some(1));
    let kept = Kept::open(file.clone(), Some("key")).unwrap();
    assert!(Kept::open(file, Some("other")).is_none());
    assert!(kept.layer("other").is_none());
    let again = kept.layer("layer").unwrap();
    for (again, weight) in again.iter().zip(&weights) {
        assert!(Form::of(again) == Form::of(weight));
        assert_eq!(again.size_bytes(), weight.size_bytes());
    }
    assert_eq!(again.len(), weights.len());
}

#[test]
fn the_bytes_are_those_of_this_version() {
    let sum = |weight: &Packed| {
        Form::of(weight).1.iter().fold(0, |crc, section| crc32c_append(crc, section))
    };
    // Other sums are other bytes: then PACKED_LAYOUT (kernels) or FORMS (identity.rs) goes up, so
    // that what older programs kept is made anew.
    let expected = [
        164_345_804,
        3_130_474_194,
        3_577_295_312,
        1_518_394_548,
        54_545_784,
        3_507_232_607,
        231_762_249,
    ];
    assert_eq!(weights().iter().map(sum).collect::<Vec<_>>(), expected);
}

#[test]
fn forms_that_do_not_fit_their_sections_are_refused() {
    let weights = weights();
    for weight in &weights {
        let (form, sections) = Form::of(weight);
        let bytes = |part: &[u8]| Bytes::copy_of(part);
        let right: Vec<Bytes> = sections.iter().map(|section| bytes(section)).collect();
        assert!(form.restore(&right).is_some());
        assert!(form.restore(&right[1..]).is_none(), "a section less");
        assert!(form.restore(&[right.clone(), vec![bytes(&[])]].concat()).is_none());
        for at in 0..right.len() {
            let mut cut = right.clone();
            cut[at] = bytes(&[&right[at][..], &[0; 64]].concat());
            assert!(form.restore(&cut).is_none(), "longer");
            cut[at] = bytes(&right[at][..right[at].len().saturating_sub(32)]);
            assert!(right[at].is_empty() || form.restore(&cut).is_none(), "shorter");
        }
        let sizes = [(0, 50), (33, 50), (21, 51 + 32), (usize::MAX, 50), (usize::MAX, usize::MAX)];
        for (n, k) in sizes {
            let other = match form {
                Form::Float { .. } => Form::Float { n, k },
                Form::Brain { .. } => Form::Brain { n, k },
                Form::Int8 { .. } => Form::Int8 { n, k },
                Form::Blocks { shape, levels, minima } => {
                    Form::Blocks { shape: BlockShape { n, k, ..shape }, levels, minima }
                }
            };
            assert!(other.restore(&right).is_none(), "{other:?}");
        }
    }
}

#[test]
fn impossible_sums_and_levels_are_refused() {
    let weights = weights();
    let (form, sections) = Form::of(&weights[2]);
    let mut sums = sections[2].to_vec();
    sums[..4].copy_from_slice(&(50 * 128 + 1i32).to_le_bytes());
    let parts = [sections[0], sections[1], &sums].map(Bytes::copy_of);
    assert!(form.restore(&parts).is_none());
    let Form::Blocks { shape, levels, minima } = Form::of(&weights[3]).0 else { return };
    let parts: Vec<Bytes> = Form::of(&weights[3]).1.into_iter().map(Bytes::copy_of).collect();
    let refused = [
        Form::Blocks { shape, levels: CodeLevels::Four(16), minima },
        Form::Blocks { shape, levels: CodeLevels::Table([0.0; 16]), minima: Minima::Some },
        Form::Blocks { shape: BlockShape { block: 8, ..shape }, levels, minima },
        Form::Blocks { shape: BlockShape { block: 0, ..shape }, levels, minima },
    ];
    assert!(refused.iter().all(|form| form.restore(&parts).is_none()));
}

#[test]
fn ranges_outside_the_data_and_cut_tables_are_refused() {
    let weights = weights();
    let layers = [Layer { key: "k", weights: weights.iter().map(Form::of).collect() }];
    let (table, data) = lay_out(&layers);
    assert!(Table::parse(&table).is_some());
    assert!((0..table.len()).all(|cut| Table::parse(&table[..cut]).is_none()));
    assert!(Table::parse(&[&table[..], &[0]].concat()).is_none());
    let data = data.concat();
    let mut kept = Kept { table: Table::parse(&table).unwrap(), data: data.into() };
    assert!(kept.layer("k").is_some());
    for (start, end) in [(0, u64::MAX), (u64::MAX, 0), (64, 0), (1, 65), (1 << 40, 1 << 41)] {
        let range = Range { start, end };
        let old = std::mem::replace(&mut kept.table.entries[0].weights[0].1[0], range);
        assert!(kept.layer("k").is_none());
        kept.table.entries[0].weights[0].1[0] = old;
    }
}

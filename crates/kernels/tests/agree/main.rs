//! Every level against the scalar specification and against f64, within written bounds.
//!
//! `KVANT_SIMD_REQUIRE=avx512` (or another) fails where this CPU lacks that level, instead of
//! passing over it.

mod attention;
mod bf16;
mod blocks;
mod distance;
mod pick;
mod product;
mod row;
mod scan;

use kvant_kernels::{Kernels, Level};

/// Half the distance of 1 to the next f32: the relative error of one rounding.
const U: f64 = 1.0 / (1u64 << 24) as f64;
/// The smallest positive f32: twice the absolute error of one rounding that underflows.
const TINY: f64 = 1.4e-45;

/// The tables of the levels this CPU has.
///
/// # Panics
/// If `KVANT_SIMD_REQUIRE` names one it lacks.
fn tables() -> Vec<&'static Kernels> {
    let required = std::env::var("KVANT_SIMD_REQUIRE").map_or(Ok(Level::Scalar), |v| v.parse());
    assert!(required.is_ok(), "KVANT_SIMD_REQUIRE: {required:?}");
    let required = required.unwrap_or(Level::Scalar);
    let mut tables = Vec::new();
    for level in Level::ALL {
        let table = Kernels::at(level);
        assert!(table.is_some() || level != required, "this CPU lacks {level}, which is required");
        if table.is_none() {
            kvant_testkit::skip(&format!("this CPU lacks {level}"));
        }
        tables.extend(table);
    }
    tables
}

#[test]
fn a_table_is_of_the_level_asked_for() {
    for table in tables() {
        assert_eq!(Kernels::at(table.level()).map(Kernels::level), Some(table.level()));
    }
    let forced = std::env::var("KVANT_SIMD").ok().and_then(|name| name.parse().ok());
    let expected = forced.filter(|level: &Level| level.available()).unwrap_or(Level::best());
    assert_eq!(kvant_kernels::kernels().level(), expected);
}

#[test]
fn a_level_reads_back_from_its_name() {
    for level in Level::ALL {
        assert_eq!(level.to_string().parse(), Ok(level));
    }
    let error = "avx1024".parse::<Level>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown SIMD level 'avx1024': use scalar, avx2, avxvnni or avx512"
    );
}

//! Bytes that nobody wrote: an error, or a shape that can be searched.

use std::sync::LazyLock;

use kvant_index::{
    AnyShape, Bitmap, BuildOptions, Effort, Family, FileError, FloatRows, Metric, Row,
    SearchOptions, Spec, Spill,
};
use kvant_testkit::clustered;
use proptest::prelude::*;

const DIM: usize = 4;
const SPECS: [Spec; 9] =
    [Spec::Flat, HNSW4, Spec::Hnsw { m: 16 }, IVF, IVF2, FOREST, PLANES, POLYTOPES, QG];
const QG: Spec = Spec::Qg { links: 32 };
const FOREST: Spec = Spec::Forest { trees: 2 };
const PLANES: Spec = Spec::Lsh { family: Family::Planes, tables: 2, bits: 5 };
const POLYTOPES: Spec = Spec::Lsh { family: Family::Polytopes, tables: 2, bits: 4 };
const IVF: Spec = Spec::Ivf { lists: 30, spill: Spill::One };
const IVF2: Spec = Spec::Ivf { lists: 30, spill: Spill::Two };
const HNSW4: Spec = Spec::Hnsw { m: 4 };

fn bytes(spec: Spec, n: usize) -> (Vec<f32>, Vec<u8>) {
    let data = clustered(n, DIM, 1);
    let rows = FloatRows::new(&data, DIM, Metric::Euclid);
    let shape = AnyShape::build(&spec, &rows, &BuildOptions::default());
    let bytes = shape.to_bytes();
    (data, bytes)
}

/// Searches in every way; whatever the graph, as many rows come back as there are.
fn search(data: &[f32], shape: &AnyShape) {
    let rows = FloatRows::new(data, DIM, Metric::Euclid);
    let n = data.len() / DIM;
    let mut allowed = Bitmap::full(n);
    allowed.remove(Row(0));
    for allowed in [None, Some(&allowed)] {
        let most = n - usize::from(allowed.is_some());
        for k in [1, 3, n] {
            for effort in [Effort::Default, Effort::Ef(1), Effort::Ef(5), Effort::Probes(2)] {
                let options = SearchOptions { k, effort, allowed, ..SearchOptions::default() };
                let hits = shape.search(&rows, &data[..DIM], &options);
                assert_eq!(hits.len(), k.min(most));
                assert!(hits.iter().all(|hit| allowed.is_none_or(|set| set.contains(hit.row))));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_bytes_are_refused_or_searchable(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        early in prop::collection::vec((0usize..400, any::<u8>()), 0..2),
        cut in prop::option::of(any::<prop::sample::Index>()),
        spec in 0..SPECS.len(),
    ) {
        static BUILT: LazyLock<Vec<(Vec<f32>, Vec<u8>)>> =
            LazyLock::new(|| SPECS.iter().map(|&spec| bytes(spec, 300)).collect());
        let (data, mut bytes) = BUILT[spec].clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        for (at, value) in early {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(shape) = AnyShape::from_bytes(&bytes, 300)
            && shape.serves(DIM, Metric::Euclid)
        {
            search(&data, &shape);
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(AnyShape::from_bytes(&bytes, 300).is_err());
    }
}

#[test]
fn every_cut_is_refused_and_so_is_every_tail() {
    for spec in [Spec::Flat, HNSW4, IVF, IVF2, FOREST, PLANES, POLYTOPES, QG] {
        let (data, mut bytes) = bytes(spec, 50);
        search(&data, &AnyShape::from_bytes(&bytes, 50).unwrap());
        for cut in 0..bytes.len() {
            let error = AnyShape::from_bytes(&bytes[..cut], 50).unwrap_err();
            assert!(matches!(error, FileError::Length { .. } | FileError::Magic), "{cut}: {error}");
        }
        bytes.push(0);
        let error = AnyShape::from_bytes(&bytes, 50).unwrap_err();
        assert!(matches!(error, FileError::Length { .. }), "{error}");
    }
}

#[test]
fn each_field_is_checked() {
    let (_, bytes) = bytes(HNSW4, 50);
    let refused = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        AnyShape::from_bytes(&bytes, 50).unwrap_err()
    };
    assert_eq!(refused(0, b"X"), FileError::Magic);
    assert_eq!(refused(4, &[3]), FileError::Version { got: 3 });
    assert_eq!(refused(6, &[9]), FileError::Shape { got: 9 });
    assert_eq!(refused(8, &[51]), FileError::Rows { expected: 50, got: 51 });
    assert!(matches!(refused(15, &[255]), FileError::Rows { .. }));
    for m in [0u32, 3, 129, u32::MAX] {
        let expected = FileError::Header { name: "links per node", got: m.into() };
        assert_eq!(refused(16, &m.to_le_bytes()), expected);
    }
    for entry in [50, u32::MAX] {
        let expected = FileError::Header { name: "entry", got: entry.into() };
        assert_eq!(refused(20, &entry.to_le_bytes()), expected);
    }
    assert!(matches!(refused(24, &[16]), FileError::Header { name: "top level", got: 16 }));
    assert!(matches!(refused(24, &[15]), FileError::Header { name: "entry", .. }));
    assert!(matches!(refused(28, &[77]), FileError::Length { .. }));
    assert!(matches!(refused(32, &[1]), FileError::Header { name: "padding", got: 1 }));
    // 64 in front: the first link of row 0.
    let link = FileError::Link { row: 0, level: 0, got: 50 };
    assert_eq!(refused(64, &50u32.to_le_bytes()), link);
    // Behind 50 lists of 8: where the upper lists of each row begin.
    let at = 64 + 50 * 8 * 4;
    assert!(matches!(refused(at + 4, &[255; 4]), FileError::Link { row: 0, level: 1, .. }));
    assert!(matches!(refused(at + 50 * 4, &[255; 4]), FileError::Link { row: 49, level: 1, .. }));
}

/// A header that announces more than there is must not be believed.
#[test]
fn huge_announcements_allocate_nothing() {
    let (_, bytes) = bytes(HNSW4, 50);
    let mut huge = bytes.clone();
    huge[8..16].copy_from_slice(&(1u64 << 40).to_le_bytes());
    let error = AnyShape::from_bytes(&huge, 1 << 40).unwrap_err();
    assert!(matches!(error, FileError::Length { .. }), "{error}");
    for at in [16, 28] {
        let mut huge = bytes.clone();
        huge[at..at + 4].copy_from_slice(&[127, 0, 0, 255 * (at as u8 / 28)]);
        let error = AnyShape::from_bytes(&huge, 50).unwrap_err();
        assert!(matches!(error, FileError::Length { .. }), "{error}");
    }
}

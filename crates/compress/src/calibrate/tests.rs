//! Calibration files and what they are refused for.

use super::*;

fn calibration() -> Calibration {
    let full = Moment {
        weights: vec!["a.weight".into(), "b.weight".into()],
        dim: 2,
        count: 3000,
        hessian: vec![2.0, 0.5, 0.5, 1.0],
        mean_square: vec![2.0, 1.0],
        mean: vec![0.0; 2],
        mean_abs: vec![1.0, 0.75],
        max_abs: vec![4.0, 3.0],
    };
    let diagonal = Moment {
        weights: vec!["c.weight".into()],
        dim: 3,
        count: 10,
        mean_square: vec![1.0, 0.0, 2.0],
        ..Moment::default()
    };
    Calibration { inputs: vec![full, diagonal] }
}

#[test]
fn a_saved_calibration_reads_back() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("calibration.safetensors");
    let before = calibration();
    before.save(&path).unwrap();
    let after = Calibration::load(&path).unwrap();
    assert_eq!(before, after);
    assert_eq!(after.of("b.weight").map(|m| m.dim), Some(2));
    assert!(after.of("c.weight").is_some_and(|m| m.matrix().is_none()));
    assert!(after.of("d.weight").is_none());
}

#[test]
fn damaged_files_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("calibration.safetensors");
    calibration().save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for end in [0, 4, 8, 40, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..end]).unwrap();
        assert!(Calibration::load(&path).is_err(), "cut at {end}");
    }
    let mut broken = calibration();
    broken.inputs[0].hessian[1] = f32::NAN;
    broken.save(&path).unwrap();
    let error = Calibration::load(&path).unwrap_err().to_string();
    assert!(error.contains("hessian holds NaN"), "{error}");
    let text = String::from_utf8_lossy(&bytes).replace("kvant.calibration", "kvant.calibratiom");
    std::fs::write(&path, text.as_bytes()).unwrap();
    assert!(Calibration::load(&path).is_err());
}

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

#[test]
fn imatrices_read_back_in_both_layouts() {
    let Some(source) = kvant_testkit::minilm() else {
        return kvant_testkit::skip("the MiniLM model is absent");
    };
    let model = Checkpoint::open(&source).unwrap();
    let weight = "encoder.layer.3.output.dense.weight";
    let mean_square: Vec<f32> = (0..1536).map(|i| i as f32 * 0.5).collect();
    let moment = Moment {
        weights: vec![weight.into()],
        dim: 1536,
        count: 2048,
        mean_square: mean_square.clone(),
        ..Moment::default()
    };
    let before = Calibration { inputs: vec![moment] };
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("imatrix.gguf");
    before.write_imatrix(&path, &model).unwrap();
    assert_eq!(Calibration::read_imatrix(&path, &model).unwrap(), before);
    // The older layout: one entry of four calls.
    let name = "blk.3.ffn_down.weight";
    let mut bytes = 1i32.to_le_bytes().to_vec();
    bytes.extend((name.len() as i32).to_le_bytes());
    bytes.extend(name.as_bytes());
    bytes.extend(4i32.to_le_bytes());
    bytes.extend(1536i32.to_le_bytes());
    for square in &mean_square {
        bytes.extend((square * 4.0).to_le_bytes());
    }
    let path = place.path().join("imatrix.dat");
    std::fs::write(&path, &bytes).unwrap();
    let older = Calibration::read_imatrix(&path, &model).unwrap();
    assert_eq!(older.of(weight).map(|moment| &moment.mean_square), Some(&mean_square));
    for end in [0, 3, 10, 40, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..end]).unwrap();
        assert!(Calibration::read_imatrix(&path, &model).is_err(), "cut at {end}");
    }
}

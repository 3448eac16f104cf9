//! Single files by path: mapped reading, and writing that is all or nothing.

use crate::{Bytes, CreateError, ReadError};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// How temporary files begin; the leading dot keeps them out of every [`crate::Name`].
pub(crate) const TEMPORARY: &str = ".tmp-";

/// The content of the file at `path`, mapped: nothing is read until it is touched. The file must
/// not be shortened or rewritten in place while the bytes are in use (replacing it is fine).
///
/// # Errors
/// [`ReadError::Missing`] or [`ReadError::Io`] naming the path.
pub fn read_file(path: &Path) -> Result<Bytes, ReadError> {
    read_by(path, Bytes::map)
}

/// What tells a file from another, or from itself at another time, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes in it.
    pub len: u64,
    /// When its content last changed, in nanoseconds since 1970; negative before.
    pub modified_ns: i128,
    /// Its number on its device, 0 where there is none.
    pub inode: u64,
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        let since = meta.modified()?.duration_since(SystemTime::UNIX_EPOCH);
        let modified_ns = match since {
            Ok(after) => after.as_nanos() as i128,
            Err(error) => -(error.duration().as_nanos() as i128),
        };
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&meta);
        #[cfg(not(unix))]
        let inode = 0;
        Ok(Self { len: meta.len(), modified_ns, inode })
    }
}

/// As [`read_file`], and the stamp of the file that was mapped, even if another has its name by
/// now.
///
/// # Errors
/// As [`read_file`].
pub fn read_stamped_file(path: &Path) -> Result<(Bytes, Stamp), ReadError> {
    read_by(path, |file| Ok((Bytes::map(file)?, Stamp::of(file)?)))
}

/// As [`read_file`], with all pages brought in at once.
pub(crate) fn read_whole_file(path: &Path) -> Result<Bytes, ReadError> {
    read_by(path, Bytes::map_whole)
}

fn read_by<T>(path: &Path, map: fn(&File) -> io::Result<T>) -> Result<T, ReadError> {
    let read = || {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        map(&file)
    };
    read().map_err(|error| read_error(path, error))
}

/// Writes `data` to a new file at `path`, durably and all at once; an existing one is refused.
///
/// # Errors
/// [`CreateError::AlreadyExists`] or [`CreateError::Io`].
pub fn write_new_file(path: &Path, data: &[u8]) -> Result<(), CreateError> {
    let mut staged = Staged::new(path).map_err(|e| create_error(path, e))?;
    staged.write(data).map_err(|e| create_error(path, e))?;
    staged.publish(Taken::Refuse)
}

/// Writes `data` to `path`, durably and all at once, replacing what was there.
///
/// # Errors
/// [`CreateError::Io`]; the old content is then still in place.
pub fn write_file_atomic(path: &Path, data: &[u8]) -> Result<(), CreateError> {
    let mut staged = Staged::new(path).map_err(|e| create_error(path, e))?;
    staged.write(data).map_err(|e| create_error(path, e))?;
    staged.publish(Taken::Replace)
}

/// Makes the names inside the folder at `path` durable.
///
/// # Errors
/// [`CreateError::Io`].
pub fn sync_folder(path: &Path) -> Result<(), CreateError> {
    File::open(path).and_then(|f| f.sync_all()).map_err(|e| create_error(path, e))
}

/// What publishing does when the name is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Refuse,
    Replace,
}

/// A temporary file beside its target, removed again unless published.
pub(crate) struct Staged {
    file: BufWriter<File>,
    temporary: PathBuf,
    target: PathBuf,
    published: bool,
}

impl Staged {
    pub(crate) fn new(target: &Path) -> io::Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let folder = folder_of(target);
        loop {
            let count = COUNTER.fetch_add(1, Ordering::Relaxed);
            let temporary = folder.join(format!("{TEMPORARY}{}-{count}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                // Left by a killed process of the same id: take the next number.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
                Ok(file) => {
                    let file = BufWriter::with_capacity(1 << 18, file);
                    let target = target.to_owned();
                    return Ok(Self { file, temporary, target, published: false });
                }
            }
        }
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)
    }

    /// Gives it its name at once, durable or not.
    pub(crate) fn replace(mut self) -> Result<(), CreateError> {
        let mut run = || {
            self.file.flush()?;
            std::fs::rename(&self.temporary, &self.target)?;
            self.published = true;
            Ok(())
        };
        run().map_err(|error| create_error(&self.target, error))
    }

    /// Data first, then the name, then the folder: the order a power cut demands.
    pub(crate) fn publish(mut self, taken: Taken) -> Result<(), CreateError> {
        let mut run = || {
            self.file.flush()?;
            self.file.get_ref().sync_all()?;
            match taken {
                Taken::Replace => std::fs::rename(&self.temporary, &self.target)?,
                Taken::Refuse => rename_new(&self.temporary, &self.target)?,
            }
            self.published = true;
            File::open(folder_of(&self.target))?.sync_all()
        };
        run().map_err(|error| create_error(&self.target, error))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            // Nothing more can be done here; what stays is cleared by the next lock holder.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Renames without replacing: one system call where the file system has it, else a hard link
/// (which also refuses a taken name) and an unlink.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    link_new(from, to)
}

fn link_new(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::hard_link(from, to)?;
    std::fs::remove_file(from)
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

pub(crate) fn read_error(path: &Path, error: io::Error) -> ReadError {
    let path = path.to_owned();
    if error.kind() == io::ErrorKind::NotFound {
        return ReadError::Missing { path };
    }
    ReadError::Io { path, cause: error.into() }
}

pub(crate) fn create_error(path: &Path, error: io::Error) -> CreateError {
    let path = path.to_owned();
    if error.kind() == io::ErrorKind::AlreadyExists {
        return CreateError::AlreadyExists { path };
    }
    CreateError::Io { path, cause: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_files_refuse_and_atomic_ones_replace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.json");
        write_new_file(&path, b"one").unwrap();
        let again = write_new_file(&path, b"two").unwrap_err();
        assert!(matches!(again, CreateError::AlreadyExists { .. }), "{again}");
        assert_eq!(&*read_file(&path).unwrap(), b"one");
        write_file_atomic(&path, b"three").unwrap();
        assert_eq!(&*read_file(&path).unwrap(), b"three");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file stayed");
    }

    #[test]
    fn a_stamp_is_of_the_file_that_was_mapped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model");
        std::fs::write(&path, b"one").unwrap();
        let (bytes, stamp) = read_stamped_file(&path).unwrap();
        assert_eq!((bytes.len(), stamp.len), (3, 3));
        assert_eq!(read_stamped_file(&path).unwrap().1, stamp);
        write_file_atomic(&path, b"two").unwrap();
        assert_ne!(read_stamped_file(&path).unwrap().1, stamp, "another file of that name");
        let past = SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(5);
        File::options().append(true).open(&path).unwrap().set_modified(past).unwrap();
        assert_eq!(read_stamped_file(&path).unwrap().1.modified_ns, -5_000_000_000);
    }

    #[test]
    fn the_hard_link_way_refuses_a_taken_name_too() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, b"a").unwrap();
        link_new(&a, &b).unwrap();
        assert!(!a.exists());
        std::fs::write(&a, b"other").unwrap();
        assert_eq!(link_new(&a, &b).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&b).unwrap(), b"a");
    }

    #[test]
    fn errors_name_the_path_and_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let text = read_file(&missing).unwrap_err().to_string();
        assert!(text.contains("missing: no such file"), "{text}");
        let text = read_file(dir.path()).unwrap_err().to_string();
        assert!(text.contains("is a directory"), "{text}");
        let nowhere = dir.path().join("none/file");
        assert!(write_new_file(&nowhere, b"").unwrap_err().to_string().contains("none/file"));
        let full = create_error(&missing, io::Error::from(io::ErrorKind::StorageFull));
        assert!(full.to_string().ends_with("the disk is full; free some space and try again"));
        let closed = create_error(&missing, io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
        assert!(closed.to_string().contains("read-only; remount"), "{closed}");
    }
}

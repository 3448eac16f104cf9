//! [`Dir`] on a real file system.

use crate::file::{Staged, TEMPORARY, Taken, create_error, folder_of, read_error, sync_folder};
use crate::name::is_segment;
use crate::{
    Bytes, CreateError, Dir, Lock, LockError, Log, Name, ReadError, RemoveError, Sink, WriteError,
    read_file,
};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = ".lock";

/// A directory on disk.
#[derive(Debug)]
pub struct FsDir {
    root: PathBuf,
}

impl FsDir {
    /// The existing directory at `root`.
    ///
    /// # Errors
    /// [`ReadError`] if it is absent or a file.
    pub fn open(root: &Path) -> Result<Self, ReadError> {
        match std::fs::metadata(root) {
            Ok(meta) if meta.is_dir() => Ok(Self { root: root.to_owned() }),
            Ok(_) => Err(read_error(root, io::ErrorKind::NotADirectory.into())),
            Err(error) => Err(read_error(root, error)),
        }
    }

    /// The directory at `root`, created durably (with its parents) where absent.
    ///
    /// # Errors
    /// [`CreateError::Io`].
    pub fn create(root: &Path) -> Result<Self, CreateError> {
        create_folder(root)?;
        Ok(Self { root: root.to_owned() })
    }

    /// The names of the folders directly in this directory, sorted.
    ///
    /// # Errors
    /// [`ReadError`] if it cannot be listed.
    pub fn folders(&self) -> Result<Vec<String>, ReadError> {
        let entries = std::fs::read_dir(&self.root).map_err(|e| read_error(&self.root, e))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| read_error(&self.root, e))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.root.join(name.as_str())
    }

    /// The path of a file to be made, its folder made first.
    fn place(&self, name: &Name) -> Result<PathBuf, CreateError> {
        let path = self.path(name);
        create_folder(folder_of(&path))?;
        Ok(path)
    }
}

/// Creates a folder and its parents, each made durable in the one above it.
pub(crate) fn create_folder(path: &Path) -> Result<(), CreateError> {
    if path.is_dir() {
        return Ok(());
    }
    let above = folder_of(path);
    if above != path {
        create_folder(above)?;
    }
    match std::fs::create_dir(path) {
        Ok(()) => sync_folder(above),
        Err(_) if path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(create_error(path, io::ErrorKind::NotADirectory.into()))
        }
        Err(error) => Err(create_error(path, error)),
    }
}

impl Dir for FsDir {
    fn place(&self) -> PathBuf {
        self.root.clone()
    }

    fn read(&self, name: &Name) -> Result<Bytes, ReadError> {
        read_file(&self.path(name))
    }

    fn read_range(&self, name: &Name, range: Range<u64>) -> Result<Bytes, ReadError> {
        let path = self.path(name);
        let mut file = File::open(&path).map_err(|e| read_error(&path, e))?;
        let len = file.metadata().map_err(|e| read_error(&path, e))?.len();
        if range.start > range.end || range.end > len {
            return Err(ReadError::Range { path, start: range.start, end: range.end, len });
        }
        let size = usize::try_from(range.end - range.start)
            .map_err(|_| read_error(&path, io::ErrorKind::FileTooLarge.into()))?;
        file.seek(SeekFrom::Start(range.start)).map_err(|e| read_error(&path, e))?;
        Bytes::fill(size, |out| file.read_exact(out)).map_err(|e| read_error(&path, e))
    }

    fn create_new(&self, name: &Name, data: &[u8]) -> Result<(), CreateError> {
        let path = self.place(name)?;
        let mut staged = Staged::new(&path).map_err(|e| create_error(&path, e))?;
        staged.write(data).map_err(|e| create_error(&path, e))?;
        staged.publish(Taken::Refuse)
    }

    fn create(&self, name: &Name) -> Result<Box<dyn Sink>, CreateError> {
        let path = self.place(name)?;
        let staged = Staged::new(&path).map_err(|e| create_error(&path, e))?;
        Ok(Box::new(FsSink(staged)))
    }

    fn append(&self, name: &Name) -> Result<Box<dyn Log>, CreateError> {
        let path = self.place(name)?;
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| create_error(&path, e))?;
        sync_folder(folder_of(&path))?;
        Ok(Box::new(FsLog { file, path, poisoned: false }))
    }

    fn remove(&self, name: &Name) -> Result<(), RemoveError> {
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(RemoveError::Io { path, cause: error.into() }),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<Name>, ReadError> {
        let path = self.root.join(folder);
        let entries = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|e| read_error(&path, e))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| read_error(&path, e))?;
            let kind = entry.file_type().map_err(|e| read_error(&path, e))?;
            let leaf = entry.file_name();
            let Some(leaf) = leaf.to_str().filter(|s| kind.is_file() && is_segment(s)) else {
                continue;
            };
            let text = if folder.is_empty() { leaf.to_owned() } else { format!("{folder}/{leaf}") };
            names.extend(Name::new(&text));
        }
        names.sort();
        Ok(names)
    }

    fn lock(&self) -> Result<Lock, LockError> {
        let path = self.root.join(LOCK_FILE);
        let refuse = |error: io::Error| LockError::Io { path: path.clone(), cause: error.into() };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(refuse)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { path: self.root.clone(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(refuse(error)),
        }
        // The number only helps the message of whoever comes second; the lock is the kernel's.
        file.set_len(0).map_err(refuse)?;
        file.write_all(std::process::id().to_string().as_bytes()).map_err(refuse)?;
        clear_temporary(&self.root);
        Ok(Lock::file(file))
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(20).read_to_string(&mut text) {
        Ok(_) if text.parse::<u32>().is_ok() => format!("process {text}"),
        _ => "another process".to_owned(),
    }
}

/// Removes what killed writers left behind, here and in the folders directly below. Only the
/// lock's holder writes here, so nothing is in use; a file that cannot be removed costs space and
/// nothing else.
fn clear_temporary(root: &Path) {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let below = entries(root).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let folders = below.map(|entry| entry.path()).chain([root.to_owned()]).collect::<Vec<_>>();
    for entry in folders.iter().flat_map(|folder| entries(folder)) {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && is_temporary(&entry.file_name().to_string_lossy()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether a file is called as [`Staged`] calls its own: process, dash, count.
fn is_temporary(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parts = name.strip_prefix(TEMPORARY).and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(process, count)| is_number(process) && is_number(count))
}

/// The streaming form of [`write_new_file`](crate::write_new_file); a taken name is found when it
/// is published.
///
/// # Errors
/// [`CreateError::Io`].
pub fn stream_new_file(path: &Path) -> Result<Box<dyn Sink>, CreateError> {
    let staged = Staged::new(path).map_err(|e| create_error(path, e))?;
    Ok(Box::new(FsSink(staged)))
}

/// A file at `path` that replaces what was there once it is published, whole but not waited for to
/// reach the disk: after a power cut there may be anything under its name. For what can be made
/// again and has a checksum.
///
/// # Errors
/// [`CreateError::Io`].
pub fn stream_passing_file(path: &Path) -> Result<Box<dyn Sink>, CreateError> {
    let staged = Staged::new(path).map_err(|e| create_error(path, e))?;
    Ok(Box::new(PassingSink(staged)))
}

struct PassingSink(Staged);

impl Sink for PassingSink {
    fn write(&mut self, data: &[u8]) -> Result<(), WriteError> {
        let path = self.0.target().to_owned();
        self.0.write(data).map_err(|e| WriteError::Io { path, cause: e.into() })
    }

    fn publish(self: Box<Self>) -> Result<(), CreateError> {
        self.0.replace()
    }
}

struct FsSink(Staged);

impl Sink for FsSink {
    fn write(&mut self, data: &[u8]) -> Result<(), WriteError> {
        let path = self.0.target().to_owned();
        self.0.write(data).map_err(|e| WriteError::Io { path, cause: e.into() })
    }

    fn publish(self: Box<Self>) -> Result<(), CreateError> {
        self.0.publish(Taken::Refuse)
    }
}

struct FsLog {
    file: File,
    path: PathBuf,
    poisoned: bool,
}

impl FsLog {
    fn run(&mut self, step: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), WriteError> {
        if self.poisoned {
            return Err(WriteError::Poisoned { path: self.path.clone() });
        }
        step(&mut self.file).map_err(|error| {
            self.poisoned = true;
            WriteError::Io { path: self.path.clone(), cause: error.into() }
        })
    }
}

impl Log for FsLog {
    fn append(&mut self, data: &[u8]) -> Result<(), WriteError> {
        self.run(|file| file.write_all(data))
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        self.run(|file| file.sync_data())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passing_file_appears_whole_and_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kept");
        for text in [b"one", b"two"] {
            let mut sink = stream_passing_file(&path).unwrap();
            sink.write(text).unwrap();
            assert_eq!(path.exists(), text == b"two");
            sink.publish().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), text);
        }
        drop(stream_passing_file(&path).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file stayed");
    }

    #[test]
    fn a_streamed_file_appears_whole_and_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a model.gguf");
        let mut sink = stream_new_file(&path).unwrap();
        sink.write(b"one ").unwrap();
        assert!(!path.exists());
        sink.write(b"two").unwrap();
        sink.publish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one two");
        let second = stream_new_file(&path).unwrap().publish().unwrap_err();
        assert!(matches!(second, CreateError::AlreadyExists { .. }), "{second}");
        drop(stream_new_file(&path).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file stayed");
    }
}

//! A folder of files that can be made again, held to a size.

use crate::file::{TEMPORARY, read_whole_file};
use crate::fs::{create_folder, stream_passing_file};
use crate::{Bytes, CreateError, Sink};
use std::fs::{DirEntry, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How old a temporary file must be before it is taken for one that a killed writer left.
const ABANDONED: Duration = Duration::from_hours(1);

/// A folder of files that can be made again. Any number of processes may use it at once; whatever
/// goes wrong with it costs the work of making a file again and nothing else.
#[derive(Clone, Debug)]
pub struct Shelf {
    root: PathBuf,
    size_max: u64,
}

impl Shelf {
    /// The folder at `root`, made when something is put there; files beyond `size_max` bytes
    /// together are removed, those first that were not used for longest.
    pub fn new(root: PathBuf, size_max: u64) -> Self {
        Self { root, size_max }
    }

    /// Where the file `leaf` is, or would be.
    ///
    /// # Panics
    /// If `leaf` is no plain file name.
    pub fn path(&self, leaf: &str) -> PathBuf {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        assert!(leaf.bytes().all(plain) && !leaf.starts_with('.') && !leaf.is_empty(), "{leaf:?}");
        self.root.join(leaf)
    }

    /// The file `leaf` with all its pages mapped, if it is there, and marked as used now.
    ///
    /// # Panics
    /// As [`Shelf::path`].
    pub fn read(&self, leaf: &str) -> Option<Bytes> {
        let path = self.path(leaf);
        let bytes = read_whole_file(&path).ok()?;
        // Where it cannot be marked it is taken for older than it is.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(bytes)
    }

    /// A new file `leaf`, which replaces an older one when it is published, whole but not waited
    /// for to reach the disk.
    ///
    /// # Errors
    /// [`CreateError::Io`]: no room, not allowed.
    ///
    /// # Panics
    /// As [`Shelf::path`].
    pub fn create(&self, leaf: &str) -> Result<Box<dyn Sink>, CreateError> {
        let path = self.path(leaf);
        create_folder(&self.root)?;
        stream_passing_file(&path)
    }

    /// Removes what was not used for longest until no more than the size is left; never `kept`,
    /// which was just put there.
    pub fn trim(&self, kept: &str) {
        let now = SystemTime::now();
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        let mut size = 0u64;
        for entry in std::fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let Some((used, len)) = regular(&entry) else { continue };
            let temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
            let age = now.duration_since(used).unwrap_or_default();
            if temporary && age > ABANDONED {
                let _ = std::fs::remove_file(entry.path());
                continue;
            }
            size = size.saturating_add(len);
            if !temporary && entry.file_name() != *kept {
                files.push((used, len, entry.path()));
            }
        }
        files.sort();
        for (_, len, path) in files {
            if size <= self.size_max {
                break;
            }
            if std::fs::remove_file(path).is_ok() {
                size -= len;
            }
        }
    }

    /// The names of its files, sorted; those being written are left out.
    pub fn list(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let plain = files.filter(|entry| regular(entry).is_some());
        let mut leaves: Vec<String> =
            plain.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        leaves.retain(|leaf| !leaf.starts_with(TEMPORARY));
        leaves.sort();
        leaves
    }

    /// Removes the file `leaf`, if it is there and can be.
    ///
    /// # Panics
    /// As [`Shelf::path`].
    pub fn remove(&self, leaf: &str) {
        let _ = std::fs::remove_file(self.path(leaf));
    }

    /// Removes every file whose name ends in `ending`, what writers left that were killed, and the
    /// folder where that leaves it empty.
    pub fn clear(&self, ending: &str) {
        for entry in std::fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(ending) || name.starts_with(TEMPORARY) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        let _ = std::fs::remove_dir(&self.root);
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// When a plain file was last used, and its length.
fn regular(entry: &DirEntry) -> Option<(SystemTime, u64)> {
    let meta = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some((meta.modified().ok()?, meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(shelf: &Shelf, leaf: &str, len: usize) {
        let mut sink = shelf.create(leaf).unwrap();
        sink.write(&vec![7; len]).unwrap();
        sink.publish().unwrap();
    }

    fn age(shelf: &Shelf, leaf: &str, seconds: u64) {
        let file = File::options().append(true).open(shelf.path(leaf)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path().join("a/b"), 250);
        assert!(shelf.read("one").is_none(), "the folder is made when it is needed");
        for (leaf, seconds) in [("one", 300), ("two", 200), ("three", 100)] {
            put(&shelf, leaf, 100);
            age(&shelf, leaf, seconds);
        }
        assert_eq!(shelf.read("one").unwrap().len(), 100);
        put(&shelf, "four", 50);
        shelf.trim("four");
        let left = ["one", "two", "three", "four"].map(|leaf| shelf.read(leaf).is_some());
        assert_eq!(left, [true, false, true, true], "two was not used for longest");
        put(&shelf, "large", 1000);
        shelf.trim("large");
        assert_eq!(std::fs::read_dir(shelf.root()).unwrap().count(), 1, "it is kept, alone");
    }

    #[test]
    fn what_a_killed_writer_left_is_cleared_what_a_living_one_writes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path().to_owned(), 1000);
        for (name, seconds) in [(".tmp-1-1", 4000), (".tmp-2-2", 10)] {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        }
        put(&shelf, "one", 10);
        shelf.trim("one");
        assert!(!folder.path().join(".tmp-1-1").exists());
        assert!(folder.path().join(".tmp-2-2").exists());
    }

    #[test]
    fn a_shelf_is_listed_and_cleared_of_its_own_files() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path().join("shelf"), u64::MAX);
        shelf.clear(".part");
        assert!(shelf.list().is_empty());
        for leaf in ["b.part", "a.part", "c.txt"] {
            put(&shelf, leaf, 1);
        }
        std::fs::write(shelf.root().join(".tmp-1-1"), "killed").unwrap();
        shelf.remove("b.part");
        shelf.remove("absent");
        assert_eq!(shelf.list(), ["a.part", "c.txt"]);
        shelf.clear(".part");
        assert_eq!(shelf.list(), ["c.txt"]);
        shelf.remove("c.txt");
        shelf.clear(".part");
        assert!(!shelf.root().exists());
    }

    #[test]
    fn a_place_where_nothing_can_be_made_says_so() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), b"").unwrap();
        let shelf = Shelf::new(folder.path().join("file/below"), 1000);
        assert!(shelf.create("one").is_err() && shelf.read("one").is_none());
        shelf.trim("one");
    }
}

//! Parts of a build in a folder beside its output, until that is whole.
//!
//! Each is a frame with the magic `KVANTPRT`: what it is of, and its content. One that is damaged,
//! or of another build, is removed; what it held is made again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kvant_index::Stages;
use kvant_storage::frame::{self, Frame, Kind, Pieces, SaveError};
use kvant_storage::{Bytes, Shelf};

const KIND: Kind = Kind { magic: *b"KVANTPRT", version: 1, features: 0 };
const OF: &str = "of";
const DATA: &str = "data";
const ENDING: &str = ".part";
/// Parts are kept when a build took this part longer than when they were last kept …
const LONGER: u32 = 20;
/// … and keeping them has taken no more than this part of its time.
const SPENT: u32 = 50;

/// The folder, and when something was put there.
#[derive(Debug)]
pub(in crate::command) struct Parts {
    shelf: Shelf,
    after: Duration,
    clock: Mutex<Clock>,
    found: AtomicBool,
}

#[derive(Debug)]
struct Clock {
    began: Instant,
    saved: Instant,
    spent: Duration,
    /// Nothing more can be put there.
    full: bool,
}

impl Parts {
    /// Beside `out`, which is being made from now on; nothing is kept before it has taken `after`.
    pub(super) fn new(out: &Path, after: Duration) -> Self {
        let mut root = out.as_os_str().to_owned();
        root.push(".parts");
        let began = Instant::now();
        let clock = Clock { began, saved: began, spent: Duration::ZERO, full: false };
        let shelf = Shelf::new(PathBuf::from(root), u64::MAX);
        Self { shelf, after, clock: Mutex::new(clock), found: AtomicBool::new(false) }
    }

    /// Those of one build.
    pub(super) fn of(&self, identity: String) -> Kept<'_> {
        Kept { parts: self, identity }
    }

    /// Whether anything of an earlier build was of use.
    pub(super) fn were_found(&self) -> bool {
        self.found.load(Ordering::Relaxed)
    }

    /// Removes what is of none of these builds, or damaged.
    pub(super) fn sweep(&self, identities: &[&str]) {
        for leaf in self.shelf.list().iter().filter(|leaf| leaf.ends_with(ENDING)) {
            let known = |frame: &Frame| identities.iter().any(|identity| is_of(frame, identity));
            if !self.open(leaf).is_some_and(|frame| known(&frame)) {
                self.shelf.remove(leaf);
            }
        }
    }

    /// Removes all of them, and the folder.
    pub(super) fn clear(&self) {
        self.shelf.clear(ENDING);
    }

    fn open(&self, leaf: &str) -> Option<Frame> {
        Frame::open(self.shelf.read(leaf)?, &self.shelf.path(leaf), &KIND).ok()
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_of(frame: &Frame, identity: &str) -> bool {
    frame.section(OF).is_ok_and(|of| *of == *identity.as_bytes())
}

/// Parts of one build.
#[derive(Debug)]
pub(in crate::command) struct Kept<'p> {
    parts: &'p Parts,
    identity: String,
}

impl Kept<'_> {
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    fn write(&self, leaf: &str, pieces: &[&[u8]]) -> Result<(), SaveError> {
        let mut sink = self.parts.shelf.create(leaf)?;
        let of = Pieces { name: OF, data: vec![self.identity.as_bytes()] };
        frame::write(&mut *sink, &KIND, 0, &[of, Pieces { name: DATA, data: pieces.to_vec() }])?;
        Ok(sink.publish()?)
    }
}

impl Stages for Kept<'_> {
    fn load(&self, name: &str) -> Option<Bytes> {
        let frame = self.parts.open(&format!("{name}{ENDING}"))?;
        let data = if is_of(&frame, &self.identity) { frame.section(DATA).ok() } else { None };
        self.parts.found.fetch_or(data.is_some(), Ordering::Relaxed);
        data
    }

    fn is_due(&self) -> bool {
        let clock = self.parts.clock();
        let all = clock.began.elapsed();
        let paid = clock.spent * SPENT <= all && clock.saved.elapsed() >= all / LONGER;
        !clock.full && all >= self.parts.after && paid
    }

    fn save(&self, name: &str, pieces: &[&[u8]]) {
        let began = Instant::now();
        let written = self.write(&format!("{name}{ENDING}"), pieces);
        let mut clock = self.parts.clock();
        clock.full |= written.is_err();
        clock.saved = Instant::now();
        clock.spent += began.elapsed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_one_build_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.kvant");
        let root = folder.path().join("a.kvant.parts");
        let parts = Parts::new(&out, Duration::ZERO);
        let (one, two) = (parts.of("one".into()), parts.of("two".into()));
        assert!(one.load("graph").is_none() && !parts.were_found());
        one.save("graph", &[b"ab", b"c"]);
        one.save("graph", &[b"ab", b"cd"]);
        two.save("near", &[b"x"]);
        assert_eq!(one.load("graph").as_deref(), Some(&b"abcd"[..]));
        assert!(parts.were_found() && two.load("graph").is_none() && one.load("near").is_none());
        std::fs::write(root.join("note.txt"), "of somebody else").unwrap();
        parts.sweep(&["one"]);
        assert!(root.join("graph.part").exists() && !root.join("near.part").exists());
        let mut bytes = std::fs::read(root.join("graph.part")).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(root.join("graph.part"), &bytes).unwrap();
        assert!(one.load("graph").is_none(), "damaged content");
        std::fs::write(root.join("graph.part"), &bytes[..40]).unwrap();
        parts.sweep(&["one"]);
        assert!(!root.join("graph.part").exists(), "a damaged head");
        one.save("graph", &[b"a"]);
        parts.clear();
        let left: Vec<_> = std::fs::read_dir(&root).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "what is not ours stays");
        std::fs::remove_file(root.join("note.txt")).unwrap();
        parts.clear();
        assert!(!root.exists());
    }

    #[test]
    fn nothing_is_kept_before_its_time_or_where_there_is_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts::new(&folder.path().join("a"), Duration::from_hours(1));
        assert!(!parts.of("one".into()).is_due());
        std::fs::write(folder.path().join("b.parts"), "in the way").unwrap();
        let parts = Parts::new(&folder.path().join("b"), Duration::ZERO);
        let kept = parts.of("one".into());
        assert!(kept.is_due());
        kept.save("graph", &[b"a"]);
        assert!(!kept.is_due() && kept.load("graph").is_none());
    }
}

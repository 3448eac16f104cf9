//! From memory to the disk for good: logs begun, segments sealed and merged, files given back.

use super::{Collection, Journal};
use crate::change::Rows;
use crate::limits::{SEGMENT_POINTS_MAX, SEGMENT_VECTORS_SIZE_MAX};
use crate::manifest::{self, Listed, Manifest};
use crate::segment::Columns;
use crate::segment::sealed::{self, Plan, Sealed};
use crate::state::{self, Part};
use crate::wal::{self, Pin, Wal};
use crate::{OpenError, WriteError};
use kvant_storage::Name;

/// So many small segments are merged by a flush.
const SMALL_SEGMENTS: usize = 8;

impl Collection {
    /// Seals the points in memory into a segment, builds its index, and empties the log. Merges
    /// small segments once there are eight. Happens by itself when much has gathered.
    ///
    /// # Errors
    /// [`WriteError::Seal`]; the points stay in memory and in the log.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.check_open()?;
        self.seal()?;
        let small: Vec<usize> = (0..self.state.parts.len())
            .filter(|at| self.state.parts[*at].live_count < self.tuning.seal_points)
            .collect();
        if small.len() >= SMALL_SEGMENTS {
            let groups = self.groups(&small);
            self.merge(&groups)?;
        }
        Ok(())
    }

    /// Flushes and gives the directory to the next one.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); what was written stays durable in either case.
    pub fn close(mut self) -> Result<(), WriteError> {
        self.flush()
    }

    /// Flushes, then merges segments into as few as the limits allow and gives back the space of
    /// replaced and deleted points. O(points), with the vectors of one new segment in memory.
    ///
    /// # Errors
    /// [`WriteError::Seal`]; the collection is then as it was.
    pub fn compact(&mut self) -> Result<(), WriteError> {
        self.check_open()?;
        self.seal()?;
        let all: Vec<usize> = (0..self.state.parts.len()).collect();
        let groups = self.groups(&all);
        self.merge(&groups)
    }

    fn check_open(&self) -> Result<(), WriteError> {
        match self.journal {
            Journal::Stopped { .. } => Err(WriteError::Stopped { path: self.dir.place() }),
            Journal::Open(_) | Journal::Idle { .. } => Ok(()),
        }
    }

    pub(super) fn seal_if_large(&mut self) -> Result<(), WriteError> {
        let growing = &self.state.growing;
        let large = growing.len() >= self.tuning.seal_points.max(1)
            || growing.size_bytes() >= self.tuning.seal_size_bytes;
        if growing.len() > 0 && large {
            self.check_open()?;
            self.seal()?;
        }
        Ok(())
    }

    /// Begins a log of its own with the records of the one found at opening.
    pub(super) fn begin(&mut self) -> Result<(), OpenError> {
        let Journal::Idle { records, .. } = &self.journal else { return Ok(()) };
        let records = records.clone();
        let number = self.take_number();
        let (wal, pin) = Wal::create(&*self.dir, number, self.id, self.pin.first, &records)?;
        // Until this succeeds nothing is written to the new log, so either manifest will do.
        let segments = self.state.parts.iter().map(Part::listed).collect();
        self.publish(&pin, segments)?;
        self.begun(wal, pin);
        self.clean();
        Ok(())
    }

    /// Segment first, then an empty log, then the manifest that makes both count.
    fn seal(&mut self) -> Result<(), WriteError> {
        let first = match &self.journal {
            Journal::Open(wal) => wal.last() + 1,
            Journal::Idle { records, .. } => self.pin.first + records.len() as u64,
            Journal::Stopped { .. } => return self.check_open(),
        };
        if first == self.pin.first {
            return Ok(());
        }
        let rows = self.state.growing.compacted(self.state.settings.dim);
        let sealed = self.write_segment(&rows)?;
        drop(rows);
        let mut segments: Vec<Listed> = self.state.parts.iter().map(Part::listed).collect();
        segments.extend(sealed.iter().map(Part::listed));
        self.turn(first, segments)?;
        self.state.adopt(sealed);
        self.clean();
        Ok(())
    }

    /// Turns the page: an empty log that starts at record `first`, and a manifest of `segments`
    /// that makes it count. Every manifest has a log of its own, whose first mark proves that the
    /// manifest is durable; without that, what older manifests name could not be removed.
    fn turn(&mut self, first: u64, segments: Vec<Listed>) -> Result<(), OpenError> {
        let number = self.take_number();
        let (wal, pin) = Wal::create(&*self.dir, number, self.id, first, &[])?;
        if let Err(error) = self.publish(&pin, segments) {
            // The manifest may or may not be there, so no log may go on until that is known.
            self.journal = Journal::Stopped { size: self.info().bytes_log };
            return Err(error);
        }
        self.begun(wal, pin);
        Ok(())
    }

    /// Writes rows as a segment and opens it, which verifies what the disk holds. `None` for none.
    fn write_segment(&mut self, rows: &Rows) -> Result<Option<Part>, OpenError> {
        if rows.ids.is_empty() {
            return Ok(None);
        }
        let number = self.take_number();
        let plan = Plan {
            settings: &self.state.settings,
            collection: self.id,
            threads: self.tuning.threads,
        };
        let listed = Sealed::write(&*self.dir, number, rows, &plan)?;
        let segment = Sealed::open(&*self.dir, &listed, &plan)?;
        Ok(Some(Part::new(segment, listed.live)))
    }

    /// The segments at `candidates`, in order, in groups that fit one segment each. A group of one
    /// segment with nothing to give back is left out.
    fn groups(&self, candidates: &[usize]) -> Vec<Vec<usize>> {
        let by_size = SEGMENT_VECTORS_SIZE_MAX / (self.state.settings.dim * 4);
        let limit = SEGMENT_POINTS_MAX.min(by_size);
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut filled = 0;
        for at in candidates {
            let count = self.state.parts[*at].live_count;
            if groups.is_empty() || filled + count > limit {
                groups.push(Vec::new());
                filled = 0;
            }
            filled += count;
            if let Some(group) = groups.last_mut() {
                group.push(*at);
            }
        }
        let whole = |at: usize| {
            let part = &self.state.parts[at];
            part.live_count == part.live.len()
        };
        groups.retain(|group| group.len() > 1 || !whole(group[0]));
        groups
    }

    /// Replaces each group of segments by one. The log must be empty.
    fn merge(&mut self, groups: &[Vec<usize>]) -> Result<(), WriteError> {
        if groups.is_empty() {
            return Ok(());
        }
        assert_eq!(self.state.growing.len(), 0, "sealed before");
        let mut merged = Vec::with_capacity(groups.len());
        for group in groups {
            let rows = self.rows_of(group)?;
            merged.extend(self.write_segment(&rows)?);
        }
        let gone = |at: usize| groups.iter().any(|group| group.contains(&at));
        let kept = self.state.parts.iter().enumerate().filter(|(at, _)| !gone(*at));
        let segments = kept.map(|(_, part)| part.listed()).chain(merged.iter().map(Part::listed));
        let segments = segments.collect();
        // Before the page turns, so that a damaged identifier leaves everything as it was.
        let kept = self.state.parts.iter().enumerate().filter(|(at, _)| !gone(*at));
        let places = state::places(kept.map(|(_, part)| part).chain(&merged))?;
        self.turn(self.pin.first, segments)?;
        let mut parts = std::mem::take(&mut self.state.parts);
        let mut at = 0;
        parts.retain(|_| {
            at += 1;
            !gone(at - 1)
        });
        parts.extend(merged);
        self.state.replace(places, parts);
        self.clean();
        Ok(())
    }

    fn rows_of(&self, group: &[usize]) -> Result<Rows, OpenError> {
        let parts = || group.iter().map(|at| &self.state.parts[*at]);
        let count: usize = parts().map(|part| part.live_count).sum();
        let mut rows = Rows::default();
        rows.vectors.reserve_exact(count * self.state.settings.dim);
        for part in parts() {
            for row in part.live.iter() {
                let id = part.segment.id(row).ok_or_else(|| {
                    let what = format!("the identifier of row {row} is senseless");
                    sealed::corrupt(part.segment.path(), &what)
                })?;
                rows.ids.push(id);
                rows.payloads.push(part.segment.payload(row).into());
                rows.vectors.extend_from_slice(part.segment.vector(row));
            }
        }
        Ok(rows)
    }

    /// Makes a manifest of the log `pin` and `segments`; after that it is the state on disk.
    fn publish(&mut self, pin: &Pin, segments: Vec<Listed>) -> Result<(), OpenError> {
        let number = self.take_number();
        let manifest = Manifest {
            number,
            settings: self.state.settings.clone(),
            collection: self.id,
            wal: pin.clone(),
            segments,
        };
        self.manifest_size = manifest.publish(&*self.dir)?;
        self.manifest = number;
        Ok(())
    }

    fn begun(&mut self, mut wal: Wal, pin: Pin) {
        wal.mark();
        self.journal = Journal::Open(wal);
        self.pin = pin;
    }

    fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Removes the files that the manifest, now durable, does not name. What cannot be removed
    /// costs space until the next time.
    pub(super) fn clean(&self) {
        let segments: Vec<u64> = self.state.parts.iter().map(|p| p.segment.number()).collect();
        for folder in [manifest::FOLDER, wal::FOLDER, sealed::FOLDER] {
            let Ok(numbers) = manifest::numbers(&*self.dir, folder) else { continue };
            for number in numbers {
                let used = match folder {
                    manifest::FOLDER => number == self.manifest,
                    wal::FOLDER => number == self.pin.number,
                    _ => segments.contains(&number),
                };
                if !used {
                    let _ = self.dir.remove(&Name::numbered(folder, number));
                }
            }
        }
    }
}

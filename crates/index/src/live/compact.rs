//! Making one index of all parts of a live one.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use kvant_storage::{Bytes, bytes_of_f32};

use super::part::Part;
use super::snapshot::Snapshot;
use super::{Live, LiveError, LiveOptions, Place};
use crate::any::Before;
use crate::{BuildOptions, FloatRows, Index};

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    /// Rows of the index it made.
    pub kept: usize,
    /// Rows removed or replaced whose space it gave back.
    pub dropped: usize,
}

impl Live {
    /// Makes one index of everything that is left, as the spec says, and gives the space of what
    /// was removed or replaced back once no [`Snapshot`] holds it. Searches and changes go on
    /// meanwhile; what they change counts. Another compaction waits for this one.
    ///
    /// Takes the time of building the index, but for what is taken over from the one before: links
    /// of a graph, mended where they led to what is gone, and centroids of lists. While it lasts it
    /// takes the memory of both.
    ///
    /// # Errors
    /// If the code cannot hold the vectors; everything is as it was then.
    pub fn compact(&self) -> Result<Compaction, LiveError> {
        let _alone = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let (frozen, own) = {
            let mut writer = self.writer();
            let own = writer.serial;
            (writer.serial, writer.open) = (own + 1, own + 1);
            writer.changed = Some(Vec::new());
            (self.snapshot(), own)
        };
        let built = self.rebuild(&frozen, own);
        let mut writer = self.writer();
        let changed = writer.changed.take().unwrap_or_default();
        let part = built?;
        let kept = part.ids().len();
        let places = (0..).zip(part.ids()).map(|(row, &id)| (id, Place { part: own, row }));
        let mut places: HashMap<u64, Place> = places.collect();
        let mut next = Snapshot::clone(&self.snapshot());
        next.replace(own, Arc::new(part));
        for id in changed {
            // What was put or removed since it began is as it is now.
            let stale = match writer.places.get(&id) {
                Some(&place) => places.insert(id, place),
                None => places.remove(&id),
            };
            if let Some(stale) = stale.filter(|place| place.part == own) {
                next.mask(stale);
            }
        }
        writer.places = places;
        self.publish(next);
        Ok(Compaction { kept, dropped: frozen.rows() - kept })
    }

    /// One part of all that lives in `frozen`.
    fn rebuild(&self, frozen: &Snapshot, serial: u64) -> Result<Part, LiveError> {
        let mut ids = Vec::with_capacity(frozen.len());
        let mut vectors = Vec::with_capacity(frozen.len() * self.dim());
        // Where rows of what was built before come from.
        let (mut before, mut from) = (None, Vec::new());
        for view in frozen.views() {
            let (part, all) = (view.part(), view.part().vectors());
            if let Some(index) = part.index() {
                before = Some(index.shape());
                from.extend(view.live().map(|row| row.0));
            }
            for row in view.live() {
                ids.push(part.ids()[row.position()]);
                vectors.extend_from_slice(all.vector(row));
            }
        }
        let bytes = Bytes::copy_of(bytes_of_f32(&vectors));
        drop(vectors);
        let rows = || FloatRows::shared(bytes.clone(), self.dim(), self.metric());
        let (Some(built), Some(kept)) = (rows(), rows()) else {
            unreachable!("whole rows in aligned memory");
        };
        let LiveOptions { seed, threads, ef_construction, .. } = self.options();
        let options = BuildOptions { seed, threads, ef_construction, ..BuildOptions::default() };
        let before = before.map(|shape| Before { shape, from: &from });
        let index = Index::made(&self.spec(), built, before, &options)?;
        Ok(Part::sealed(serial, index, kept, ids))
    }
}

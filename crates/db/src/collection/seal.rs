//! From memory to files for good: chunks sealed, segments merged, files given back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kvant_index::{Bitmap, Row};

use super::{Collection, Published, lock, segment_folder};
use crate::journal::Stamp;
use crate::manifest::{self, Listed, Manifest, numbered, numbers};
use crate::segment::sealed::{Sealed, Site};
use crate::segment::{Entry, Store};
use crate::state::{Part, State};
use crate::{Config, OpenError, WriteError};

/// So many segments of about one size are merged.
const TIER: usize = 4;
/// Rows of the smallest size.
const TIER_ROWS: usize = 4096;
/// Chunks take at most so many times the memory at which they are sealed.
const ROOM: usize = 4;
/// How often one who waits for room looks again.
const LOOK: Duration = Duration::from_millis(20);

impl Collection {
    /// Seals the points in memory into a segment with an index, and frees the log of them. Blocks
    /// nobody.
    ///
    /// # Errors
    /// [`WriteError::Seal`]; the points stay in memory and in the log.
    pub fn flush(&self) -> Result<(), WriteError> {
        let _one = lock(&self.optimizing);
        if !self.is_dropped() {
            self.seal()?;
            while self.index()? {}
        }
        Ok(())
    }

    /// Flushes, then merges segments into as few as the limits allow and gives back the space of
    /// replaced and deleted points. O(points), with one new segment in memory.
    ///
    /// # Errors
    /// [`WriteError::Seal`]; the collection is then as it was.
    pub fn compact(&self) -> Result<(), WriteError> {
        let _one = lock(&self.optimizing);
        if self.is_dropped() {
            return Ok(());
        }
        self.seal()?;
        for group in self.merges() {
            self.merge(&group)?;
        }
        Ok(())
    }

    /// Does one piece of the work that is due: seals, merges, or gives back space. Whether there
    /// was any.
    ///
    /// # Errors
    /// [`WriteError::Seal`].
    pub fn optimize(&self) -> Result<bool, WriteError> {
        let _one = lock(&self.optimizing);
        if self.is_dropped() {
            return Ok(false);
        }
        // What died since the manifest is given back once a manifest says so.
        if (self.is_seal_due() || self.is_wasteful()) && self.seal()? {
            return Ok(true);
        }
        match self.due() {
            Some(group) => Ok(self.merge(&group).map(|()| true)?),
            None => Ok(self.index()?),
        }
    }

    /// Holds every file against its checksums. O(bytes).
    ///
    /// # Errors
    /// [`OpenError::Damage`] with the first place that is not what was written.
    pub fn verify(&self) -> Result<(), OpenError> {
        let segments = lock(&self.published).segments.clone();
        segments.iter().try_for_each(|segment| segment.verify())
    }

    fn is_seal_due(&self) -> bool {
        let state = self.state();
        let (bytes, rows) = state.growing();
        // One that nobody writes to any more keeps the log of all others too.
        let sealed = lock(&self.published).manifest.seq;
        let last = if state.stamp.seq > sealed { self.journal.durable() } else { sealed };
        let behind = last.saturating_sub(sealed);
        rows >= self.tuning.seal_points.max(1)
            || bytes >= self.tuning.seal_size_bytes
            || behind >= self.tuning.seal_records
    }

    fn is_wasteful(&self) -> bool {
        let state = self.state();
        let sealed = |part: &&Part| matches!(part.store, Store::Sealed(_));
        let mut parts = state.parts.iter().filter(sealed);
        parts.any(|part| wasteful(&state.config, part.count, part.live.len()))
    }

    /// Seals what is too much, where nobody does so in the background; else waits while there is
    /// far too much.
    pub(super) fn wait_for_room(&self) -> Result<(), WriteError> {
        if !self.background.load(Ordering::Relaxed) {
            while self.is_seal_due() && self.optimize()? {}
            return Ok(());
        }
        let most = self.tuning.seal_size_bytes.saturating_mul(ROOM);
        while self.state().chunk_bytes() > most && !self.is_dropped() {
            let published = lock(&self.published);
            drop(self.room.wait_timeout(published, LOOK));
        }
        Ok(())
    }

    /// A moment, then a segment of what was in memory then, then the manifest that makes it count.
    fn seal(&self) -> Result<bool, OpenError> {
        let moment = {
            let _applying = lock(&self.applying);
            let mut state = State::clone(&self.state());
            if state.stamp.seq == lock(&self.published).manifest.seq {
                return Ok(false);
            }
            state.close();
            self.replace(state.clone());
            state
        };
        let is_chunk = |part: &&Part| matches!(part.store, Store::Chunk(_));
        let source: Vec<Part> = moment.parts.iter().filter(is_chunk).cloned().collect();
        let made = self.make(&source, &moment)?;
        let kept = moment.parts.iter().filter(|part| !is_chunk(part)).cloned();
        let parts = kept.chain(made.iter().cloned()).collect();
        self.publish(&moment, parts)?;
        self.swap(&source, made);
        self.clean()?;
        Ok(true)
    }

    /// One segment in place of those at `group` among the published ones.
    fn merge(&self, group: &[usize]) -> Result<(), OpenError> {
        let (moment, parts) = self.published_state();
        let now = self.state();
        // What was dropped since is left out: its name may mean something else by now.
        let shown = |at: &usize| {
            let part = parts[*at].clone();
            let same = now.parts.iter().find(|other| other.store.is(&part.store));
            let hidden = same.map_or(part.hidden, |same| Arc::clone(&same.hidden));
            Part { hidden, ..part }
        };
        let source: Vec<Part> = group.iter().map(shown).collect();
        let made = self.make(&source, &now)?;
        let kept = (0..parts.len()).filter(|at| !group.contains(at)).map(|at| parts[at].clone());
        let parts = kept.chain(made.iter().cloned()).collect();
        self.publish(&moment, parts)?;
        self.swap(&source, made);
        self.clean()
    }

    /// The state that the manifest says, and its parts.
    fn published_state(&self) -> (State, Vec<Part>) {
        let published = lock(&self.published);
        let Manifest { config, fields, seq, time, segments, .. } = &published.manifest;
        let mut state = State::new(config.clone());
        state.fields = Arc::new(fields.clone());
        state.stamp = Stamp { seq: *seq, time: *time };
        let parts = segments.iter().zip(&published.segments).map(|(listed, sealed)| {
            Part::sealed(Arc::clone(sealed), listed.live.clone(), listed.hidden.clone())
        });
        (state, parts.collect())
    }

    /// Writes the rows of some parts as a segment and opens it. `None` for no rows.
    fn make(&self, source: &[Part], state: &State) -> Result<Option<Part>, OpenError> {
        let mut entries: Vec<Entry> = Vec::new();
        for part in source {
            entries.extend(part.entries()?);
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let folder = segment_folder(self.id);
        let site = self.site(&folder);
        let files = Sealed::write(&site, &entries, (&state.config, &state.fields))?;
        drop(entries);
        let sealed = Arc::new(Sealed::open(&site, (&files, &[]), &state.config)?);
        Ok(Some(Part::sealed(sealed, Bitmap::full(files.rows), Vec::new())))
    }

    fn site<'a>(&'a self, folder: &'a str) -> Site<'a> {
        let (dir, collection, threads) = (&*self.dir, self.id, self.tuning.threads);
        Site { dir, folder, collection, threads }
    }

    /// Gives one segment the indexes of fields that the collection has by now, in files of their
    /// own. Whether there was one that lacked some.
    fn index(&self) -> Result<bool, OpenError> {
        let now = self.state();
        let (moment, mut parts) = self.published_state();
        let lacks = |part: &Part| match &part.store {
            Store::Sealed(sealed) => !sealed.is_indexed(&now.fields),
            Store::Chunk(_) => false,
        };
        let Some(at) = parts.iter().position(lacks) else { return Ok(false) };
        let old = parts[at].store.clone();
        let Store::Sealed(sealed) = &old else { return Ok(false) };
        let folder = segment_folder(self.id);
        let site = self.site(&folder);
        let files = sealed.indexed(&site, &now.fields)?;
        let hidden = parts[at].hidden.to_vec();
        let new = Store::Sealed(Arc::new(Sealed::open(&site, (&files, &hidden), &now.config)?));
        parts[at].store = new.clone();
        self.publish(&moment, parts)?;
        {
            let _applying = lock(&self.applying);
            let mut state = State::clone(&self.state());
            if let Some(part) = state.parts.iter_mut().find(|part| part.store.is(&old)) {
                part.store = new;
            }
            self.replace(state);
        }
        self.clean()?;
        Ok(true)
    }

    /// Makes a manifest of a moment and these segments; after that it is the state on disk.
    fn publish(&self, moment: &State, parts: Vec<Part>) -> Result<(), OpenError> {
        let folder = manifest::folder(self.id);
        let highest = numbers(&*self.dir, &folder)?.into_iter().max().unwrap_or(0);
        let (mut listed, mut segments) = (Vec::new(), Vec::new());
        for part in parts {
            if let Store::Sealed(sealed) = &part.store {
                let (files, live) = (sealed.files().clone(), Bitmap::clone(&part.live));
                listed.push(Listed { files, live, hidden: part.hidden.to_vec() });
                segments.push(Arc::clone(sealed));
            }
        }
        let manifest = Manifest {
            number: highest + 1,
            collection: self.id,
            config: Config::clone(&moment.config),
            fields: BTreeMap::clone(&moment.fields),
            seq: moment.stamp.seq,
            time: moment.stamp.time,
            segments: listed,
        };
        let size = manifest.publish(&*self.dir)?;
        *lock(&self.published) = Published { manifest, size, segments };
        Ok(())
    }

    /// Puts a segment in the place of what it was made of. What died since is dead in it too.
    fn swap(&self, source: &[Part], made: Option<Part>) {
        let _applying = lock(&self.applying);
        let mut state = State::clone(&self.state());
        let is_source = |part: &Part| source.iter().any(|of| of.store.is(&part.store));
        let place = state.parts.iter().position(is_source).unwrap_or(state.parts.len());
        if let Some(made) = made {
            state.parts.insert(place, survivors(&state, source, made));
        }
        state.parts.retain(|part| !is_source(part));
        self.replace(state);
        self.room.notify_all();
    }

    /// The segments to merge or to write anew next, by place among the published ones.
    fn due(&self) -> Option<Vec<usize>> {
        let (counts, config) = (self.live_counts(), self.config());
        if let Some(at) = counts.iter().position(|(live, rows)| wasteful(&config, *live, *rows)) {
            return Some(vec![at]);
        }
        let tier = |rows: usize| (rows / TIER_ROWS).max(1).ilog(TIER);
        let limit = rows_max(&config);
        (0..16).find_map(|of| {
            let same = counts.iter().enumerate().filter(|(_, (live, _))| tier(*live) == of);
            let group: Vec<usize> = same.map(|(at, _)| at).take(TIER).collect();
            let rows: usize = group.iter().map(|at| counts[*at].0).sum();
            (group.len() == TIER && rows <= limit).then_some(group)
        })
    }

    /// Rows of each published segment: those alive by the manifest, and all.
    fn live_counts(&self) -> Vec<(usize, usize)> {
        let published = lock(&self.published);
        let segments = published.manifest.segments.iter();
        segments.map(|listed| (listed.live.count(), listed.live.len())).collect()
    }

    /// All segments, in groups that fit one each. One with nothing to give back is left out. The
    /// last come first, so that places stay what they are: what is made goes to the end.
    fn merges(&self) -> Vec<Vec<usize>> {
        let (counts, limit) = (self.live_counts(), rows_max(&self.config()));
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut filled = 0;
        for (at, (live, _)) in counts.iter().enumerate() {
            if groups.is_empty() || filled + live > limit {
                groups.push(Vec::new());
                filled = 0;
            }
            filled += live;
            if let Some(group) = groups.last_mut() {
                group.push(at);
            }
        }
        groups.retain(|group| group.len() > 1 || counts[group[0]].0 < counts[group[0]].1);
        groups.reverse();
        groups
    }

    /// Removes the files that the manifest, which is durable, does not name. What cannot be removed
    /// costs space until the next time.
    pub(crate) fn clean(&self) -> Result<(), OpenError> {
        let published = lock(&self.published);
        let folder = manifest::folder(self.id);
        for number in numbers(&*self.dir, &folder)? {
            if number != published.manifest.number {
                let _ = self.dir.remove(&numbered(&folder, number)?);
            }
        }
        let segments = &published.manifest.segments;
        let used = |name: &str| {
            segments.iter().any(|listed| listed.files.all().any(|file| file.name == name))
        };
        // Files of ours are called by digits of a hash; others are none of our business.
        let ours = |name: &str| name.bytes().all(|byte| byte.is_ascii_hexdigit());
        for name in self.dir.list(&segment_folder(self.id))? {
            if ours(name.leaf()) && !used(name.leaf()) {
                let _ = self.dir.remove(&name);
            }
        }
        Ok(())
    }
}

/// The segment made of `source`, with those of its rows alive that are so in `state` by now.
fn survivors(state: &State, source: &[Part], made: Part) -> Part {
    let mut live = Bitmap::clone(&made.live);
    let mut hidden: Vec<String> = Vec::new();
    let mut row = 0;
    for of in source {
        let now = state.parts.iter().find(|part| part.store.is(&of.store));
        for before in of.live.iter() {
            if now.is_none_or(|now| !now.live.contains(before)) {
                live.remove(Row(row));
            }
            row += 1;
        }
        let dropped = now.into_iter().flat_map(|now| now.hidden.iter());
        hidden.extend(dropped.filter(|name| !of.hidden.contains(name)).cloned());
    }
    hidden.sort_unstable();
    hidden.dedup();
    Part { count: live.count(), live: Arc::new(live), hidden: Arc::new(hidden), ..made }
}

/// Whether so many of the rows are dead that a segment is written anew.
fn wasteful(config: &Config, live: usize, rows: usize) -> bool {
    let (dead, optimizer) = (rows - live, config.optimizer);
    let least = optimizer.vacuum_min.min(rows.div_ceil(2)).max(1);
    dead >= least && dead as f64 >= optimizer.vacuum * rows as f64
}

/// Most rows of a segment.
fn rows_max(config: &Config) -> usize {
    let row: usize = config.dense.values().map(|dense| dense.dim * 4).sum();
    config.optimizer.segment_kib.saturating_mul(1024) / row.max(64)
}

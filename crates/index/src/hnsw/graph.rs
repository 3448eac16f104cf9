//! Who is linked to whom, level by level.
//!
//! As bytes, little endian: `m u32 · entry u32 · top level u32 · 0 u32 · level of each row u8,
//! padded to 4 · level 0: len × 2m u32 · levels 1 and up, row by row: m u32 each`. A list shorter
//! than its room ends in [`NONE`].

use crate::file::Reader;
use crate::{FileError, LEVEL_MAX, M_MAX, M_MIN, Row};

use super::net::{Net, Weave};

/// No row: what fills a list of links, and the entry of an empty graph.
pub(super) const NONE: u32 = u32::MAX;

/// Lists of links, `width` places each, in one slab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Links {
    slab: Vec<u32>,
    width: usize,
}

impl Links {
    fn new(lists: usize, width: usize) -> Self {
        Self { slab: vec![NONE; lists * width], width }
    }

    fn get(&self, at: usize) -> &[u32] {
        let list = &self.slab[at * self.width..][..self.width];
        &list[..list.partition_point(|&id| id != NONE)]
    }

    /// The ids of a list without looking for its end first, which waits for all of it.
    fn each(&self, at: usize) -> impl Iterator<Item = u32> + '_ {
        self.slab[at * self.width..][..self.width].iter().copied().take_while(|&id| id != NONE)
    }

    fn set(&mut self, at: usize, ids: &[u32]) {
        let list = &mut self.slab[at * self.width..][..self.width];
        list[..ids.len()].copy_from_slice(ids);
        list[ids.len()..].fill(NONE);
    }
}

/// The levels of a graph. Level 0 holds every row, a higher one the rows whose level reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Graph {
    m: usize,
    entry: u32,
    top: usize,
    base: Links,
    /// `offset[row]..offset[row + 1]` are the lists of `row` in `upper`, from level 1 up.
    offset: Vec<u32>,
    upper: Links,
}

impl Graph {
    /// A graph without links over rows of these levels; `slack` more than the final places in
    /// each list. The entry is `entry`, which has the highest level.
    pub(super) fn new(levels: &[u8], entry: Option<Row>, m: usize, slack: Slack) -> Self {
        let mut offset = Vec::with_capacity(levels.len() + 1);
        let mut lists = 0;
        offset.push(lists);
        for &level in levels {
            lists += u32::from(level);
            offset.push(lists);
        }
        let width = |width| match slack {
            Slack::None => width,
            Slack::Half => width + width / 2,
        };
        Self {
            m,
            entry: entry.map_or(NONE, |row| row.0),
            top: entry.map_or(0, |row| usize::from(levels[row.position()])),
            base: Links::new(levels.len(), width(2 * m)),
            upper: Links::new(lists as usize, width(m)),
            offset,
        }
    }

    /// The neighbours of `row` on `level`, which it must be on.
    pub(super) fn links(&self, row: Row, level: usize) -> &[u32] {
        if level == 0 {
            self.base.get(row.position())
        } else {
            self.upper.get(self.list(row, level))
        }
    }

    fn list(&self, row: Row, level: usize) -> usize {
        assert!(level <= self.level(row), "{row} is not on level {level}");
        self.offset[row.position()] as usize + level - 1
    }

    /// Appends the graph, which must be without slack, to `bytes`.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        for number in [self.m as u32, self.entry, self.top as u32, 0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend((0..self.len() as u32).map(|row| self.level(Row(row)) as u8));
        bytes.resize(bytes.len() + padding(self.len()), 0);
        for slab in [&self.base.slab, &self.upper.slab] {
            bytes.extend(slab.iter().flat_map(|id| id.to_le_bytes()));
        }
    }

    /// Reads what [`write`](Self::write) wrote; afterwards every list is in range for every walk.
    pub(super) fn read(reader: &mut Reader<'_>, len: usize) -> Result<Self, FileError> {
        let m = header("links per node", reader.number()?, M_MIN as u32, M_MAX as u32)? as usize;
        let entry = reader.number()?;
        let top = header("top level", reader.number()?, 0, LEVEL_MAX as u32)? as usize;
        header("reserved number", reader.number()?, 0, 0)?;
        let levels = reader.take(len)?;
        if let Some(&got) = reader.take(padding(len))?.iter().find(|&&byte| byte != 0) {
            return Err(FileError::Header { name: "padding", got: got.into() });
        }
        let highest = levels.iter().copied().max().map_or(0, usize::from);
        let row = (len > 0).then_some(Row(entry));
        let level = row.map_or(Some(0), |row| levels.get(row.position()).copied().map(usize::from));
        if highest != top || level != Some(top) || (len == 0 && entry != NONE) {
            return Err(FileError::Header { name: "entry", got: entry.into() });
        }
        // The slabs are taken before anything of their size is allocated.
        let lists: u64 = levels.iter().copied().map(u64::from).sum();
        let base = reader.slab(len as u64, 2 * m)?;
        let upper = reader.slab(lists, m)?;
        if lists > u64::from(u32::MAX) {
            return Err(FileError::Header { name: "upper lists", got: lists });
        }
        let mut graph = Self::new(levels, row, m, Slack::None);
        fill(&mut graph.base.slab, base);
        fill(&mut graph.upper.slab, upper);
        graph.check()?;
        Ok(graph)
    }

    fn check(&self) -> Result<(), FileError> {
        for row in (0..self.len() as u32).map(Row) {
            for level in 0..=self.level(row) {
                let bad = |&id: &u32| id as usize >= self.len() || self.level(Row(id)) < level;
                if let Some(&got) = self.links(row, level).iter().find(|id| bad(id)) {
                    return Err(FileError::Link { row: row.0, level: level as u8, got });
                }
            }
        }
        Ok(())
    }
}

impl Net for Graph {
    fn m(&self) -> usize {
        self.m
    }

    fn len(&self) -> usize {
        self.offset.len() - 1
    }

    fn entry(&self) -> Option<Row> {
        (self.entry != NONE).then_some(Row(self.entry))
    }

    fn top(&self) -> usize {
        self.top
    }

    fn level(&self, row: Row) -> usize {
        let at = row.position();
        (self.offset[at + 1] - self.offset[at]) as usize
    }

    fn each_link(&self, row: Row, level: usize) -> impl Iterator<Item = Row> + '_ {
        let (links, at) = match level {
            0 => (&self.base, row.position()),
            _ => (&self.upper, self.list(row, level)),
        };
        links.each(at).map(Row)
    }

    fn fetch(&self, row: Row) {
        kvant_kernels::fetch(
            &self.base.slab[row.position() * self.base.width..][..self.base.width],
        );
    }
}

impl Weave for Graph {
    fn most(&self, level: usize) -> usize {
        if level == 0 { 2 * self.m } else { self.m }
    }

    fn width(&self, level: usize) -> usize {
        if level == 0 { self.base.width } else { self.upper.width }
    }

    fn set_links(&mut self, row: Row, level: usize, ids: &[u32]) {
        if level == 0 {
            self.base.set(row.position(), ids);
        } else {
            let at = self.list(row, level);
            self.upper.set(at, ids);
        }
    }
}

/// Room in lists beyond their final length, so that pruning is paid once for many new links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slack {
    None,
    Half,
}

fn padding(len: usize) -> usize {
    len.next_multiple_of(4) - len
}

fn header(name: &'static str, got: u32, least: u32, most: u32) -> Result<u32, FileError> {
    if (least..=most).contains(&got) {
        return Ok(got);
    }
    Err(FileError::Header { name, got: got.into() })
}

fn fill(slab: &mut [u32], bytes: &[u8]) {
    for (id, bytes) in slab.iter_mut().zip(bytes.as_chunks().0) {
        *id = u32::from_le_bytes(*bytes);
    }
}

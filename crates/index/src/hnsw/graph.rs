//! Who is linked to whom, level by level.
//!
//! As bytes behind the header, little endian: `m u32 · entry u32 · top level u32 · upper lists u32
//! · zeros to byte 64 · level 0: len × 2m u32 · where the upper lists of each row begin: (len + 1)
//! u32 · levels 1 and up, row by row: m u32 each`. A list shorter than its room ends in [`NONE`].
//! It is walked where it lies: a link past the last row ends its list, a list that is not there has
//! no links. In version 1 there are 0 for the number of upper lists, no zeros, and, first, the
//! level of each row, u8, padded to 4, for where they begin.

use crate::file::{HEAD, Reader, VERSION};
use crate::number::{Numbers, Part, numbers_of, put};
use crate::{FileError, LEVEL_MAX, M_MAX, M_MIN, Row};

use super::net::{Net, Weave};

/// No row: what fills a list of links, and the entry of an empty graph.
pub(super) const NONE: u32 = u32::MAX;

/// Lists of links, `width` places each, in one slab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Links {
    slab: Numbers,
    width: usize,
    /// The first number that is no row.
    end: u32,
}

impl Links {
    fn new(lists: usize, (width, rows): (usize, usize)) -> Self {
        Self::over(vec![NONE; lists * width].into(), (width, rows))
    }

    fn over(slab: Numbers, (width, rows): (usize, usize)) -> Self {
        Self { slab, width, end: rows as u32 }
    }

    #[inline]
    fn list(&self, at: usize) -> &[u32] {
        self.slab.some(at * self.width..(at + 1) * self.width)
    }

    fn get(&self, at: usize) -> &[u32] {
        let list = self.list(at);
        &list[..list.partition_point(|&id| id < self.end)]
    }

    /// The ids of a list without looking for its end first, which waits for all of it.
    #[inline]
    fn each(&self, at: usize) -> impl Iterator<Item = u32> + '_ {
        let end = self.end;
        self.list(at).iter().copied().take_while(move |&id| id < end)
    }

    fn set(&mut self, at: usize, ids: &[u32]) {
        let list = &mut self.slab.own()[at * self.width..][..self.width];
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
    offset: Numbers,
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
            base: Links::new(levels.len(), (width(2 * m), levels.len())),
            upper: Links::new(lists as usize, (width(m), levels.len())),
            offset: offset.into(),
        }
    }

    /// The neighbours of `row` on `level`; none if it is not on it.
    pub(super) fn links(&self, row: Row, level: usize) -> &[u32] {
        if level == 0 {
            self.base.get(row.position())
        } else {
            self.list(row, level).map_or(&[], |at| self.upper.get(at))
        }
    }

    /// The same with every list of level 0 in as few lines of the cache as it can be.
    pub(super) fn aligned(mut self) -> Self {
        self.base.slab.align();
        self
    }

    /// The places of level 0, and of the levels above.
    pub(super) fn lists(&self) -> [&[u32]; 2] {
        [self.base.slab.all(), self.upper.slab.all()]
    }

    /// Takes over what [`lists`](Self::lists) gave, as bytes, in a graph over the same rows and
    /// levels. `false` where they are not that; then it is without links.
    pub(super) fn restore(&mut self, bytes: &[u8]) -> bool {
        let sizes = self.lists().map(|places| 4 * places.len());
        let fits = bytes.len() == sizes[0] + sizes[1];
        if fits {
            let (base, upper) = bytes.split_at(sizes[0]);
            self.base.slab = numbers_of(base).into();
            self.upper.slab = numbers_of(upper).into();
        }
        let whole = fits && self.check().is_ok();
        if !whole {
            self.base.slab.own().fill(NONE);
            self.upper.slab.own().fill(NONE);
        }
        whole
    }

    /// Links are read here and there.
    pub(super) fn read_apart(&self) {
        for numbers in [&self.base.slab, &self.upper.slab, &self.offset] {
            numbers.read_apart();
        }
    }

    fn list(&self, row: Row, level: usize) -> Option<usize> {
        let at = row.position();
        match *self.offset.some(at..at + 2) {
            [from, to] if from as usize + level <= to as usize => Some(from as usize + level - 1),
            _ => None,
        }
    }

    /// Appends the graph, which must be without slack, to `bytes`, which hold the header.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let lists = self.upper.slab.len() / self.m;
        put(bytes, &[self.m as u32, self.entry, self.top as u32, lists as u32]);
        bytes.resize(HEAD, 0);
        for numbers in [&self.base.slab, &self.offset, &self.upper.slab] {
            put(bytes, numbers.all());
        }
    }

    /// What [`write`](Self::write) wrote, over `len` rows, to be walked where it lies. Reads the
    /// numbers in front and nothing else, O(1): whatever the lists hold, walks end, and meet rows
    /// below `len` only.
    pub(super) fn open(part: &Part, len: usize) -> Result<Self, FileError> {
        let (_, mut reader) = Reader::open(part.head(HEAD), len)?;
        let m = header("links per node", reader.number()?, M_MIN as u32, M_MAX as u32)? as usize;
        let entry = reader.number()?;
        let top = header("top level", reader.number()?, 0, LEVEL_MAX as u32)? as usize;
        let lists = reader.number()?;
        zeros(reader.take(HEAD - 32)?)?;
        let counts = [len as u64 * 2 * m as u64, len as u64 + 1, u64::from(lists) * m as u64];
        let [base, offset, upper] = part.numbers(HEAD, counts)?;
        let (base, upper) = (Links::over(base, (2 * m, len)), Links::over(upper, (m, len)));
        let graph = Self { m, entry, top, base, offset, upper };
        graph.enter().map(|()| graph)
    }

    /// Reads a graph of either version to memory, from behind the header on; afterwards every list
    /// is in range for every walk.
    pub(super) fn read(reader: &mut Reader<'_>, len: usize) -> Result<Self, FileError> {
        let m = header("links per node", reader.number()?, M_MIN as u32, M_MAX as u32)? as usize;
        let entry = reader.number()?;
        let top = header("top level", reader.number()?, 0, LEVEL_MAX as u32)? as usize;
        if reader.version() == VERSION {
            return Self::copied(reader, (m, entry, top), len);
        }
        header("reserved number", reader.number()?, 0, 0)?;
        let levels = reader.take(len)?;
        zeros(reader.take(padding(len))?)?;
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
        graph.base.slab = numbers_of(base).into();
        graph.upper.slab = numbers_of(upper).into();
        graph.check()?;
        Ok(graph)
    }

    /// From behind the top level on.
    fn copied(
        reader: &mut Reader<'_>,
        (m, entry, top): (usize, u32, usize),
        len: usize,
    ) -> Result<Self, FileError> {
        let lists = reader.number()?;
        zeros(reader.take(HEAD - 32)?)?;
        let base = reader.slab(len as u64, 2 * m)?;
        let offset = numbers_of(reader.slab(len as u64 + 1, 1)?).into();
        let upper = numbers_of(reader.slab(lists.into(), m)?).into();
        let base = Links::over(numbers_of(base).into(), (2 * m, len));
        let graph = Self { m, entry, top, base, offset, upper: Links::over(upper, (m, len)) };
        graph.enter()?;
        graph.check()?;
        Ok(graph.aligned())
    }

    /// Refuses an entry that is no row of the top level.
    fn enter(&self) -> Result<(), FileError> {
        let fits = match self.entry() {
            None => self.len() == 0 && self.top == 0,
            Some(row) => row.position() < self.len() && self.level(row) == self.top,
        };
        let got = self.entry.into();
        if fits { Ok(()) } else { Err(FileError::Header { name: "entry", got }) }
    }

    /// Whether every list is in range, and every row on the levels it is said to be. O(links).
    pub(super) fn check(&self) -> Result<(), FileError> {
        let offset = self.offset.all();
        let lists = (self.upper.slab.len() / self.upper.width) as u32;
        let steps = || offset.windows(2).map(|pair| pair[1].checked_sub(pair[0]));
        if let Some(row) = steps().position(|step| step.is_none_or(|step| step > self.top as u32)) {
            let (row, got) = (row as u32, offset[row + 1]);
            return Err(FileError::Link { row, level: 1, got });
        }
        if offset.first() != Some(&0) || offset.last() != Some(&lists) {
            return Err(FileError::Header { name: "upper lists", got: lists.into() });
        }
        for row in (0..self.len() as u32).map(Row) {
            for level in 0..=self.level(row) {
                let list = match level {
                    0 => self.base.list(row.position()),
                    _ => self.list(row, level).map_or(&[][..], |at| self.upper.list(at)),
                };
                let known = |id: u32| (id as usize) < self.len() && self.level(Row(id)) >= level;
                let end = list.iter().position(|&id| id == NONE).unwrap_or(list.len());
                let (ids, rest) = list.split_at(end);
                let bad = ids.iter().find(|&&id| !known(id));
                if let Some(&got) = bad.or_else(|| rest.iter().find(|&&id| id != NONE)) {
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
        match *self.offset.some(at..at + 2) {
            [from, to] => to.saturating_sub(from) as usize,
            _ => 0,
        }
    }

    #[inline]
    fn each_link(&self, row: Row, level: usize) -> impl Iterator<Item = Row> + '_ {
        let (links, at) = match level {
            0 => (&self.base, row.position()),
            // No list has that place.
            _ => (&self.upper, self.list(row, level).unwrap_or(u32::MAX as usize)),
        };
        links.each(at).map(Row)
    }

    #[inline]
    fn fetch(&self, row: Row) {
        kvant_kernels::fetch(
            &self.base.slab.all()[row.position() * self.base.width..][..self.base.width],
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
            assert!(at.is_some(), "{row} is not on level {level}");
            self.upper.set(at.unwrap_or_default(), ids);
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

/// Refuses what is to be zeros and is not.
fn zeros(bytes: &[u8]) -> Result<(), FileError> {
    match bytes.iter().find(|&&byte| byte != 0) {
        None => Ok(()),
        Some(&got) => Err(FileError::Header { name: "padding", got: got.into() }),
    }
}

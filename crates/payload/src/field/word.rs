//! Words with the texts they stand in, and where, for phrases.

use super::FieldError;
use super::dictionary::Dictionary;
use super::part::{Part, varint};
use super::posting::Gather;
use crate::text::{Demand, Wanted, in_sequence};
use roaring::RoaringBitmap;

/// Words with the texts they stand in, and where in them.
///
/// `starts` has for every word where its places begin in `places`; there, for each of its texts in
/// order, how many places (varint) and their differences (varints).
#[derive(Debug)]
pub(super) struct Texts {
    /// Words; what they have are sets of texts, not of rows.
    pub(super) words: Dictionary,
    /// The row of each text.
    pub(super) row_of: Part,
    pub(super) places: Option<Places>,
}

/// Places of words.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) starts: Part,
    pub(super) data: Part,
}

impl Texts {
    /// The rows with a text that fulfils `wanted`; all are below `limit`.
    pub(super) fn rows(&self, wanted: &Wanted, limit: u32) -> Result<RoaringBitmap, FieldError> {
        let texts = self.fulfilling(wanted)?;
        let mut gather = Gather::new(limit);
        for text in texts {
            let row = self.row_of.u32(text as usize)?;
            if row >= limit {
                return Err(self.row_of.damaged());
            }
            gather.add(row);
        }
        Ok(gather.finish())
    }

    fn fulfilling(&self, wanted: &Wanted) -> Result<RoaringBitmap, FieldError> {
        let mut words = Vec::new();
        for (token, place) in wanted.tokens() {
            words.push((self.words.find(token)?, *place));
        }
        if wanted.demand() == Demand::Any {
            let mut gather = Gather::new(self.words.sets.limit);
            for word in words.iter().filter_map(|(word, _)| *word) {
                self.words.sets.gather(word, &mut gather)?;
            }
            return Ok(gather.finish());
        }
        let known: Option<Vec<(usize, u32)>> =
            words.into_iter().map(|(word, place)| Some((word?, place))).collect();
        let Some(known) = known.filter(|known| !known.is_empty()) else {
            return Ok(RoaringBitmap::new());
        };
        let texts = self.all(&known)?;
        match (&self.places, wanted.demand()) {
            (Some(places), Demand::Phrase) if known.len() > 1 => {
                self.in_order(places, &known, &texts)
            }
            _ => Ok(texts),
        }
    }

    /// Texts with all of `words`, the rarest first.
    fn all(&self, words: &[(usize, u32)]) -> Result<RoaringBitmap, FieldError> {
        let mut order = Vec::with_capacity(words.len());
        for (word, _) in words {
            order.push((self.words.sets.count(*word)?, *word));
        }
        order.sort_unstable();
        order.dedup();
        let mut order = order.into_iter();
        let Some((_, first)) = order.next() else { return Ok(RoaringBitmap::new()) };
        let mut rows = self.words.sets.rows(first)?;
        for (_, word) in order {
            if rows.is_empty() {
                break;
            }
            rows &= self.words.sets.rows(word)?;
        }
        Ok(rows)
    }

    /// Those of `texts` in which `words` stand as far from each other as they are asked to.
    fn in_order(
        &self,
        places: &Places,
        words: &[(usize, u32)],
        texts: &RoaringBitmap,
    ) -> Result<RoaringBitmap, FieldError> {
        let mut distinct: Vec<usize> = words.iter().map(|(word, _)| *word).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let mut lists = Vec::with_capacity(distinct.len());
        for word in &distinct {
            let all = self.words.sets.rows(*word)?;
            lists.push(places.lists(*word, &all, texts)?);
        }
        let mut found = RoaringBitmap::new();
        for (at, text) in texts.iter().enumerate() {
            let asked = words.iter().filter_map(|(word, place)| {
                let list = lists.get(distinct.binary_search(word).ok()?)?.get(at)?;
                Some((list, *place))
            });
            let asked: Vec<_> = asked.collect();
            if asked.len() == words.len() && in_sequence(&asked) {
                found.insert(text);
            }
        }
        Ok(found)
    }
}

impl Places {
    /// The places of `word` in each of `wanted`, which are some of the texts `all` it stands in.
    fn lists(
        &self,
        word: usize,
        all: &RoaringBitmap,
        wanted: &RoaringBitmap,
    ) -> Result<Vec<Vec<u32>>, FieldError> {
        let damaged = || self.data.damaged();
        let start = usize::try_from(self.starts.u64(word)?).map_err(|_| damaged())?;
        let mut rest = self.data.get(start..).ok_or_else(damaged)?;
        let mut lists = Vec::with_capacity(wanted.len() as usize);
        let mut left = wanted.iter().peekable();
        for text in all {
            let Some(next) = left.peek() else { break };
            let take = *next == text;
            let count = varint(&mut rest).ok_or_else(damaged)?;
            // Every place takes a byte at least.
            if count > rest.len() as u64 {
                return Err(damaged());
            }
            let mut list = Vec::with_capacity(if take { count as usize } else { 0 });
            let mut place = 0u64;
            for _ in 0..count {
                place += varint(&mut rest)
                    .filter(|by| u32::try_from(*by).is_ok())
                    .ok_or_else(damaged)?;
                if take {
                    list.push(u32::try_from(place).map_err(|_| damaged())?);
                }
            }
            if take {
                lists.push(list);
                left.next();
            }
        }
        Ok(lists)
    }
}

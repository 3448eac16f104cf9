//! The keys and values of the tokens that a language model has read.

pub(crate) mod page;
pub(crate) mod rotate;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::layer::causal::{Causal, Past};
use page::{PAGE, Page, Part};
use rotate::rotate;

/// How a [`Cache`] stores keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheFormat {
    /// 4 bytes a value; what [`Decoder::logits`](crate::Decoder::logits) computes with.
    F32,
    /// 2 bytes a value, rounded to nearest even.
    #[default]
    F16,
    /// 1 byte a value and one f32 scale a head: codes to nearest of `max|x| / 127`. Keys, and the
    /// queries with them, are first turned by a Hadamard matrix where the width of a head is a
    /// power of two, which spreads the few large values keys have (`QuaRot`, Ashkboos et al.,
    /// 2024, §4).
    Int8,
}

impl CacheFormat {
    const ALL: [(Self, &'static str); 3] =
        [(Self::F32, "f32"), (Self::F16, "f16"), (Self::Int8, "int8")];
}

impl fmt::Display for CacheFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(format, _)| format == self).map(|(_, name)| *name);
        f.write_str(name.unwrap_or_default())
    }
}

/// A name that is no cache format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' is no cache format; expected f32, f16 or int8")]
pub struct CacheFormatError {
    /// What was given.
    pub name: String,
}

impl FromStr for CacheFormat {
    type Err = CacheFormatError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found
            .map(|(format, _)| *format)
            .ok_or_else(|| CacheFormatError { name: name.chars().take(40).collect() })
    }
}

/// The keys and values of one sequence, in every layer of one network.
///
/// Grows by pages of 64 tokens up to the context. What it holds depends on its tokens only, not on
/// how they were divided over calls nor on other sequences in them, bit for bit. So a cache may be
/// cut back to the beginning it has in common with a new prompt, and go on from there.
pub struct Cache {
    format: CacheFormat,
    attention: Causal,
    capacity: usize,
    tokens: Vec<u32>,
    /// Pages of each layer.
    layers: Vec<Vec<Page>>,
    /// A key on its way into a page.
    turned: Vec<f32>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("format", &self.format)
            .field("tokens", &self.tokens.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// An empty cache for at most `capacity` tokens.
    pub(crate) fn new(
        format: CacheFormat,
        attention: Causal,
        layers: usize,
        capacity: usize,
    ) -> Self {
        let layers = (0..layers).map(|_| Vec::new()).collect();
        Self { format, attention, capacity, tokens: Vec::new(), layers, turned: Vec::new() }
    }

    /// How keys and values are stored.
    pub fn format(&self) -> CacheFormat {
        self.format
    }

    /// The tokens read so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Number of tokens read so far: the position of the next one.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether nothing was read yet.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Most tokens it takes.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Tokens that still fit.
    pub fn room(&self) -> usize {
        self.capacity - self.tokens.len()
    }

    /// Bytes held for keys and values, unused ends of pages included.
    pub fn size_bytes(&self) -> usize {
        self.layers.iter().flatten().map(Page::size_bytes).sum()
    }

    /// How many tokens at the beginning of `prompt` are those read here.
    pub fn common_prefix(&self, prompt: &[u32]) -> usize {
        self.tokens.iter().zip(prompt).take_while(|(held, wanted)| held == wanted).count()
    }

    /// Forgets the tokens from position `len` on, if there are any, and frees their pages.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        let pages = self.tokens.len().div_ceil(PAGE);
        let slot = self.tokens.len() % PAGE;
        for layer in &mut self.layers {
            layer.truncate(pages);
            if let Some(last) = layer.last_mut().filter(|_| slot > 0) {
                last.forget(slot);
            }
        }
    }

    /// Makes room in a full cache: keeps the first `keep` tokens, forgets the older half of the
    /// rest, and returns the newer half, which is no longer held and must be read again.
    ///
    /// Reading again is the simple way that is right: keys and values of a token depend on all
    /// tokens before it, so turning stored keys to new positions would keep traces of what was
    /// forgotten. What follows is the same as if the shortened text had been the whole text. Costs
    /// a prefill of half the context each half context, about one more pass per token.
    pub fn slide(&mut self, keep: usize) -> Vec<u32> {
        let keep = keep.min(self.tokens.len());
        let gone = (self.tokens.len() - keep).div_ceil(2);
        let rest = self.tokens[keep + gone..].to_vec();
        self.truncate(keep);
        rest
    }

    /// Whether a network of this shape made it.
    pub(crate) fn fits(&self, attention: &Causal, layers: usize) -> bool {
        let shape = |causal: &Causal| (causal.heads, causal.groups, causal.width);
        shape(&self.attention) == shape(attention) && self.layers.len() == layers
    }

    /// Writes the keys and values of the tokens from position [`Cache::len`] on to `layer`; they
    /// count once [`Cache::extend`] was told. `qkv` is `tokens × projected`, keys turned to their
    /// positions.
    pub(crate) fn write(&mut self, layer: usize, qkv: &[f32]) {
        let Causal { heads, groups, width } = self.attention;
        let (from, rotated) = (self.tokens.len(), self.rotated());
        let pages = &mut self.layers[layer];
        for (index, row) in qkv.chunks_exact(self.attention.projected()).enumerate() {
            let (page, slot) = ((from + index) / PAGE, (from + index) % PAGE);
            if page == pages.len() {
                pages.push(Page::new(self.format, groups, width));
            }
            let row = &row[heads * width..];
            for (head, values) in row.chunks_exact(width).enumerate() {
                if head >= groups {
                    pages[page].write(Part::Values, (head - groups, slot), values);
                } else if rotated {
                    self.turned.clear();
                    self.turned.extend_from_slice(values);
                    rotate(&mut self.turned);
                    pages[page].write(Part::Keys, (head, slot), &self.turned);
                } else {
                    pages[page].write(Part::Keys, (head, slot), values);
                }
            }
        }
    }

    /// Takes in `tokens`, whose keys and values were written to every layer.
    pub(crate) fn extend(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }

    /// What attention reads of `layer`.
    pub(crate) fn past(&self, layer: usize) -> Past<'_> {
        Past { pages: &self.layers[layer], rotated: self.rotated() }
    }

    fn rotated(&self) -> bool {
        self.format == CacheFormat::Int8 && self.attention.width.is_power_of_two()
    }
}

//! Two texts as one sequence: `[CLS] a [SEP] b [SEP]`.

use super::one_line;

/// Most types of tokens: what stands with the first text, and with the second.
pub(crate) const TYPES: usize = 2;

/// A sequence as a network reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) tokens: Vec<u32>,
    /// The type of every token; empty: all are of type 0.
    pub(crate) types: Vec<u8>,
}

impl Sequence {
    /// That of a single text.
    pub(crate) fn of_one(tokens: Vec<u32>) -> Self {
        Self { tokens, types: Vec::new() }
    }
}

/// A token and its type.
type Typed = (u32, u8);

/// The special tokens of a pair, and of what types its texts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    before: Vec<Typed>,
    between: Vec<Typed>,
    after: Vec<Typed>,
    first: u8,
    second: u8,
}

impl Frame {
    /// Found by asking `inner`, for a network that knows `types` types.
    pub(super) fn of(inner: &tokenizers::Tokenizer, types: usize) -> Result<Self, String> {
        let fail = |error: &dyn std::fmt::Display| one_line(&error.to_string());
        let bare = inner.encode_fast("a", false).map_err(|error| fail(&error))?;
        let full = inner.encode_fast(("a", "a"), true).map_err(|error| fail(&error))?;
        let (bare, tokens) = (bare.get_ids(), full.get_ids());
        let find = |from: usize| {
            let rest = tokens.get(from..).unwrap_or_default();
            let at = rest.windows(bare.len().max(1)).position(|window| window == bare);
            at.map(|at| from + at).ok_or("tokenizer.json has no place for a second text")
        };
        let first = find(0)?;
        let second = find(first + bare.len())?;
        let known = types.min(TYPES) as u32;
        if let Some(kind) = full.get_type_ids().iter().find(|&&kind| kind >= known) {
            return Err(format!("tokenizer.json has tokens of type {kind}, the network {known}"));
        }
        let typed =
            tokens.iter().zip(full.get_type_ids()).map(|(&token, &kind)| (token, kind as u8));
        let typed: Vec<Typed> = typed.collect();
        Ok(Self {
            before: typed[..first].to_vec(),
            between: typed[first + bare.len()..second].to_vec(),
            after: typed[second + bare.len()..].to_vec(),
            first: typed[first].1,
            second: typed[second].1,
        })
    }

    /// The number of special tokens.
    pub(super) fn special(&self) -> usize {
        self.before.len() + self.between.len() + self.after.len()
    }

    /// The sequence of two texts.
    pub(super) fn join(&self, first: &[u32], second: &[u32]) -> Sequence {
        let text = |tokens: &[u32], kind: u8| -> Vec<Typed> {
            tokens.iter().map(|&token| (token, kind)).collect()
        };
        let (first, second) = (text(first, self.first), text(second, self.second));
        let all = [&self.before[..], &first, &self.between, &second, &self.after].concat();
        let (tokens, types) = all.into_iter().unzip();
        Sequence { tokens, types }
    }
}

/// How many of `first` and `second` tokens stay so that both are at most `limit`: the shorter text
/// is whole as long as it takes no more than half; of two longer ones the longer (of two alike the
/// second) has the odd token.
pub(super) fn shares(first: usize, second: usize, limit: usize) -> (usize, usize) {
    if first + second <= limit {
        return (first, second);
    }
    let short = first.min(second).min(limit / 2);
    let long = limit - short;
    if first > second { (long, short) } else { (short, long) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Token by token: while there are too many, the longer text loses one.
    #[test]
    fn shares_are_those_of_taking_the_last_token_of_the_longer_text() {
        for limit in 0..14 {
            for (first, second) in (0..20).flat_map(|a| (0..20).map(move |b| (a, b))) {
                let (mut short, mut long) = (first.min(second), first.max(second));
                while short + long > limit {
                    if long > short { long -= 1 } else { short -= 1 }
                }
                let expected = if first > second { (long, short) } else { (short, long) };
                assert_eq!(shares(first, second, limit), expected, "{first} {second} {limit}");
            }
        }
    }
}

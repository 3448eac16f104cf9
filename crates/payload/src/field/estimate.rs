//! About how many rows an answer has, without making it.

use super::answer::{Spot, distinct};
use super::{Estimate, FieldError, FieldIndex, Question, Scalar};
use crate::text::{Demand, Wanted};

/// Of longer lists of values, so many are looked up and the rest is thought to be alike.
const LOOKED_UP_MAX: usize = 256;

impl FieldIndex {
    /// About how many rows `question` asks for: at most a few hundred look-ups and no set of rows.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn estimate(&self, question: &Question<'_>) -> Result<Estimate, FieldError> {
        if !self.fits(question) {
            return Err(self.unfit(question));
        }
        Ok(match question {
            Question::Any(scalars) => self.estimate_any(scalars)?,
            Question::Except(scalars) => {
                let any = self.estimate_any(scalars)?;
                let valued = self.set("valued")?.len();
                let rows = u64::from(self.rows);
                // Rows with a value that is listed may have one that is not.
                let both = self.set("several")?.len() + self.set("other")?.len();
                let max = (valued.saturating_sub(any.min) + both).min(rows);
                let min = valued.saturating_sub(any.max).min(max);
                let likely = valued.saturating_sub(any.likely).clamp(min, max);
                Estimate { min, likely, max }
            }
            Question::Prefix(prefix) => {
                let dictionary = self.dictionary()?;
                let span = dictionary.beginning(prefix)?;
                let (mut sum, mut greatest) = (0, 0);
                for at in span.clone().take(LOOKED_UP_MAX) {
                    let count = dictionary.sets.count(at)?;
                    sum += count;
                    greatest = greatest.max(count);
                }
                let rest = span.len().saturating_sub(LOOKED_UP_MAX) as u64;
                self.estimate_sum(span.len() as u64, sum, greatest, rest)
            }
            Question::Range(numbers) => {
                let spans = self.numbers(numbers)?;
                self.estimate_entries(spans.iter().map(|(_, span)| span.len() as u64).sum())
            }
            Question::Period(from, to) => {
                self.estimate_entries(self.column()?.span(*from, *to).len() as u64)
            }
            Question::Within(area) => {
                let all = self.estimate_entries(self.places()?.candidates(*area));
                // A circle is 0.79 of its box; the cells reach somewhat beyond.
                Estimate { min: 0, likely: all.likely * 3 / 4, max: all.max }
            }
            Question::Words(wanted) => self.estimate_words(wanted)?,
            Question::Fact(fact) => Estimate::exact(self.fact(*fact)?.len()),
            Question::Count(from, to) => {
                let sets = self.counts()?;
                let (mut sum, mut greatest) = (0, 0);
                for at in self.count_span(*from, *to)? {
                    sum += sets.count(at)?;
                    greatest = greatest.max(sets.count(at)?);
                }
                // Few rows have several counts.
                let max = sum.min(u64::from(self.rows));
                Estimate { min: greatest.min(max), likely: max, max }
            }
        })
    }

    fn estimate_any(&self, scalars: &[Scalar<'_>]) -> Result<Estimate, FieldError> {
        let scalars = distinct(scalars);
        let looked_up = scalars.len().min(LOOKED_UP_MAX);
        let (mut sum, mut greatest) = (0, 0);
        self.spots(&scalars[..looked_up], &mut |index, spot| {
            let count = match spot {
                Spot::Set(at) => index.sets()?.count(at)?,
                Spot::Span(span) => span.len() as u64,
            };
            sum += count;
            greatest = greatest.max(count);
            Ok(())
        })?;
        let rest = scalars.len() - looked_up;
        Ok(self.estimate_sum(looked_up as u64, sum, greatest, rest as u64))
    }

    /// Of `sum` rows of `looked_up` values, `greatest` of one of them, and `rest` values more.
    fn estimate_sum(&self, looked_up: u64, sum: u64, greatest: u64, rest: u64) -> Estimate {
        let known = self.estimate_entries(sum);
        let (min, max) = (known.min.max(greatest).min(known.max), u64::from(self.valued));
        if rest == 0 {
            return Estimate { min, likely: known.likely.max(min), max: known.max };
        }
        let looked_up = looked_up.min(LOOKED_UP_MAX as u64).max(1);
        let likely = self.estimate_entries(sum.saturating_mul(looked_up + rest) / looked_up).likely;
        Estimate { min, likely: likely.clamp(min, max), max }
    }

    /// The rows of so many different pairs of a value and a row.
    fn estimate_entries(&self, pairs: u64) -> Estimate {
        let (valued, entries) = (u64::from(self.valued), self.entries.max(1));
        let pairs = pairs.min(self.entries);
        let max = pairs.min(valued);
        // All pairs but one of each row may be among those that are not asked for.
        let spare = self.entries.saturating_sub(valued);
        let min = pairs.saturating_sub(spare).max(pairs.div_ceil(u64::from(self.most.max(1))));
        let likely = (u128::from(pairs) * u128::from(valued) / u128::from(entries)) as u64;
        let min = min.min(max);
        Estimate { min, likely: likely.clamp(min, max), max }
    }

    fn estimate_words(&self, wanted: &Wanted) -> Result<Estimate, FieldError> {
        let words = self.texts()?.words;
        let mut tokens: Vec<&str> =
            wanted.tokens().iter().map(|(token, _)| token.as_str()).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let mut counts = Vec::with_capacity(tokens.len().min(LOOKED_UP_MAX));
        let missed = tokens.len().saturating_sub(LOOKED_UP_MAX);
        for token in tokens.into_iter().take(LOOKED_UP_MAX) {
            counts.push(match words.find(token)? {
                Some(at) => words.sets.count(at)?,
                None => 0,
            });
        }
        let texts = self.entries;
        let (least, greatest) = (counts.iter().min(), counts.iter().max());
        let (Some(least), Some(greatest)) = (least.copied(), greatest.copied()) else {
            return Ok(Estimate::default());
        };
        let share = |count: &u64| *count as f64 / texts.max(1) as f64;
        let sum = |of: &dyn Fn(u64) -> u64| {
            counts.iter().fold(0u64, |sum, count| sum.saturating_add(of(*count)))
        };
        let (min, likely, max) = if wanted.demand() == Demand::Any {
            let none: f64 = counts.iter().map(|count| 1.0 - share(count)).product();
            let max = if missed == 0 { sum(&|count| count).min(texts) } else { texts };
            (greatest, ((1.0 - none) * texts as f64) as u64, max)
        } else {
            // Texts that lack a word, if no text lacks two.
            let lacking = sum(&|count| texts.saturating_sub(count));
            let all = wanted.demand() == Demand::All && missed == 0 || wanted.tokens().len() == 1;
            let min = if all { texts.saturating_sub(lacking) } else { 0 };
            // Words of one text belong together: likelier than chance by the root of it.
            let together: f64 = counts.iter().map(share).product::<f64>().sqrt();
            (min, (together * texts as f64) as u64, least)
        };
        let (least, most) = (self.estimate_entries(min).min, self.estimate_entries(max).max);
        let likely = self.estimate_entries(likely.clamp(min.min(max), max)).likely;
        Ok(Estimate { min: least, likely: likely.clamp(least, most), max: most })
    }
}

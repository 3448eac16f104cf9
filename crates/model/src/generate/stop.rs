//! Texts that end a generation.

/// Looks for stop texts in a text that comes in parts.
#[derive(Debug)]
pub(super) struct Stops {
    wanted: Vec<String>,
    /// The end of the text so far, as far as a stop may begin in it.
    held: String,
}

impl Stops {
    pub(super) fn new(wanted: &[String]) -> Self {
        let wanted = wanted.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { wanted, held: String::new() }
    }

    /// Takes in `text`; returns what is certainly before any stop, and whether one has come.
    ///
    /// Of several stops the one that begins first counts. Costs the length of what is held times
    /// that of the stops.
    pub(super) fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        let found = self.wanted.iter().filter_map(|stop| self.held.find(stop)).min();
        // A longer stop may have begun before the one that is complete.
        let open = self.open();
        if let Some(at) = found
            && at <= open
        {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let rest = self.held.split_off(open);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What is held back, which no stop will claim any more; and whether a complete stop ends it.
    pub(super) fn finish(&mut self) -> (String, bool) {
        let mut held = std::mem::take(&mut self.held);
        let found = self.wanted.iter().filter_map(|stop| held.find(stop)).min();
        held.truncate(found.unwrap_or(held.len()));
        (held, found.is_some())
    }

    /// Where the first incomplete stop begins that may be completed; the end if none.
    fn open(&self) -> usize {
        let begins = |at: usize| {
            let rest = &self.held[at..];
            self.wanted.iter().any(|stop| stop.len() > rest.len() && stop.starts_with(rest))
        };
        let longest = self.wanted.iter().map(String::len).max().unwrap_or(0);
        let from = self.held.ceil_char_boundary(self.held.len().saturating_sub(longest));
        let places = self.held[from..].char_indices().map(|(at, _)| from + at);
        places.into_iter().find(|&at| begins(at)).unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run<'a>(stops: &[String], parts: impl IntoIterator<Item = &'a str>) -> (String, bool) {
        let (mut watch, mut out) = (Stops::new(stops), String::new());
        for part in parts {
            let (text, stopped) = watch.push(part);
            out.push_str(&text);
            if stopped {
                return (out, true);
            }
        }
        let (text, stopped) = watch.finish();
        (out + &text, stopped)
    }

    proptest! {
        #[test]
        fn a_text_ends_before_its_first_stop_however_it_is_cut(
            text in "[abé]{0,24}",
            stops in prop::collection::vec("[abé]{0,4}", 0..3),
            cuts in prop::collection::vec(0usize..24, 0..12),
        ) {
            let found = stops.iter().filter(|s| !s.is_empty()).filter_map(|s| text.find(s)).min();
            let expected = &text[..found.unwrap_or(text.len())];
            let mut cuts: Vec<usize> =
                cuts.iter().map(|&at| text.floor_char_boundary(at)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]);
            prop_assert_eq!(run(&stops, parts), (expected.to_owned(), found.is_some()));
        }
    }

    #[test]
    fn only_what_may_become_a_stop_is_held_back() {
        let mut stops = Stops::new(&["###".into(), "\nUser:".into()]);
        assert_eq!(stops.push("Hello #"), ("Hello ".into(), false));
        assert_eq!(stops.push("1\nUs"), ("#1".into(), false));
        assert_eq!(stops.push("e\n"), ("\nUse".into(), false));
        assert_eq!(stops.push("User: and more"), (String::new(), true));
    }
}

//! Which rows a search has met.

/// A set of rows that is emptied at the cost of what was put into it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    words: Vec<u64>,
    touched: Vec<u32>,
}

impl Seen {
    /// Of rows below `len`.
    pub(crate) fn new(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], touched: Vec::new() }
    }

    /// Adds `row`; `false` if it was there.
    pub(crate) fn insert(&mut self, row: u32) -> bool {
        let (at, bit) = (row as usize / 64, 1 << (row % 64));
        let word = &mut self.words[at];
        if *word == 0 {
            self.touched.push(at as u32);
        }
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    /// Whether `row` was added.
    pub(crate) fn contains(&self, row: u32) -> bool {
        self.words[row as usize / 64] >> (row % 64) & 1 == 1
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        for at in self.touched.drain(..) {
            self.words[at as usize] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_fresh_once_until_forgotten() {
        let mut seen = Seen::new(130);
        for _ in 0..2 {
            assert!([0, 63, 64, 129].into_iter().all(|row| seen.insert(row)));
            assert!([0, 63, 64, 129].into_iter().all(|row| !seen.insert(row)));
            assert!(seen.contains(64) && !seen.contains(65));
            seen.clear();
        }
        assert!(seen.words.iter().all(|&word| word == 0));
    }
}

//! Text that comes token by token.

use super::piece::Pieces;

/// Joins the bytes of tokens to text, and gives out only what later tokens cannot change: never a
/// part of a character. Bytes that are no UTF-8 become U+FFFD, as `String::from_utf8_lossy` would
/// have it for the whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    /// The beginning of a character.
    open: Vec<u8>,
}

impl Stream {
    /// Appends to `text` what is certain once `token` came; special tokens say nothing.
    pub(crate) fn push(&mut self, pieces: &Pieces, token: u32, text: &mut String) {
        if pieces.is_special(token) {
            return;
        }
        self.open.extend(pieces.bytes(token));
        let mut from = 0;
        for chunk in self.open.utf8_chunks() {
            text.push_str(chunk.valid());
            from += chunk.valid().len();
            let rest = &self.open[from..];
            // A sequence that ends too early may yet be completed, others are broken.
            let unfinished = std::str::from_utf8(rest).is_err_and(|e| e.error_len().is_none());
            if chunk.invalid().is_empty() || (chunk.invalid().len() == rest.len() && unfinished) {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            from += chunk.invalid().len();
        }
        self.open.drain(..from);
    }

    /// Appends to `text` what is left at the end.
    pub(crate) fn finish(&mut self, text: &mut String) {
        text.push_str(&String::from_utf8_lossy(&std::mem::take(&mut self.open)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> Pieces {
        let ends = (1..=256).collect();
        Pieces { ends, bytes: (0..=u8::MAX).collect(), special: vec![false; 256] }
    }

    fn run(pieces: &Pieces, data: &[u8]) -> String {
        let (mut stream, mut text) = (Stream::default(), String::new());
        for &byte in data {
            stream.push(pieces, u32::from(byte), &mut text);
        }
        stream.finish(&mut text);
        text
    }

    /// Any byte, those of longer characters more often.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![any::<u8>(), 0x80u8..=0xF5, Just(0xE2), Just(0x80)]
    }

    proptest! {
        #[test]
        fn any_bytes_become_the_text_of_the_whole(
            data in prop::collection::vec(byte(), 0..40),
            text in "\\PC{0,12}",
        ) {
            let pieces = bytes();
            prop_assert_eq!(run(&pieces, &data), String::from_utf8_lossy(&data));
            prop_assert_eq!(run(&pieces, text.as_bytes()), text);
        }
    }

    #[test]
    fn a_character_comes_whole_and_at_once() {
        let (pieces, mut stream, mut text) = (bytes(), Stream::default(), String::new());
        let lengths = "é🙂x".bytes().map(|byte| {
            stream.push(&pieces, u32::from(byte), &mut text);
            text.len()
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [0, 2, 2, 2, 2, 6, 7]);
    }
}

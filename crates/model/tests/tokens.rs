//! Long texts are read only as far as needed, and give the tokens of the whole text, cut.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use std::time::{Duration, Instant};

use kvant_model::{EmbedOptions, Encoder};
use kvant_testkit::Random;
use tokenizers::Tokenizer;

struct Pair {
    encoder: Encoder,
    whole: Tokenizer,
}

impl Pair {
    fn open() -> Option<Self> {
        let Some(model) = kvant_testkit::minilm() else {
            kvant_testkit::skip("all-MiniLM-L6-v2 is not here");
            return None;
        };
        let mut whole = Tokenizer::from_file(model.join("tokenizer.json")).unwrap();
        whole.with_truncation(None).unwrap();
        whole.with_padding(None);
        Some(Self { encoder: Encoder::load(&model).unwrap(), whole })
    }

    fn check(&self, text: &str) {
        let ours = self.encoder.tokenize(text).unwrap();
        let mut all = self.whole.encode_fast(text, false).unwrap().get_ids().to_vec();
        all.truncate(self.encoder.max_tokens() - 2);
        let expected = [&[101], all.as_slice(), &[102]].concat();
        let shown: String = text.chars().take(60).collect();
        assert!(ours == expected, "{} characters of {shown:?}", text.chars().count());
    }
}

#[test]
fn long_texts_give_the_tokens_of_the_whole_text() {
    let Some(pair) = Pair::open() else { return };
    let long = 60_000;
    for piece in [
        "word ",
        "word",
        " ",
        "\n\t ",
        "a",
        "漢字",
        "漢字 ",
        "x.y,z",
        "e\u{301}",
        "\u{301}",
        "\u{85}",
        "join\u{85}ed ",
        "no\u{a0}break",
        "zero\u{200b}width ",
        "\0",
        "nul\0 inside ",
        "[CLS] ",
        "[SEP]",
        "antidisestablishmentarianism ",
        "👨\u{200d}👩\u{200d}👧 ",
        "\u{202e}bidi\u{202c} ",
    ] {
        pair.check(&piece.repeat(long / piece.len()));
        pair.check(&format!("{}the end", piece.repeat(long / piece.len())));
        pair.check(&format!("the beginning {}", piece.repeat(long / piece.len())));
    }
    for gap in [5_070, 5_080, 5_090, 10_160, 40_000] {
        pair.check(&format!("{}few words after a gap", " ".repeat(gap)));
        pair.check(&format!("before {} and after", "a".repeat(gap)));
        pair.check(&format!("before {} and after", "\u{301}".repeat(gap)));
    }
}

#[test]
fn random_texts_give_the_tokens_of_the_whole_text() {
    let Some(pair) = Pair::open() else { return };
    let parts = [
        "a",
        "the",
        "[MASK]",
        "un",
        "believable",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\u{85}",
        "\u{a0}",
        ".",
        "漢",
        "é",
        "e\u{301}",
        "\u{200b}",
        "\u{ad}",
        "\0",
        "ß",
        "İ",
        "Σ",
        "ﬁ",
        "1234",
        "-",
    ];
    let mut random = Random::new(3);
    for _ in 0..40 {
        let spaces = random.below(parts.len());
        let mut text = String::new();
        while text.len() < 4_000 + random.below(12_000) {
            text.push_str(parts[random.below(parts.len())]);
            if random.below(spaces + 1) == 0 {
                text.push(' ');
            }
        }
        pair.check(&text);
    }
}

/// Words of 20 bytes with their spaces put the last token of a sequence exactly where the first
/// look at a text ends; the control character inside them is white space to some, nothing to BERT.
#[test]
fn the_end_of_a_look_at_a_text_cuts_no_word() {
    let Some(pair) = Pair::open() else { return };
    for shift in 0..24 {
        for word in ["joi\u{85}ned", "be\u{85}\u{301}\u{85}gan", "a\u{2003}b", "ma[SEP]de"] {
            let word = format!("{word}{}", " ".repeat(20 - word.len()));
            pair.check(&format!("{}{}", " ".repeat(shift), word.repeat(400)));
        }
    }
}

#[test]
fn huge_texts_cost_no_more_than_their_head() {
    let Some(pair) = Pair::open() else { return };
    let words = "a million characters of ordinary words ".repeat(1 << 18);
    let solid = format!("an endless word {}", "x".repeat(10 << 20));
    let start = Instant::now();
    let vector = pair.encoder.embed(&[&words], &EmbedOptions::default()).unwrap();
    assert!(vector.iter().all(|value| value.is_finite()));
    assert_eq!(pair.encoder.tokenize(&words).unwrap().len(), 256);
    assert_eq!(pair.encoder.tokenize(&solid).unwrap(), [101, 2019, 10866, 2773, 100, 102]);
    // 20 MB in all; read whole, or more than once, they would take minutes.
    assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());
}

//! Which characters make words, which stand in texts without spaces, which fold to ASCII.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Blocks of scripts whose texts have no spaces between words, or whose words carry their grammar
/// glued on (Hangul). First and last character.
const UNSPACED: [(char, char); 22] = [
    ('\u{0e00}', '\u{0e7f}'),   // Thai
    ('\u{0e80}', '\u{0eff}'),   // Lao
    ('\u{1000}', '\u{109f}'),   // Myanmar
    ('\u{1100}', '\u{11ff}'),   // Hangul, letters
    ('\u{1780}', '\u{17ff}'),   // Khmer
    ('\u{2e80}', '\u{2fdf}'),   // Han, radicals
    ('\u{3005}', '\u{3007}'),   // Han, repetition and zero
    ('\u{3021}', '\u{3029}'),   // Han, numerals
    ('\u{3031}', '\u{3035}'),   // Kana, repetition
    ('\u{3038}', '\u{303c}'),   // Han, numerals
    ('\u{3041}', '\u{309f}'),   // Hiragana
    ('\u{30a0}', '\u{30ff}'),   // Katakana
    ('\u{3100}', '\u{312f}'),   // Bopomofo
    ('\u{3130}', '\u{318f}'),   // Hangul, compatibility letters
    ('\u{31a0}', '\u{31ff}'),   // Bopomofo, Katakana, extensions
    ('\u{3400}', '\u{4dbf}'),   // Han, extension A
    ('\u{4e00}', '\u{9fff}'),   // Han
    ('\u{a960}', '\u{a97f}'),   // Hangul, letters
    ('\u{ac00}', '\u{d7ff}'),   // Hangul
    ('\u{f900}', '\u{faff}'),   // Han, compatibility
    ('\u{1aff0}', '\u{1b16f}'), // Kana, supplement
    ('\u{20000}', '\u{3ffff}'), // Han, further extensions
];

/// Letters that no decomposition turns into ASCII.
const LETTERS: [(char, &str); 28] = [
    ('Æ', "AE"),
    ('æ', "ae"),
    ('Œ', "OE"),
    ('œ', "oe"),
    ('Ø', "O"),
    ('ø', "o"),
    ('Ł', "L"),
    ('ł', "l"),
    ('Đ', "D"),
    ('đ', "d"),
    ('Ð', "D"),
    ('ð', "d"),
    ('Þ', "TH"),
    ('þ', "th"),
    ('ß', "ss"),
    ('ẞ', "SS"),
    ('Ħ', "H"),
    ('ħ', "h"),
    ('ı', "i"),
    ('Ŧ', "T"),
    ('ŧ', "t"),
    ('Ŋ', "N"),
    ('ŋ', "n"),
    ('ĸ', "q"),
    ('Ɖ', "D"),
    ('ɖ', "d"),
    ('Ə', "A"),
    ('ə', "a"),
];

/// Whether `c` stands in a text whose words have no spaces between them.
pub(super) fn is_unspaced(c: char) -> bool {
    c >= UNSPACED[0].0 && UNSPACED.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// The words of `text`: longest runs of letters and digits of any script, each with the marks that
/// belong to it.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let in_word = |c: char| c.is_alphanumeric() || (!c.is_ascii() && is_combining_mark(c));
    text.split(move |c| !in_word(c)).filter(|word| word.contains(char::is_alphanumeric))
}

/// Parts of `word`, each wholly of scripts without spaces or wholly of others.
pub(super) fn parts(word: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let unspaced = is_unspaced(first);
        let other = |c: char| !is_combining_mark(c) && is_unspaced(c) != unspaced;
        let (part, behind) = rest.split_at(rest.find(other).unwrap_or(rest.len()));
        rest = behind;
        Some((part, unspaced))
    })
}

/// Appends `word` to `out` with its letters in ASCII where they have a form there: accents go,
/// ligatures open. Others stay.
pub(super) fn fold(word: &str, out: &mut String) {
    for c in word.chars() {
        if c.is_ascii() {
            out.push(c);
        } else if let Some((_, ascii)) = LETTERS.iter().find(|(letter, _)| *letter == c) {
            out.push_str(ascii);
        } else {
            let from = out.len();
            out.extend(std::iter::once(c).nfkd().filter(|part| !is_combining_mark(*part)));
            if !out[from..].is_ascii() || out.len() == from {
                out.truncate(from);
                if !is_combining_mark(c) {
                    out.push(c);
                }
            }
        }
    }
}

//! What each tokenizer makes of texts, and that what is stored is found.

use super::language::stopwords;
use super::*;
use crate::{Language, Stopwords};
use proptest::prelude::*;

fn cutter(tokenizer: Tokenizer) -> Cutter {
    Cutter::new(&TextParams { tokenizer, ..TextParams::default() })
}

fn custom(words: &[&str]) -> Stopwords {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    Stopwords::Set { languages: None, custom: Some(words) }
}

fn tokens(cutter: &Cutter, text: &str, side: Side) -> Vec<String> {
    let mut tokens = Vec::new();
    cutter.cut(text, side, &mut |token, _| tokens.push(token.to_owned()));
    tokens
}

fn stored(cutter: &Cutter, text: &str) -> String {
    tokens(cutter, text, Side::Stored).join("|")
}

#[test]
fn words_end_at_whatever_is_no_letter_or_digit() {
    let word = cutter(Tokenizer::Word);
    assert_eq!(stored(&word, "Hello, World! It's 3.14"), "hello|world|it|s|3|14");
    assert_eq!(stored(&word, "Привет, мир_2"), "привет|мир|2");
    assert_eq!(stored(&word, "हिन्दी"), "हिन्दी", "marks belong to their letters");
    assert_eq!(stored(&word, "re\u{301}seau"), "réseau", "one form for both spellings");
    assert_eq!(stored(&word, " \u{301} -- "), "");
    let space = cutter(Tokenizer::Whitespace);
    assert_eq!(stored(&space, " C++  is,\tfun "), "c++|is,|fun");
}

#[test]
fn prefixes_are_stored_and_the_longest_is_asked() {
    let rules = TextParams {
        tokenizer: Tokenizer::Prefix,
        min_token_len: Some(2),
        max_token_len: Some(4),
        stopwords: Some(custom(&["the"])),
        ..TextParams::default()
    };
    let cutter = Cutter::new(&rules);
    assert_eq!(stored(&cutter, "Hello, мир a the"), "he|hel|hell|ми|мир");
    assert_eq!(tokens(&cutter, "hello the a", Side::Asked), ["hell", "the"]);
    assert!(cutter.matches("theory", &cutter.wanted("the", Demand::All)));
    let long = "x".repeat(100);
    let all = self::cutter(Tokenizer::Prefix);
    assert_eq!(tokens(&all, &long, Side::Stored).len(), PREFIX_CHARS_MAX);
    assert!(all.matches(&long, &all.wanted(&long, Demand::All)));
}

#[test]
fn text_without_spaces_is_found_by_any_part() {
    let cutter = cutter(Tokenizer::Multilingual);
    assert_eq!(stored(&cutter, "ＡＢＣ本日x"), "abc|本|本日|日|x");
    assert_eq!(tokens(&cutter, "本日は", Side::Asked), ["本日", "日は"]);
    for text in ["今天是星期一", "本日の日付はカタカナ", "มาทำงานกันเถอะ", "서울에서 만나요"]
    {
        let cells: Vec<&str> = text.graphemes(true).collect();
        for from in 0..cells.len() {
            for to in from + 1..=cells.len() {
                let part = cells[from..to].concat();
                if part.trim().is_empty() {
                    continue;
                }
                for demand in [Demand::All, Demand::Any, Demand::Phrase] {
                    let wanted = cutter.wanted(&part, demand);
                    assert!(cutter.matches(text, &wanted), "{part} in {text}");
                }
            }
        }
        let absent = cutter.wanted("曜日", Demand::All);
        assert!(!cutter.matches(text, &absent));
    }
    let apart = cutter.wanted("今是", Demand::Any);
    assert!(!cutter.matches("今天是星期一", &apart), "pairs are neighbours");
    assert!(cutter.matches("I met 今天 at noon", &cutter.wanted("met 今天 at", Demand::Phrase)));
}

#[test]
fn case_accents_endings_and_empty_words() {
    let rules = TextParams {
        ascii_folding: Some(true),
        stopwords: Some(custom(&["É", "the"])),
        stemmer: Some(Stemmer::Snowball(Language::English)),
        ..TextParams::default()
    };
    let english = Cutter::new(&rules);
    assert_eq!(stored(&english, "The running AÇÃO é Straße Łódź"), "run|acao|strass|lodz");
    assert_eq!(stored(&english, "Ελλάδα 東京"), "ελλάδα|東京", "no ASCII, no change");
    let exact = Cutter::new(&TextParams { lowercase: Some(false), stemmer: None, ..rules });
    assert_eq!(stored(&exact, "The Running the"), "The|Running");
    let rules =
        TextParams { min_token_len: Some(2), max_token_len: Some(3), ..TextParams::default() };
    assert_eq!(stored(&Cutter::new(&rules), "a ab äöü abcd"), "ab|äöü");
    let english = [Stopwords::Language(Language::English)];
    let params = english.map(|list| TextParams { stopwords: Some(list), ..TextParams::default() });
    assert_eq!(stored(&Cutter::new(&params[0]), "The cat and THE dog"), "cat|dog");
    assert!(stopwords(Language::Japanese).contains(&"の"));
    for language in Language::all().filter(|language| language.has_stopwords()) {
        assert!(stopwords(language).len() > 10, "{language:?}");
    }
    for language in Language::all() {
        assert_eq!(Snowball::of(language).is_some(), language.has_stems(), "{language:?}");
    }
}

#[test]
fn each_stemmer_joins_forms_of_its_language() {
    let forms = [
        ("arabic", "كتابه", "كتاب"),
        ("armenian", "քաղաքներում", "քաղաքներից"),
        ("danish", "indtage", "indtagelse"),
        ("dutch", "lichamelijk", "lichamelijke"),
        ("english", "fishing", "fished"),
        ("finnish", "talossa", "talosta"),
        ("french", "majestueuse", "majestueux"),
        ("german", "häuser", "hauses"),
        ("greek", "δρόμος", "δρόμου"),
        ("hungarian", "babakocsi", "babakocsit"),
        ("italian", "abbandonata", "abbandonato"),
        ("norwegian", "havnedistrikter", "havnedistrikt"),
        ("portuguese", "quilométricas", "quilométricos"),
        ("romanian", "absurdă", "absurde"),
        ("russian", "вавиловка", "вавиловку"),
        ("spanish", "chicharrón", "chicharrones"),
        ("swedish", "flickor", "flickorna"),
        ("tamil", "வீடுகள்", "வீடு"),
        ("turkish", "kitaplar", "kitap"),
    ];
    for (language, one, other) in forms {
        let stemmer = Snowball::of(Language::from_name(language).unwrap()).unwrap();
        assert_eq!(stemmer.stem(one), stemmer.stem(other), "{language}");
        let long = "é".repeat(100_000);
        assert_eq!(stemmer.stem(&long), long);
    }
}

#[test]
fn phrases_stand_in_order_and_words_anywhere() {
    let rules = TextParams { stopwords: Some(custom(&["of"])), ..TextParams::default() };
    let cutter = Cutter::new(&rules);
    let stored = "the king of France; slept well, very well";
    let found = |text: &str, demand| cutter.matches(stored, &cutter.wanted(text, demand));
    assert!(found("king France", Demand::Phrase) && found("of king of france", Demand::Phrase));
    assert!(found("well very well", Demand::Phrase) && found("slept", Demand::Phrase));
    assert!(!found("king slept", Demand::Phrase) && !found("France king", Demand::Phrase));
    assert!(found("France slept", Demand::All) && !found("France woke", Demand::All));
    assert!(found("France woke", Demand::Any) && !found("woke", Demand::Any));
    for demand in [Demand::All, Demand::Any, Demand::Phrase] {
        assert!(!found("of ...", demand), "nothing asked, nothing found");
    }
}

proptest! {
    #[test]
    fn what_is_stored_is_found_by_its_own_text(text in "\\PC{0,60}", kind in 0usize..4) {
        let kinds =
            [Tokenizer::Word, Tokenizer::Whitespace, Tokenizer::Prefix, Tokenizer::Multilingual];
        let folding = text.len() % 2 == 0;
        let rules = TextParams {
            tokenizer: kinds[kind],
            ascii_folding: Some(folding),
            ..TextParams::default()
        };
        let cutter = Cutter::new(&rules);
        let mut last = 0;
        cutter.cut(&text, Side::Stored, &mut |token, place| {
            assert!(!token.is_empty() && place >= last);
            last = place;
        });
        for demand in [Demand::All, Demand::Any, Demand::Phrase] {
            let wanted = cutter.wanted(&text, demand);
            let found = cutter.matches(&text, &wanted);
            prop_assert_eq!(found, !wanted.tokens().is_empty(), "{:?}", wanted);
        }
    }
}

//! Tokenizers inside GGUF files.

use std::fs;
use std::path::PathBuf;

use kvant_model::{Decoder, LoadError};

use crate::toy::{Gguf, LLAMA, Toy, words};

const TEXTS: [&str; 7] = [
    "hello, the hell  there\n\n<|turn|>he's 123 at 4.5",
    "  \t x\r\ny ",
    "а б\u{a0}в 日本 🙂",
    "THE'LL we'll",
    "",
    "<|begin|><|turn|>",
    "12345 a1b22",
];

fn decoder(change: impl FnOnce(&mut Gguf)) -> Result<Decoder, LoadError> {
    let toy = Toy::new(LLAMA);
    let mut metadata = toy.metadata();
    change(&mut metadata);
    Decoder::load(&toy.gguf(metadata))
}

fn id(word: &str) -> u32 {
    words().iter().position(|other| other == word).unwrap() as u32
}

#[test]
fn a_gguf_file_and_a_directory_tokenize_alike() {
    let toy = Toy::new(LLAMA);
    let directory = Decoder::load(&toy.directory()).unwrap();
    for name in ["gpt-2", "default", ""] {
        let gguf = decoder(|gguf| match name {
            "" => gguf.remove("tokenizer.ggml.pre"),
            name => gguf.text("tokenizer.ggml.pre", name),
        });
        let gguf = gguf.unwrap();
        for text in TEXTS {
            let tokens = directory.tokenize(text).unwrap();
            assert_eq!(gguf.tokenize(text).unwrap(), tokens, "{text:?}");
            let plain = text.replace("<|turn|>", "").replace("<|begin|>", "");
            assert_eq!(gguf.detokenize(&tokens).unwrap(), plain);
        }
    }
    let tokens = directory.tokenize("the hell").unwrap();
    assert_eq!(tokens, [id("t"), id("he"), id("Ġ"), id("hell")]);
}

#[test]
fn splitters_differ_where_they_should() {
    let tokens = |name: &str, text: &str| {
        let decoder = decoder(|gguf| {
            gguf.text("tokenizer.ggml.pre", name);
            gguf.flag("tokenizer.ggml.add_bos_token", false);
            // Makes it visible which signs are looked at together.
            let pairs = ["1 2", "12 3", "123 4", "h e", "! Ċ", "' L"];
            let joined = ["12", "123", "1234", "he", "!Ċ", "'L"];
            let words: Vec<String> = words()[..256].to_vec();
            let words = [&words[..], &joined.map(String::from)[..]].concat();
            gguf.texts("tokenizer.ggml.tokens", &words);
            gguf.texts("tokenizer.ggml.merges", &pairs);
            gguf.integers("tokenizer.ggml.token_type", &vec![1; words.len()]);
        });
        decoder.unwrap().tokenize(text).unwrap().len()
    };
    let counts = |text| ["gpt-2", "smollm", "llama-bpe", "qwen2"].map(|name| tokens(name, text));
    assert_eq!(counts("1234"), [1, 4, 2, 4]);
    assert_eq!(counts("!\n"), [2, 2, 1, 1]);
    assert_eq!(counts("a'L"), [3, 3, 2, 2]);
    // NFC: two code points of two bytes or more become one of two.
    assert_eq!(counts("e\u{301}"), [3, 3, 3, 2]);
}

#[test]
fn marks_around_a_text_follow_the_flags() {
    let begin = id("<|begin|>");
    for (pre, flag, expected) in [
        ("gpt-2", None, false),
        ("gpt-2", Some(true), true),
        ("llama-bpe", None, true),
        ("llama-bpe", Some(false), false),
    ] {
        let decoder = decoder(|gguf| {
            gguf.text("tokenizer.ggml.pre", pre);
            gguf.size("tokenizer.ggml.bos_token_id", begin as usize);
            if let Some(flag) = flag {
                gguf.flag("tokenizer.ggml.add_bos_token", flag);
            }
        });
        let decoder = decoder.unwrap();
        let prefix = if expected { vec![begin] } else { Vec::new() };
        assert_eq!(decoder.prefix(), prefix);
        let he = [&prefix[..], &[id("he")]].concat();
        assert_eq!(decoder.tokenize("he").unwrap(), he);
        let windows = decoder.windows("hehehehehe", 4).unwrap();
        assert!(windows.iter().all(|window| window.starts_with(&prefix) && window.len() <= 4));
        assert_eq!(windows.concat().len(), 5 + windows.len() * prefix.len());
    }
    let both = decoder(|gguf| {
        gguf.flag("tokenizer.ggml.add_eos_token", true);
        gguf.size("tokenizer.ggml.eos_token_id", id("<|turn|>") as usize);
    });
    assert_eq!(both.unwrap().tokenize("he").unwrap(), [id("he"), id("<|turn|>")]);
}

/// Bytes that have a token of their own: a line break, and all of signs beyond ASCII.
fn bytes() -> impl Iterator<Item = u8> {
    std::iter::once(b'\n').chain(0x80..=0xFF)
}

/// A vocabulary of pieces with scores: `SentencePiece` BPE.
fn pieces(change: impl FnOnce(&mut Gguf)) -> Result<Decoder, LoadError> {
    let toy = Toy::new(LLAMA);
    let mut tokens = vec!["<unk>".to_owned(), "<s>".into(), "</s>".into()];
    let mut kinds = vec![2, 3, 3];
    for byte in bytes() {
        tokens.push(format!("<0x{byte:02X}>"));
        kinds.push(6);
    }
    let rest = ["▁", "a", "b", "ab", "▁a", "▁ab"];
    tokens.extend(rest.map(String::from));
    let unused = tokens.len()..words().len();
    tokens.extend(unused.map(|at| format!("unused{at}")));
    kinds.resize(tokens.len(), 1);
    let scores: Vec<f32> = (0..tokens.len()).map(|at| -(at as f32)).collect();
    let mut metadata = toy.metadata();
    metadata.text("tokenizer.ggml.model", "llama");
    metadata.texts("tokenizer.ggml.tokens", &tokens);
    metadata.floats("tokenizer.ggml.scores", &scores);
    metadata.integers("tokenizer.ggml.token_type", &kinds);
    metadata.size("tokenizer.ggml.bos_token_id", 1);
    change(&mut metadata);
    Decoder::load(&toy.gguf(metadata))
}

#[test]
fn sentence_pieces_join_by_score_and_fall_back_to_bytes() {
    let decoder = pieces(|_| ()).unwrap();
    let first = 3 + bytes().count() as u32;
    let [space, a, b, ab, space_a, space_ab] = [0, 1, 2, 3, 4, 5].map(|at| first + at);
    let byte = |byte| 3 + bytes().position(|other| other == byte).unwrap() as u32;
    assert_eq!(decoder.tokenize("ab").unwrap(), [1, space_ab]);
    // "ab" has the better score, so it forms before "▁a" can.
    assert_eq!(decoder.tokenize("a abb b").unwrap(), [1, space_a, space_ab, b, space, b]);
    assert_eq!(decoder.tokenize("b  ab").unwrap(), [1, space, b, space, space_ab]);
    assert_eq!(decoder.tokenize("éa\n").unwrap(), [1, space, byte(0xC3), byte(0xA9), a, byte(10)]);
    assert_eq!(decoder.tokenize("").unwrap(), [1]);
    for text in ["ab", "a abb  b", "éa\n"] {
        let tokens = decoder.tokenize(text).unwrap();
        assert_eq!(decoder.detokenize(&tokens).unwrap(), text);
    }
    let bare = pieces(|gguf| {
        gguf.flag("tokenizer.ggml.add_space_prefix", false);
        gguf.flag("tokenizer.ggml.add_bos_token", false);
    });
    assert_eq!(bare.unwrap().tokenize("ab a").unwrap(), [ab, space_a]);
}

#[test]
fn tokenizers_that_contradict_themselves_are_refused() {
    let says = |loaded: Result<Decoder, LoadError>, words: &str| {
        let error = loaded.unwrap_err().to_string();
        assert!(error.contains(words), "'{error}' does not say '{words}'");
        assert!(!error.contains('\n') && error.len() < 400, "{error}");
    };
    says(decoder(|g| g.text("tokenizer.ggml.model", "rwkv")), "tokenizer 'rwkv'");
    says(decoder(|g| g.text("tokenizer.ggml.pre", "other\n")), "splitter 'other\\n'");
    says(decoder(|g| g.remove("tokenizer.ggml.tokens")), "tokens must be a list");
    says(decoder(|g| g.texts::<&str>("tokenizer.ggml.tokens", &[])), "tokens must be a list");
    says(decoder(|g| g.remove("tokenizer.ggml.merges")), "merges is missing");
    says(decoder(|g| g.texts("tokenizer.ggml.merges", &["he"])), "no pair");
    says(decoder(|g| g.texts("tokenizer.ggml.merges", &[""])), "no pair");
    says(decoder(|g| g.texts("tokenizer.ggml.merges", &["h absent"])), "not a tokenizer");
    says(decoder(|g| g.integers("tokenizer.ggml.token_type", &[1])), "1 entries of token_type");
    says(decoder(|g| g.flag("tokenizer.ggml.add_bos_token", true)), "bos_token_id names no");
    says(pieces(|g| g.floats("tokenizer.ggml.scores", &[1.0])), "1 scores");
}

#[test]
fn a_directory_without_a_tokenizer_is_told_so() {
    let toy = Toy::new(LLAMA);
    let path: PathBuf = toy.directory();
    fs::write(path.join("tokenizer.json"), "{}").unwrap();
    let error = Decoder::load(&path).unwrap_err().to_string();
    assert!(error.contains("not a tokenizer"), "{error}");
    fs::remove_file(path.join("tokenizer.json")).unwrap();
    assert!(matches!(Decoder::load(&path), Err(LoadError::Missing { .. })));
}

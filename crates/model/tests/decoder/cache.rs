//! Sequences read in parts, side by side, cut back and gone on with.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvant_model::{
    Cache, CacheFormat, Cancel, Decoder, ForwardError, ForwardOptions, Pool, Step, Workspace,
};
use kvant_testkit::Random;

use crate::toy::{CONTEXT, LAYERS, LLAMA, QWEN, SHARED, Toy, words};

const FORMATS: [CacheFormat; 3] = [CacheFormat::F32, CacheFormat::F16, CacheFormat::Int8];

fn tokens(seed: u64, count: usize) -> Vec<u32> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.below(words().len()) as u32).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Reads `tokens` into `cache` in parts of these sizes, the last of which takes what is left.
fn read(
    decoder: &Decoder,
    cache: &mut Cache,
    tokens: &[u32],
    (parts, threads): (&[usize], usize),
) -> Vec<f32> {
    let (mut rest, mut logits, mut room) = (tokens, Vec::new(), Workspace::default());
    for &part in parts.iter().chain([&usize::MAX]) {
        let (now, later) = rest.split_at(part.min(rest.len()));
        if !now.is_empty() {
            let step = Step { cache, tokens: now, from: 0, cancel: None };
            logits.extend_from_slice(
                decoder.advance(&mut [step], &mut room, &Pool::new(threads)).unwrap(),
            );
        }
        rest = later;
    }
    logits
}

#[test]
fn a_sequence_may_be_read_in_any_parts() {
    let decoder = Decoder::load(&Toy::new(SHARED).directory()).unwrap();
    let tokens = tokens(3, 150);
    let whole = decoder.logits(&tokens, ForwardOptions::default()).unwrap();
    for format in FORMATS {
        let mut cache = decoder.cache(format);
        let at_once = bits(&read(&decoder, &mut cache, &tokens, (&[], 1)));
        assert_eq!(at_once == bits(&whole), format == CacheFormat::F32, "{format}");
        assert_eq!((cache.tokens(), cache.room()), (tokens.as_slice(), CONTEXT - 150));
        // Threads share a single token's attention once it sees 128 positions.
        let parts: [(&[usize], usize); 6] = [
            (&[1; 150], 1),
            (&[1; 150], 2),
            (&[120, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 5),
            (&[64, 1, 1, 63], 2),
            (&[63, 2, 70], 3),
            (&[149], 1),
        ];
        for (parts, threads) in parts {
            let mut cache = decoder.cache(format);
            let logits = bits(&read(&decoder, &mut cache, &tokens, (parts, threads)));
            assert!(logits == at_once, "{format} {parts:?} {threads}");
        }
    }
}

#[test]
fn formats_with_fewer_bits_are_near() {
    for kind in [LLAMA, SHARED, QWEN] {
        let decoder = Decoder::load(&Toy::new(kind).directory()).unwrap();
        let tokens = tokens(4, 120);
        let exact = decoder.logits(&tokens, ForwardOptions::default()).unwrap();
        let largest = exact.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let mut sizes = Vec::new();
        // Keys and values are off by 2⁻¹¹ and by 1/254 of the largest of a head.
        for (format, bound) in FORMATS.into_iter().zip([0.0, 2e-3, 3e-2]) {
            let mut cache = decoder.cache(format);
            let logits = read(&decoder, &mut cache, &tokens, (&[], 1));
            let pairs = logits.iter().zip(&exact);
            let far = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
            assert!(far <= bound && (bound == 0.0 || far > 0.0), "{format}: {far}");
            sizes.push(cache.size_bytes());
        }
        assert!(sizes[1] * 2 == sizes[0] && sizes[2] * 3 < sizes[0], "{sizes:?}");
    }
}

#[test]
fn a_sequence_does_not_depend_on_what_else_runs() {
    let decoder = Decoder::load(&Toy::new(LLAMA).directory()).unwrap();
    let sequences: Vec<Vec<u32>> = (0..5).map(|at| tokens(at, 30 + 31 * at as usize)).collect();
    let vocabulary = decoder.vocabulary();
    for (format, threads) in FORMATS.into_iter().zip([1, 3, 2]) {
        let alone: Vec<Vec<u32>> = sequences
            .iter()
            .map(|tokens| bits(&read(&decoder, &mut decoder.cache(format), tokens, (&[], 1))))
            .collect();
        // Beginnings one by one, then the rest of all together, of each only the last logits.
        let mut caches: Vec<Cache> = (0..5).map(|_| decoder.cache(format)).collect();
        let mut room = Workspace::default();
        for (at, (cache, tokens)) in caches.iter_mut().zip(&sequences).enumerate() {
            let part = &tokens[..(at * 13).min(tokens.len() - 1)];
            if !part.is_empty() {
                let step = Step { cache, tokens: part, from: part.len(), cancel: None };
                assert!(
                    decoder
                        .advance(&mut [step], &mut room, &Pool::new(threads))
                        .unwrap()
                        .is_empty()
                );
            }
        }
        let steps = caches.iter_mut().zip(&sequences).map(|(cache, tokens)| {
            let rest = &tokens[cache.len()..];
            Step { cache, tokens: rest, from: rest.len() - 1, cancel: None }
        });
        let mut steps: Vec<Step<'_>> = steps.collect();
        let logits = decoder.advance(&mut steps, &mut room, &Pool::new(threads)).unwrap();
        for (row, alone) in logits.chunks(vocabulary).zip(&alone) {
            assert!(bits(row) == alone[alone.len() - vocabulary..], "{format}");
        }
    }
}

#[test]
fn a_cache_goes_on_from_a_common_beginning() {
    let decoder = Decoder::load(&Toy::new(QWEN).directory()).unwrap();
    let (first, mut second) = (tokens(1, 140), tokens(2, 150));
    second[..77].copy_from_slice(&first[..77]);
    second[77] = (first[77] + 1) % words().len() as u32;
    for format in FORMATS {
        let mut fresh = decoder.cache(format);
        let expected = read(&decoder, &mut fresh, &second, (&[], 1));
        let mut cache = decoder.cache(format);
        read(&decoder, &mut cache, &first, (&[], 1));
        let common = cache.common_prefix(&second);
        assert_eq!(common, 77);
        cache.truncate(common);
        assert_eq!(cache.len(), 77);
        let rest = read(&decoder, &mut cache, &second[77..], (&[5], 1));
        assert!(bits(&rest) == bits(&expected)[77 * decoder.vocabulary()..], "{format}");
        assert_eq!(cache.size_bytes(), fresh.size_bytes());
        cache.truncate(1000);
        assert_eq!(cache.len(), 150);
        cache.truncate(0);
        assert!(cache.is_empty() && cache.size_bytes() == 0);
    }
}

#[test]
fn a_full_cache_slides() {
    let decoder = Decoder::load(&Toy::new(LLAMA).directory()).unwrap();
    let all = tokens(8, CONTEXT);
    let mut cache = decoder.cache(CacheFormat::F16);
    read(&decoder, &mut cache, &all, (&[], 1));
    let rest = cache.slide(11);
    assert_eq!((cache.tokens(), rest.as_slice()), (&all[..11], &all[106..]));
    let logits = read(&decoder, &mut cache, &rest, (&[], 1));
    let short = [&all[..11], &all[106..]].concat();
    let expected = read(&decoder, &mut decoder.cache(CacheFormat::F16), &short, (&[], 1));
    assert!(bits(&logits) == bits(&expected)[11 * decoder.vocabulary()..]);
    assert!(cache.slide(1000).is_empty());
}

#[test]
fn what_cannot_be_read_changes_nothing() {
    let toy = Toy::new(LLAMA);
    let decoder = Decoder::load(&toy.directory()).unwrap();
    let mut room = Workspace::default();
    let mut cache = decoder.cache(CacheFormat::F16);
    read(&decoder, &mut cache, &tokens(1, CONTEXT - 2), (&[], 1));
    let mut other = decoder.cache(CacheFormat::F16);
    let mut advance = |tokens: &[u32], from: usize| {
        let mine = Step { cache: &mut cache, tokens, from, cancel: None };
        let healthy = Step { cache: &mut other, tokens: &[1, 2], from: 0, cancel: None };
        let result =
            decoder.advance(&mut [healthy, mine], &mut room, &Pool::new(2)).map(<[f32]>::len);
        assert!(result.is_err() && other.is_empty() && cache.len() == CONTEXT - 2);
        result.unwrap_err()
    };
    let (held, context) = (CONTEXT - 2, CONTEXT);
    assert_eq!(advance(&[1, 2, 3], 0), ForwardError::Full { held, tokens: 3, context });
    assert_eq!(advance(&[], 0), ForwardError::Length { tokens: 0, from: 0, context });
    assert_eq!(advance(&[1], 2), ForwardError::Length { tokens: 1, from: 2, context });
    let vocabulary = words().len();
    let token = vocabulary as u32;
    assert_eq!(advance(&[token], 0), ForwardError::Vocabulary { token, vocabulary });

    let shared = Decoder::load(&Toy::new(SHARED).directory()).unwrap();
    let mut foreign = shared.cache(CacheFormat::F16);
    let step = Step { cache: &mut foreign, tokens: &[1], from: 0, cancel: None };
    let error =
        decoder.advance(&mut [step], &mut room, &Pool::new(1)).map(<[f32]>::len).unwrap_err();
    assert!(matches!(error, ForwardError::Foreign { .. }), "{error}");
}

#[test]
fn broken_weights_leave_the_caches_as_they_were() {
    let mut toy = Toy::new(LLAMA);
    toy.weights.get_mut("model.embed_tokens.weight").unwrap().1[7 * 48] = f32::NAN;
    let decoder = Decoder::load(&toy.directory()).unwrap();
    let mut room = Workspace::default();
    for format in FORMATS {
        let mut cache = decoder.cache(format);
        read(&decoder, &mut cache, &[1, 2], (&[], 1));
        let step = Step { cache: &mut cache, tokens: &[3, 7], from: 1, cancel: None };
        let error =
            decoder.advance(&mut [step], &mut room, &Pool::new(1)).map(<[f32]>::len).unwrap_err();
        assert!(matches!(error, ForwardError::NotFinite { .. }), "{error}");
        assert_eq!(cache.tokens(), [1, 2]);
    }
}

#[test]
fn cache_formats_have_names() {
    for format in FORMATS {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    let error = "int4".parse::<CacheFormat>().unwrap_err().to_string();
    assert!(error.contains("int4") && error.contains("f16"), "{error}");
}

/// A flag that sets itself when it is looked at for the `at`-th time, and how often it was.
fn ending(at: usize) -> (Cancel, Arc<AtomicUsize>) {
    let looks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&looks);
    (Cancel::when(move || count.fetch_add(1, Ordering::Relaxed) + 1 == at), looks)
}

#[test]
fn a_cancelled_step_leaves_no_trace() {
    let decoder = Decoder::load(&Toy::new(LLAMA).directory()).unwrap();
    let (short, long, last) = (tokens(1, 40), tokens(2, 90), tokens(3, 66));
    for (format, threads) in FORMATS.into_iter().zip([1, 3, 1]) {
        let alone =
            |tokens: &[u32]| bits(&read(&decoder, &mut decoder.cache(format), tokens, (&[], 1)));
        let (of_short, of_long, of_last) = (alone(&short), alone(&long), alone(&last));
        let mut looked = 0;
        for at in 1.. {
            let mut caches = [0; 3].map(|_| decoder.cache(format));
            read(&decoder, &mut caches[1], &long[..30], (&[], 1));
            let (cancel, looks) = ending(at);
            let parts = [&short[..], &long[30..], &last[..]];
            let flags = [None, Some(&cancel), None];
            let mut steps: Vec<_> = caches
                .iter_mut()
                .zip(parts)
                .zip(flags)
                .map(|((cache, tokens), cancel)| Step { cache, tokens, from: 0, cancel })
                .collect();
            let (mut room, pool) = (Workspace::default(), Pool::new(threads));
            let logits = bits(decoder.advance(&mut steps, &mut room, &pool).unwrap());
            let done = at > looks.load(Ordering::Relaxed);
            let of_part = if done { &of_long[30 * decoder.vocabulary()..] } else { &[] };
            assert!(logits == [&of_short[..], of_part, &of_last[..]].concat(), "{format} {at}");
            assert_eq!(caches[1].tokens(), if done { &long[..] } else { &long[..30] });
            if done {
                looked = at - 1;
                break;
            }
            // As if it had never been begun.
            let rest = bits(&read(&decoder, &mut caches[1], &long[30..], (&[7], 1)));
            assert!(rest == of_long[30 * decoder.vocabulary()..], "{format} {at}");
        }
        assert_eq!(looked, LAYERS + 1, "once a layer, and before the tokens count as read");
    }
}

#[test]
fn nothing_is_computed_once_all_steps_are_cancelled() {
    let decoder = Decoder::load(&Toy::new(LLAMA).directory()).unwrap();
    let (first, second) = (tokens(1, 100), tokens(2, 70));
    let begin = |at, threads| {
        let mut caches = [0; 2].map(|_| decoder.cache(CacheFormat::F16));
        let (cancel, looks) = ending(at);
        let mut steps: Vec<_> = caches
            .iter_mut()
            .zip([&first, &second])
            .map(|(cache, tokens)| Step { cache, tokens, from: 0, cancel: Some(&cancel) })
            .collect();
        let mut room = Workspace::default();
        let logits = decoder.advance(&mut steps, &mut room, &Pool::new(threads)).unwrap().len();
        assert!(caches.iter().all(|cache| cache.is_empty() == (logits == 0)), "{at}");
        (logits, looks.load(Ordering::Relaxed))
    };
    let (all, looks) = begin(usize::MAX, 1);
    assert_eq!(all, 170 * decoder.vocabulary());
    assert!(looks > 5 * LAYERS, "between the blocks of a layer too: {looks}");
    for at in 1..looks {
        // Looks after the one that sets the flag do not ask again.
        assert_eq!(begin(at, 1), (0, at));
    }
    for at in 1..looks / 2 {
        assert_eq!(begin(at, 3).0, 0);
    }
}

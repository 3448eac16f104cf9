//! The schedule: the vectors of `Encoder::embed`, nobody starves, short texts do not wait.
#![expect(clippy::unwrap_used, reason = "helpers of a test file")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use kvant_model::{
    Cancel, Checkpoint, Dense, EmbedError, EmbedId, EmbedOptions, Embedded, Encoder, Schedule,
    ScheduleOptions, SubmitError, Weight,
};
use kvant_testkit::Random;
use proptest::prelude::*;

/// Width and longest text of the small network.
const DIM: usize = 32;
const MAX_TOKENS: usize = 24;

/// The small trunk of `testdata/golden/head`, with a chance to change its weights.
fn toy(change: impl FnOnce(&mut Checkpoint)) -> Encoder {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/head");
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("cross/config.json", "config.json"),
        ("cross/model.safetensors", "model.safetensors"),
        ("tokenizer.json", "tokenizer.json"),
    ] {
        fs::copy(golden.join(from), folder.path().join(to)).unwrap();
    }
    let mut checkpoint = Checkpoint::open(folder.path()).unwrap();
    change(&mut checkpoint);
    Encoder::open(&checkpoint).unwrap()
}

fn encoder() -> &'static Arc<Encoder> {
    static ENCODER: OnceLock<Arc<Encoder>> = OnceLock::new();
    ENCODER.get_or_init(|| Arc::new(toy(|_| {})))
}

/// A text of exactly `tokens` tokens, special ones included, told apart by `salt`.
fn text(tokens: usize, salt: usize) -> String {
    const WORDS: [&str; 8] = ["few", "bits", "the", "cat", "dog", "runs", "red", "vector"];
    let words = (0..tokens - 2).map(|at| WORDS[(salt >> (3 * (at % 7))) % 8]);
    words.collect::<Vec<_>>().join(" ")
}

fn embed(texts: &[String]) -> Vec<f32> {
    encoder().embed(texts, &EmbedOptions::default()).unwrap()
}

/// A request: the step before which it comes, and the texts.
#[derive(Clone, Debug)]
struct Asked {
    at: usize,
    lengths: Vec<usize>,
    /// Cancelled before this step.
    cancelled: Option<usize>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let lengths = prop::collection::vec(2..=MAX_TOKENS, 0..12);
    let cancelled = prop_oneof![3 => Just(None), 1 => (0usize..20).prop_map(Some)];
    (0usize..12, lengths, cancelled).prop_map(|(at, lengths, cancelled)| Asked {
        at,
        lengths,
        cancelled,
    })
}

fn options() -> impl Strategy<Value = ScheduleOptions> {
    (1usize..3, 1usize..80, 0usize..6).prop_map(|(threads, step_tokens, patience)| {
        ScheduleOptions { threads, step_tokens, patience, ..ScheduleOptions::default() }
    })
}

/// Runs `asked`, and tells for each request the step in which it ended and what came of it.
fn run(asked: &[Asked], options: ScheduleOptions) -> Vec<(usize, Embedded)> {
    let mut schedule = Schedule::new(encoder().clone(), options);
    let (mut ids, mut flags) = (BTreeMap::<EmbedId, usize>::new(), Vec::new());
    let mut ended: Vec<Option<(usize, Embedded)>> = vec![None; asked.len()];
    flags.resize_with(asked.len(), Cancel::new);
    let mut before = 0;
    for step in 0.. {
        for (index, request) in asked.iter().enumerate() {
            if request.at == step {
                let texts: Vec<String> =
                    request.lengths.iter().map(|&n| text(n, index * 37 + n)).collect();
                let id = schedule.submit(&texts, flags[index].clone()).unwrap();
                assert!(ids.keys().all(|earlier| *earlier < id));
                ids.insert(id, index);
            }
            if request.cancelled == Some(step) {
                flags[index].cancel();
            }
        }
        let waited = schedule.waiting_tokens();
        for done in schedule.step() {
            let index = ids[&done.id];
            assert!(ended[index].is_none(), "told twice");
            ended[index] = Some((step, done));
        }
        // Bounded steps, and no idle ones while somebody waits.
        let ran = waited - schedule.waiting_tokens();
        let goes = |request: &Asked| request.cancelled.map(|at| at.max(request.at)) == Some(step);
        let cancelled = asked.iter().any(goes);
        if !cancelled {
            assert!(ran <= options.step_tokens.max(MAX_TOKENS));
            assert!(ran > 0 || waited == 0);
            let comes = asked.iter().any(|request| request.at == step);
            let full = before + ran > options.step_tokens || schedule.waiting_tokens() == 0;
            assert!(full || before == 0 || comes, "two steps run more than the tokens of one");
        }
        before = if cancelled || schedule.waiting_tokens() == 0 { 0 } else { ran };
        if schedule.is_idle() && asked.iter().all(|request| request.at <= step) {
            assert_eq!(schedule.waiting_tokens(), 0);
            return ended.into_iter().map(Option::unwrap).collect();
        }
        assert!(step < 3000, "somebody starves");
    }
    Vec::new()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Everybody ends, in bounded time, with the vectors of a plain call or as cancelled.
    #[test]
    fn every_request_ends_in_time_with_its_vectors(
        asked in prop::collection::vec(asked(), 1..16),
        options in options(),
    ) {
        let ended = run(&asked, options);
        let all: usize = asked.iter().flat_map(|request| &request.lengths).sum();
        for (index, (request, (step, done))) in asked.iter().zip(&ended).enumerate() {
            let texts: Vec<String> =
                request.lengths.iter().map(|&n| text(n, index * 37 + n)).collect();
            match &done.vectors {
                Ok(vectors) => prop_assert_eq!(vectors, &embed(&texts)),
                Err(error) => {
                    prop_assert_eq!(error, &EmbedError::Cancelled);
                    let cancelled = request.cancelled.unwrap().max(request.at);
                    prop_assert_eq!(*step, cancelled, "within one step");
                }
            }
            let own: usize = request.lengths.iter().sum();
            let bound = (options.patience * own + 2 * all) / options.step_tokens + 2;
            let waited = step - request.at;
            prop_assert!(waited <= bound, "{waited} steps, at most {bound}");
        }
    }
}

/// A single request of `lengths` in a schedule, and its name.
fn submit(schedule: &mut Schedule, lengths: &[usize]) -> EmbedId {
    let texts: Vec<String> = lengths.iter().map(|&n| text(n, n)).collect();
    schedule.submit(&texts, Cancel::new()).unwrap()
}

fn ids(done: &[Embedded]) -> Vec<EmbedId> {
    done.iter().map(|done| done.id).collect()
}

#[test]
fn a_short_text_waits_for_no_more_than_the_step_that_runs() {
    let options = ScheduleOptions { step_tokens: 48, ..ScheduleOptions::default() };
    let mut schedule = Schedule::new(encoder().clone(), options);
    let long = submit(&mut schedule, &[MAX_TOKENS; 100]);
    for _ in 0..20 {
        assert!(schedule.step().is_empty());
        let short = submit(&mut schedule, &[4]);
        assert_eq!(ids(&schedule.step()), [short]);
    }
    let mut steps = 0;
    while !schedule.is_idle() {
        steps += 1;
        let done = schedule.step();
        assert!(done.is_empty() || (ids(&done) == [long] && schedule.is_idle()));
    }
    // 20 steps of two texts, 20 of one beside a short text, the rest two at a time.
    assert_eq!(steps, 20);
}

/// A flood of short requests, 28 tokens for every 24 that a step runs. Those ahead of the long text
/// came while `now + 4 · patience < 24 · patience`, that is in the first `20 · patience / 24` steps
/// rounded up; they take 28 / 24 as many, and the long text a step of its own.
#[test]
fn a_long_text_is_not_starved_by_a_flood_of_short_ones() {
    for (patience, most) in [(0, 1), (1, 3), (4, 6), (16, 18)] {
        let options = ScheduleOptions { step_tokens: 24, patience, ..ScheduleOptions::default() };
        let mut schedule = Schedule::new(encoder().clone(), options);
        let long = submit(&mut schedule, &[MAX_TOKENS]);
        let ended = (1..200).find(|_| {
            for _ in 0..7 {
                submit(&mut schedule, &[4]);
            }
            ids(&schedule.step()).contains(&long)
        });
        let ended = ended.unwrap();
        assert!((most - 1..=most).contains(&ended), "{ended} with patience {patience}");
    }
}

#[test]
fn of_texts_due_together_the_earlier_goes_first() {
    for patience in [0, 4] {
        let options = ScheduleOptions { step_tokens: 8, patience, ..ScheduleOptions::default() };
        let mut schedule = Schedule::new(encoder().clone(), options);
        let came: Vec<EmbedId> = (0..9).map(|_| submit(&mut schedule, &[5])).collect();
        let ended: Vec<EmbedId> = (0..9).flat_map(|_| ids(&schedule.step())).collect();
        assert_eq!(ended, came);
    }
}

#[test]
fn requests_that_end_at_once() {
    let mut schedule = Schedule::new(encoder().clone(), ScheduleOptions::default());
    assert!(schedule.is_idle() && schedule.step().is_empty());
    let nothing = submit(&mut schedule, &[]);
    assert!(!schedule.is_idle());
    let done = schedule.step();
    assert_eq!((done[0].id, &done[0].vectors), (nothing, &Ok(Vec::new())));
    // Set before the step: nothing of it runs.
    let cancel = Cancel::new();
    let texts = [text(5, 1), text(6, 2)];
    let gone = schedule.submit(&texts, cancel.clone()).unwrap();
    let other = submit(&mut schedule, &[3]);
    cancel.cancel();
    let done = schedule.step();
    assert_eq!(ids(&done), [gone, other]);
    assert_eq!(done[0].vectors, Err(EmbedError::Cancelled));
    assert!(done[1].vectors.is_ok() && schedule.is_idle() && schedule.waiting_tokens() == 0);
}

#[test]
fn the_queue_has_limits() {
    let options =
        ScheduleOptions { queue_tokens: 20, request_texts: 3, ..ScheduleOptions::default() };
    let mut schedule = Schedule::new(encoder().clone(), options);
    let texts = |lengths: &[usize]| lengths.iter().map(|&n| text(n, n)).collect::<Vec<_>>();
    assert!(schedule.submit(&texts(&[10, 5]), Cancel::new()).is_ok());
    let full = schedule.submit(&texts(&[3, 3]), Cancel::new()).unwrap_err();
    assert_eq!(full, SubmitError::Full { tokens: 6, waiting: 15, limit: 20 });
    assert!(full.to_string().contains("try again"), "{full}");
    assert_eq!(schedule.waiting_tokens(), 15, "nothing of it waits");
    assert!(schedule.submit(&texts(&[2, 3]), Cancel::new()).is_ok());
    assert_eq!(schedule.step().len(), 2);
    assert_eq!(schedule.waiting_tokens(), 0);
    let many = schedule.submit(&texts(&[2; 4]), Cancel::new());
    assert_eq!(many, Err(SubmitError::Texts { texts: 4, limit: 3 }));
    let tokens = |tokens: Vec<Vec<u32>>| {
        Schedule::new(encoder().clone(), options).submit_tokens(tokens, Cancel::new())
    };
    assert_eq!(
        tokens(vec![vec![2, 3], vec![]]),
        Err(SubmitError::Length { index: 1, tokens: 0, limit: MAX_TOKENS })
    );
    let long = ScheduleOptions::default();
    let long = Schedule::new(encoder().clone(), long)
        .submit_tokens(vec![vec![2; MAX_TOKENS + 1]], Cancel::new());
    let limit = MAX_TOKENS;
    assert_eq!(long, Err(SubmitError::Length { index: 0, tokens: MAX_TOKENS + 1, limit }));
    let foreign = tokens(vec![vec![2, 4000, 3]]).unwrap_err().to_string();
    assert!(foreign.contains("text 0") && foreign.contains("4000"), "{foreign}");
}

#[test]
fn tokens_are_texts() {
    let mut schedule = Schedule::new(encoder().clone(), ScheduleOptions::default());
    let texts = [text(9, 5), text(3, 6)];
    let tokens = texts.iter().map(|text| encoder().tokenize(text).unwrap()).collect();
    schedule.submit_tokens(tokens, Cancel::new()).unwrap();
    assert_eq!(schedule.step()[0].vectors, Ok(embed(&texts)));
}

/// Weights that are NaN for one word only: its request fails, its neighbours in the step do not.
#[test]
fn a_request_with_a_broken_vector_fails_alone() {
    let name = "bert.embeddings.word_embeddings.weight";
    let broken = toy(|checkpoint| {
        let words = checkpoint.dense(name).unwrap();
        let (shape, mut values) = (words.shape().to_vec(), words.values().to_vec());
        values[20 * DIM] = f32::NAN;
        checkpoint.replace(name.into(), Weight::Dense(Dense::owned(shape, values)));
    });
    let mut schedule = Schedule::new(Arc::new(broken), ScheduleOptions::default());
    let good = schedule.submit_tokens(vec![vec![2, 7, 3]], Cancel::new()).unwrap();
    let lists = vec![vec![2, 8, 3], vec![2, 20, 3]];
    let bad = schedule.submit_tokens(lists, Cancel::new()).unwrap();
    let done = schedule.step();
    assert_eq!(ids(&done), [good, bad]);
    assert!(done[0].vectors.is_ok());
    assert!(matches!(done[1].vectors, Err(EmbedError::NotFinite { index: 1, .. })));
}

/// The real model, texts of very different lengths, several threads.
#[test]
fn vectors_of_the_real_model_are_those_of_a_plain_call() {
    let Some(path) = kvant_testkit::minilm() else {
        return kvant_testkit::skip("all-MiniLM-L6-v2 is not here");
    };
    let encoder = Arc::new(Encoder::load(&path).unwrap());
    let mut random = Random::new(5);
    let mut words = |count: usize| {
        let word = |value: f32| format!("word{}", (value * 1000.0) as i32);
        random.normals(count).into_iter().map(word).collect::<Vec<_>>().join(" ")
    };
    let texts: Vec<String> = [1, 30, 0, 3, 90, 2, 7].into_iter().map(&mut words).collect();
    let expected = encoder.embed(&texts, &EmbedOptions::default()).unwrap();
    let options = ScheduleOptions { threads: 2, ..ScheduleOptions::default() };
    let mut schedule = Schedule::new(encoder, options);
    let (first, rest) = texts.split_at(3);
    let first = schedule.submit(first, Cancel::new()).unwrap();
    let rest = schedule.submit(rest, Cancel::new()).unwrap();
    let mut vectors = BTreeMap::new();
    while !schedule.is_idle() {
        vectors.extend(schedule.step().into_iter().map(|done| (done.id, done.vectors.unwrap())));
    }
    assert_eq!([&vectors[&first][..], &vectors[&rest]].concat(), expected);
}

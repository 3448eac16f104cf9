//! Requests side by side.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvant_model::{
    CacheFormat, Cancel, Decoder, Ending, Engine, EngineOptions, Event, Finish, Finished,
    ForwardOptions, GenerateError, Grammars, Overflow, Request, RequestError, RequestId, Sampling,
    Token,
};
use kvant_testkit::Random;
use serde_json::{Value, json};

use crate::toy::{CONTEXT, LLAMA, QWEN, SHARED, Toy, words};

fn model() -> Arc<Decoder> {
    Arc::new(Decoder::load(&Toy::new(SHARED).directory()).unwrap())
}

fn prompt(seed: u64, count: usize) -> Vec<u32> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.below(words().len() - 2) as u32).collect()
}

/// A request that the model cannot end.
fn request(seed: u64, count: usize, new: usize) -> Request {
    Request { ending: Ending::Ignored, ..Request::new(prompt(seed, count), new) }
}

/// Everything that is told until the engine is idle, by request.
fn drain(engine: &mut Engine) -> HashMap<RequestId, (Vec<Token>, Finished)> {
    let (mut tokens, mut done) = (HashMap::<RequestId, Vec<Token>>::new(), HashMap::new());
    while !engine.is_idle() {
        for event in engine.step().unwrap() {
            match event {
                Event::Token(token) => tokens.entry(token.id).or_default().push(token),
                Event::Finished(end) => {
                    let all = tokens.remove(&end.id).unwrap_or_default();
                    assert!(done.insert(end.id, (all, end)).is_none(), "finished twice");
                }
            }
        }
    }
    assert!(tokens.is_empty(), "unfinished");
    done
}

fn alone(model: &Arc<Decoder>, request: Request, options: EngineOptions) -> (Vec<u32>, Finished) {
    let mut engine = Engine::new(Arc::clone(model), options);
    let mut tokens = Vec::new();
    let end = engine.run(request, |token| tokens.push(token.choice.token)).unwrap();
    (tokens, end)
}

fn greedy(logits: &[f32]) -> u32 {
    let best = logits.iter().copied().fold(f32::MIN, f32::max);
    logits.iter().position(|&logit| logit == best).unwrap() as u32
}

#[test]
fn greedy_texts_are_those_of_the_logits() {
    let model = model();
    let cache = CacheFormat::F32;
    let options = EngineOptions { cache, batch_tokens: 7, ..EngineOptions::default() };
    let (made, end) = alone(&model, request(1, 40, 20), options);
    let mut tokens = prompt(1, 40);
    for &token in &made {
        let from = tokens.len() - 1;
        let options = ForwardOptions { from, ..ForwardOptions::default() };
        assert_eq!(greedy(&model.logits(&tokens, options).unwrap()), token);
        tokens.push(token);
    }
    assert_eq!((end.finish, end.prompt_tokens, end.new_tokens), (Finish::Length, 40, 20));
}

#[test]
fn a_text_does_not_depend_on_what_else_runs() {
    let model = model();
    let make = |at: u64| {
        let sampling = Sampling {
            temperature: if at.is_multiple_of(3) { 0.0 } else { 1.3 },
            top_p: 0.95,
            repeat_penalty: 1.1,
            seed: at,
            ..Sampling::default()
        };
        Request { sampling, ..request(at, 1 + 17 * at as usize % 90, 10 + 5 * at as usize) }
    };
    for cache in [CacheFormat::F16, CacheFormat::Int8] {
        let plain = EngineOptions { cache, ..EngineOptions::default() };
        let expected: Vec<_> = (0..9).map(|at| alone(&model, make(at), plain).0).collect();
        for (parallel, batch_tokens, threads) in [(3, 11, 1), (9, 64, 3), (4, 1, 2)] {
            let options = EngineOptions { parallel, batch_tokens, threads, ..plain };
            let mut engine = Engine::new(Arc::clone(&model), options);
            let ids: Vec<_> = (0..5).map(|at| engine.submit(make(at)).unwrap()).collect();
            let mut early = Vec::new();
            for _ in 0..4 {
                early.extend(engine.step().unwrap());
            }
            let ids = ids.into_iter().chain((5..9).map(|at| engine.submit(make(at)).unwrap()));
            let ids: Vec<_> = ids.collect();
            let mut rest = drain(&mut engine);
            for (id, expected) in ids.iter().zip(&expected) {
                let first = early.iter().filter_map(|event| match event {
                    Event::Token(token) if token.id == *id => Some(token.choice.token),
                    Event::Token(_) | Event::Finished(_) => None,
                });
                let (tokens, _) = rest.remove(id).unwrap();
                let later = tokens.iter().map(|token| token.choice.token);
                let made: Vec<u32> = first.chain(later).collect();
                assert_eq!(&made, expected, "{cache} {parallel} {batch_tokens}");
            }
        }
    }
}

#[test]
fn a_long_prompt_does_not_hold_up_the_others() {
    let options = EngineOptions { batch_tokens: 16, ..EngineOptions::default() };
    let mut engine = Engine::new(model(), options);
    let short = engine.submit(request(1, 4, 50)).unwrap();
    let long = engine.submit(request(2, 150, 1)).unwrap();
    let other = engine.submit(request(3, 6, 50)).unwrap();
    let mut steps = 0;
    let mut seen = HashMap::<RequestId, usize>::new();
    while !seen.contains_key(&long) {
        steps += 1;
        for event in engine.step().unwrap() {
            if let Event::Token(token) = event {
                *seen.entry(token.id).or_default() += 1;
            }
        }
    }
    // 150 tokens in shares of 6 and then 14 beside two that write.
    assert_eq!(steps, 12);
    assert_eq!((seen[&short], seen[&other]), (12, 12));
}

#[test]
fn the_beginning_of_a_prompt_is_read_once() {
    let model = model();
    let mut engine = Engine::new(Arc::clone(&model), EngineOptions::default());
    let first = engine.run(request(1, 60, 10), |_| {}).unwrap();
    assert_eq!(first.reused_tokens, 0);
    let mut longer = request(1, 60, 10);
    longer.prompt.extend(prompt(9, 30));
    let fresh = alone(
        &model,
        Request { prompt: longer.prompt.clone(), ..request(1, 60, 10) },
        EngineOptions::default(),
    );
    let mut tokens = Vec::new();
    let second = engine.run(longer, |token| tokens.push(token.choice.token)).unwrap();
    assert_eq!((second.reused_tokens, tokens), (60, fresh.0));
    // The same prompt again: its last token is read for its logits.
    let third = engine.run(request(1, 60, 10), |_| {}).unwrap();
    assert_eq!(third.reused_tokens, 59);
    let other = engine.run(request(2, 60, 1), |_| {}).unwrap();
    assert_eq!(other.reused_tokens, 0);
}

#[test]
fn a_text_ends_at_its_stop_its_length_or_the_context() {
    let model = model();
    let plain = EngineOptions::default();
    let (all, end) = alone(&model, request(4, 30, 60), plain);
    assert_eq!(end.finish, Finish::Length);
    let text = model.detokenize(&all).unwrap();
    let spoken = |request: Request| {
        let mut engine = Engine::new(Arc::clone(&model), plain);
        let mut text = String::new();
        let end = engine.run(request, |token| text.push_str(&token.text)).unwrap();
        (text + &end.text, end)
    };
    assert_eq!(spoken(request(4, 30, 60)).0, text);
    // Three characters that no single token spells.
    let middle = text.char_indices().nth(9).unwrap().0;
    let stop: String = text[middle..].chars().take(3).collect();
    let stops = vec![String::new(), stop.clone(), "never".into()];
    let (short, end) = spoken(Request { stop: stops, ..request(4, 30, 60) });
    assert_eq!((short.as_str(), end.finish), (&text[..text.find(&stop).unwrap()], Finish::Stop));
    assert!(end.new_tokens < 60);

    let (made, end) = alone(&model, request(4, CONTEXT - 5, 60), plain);
    assert_eq!((end.finish, made.len()), (Finish::Context, 6));
    let small = EngineOptions { context: 40, ..plain };
    let (made, end) = alone(&model, request(4, 30, 60), small);
    assert_eq!((end.finish, made.len(), made.as_slice()), (Finish::Context, 11, &all[..11]));
    let (made, end) = alone(&model, request(4, 30, 0), plain);
    assert_eq!((end.finish, made.len()), (Finish::Length, 0));
}

#[test]
fn the_context_slides_where_that_is_wished() {
    let model = model();
    let options =
        EngineOptions { context: 48, cache: CacheFormat::F32, ..EngineOptions::default() };
    let sliding = Request { overflow: Overflow::Slide { keep: 8 }, ..request(5, 30, 100) };
    let (made, end) = alone(&model, sliding, options);
    assert_eq!((end.finish, made.len()), (Finish::Length, 100));
    // Replayed by hand: a full window loses the older half of what follows its beginning.
    let mut window = prompt(5, 30);
    for &token in &made {
        let from = window.len() - 1;
        let options = ForwardOptions { from, ..ForwardOptions::default() };
        assert_eq!(greedy(&model.logits(&window, options).unwrap()), token);
        window.push(token);
        if window.len() > 48 {
            window.drain(8..28);
        }
    }
    let mut engine = Engine::new(model, options);
    let keep = Request { overflow: Overflow::Slide { keep: 25 }, ..request(5, 30, 1) };
    assert_eq!(engine.submit(keep), Err(RequestError::Keep { keep: 25, limit: 24 }));
}

#[test]
fn the_model_ends_a_text_by_its_own_tokens() {
    let mut toy = Toy::new(QWEN);
    let turn = words().len() as u32 - 1;
    let path = toy.directory();
    let ends = |path: &std::path::Path| Decoder::load(path).unwrap().end_tokens().to_vec();
    assert!(ends(&path).is_empty());
    let write = |name: &str, value: Value| {
        std::fs::write(path.join(name), value.to_string()).unwrap();
    };
    write("generation_config.json", json!({ "eos_token_id": [3, turn, 1u64 << 40] }));
    assert_eq!(ends(&path), [3, turn]);
    write("tokenizer_config.json", json!({ "eos_token": { "content": "<|begin|>" } }));
    assert_eq!(ends(&path), [3, turn - 1, turn]);
    let mut metadata = toy.metadata();
    metadata.size("tokenizer.ggml.eos_token_id", 7);
    metadata.size("tokenizer.ggml.eot_token_id", turn as usize);
    assert_eq!(ends(&toy.gguf(metadata)), [7, turn]);
    // Whatever is made first becomes the end.
    let plain = EngineOptions::default();
    let model = Arc::new(Decoder::load(&path).unwrap());
    let (made, _) = alone(&model, request(6, 20, 5), plain);
    toy.config["eos_token_id"] = json!(made[2]);
    let model = Arc::new(Decoder::load(&toy.directory()).unwrap());
    let first = made.iter().position(|token| *token == made[2]).unwrap();
    let own = Request { ending: Ending::Own, ..request(6, 20, 5) };
    let (short, end) = alone(&model, own, plain);
    assert_eq!((end.finish, short.as_slice()), (Finish::End, &made[..first]));
    assert_eq!(alone(&model, request(6, 20, 5), plain).0.len(), 5);
}

#[test]
fn a_cancelled_request_stops_before_its_next_token() {
    let options = EngineOptions { parallel: 2, batch_tokens: 16, ..EngineOptions::default() };
    let mut engine = Engine::new(model(), options);
    let cancel = Cancel::new();
    let flagged = |seed, count| Request { cancel: cancel.clone(), ..request(seed, count, 50) };
    let writing = engine.submit(flagged(1, 3)).unwrap();
    let reading = engine.submit(flagged(2, 120)).unwrap();
    let waiting = engine.submit(flagged(3, 3)).unwrap();
    let other = engine.submit(request(4, 3, 2)).unwrap();
    for _ in 0..3 {
        engine.step().unwrap();
    }
    cancel.cancel();
    let events = engine.step().unwrap();
    let mut ended = Vec::new();
    for event in events {
        match event {
            Event::Finished(end) => ended.push((end.id, end.finish)),
            Event::Token(token) => assert_eq!(token.id, other),
        }
    }
    ended.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(ended, [writing, reading, waiting].map(|id| (id, Finish::Cancelled)));
    assert_eq!(drain(&mut engine)[&other].1.finish, Finish::Length);
}

#[test]
fn a_request_that_is_cancelled_during_a_step_ends_with_it() {
    let model = model();
    let options = EngineOptions { batch_tokens: 150, ..EngineOptions::default() };
    let expected = alone(&model, request(4, 40, 6), options).0;
    let again = alone(&model, request(2, 90, 4), options).0;
    for at in 1.. {
        let mut engine = Engine::new(Arc::clone(&model), options);
        let looks = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&looks);
        let cancel = Cancel::when(move || count.fetch_add(1, Ordering::Relaxed) + 1 == at);
        let other = engine.submit(request(4, 40, 6)).unwrap();
        let ended = engine.submit(Request { cancel, ..request(2, 90, 50) }).unwrap();
        let events = engine.step().unwrap();
        let of_ended: Vec<_> = events.iter().filter(|event| id_of(event) == ended).collect();
        if looks.load(Ordering::Relaxed) < at {
            assert!(matches!(of_ended[..], [Event::Token(_)]));
            assert!(at > 3, "looked at {at} times");
            break;
        }
        let [Event::Finished(end)] = &of_ended[..] else { panic!("{at}: {of_ended:?}") };
        assert_eq!((end.finish, end.new_tokens), (Finish::Cancelled, 0));
        let first = events.iter().find(|event| id_of(event) == other);
        let Some(Event::Token(first)) = first else { panic!("{at}: {events:?}") };
        let rest = drain(&mut engine).remove(&other).unwrap().0;
        let made = [first].into_iter().chain(&rest).map(|token| token.choice.token);
        assert_eq!(made.collect::<Vec<_>>(), expected, "{at}");
        // What is left of its cache is taken up by the same prompt.
        let mut tokens = Vec::new();
        engine.run(request(2, 90, 4), |token| tokens.push(token.choice.token)).unwrap();
        assert_eq!(tokens, again, "{at}");
    }
}

fn id_of(event: &Event) -> RequestId {
    match event {
        Event::Token(token) => token.id,
        Event::Finished(end) => end.id,
    }
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut engine = Engine::new(model(), EngineOptions::default());
    let empty = Request::new(Vec::new(), 5);
    assert_eq!(engine.submit(empty), Err(RequestError::Empty));
    let (tokens, context) = (CONTEXT, CONTEXT);
    let long = engine.submit(request(1, CONTEXT, 5));
    assert_eq!(long, Err(RequestError::Long { tokens, context }));
    assert!(engine.submit(request(1, CONTEXT - 1, 5)).is_ok());
    let vocabulary = words().len();
    let token = vocabulary as u32;
    let foreign = engine.submit(Request::new(vec![1, token], 5));
    assert_eq!(foreign, Err(RequestError::Vocabulary { token, vocabulary }));
    let sampling = Sampling { top_p: 2.0, ..Sampling::default() };
    let error = engine.submit(Request { sampling, ..request(1, 3, 3) }).unwrap_err();
    assert!(error.to_string().contains("top-p is 2"), "{error}");
    let error = engine.run(Request::new(Vec::new(), 5), |_| {}).unwrap_err();
    assert_eq!(error, GenerateError::Request(RequestError::Empty));
}

#[test]
fn any_number_of_threads_and_places_works() {
    let model = model();
    let expected = alone(&model, request(1, 70, 8), EngineOptions::default()).0;
    for (threads, parallel, batch_tokens) in [(0, 0, 0), (10_000, 10_000, usize::MAX)] {
        let options = EngineOptions { threads, parallel, batch_tokens, ..EngineOptions::default() };
        assert_eq!(alone(&model, request(1, 70, 8), options).0, expected);
    }
}

#[test]
fn broken_weights_end_what_runs() {
    let mut toy = Toy::new(LLAMA);
    toy.weights.get_mut("model.embed_tokens.weight").unwrap().1[7 * 48] = f32::NAN;
    let model = Arc::new(Decoder::load(&toy.directory()).unwrap());
    let mut engine = Engine::new(model, EngineOptions::default());
    let error = engine.run(Request::new(vec![1, 7], 5), |_| {}).unwrap_err();
    assert!(error.to_string().contains("NaN or infinity"), "{error}");
    assert!(engine.is_idle());
    assert_eq!(engine.run(Request::new(vec![1, 2], 1), |_| {}).unwrap().new_tokens, 1);
}

#[test]
fn a_text_follows_its_schema() {
    let mut toy = Toy::new(SHARED);
    let turn = words().len() as u32 - 1;
    assert!(Grammars::new(&Decoder::load(&toy.directory()).unwrap()).is_err(), "no end token");
    toy.config["eos_token_id"] = json!(turn);
    let model = Arc::new(Decoder::load(&toy.directory()).unwrap());
    let grammars = Grammars::new(&model).unwrap();
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["name", "age", "tags"],
        "properties": {
            "name": { "type": "string", "maxLength": 5 },
            "age": { "type": "integer", "minimum": 0, "maximum": 99 },
            "tags": { "type": "array", "items": { "enum": ["a", "bc"] }, "maxItems": 2 },
        },
    });
    for seed in 0..6 {
        let sampling = Sampling { temperature: 1.0, seed, ..Sampling::default() };
        let mut text = String::new();
        let request = Request {
            sampling,
            grammar: Some(grammars.schema(schema.clone()).unwrap()),
            ..Request::new(prompt(seed, 10), 150)
        };
        let mut engine = Engine::new(Arc::clone(&model), EngineOptions::default());
        let end = engine.run(request, |token| text.push_str(&token.text)).unwrap();
        text.push_str(&end.text);
        assert_eq!(end.finish, Finish::End, "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(value["name"].as_str().unwrap().chars().count() <= 5, "{text}");
        assert!(value["age"].as_u64().unwrap() <= 99, "{text}");
        let tags = value["tags"].as_array().unwrap();
        assert!(tags.len() <= 2 && tags.iter().all(|tag| *tag == "a" || *tag == "bc"), "{text}");
    }
    let error = grammars.schema(json!({ "type": "nonsense" })).unwrap_err().to_string();
    assert!(error.contains("schema") && !error.contains('\n'), "{error}");
    assert!(grammars.json().is_ok());
}

#[test]
fn an_engine_moves_to_another_thread() {
    let model = model();
    let mut engine = Engine::new(Arc::clone(&model), EngineOptions::default());
    let cancel = Cancel::new();
    let endless = Request { cancel: cancel.clone(), ..request(1, 20, usize::MAX) };
    let endless = Request { overflow: Overflow::Slide { keep: 4 }, ..endless };
    let (sender, receiver) = std::sync::mpsc::channel();
    let running = std::thread::spawn(move || {
        // Nobody listens any more once the first tokens have come.
        engine.run(endless, |token| sender.send(token.choice.token).unwrap_or_default()).unwrap()
    });
    let expected = alone(&model, request(1, 20, 3), EngineOptions::default()).0;
    assert_eq!(receiver.iter().take(3).collect::<Vec<_>>(), expected);
    cancel.cancel();
    assert_eq!(running.join().unwrap().finish, Finish::Cancelled);
}

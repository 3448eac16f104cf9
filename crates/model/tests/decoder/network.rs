//! The forward pass.

use kvant_kernels::Matrix;
use kvant_model::{
    Cancel, Decoder, ForwardError, ForwardOptions, Network, ObserveError, ObserveOptions, Tap,
};
use kvant_testkit::Random;
use serde_json::json;

use crate::toy::{CONTEXT, HIDDEN, INNER, Kind, LAYERS, LLAMA, QWEN, SHARED, Toy, WIDTH, words};

fn tokens(count: usize) -> Vec<u32> {
    let mut random = Random::new(9);
    (0..count).map(|_| random.below(words().len()) as u32).collect()
}

fn run(decoder: &Decoder, tokens: &[u32], threads: usize, from: usize) -> Vec<f32> {
    decoder.logits(tokens, ForwardOptions { threads, from, ..Default::default() }).unwrap()
}

/// The largest difference, in units of the largest logit.
fn distance(ours: &[f32], theirs: &[Vec<f64>]) -> f64 {
    let theirs: Vec<f64> = theirs.concat();
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    let pairs = ours.iter().zip(&theirs);
    pairs.map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max) / largest
}

#[test]
fn logits_equal_those_in_double_precision() {
    let tokens = tokens(150);
    for kind in [LLAMA, SHARED, QWEN] {
        let toy = Toy::new(kind);
        let expected = toy.logits(&tokens);
        let from_directory = Decoder::load(&toy.directory()).unwrap();
        let from_gguf = Decoder::load(&toy.gguf(toy.metadata())).unwrap();
        for (decoder, place) in [(&from_directory, "directory"), (&from_gguf, "gguf")] {
            assert_eq!((decoder.vocabulary(), decoder.context()), (words().len(), CONTEXT));
            let far = distance(&run(decoder, &tokens, 1, 0), &expected);
            assert!(far < 3e-6, "{} {place}: {far}", kind.architecture);
        }
    }
}

#[test]
fn a_position_depends_on_its_past_only_whatever_the_threads() {
    let toy = Toy::new(SHARED);
    let decoder = Decoder::load(&toy.directory()).unwrap();
    let tokens = tokens(CONTEXT);
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let whole = bits(run(&decoder, &tokens, 1, 0));
    let width = decoder.vocabulary();
    for (length, threads, from) in
        [(CONTEXT, 2, 0), (CONTEXT, 5, 131), (1, 3, 0), (63, 1, 0), (64, 2, 63), (131, 1, 17)]
    {
        let part = bits(run(&decoder, &tokens[..length], threads, from));
        assert!(part == whole[from * width..length * width], "{length} {threads} {from}");
    }
}

#[test]
fn rotary_scaling_is_the_same_in_both_containers() {
    let mut toy = Toy::new(LLAMA);
    // Half of the pairs turn more than four times over 64 tokens, others less than once.
    toy.config["rope_scaling"] = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    });
    let mut factors = Vec::new();
    for frequency in &mut toy.frequencies {
        let wave = std::f64::consts::TAU / *frequency;
        let mix = (64.0 / wave - 1.0) / 3.0;
        let scaled = match wave {
            wave if wave < 16.0 => *frequency,
            wave if wave > 64.0 => *frequency / 8.0,
            _ => (1.0 - mix) * *frequency / 8.0 + mix * *frequency,
        };
        factors.push((*frequency / scaled) as f32);
        *frequency = scaled;
    }
    assert!(factors.contains(&1.0) && factors.contains(&8.0), "{factors:?}");
    let tokens = tokens(100);
    let expected = toy.logits(&tokens);
    let mut metadata = toy.metadata();
    metadata.tensor("rope_freqs.weight", &[WIDTH / 2], &factors);
    for path in [toy.directory(), toy.gguf(metadata)] {
        let far = distance(&run(&Decoder::load(&path).unwrap(), &tokens, 2, 0), &expected);
        assert!(far < 3e-6, "{}: {far}", path.display());
    }
    toy.config["rope_scaling"] = json!({ "type": "linear", "factor": 2.0 });
    let plain = Toy::new(LLAMA).frequencies;
    toy.frequencies = plain.iter().map(|frequency| frequency / 2.0).collect();
    let mut metadata = toy.metadata();
    metadata.text("llama.rope.scaling.type", "linear");
    metadata.float("llama.rope.scaling.factor", 2.0);
    let expected = toy.logits(&tokens);
    for path in [toy.directory(), toy.gguf(metadata)] {
        let far = distance(&run(&Decoder::load(&path).unwrap(), &tokens, 2, 0), &expected);
        assert!(far < 3e-6, "{}: {far}", path.display());
    }
}

/// Every input that was seen: names, columns and values.
#[derive(Default, PartialEq)]
struct Seen(Vec<(Vec<String>, usize, Vec<f32>)>);

impl Tap for Seen {
    fn input(&mut self, weights: &[&str], x: Matrix<'_, f32>) {
        let names = weights.iter().map(|&name| name.to_owned()).collect();
        let values = (0..x.rows()).flat_map(|row| x.row(row).to_vec()).collect();
        self.0.push((names, x.cols(), values));
    }
}

fn names_of(kind: Kind, gguf: bool) -> Vec<(Vec<String>, usize)> {
    let mut expected = Vec::new();
    for layer in 0..LAYERS {
        let sets: [(&[&str], usize); 4] = if gguf {
            [
                (&["attn_q", "attn_k", "attn_v"], HIDDEN),
                (&["attn_output"], kind.heads * WIDTH),
                (&["ffn_gate", "ffn_up"], HIDDEN),
                (&["ffn_down"], INNER),
            ]
        } else {
            [
                (&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], HIDDEN),
                (&["self_attn.o_proj"], kind.heads * WIDTH),
                (&["mlp.gate_proj", "mlp.up_proj"], HIDDEN),
                (&["mlp.down_proj"], INNER),
            ]
        };
        let before = if gguf { "blk" } else { "model.layers" };
        expected.extend(sets.map(|(names, cols)| {
            let names = names.iter().map(|name| format!("{before}.{layer}.{name}.weight"));
            (names.collect(), cols)
        }));
    }
    let head = match (gguf, kind.tied) {
        (false, false) => "lm_head.weight",
        (false, true) => "model.embed_tokens.weight",
        (true, false) => "output.weight",
        (true, true) => "token_embd.weight",
    };
    expected.push((vec![head.to_owned()], HIDDEN));
    expected
}

#[test]
fn taps_see_what_every_linear_layer_reads() {
    let tokens = tokens(90);
    for kind in [SHARED, QWEN] {
        let toy = Toy::new(kind);
        for (path, gguf) in [(toy.directory(), false), (toy.gguf(toy.metadata()), true)] {
            let decoder = Decoder::load(&path).unwrap();
            let observe = |threads| {
                let mut seen = Seen::default();
                let tap: Option<&mut dyn Tap> = Some(&mut seen);
                decoder
                    .observe(&tokens, ForwardOptions { threads, tap, ..Default::default() })
                    .unwrap();
                seen
            };
            let seen = observe(1);
            assert!(seen == observe(3), "threads");
            let named = seen.0.iter().map(|(names, cols, _)| (names.clone(), *cols));
            assert_eq!(named.collect::<Vec<_>>(), names_of(kind, gguf));
            assert!(seen.0.iter().all(|(_, cols, values)| values.len() == cols * tokens.len()));
            reads(&toy, &decoder, &tokens, &seen);
        }
    }
}

/// The first and the last input are what the network must have had there.
fn reads(toy: &Toy, decoder: &Decoder, tokens: &[u32], seen: &Seen) {
    let first = &seen.0[0].2;
    for (row, &token) in first.chunks(HIDDEN).zip(tokens) {
        let expected = toy.norm(&toy.word(token), "model.layers.0.input_layernorm");
        assert!(row.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5));
    }
    let last = &seen.0.last().unwrap().2;
    let name = if toy.kind.tied { "model.embed_tokens.weight" } else { "lm_head.weight" };
    let logits = run(decoder, tokens, 1, 0);
    for (row, logits) in last.chunks(HIDDEN).zip(logits.chunks(decoder.vocabulary())) {
        for (weight, logit) in toy.weights[name].1.chunks(HIDDEN).zip(logits) {
            let dot = weight.iter().zip(row).map(|(w, x)| f64::from(*w) * f64::from(*x));
            assert!((dot.sum::<f64>() - f64::from(*logit)).abs() < 1e-4);
        }
    }
}

#[test]
fn texts_are_observed_in_windows() {
    let toy = Toy::new(LLAMA);
    let network = Network::load(&toy.directory()).unwrap();
    let Network::Decoder(decoder) = &network else { panic!("a decoder: {network:?}") };
    let texts = ["hello there", "hell", "the end"];
    let whole = decoder.tokenize(&texts.join("\n")).unwrap();
    assert_eq!(whole.len(), 14);
    let (done, mut seen) = (std::sync::Mutex::new(Vec::new()), Seen::default());
    let progress = |parts, of| done.lock().unwrap().push((parts, of));
    let options = ObserveOptions { threads: 2, window: 6, progress: Some(&progress), cancel: None };
    network.observe(&texts, &options, &mut seen).unwrap();
    assert_eq!(*done.lock().unwrap(), [(1, 3), (2, 3), (3, 3)]);
    let mut expected = Seen::default();
    for tokens in whole.chunks(6) {
        let tap: Option<&mut dyn Tap> = Some(&mut expected);
        decoder.observe(tokens, ForwardOptions { tap, ..ForwardOptions::default() }).unwrap();
    }
    assert!(seen == expected);
}

/// Sets a flag at its call number `at`, and counts on.
struct Ending {
    cancel: Cancel,
    at: usize,
    calls: usize,
}

impl Tap for Ending {
    fn input(&mut self, _: &[&str], _: Matrix<'_, f32>) {
        self.calls += 1;
        if self.calls == self.at {
            self.cancel.cancel();
        }
    }
}

#[test]
fn no_layer_begins_after_the_call_is_cancelled() {
    let decoder = Decoder::load(&Toy::new(SHARED).directory()).unwrap();
    let (tokens, of_a_layer) = (tokens(150), 4);
    for threads in [1, 3] {
        for at in 1..=LAYERS * of_a_layer {
            let cancel = Cancel::new();
            let mut tap = Ending { cancel: cancel.clone(), at, calls: 0 };
            let (seen, cancel) = (Some(&mut tap as &mut dyn Tap), Some(&cancel));
            let options = ForwardOptions { threads, tap: seen, cancel, ..Default::default() };
            assert_eq!(decoder.observe(&tokens, options), Err(ForwardError::Cancelled));
            // The head, tapped last, is not reached.
            assert_eq!(tap.calls, at.next_multiple_of(of_a_layer), "{at}");
        }
    }
    let cancel = Cancel::new();
    let options = || ForwardOptions { cancel: Some(&cancel), ..ForwardOptions::default() };
    assert!(decoder.logits(&tokens, options()).is_ok());
    cancel.cancel();
    assert_eq!(decoder.logits(&tokens, options()).err(), Some(ForwardError::Cancelled));
}

#[test]
fn observing_texts_ends_where_it_is_cancelled() {
    let network = Network::load(&Toy::new(SHARED).directory()).unwrap();
    let texts: Vec<String> = (0..300).map(|at| words()[at % 5 + 5].clone()).collect();
    let (cancel, done) = (Cancel::new(), std::sync::Mutex::new(Vec::new()));
    let progress = |windows, all| {
        done.lock().unwrap().push(windows);
        assert!(all > 3, "windows");
        if windows == 2 {
            cancel.cancel();
        }
    };
    let (progress, cancel): (Option<&(dyn Fn(usize, usize) + Sync)>, _) =
        (Some(&progress), Some(&cancel));
    let options = ObserveOptions { window: 32, progress, cancel, ..ObserveOptions::default() };
    let observed = network.observe(&texts, &options, &mut Seen::default());
    assert_eq!(observed, Err(ObserveError::Forward(ForwardError::Cancelled)));
    assert_eq!(*done.lock().unwrap(), [1, 2]);
}

//! Transforms leave what a network computes as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvant_compress::{
    AwqOptions, CalibrateOptions, Calibration, CompressError, Draft, Moment, Pass, PassError, Plan,
    PlanError, Report, Rest, Rotate, Run, Scaled, SmoothOptions, Task, TensorReport, Transform,
    awq, compress, rotate, sites, smooth,
};
use kvant_kernels::Matrix;
use kvant_model::{
    Activations, Checkpoint, Compute, Container, ConvertOptions, Decoder, EmbedOptions, Encoder,
    FloatFormat, ForwardOptions, Network, ObserveOptions, SaveOptions, Tap, convert, save,
};
use kvant_quant::{BlockFormat, Scheme, measure};
use kvant_testkit::{Random, skip, smollm2};
use tempfile::TempDir;

const WORDS: usize = 40;

fn good<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => unreachable!("{error}"),
    }
}

/// A model under construction: tensors in the order they were added.
struct Toy {
    random: Random,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl Toy {
    fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), tensors: Vec::new() }
    }

    /// A matrix whose products keep the size of what goes in.
    fn matrix(&mut self, name: &str, rows: usize, cols: usize) {
        let scale = 1.0 / (cols as f32).sqrt();
        let values = self.random.normals(rows * cols).into_iter().map(|v| v * scale);
        self.tensors.push((format!("{name}.weight"), vec![rows, cols], values.collect()));
    }

    fn vector(&mut self, name: &str, len: usize, mean: f32) {
        let values = self.random.normals(len).into_iter().map(|v| mean + 0.3 * v);
        self.tensors.push((name.to_owned(), vec![len], values.collect()));
    }

    fn linear(&mut self, name: &str, rows: usize, cols: usize) {
        self.matrix(name, rows, cols);
        self.vector(&format!("{name}.bias"), rows, 0.0);
    }

    fn norm(&mut self, name: &str, len: usize) {
        self.vector(&format!("{name}.weight"), len, 1.0);
        self.vector(&format!("{name}.bias"), len, 0.0);
    }

    fn write(&self, config: &serde_json::Value) -> (TempDir, PathBuf) {
        let place = good(tempfile::tempdir());
        let path = place.path().join("model");
        good(fs::create_dir(&path));
        let mut header = serde_json::Map::new();
        let mut data: Vec<u8> = Vec::new();
        for (name, shape, values) in &self.tensors {
            let start = data.len();
            data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            let offsets = [start, data.len()];
            let entry =
                serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": offsets});
            header.insert(name.clone(), entry);
        }
        let mut header = good(serde_json::to_vec(&header));
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        file.extend(data);
        good(fs::write(path.join("model.safetensors"), file));
        good(fs::write(path.join("config.json"), config.to_string()));
        good(fs::write(path.join("tokenizer.json"), tokenizer()));
        (place, path)
    }
}

/// One word for every token: `w0` to `w39`.
fn tokenizer() -> String {
    let vocab: serde_json::Map<_, _> =
        (0..WORDS).map(|id| (format!("w{id}"), serde_json::Value::from(id))).collect();
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"},
    })
    .to_string()
}

/// 48 channels (16 · 3), 6 query heads over `groups` value heads of 8 channels.
fn llama(groups: usize, tied: bool) -> (TempDir, PathBuf) {
    let (hidden, width, heads, inner, layers) = (48, 8, 6, 40, 2);
    let mut toy = Toy::new(5);
    toy.matrix("model.embed_tokens", WORDS, hidden);
    for layer in 0..layers {
        let at = |name: &str| format!("model.layers.{layer}.{name}");
        toy.vector(&at("input_layernorm.weight"), hidden, 1.0);
        toy.linear(&at("self_attn.q_proj"), heads * width, hidden);
        toy.linear(&at("self_attn.k_proj"), groups * width, hidden);
        toy.linear(&at("self_attn.v_proj"), groups * width, hidden);
        toy.matrix(&at("self_attn.o_proj"), hidden, heads * width);
        toy.vector(&at("post_attention_layernorm.weight"), hidden, 1.0);
        toy.matrix(&at("mlp.gate_proj"), inner, hidden);
        toy.matrix(&at("mlp.up_proj"), inner, hidden);
        toy.matrix(&at("mlp.down_proj"), hidden, inner);
    }
    toy.vector("model.norm.weight", hidden, 1.0);
    if !tied {
        toy.matrix("lm_head", WORDS, hidden);
    }
    toy.write(&serde_json::json!({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": groups, "head_dim": width,
        "vocab_size": WORDS, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": tied,
    }))
}

fn bert() -> (TempDir, PathBuf) {
    let (hidden, inner, layers) = (32, 48, 2);
    let mut toy = Toy::new(6);
    toy.matrix("embeddings.word_embeddings", WORDS, hidden);
    toy.matrix("embeddings.position_embeddings", 16, hidden);
    toy.matrix("embeddings.token_type_embeddings", 2, hidden);
    toy.norm("embeddings.LayerNorm", hidden);
    for layer in 0..layers {
        let at = |name: &str| format!("encoder.layer.{layer}.{name}");
        for name in ["query", "key", "value"] {
            toy.linear(&at(&format!("attention.self.{name}")), hidden, hidden);
        }
        toy.linear(&at("attention.output.dense"), hidden, hidden);
        toy.norm(&at("attention.output.LayerNorm"), hidden);
        toy.linear(&at("intermediate.dense"), inner, hidden);
        toy.linear(&at("output.dense"), hidden, inner);
        toy.norm(&at("output.LayerNorm"), hidden);
    }
    toy.write(&serde_json::json!({
        "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu",
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": 4, "vocab_size": WORDS, "max_position_embeddings": 16,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12,
    }))
}

fn draft(source: &Path) -> Draft {
    Draft::new(good(Checkpoint::open(source)))
}

fn saved(draft: Draft, source: &Path) -> PathBuf {
    let out = source.with_file_name("out");
    good(save(&out, source, &draft.into_saved().1, &SaveOptions::default()));
    out
}

fn logits(model: &Path) -> Vec<f32> {
    let tokens: Vec<u32> = (0..24).map(|at| at * 7 % WORDS as u32).collect();
    good(good(Decoder::load(model)).logits(&tokens, ForwardOptions::default()))
}

fn vectors(model: &Path) -> Vec<f32> {
    let texts: Vec<String> = (0..6).map(|at| format!("w{at} w{} w{}", at * 3, at * 5)).collect();
    let encoder = good(Encoder::load(model));
    good(encoder.embed(&texts, &EmbedOptions::default()))
}

/// `‖a − b‖ / ‖a‖`.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |x: f64| x * x;
    let apart: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(a - b))).sum();
    let size: f64 = a.iter().map(|a| square(f64::from(*a))).sum();
    assert!(size > 0.0);
    (apart / size).sqrt()
}

fn apply(pass: &dyn Pass, draft: &mut Draft) -> Result<(), PassError> {
    pass.apply(draft, &Run { threads: 2, progress: &|_| {} })
}

/// Logits of f32 networks of this depth agree to a few roundings, 2⁻²⁴ each.
const ROUNDING: f64 = 1e-5;

#[test]
fn rotated_decoders_give_the_same_logits_and_other_weights() {
    for (groups, tied) in [(6, false), (2, true), (3, false), (1, true)] {
        let (_place, source) = llama(groups, tied);
        let expected = logits(&source);
        let mut draft = draft(&source);
        apply(&Rotate { seed: 9 }, &mut draft).unwrap();
        for tensor in Checkpoint::open(&source).unwrap().tensors() {
            let before = draft.source().dense(&tensor.name).unwrap();
            let after = draft.dense(&tensor.name).unwrap();
            let moved = distance(before.values(), after.values());
            let stays = ["q_proj.bias", "k_proj.bias"].iter().any(|n| tensor.name.ends_with(n));
            assert!(if stays { moved == 0.0 } else { moved > 0.1 }, "{} {moved}", tensor.name);
            if tensor.name.ends_with("norm.weight") {
                assert!(after.values().iter().all(|&gain| gain == 1.0));
            }
        }
        let out = saved(draft, &source);
        let apart = distance(&expected, &logits(&out));
        assert!(apart < ROUNDING, "{groups} groups, tied {tied}: {apart}");
        let config: serde_json::Value =
            serde_json::from_slice(&fs::read(out.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["tie_word_embeddings"], false);
    }
}

/// From the `q4_1` file, whose weights cost nothing on that format, to one where they do.
#[test]
fn the_real_smollm2_rotates_off_its_lattice() {
    let Some(source) = smollm2() else { return skip("the SmolLM2 model is absent") };
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("rotated.gguf");
    rotate(&source, &out, 0).unwrap();
    let text = "A random rotation of the residual stream changes nothing that anybody can see.";
    let logits = |path: &Path| {
        let checkpoint = Checkpoint::open(path).unwrap().with_compute(Compute::Float32);
        let decoder = Decoder::open(&checkpoint).unwrap();
        let tokens = decoder.tokenize(text).unwrap();
        decoder.logits(&tokens, ForwardOptions { threads: 2, ..Default::default() }).unwrap()
    };
    let apart = distance(&logits(&source), &logits(&out));
    println!("logits apart by {apart:.2e}");
    assert!(apart < 1e-4, "{apart}");
    let lost = |path: &Path| {
        let dense = Checkpoint::open(path).unwrap().dense("blk.7.ffn_up.weight").unwrap();
        let coded = Scheme::Block(BlockFormat::Q4_1).encode(dense.matrix()).unwrap();
        measure(dense.values(), &coded.decode()).relative
    };
    let (before, after) = (lost(&source), lost(&out));
    assert!(before < 1e-3 && after > 0.05, "q4_1 loses {before} before and {after} after");
    let model = Checkpoint::open(&out).unwrap();
    assert!(model.tensor("output.weight").is_some());
    assert!(model.tensors().iter().all(|tensor| tensor.format == "F32"));
}

#[test]
fn a_seed_gives_one_rotation() {
    let (_place, source) = llama(2, true);
    let words = |seed| {
        let mut draft = draft(&source);
        apply(&Rotate { seed }, &mut draft).unwrap();
        draft.dense("model.embed_tokens.weight").unwrap().values().to_vec()
    };
    assert_eq!(words(1), words(1));
    assert!(distance(&words(1), &words(2)) > 0.1);
}

#[test]
fn encoders_do_not_rotate() {
    let (_place, source) = bert();
    let mut draft = draft(&source);
    let error = apply(&Rotate::default(), &mut draft).unwrap_err();
    assert!(matches!(error, PassError::Unfit { .. }), "{error}");
}

/// Scales by hand at every site that has something to take them.
#[test]
fn scaled_sites_leave_the_network_as_it_is() {
    for (groups, tied) in [(6, false), (2, true)] {
        let (_place, source) = llama(groups, tied);
        let expected = logits(&source);
        let mut draft = draft(&source);
        assert_eq!(scale_all(&mut draft), if tied { 8 } else { 9 });
        let apart = distance(&expected, &logits(&saved(draft, &source)));
        assert!(apart < ROUNDING, "{groups} groups: {apart}");
    }
    let (_place, source) = bert();
    let expected = vectors(&source);
    let mut draft = draft(&source);
    assert_eq!(scale_all(&mut draft), 2, "the values of each layer and nothing else");
    let apart = distance(&expected, &vectors(&saved(draft, &source)));
    assert!(apart < ROUNDING, "bert: {apart}");
}

/// How many sites took a scale.
fn scale_all(draft: &mut Draft) -> usize {
    let mut random = Random::new(1);
    let mut count = 0;
    for site in good(sites(draft)) {
        let Some(absorber) = site.absorber.clone() else {
            assert!(site.scale(draft, &[2.0]).is_err());
            continue;
        };
        let channels = good(draft.dense(&site.readers[0])).cols();
        let slots = absorber.share.slots(channels);
        let scale: Vec<f32> = (0..slots).map(|_| random.normal().exp()).collect();
        assert_eq!(good(site.scale(draft, &scale)).len(), channels);
        count += 1;
    }
    count
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let (_place, source) = llama(2, true);
    let config = fs::read_to_string(source.join("config.json")).unwrap();
    let wrong = config.replace("\"num_key_value_heads\":2", "\"num_key_value_heads\":3");
    assert_ne!(wrong, config);
    fs::write(source.join("config.json"), wrong).unwrap();
    let error = sites(&draft(&source)).unwrap_err().to_string();
    assert!(error.contains("k_proj.weight") && error.contains("24 x 48"), "{error}");
}

/// The statistics of every input of a network, in f64 until the end.
#[derive(Default)]
struct Watch {
    inputs: Vec<(Moment, Vec<f64>)>,
}

impl Tap for Watch {
    fn input(&mut self, weights: &[&str], x: Matrix<'_, f32>) {
        let dim = x.cols();
        let at = self.inputs.iter().position(|(moment, _)| moment.weights == weights);
        let at = at.unwrap_or_else(|| {
            let weights = weights.iter().map(|&name| name.to_owned()).collect();
            let zeros = vec![0.0; dim];
            let (mean_abs, max_abs) = (zeros.clone(), zeros);
            let moment = Moment { weights, dim, mean_abs, max_abs, ..Moment::default() };
            self.inputs.push((moment, vec![0.0; dim * dim]));
            self.inputs.len() - 1
        });
        let (moment, sums) = &mut self.inputs[at];
        for row in (0..x.rows()).map(|row| x.row(row)) {
            moment.count += 1;
            for (i, &value) in row.iter().enumerate() {
                moment.mean_abs[i] += value.abs();
                moment.max_abs[i] = moment.max_abs[i].max(value.abs());
                for (sum, other) in sums[i * dim..].iter_mut().zip(row) {
                    *sum += f64::from(value) * f64::from(*other);
                }
            }
        }
    }
}

fn calibration(model: &Path) -> Calibration {
    let mut random = Random::new(8);
    let words = |random: &mut Random| -> Vec<String> {
        (0..12).map(|_| format!("w{}", random.below(WORDS))).collect()
    };
    let texts: Vec<String> = (0..24).map(|_| words(&mut random).join(" ")).collect();
    let mut watch = Watch::default();
    good(good(Network::load(model)).observe(&texts, &ObserveOptions::default(), &mut watch));
    let finish = |(mut moment, sums): (Moment, Vec<f64>)| {
        let count = moment.count as f64;
        moment.hessian = sums.iter().map(|sum| (sum / count) as f32).collect();
        moment.mean_square = moment.hessian.iter().step_by(moment.dim + 1).copied().collect();
        moment.mean_abs.iter_mut().for_each(|value| *value /= count as f32);
        moment
    };
    Calibration { inputs: watch.inputs.into_iter().map(finish).collect() }
}

/// Makes channel 3 of every norm, and row 5 of every value and up projection, `factor` times as
/// large.
fn stretch(source: &Path, factor: f32) {
    let mut draft = draft(source);
    let names: Vec<String> = draft.tensors().iter().map(|tensor| tensor.name.clone()).collect();
    for name in names {
        let norm = name.contains("layernorm.weight") || name.ends_with("norm.weight");
        let row = if norm { 3 } else { 5 };
        if !norm
            && !["v_proj.weight", "up_proj.weight", "self.value.weight"]
                .iter()
                .any(|end| name.ends_with(end))
        {
            continue;
        }
        let dense = good(draft.dense(&name));
        let width = if norm { 1 } else { dense.cols() };
        let mut values = dense.values().to_vec();
        values[row * width..(row + 1) * width].iter_mut().for_each(|value| *value *= factor);
        draft.rewrite(name, kvant_model::Dense::owned(dense.shape().to_vec(), values));
    }
    let out = saved(draft, source);
    good(fs::remove_dir_all(source));
    good(fs::rename(out, source));
}

type Scaling<'a> = &'a dyn Fn(&mut Draft, &mut Calibration, usize) -> Vec<Scaled>;

/// Runs a transform that scales channels and checks what it promises: the same results, the
/// statistics of the new network, no loss more than before, the same for any threads.
fn check_scaling(source: &Path, transform: Scaling<'_>, run: &dyn Fn(&Path) -> Vec<f32>) -> usize {
    let expected = run(source);
    let before = calibration(source);
    let (mut draft_one, mut after) = (draft(source), before.clone());
    let scaled = transform(&mut draft_one, &mut after, 1);
    let (mut draft_two, mut after_two) = (draft(source), before.clone());
    assert_eq!(transform(&mut draft_two, &mut after_two, 3), scaled, "threads");
    assert_eq!(after, after_two);
    for Scaled { readers, alpha, loss_before, loss } in &scaled {
        let sound = loss.is_finite()
            && (if alpha.is_some() { loss < loss_before } else { loss == loss_before });
        assert!(sound, "{readers:?}: {loss_before} to {loss}");
    }
    let out = saved(draft_one, source);
    let apart = distance(&expected, &run(&out));
    assert!(apart < ROUNDING, "{apart}");
    let seen = calibration(&out);
    for (said, seen) in after.inputs.iter().zip(&seen.inputs) {
        // The head that became a tensor of its own aside, names stay.
        assert_eq!(said.weights, seen.weights);
        for (said, seen) in [
            (&said.hessian, &seen.hessian),
            (&said.mean_square, &seen.mean_square),
            (&said.mean_abs, &seen.mean_abs),
            (&said.max_abs, &seen.max_abs),
        ] {
            let apart = distance(seen, said);
            assert!(apart < 10.0 * ROUNDING, "statistics: {apart}");
        }
    }
    good(fs::remove_dir_all(out));
    scaled.iter().filter(|scaled| scaled.alpha.is_some()).count()
}

fn run_awq(draft: &mut Draft, calibration: &mut Calibration, threads: usize) -> Vec<Scaled> {
    // With a scale per row, where small groups and a search leave little to gain.
    let tasks = tasks(draft, |_| "linear3:channel@awq");
    good(awq(draft, calibration, &AwqOptions { tasks: &tasks, threads, rest: Rest::Leave }))
}

/// Every matrix by the quantizer that `named` gives it.
fn tasks(draft: &Draft, named: impl Fn(&str) -> &'static str) -> Vec<Task> {
    let matrices = draft.tensors().iter().filter(|tensor| tensor.shape.len() == 2);
    let task = |name: &str| Task {
        name: name.to_owned(),
        quantizer: good(named(name).parse()),
        observer: None,
    };
    matrices.map(|tensor| task(&tensor.name)).collect()
}

/// A weight by another method, or in another format, is no reason to scale what it reads.
#[test]
fn awq_scales_the_inputs_of_its_own_weights_by_their_own_formats() {
    let (_place, source) = llama(2, true);
    stretch(&source, 30.0);
    let run = |down: &'static str, rest: &'static str| {
        let (mut draft, mut seen) = (draft(&source), calibration(&source));
        let tasks = tasks(&draft, |name| if name.contains("down_proj") { down } else { rest });
        let options = AwqOptions { tasks: &tasks, threads: 2, rest: Rest::Leave };
        good(awq(&mut draft, &mut seen, &options))
    };
    let of = |all: &[Scaled], down: bool| -> Vec<Scaled> {
        let is_down = |site: &&Scaled| site.readers[0].contains("down_proj") == down;
        all.iter().filter(is_down).cloned().collect()
    };
    let (coarse, fine) = ("linear3:channel@awq", "linear6:channel@awq");
    let all = run(coarse, coarse);
    let alone = run(coarse, "linear3:channel@search");
    assert!(!alone.is_empty() && alone == of(&all, true), "{alone:?}");
    let mixed = run(fine, coarse);
    assert_eq!(of(&mixed, false), of(&all, false));
    for (fine, coarse) in of(&mixed, true).iter().zip(of(&all, true)) {
        assert!(fine.loss_before < coarse.loss_before / 16.0, "{fine:?} {coarse:?}");
    }
}

fn run_smooth(draft: &mut Draft, calibration: &mut Calibration, threads: usize) -> Vec<Scaled> {
    good(smooth(draft, calibration, &SmoothOptions { threads, rest: Rest::Leave }))
}

#[test]
fn scaling_keeps_the_network_and_follows_the_statistics() {
    for transform in [&run_awq as Scaling<'_>, &run_smooth] {
        let (_place, source) = llama(2, true);
        stretch(&source, 30.0);
        let scaled = check_scaling(&source, transform, &logits);
        assert!(scaled >= 4, "{scaled} of 8 sites scaled in spite of outliers");
        let (_place, source) = bert();
        stretch(&source, 30.0);
        let scaled = check_scaling(&source, transform, &vectors);
        assert!(scaled >= 1, "{scaled} of 2 sites scaled in spite of outliers");
    }
}

/// A channel that is always 0 has no size to take a scale from.
#[test]
fn dead_channels_are_left_alone() {
    for transform in [&run_awq as Scaling<'_>, &run_smooth] {
        let (_place, source) = llama(3, false);
        stretch(&source, 0.0);
        check_scaling(&source, transform, &logits);
    }
}

#[test]
fn inputs_without_statistics_stay_as_they_are() {
    let (_place, source) = llama(2, true);
    let (mut draft, mut calibration) = (draft(&source), Calibration::default());
    assert_eq!(run_awq(&mut draft, &mut calibration, 2), []);
    for tensor in draft.source().tensors() {
        let (before, after) = (draft.source().dense(&tensor.name), draft.dense(&tensor.name));
        assert_eq!(before.unwrap().values(), after.unwrap().values());
    }
}

fn compressed(source: &Path, name: &str, plan: &Plan) -> (PathBuf, Report) {
    let out = source.with_file_name(name);
    let report = good(compress(source, &out, plan, &|_| {}));
    (out, report)
}

/// A copy of a copy: what lies beside the codes goes along, or into f32 weights.
fn check_copies(model: &Path) {
    let expected = vectors(model);
    let copy = model.with_file_name("copy");
    good(convert(model, &copy, &ConvertOptions::default()));
    assert_eq!(vectors(&copy), expected);
    let wide = model.with_file_name("wide");
    let float = Some(FloatFormat::F32);
    good(convert(model, &wide, &ConvertOptions { float, ..Default::default() }));
    let apart = distance(&expected, &vectors(&wide));
    assert!(apart < ROUNDING, "{apart}");
    let gguf = model.with_file_name("model.gguf");
    let refused = convert(model, &gguf, &ConvertOptions::default());
    assert!(refused.is_err() && !gguf.exists(), "codes that GGUF does not have");
}

#[test]
fn corrections_are_stored_counted_and_run() {
    let (_place, source) = bert();
    let expected = vectors(&source);
    let calibration = Some(Arc::new(calibration(&source)));
    let mut plan = Plan { calibration, ..Plan::uniform(good("linear2".parse::<Scheme>())) };
    let (plain, without) = compressed(&source, "plain", &plan);
    plan.recipe.transforms = vec![Transform::LowRank { rank: 12 }];
    let (out, with) = compressed(&source, "corrected", &plan);
    let (far, near) = (distance(&expected, &vectors(&plain)), distance(&expected, &vectors(&out)));
    assert!(near < 0.8 * far, "{far} without correction, {near} with");
    let (before, after) = (Checkpoint::open(&source).unwrap(), Checkpoint::open(&out).unwrap());
    assert_eq!(after.tensors().len(), before.tensors().len());
    for ((line, plain), tensor) in with.tensors.iter().zip(&without.tensors).zip(after.tensors()) {
        assert_eq!((&line.name, line.size_bytes), (&tensor.name, tensor.size_bytes));
        assert_eq!(line.bits_per_weight, tensor.bits_per_weight, "{}", line.name);
        if line.kept.is_some() {
            continue;
        }
        let [rows, cols] = line.shape[..] else { panic!("{line:?}") };
        assert_eq!(line.size_bytes, plain.size_bytes + 2 * 12 * (rows + cols) as u64);
        // Nothing is known of what the tables see.
        let lost = |line: &TensorReport| line.error_under_h.unwrap_or(line.relative);
        assert!(lost(line) < lost(plain), "{line:?} {plain:?}");
        let (was, is) = (before.dense(&line.name).unwrap(), after.dense(&line.name).unwrap());
        let lost = measure(was.values(), is.values()).relative;
        assert!((lost - line.relative).abs() < 1e-5 * lost, "{line:?}: {lost}");
    }
    check_copies(&out);
}

#[test]
fn scales_without_an_absorber_are_stored_and_undone() {
    let (_place, source) = bert();
    stretch(&source, 30.0);
    let expected = vectors(&source);
    let calibration = Some(Arc::new(calibration(&source)));
    let mut plan = Plan { calibration, ..Plan::uniform(Scheme::Int8) };
    plan.recipe.transforms = vec![Transform::Smooth];
    let (out, _) = compressed(&source, "smooth", &plan);
    let bytes = fs::read(out.join("model.safetensors")).unwrap();
    let stored = String::from_utf8_lossy(&bytes).matches("weight_smooth").count();
    assert!(stored > 0, "no scale was stored");
    let apart = distance(&expected, &vectors(&out));
    assert!(apart < 0.05, "{apart}");
    let (before, after) = (Checkpoint::open(&source).unwrap(), Checkpoint::open(&out).unwrap());
    let name = "encoder.layer.1.intermediate.dense.weight";
    let (was, is) = (before.dense(name).unwrap(), after.dense(name).unwrap());
    assert!(distance(was.values(), is.values()) < 0.05);
    check_copies(&out);
}

/// Texts of a few thousand tokens for the toys.
fn texts() -> Vec<String> {
    let mut random = Random::new(9);
    let mut text = || {
        let words: Vec<String> = (0..12).map(|_| format!("w{}", random.below(WORDS))).collect();
        words.join(" ")
    };
    (0..200).map(|_| text()).collect()
}

fn collect(model: &Path) -> Arc<Calibration> {
    Arc::new(good(Calibration::collect(model, &texts(), &CalibrateOptions::default())))
}

fn plan(quantizer: &str, transforms: &[Transform]) -> Plan {
    let mut plan = Plan::uniform(good(quantizer.parse::<kvant_compress::Quantizer>()));
    plan.recipe.transforms = transforms.to_vec();
    plan
}

#[test]
fn one_command_rotates_looks_at_the_text_and_quantizes() {
    let (place, source) = llama(2, true);
    let path = |name: &str| place.path().join(name);
    let mut at_once = plan("linear3:g8@gptq", &[Transform::Rotate { seed: 5 }]);
    at_once.texts = texts();
    good(compress(&source, &path("once"), &at_once, &|_| {}));
    good(rotate(&source, &path("rotated"), 5));
    let mut later = plan("linear3:g8@gptq", &[]);
    later.calibration = Some(collect(&path("rotated")));
    good(compress(&path("rotated"), &path("later"), &later, &|_| {}));
    let (once, later) = (Checkpoint::open(&path("once")), Checkpoint::open(&path("later")));
    let (once, later) = (good(once), good(later));
    assert_eq!(once.tensors(), later.tensors());
    for tensor in once.tensors() {
        let (one, other) = (once.dense(&tensor.name), later.dense(&tensor.name));
        assert_eq!(good(one).values(), good(other).values(), "{}", tensor.name);
    }
    // What was seen before the rotation is true no longer.
    at_once.calibration = Some(collect(&source));
    let error = compress(&source, &path("stale"), &at_once, &|_| {}).unwrap_err();
    assert!(matches!(error, CompressError::Plan(PlanError::Rotated)), "{error}");
    assert!(!path("stale").exists());
}

#[test]
fn a_gguf_file_takes_no_layout_and_no_activations() {
    let (place, source) = llama(2, true);
    let out = place.path().join("x.gguf");
    let mut layout = plan("q4_0", &[]);
    layout.container = Container::Gptq;
    let mut activations = plan("q8_0", &[]);
    activations.activations = Some(Activations::Token);
    let correction = plan("q8_0", &[Transform::LowRank { rank: 4 }]);
    for (plan, said) in [
        (layout, "--as gptq"),
        (activations, "--activations int8:token"),
        (correction, "--transform lowrank:4"),
    ] {
        let error = compress(&source, &out, &plan, &|_| {}).unwrap_err();
        assert!(matches!(error, CompressError::Plan(PlanError::Gguf { .. })), "{error}");
        assert!(error.to_string().starts_with(said), "{error}");
        assert!(!out.exists());
    }
}

#[test]
fn a_format_that_the_container_cannot_hold_is_refused_before_any_work() {
    let (place, source) = llama(2, true);
    let mut layout = plan("linear4", &[]);
    layout.container = Container::Awq;
    for (plan, out) in [(layout, "directory"), (plan("linear4", &[]), "x.gguf")] {
        let out = place.path().join(out);
        let started = |step| unreachable!("{step:?}");
        let error = compress(&source, &out, &plan, &started).unwrap_err();
        assert!(matches!(error, CompressError::Plan(PlanError::Scheme { .. })), "{error}");
        assert!(!out.exists());
    }
}

/// The bias has what is left of the mean error once the correction is counted.
#[test]
fn a_low_rank_correction_leaves_the_mean_of_the_outputs() {
    let (place, source) = bert();
    let seen = collect(&source);
    let mut plan = plan("linear2:channel@gptq", &[Transform::LowRank { rank: 4 }]);
    plan.calibration = Some(Arc::clone(&seen));
    let out = place.path().join("out");
    good(compress(&source, &out, &plan, &|_| {}));
    let (before, after) = (good(Checkpoint::open(&source)), good(Checkpoint::open(&out)));
    let mut layers = 0;
    for moment in &seen.inputs {
        for name in &moment.weights {
            let bias = name.replace(".weight", ".bias");
            let means = |model: &Checkpoint| -> Vec<f64> {
                let (weight, bias) = (good(model.dense(name)), good(model.dense(&bias)));
                let row = |(row, bias): (usize, &f32)| {
                    let terms = weight.row(row).iter().zip(&moment.mean);
                    terms.map(|(w, x)| f64::from(w * x)).sum::<f64>() + f64::from(*bias)
                };
                bias.values().iter().enumerate().map(row).collect()
            };
            for (wanted, got) in means(&before).iter().zip(means(&after)) {
                assert!((wanted - got).abs() < 1e-4, "{name}: {wanted} {got}");
            }
            layers += 1;
        }
    }
    assert_eq!(layers, 12);
}

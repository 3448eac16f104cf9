//! `kvant eval MODEL… --against BASELINE --task T --data FILE`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, ensure};
use kvant_eval::report::{Memory, Size};
use kvant_eval::task::{Kind, Task};
use kvant_eval::{Embed, Failure, Options, Report, Side, cost, report};
use kvant_model::{Checkpoint, Compute, EmbedOptions, Encoder, Summary};

use super::encoder;
use crate::args::Eval;
use crate::progress::{Audience, Progress, Unit};
use crate::{place, print, pull};

/// Texts embedded when memory is taken.
const MEMORY_TEXTS: usize = 256;
/// Directory names that say nothing about the model in them.
const GENERIC: [&str; 3] = ["model", "models", "snapshots"];

pub(super) fn run(args: &Eval) -> anyhow::Result<()> {
    let audience = Audience::of(args.json);
    if let Some(html) = &args.html {
        place::writable_folder(html)?;
    }
    let task = Task::read(args.task, &args.data, args.test.as_deref())?;
    ensure!(
        args.questions.is_empty() || task.kind() == Kind::Retrieval,
        "--ask needs documents to search; it goes with --task retrieval"
    );
    let subjects = subjects(args, audience)?;
    let texts = sample(&task);
    let mut sides = Vec::new();
    for subject in &subjects {
        let memory = memory(&subject.path, args.threads.get(), &texts)?;
        sides.push(subject.side(memory)?);
    }
    let report = evaluate(args, &sides, &task, audience)?;
    if let Some(html) = &args.html {
        kvant_storage::write_file_atomic(html, report::html(&report).as_bytes())?;
    }
    if args.json {
        return print::json(&report);
    }
    print::all(&report::table(&report))?;
    match &args.html {
        Some(html) => print::line(&format!("\nreport: {}", html.display())),
        None => Ok(()),
    }
}

fn evaluate(
    args: &Eval,
    sides: &[Side<'_>],
    task: &Task,
    audience: Audience,
) -> anyhow::Result<Report> {
    let bars = Bars { audience, current: Mutex::new(None) };
    let told = |progress| bars.tell(progress);
    let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).display().to_string();
    let options = Options {
        data: (name(&args.data), args.test.as_deref().map(name)),
        threads: args.threads.get(),
        questions: args.questions.clone(),
        progress: Some(&told),
        ..Options::default()
    };
    Ok(kvant_eval::evaluate(sides, task, &options)?)
}

/// One bar after the other, as the evaluation goes through its phases.
struct Bars {
    audience: Audience,
    current: Mutex<Option<(&'static str, usize, Progress)>>,
}

impl Bars {
    fn tell(&self, progress: kvant_eval::Progress) {
        let (what, done, total) = match progress {
            kvant_eval::Progress::Embed { done, total } => ("embedding", done, total),
            kvant_eval::Progress::Time { done, total } => ("taking time", done, total),
        };
        let Ok(mut current) = self.current.lock() else { return };
        if current.as_ref().is_none_or(|(name, ..)| *name != what) {
            // The old bar is wiped before the next is drawn.
            *current = None;
            let bar = Progress::new(what, Some(total as u64), Unit::Items, self.audience);
            *current = Some((what, 0, bar));
        }
        if let Some((_, before, bar)) = &mut *current {
            bar.advance(done.saturating_sub(*before) as u64);
            *before = done;
        }
    }
}

/// A model that takes part, loaded.
struct Subject {
    label: String,
    path: PathBuf,
    encoder: Network,
}

impl Subject {
    fn side(&self, memory: Option<Memory>) -> anyhow::Result<Side<'_>> {
        let summary = Summary::of(&self.path)?;
        let size = Size {
            parameters: Some(summary.parameters),
            bits_per_weight: Some(summary.bits_per_weight),
            ..cost::weigh(&self.path)?
        };
        Ok(Side {
            path: Some(self.path.clone()),
            size,
            memory,
            tensors: cost::tensor_errors(&self.path)?,
            ..Side::new(self.label.clone(), &self.encoder)
        })
    }
}

/// The baseline, then the candidates.
fn subjects(args: &Eval, audience: Audience) -> anyhow::Result<Vec<Subject>> {
    let mut subjects: Vec<Subject> = Vec::new();
    for text in std::iter::once(&args.against).chain(&args.models) {
        let (label, reference) = named(text);
        let path = pull::model(reference, audience)?;
        let mut label = label.map_or_else(|| name_of(reference, &path), ToOwned::to_owned);
        if subjects.iter().any(|subject| subject.label == label) {
            label = format!("{label} ({})", subjects.len() + 1);
        }
        let compute = if subjects.is_empty() { Compute::Auto } else { args.compute };
        let encoder = Network(encoder::open(&Checkpoint::open(&path)?.with_compute(compute))?);
        subjects.push(Subject { label, path, encoder });
    }
    Ok(subjects)
}

/// `NAME=MODEL`, unless there is a path of that whole name.
fn named(text: &str) -> (Option<&str>, &str) {
    match text.split_once('=') {
        Some((label, model))
            if !label.is_empty()
                && !label.contains([':', '/'])
                && !model.starts_with('=')
                && !Path::new(text).exists() =>
        {
            (Some(label), model)
        }
        Some(_) | None => (None, text),
    }
}

/// The last part of a path or reference that says something.
fn name_of(reference: &str, path: &Path) -> String {
    if !Path::new(reference).exists() {
        return reference.rsplit([':', '/']).next().unwrap_or(reference).to_owned();
    }
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut names = whole.iter().rev().map(|name| name.to_string_lossy());
    let says = |name: &std::borrow::Cow<'_, str>| {
        let commit = name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        !commit && !GENERIC.contains(&name.as_ref())
    };
    names.find(says).map_or_else(|| "model".into(), std::borrow::Cow::into_owned)
}

/// Some texts of the task, evenly spaced.
fn sample(task: &Task) -> Vec<String> {
    let texts = task.texts();
    let step = texts.len().div_ceil(MEMORY_TEXTS).max(1);
    texts.into_iter().step_by(step).map(ToOwned::to_owned).collect()
}

fn memory(model: &Path, threads: usize, texts: &[String]) -> anyhow::Result<Option<Memory>> {
    let this = std::env::current_exe().context("cannot find the program itself")?;
    let mut command = Command::new(this);
    command.arg("measure").arg(model).args(["--threads", &threads.to_string()]);
    cost::in_child(&mut command, &serde_json::to_vec(texts)?)
        .with_context(|| model.display().to_string())
}

/// An encoder as the evaluation sees it.
struct Network(Encoder);

impl Embed for Network {
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn embed(&self, texts: &[&str], threads: usize) -> Result<Vec<f32>, Failure> {
        let options = EmbedOptions { threads, ..EmbedOptions::default() };
        Ok(self.0.embed(texts, &options)?)
    }

    fn tokens(&self, text: &str) -> Result<usize, Failure> {
        Ok(self.0.tokenize(text)?.len())
    }

    fn macs(&self, tokens: usize) -> u64 {
        self.0.macs(tokens)
    }

    fn weight_bytes(&self) -> usize {
        self.0.weight_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_can_be_given_a_name() {
        assert_eq!(named("f32=models/minilm"), (Some("f32"), "models/minilm"));
        assert_eq!(named("models/minilm"), (None, "models/minilm"));
        assert_eq!(named("pypi:a==1"), (None, "pypi:a==1"));
        assert_eq!(named("base=pypi:a==1"), (Some("base"), "pypi:a==1"));
        assert_eq!(named("a==1"), (None, "a==1"));
    }

    #[test]
    fn generic_folders_do_not_name_a_model() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("minilm/model");
        std::fs::create_dir_all(&path).expect("made");
        assert_eq!(name_of(&path.display().to_string(), &path), "minilm");
        assert_eq!(name_of("pypi:some-model", &path), "some-model");
        assert_eq!(name_of("hf:org/name", &path), "name");
    }
}

//! What `--index auto` chose, for people and for programs.

use std::fmt::Write;
use std::time::Instant;

use anyhow::{Context, ensure};
use kvant_index::{
    BuildOptions, CodeSpec, Effort, FloatRows, IndexSpec, Plan, PlanOptions, Spec, Stages, Tuning,
};
use serde::{Deserialize, Serialize};

use super::part::{Kept, Parts};
use crate::args::{Indexing, Wanted};
use crate::print::{Lean, Table};

/// Under which a choice is kept.
const PLAN: &str = "plan";

/// The index that is to be built.
#[derive(Debug)]
pub(in crate::command) struct Planned<'p> {
    pub(in crate::command) spec: IndexSpec,
    pub(in crate::command) account: Option<Account>,
    /// Where the choice is kept, if one was made.
    pub(in crate::command) kept: Option<Kept<'p>>,
}

/// What `--json` prints of a choice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::command) struct Account {
    index: String,
    /// What was asked for.
    recall: f64,
    k: usize,
    memory: Option<String>,
    /// How hard searches of it try.
    effort: Option<Told>,
    /// Time of the choice.
    pub(in crate::command) seconds: f64,
    reasons: Vec<String>,
    tried: Vec<Tried>,
}

/// An effort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::command) enum Told {
    Ef(usize),
    Probes(usize),
}

/// An index on trial.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Tried {
    index: String,
    bytes_per_vector_hot: f64,
    seconds_build: f64,
    /// What a scan of its codes finds.
    ceiling: f64,
    settings: Vec<Setting>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Setting {
    recall: f64,
    effort: Option<Told>,
    found: f64,
    queries_per_s: f64,
}

impl Told {
    pub(in crate::command) fn of(effort: Effort) -> Option<Self> {
        match effort {
            Effort::Ef(ef) => Some(Self::Ef(ef)),
            Effort::Probes(lists) => Some(Self::Probes(lists)),
            Effort::Default | Effort::Exact => None,
        }
    }
}

/// What `of` asks for, found by trying if need be, unless an ended build had found it.
pub(in crate::command) fn plan<'p>(
    of: &Indexing,
    (rows, parts): (&FloatRows<'_>, Option<&'p Parts>),
    k: usize,
    build: &BuildOptions<'_>,
) -> anyhow::Result<Planned<'p>> {
    let spec = match of.index {
        Wanted::Spec(spec) => spec,
        Wanted::Auto => {
            let usual = PlanOptions::default();
            let recall = of.recall.unwrap_or(usual.recall);
            let options = PlanOptions { recall, k, memory: of.memory, build: *build, ..usual };
            let began = Instant::now();
            let kept = parts.map(|parts| parts.of(identity(rows, &options)));
            if let Some((spec, account)) = kept.as_ref().and_then(Account::kept) {
                return Ok(Planned { spec, account: Some(account), kept });
            }
            let plan = Plan::auto(rows, &options);
            let plan = plan.with_context(|| of.base.display().to_string())?;
            let account = Account::of(&plan, &options, began.elapsed().as_secs_f64());
            if let Some(kept) = kept.as_ref().filter(|kept| kept.is_due()) {
                kept.save(PLAN, &[&serde_json::to_vec(&account)?]);
            }
            return Ok(Planned { spec: plan.spec, account: Some(account), kept });
        }
    };
    ensure!(of.recall.is_none(), "--recall is what --index auto looks for: {spec} is given");
    ensure!(of.memory.is_none(), "--memory is for --index auto: {spec} takes what it takes");
    Ok(Planned { spec, account: None, kept: None })
}

/// What a choice depends on, the speeds apart that were timed.
fn identity(rows: &FloatRows<'_>, options: &PlanOptions<'_>) -> String {
    let PlanOptions { recall, k, memory, sample, build } = options;
    let any = IndexSpec { shape: Spec::Flat, code: CodeSpec::Float, rerank: None };
    let build = build.identity(&any, rows);
    format!("recall {recall}, k {k}, memory {memory:?}, sample {sample}, {build}")
}

impl Account {
    /// What an ended build had chosen.
    fn kept(kept: &Kept<'_>) -> Option<(IndexSpec, Self)> {
        let account: Self = serde_json::from_slice(&kept.load(PLAN)?).ok()?;
        Some((account.index.parse().ok()?, account))
    }

    /// How hard searches of it try.
    pub(in crate::command) fn tuning(&self) -> Option<Tuning> {
        let effort = match self.effort? {
            Told::Ef(ef) => Effort::Ef(ef),
            Told::Probes(lists) => Effort::Probes(lists),
        };
        Some(Tuning { k: self.k, effort })
    }

    fn of(plan: &Plan, options: &PlanOptions<'_>, seconds: f64) -> Self {
        let tried = plan.tried.iter().map(|tried| Tried {
            index: tried.spec.to_string(),
            bytes_per_vector_hot: tried.bytes,
            seconds_build: tried.build_s,
            ceiling: tried.ceiling,
            settings: tried
                .steps
                .iter()
                .map(|step| Setting {
                    recall: step.recall,
                    effort: Told::of(step.effort),
                    found: step.found,
                    queries_per_s: step.qps,
                })
                .collect(),
        });
        Self {
            index: plan.spec.to_string(),
            recall: options.recall,
            k: options.k,
            memory: options.memory.map(|memory| memory.to_string()),
            effort: plan.tuning.and_then(|tuning| Told::of(tuning.effort)),
            seconds,
            reasons: plan.reasons.iter().map(ToString::to_string).collect(),
            tried: tried.collect(),
        }
    }

    /// A table of what was tried, and the reasons, a line each.
    pub(in crate::command) fn text(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        if !self.tried.is_empty() {
            let recalls: Vec<String> = self.recalls().map(|at| format!("/s @{at:.4}")).collect();
            let mut head = vec![("tried", Lean::Left), ("bytes a row", Lean::Right)];
            head.extend([("build s", Lean::Right), ("at most", Lean::Right)]);
            head.extend(recalls.iter().map(|name| (name.as_str(), Lean::Right)));
            let mut table = Table::new(&head);
            for tried in &self.tried {
                let speed = |at: f64| {
                    let found = tried.settings.iter().find(|setting| setting.recall == at);
                    found.map_or_else(
                        || "–".to_owned(),
                        |found| format!("{:.0}", found.queries_per_s),
                    )
                };
                let own = [
                    tried.index.clone(),
                    format!("{:.1}", tried.bytes_per_vector_hot),
                    format!("{:.1}", tried.seconds_build),
                    format!("{:.4}", tried.ceiling),
                ];
                table.row(own.into_iter().chain(self.recalls().map(speed)).collect());
            }
            write!(text, "{table}")?;
        }
        writeln!(text, "{}, chosen in {:.1} s:", self.index, self.seconds)?;
        for reason in &self.reasons {
            writeln!(text, "- {reason}")?;
        }
        Ok(text)
    }

    /// The recalls that anything reached.
    fn recalls(&self) -> impl Iterator<Item = f64> {
        let most = self.tried.iter().max_by_key(|tried| tried.settings.len());
        most.into_iter().flat_map(|tried| tried.settings.iter().map(|setting| setting.recall))
    }
}

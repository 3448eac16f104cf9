//! Plans keep what they promise.

use kvant_testkit::clustered;

use super::*;

const DIM: usize = 32;

fn rows(n: usize) -> Vec<f32> {
    clustered(n, DIM, 11)
}

fn auto(data: &[f32], metric: Metric, options: &PlanOptions<'_>) -> Result<Plan, PlanError> {
    Plan::auto(&FloatRows::new(data, DIM, metric), options)
}

fn error(data: &[f32], options: &PlanOptions<'_>) -> String {
    auto(data, Metric::Euclid, options).unwrap_err().to_string()
}

#[test]
fn few_rows_and_full_recall_need_no_trial() {
    let data = rows(3000);
    let few = &data[..500 * DIM];
    let usual = PlanOptions::default();
    let plan = auto(few, Metric::Euclid, &usual).unwrap();
    assert_eq!((plan.spec.to_string().as_str(), plan.tuning), ("flat", None));
    assert!(plan.reasons[0].to_string().starts_with("500 rows are few"));
    let small = PlanOptions { memory: Some(Memory::Row(40)), ..usual };
    assert_eq!(auto(few, Metric::Euclid, &small).unwrap().spec.to_string(), "flat,int8");
    let whole = PlanOptions { recall: 1.0, ..usual };
    let plan = auto(&data, Metric::Cosine, &whole).unwrap();
    assert_eq!((plan.spec.to_string().as_str(), plan.tuning), ("flat,bound4", None));
    assert_eq!(plan.reasons, [Reason::Exact]);
    assert_eq!(auto(&data, Metric::Manhattan, &whole).unwrap().spec.to_string(), "flat");
    let bare = PlanOptions { memory: Some(Memory::Row(130)), ..whole };
    assert_eq!(auto(&data, Metric::Cosine, &bare).unwrap().spec.to_string(), "flat");
    assert_eq!(auto(&[], Metric::Cosine, &usual).unwrap().spec.to_string(), "flat");
}

#[test]
fn what_cannot_be_is_refused() {
    let data = rows(1200);
    let usual = PlanOptions::default();
    for recall in [0.0, -0.5, 1.0001, f64::NAN] {
        let text = error(&data, &PlanOptions { recall, ..usual });
        assert!(text.contains("not above 0 and at most 1"), "{text}");
    }
    assert!(error(&data, &PlanOptions { k: 0, ..usual }).contains("at least one row"));
    let tiny = PlanOptions { memory: Some(Memory::Row(3)), ..usual };
    let text = error(&data, &tiny);
    assert!(text.starts_with("3.0 bytes a row are too few: any index takes at least"), "{text}");
    let least: f64 =
        text.split("at least ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    let memory = Some(Memory::Row(least.ceil() as u64));
    let plan = auto(&data, Metric::Euclid, &PlanOptions { memory, recall: 0.01, ..usual });
    assert!(plan.is_ok(), "what is said to be enough is: {plan:?}");
    let exact = PlanOptions { recall: 1.0, memory: Some(Memory::All(1000)), ..usual };
    let text = error(&data, &exact);
    assert!(text.contains("exact search takes at least 128.0, 153600 bytes"), "{text}");
    let mut nan = data.clone();
    nan[70] = f32::NAN;
    assert!(error(&nan, &usual).contains("not a finite number"));
}

#[test]
fn plans_find_what_they_promise() {
    let mut data = rows(6300);
    let queries = data.split_off(6000 * DIM);
    for (metric, recall) in [
        (Metric::Euclid, 0.9),
        (Metric::Dot, 0.9),
        (Metric::Manhattan, 0.95),
        (Metric::Cosine, 0.98),
    ] {
        let mut data = data.clone();
        data.chunks_exact_mut(DIM).for_each(|row| metric.prepare(row));
        let floats = || FloatRows::new(&data, DIM, metric);
        let memory = Some(Memory::Row(100));
        let options = PlanOptions { recall, memory, ..PlanOptions::default() };
        let plan = Plan::auto(&floats(), &options).unwrap();
        let index = plan.build(floats(), &options.build).unwrap();
        assert_eq!(index.tuning(), plan.tuning, "{metric}: {}", plan.spec);
        assert_ne!(plan.tuning, None, "{metric}: {}", plan.spec);
        let hot = index.sizes().hot_per_row(index.len());
        assert!(hot <= 100.0, "{metric}: {} takes {hot}", plan.spec);
        let exact = Index::build(&"flat".parse().unwrap(), floats(), &options.build).unwrap();
        let ids = |index: &Index<'_>| -> Vec<Vec<u32>> {
            let found = index.search_batch(&queries, &crate::SearchOptions::default(), 1).unwrap();
            found.iter().map(|found| found.hits.iter().map(|hit| hit.row.0).collect()).collect()
        };
        let (found, truth) = (ids(&index), ids(&exact));
        let pairs = found.iter().zip(&truth);
        let right: usize = pairs.map(|(a, b)| a.iter().filter(|row| b.contains(row)).count()).sum();
        let got = right as f64 / (10 * truth.len()) as f64;
        assert!(got >= recall - 0.02, "{metric}: {got} with {} {:?}", plan.spec, plan.tuning);
        assert!(plan.reasons.len() >= 3 && !plan.tried.is_empty());
        for reason in &plan.reasons {
            let text = reason.to_string();
            assert!(text.len() > 20 && !text.contains("NaN") && !text.contains("inf"), "{text}");
        }
    }
}

/// Speeds are timed, so the choice may vary; what was tried, and how hard, may not.
#[test]
fn trials_are_the_same_every_time() {
    let data = rows(3000);
    let of = |threads| {
        let build = BuildOptions { threads, seed: 9, ..BuildOptions::default() };
        let plan = auto(&data, Metric::Euclid, &PlanOptions { build, ..PlanOptions::default() });
        let tried = plan.unwrap().tried.into_iter();
        let steps = |tried: Tried| {
            let steps = tried.steps.into_iter().map(|step| (step.effort, step.found));
            (tried.spec, tried.ceiling, steps.collect::<Vec<_>>())
        };
        tried.map(steps).collect::<Vec<_>>()
    };
    let one = of(1);
    assert_eq!(one, of(3));
    assert!(one.iter().any(|(spec, ..)| spec.shape == Spec::Flat));
    assert!(one.iter().any(|(spec, ..)| spec.to_string().starts_with("ivf53,pq")));
}

#[test]
fn efforts_for_more_rows_than_were_tried_are_drawn_on() {
    let data = rows(9000);
    let memory = Some(Memory::Row(150));
    let options = PlanOptions { sample: 2000, memory, ..PlanOptions::default() };
    let plan = auto(&data, Metric::Euclid, &options).unwrap();
    let steps = plan.reasons.iter().find_map(|reason| {
        let &Reason::Extrapolated { steps } = reason else { return None };
        Some(steps)
    });
    let steps = steps.unwrap();
    assert_eq!(steps.map(|(rows, _)| rows), [500, 2000, 9000]);
    let count = match plan.tuning.unwrap().effort {
        Effort::Ef(count) | Effort::Probes(count) => count,
        Effort::Default | Effort::Exact => 0,
    };
    assert_eq!(count, steps[2].1);
    assert!(count >= steps[1].1);
}

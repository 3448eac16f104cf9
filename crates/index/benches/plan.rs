//! What `auto` chooses for the vectors of a file, and why.
//!
//! `cargo bench -p kvant-index --bench plan -- BASE.npy l2|cos [recall 0.95] [memory none]`.

mod npy;

use std::time::Instant;

use kvant_index::{BuildOptions, FloatRows, Metric, Plan, PlanOptions};
use npy::floats;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [base, metric, rest @ ..] = &args[..] else { return Ok(()) };
    let metric: Metric = metric.parse()?;
    let (mut base, dim) = floats(base)?;
    base.chunks_exact_mut(dim).for_each(|row| metric.prepare(row));
    let build = BuildOptions { threads: 2, ..BuildOptions::default() };
    let recall = rest.first().map_or(Ok(0.95), |text| text.parse())?;
    let memory = rest.get(1).map(|text| text.parse()).transpose()?;
    let options = PlanOptions { recall, memory, build, ..PlanOptions::default() };
    let began = Instant::now();
    let plan = Plan::auto(&FloatRows::new(&base, dim, metric), &options)?;
    println!("{} {:?}, {:.1} s", plan.spec, plan.tuning, began.elapsed().as_secs_f64());
    for tried in &plan.tried {
        println!("{}: {:.1} bytes, built in {:.1} s", tried.spec, tried.bytes, tried.build_s);
        println!("    ceiling {:.4}", tried.ceiling);
        for step in &tried.steps {
            println!(
                "    {:.4} {:.4} {:?} {:.0}/s",
                step.recall, step.found, step.effort, step.qps
            );
        }
    }
    for reason in &plan.reasons {
        println!("{reason}");
    }
    Ok(())
}

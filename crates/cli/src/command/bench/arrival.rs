//! `kvant bench embed MODEL --arrivals RATE`: how long texts wait that come one at a time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvant_model::{Cancel, EmbedOptions, Encoder, Schedule, ScheduleOptions};
use serde::Serialize;

use crate::args::BenchEmbed;
use crate::print;
use crate::progress::{Audience, Progress, Unit};

/// Tokens of the longest text of each class but the last.
const CLASSES: [usize; 2] = [16, 64];

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Waits {
    /// Texts a second that come, as a Poisson process.
    arrivals_per_s: f64,
    seed: u64,
    /// Texts that came, of all rounds.
    texts: usize,
    rounds: usize,
    threads: usize,
    /// Most texts of a plain call.
    batch: usize,
    /// Most tokens of a step of the schedule.
    step_tokens: usize,
    classes: Vec<Class>,
}

/// Times from the arrival of a text to its vector, of texts of like lengths.
#[derive(Debug, Serialize)]
struct Class {
    tokens: [usize; 2],
    texts: usize,
    /// Plain calls, each with what came meanwhile, in the order of arrival.
    plain: Spread,
    /// A schedule.
    scheduled: Spread,
}

#[derive(Debug, Default, Serialize)]
struct Spread {
    p50_ms: f64,
    p99_ms: f64,
}

/// A text that comes: when, in seconds, and which.
type Arrival = (f64, usize);

pub(super) fn run(args: &BenchEmbed, rate: f64, texts: &[String], encoder: Encoder) -> Told {
    let encoder = Arc::new(encoder);
    let threads = args.threads.get();
    let schedule = ScheduleOptions { threads, ..ScheduleOptions::default() };
    let step_tokens = args.batch_tokens.unwrap_or(schedule.step_tokens);
    let schedule = ScheduleOptions { step_tokens, queue_tokens: usize::MAX, ..schedule };
    let lengths: Vec<usize> = texts
        .iter()
        .map(|text| Ok(encoder.tokenize(text)?.len()))
        .collect::<anyhow::Result<_>>()?;
    let audience = Audience::of(args.json);
    let bar = Progress::new("measuring", Some(2 * args.rounds as u64), Unit::Items, audience);
    // The tokens and the times of every text that came, plainly and scheduled.
    let mut seen: Vec<(usize, f64, f64)> = Vec::new();
    for round in 0..args.rounds {
        let arrivals = arrivals(args.seed.wrapping_add(round as u64), rate, texts.len());
        let plain = plain(args, &encoder, texts, &arrivals)?;
        bar.advance(1);
        let scheduled = scheduled(&encoder, schedule, texts, &arrivals)?;
        bar.advance(1);
        let times = plain.into_iter().zip(scheduled);
        let rows = arrivals.iter().zip(times);
        seen.extend(rows.map(|((_, text), (plain, scheduled))| (lengths[*text], plain, scheduled)));
    }
    drop(bar);
    let waits = Waits {
        arrivals_per_s: rate,
        seed: args.seed,
        texts: seen.len(),
        rounds: args.rounds,
        threads,
        batch: args.batch,
        step_tokens,
        classes: classes(&seen),
    };
    if args.json { print::json(&waits) } else { print::all(&told(&waits)?) }
}

/// What a command gives.
type Told = anyhow::Result<()>;

/// `count` texts of `count`, drawn one by one, at the times of a Poisson process.
fn arrivals(seed: u64, rate: f64, count: usize) -> Vec<Arrival> {
    // SplitMix64 (Steele et al., 2014).
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = state;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (value ^ (value >> 31)) >> 11
    };
    let mut at = 0.0;
    let mut next = |_| {
        let uniform = (draw() + 1) as f64 / (1u64 << 53) as f64;
        at -= uniform.ln() / rate;
        (at, (draw() % count as u64) as usize)
    };
    (0..count).map(&mut next).collect()
}

/// The milliseconds that each text waits where a call takes what came meanwhile, in that order.
fn plain(
    args: &BenchEmbed,
    encoder: &Encoder,
    texts: &[String],
    arrivals: &[Arrival],
) -> anyhow::Result<Vec<f64>> {
    let options = EmbedOptions { threads: args.threads.get(), ..EmbedOptions::default() };
    let batch_tokens = args.batch_tokens.unwrap_or(options.batch_tokens);
    let options = EmbedOptions { batch_tokens, ..options };
    let mut times = Vec::with_capacity(arrivals.len());
    let began = Instant::now();
    while let Some((at, _)) = arrivals.get(times.len()) {
        sleep_until(began, *at);
        let now = began.elapsed().as_secs_f64();
        let came = arrivals[times.len()..].iter().take(args.batch);
        let came: Vec<Arrival> = came.take_while(|(at, _)| *at <= now).copied().collect();
        let called: Vec<&str> = came.iter().map(|(_, text)| texts[*text].as_str()).collect();
        std::hint::black_box(encoder.embed(&called, &options)?);
        let now = began.elapsed().as_secs_f64();
        times.extend(came.iter().map(|(at, _)| (now - at) * 1e3));
    }
    Ok(times)
}

/// The milliseconds that each text waits in a schedule, each a request of its own.
fn scheduled(
    encoder: &Arc<Encoder>,
    options: ScheduleOptions,
    texts: &[String],
    arrivals: &[Arrival],
) -> anyhow::Result<Vec<f64>> {
    let mut schedule = Schedule::new(encoder.clone(), options);
    let (mut times, mut whose) = (vec![0.0; arrivals.len()], BTreeMap::new());
    let mut came = 0;
    let began = Instant::now();
    loop {
        while let Some((at, text)) = arrivals.get(came) {
            if *at > began.elapsed().as_secs_f64() {
                break;
            }
            whose.insert(schedule.submit(&texts[*text..=*text], Cancel::new())?, came);
            came += 1;
        }
        for done in schedule.step() {
            std::hint::black_box(done.vectors?);
            if let Some(index) = whose.remove(&done.id) {
                times[index] = (began.elapsed().as_secs_f64() - arrivals[index].0) * 1e3;
            }
        }
        match arrivals.get(came) {
            Some((at, _)) if schedule.is_idle() => sleep_until(began, *at),
            None if schedule.is_idle() => return Ok(times),
            Some(_) | None => {}
        }
    }
}

/// Sleeps until `at` seconds after `began`, if that is to come.
fn sleep_until(began: Instant, at: f64) {
    let rest = at - began.elapsed().as_secs_f64();
    if rest > 0.0 {
        std::thread::sleep(Duration::from_secs_f64(rest));
    }
}

/// All texts, and then the classes that have any.
fn classes(seen: &[(usize, f64, f64)]) -> Vec<Class> {
    let starts = std::iter::once(1).chain(CLASSES.map(|end| end + 1));
    let ends = CLASSES.into_iter().chain([usize::MAX]);
    let all = std::iter::once((1, usize::MAX));
    let class = |(from, to): (usize, usize)| {
        let of = seen.iter().filter(|(tokens, ..)| (from..=to).contains(tokens));
        let of: Vec<_> = of.copied().collect();
        let spread = |time: fn(&(usize, f64, f64)) -> f64| {
            let mut times: Vec<f64> = of.iter().map(time).collect();
            times.sort_unstable_by(f64::total_cmp);
            let percentile = |of: usize| times[(times.len() * of).div_ceil(100).max(1) - 1];
            Spread { p50_ms: percentile(50), p99_ms: percentile(99) }
        };
        let longest = of.iter().map(|(tokens, ..)| *tokens).max()?;
        let (plain, scheduled) = (spread(|seen| seen.1), spread(|seen| seen.2));
        Some(Class { tokens: [from, to.min(longest)], texts: of.len(), plain, scheduled })
    };
    all.chain(starts.zip(ends)).filter_map(class).collect()
}

fn told(waits: &Waits) -> anyhow::Result<String> {
    let mut lines = String::new();
    for Class { tokens: [from, to], texts, plain, scheduled } in &waits.classes {
        let name = format!("{from} to {to} tokens");
        write!(lines, "{name:<20}{texts:>7} texts   ")?;
        write!(lines, "scheduled {:.1} ms, of 100 one ", scheduled.p50_ms)?;
        write!(lines, "{:.1} ms   plain {:.1} ms, ", scheduled.p99_ms, plain.p50_ms)?;
        writeln!(lines, "of 100 one {:.1} ms", plain.p99_ms)?;
    }
    let Waits { arrivals_per_s, threads, batch, step_tokens, .. } = waits;
    write!(lines, "{arrivals_per_s} texts come a second, {threads} threads; scheduled: ")?;
    writeln!(lines, "{step_tokens} tokens a step, plain: {batch} texts a call")?;
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_come_at_their_rate_and_by_their_seed() {
        let came = arrivals(7, 50.0, 20_000);
        assert_eq!(came, arrivals(7, 50.0, 20_000));
        assert_ne!(came[..9], arrivals(8, 50.0, 20_000)[..9]);
        assert!(came.is_sorted_by(|a, b| a.0 < b.0));
        let mean = came[came.len() - 1].0 / came.len() as f64;
        // The spread of a mean of 20,000 exponential times is 0.7 %.
        assert!((mean * 50.0 - 1.0).abs() < 0.04, "{mean}");
        let short = came.windows(2).filter(|pair| pair[1].0 - pair[0].0 < 0.02).count() as f64;
        let share = short / came.len() as f64;
        assert!((share - (1.0 - (-1.0f64).exp())).abs() < 0.02, "{share}");
        let low = came.iter().filter(|(_, text)| *text < 10_000).count();
        assert!((9_600..10_400).contains(&low), "{low}");
    }

    #[test]
    fn classes_are_by_length_and_empty_ones_are_left_out() {
        let seen = [(3, 1.0, 5.0), (16, 2.0, 6.0), (65, 3.0, 7.0)];
        let classes = classes(&seen);
        let shown: Vec<_> = classes.iter().map(|class| (class.tokens, class.texts)).collect();
        assert_eq!(shown, [([1, 65], 3), ([1, 16], 2), ([65, 65], 1)]);
        assert_eq!((classes[0].plain.p50_ms, classes[0].scheduled.p99_ms), (2.0, 7.0));
    }
}

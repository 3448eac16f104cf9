//! `kvant index verify FILE`.

use std::fmt::Write;
use std::num::NonZeroU64;
use std::path::Path;

use anyhow::bail;
use kvant_index::ScrubOptions;
use serde::Serialize;

use crate::args::IndexVerify;
use crate::print;
use crate::progress::{Audience, Progress, Unit};

/// Damaged blocks that are told one by one.
const TOLD: usize = 10;

/// Bytes of what `--rate` counts.
const MB: u64 = 1_000_000;

/// What `--json` prints of a whole file.
#[derive(Serialize)]
struct Verified<'a> {
    file: &'a Path,
    bytes: u64,
    seconds: f64,
}

pub(super) fn run(args: &IndexVerify) -> anyhow::Result<()> {
    let began = std::time::Instant::now();
    let stored = super::open(&args.file, false)?;
    let total = stored.unverified_bytes();
    let bar = Progress::new("verifying", Some(total), Unit::Bytes, Audience::of(args.json));
    let progress = |bytes| bar.advance(bytes);
    let bytes_per_second = args.rate.and_then(|rate| NonZeroU64::new(u64::from(rate.get()) * MB));
    let options =
        ScrubOptions { bytes_per_second, progress: Some(&progress), ..ScrubOptions::default() };
    let found = stored.scrub(&options);
    drop(bar);
    if !found.damaged.is_empty() {
        let mut places = String::new();
        for damage in found.damaged.iter().take(TOLD) {
            write!(places, " {:?} at byte {},", damage.section, damage.offset)?;
        }
        let more = if found.damaged.len() > TOLD { " …" } else { "" };
        let (file, count) = (args.file.display(), found.damaged.len());
        let places = places.trim_end_matches(',');
        bail!(
            "{file}: {count} damaged blocks: section{places}{more}; restore the file from a \
             backup, or build the index again"
        );
    }
    // What checksums do not tell.
    stored.sound()?;
    let seconds = began.elapsed().as_secs_f64();
    if args.json {
        return print::json(&Verified { file: &args.file, bytes: found.bytes, seconds });
    }
    let (file, size) = (args.file.display(), print::size(found.bytes));
    print::line(&format!("{file}: {size}, all checksums hold ({seconds:.1} s)"))
}

//! Progress on standard error, for whatever takes longer than a second.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shorter work shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether there is somebody to show progress to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A terminal is watching.
    Person,
    /// A script reads the result, or standard error goes to a file.
    Machine,
}

impl Audience {
    /// A machine if JSON was asked for or standard error is no terminal.
    pub(crate) fn of(json: bool) -> Self {
        if json || !std::io::stderr().is_terminal() { Self::Machine } else { Self::Person }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Items,
}

/// A bar that appears after a second and is wiped when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    began: Instant,
    shown: AtomicBool,
}

impl Progress {
    /// A bar towards `total`, or a counter where the total is not known.
    pub(crate) fn new(what: &str, total: Option<u64>, unit: Unit, audience: Audience) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = match (total, unit) {
            (Some(_), Unit::Bytes) => "{msg} {wide_bar} {bytes}/{total_bytes} {eta}",
            (None, Unit::Bytes) => "{msg} {bytes}",
            (Some(_), Unit::Items) => "{msg} {wide_bar} {human_pos}/{human_len} {eta}",
            (None, Unit::Items) => "{msg} {human_pos}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        let shown = AtomicBool::new(audience == Audience::Machine);
        Self { bar, began: Instant::now(), shown }
    }

    /// `count` more are done. Any thread may say so.
    pub(crate) fn advance(&self, count: u64) {
        self.bar.inc(count);
        if self.began.elapsed() > PATIENCE && !self.shown.swap(true, Ordering::Relaxed) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Sets what there is to do, once that is known.
    pub(crate) fn total(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// Says what is being done now.
    pub(crate) fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

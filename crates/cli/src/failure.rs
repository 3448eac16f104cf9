//! From an error to the one line a person reads.

use std::io::{self, Write};
use std::panic::{UnwindSafe, catch_unwind};
use std::sync::Mutex;

/// Writes `kvant: …` to standard error; a closed one leaves nobody to tell.
pub(crate) fn report(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "kvant: {}", line(error));
}

/// The message and whichever of its causes add something, without line breaks.
pub(crate) fn line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Most errors of the house already repeat their cause.
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
    }
    line.split(['\n', '\r'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// What the last panic said.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Runs `work` with panics silenced: one that escapes becomes an error of one line, and one that
/// is caught below (some readers of foreign files panic) leaves no trace on the terminal. With
/// `RUST_BACKTRACE` set everything is shown as usual.
///
/// # Errors
/// What `work` gives, or that it panicked.
pub(crate) fn guarded(
    work: impl FnOnce() -> anyhow::Result<()> + UnwindSafe,
) -> anyhow::Result<()> {
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        std::panic::set_hook(Box::new(|panic| {
            if let Ok(mut last) = PANIC.lock() {
                *last = Some(panic.to_string());
            }
        }));
    }
    catch_unwind(work).unwrap_or_else(|_| {
        let said = PANIC.lock().ok().and_then(|mut last| last.take()).unwrap_or_default();
        Err(anyhow::anyhow!("internal error: {said}; this is a bug, please report it"))
    })
}

/// Whether the reader of our standard output went away.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once_and_on_one_line() {
        let inner = anyhow::anyhow!("disk full\nreally");
        assert_eq!(line(&inner.context("a.npy")), "a.npy: disk full really");
        let repeated = anyhow::anyhow!("cannot read").context("b.npy: cannot read");
        assert_eq!(line(&repeated), "b.npy: cannot read");
    }

    #[test]
    fn a_closed_pipe_is_found_under_contexts() {
        let pipe = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(is_closed_pipe(&pipe.context("writing")));
        assert!(!is_closed_pipe(&anyhow::anyhow!("other")));
    }
}

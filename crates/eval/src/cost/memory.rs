//! Resident memory of a process, best a fresh one per model.
//!
//! Several models in one process share an allocator that keeps what it was once given, so their
//! figures cannot be told apart. Each model is therefore measured in a child process that does
//! nothing else: [`in_child`] runs it, a [`Meter`] inside it measures. Pages of mapped files count
//! as resident while they are, as they do for everyone who looks at the process.

use std::fs;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use crate::limits::ANSWER_BYTES;
use crate::report::Memory;

/// Takes the memory of this process before, after loading, and at the most.
///
/// Needs `/proc`, so there is none outside Linux.
#[derive(Debug)]
pub struct Meter {
    start: u64,
    loaded: u64,
}

impl Meter {
    /// Begins now: forgets the highest mark so far (`5` to `/proc/self/clear_refs`), where the
    /// system allows it; a fresh process has no earlier mark to speak of.
    pub fn start() -> Option<Self> {
        // Refused in some containers; then the mark of the fresh process stands.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let start = status("VmRSS:")?;
        Some(Self { start, loaded: start })
    }

    /// Marks that the model is loaded.
    pub fn loaded(&mut self) {
        self.loaded = status("VmRSS:").unwrap_or(self.loaded);
    }

    /// The figures, the peak since [`Meter::start`] among them.
    pub fn finish(self) -> Option<Memory> {
        let peak_bytes = status("VmHWM:")?;
        Some(Memory { start_bytes: self.start, loaded_bytes: self.loaded, peak_bytes })
    }
}

/// Memory of this process that is no page of a file, and what it locked: what the system cannot
/// take back. `None` where it does not tell.
pub fn held_bytes() -> Option<u64> {
    Some(status("RssAnon:")? + status("VmLck:")?)
}

/// A line of `/proc/self/status` in bytes.
fn status(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Why a child process did not tell its memory.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// It did not start, or talking to it failed.
    #[error("cannot run the process that measures memory: {cause}")]
    Io {
        /// Why.
        cause: io::Error,
    },
    /// It failed.
    #[error("the process that measures memory failed: {said}")]
    Failed {
        /// The first line it said on stderr, or its exit status.
        said: String,
    },
    /// It answered with something else.
    #[error("the process that measures memory answered with something else: {what}")]
    Answer {
        /// What is wrong with the answer.
        what: String,
    },
}

/// Gives `command` its `input` on stdin and reads the JSON of a [`Memory`], or `null`, from its
/// stdout.
///
/// The command is to be a fresh process that takes its memory with a [`Meter`] while it loads one
/// model and embeds with it; what it is told on stdin is between the caller and the command.
///
/// # Errors
/// [`MemoryError`] if it does not run, fails, or answers with anything else.
pub fn in_child(command: &mut Command, input: &[u8]) -> Result<Option<Memory>, MemoryError> {
    let failure = |cause| MemoryError::Io { cause };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failure)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (answer, said) = std::thread::scope(|scope| {
        // All three at once: a child that fills one pipe must not wait for us on another.
        let said = scope.spawn(|| bounded(stderr));
        let answer = scope.spawn(|| bounded(stdout));
        if let Some(mut stdin) = stdin {
            // A child that ends early closes the pipe; its exit status says more than that.
            let _ = stdin.write_all(input);
        }
        (answer.join(), said.join())
    });
    let status = child.wait().map_err(failure)?;
    if !status.success() {
        let said = said.unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let first = said.lines().find(|line| !line.trim().is_empty());
        let said =
            first.map_or_else(|| status.to_string(), |line| line.chars().take(300).collect());
        return Err(MemoryError::Failed { said });
    }
    serde_json::from_slice(&answer.unwrap_or_default())
        .map_err(|error| MemoryError::Answer { what: error.to_string() })
}

/// What comes from a pipe, up to the limit; what is beyond is read and dropped.
fn bounded(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.by_ref().take(ANSWER_BYTES as u64).read_to_end(&mut bytes);
        let _ = io::copy(&mut pipe, &mut io::sink());
    }
    bytes
}

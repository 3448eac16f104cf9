//! Which cores threads run on.

use std::fmt;
use std::str::FromStr;

/// Numbers of cores that the system can be told.
const CORES_MAX: usize = 1024;

/// Cores of this machine by their numbers, at least one, none twice. Reads from `0,1` or `0-3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores(Vec<usize>);

/// A list that names no cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoresError {
    /// Not of the form `0,1` or `0-3`, or a number beyond 1023.
    Form(String),
    /// A core that is named twice.
    Twice(usize),
}

impl fmt::Display for CoresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(got) => {
                write!(
                    f,
                    "'{got}' names no cores; expected numbers below {CORES_MAX}, as 0,1 or 0-3"
                )
            }
            Self::Twice(core) => write!(f, "core {core} is named twice; one thread runs on a core"),
        }
    }
}

impl std::error::Error for CoresError {}

impl FromStr for Cores {
    type Err = CoresError;

    fn from_str(text: &str) -> Result<Self, CoresError> {
        let number = |text: &str| text.trim().parse().ok().filter(|&core| core < CORES_MAX);
        let range = |part: &str| match part.split_once('-') {
            Some((first, last)) => Some((number(first)?, number(last)?)),
            None => number(part).map(|core| (core, core)),
        };
        let mut cores = Vec::new();
        for part in text.split(',') {
            let found = range(part).filter(|(first, last)| first <= last);
            let (first, last) =
                found.ok_or_else(|| CoresError::Form(text.chars().take(40).collect()))?;
            for core in first..=last {
                if cores.contains(&core) {
                    return Err(CoresError::Twice(core));
                }
                cores.push(core);
            }
        }
        Ok(Self(cores))
    }
}

/// Why threads were not bound to cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinError {
    /// A core that this machine does not have, or not for this process.
    Absent(usize),
    /// The system refuses, in its words.
    Refused(String),
    /// Only Linux is told here.
    Unsupported,
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(core) => write!(f, "this machine has no core {core} for this process"),
            Self::Refused(why) => write!(f, "the system does not bind threads to cores: {why}"),
            Self::Unsupported => f.write_str("threads are bound to cores on Linux only"),
        }
    }
}

impl std::error::Error for PinError {}

impl Cores {
    /// The numbers, in the order given.
    pub fn numbers(&self) -> &[usize] {
        &self.0
    }

    /// Restricts the calling thread, and those it starts from now on, to these cores.
    ///
    /// # Errors
    /// [`PinError`] naming a core that is not there; the thread then stays where it was.
    pub fn hold(&self) -> Result<(), PinError> {
        let before = system::held()?;
        // Of several cores the system passes over those that it lacks: each is tried alone.
        let tried = self.0.iter().try_for_each(|&core| hold_one(core));
        match tried {
            Ok(()) => system::hold(&self.0),
            Err(error) => system::hold(&before).and(Err(error)),
        }
    }

    /// The cores that the calling thread may run on, ascending.
    ///
    /// # Errors
    /// [`PinError`] where the system does not tell.
    pub fn held() -> Result<Self, PinError> {
        system::held().map(Self)
    }
}

/// Binds the calling thread to `core`.
pub(super) fn hold_one(core: usize) -> Result<(), PinError> {
    system::hold(&[core])
}

#[cfg(target_os = "linux")]
mod system {
    use rustix::io::Errno;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use super::{CORES_MAX, PinError};

    pub(super) fn held() -> Result<Vec<usize>, PinError> {
        let set = sched_getaffinity(None).map_err(|why| PinError::Refused(why.to_string()))?;
        Ok((0..CORES_MAX).filter(|&core| set.is_set(core)).collect())
    }

    pub(super) fn hold(cores: &[usize]) -> Result<(), PinError> {
        let mut set = CpuSet::new();
        for &core in cores {
            set.set(core);
        }
        sched_setaffinity(None, &set).map_err(|why| match (why, cores) {
            (Errno::INVAL, &[core]) => PinError::Absent(core),
            _ => PinError::Refused(why.to_string()),
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::PinError;

    pub(super) fn held() -> Result<Vec<usize>, PinError> {
        Err(PinError::Unsupported)
    }

    pub(super) fn hold(_: &[usize]) -> Result<(), PinError> {
        Err(PinError::Unsupported)
    }
}

//! Flags that say how many threads work, and where.

use anyhow::ensure;
use clap::Args;
use kvant_model::{Cores, Pool};

use super::at_least_one;

/// How many threads to use.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Threads {
    /// Threads to work on [default: one for each processor]
    #[arg(long = "threads", value_name = "N", value_parser = at_least_one)]
    count: Option<usize>,
}

impl Threads {
    /// At least one.
    pub(crate) fn get(self) -> usize {
        self.count.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }
}

/// How many threads to use, and on which cores.
#[derive(Args, Clone, Debug)]
pub(crate) struct Placed {
    #[command(flatten)]
    threads: Threads,
    /// Bind the threads to these cores, one for each, as 0,1 or 0-3 (Linux)
    #[arg(long = "pin", value_name = "CORES")]
    cores: Option<Cores>,
}

impl Placed {
    /// At least one; as many as there are cores to bind them to.
    pub(crate) fn get(&self) -> usize {
        match &self.cores {
            Some(cores) => cores.numbers().len(),
            None => self.threads.get(),
        }
    }

    /// Binds this thread and those it will start to the cores together, if there are any. To be
    /// called first.
    pub(crate) fn hold(&self) -> anyhow::Result<()> {
        let Some(cores) = &self.cores else { return Ok(()) };
        let (given, wanted) = (cores.numbers().len(), self.threads.count);
        ensure!(
            wanted.is_none_or(|wanted| wanted == given),
            "--pin names {given} cores for {} threads: give a core for each, or no --threads",
            wanted.unwrap_or_default()
        );
        Ok(cores.hold()?)
    }

    /// The threads: each bound to a core of its own, this one to the first, if there are any.
    pub(crate) fn pool(&self) -> anyhow::Result<Pool> {
        Ok(match &self.cores {
            Some(cores) => Pool::pinned(cores)?,
            None => Pool::new(self.threads.get()),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::{Cli, Command, Measured};

    fn placed(flags: &str) -> Result<super::Placed, String> {
        let line = format!("kvant bench generate model {flags}");
        let cli =
            Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        let Command::Bench(bench) = cli.command else { return Err("no bench".to_owned()) };
        let Measured::Generate(args) = bench.what else { return Err("no generate".to_owned()) };
        Ok(args.threads)
    }

    #[test]
    fn there_are_as_many_threads_as_cores() {
        assert_eq!(placed("--pin 0-2,5").unwrap().get(), 4);
        assert_eq!(placed("--threads 3").unwrap().get(), 3);
        let error = placed("--pin 0,1 --threads 3").unwrap().hold().unwrap_err().to_string();
        assert!(error.contains("2 cores for 3 threads"), "{error}");
        for (flags, words) in [("--pin 0,0", "named twice"), ("--pin a", "'a' names no cores")] {
            let error = placed(flags).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}

//! [`Dir`] that fails, or loses power, at a chosen call.

use crate::mem::{Dice, Folder, path};
use crate::{
    Bytes, Cause, CreateError, Dir, Lock, LockError, Log, MemDir, Name, ReadError, RemoveError,
    Sink, WriteError,
};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What happens at the chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This one call fails, perhaps after a part of its effect; the next ones work again.
    Fail,
    /// Power goes: this call and all later ones fail. See [`FaultDir::after_power_cut`].
    PowerCut,
}

/// A [`MemDir`] in which one call goes wrong. Every method of [`Dir`], [`Sink`] and [`Log`] is a
/// call; a fault may leave any part of the call's effect that a real disk could.
#[derive(Clone, Debug)]
pub struct FaultDir {
    memory: MemDir,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug)]
struct Plan {
    calls: u64,
    fault: Option<(u64, Fault)>,
    /// Power is gone.
    dark: bool,
    /// Power was gone before this call, so that it has no effect at all.
    over: bool,
    dice: Dice,
}

/// How a call goes on.
enum Step {
    Work,
    Broken,
}

impl FaultDir {
    /// Works like `memory` until armed; `seed` decides how much of a failing call takes effect.
    pub fn new(memory: MemDir, seed: u64) -> Self {
        let plan = Plan { calls: 0, fault: None, dark: false, over: false, dice: Dice(seed) };
        Self { memory, plan: Arc::new(Mutex::new(plan)) }
    }

    /// Lets `fault` strike at call number `at` counted from now (0 is the next).
    pub fn arm(&self, fault: Fault, at: u64) {
        self.with(|plan| plan.fault = Some((plan.calls.saturating_add(at), fault)));
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.with(|plan| plan.calls)
    }

    /// The directory beneath, as a process that is still running sees it.
    pub fn memory(&self) -> &MemDir {
        &self.memory
    }

    /// One of the states a power cut now would leave, chosen by `seed`.
    #[must_use]
    pub fn after_power_cut(&self, seed: u64) -> MemDir {
        self.memory.after_power_cut(seed)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Plan) -> T) -> T {
        f(&mut self.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn step(&self) -> Step {
        self.with(|plan| {
            let now = plan.calls;
            plan.calls += 1;
            plan.over = plan.dark;
            let struck = plan.fault.filter(|(at, _)| *at == now);
            plan.dark |= struck.is_some_and(|(_, fault)| fault == Fault::PowerCut);
            if plan.dark || struck.is_some() { Step::Broken } else { Step::Work }
        })
    }

    fn coin(&self) -> bool {
        self.with(|plan| !plan.over && plan.dice.coin())
    }

    /// Makes the file as a failing call may: not at all, or whole with its name in doubt.
    fn half_create(&self, name: &Name, data: Vec<u8>) -> CreateError {
        if self.coin() {
            // A taken name loses here as it would in the rename.
            let _ = self.memory.insert(name, data, Folder::Unsynced);
        }
        CreateError::Io { path: path(name), cause: broken() }
    }
}

fn broken() -> Cause {
    io::Error::other("injected fault").into()
}

impl Dir for FaultDir {
    fn place(&self) -> PathBuf {
        self.memory.place()
    }

    fn read(&self, name: &Name) -> Result<Bytes, ReadError> {
        match self.step() {
            Step::Work => self.memory.read(name),
            Step::Broken => Err(ReadError::Io { path: path(name), cause: broken() }),
        }
    }

    fn read_range(&self, name: &Name, range: Range<u64>) -> Result<Bytes, ReadError> {
        match self.step() {
            Step::Work => self.memory.read_range(name, range),
            Step::Broken => Err(ReadError::Io { path: path(name), cause: broken() }),
        }
    }

    fn create_new(&self, name: &Name, data: &[u8]) -> Result<(), CreateError> {
        match self.step() {
            Step::Work => self.memory.create_new(name, data),
            Step::Broken => Err(self.half_create(name, data.to_vec())),
        }
    }

    fn create(&self, name: &Name) -> Result<Box<dyn Sink>, CreateError> {
        match self.step() {
            Step::Work => {
                Ok(Box::new(FaultSink { dir: self.clone(), name: name.clone(), data: Vec::new() }))
            }
            Step::Broken => Err(CreateError::Io { path: path(name), cause: broken() }),
        }
    }

    fn append(&self, name: &Name) -> Result<Box<dyn Log>, CreateError> {
        match self.step() {
            Step::Work => {
                self.memory.insert(name, Vec::new(), Folder::Synced)?;
                Ok(Box::new(FaultLog { dir: self.clone(), name: name.clone(), poisoned: false }))
            }
            Step::Broken => Err(self.half_create(name, Vec::new())),
        }
    }

    fn remove(&self, name: &Name) -> Result<(), RemoveError> {
        match self.step() {
            Step::Work => self.memory.remove(name),
            Step::Broken => {
                if self.coin() {
                    self.memory.remove(name)?;
                }
                Err(RemoveError::Io { path: path(name), cause: broken() })
            }
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<Name>, ReadError> {
        match self.step() {
            Step::Work => self.memory.list(folder),
            Step::Broken => {
                Err(ReadError::Io { path: PathBuf::from("memory").join(folder), cause: broken() })
            }
        }
    }

    fn lock(&self) -> Result<Lock, LockError> {
        match self.step() {
            Step::Work => self.memory.lock(),
            Step::Broken => Err(LockError::Io { path: PathBuf::from("memory"), cause: broken() }),
        }
    }
}

struct FaultSink {
    dir: FaultDir,
    name: Name,
    data: Vec<u8>,
}

impl Sink for FaultSink {
    fn write(&mut self, data: &[u8]) -> Result<(), WriteError> {
        match self.dir.step() {
            Step::Work => {
                self.data.extend_from_slice(data);
                Ok(())
            }
            Step::Broken => Err(WriteError::Io { path: path(&self.name), cause: broken() }),
        }
    }

    fn publish(self: Box<Self>) -> Result<(), CreateError> {
        match self.dir.step() {
            Step::Work => self.dir.memory.insert(&self.name, self.data, Folder::Synced),
            Step::Broken => Err(self.dir.half_create(&self.name, self.data)),
        }
    }
}

struct FaultLog {
    dir: FaultDir,
    name: Name,
    poisoned: bool,
}

impl FaultLog {
    fn step(&mut self) -> Result<Step, WriteError> {
        if self.poisoned {
            return Err(WriteError::Poisoned { path: path(&self.name) });
        }
        let step = self.dir.step();
        self.poisoned = matches!(step, Step::Broken);
        Ok(step)
    }
}

impl Log for FaultLog {
    fn append(&mut self, data: &[u8]) -> Result<(), WriteError> {
        match self.step()? {
            Step::Work => {
                self.dir.memory.extend(&self.name, data);
                Ok(())
            }
            Step::Broken => {
                let part = |plan: &mut Plan| plan.dice.below(data.len() + 1);
                let written = self.dir.with(|plan| if plan.over { 0 } else { part(plan) });
                self.dir.memory.extend(&self.name, &data[..written]);
                let cause = io::Error::from(io::ErrorKind::StorageFull).into();
                Err(WriteError::Io { path: path(&self.name), cause })
            }
        }
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        match self.step()? {
            Step::Work => {
                self.dir.memory.sync(&self.name);
                Ok(())
            }
            Step::Broken => {
                self.dir.memory.fail_sync(&self.name);
                Err(WriteError::Io { path: path(&self.name), cause: broken() })
            }
        }
    }
}

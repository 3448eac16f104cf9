//! `kvant pull REF`.

use crate::args::Pull;
use crate::print;
use crate::progress::Audience;
use crate::pull::{self, Environment};
use crate::reference::Reference;

pub(super) fn run(args: &Pull) -> anyhow::Result<()> {
    let reference: Reference = args.reference.parse()?;
    let pulled = pull::pull(&reference, &Environment::of_process(), Audience::of(args.json))?;
    if args.json {
        return print::json(&pulled);
    }
    print::line(&pulled.path().display().to_string())
}

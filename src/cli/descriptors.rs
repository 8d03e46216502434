//! `descriptors`: the contract in the form that proxies and tools read.

use std::io::Write as _;
use std::process::ExitCode;

use super::Failure;
use crate::app;

pub(super) const DESCRIPTORS: &str = "\
Examples:
  capecontrol descriptors > capecontrol.binpb
  buf curl --schema capecontrol.binpb …              calls without reflection

It holds every service of this program, what they import, and the details of errors. It reads no settings.

Exit codes: 0 written; 1 standard output is closed; 2 wrong arguments.";

pub(super) fn run() -> Result<ExitCode, Failure> {
    std::io::stdout().write_all(&app::descriptors()?)?;
    Ok(ExitCode::SUCCESS)
}

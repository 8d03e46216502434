//! `descriptors`: the contract in the form that proxies and tools read.

use std::io::Write as _;
use std::process::ExitCode;

use super::Failure;
use crate::app;

pub(super) fn run() -> Result<ExitCode, Failure> {
    std::io::stdout().write_all(&app::descriptors()?)?;
    Ok(ExitCode::SUCCESS)
}

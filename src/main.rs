//! The program `capecontrol`: parses arguments and hands over to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    capecontrol::cli::main()
}

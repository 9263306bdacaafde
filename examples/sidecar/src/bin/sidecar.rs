//! The sidecar as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    unattended_sidecar::main(std::env::args())
}

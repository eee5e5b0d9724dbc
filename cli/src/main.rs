//! The binary `quarter`; everything it does is in the library beside it.

#![forbid(unsafe_code)]

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match quarter_cli::run(&quarter_cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if quarter_cli::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quarter: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! `vanity`: the search as a program, for people and for a grid's workers.

mod program;

use std::process::ExitCode;

fn main() -> ExitCode {
    program::run()
}

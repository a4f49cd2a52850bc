//! The command line: one module per subcommand, printing only through [`print`].

mod bench;
mod combine;
mod difficulty;
mod key_file;
mod keygen;
mod nice;
mod print;
mod progress;
mod resume;
mod search;
mod unit;
mod verify;
mod wish;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Look for addresses that start the way you like, with keys that nobody else ever knows.
#[derive(Parser)]
#[command(name = "vanity", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Search on this machine until an address is found
    Search(search::SearchArguments),
    /// Say how hard a pattern is, or why it is impossible
    Difficulty(difficulty::DifficultyArguments),
    /// Make a key pair for a search by others
    Keygen(keygen::KeygenArguments),
    /// Put a secret key and a found record together
    Combine(combine::CombineArguments),
    /// Check a record or the result of an order
    Verify(verify::VerifyArguments),
    /// Search one slice of an order (what a grid's worker runs)
    Unit(unit::UnitArguments),
    /// Measure each back end, and rivals if their commands are given
    Bench(bench::BenchArguments),
}

pub(crate) fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Search(arguments) => search::run(&arguments),
        Command::Difficulty(arguments) => difficulty::run(&arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::Combine(arguments) => combine::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Unit(arguments) => unit::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::error(&error);
            // A bad argument is 2 whether clap or we noticed it; the rest is 1.
            if error.is::<BadArgument>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// What the user gave cannot be right, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
struct BadArgument {
    problem: String,
    hint: Option<String>,
}

fn bad_argument(problem: impl Into<String>) -> anyhow::Error {
    BadArgument { problem: problem.into(), hint: None }.into()
}

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_owned()
}

#[expect(clippy::print_stderr, reason = "this is the printer")]
pub(crate) fn say(line: &str) {
    eprintln!("xtask: {line}");
}

#[expect(clippy::print_stdout, reason = "what a tool prints goes on to standard output")]
pub(crate) fn print(line: &str) {
    println!("{line}");
}

pub(crate) fn cargo(args: &[&str]) -> Result<()> {
    cargo_with(args, &[])
}

pub(crate) fn cargo_with(args: &[&str], env: &[(&str, &str)]) -> Result<()> {
    run(Command::new(cargo_path()).args(args).envs(env.iter().copied()))
}

/// Standard output of a cargo command that must succeed.
pub(crate) fn cargo_output(args: &[&str], env: &[(&str, &str)]) -> Result<String> {
    let mut command = Command::new(cargo_path());
    command.args(args).envs(env.iter().copied()).stderr(Stdio::inherit());
    say(&words(&command));
    let output = command.output()?;
    if !output.status.success() {
        bail!("`{}` failed: {}", words(&command), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

pub(crate) fn npm(dir: &str, args: &[&str]) -> Result<()> {
    run(Command::new("npm").current_dir(dir).args(args))
}

pub(crate) fn run(command: &mut Command) -> Result<()> {
    say(&words(command));
    let status = command.status().with_context(|| format!("`{}` cannot be run", words(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", words(command));
    }
    Ok(())
}

fn cargo_path() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    let line = std::iter::once(program).chain(args).collect::<Vec<_>>().join(" ");
    match command.get_current_dir() {
        Some(dir) => format!("{line}  (in {})", dir.display()),
        None => line,
    }
}

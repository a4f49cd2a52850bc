//! Compiles the prison's hostile program, statically: it must run where there are no libraries.

use std::path::Path;
use std::process::Command;

const SOURCE: &str = "src/prison/hostile.c";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=CC");
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    let program = Path::new(&out).join("hostile");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") && compile(&program) {
        return;
    }
    println!("cargo::warning=no static C library: this build's `gristmill worker prison` will have no attacks");
    std::fs::write(program, []).expect("cargo's own folder can be written to");
}

/// A compiler for the target, as cc finds it for the C of our dependencies.
fn compile(program: &Path) -> bool {
    let Ok(compiler) = cc::Build::new().cargo_metadata(false).opt_level(1).debug(false).try_get_compiler() else {
        return false;
    };
    let compiled = Command::new(compiler.path())
        .args(["-static", "-s", "-O1", "-pthread", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(program)
        .arg(SOURCE)
        .status();
    compiled.is_ok_and(|status| status.success())
}

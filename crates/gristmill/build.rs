//! Builds what the binary carries inside: the vanity program, as a static executable that workers fetch like any app,
//! and the page. Both go to `target/embedded`, shared by all profiles.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let root = package.ancestors().nth(2).expect("the package lies in crates/").to_owned();
    let embedded = target_dir(&out).join("embedded");
    fs::create_dir_all(&embedded).expect("the target directory can be written");
    build_vanity(&root, &embedded, &out);
    build_page(&root, &embedded, &out);
}

/// `OUT_DIR` is `<target>/<profile>/build/<package>-<hash>/out`.
fn target_dir(out: &Path) -> PathBuf {
    out.ancestors().nth(4).expect("OUT_DIR lies in the target directory").to_owned()
}

fn build_vanity(root: &Path, embedded: &Path, out: &Path) {
    for input in ["apps/vanity/src", "apps/vanity/Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
    // A build of its own: nothing of this build's flags may leak in.
    for (name, _) in env::vars_os() {
        let inherited = name.to_string_lossy();
        if inherited.starts_with("CARGO") && inherited != "CARGO_HOME"
            || inherited.starts_with("RUST") && inherited != "RUSTUP_HOME" && inherited != "RUSTUP_TOOLCHAIN"
        {
            cargo.env_remove(name);
        }
    }
    // Static, because the sandbox shows the program nothing but itself. Naming the target keeps the flag away from
    // build scripts and macros.
    cargo
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--package",
            "vanity",
            "--bin",
            "vanity",
            "--target",
            &target,
        ])
        .env("CARGO_TARGET_DIR", embedded)
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the vanity program does not build");
    let program = embedded.join(&target).join("release/vanity");
    fs::copy(&program, out.join("vanity")).expect("the vanity program was built");
}

/// Without npm the binary has no page, and says so when asked for it.
fn build_page(root: &Path, embedded: &Path, out: &Path) {
    let source = root.join("web");
    let inputs =
        ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "src", "public"];
    for input in inputs {
        println!("cargo::rerun-if-changed={}", source.join(input).display());
    }
    println!("cargo::rerun-if-env-changed=GRISTMILL_NO_PAGE");
    let page = if env::var_os("GRISTMILL_NO_PAGE").is_some() {
        Err("GRISTMILL_NO_PAGE is set".to_owned())
    } else {
        npm_build(&source, &inputs, &embedded.join("web"))
    };
    let files = match page {
        Ok(dist) => list(&dist),
        Err(reason) => {
            println!("cargo::warning=the binary will have no web page: {reason}");
            Vec::new()
        }
    };
    let mut table = String::from("[\n");
    for (name, path) in files {
        table += &format!("    ({name:?}, include_bytes!({:?})),\n", path.display().to_string());
    }
    fs::write(out.join("page.rs"), table + "]\n").expect("OUT_DIR can be written");
}

/// Builds in a copy, since a build must not write into the source tree.
fn npm_build(source: &Path, inputs: &[&str], work: &Path) -> Result<PathBuf, String> {
    let dist = work.join("dist");
    let text = |error: io::Error| error.to_string();
    fs::create_dir_all(work).map_err(text)?;
    for input in inputs {
        let copy = work.join(input);
        if copy.is_dir() {
            fs::remove_dir_all(&copy).map_err(text)?;
        }
        copy_all(&source.join(input), &copy).map_err(text)?;
    }
    let lock = fs::read(work.join("package-lock.json")).map_err(text)?;
    let installed = work.join("node_modules/.installed");
    let build = || npm(work, &["run", "build"]).map(|()| dist.clone());
    if fs::read(&installed).ok().as_ref() == Some(&lock)
        && let Ok(dist) = build()
    {
        return Ok(dist);
    }
    // Anew also if the build failed: npm passes over optional packages, such as a bundler's native part, that it
    // could not fetch.
    npm(work, &["ci", "--no-audit", "--no-fund"])?;
    fs::write(&installed, &lock).map_err(text)?;
    build()
}

fn npm(dir: &Path, args: &[&str]) -> Result<(), String> {
    let run = Command::new("npm").current_dir(dir).args(args).env("NODE_ENV", "development").output();
    match run {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let named = said.lines().find(|line| line.contains("Error") || line.contains("ERR!"));
            let line = named.or_else(|| said.lines().rfind(|line| !line.trim().is_empty())).unwrap_or("no message");
            Err(format!("`npm {}` failed: {}", args.join(" "), line.trim()))
        }
        Err(error) => Err(format!("npm cannot be run: {error}")),
    }
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return if from.exists() { fs::copy(from, to).map(drop) } else { Ok(()) };
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy_all(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn list(dist: &Path) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    let mut folders = vec![dist.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension() != Some(OsStr::new("map")) {
                let name = path.strip_prefix(dist).expect("below dist").to_string_lossy().replace('\\', "/");
                files.push((name, path));
            }
        }
    }
    files.sort();
    files
}

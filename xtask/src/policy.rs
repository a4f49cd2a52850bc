//! Which packages may come in. Every name here is a decision; a new one needs an argument in its commit.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::run::say;

/// Licences under which we may ship. An expression passes if it offers a choice among these.
const LICENCES: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    // MIT, and nobody may be named as the author of what is not theirs.
    "MITNFA",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "MPL-2.0",
];

/// Never in the tree that ships, and why.
const BANNED: [(&str, &str); 7] = [
    ("openssl-sys", "TLS is rustls"),
    ("native-tls", "TLS is rustls"),
    ("aws-lc-sys", "rustls uses ring here: one C library less to build"),
    ("c-kzg", "no contract of ours reads blobs"),
    ("blst", "no contract of ours uses BLS"),
    ("secp256k1-sys", "k256 serves everything"),
    ("serde_cbor", "unmaintained; CBOR is ciborium"),
];

pub(crate) fn check() -> Result<()> {
    let output = Command::new("cargo").args(["metadata", "--format-version", "1", "--locked"]).output()?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("metadata lists packages")?;
    let mut problems = Vec::new();
    for package in packages {
        let (name, licence) = (text(&package["name"]), text(&package["license"]));
        if package["source"].is_null() {
            continue;
        }
        if !text(&package["source"]).starts_with("registry+") {
            problems.push(format!("{name} does not come from the registry"));
        }
        if !licence_passes(licence) {
            problems.push(format!("{name} is under `{licence}`"));
        }
    }
    let shipped = shipped(&metadata)?;
    for (name, reason) in BANNED {
        if shipped.contains(name) {
            problems.push(format!("{name} is banned: {reason}"));
        }
    }
    if !problems.is_empty() {
        bail!("dependency policy:\n  {}", problems.join("\n  "));
    }
    say(&format!("dependency policy holds for {} packages, {} of them shipped", packages.len(), shipped.len()));
    Ok(())
}

/// Names of packages that end up in the binary on this platform.
fn shipped(metadata: &Value) -> Result<BTreeSet<String>> {
    ensure!(metadata["packages"].is_array());
    let output = Command::new("cargo")
        .args([
            "tree",
            "--package",
            "gristmill",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--locked",
        ])
        .output()?;
    ensure!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout)?;
    Ok(tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// SPDX expressions of the kinds that occur: names joined by OR, AND and `/`, with parentheses and exceptions.
fn licence_passes(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], " ").replace('/', " OR ");
    let known = |name: &str| LICENCES.contains(&name.split(" WITH ").next().unwrap_or_default().trim());
    flat.split(" AND ").all(|choice| choice.split(" OR ").any(|name| known(name.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_read_as_choices() {
        assert!(licence_passes("MIT OR Apache-2.0"));
        assert!(licence_passes("MIT/Apache-2.0"));
        assert!(licence_passes("GPL-3.0 OR MIT"));
        assert!(licence_passes("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(licence_passes("Apache-2.0 WITH LLVM-exception"));
        assert!(!licence_passes("GPL-3.0"));
        assert!(!licence_passes("MIT AND GPL-3.0"));
        assert!(!licence_passes(""));
    }
}

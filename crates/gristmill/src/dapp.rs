//! Folders that `gristmill dapp init` makes: a Foundry project with the contract of an example, what it inherits, the app
//! that workers run for it, and a pool's offer to run it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::templates::File;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Example {
    /// The smallest one: asks for a divisor of a number, which a verifier contract checks
    Divisor,
    /// A raffle whose draw is computed off chain, and checked on chain only if somebody doubts it
    Raffle,
    /// A price that several workers estimate again and again; the median counts
    PriceFeed,
}

macro_rules! embedded {
    ($to:literal <- $from:literal: $($path:literal),* $(,)?) => {
        &[$((concat!($to, $path), include_str!(concat!("../../../", $from, $path)))),*]
    };
}

const PROJECT: &[File] =
    embedded!("" <- "examples/dapps/project/": "foundry.toml", "package.json", "tools/solc", "README.md");

/// The market among them, so that a contract can be tested against the real one.
const LIBRARY: &[File] = embedded!("lib/gristmill/" <- "contracts/src/":
    "BatchProof.sol",
    "Callbacks.sol",
    "DevRLC.sol",
    "Ledger.sol",
    "Market.sol",
    "Offers.sol",
    "Outcome.sol",
    "PoolWord.sol",
    "RLC.sol",
    "Signatures.sol",
    "Task.sol",
    "TaskBase.sol",
    "Vouchers.sol",
    "interfaces/IApprovalReceiver.sol",
    "interfaces/ILedger.sol",
    "interfaces/IMarket.sol",
    "interfaces/IProofVerifier.sol",
    "interfaces/ITaskCallback.sol",
    "interfaces/IVerifier.sol",
    "interfaces/IVouchers.sol",
);

impl Example {
    fn contracts(self) -> &'static [File] {
        match self {
            Self::Divisor => embedded!("src/" <- "contracts/src/examples/": "Divisor.sol"),
            Self::Raffle => embedded!("src/" <- "contracts/src/examples/": "Raffle.sol"),
            Self::PriceFeed => embedded!("src/" <- "contracts/src/examples/": "PriceFeed.sol", "Voices.sol"),
        }
    }

    fn app(self) -> &'static [File] {
        match self {
            Self::Divisor => embedded!("" <- "examples/dapps/divisor/":
                "offer.toml", "app/gristmill.toml", "app/main.sh", "test/Divisor.t.sol"),
            Self::Raffle => {
                embedded!("" <- "examples/dapps/raffle/": "offer.toml", "app/gristmill.toml", "app/main.sh")
            }
            Self::PriceFeed => {
                embedded!("" <- "examples/dapps/price-feed/": "offer.toml", "app/gristmill.toml", "app/main.c")
            }
        }
    }

    fn files(self) -> impl Iterator<Item = (&'static str, String)> {
        // In the repository an example lies below what it inherits.
        let contracts = self.contracts().iter().map(|(path, text)| (*path, text.replace("\"../", "\"gristmill/")));
        let others = [PROJECT, LIBRARY, self.app()].concat();
        contracts.chain(others.into_iter().map(|(path, text)| (path, text.to_owned())))
    }

    /// Makes the folder; its last part becomes the name of project, app and offer.
    pub fn write(self, folder: &Path) -> Result<()> {
        let name = folder.file_name().and_then(|name| name.to_str()).context("the folder needs a name")?;
        if folder.symlink_metadata().is_ok() {
            bail!("{} is there already\n\nhint: choose a new folder", folder.display());
        }
        for (path, text) in self.files() {
            let path = folder.join(path);
            write(&path, &text.replace("NAME", name)).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
    fs::write(path, text)?;
    let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What a file imports, as paths in the folder.
    fn imports(path: &str, text: &str) -> Vec<String> {
        let parent = Path::new(path).parent().unwrap();
        let named = text.lines().filter_map(|line| line.strip_prefix("import ")?.split('"').nth(1));
        let resolved = named.filter(|name| !name.starts_with("@openzeppelin/")).map(|name| {
            let path = match name.strip_prefix("gristmill/") {
                Some(library) => Path::new("lib/gristmill").join(library),
                None => parent.join(name.strip_prefix("./").unwrap_or(name)),
            };
            let mut plain: Vec<&str> = Vec::new();
            for part in path.iter().map(|part| part.to_str().unwrap()) {
                if part == ".." {
                    plain.pop();
                } else {
                    plain.push(part);
                }
            }
            plain.join("/")
        });
        resolved.collect()
    }

    #[test]
    fn whatever_is_imported_comes_along() {
        for example in Example::value_variants() {
            let paths: BTreeSet<&str> = example.files().map(|(path, _)| path).collect();
            for (path, text) in example.files().filter(|(path, _)| path.ends_with(".sol")) {
                for import in imports(path, &text) {
                    assert!(paths.contains(import.as_str()), "{example:?}: {path} imports {import}");
                }
            }
        }
    }
}

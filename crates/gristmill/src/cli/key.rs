//! Options that name an account's key, the same for every command that needs one.

use std::path::PathBuf;

use alloy::signers::local::PrivateKeySigner;
use anyhow::{Result, bail};
use clap::Args;
use gristmill_chain::keystore;
use serde::Deserialize;

/// The key of an account. It stays in its file: neither flags nor the environment ever hold it.
#[derive(Args, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct KeyArgs {
    /// Encrypted keystore (Web3 Secret Storage v3)
    #[arg(long, value_name = "FILE", requires = "password_file")]
    key: Option<PathBuf>,
    /// File with the keystore's password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Account of the development chain, whose keys everybody knows
    #[arg(long, value_name = "NUMBER", conflicts_with = "key")]
    dev_account: Option<usize>,
}

impl KeyArgs {
    pub(super) fn load(&self, chain_id: u64) -> Result<PrivateKeySigner> {
        match (&self.key, &self.password_file, self.dev_account) {
            (Some(key), Some(password), _) => Ok(keystore::load(key, &keystore::Password::read(password)?)?),
            (_, _, Some(account)) => Ok(keystore::dev_key(account, chain_id)?),
            _ => bail!(
                "whose account?\n\nhint: give a keystore with --key and --password-file, or on the development chain \
                 --dev-account with a number"
            ),
        }
    }
}

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use vanity::{AddressKind, SecretKey};

use super::{key_file, print};

#[derive(Args)]
pub(super) struct KeygenArguments {
    /// Where the secret key goes (new file, readable by you only)
    #[arg(long, value_name = "FILE", default_value = "vanity.key")]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &KeygenArguments) -> Result<()> {
    let secret = SecretKey::generate()?;
    key_file::write(&arguments.out, &secret, AddressKind::P2pkh)?;
    let public_key = secret.public_key().to_string();
    match arguments.json {
        true => print::result_json(&json!({ "public_key": public_key, "key_file": arguments.out })),
        false => {
            print::note(&format!("secret key written to {}", arguments.out.display()));
            print::result(&public_key);
        }
    }
    Ok(())
}

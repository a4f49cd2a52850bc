use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use vanity::Record;

use super::{key_file, print};

#[derive(Args)]
pub(super) struct CombineArguments {
    /// The record of the find, as `vanity search --public-key` prints it
    #[arg(value_name = "RECORD")]
    record: PathBuf,
    /// The file with the requester's secret key, from `vanity keygen`
    #[arg(long, value_name = "FILE", default_value = "vanity.key")]
    key: PathBuf,
    /// Where the key of the address goes; ADDRESS.key if not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also print the secret key
    #[arg(long)]
    show_key: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &CombineArguments) -> Result<()> {
    let path = arguments.record.display();
    let text = fs::read_to_string(&arguments.record).with_context(|| format!("cannot read {path}"))?;
    let record = Record::from_json(&text).with_context(|| format!("{path} is refused"))?;
    let key = record.combine(&key_file::read(&arguments.key)?)?;
    let out = arguments.out.clone().unwrap_or_else(|| format!("{}.key", record.address).into());
    key_file::write(&out, &key, record.kind)?;
    let shown = arguments.show_key.then(|| key.to_import_text(record.kind));
    if arguments.json {
        let shown = shown.as_ref().map(|key| key.as_str());
        print::result_json(&json!({ "address": record.address, "key_file": out, "private_key": shown }));
        return Ok(());
    }
    print::note(&format!("secret key written to {}", out.display()));
    print::result(&record.address);
    if let Some(key) = shown {
        print::result(&key);
    }
    Ok(())
}

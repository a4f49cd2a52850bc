use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use vanity::{AddressKind, Params, Record, Solution};

use super::{print, unit};

#[derive(Args)]
pub(super) struct VerifyArguments {
    /// A record to check
    #[arg(value_name = "RECORD", required_unless_present = "result")]
    record: Option<PathBuf>,
    /// Or the 93-byte result of an order, in hex
    #[arg(long, value_name = "HEX", requires = "params", requires = "order", conflicts_with = "record")]
    result: Option<String>,
    /// The order's parameters
    #[arg(long, value_name = "HEX")]
    params: Option<String>,
    /// The order's id
    #[arg(long, value_name = "HEX32")]
    order: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &VerifyArguments) -> Result<()> {
    let address = match (&arguments.record, &arguments.result) {
        (Some(path), _) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Record::from_json(&text).with_context(|| format!("{} is refused", path.display()))?.address
        }
        (None, Some(result)) => address_of_result(arguments, result)?,
        (None, None) => unreachable!("clap requires one of them"),
    };
    match arguments.json {
        true => print::result_json(&json!({ "valid": true, "address": address })),
        false => print::result(&format!("valid: {address}")),
    }
    Ok(())
}

fn address_of_result(arguments: &VerifyArguments, result: &str) -> Result<String> {
    let params = unit::bytes("--params", arguments.params.as_deref().unwrap_or_default())?;
    let params = Params::decode(&params).context("--params is refused")?;
    let order = unit::fixed_bytes("--order", arguments.order.as_deref().unwrap_or_default())?;
    let solution = Solution::decode(&unit::bytes("--result", result)?).context("the result is refused")?;
    let hash = solution.check(&params, &order).context("the result is refused")?;
    Ok(AddressKind::P2pkh.encode(hash))
}

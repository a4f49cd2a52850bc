//! Two nodes' answers to the same request, and where they differ.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Where two answers differ, and in what.
pub fn differences(at: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
            for name in names {
                let field = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
                differences(&format!("{at}.{name}"), &field(ours), &field(theirs), found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                differences(&format!("{at}[{index}]"), ours, theirs, found);
            }
        }
        (ours, theirs) if ours != theirs => found.push(format!("{at}: ours {ours}, anvil's {theirs}")),
        _ => {}
    }
}

/// Removes what cannot be the same: hashes of blocks depend on randomness, and so does all that names them.
pub fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // Anvil's sizes lack the empty list of withdrawals.
            let different = ["hash", "blockHash", "parentHash", "mixHash", "stateRoot", "size"];
            if fields.contains_key("transactionsRoot") {
                fields.retain(|name, _| !different.contains(&name.as_str()));
            } else {
                fields.remove("blockHash");
            }
            if fields.contains_key("cumulativeGasUsed") {
                // Anvil's own additions to receipts.
                fields.retain(|name, _| !["blobGasPrice", "blockTimestamp"].contains(&name.as_str()));
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}

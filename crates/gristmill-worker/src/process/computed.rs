//! `computed.json`, by which programs made for iExec say what they came to. Only `callback-data` means something here:
//! it is the answer for a contract. A `deterministic-output-path` is an output file like any other.

use serde::Deserialize;

use gristmill_proto::outcome::ANSWER_BYTES_MAX;

pub(crate) const FILE: &str = "computed.json";
/// An answer in hexadecimal, and a path.
pub(crate) const FILE_BYTES_MAX: u64 = 64 << 10;

#[derive(Deserialize)]
struct Computed {
    #[serde(rename = "callback-data")]
    callback_data: Option<String>,
}

/// The answer that the file names, if it does so in the right form.
pub(crate) fn answer(file: &[u8]) -> Option<Vec<u8>> {
    let computed: Computed = serde_json::from_slice(file).ok()?;
    let text = computed.callback_data?;
    let answer = hex::decode(text.strip_prefix("0x").unwrap_or(&text)).ok()?;
    (answer.len() <= ANSWER_BYTES_MAX).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callback_data_is_the_answer() {
        let said = |text: &str| answer(text.as_bytes());
        let path = "\"deterministic-output-path\": \"/iexec_out/result.txt\"";
        assert_eq!(said(&format!("{{{path}, \"callback-data\": \"0x0102ff\"}}")), Some(vec![1, 2, 255]));
        for text in [&format!("{{{path}}}"), "", "[]", "{\"callback-data\": 7}", "{\"callback-data\": \"0xzz\"}"] {
            assert_eq!(said(text), None, "{text}");
        }
        let long = "00".repeat(ANSWER_BYTES_MAX + 1);
        assert_eq!(said(&format!("{{\"callback-data\": \"{long}\"}}")), None);
        assert!(said(&format!("{{\"callback-data\": \"{}\"}}", &long[2..])).is_some());
    }
}

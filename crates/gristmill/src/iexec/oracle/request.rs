//! The params of a request, as iExec's tools write them, and what of them this pool can honour: pure.

use std::collections::BTreeMap;

use gristmill_proto::digest::Digest;
use serde::Deserialize;
use serde_json::Value;

use crate::iexec::content;

const INPUT_FILES_MAX: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) args: Vec<String>,
    pub(super) files: Vec<File>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) digest: Digest,
}

/// Why a task of these params cannot be run here. All of it is final.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    #[error("the params are no JSON object: {0}")]
    Malformed(String),
    #[error("iexec_args has a quote that does not end")]
    OpenQuote,
    #[error("{0} input files are more than {INPUT_FILES_MAX}")]
    TooManyFiles(usize),
    #[error(
        "input file `{0}` is not stored here: this pool fetches nothing from elsewhere, but `/ipfs/` with a BLAKE3 CID"
    )]
    ForeignFile(String),
    #[error("results are kept by this pool and served like IPFS: it cannot put them on `{0}`")]
    Storage(String),
    #[error("{0} needs an enclave, which this pool does not have")]
    Enclave(&'static str),
    #[error("bulk_cid is not supported: make one deal a dataset")]
    Bulk,
}

/// What the SDK's validator lets through; names that are not here mean nothing to a pool.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Params {
    iexec_args: Option<String>,
    iexec_input_files: Option<Vec<String>>,
    iexec_result_storage_provider: Option<String>,
    iexec_result_encryption: Option<bool>,
    iexec_secrets: Option<BTreeMap<String, Value>>,
    bulk_cid: Option<String>,
}

impl Request {
    pub(super) fn parse(params: &str) -> Result<Self, RequestError> {
        if params.trim().is_empty() {
            return Ok(Self::default());
        }
        let params: Params =
            serde_json::from_str(params).map_err(|error| RequestError::Malformed(error.to_string()))?;
        if params.iexec_result_encryption == Some(true) {
            return Err(RequestError::Enclave("iexec_result_encryption"));
        }
        if params.iexec_secrets.is_some_and(|secrets| !secrets.is_empty()) {
            return Err(RequestError::Enclave("iexec_secrets"));
        }
        if let Some(storage) = params.iexec_result_storage_provider.filter(|storage| storage != "ipfs") {
            return Err(RequestError::Storage(storage));
        }
        if params.bulk_cid.is_some() {
            return Err(RequestError::Bulk);
        }
        let args = shlex::split(&params.iexec_args.unwrap_or_default()).ok_or(RequestError::OpenQuote)?;
        let files = params.iexec_input_files.unwrap_or_default();
        if files.len() > INPUT_FILES_MAX {
            return Err(RequestError::TooManyFiles(files.len()));
        }
        Ok(Self { args, files: files.into_iter().map(file).collect::<Result<_, _>>()? })
    }
}

fn file(address: String) -> Result<File, RequestError> {
    match content::parse_address(&address) {
        Some(digest) => Ok(File { name: content::cid(digest), digest }),
        None => Err(RequestError::ForeignFile(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_as_a_shell_would() {
        let args = |text: &str| Request::parse(&serde_json::json!({ "iexec_args": text }).to_string());
        assert_eq!(args("--name 'a b' c\\ d \"e'f\"").unwrap().args, ["--name", "a b", "c d", "e'f"]);
        assert_eq!(args("").unwrap().args, [""; 0]);
        assert_eq!(args("$(reboot); `id` > x").unwrap().args, ["$(reboot);", "`id`", ">", "x"]);
        assert_eq!(args("it's"), Err(RequestError::OpenQuote));
        assert_eq!(Request::parse(""), Ok(Request::default()));
    }

    #[test]
    fn files_are_those_of_the_pool() {
        let digest = Digest::of(b"grist");
        let files = |address: &str| Request::parse(&serde_json::json!({ "iexec_input_files": [address] }).to_string());
        let stored = File { name: content::cid(digest), digest };
        assert_eq!(files(&format!("http://pool.example{}", content::path(digest))).unwrap().files, [stored]);
        for foreign in ["http://169.254.169.254/latest/meta-data", "file:///etc/passwd", ""] {
            assert_eq!(files(foreign), Err(RequestError::ForeignFile(foreign.to_owned())));
        }
        let many = vec![content::path(digest); INPUT_FILES_MAX + 1];
        let many = Request::parse(&serde_json::json!({ "iexec_input_files": many }).to_string());
        assert_eq!(many, Err(RequestError::TooManyFiles(INPUT_FILES_MAX + 1)));
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let refused = |params: &str| Request::parse(params).unwrap_err();
        assert_eq!(refused(r#"{"iexec_result_encryption":true}"#), RequestError::Enclave("iexec_result_encryption"));
        assert_eq!(refused(r#"{"iexec_secrets":{"1":"x"}}"#), RequestError::Enclave("iexec_secrets"));
        assert_eq!(
            refused(r#"{"iexec_result_storage_provider":"dropbox"}"#),
            RequestError::Storage("dropbox".to_owned())
        );
        assert_eq!(refused(r#"{"bulk_cid":"Qm"}"#), RequestError::Bulk);
        assert!(matches!(refused("--no json"), RequestError::Malformed(_)));
        let plain = r#"{"iexec_result_encryption":false,"iexec_secrets":{},"iexec_developer_logger":true}"#;
        assert_eq!(Request::parse(plain), Ok(Request::default()));
    }
}

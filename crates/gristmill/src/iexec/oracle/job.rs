//! What a task of a deal becomes in the pool: pure.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, keccak256};
use alloy::sol_types::SolValue;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::UnixMillis;
use gristmill_proto::job::{Input, JobSpec, Limits};
use serde::{Deserialize, Serialize};

/// Of a deal, what its tasks need: read from the chain once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    pub(super) app: Digest,
    pub(super) args: Vec<String>,
    /// By their names below `/in`; the dataset is not among them.
    pub(super) files: Vec<(String, Digest)>,
    pub(super) dataset: Option<(Address, Digest)>,
    pub(super) requester: Address,
    /// Whether a contract waits for the result.
    pub(super) called_back: bool,
    /// Indices of its tasks: `first..first + size`.
    pub(super) first: u64,
    pub(super) size: u64,
    /// How long the category lets one attempt run, and when the deal ends, in seconds.
    pub(super) attempt_s: u64,
    pub(super) deadline: u64,
}

/// A task's id on chain.
pub(super) fn task_id(deal: B256, index: u64) -> B256 {
    keccak256((deal, alloy::primitives::U256::from(index)).abi_encode())
}

/// iExec's images find everything by these variables, so the places can be ours.
const IN: &str = "/in";
const OUT: &str = "/out";

pub(super) fn job_of(deal: B256, terms: &Terms, index: u64) -> JobSpec {
    let id = task_id(deal, index);
    let mut env = BTreeMap::from([
        ("IEXEC_TASK_ID".to_owned(), format!("{id:#x}")),
        ("IEXEC_IN".to_owned(), IN.to_owned()),
        ("IEXEC_OUT".to_owned(), OUT.to_owned()),
        ("IEXEC_BOT_SIZE".to_owned(), terms.size.to_string()),
        ("IEXEC_BOT_FIRST_INDEX".to_owned(), terms.first.to_string()),
        ("IEXEC_BOT_TASK_INDEX".to_owned(), index.to_string()),
        ("IEXEC_INPUT_FILES_FOLDER".to_owned(), IN.to_owned()),
        ("IEXEC_INPUT_FILES_NUMBER".to_owned(), terms.files.len().to_string()),
    ]);
    for (number, (name, _)) in terms.files.iter().enumerate() {
        env.insert(format!("IEXEC_INPUT_FILE_NAME_{}", number + 1), name.clone());
    }
    let mut inputs: Vec<Input> =
        terms.files.iter().map(|(name, digest)| Input { path: name.clone(), digest: *digest }).collect();
    // The same file may be asked for twice; one place has one file.
    inputs.sort_by(|one, other| one.path.cmp(&other.path));
    inputs.dedup();
    if let Some((dataset, digest)) = &terms.dataset {
        let name = format!("{dataset:#x}");
        env.insert("IEXEC_DATASET_ADDRESS".to_owned(), name.clone());
        env.insert("IEXEC_DATASET_FILENAME".to_owned(), name.clone());
        inputs.push(Input { path: name, digest: *digest });
    }
    let attempt_ms = terms.attempt_s.saturating_mul(1_000);
    JobSpec {
        external_id: Some(format!("{id:#x}")),
        args: terms.args.clone(),
        env,
        inputs,
        limits: Limits { wall_ms: attempt_ms, cpu_ms: attempt_ms.saturating_mul(4), ..Limits::default() },
        user: format!("{:#x}", terms.requester),
        deadline_ms: Some(UnixMillis(terms.deadline.saturating_mul(1_000))),
        labels: BTreeMap::from([("deal".to_owned(), format!("{deal:#x}")), ("index".to_owned(), index.to_string())]),
        ..JobSpec::new(terms.app)
    }
}

#[cfg(test)]
pub(super) fn terms() -> Terms {
    Terms {
        app: Digest::of(b"app"),
        args: vec!["--fast".to_owned()],
        files: Vec::new(),
        dataset: None,
        requester: Address::repeat_byte(1),
        called_back: false,
        first: 0,
        size: 1,
        attempt_s: 300,
        deadline: 10_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_finds_its_files_by_iexecs_variables() {
        let file = ("name".to_owned(), Digest::of(b"file"));
        let dataset = Address::repeat_byte(0xda);
        let terms = Terms {
            files: vec![file.clone(), file],
            dataset: Some((dataset, Digest::of(b"data"))),
            first: 5,
            size: 3,
            ..terms()
        };
        let job = job_of(B256::repeat_byte(7), &terms, 6);
        assert_eq!(job.check(), Ok(()));
        let of = |name: &str| job.env.get(name).map(String::as_str).unwrap_or_default();
        assert_eq!((of("IEXEC_BOT_FIRST_INDEX"), of("IEXEC_BOT_TASK_INDEX"), of("IEXEC_BOT_SIZE")), ("5", "6", "3"));
        assert_eq!(of("IEXEC_DATASET_FILENAME"), format!("{dataset:#x}"));
        assert_eq!((of("IEXEC_INPUT_FILES_NUMBER"), of("IEXEC_INPUT_FILE_NAME_2")), ("2", "name"));
        let paths: Vec<&str> = job.inputs.iter().map(|input| input.path.as_str()).collect();
        assert_eq!(paths, ["name", of("IEXEC_DATASET_FILENAME")]);
        assert_eq!(job.external_id, Some(of("IEXEC_TASK_ID").to_owned()));
        assert_eq!(job.limits.wall_ms, 300_000);
    }

    #[test]
    fn a_task_has_the_id_that_the_sdk_computes() {
        // By ethers: keccak256(AbiCoder.encode(["bytes32", "uint256"], [0x07…, 6])).
        let expected = "0x32198b09bf7cd3451083b37b139742ba024a3f3955844337e35966b9ff642eea";
        assert_eq!(format!("{:#x}", task_id(B256::repeat_byte(7), 6)), expected);
    }
}

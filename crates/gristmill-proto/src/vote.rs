//! Votes on a task that several workers run: each binds itself to what its attempt came to before anyone shows it.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::digest::Digest;
use crate::id::{LeaseId, TaskId, WorkerId};
use crate::outcome::{Exit, Log, Outcome, OutputFile};

/// More than nothing and less than a half.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Fraction(f64);

impl schemars::JsonSchema for Fraction {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fraction".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5 })
    }
}

/// A fraction is never the number that differs from itself.
impl Eq for Fraction {}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0} is not a number above 0 and below 0.5")]
pub struct NotAFraction(f64);

impl Fraction {
    pub const fn new(number: f64) -> Option<Self> {
        if number > 0.0 && number < 0.5 { Some(Self(number)) } else { None }
    }

    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Fraction {
    type Error = NotAFraction;

    fn try_from(number: f64) -> Result<Self, NotAFraction> {
        Self::new(number).ok_or(NotAFraction(number))
    }
}

impl From<Fraction> for f64 {
    fn from(fraction: Fraction) -> Self {
        fraction.0
    }
}

/// Secret of a worker until it opens its vote: without it, an answer with few possible values could be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Salt(#[serde(with = "serde_bytes")] pub [u8; 32]);

/// Binds a worker to an answer that it does not show yet. Of no use to another worker, or for another task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Commitment(Digest);

impl Commitment {
    pub fn new(worker: WorkerId, task: TaskId, answer: Digest, salt: Salt) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"gristmill vote v1\n").update(&worker.0);
        hasher.update(&task.job.0.to_le_bytes()).update(&task.index.to_le_bytes());
        hasher.update(&answer.0).update(&salt.0);
        Self(Digest(*hasher.finalize().as_bytes()))
    }
}

/// A vote that is cast and not shown yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    pub lease: LeaseId,
    pub commitment: Commitment,
}

/// What is compared bit by bit: all that somebody may read as the result. Not what the program said on standard error,
/// nor what it used, which differ between honest machines.
#[derive(Serialize)]
struct Compared<'a> {
    exit: &'a Exit,
    #[serde(with = "serde_bytes")]
    answer: &'a Option<Vec<u8>>,
    files: Vec<&'a OutputFile>,
    stdout: &'a Log,
}

/// The digest by which outcomes of the same task agree or differ.
pub fn compared(outcome: &Outcome) -> Digest {
    let Outcome { exit, answer, files, stdout, .. } = outcome;
    // Two machines list the same folder in different orders.
    let mut files: Vec<&OutputFile> = files.iter().collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Digest::of(&codec::encode(&Compared { exit, answer, files, stdout }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::JobId;
    use crate::outcome::Usage;

    fn outcome() -> Outcome {
        let file = |path: &str| OutputFile { path: path.into(), digest: Digest::of(path.as_bytes()), size: 1 };
        Outcome {
            exit: Exit::Code(0),
            answer: Some(b"7".to_vec()),
            files: vec![file("a"), file("b")],
            stdout: Log { head: b"seven".to_vec(), total_bytes: 5 },
            stderr: Log::default(),
            usage: Usage::default(),
        }
    }

    #[test]
    fn outcomes_agree_on_what_people_read() {
        let same = compared(&outcome());
        let mut other = outcome();
        other.files.reverse();
        other.stderr = Log { head: b"took 3 s".to_vec(), total_bytes: 8 };
        other.usage.wall_ms = 3_000;
        assert_eq!(compared(&other), same);
        let changes: [fn(&mut Outcome); 5] = [
            |outcome| outcome.answer = None,
            |outcome| outcome.answer = Some(Vec::new()),
            |outcome| outcome.files[0].digest = Digest::of(b"c"),
            |outcome| drop(outcome.files.pop()),
            |outcome| outcome.stdout.total_bytes = 6,
        ];
        for change in changes {
            let mut other = outcome();
            change(&mut other);
            assert_ne!(compared(&other), same, "{other:?}");
        }
    }

    #[test]
    fn a_commitment_is_of_one_worker_one_task_one_answer_and_one_salt() {
        let commit = |worker: u8, index, answer: &[u8], salt: u8| {
            let task = TaskId { job: JobId(1), index };
            Commitment::new(WorkerId([worker; 20]), task, Digest::of(answer), Salt([salt; 32]))
        };
        let all = [commit(1, 1, b"a", 1), commit(2, 1, b"a", 1), commit(1, 2, b"a", 1), commit(1, 1, b"b", 1)];
        assert!(all.iter().all(|commitment| *commitment != commit(1, 1, b"a", 2)));
        assert!(all[1..].iter().all(|commitment| *commitment != all[0]));
    }
}

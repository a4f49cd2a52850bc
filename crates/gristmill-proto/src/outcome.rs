//! What an attempt came to.

use serde::{Deserialize, Serialize};

use crate::app::is_plain_path;
use crate::digest::Digest;

/// The answer a contract can receive; see [`Outcome::answer`].
pub const ANSWER_BYTES_MAX: usize = 8 * 1024;
pub const OUTPUT_FILES_MAX: usize = 1_000;
/// All paths of an outcome together, so that it fits in a message whatever its app chose to write.
pub const OUTPUT_PATHS_BYTES_MAX: usize = 128 * 1024;
/// Standard output and standard error as kept with an outcome, each.
pub const LOG_BYTES_MAX: usize = 256 * 1024;
const REASON_BYTES_MAX: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub exit: Exit,
    /// The bytes of `/out/result`, if the app wrote that file: what a contract that asked for the job receives.
    #[serde(with = "serde_bytes")]
    pub answer: Option<Vec<u8>>,
    /// Every other file below `/out`, by path.
    pub files: Vec<OutputFile>,
    pub stdout: Log,
    pub stderr: Log,
    pub usage: Usage,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    pub path: String,
    pub digest: Digest,
    pub size: u64,
}

/// The first bytes of a stream and how many there were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    #[serde(with = "serde_bytes")]
    pub head: Vec<u8>,
    pub total_bytes: u64,
}

/// How the attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// It used more than the job allows.
    Limit(Limit),
    /// It never ran: the worker could not fetch, prepare or start it.
    NotRun(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    Wall,
    Cpu,
    Memory,
    Disk,
    Processes,
    Output,
    /// Steps of a wasm module.
    Fuel,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub wall_ms: u64,
    pub cpu_ms: u64,
    pub memory_peak_bytes: u64,
    /// The app's own count of work units, as its last progress line said.
    pub work_done: u64,
    /// Steps of a wasm module: the same number on every worker.
    #[serde(default)]
    pub fuel: u64,
    /// What went to and came from disks and networks.
    #[serde(default)]
    pub disk_read_bytes: u64,
    #[serde(default)]
    pub disk_written_bytes: u64,
    #[serde(default)]
    pub network_received_bytes: u64,
    #[serde(default)]
    pub network_sent_bytes: u64,
}

/// Of what the program said last, as much as fits on a line.
const WORDS_BYTES_MAX: usize = 300;

impl Outcome {
    /// How it failed, and what the program said of it: its error line, or else its last.
    pub fn failure(&self) -> String {
        let said = String::from_utf8_lossy(&self.stderr.head);
        let mut lines = said.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        let words = lines.clone().find(|line| line.starts_with("error")).or_else(|| lines.next()).unwrap_or_default();
        let words: String = words.chars().filter(|letter| !letter.is_control()).collect();
        match &words[..words.floor_char_boundary(WORDS_BYTES_MAX)] {
            "" => self.exit.to_string(),
            words => format!("{}: {words}", self.exit),
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutcomeError {
    #[error("an answer of {0} bytes is longer than {ANSWER_BYTES_MAX}")]
    AnswerTooLong(usize),
    #[error("{0} output files are more than {OUTPUT_FILES_MAX}")]
    TooManyFiles(usize),
    #[error("output paths of {0} bytes are longer than {OUTPUT_PATHS_BYTES_MAX} together")]
    PathsTooLong(usize),
    #[error("output path `{0}` is not a plain relative path")]
    BadPath(String),
    #[error("a log of {0} bytes is longer than {LOG_BYTES_MAX}")]
    LogTooLong(usize),
    #[error("a reason of {0} bytes is longer than {REASON_BYTES_MAX}")]
    ReasonTooLong(usize),
}

impl Outcome {
    pub fn not_run(reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        Self {
            exit: Exit::NotRun(reason),
            answer: None,
            files: Vec::new(),
            stdout: Log::default(),
            stderr: Log::default(),
            usage: Usage::default(),
        }
    }

    pub fn succeeded(&self) -> bool {
        self.exit == Exit::Code(0)
    }

    /// Refuses what no honest worker sends.
    pub fn check(&self) -> Result<(), OutcomeError> {
        if let Some(answer) = self.answer.as_ref().filter(|answer| answer.len() > ANSWER_BYTES_MAX) {
            return Err(OutcomeError::AnswerTooLong(answer.len()));
        }
        if self.files.len() > OUTPUT_FILES_MAX {
            return Err(OutcomeError::TooManyFiles(self.files.len()));
        }
        if let Some(file) = self.files.iter().find(|file| !is_plain_path(&file.path)) {
            return Err(OutcomeError::BadPath(file.path.chars().take(80).collect()));
        }
        let paths = self.files.iter().map(|file| file.path.len()).sum();
        if paths > OUTPUT_PATHS_BYTES_MAX {
            return Err(OutcomeError::PathsTooLong(paths));
        }
        if let Some(log) = [&self.stdout, &self.stderr].into_iter().find(|log| log.head.len() > LOG_BYTES_MAX) {
            return Err(OutcomeError::LogTooLong(log.head.len()));
        }
        match &self.exit {
            Exit::NotRun(reason) if reason.len() > REASON_BYTES_MAX => Err(OutcomeError::ReasonTooLong(reason.len())),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::Limit(limit) => write!(f, "over its limit of {}", limit.in_words()),
            Self::NotRun(reason) => write!(f, "not run: {reason}"),
        }
    }
}

impl Limit {
    fn in_words(self) -> &'static str {
        match self {
            Self::Wall => "wall-clock time",
            Self::Cpu => "processor time",
            Self::Memory => "memory",
            Self::Disk => "disk space",
            Self::Processes => "processes",
            Self::Output => "output",
            Self::Fuel => "fuel",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LeaseId;
    use crate::key::Signature;
    use crate::message::{BATCH_BYTES_FULL, Finished, MESSAGE_BYTES_MAX, ToPool};
    use crate::vote::Salt;

    #[test]
    fn a_failure_is_told_in_the_programs_words() {
        let failure = |stderr: &str| {
            let stderr = Log { head: stderr.into(), total_bytes: 0 };
            let (stdout, usage) = (Log::default(), Usage::default());
            Outcome { exit: Exit::Code(2), answer: None, files: vec![], stdout, stderr, usage }.failure()
        };
        assert_eq!(failure(""), "exit status 2");
        assert_eq!(failure("reading\n\u{1b}[31mno such file\n\n"), "exit status 2: [31mno such file");
        assert_eq!(failure("error: no such file\n\nhint: look elsewhere\n"), "exit status 2: error: no such file");
        assert_eq!(failure(&"ä".repeat(1_000)).len(), "exit status 2: ".len() + WORDS_BYTES_MAX);
    }

    #[test]
    fn the_largest_outcome_fits_in_a_message() {
        let log = || Log { head: vec![255; LOG_BYTES_MAX], total_bytes: u64::MAX };
        let length = OUTPUT_PATHS_BYTES_MAX / OUTPUT_FILES_MAX;
        let file = OutputFile { path: "x".repeat(length), digest: Digest([255; 32]), size: u64::MAX };
        let outcome = Outcome {
            exit: Exit::NotRun("x".repeat(REASON_BYTES_MAX)),
            answer: Some(vec![255; ANSWER_BYTES_MAX]),
            files: vec![file; OUTPUT_FILES_MAX],
            stdout: log(),
            stderr: log(),
            usage: Usage {
                wall_ms: u64::MAX,
                cpu_ms: u64::MAX,
                memory_peak_bytes: u64::MAX,
                work_done: u64::MAX,
                fuel: u64::MAX,
                disk_read_bytes: u64::MAX,
                disk_written_bytes: u64::MAX,
                network_received_bytes: u64::MAX,
                network_sent_bytes: u64::MAX,
            },
        };
        outcome.check().unwrap();
        let (lease, leaf) = (LeaseId(u64::MAX), Digest([255; 32]));
        let salt = Some(Salt([255; 32]));
        let finished = Finished { lease, outcome: crate::codec::encode(&outcome), leaf, salt };
        let before = Finished { lease, outcome: vec![255; BATCH_BYTES_FULL], leaf, salt };
        let message = ToPool::Finished { results: vec![before, finished], signature: Signature([255; 65]) };
        assert!(crate::codec::encode(&message).len() <= MESSAGE_BYTES_MAX);
    }
}

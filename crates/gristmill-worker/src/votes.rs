//! Votes of this worker that are cast and not shown yet. They lie on disk, with the outputs they were for: a worker
//! that cannot show what it is bound to counts as a liar, and a machine may be switched off in between.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gristmill_proto::codec;
use gristmill_proto::id::LeaseId;
use gristmill_proto::job::JobSpec;
use gristmill_proto::message::Lease;
use gristmill_proto::outcome::Outcome;
use gristmill_proto::vote::Salt;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// A job and an outcome, each at its limits, are shorter.
const VOTE_BYTES_MAX: usize = 4 << 20;

/// All that is needed to show a vote.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeptVote {
    pub(crate) pool: String,
    pub(crate) lease: Lease,
    pub(crate) job: JobSpec,
    pub(crate) outcome: Outcome,
    pub(crate) salt: Salt,
}

/// A folder for each vote, named by its lease: the vote, and its output files by number.
#[derive(Clone, Debug)]
pub(crate) struct VoteFolder(PathBuf);

impl VoteFolder {
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }

    fn of(&self, lease: LeaseId) -> PathBuf {
        self.0.join(lease.to_string())
    }

    /// Makes room for a vote's outputs, in place of what an earlier try left.
    pub(crate) fn begin(&self, lease: LeaseId) -> io::Result<()> {
        self.forget(lease);
        fs::create_dir(self.of(lease))
    }

    pub(crate) fn output(&self, lease: LeaseId, number: usize) -> PathBuf {
        self.of(lease).join(number.to_string())
    }

    /// Durable when this returns.
    pub(crate) fn keep(&self, vote: &KeptVote) -> io::Result<()> {
        let dir = self.of(vote.lease.lease);
        let fresh = dir.join("fresh");
        let mut file = File::create(&fresh)?;
        file.write_all(&codec::encode(vote))?;
        file.sync_all()?;
        fs::rename(&fresh, dir.join("vote"))?;
        File::open(&dir)?.sync_all()?;
        File::open(&self.0)?.sync_all()
    }

    pub(crate) fn forget(&self, lease: LeaseId) {
        match fs::remove_dir_all(self.of(lease)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warn!(%lease, %error, "a vote that nobody needs any more stays on disk"),
        }
    }

    /// Votes from before this start. What is not whole was never cast, and goes.
    pub(crate) fn kept(&self) -> io::Result<Vec<KeptVote>> {
        let mut votes = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let dir = entry?.path();
            match read(&dir) {
                Some(vote) => votes.push(vote),
                None => fs::remove_dir_all(&dir)?,
            }
        }
        Ok(votes)
    }
}

fn read(dir: &Path) -> Option<KeptVote> {
    let bytes = fs::read(dir.join("vote")).ok()?;
    codec::decode(&bytes, VOTE_BYTES_MAX).ok()
}

#[cfg(test)]
mod tests {
    use gristmill_proto::digest::Digest;
    use gristmill_proto::id::{JobId, TaskId};
    use gristmill_proto::message::Seal;

    use super::*;

    #[test]
    fn votes_outlive_the_worker_and_halves_of_them_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let votes = VoteFolder::open(dir.path().join("votes")).unwrap();
        let task = TaskId { job: JobId(1), index: 2 };
        let lease = |number| Lease { lease: LeaseId(number), task, work: 0, seal: Seal([1; 16]) };
        for number in [7, 8] {
            votes.begin(LeaseId(number)).unwrap();
            fs::write(votes.output(LeaseId(number), 0), "output").unwrap();
        }
        let (job, outcome) = (JobSpec::new(Digest::of(b"app")), Outcome::not_run("nothing"));
        let vote = KeptVote { pool: "pool".into(), lease: lease(7), job, outcome, salt: Salt([3; 32]) };
        votes.keep(&vote).unwrap();
        let again = VoteFolder::open(dir.path().join("votes")).unwrap();
        let kept = again.kept().unwrap();
        assert_eq!(kept.len(), 1, "the other was never cast");
        assert_eq!((kept[0].lease, kept[0].salt), (vote.lease, vote.salt));
        assert_eq!(fs::read(again.output(LeaseId(7), 0)).unwrap(), b"output");
        assert!(!again.output(LeaseId(8), 0).exists());
        again.forget(LeaseId(7));
        assert!(again.kept().unwrap().is_empty());
    }
}

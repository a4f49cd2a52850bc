//! What running attempts have said so far, as their workers tell it. Kept in memory only: the outcome brings all of it.

use std::collections::BTreeMap;

use gristmill_proto::id::{LeaseId, TaskId, WorkerId};
use gristmill_proto::message::Stream;
use gristmill_proto::outcome::LOG_BYTES_MAX;

/// Attempts whose words are kept, which is 128 MiB at the very most; the oldest give way.
const ATTEMPTS_MAX: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct LiveLogs(BTreeMap<LeaseId, LiveLog>);

#[derive(Clone, Debug)]
pub(crate) struct LiveLog {
    pub(crate) worker: WorkerId,
    pub(crate) task: TaskId,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl LiveLogs {
    pub(crate) fn add(&mut self, worker: WorkerId, lease: LeaseId, task: TaskId, stream: Stream, bytes: &[u8]) {
        if self.0.len() >= ATTEMPTS_MAX && !self.0.contains_key(&lease) {
            self.0.pop_first();
        }
        let fresh = || LiveLog { worker, task, stdout: Vec::new(), stderr: Vec::new() };
        let log = self.0.entry(lease).or_insert_with(fresh);
        let kept = match stream {
            Stream::Stdout => &mut log.stdout,
            Stream::Stderr => &mut log.stderr,
        };
        let room = LOG_BYTES_MAX - kept.len();
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    pub(crate) fn remove(&mut self, lease: LeaseId) {
        self.0.remove(&lease);
    }

    pub(crate) fn of_task(&self, task: TaskId) -> impl Iterator<Item = (LeaseId, &LiveLog)> {
        self.0.iter().filter(move |(_, log)| log.task == task).map(|(lease, log)| (*lease, log))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_proto::id::JobId;

    #[test]
    fn words_are_kept_up_to_their_limits() {
        let mut logs = LiveLogs::default();
        let (worker, task) = (WorkerId([1; 20]), TaskId { job: JobId(1), index: 0 });
        for _ in 0..3 {
            logs.add(worker, LeaseId(1), task, Stream::Stdout, &vec![7; LOG_BYTES_MAX / 2]);
        }
        logs.add(worker, LeaseId(1), task, Stream::Stderr, b"error");
        let (lease, log) = logs.of_task(task).next().unwrap();
        assert_eq!((lease, log.stdout.len(), &log.stderr[..]), (LeaseId(1), LOG_BYTES_MAX, &b"error"[..]));
        for lease in 2..2_000 {
            logs.add(worker, LeaseId(lease), task, Stream::Stdout, b"x");
        }
        assert_eq!(logs.of_task(task).count(), ATTEMPTS_MAX);
        assert!(logs.of_task(task).all(|(lease, _)| lease.0 >= 2_000 - ATTEMPTS_MAX as u64), "the newest are kept");
        logs.remove(LeaseId(1_999));
        assert_eq!(logs.of_task(task).count(), ATTEMPTS_MAX - 1);
    }
}

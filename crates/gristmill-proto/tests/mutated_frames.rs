//! Frames that were changed on their way, or made up: each is an error or a message, and none costs more than its bytes.
//!
//! `GRISTMILL_SEED` replays a run, `GRISTMILL_FUZZ_SECONDS` makes it longer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_proto::codec::{decode, encode};
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::job::JobSpec;
use gristmill_proto::key::Signature;
use gristmill_proto::message::{Finished, Lease, MESSAGE_BYTES_MAX, Seal, ToPool, ToWorker};
use gristmill_proto::outcome::Outcome;
use gristmill_proto::vote::{Commitment, Salt, Sealed, compared};
use serde::Serialize;
use serde::de::DeserializeOwned;

const FRAMES: u32 = 40_000;

/// Xorshift: enough to choose bytes.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).expect("below a usize")
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a byte")
    }
}

fn frames() -> Vec<Vec<u8>> {
    let task = TaskId { job: JobId(7), index: 3 };
    let (lease, signature) = (LeaseId(1 << 36), Signature([7; 65]));
    let (outcome, salt) = (Outcome::not_run("no"), Salt([3; 32]));
    let finished = Finished { lease, outcome: encode(&outcome), leaf: Digest::of(b"leaf"), salt: None };
    let opened = Finished { salt: Some(salt), ..finished.clone() };
    let commitment = Commitment::new(WorkerId([2; 20]), task, compared(&outcome), salt);
    let given = Lease { lease, task, work: 9, seal: Seal([5; 16]) };
    let job = Arc::new(JobSpec { args: vec!["a".into(), "{task}".into()], ..JobSpec::new(Digest::of(b"app")) });
    vec![
        encode(&ToPool::Alive { leases: (0..40).map(LeaseId).collect() }),
        encode(&ToPool::Progress { lease, done: u64::MAX }),
        encode(&ToPool::Finished { results: vec![finished, opened], signature }),
        encode(&ToPool::Committed { votes: vec![Sealed { lease, commitment }; 3] }),
        encode(&ToPool::Declined { lease, reason: "too small".into() }),
        encode(&ToWorker::Challenge { protocol: 1, pool: "pool".into(), nonce: vec![1; 32] }),
        encode(&ToWorker::Leases { jobs: vec![(JobId(7), job)], leases: vec![given; 3] }),
        encode(&ToWorker::Open { leases: vec![lease; 3] }),
        encode(&ToWorker::Recorded { leases: vec![lease], refused: vec![(lease, "late".into())] }),
        encode(&Outcome::not_run("no")),
    ]
}

/// A few bytes changed, lost, doubled or put in; sometimes the head of one frame and the tail of another.
fn mutated(frames: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut frame = frames[chance.below(frames.len())].clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(frame.len());
        match chance.below(6) {
            0 if !frame.is_empty() => frame[at] = chance.byte(),
            1 if !frame.is_empty() => frame[at] ^= 1 << chance.below(8),
            2 => frame.truncate(at),
            3 => frame.insert(at, chance.byte()),
            // Headers that promise much: arrays, maps, text and bytes of up to 2^64 - 1.
            4 if frame.len() > at => {
                let head = [0x9b, 0xbb, 0x7b, 0x5b, 0xdb][chance.below(5)];
                frame.splice(at..=at, [[head].as_slice(), &[chance.byte(); 8]].concat());
            }
            _ => {
                let other = &frames[chance.below(frames.len())];
                frame.truncate(at);
                frame.extend_from_slice(&other[chance.below(other.len())..]);
            }
        }
    }
    frame
}

/// What is taken for a message says the same when it is sent on.
fn try_as<T: Serialize + DeserializeOwned>(frame: &[u8], seed: u64) {
    if let Ok(message) = decode::<T>(frame, MESSAGE_BYTES_MAX) {
        let sent = encode(&message);
        let again = decode::<T>(&sent, MESSAGE_BYTES_MAX);
        assert!(again.is_ok_and(|again| encode(&again) == sent), "GRISTMILL_SEED={seed}: {frame:02x?}");
    }
}

#[test]
fn a_frame_is_an_error_or_a_message() {
    let seed = std::env::var("GRISTMILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_170_919);
    let seconds = std::env::var("GRISTMILL_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let (mut chance, frames) = (Chance(seed), frames());
    let started = Instant::now();
    let mut tried = 0;
    while tried < FRAMES || seconds.is_some_and(|seconds| started.elapsed() < Duration::from_secs(seconds)) {
        let frame = mutated(&frames, &mut chance);
        let before = Instant::now();
        try_as::<ToPool>(&frame, seed);
        try_as::<ToWorker>(&frame, seed);
        try_as::<Outcome>(&frame, seed);
        try_as::<JobSpec>(&frame, seed);
        assert!(before.elapsed() < Duration::from_secs(2), "GRISTMILL_SEED={seed}: slow: {frame:02x?}");
        tried += 1;
    }
}

//! What this machine can do at all, measured in the same minute as everything else.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gristmill_proto::digest::Digest;
use gristmill_proto::key::WorkerKey;
use gristmill_proto::receipt::{sign_batch, signer_of_batch};

const FLUSHES: usize = 200;
const SIGNATURES: usize = 50;

/// Median time to append 128 bytes to a file and flush it.
pub(super) fn flush(dir: &Path) -> Result<Duration> {
    let path = dir.join("flushes");
    let mut file: File = OpenOptions::new().create(true).append(true).open(&path)?;
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        let started = Instant::now();
        file.write_all(&[7; 128])?;
        file.sync_data().with_context(|| format!("flushing {}", path.display()))?;
        times.push(started.elapsed());
    }
    std::fs::remove_file(&path)?;
    Ok(median(&mut times))
}

/// Median time to sign a batch, and to find its signer.
pub(super) fn signature() -> (Duration, Duration) {
    let key = WorkerKey::from_bytes(&[7; 32]).expect("a key");
    let (mut signing, mut checking) = (Vec::new(), Vec::new());
    for number in 0..SIGNATURES {
        let leaf = [Digest::of(&number.to_le_bytes())];
        let started = Instant::now();
        let signature = sign_batch(&leaf, &key);
        signing.push(started.elapsed());
        let started = Instant::now();
        assert_eq!(signer_of_batch(&leaf, &signature), Some(key.id()));
        checking.push(started.elapsed());
    }
    (median(&mut signing), median(&mut checking))
}

pub(super) fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

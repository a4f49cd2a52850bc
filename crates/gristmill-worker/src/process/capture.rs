//! Standard output and standard error: the head is kept and told while it grows, the rest counted.

use std::time::Duration;

use gristmill_proto::outcome::Log;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A stream longer than this is an attack on the worker's processor: an app that has much to say writes a file.
pub(crate) const STREAM_BYTES_MAX: u64 = 64 << 20;
/// What is new is told so often, and what a short attempt says only with its outcome.
pub(crate) const TELL_PAUSE: Duration = Duration::from_millis(500);
const CHUNK_BYTES: usize = 16 * 1024;

/// Reads to the end. Tells `flooded` and stops reading when the stream is too long.
pub(super) async fn capture(
    mut stream: Receiver,
    kept_bytes_max: usize,
    flooded: &Notify,
    tell: impl Fn(&[u8]),
) -> Log {
    let mut log = Log::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut told, mut tell_at) = (0, Instant::now() + TELL_PAUSE);
    loop {
        let read = tokio::select! {
            biased;
            () = tokio::time::sleep_until(tell_at), if told < log.head.len() => {
                tell(&log.head[told..]);
                (told, tell_at) = (log.head.len(), Instant::now() + TELL_PAUSE);
                continue;
            }
            read = stream.read(&mut chunk) => read,
        };
        // An error ends the stream like its end does: there is nothing more to have.
        let Ok(read @ 1..) = read else { return log };
        let kept = read.min(kept_bytes_max - log.head.len());
        log.head.extend_from_slice(&chunk[..kept]);
        log.total_bytes += read as u64;
        if log.total_bytes > STREAM_BYTES_MAX {
            flooded.notify_one();
            return log;
        }
    }
}

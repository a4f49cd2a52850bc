//! Standard output and standard error: the head is kept, the rest counted.

use gristmill_proto::outcome::Log;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Notify;

/// A stream longer than this is an attack on the worker's processor: an app that has much to say writes a file.
pub(crate) const STREAM_BYTES_MAX: u64 = 64 << 20;
const CHUNK_BYTES: usize = 16 * 1024;

/// Reads to the end. Tells `flooded` and stops reading when the stream is too long.
pub(super) async fn capture(mut stream: Receiver, kept_bytes_max: usize, flooded: &Notify) -> Log {
    let mut log = Log::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    // An error ends the stream like its end does: there is nothing more to have.
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        let kept = read.min(kept_bytes_max - log.head.len());
        log.head.extend_from_slice(&chunk[..kept]);
        log.total_bytes += read as u64;
        if log.total_bytes > STREAM_BYTES_MAX {
            flooded.notify_one();
            break;
        }
    }
    log
}

//! The app's channel, descriptor 3: lines of JSON. Whatever is not a line we know is skipped.

use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio_util::sync::CancellationToken;

const LINE_BYTES_MAX: usize = 4096;
/// A chatty app is read slowly, and waits for us when the pipe is full.
const PAUSE: Duration = Duration::from_millis(50);
const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Line {
    /// Work units done since the start.
    Progress { done: u64 },
}

/// Reads to the end and returns the last count. Reads without pauses once everyone who could write is `dead`.
pub(super) async fn follow(mut channel: Receiver, report: impl Fn(u64), dead: &CancellationToken) -> u64 {
    let mut lines = Lines::default();
    let mut last = 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(read @ 1..) = channel.read(&mut chunk).await {
        if let Some(Line::Progress { done }) = lines.feed(&chunk[..read]).pop() {
            last = done;
            report(done);
        }
        // A full pipe after the death is the last.
        let _ = tokio::time::timeout(PAUSE, dead.cancelled()).await;
    }
    last
}

/// Cuts a stream into lines, without keeping more than one line of allowed length.
#[derive(Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
    /// Inside a line that is too long.
    skipping: bool,
}

impl Lines {
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut found = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, complete) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            if self.begun.len() + text.len() > LINE_BYTES_MAX {
                self.skipping = true;
                self.begun.clear();
            }
            if !self.skipping {
                self.begun.extend_from_slice(text);
            }
            if complete {
                if !self.skipping {
                    found.extend(serde_json::from_slice::<Line>(&self.begun).ok());
                }
                self.begun.clear();
                self.skipping = false;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pieces: &[&[u8]]) -> Vec<u64> {
        let mut lines = Lines::default();
        let found = pieces.iter().flat_map(|piece| lines.feed(piece));
        found.map(|Line::Progress { done }| done).collect()
    }

    #[test]
    fn lines_may_come_in_pieces() {
        assert_eq!(
            counts(&[b"{\"type\":\"progress\",\"do", b"ne\":7}\n{\"type\":\"progress\",\"done\":8}\n{"]),
            [7, 8]
        );
    }

    #[test]
    fn garbage_is_skipped() {
        let good = b"{\"type\":\"progress\",\"done\":1}\n";
        assert_eq!(counts(&[b"\xff\0\n\n[1]\n{\"type\":\"other\"}\n{\"type\":\"progress\",\"done\":-1}\n", good]), [1]);
    }

    #[test]
    fn a_line_too_long_is_skipped_to_its_end() {
        let mut long = b"{\"type\":\"progress\",\"done\":1,\"x\":\"".to_vec();
        long.resize(LINE_BYTES_MAX + 1, b'x');
        assert_eq!(counts(&[&long, b"\"}\n{\"type\":\"progress\",\"done\":2}\n"]), [2]);
        let mut endless = Lines::default();
        for _ in 0..1000 {
            assert_eq!(endless.feed(&[b'x'; 1000]), []);
        }
        assert!(endless.begun.capacity() <= 2 * LINE_BYTES_MAX);
    }
}

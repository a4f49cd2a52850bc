//! The append-only file that a chain is read back from.
//!
//! One frame is one batch of changes, written with one write and made durable with one flush before anybody hears of it.
//! The next frame is written only after that, so a bad frame is a torn tail exactly when no good one follows: such a tail
//! was acknowledged to nobody and is cut off. Anything else is damage that the reader reports and leaves as it is.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use alloy_rlp::{Encodable, Header};

use super::change::Change;

const MAGIC: &[u8; 16] = b"gristmill chain\n";
/// Length of the payload, its complement, CRC-32 of the payload; all little-endian.
const FRAME_HEADER_BYTES: usize = 12;

#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    len: u64,
    /// Set when the file may not be what `len` says; nothing is appended any more.
    broken: bool,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot {doing} {}", .path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not a journal of a gristmill chain", .path.display())]
    Foreign { path: PathBuf },
    #[error("{} is damaged at offset {offset}: later parts of it are intact, so this is not an interrupted write", .path.display())]
    Damaged { path: PathBuf, offset: u64 },
    #[error("{} holds something unknown at offset {offset}: was it written by a newer gristmill?", .path.display())]
    Unreadable { path: PathBuf, offset: u64, source: alloy_rlp::Error },
}

/// What a reader does with each batch of changes, in order.
pub(crate) type Visit<'a, E> = &'a mut dyn FnMut(Vec<Change>) -> Result<(), E>;

impl Journal {
    /// Opens or creates the journal and hands over what it holds. A torn tail is cut off.
    pub(crate) fn open<E: From<JournalError>>(path: &Path, visit: Visit<'_, E>) -> Result<Self, E> {
        let failed = |doing| move |source| JournalError::Io { doing, path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(failed("open"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read"))?;
        let good = scan(path, &bytes, visit)?;
        if good < bytes.len() {
            tracing::warn!(path = %path.display(), offset = good, bytes = bytes.len() - good, "cut off a torn write");
        }
        let mut journal = Self { path: path.to_owned(), file, len: good as u64, broken: false };
        if good < bytes.len() || good < MAGIC.len() {
            journal.repair().map_err(failed("repair"))?;
        }
        Ok(journal)
    }

    /// Cuts the file to its good part and makes that, and the file's name, durable.
    fn repair(&mut self) -> io::Result<()> {
        if self.len < MAGIC.len() as u64 {
            self.file.set_len(0)?;
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(MAGIC)?;
            self.len = MAGIC.len() as u64;
        } else {
            self.file.set_len(self.len)?;
            self.file.seek(SeekFrom::Start(self.len))?;
        }
        self.file.sync_all()?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn on(path: PathBuf, file: File) -> Self {
        Self { path, file, len: 0, broken: false }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Makes a batch durable. If that fails, the journal is as before.
    pub(crate) fn append(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        let failed = |doing, source| JournalError::Io { doing, path: self.path.clone(), source };
        if self.broken {
            return Err(failed("write to", io::Error::other("an earlier write failed and could not be undone")));
        }
        let frame = encode_frame(&encode_batch(changes));
        if let Err(source) = self.file.write_all(&frame) {
            let undone = self.file.set_len(self.len).and_then(|()| self.file.seek(SeekFrom::Start(self.len)));
            self.broken = undone.is_err();
            return Err(failed("write to", source));
        }
        if let Err(source) = self.file.sync_data() {
            // After a failed flush nobody can tell what the disk holds.
            self.broken = true;
            return Err(failed("flush", source));
        }
        self.len += frame.len() as u64;
        Ok(())
    }
}

/// Hands over what a journal's bytes hold and returns the length of their good part; the rest is a torn write.
pub(super) fn scan<E: From<JournalError>>(path: &Path, bytes: &[u8], visit: Visit<'_, E>) -> Result<usize, E> {
    if !bytes.starts_with(MAGIC) && !MAGIC.starts_with(bytes) {
        return Err(JournalError::Foreign { path: path.to_owned() }.into());
    }
    let mut good = MAGIC.len().min(bytes.len());
    while let Some(frame) = Frame::at(bytes, good) {
        let unreadable = |source| JournalError::Unreadable { path: path.to_owned(), offset: good as u64, source };
        visit(decode_batch(frame.payload).map_err(unreadable)?)?;
        good = frame.end;
    }
    if (good + 1..bytes.len()).any(|offset| Frame::at(bytes, offset).is_some()) {
        return Err(JournalError::Damaged { path: path.to_owned(), offset: good as u64 }.into());
    }
    Ok(good)
}

struct Frame<'a> {
    payload: &'a [u8],
    end: usize,
}

impl<'a> Frame<'a> {
    fn at(bytes: &'a [u8], offset: usize) -> Option<Self> {
        let header = bytes.get(offset..offset + FRAME_HEADER_BYTES)?;
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let (len, complement, crc) = (word(0), word(4), word(8));
        if complement != !len {
            return None;
        }
        let start = offset + FRAME_HEADER_BYTES;
        let end = start.checked_add(len as usize)?;
        let payload = bytes.get(start..end)?;
        (crc32fast::hash(payload) == crc).then_some(Self { payload, end })
    }
}

fn encode_frame(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a batch is limited to far below 4 GiB");
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
    frame.extend_from_slice(&len.to_le_bytes());
    frame.extend_from_slice(&(!len).to_le_bytes());
    frame.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn encode_batch(changes: &[Change]) -> Vec<u8> {
    let mut payload = Vec::new();
    for change in changes {
        change.to_bytes().as_slice().encode(&mut payload);
    }
    payload
}

fn decode_batch(mut payload: &[u8]) -> alloy_rlp::Result<Vec<Change>> {
    let mut changes = Vec::new();
    while !payload.is_empty() {
        changes.push(Change::from_bytes(Header::decode_bytes(&mut payload, false)?)?);
    }
    Ok(changes)
}

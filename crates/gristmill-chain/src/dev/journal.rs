//! The append-only file that a chain is read back from.
//!
//! One frame is one batch of changes, written with one write and made durable with one flush before anybody hears of it.
//! The next frame is written only after that, so a bad frame is a torn tail exactly when no good one follows: such a tail
//! was acknowledged to nobody and is cut off. Anything else is damage that the reader reports and leaves as it is.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use alloy_rlp::{Encodable, Header, RlpDecodable, RlpEncodable};

use super::change::Change;

const MAGIC: &[u8; 16] = b"gristmill chain\n";
/// Length of the payload, its complement, CRC-32 of the payload; all little-endian.
const FRAME_HEADER_BYTES: usize = 12;

pub(crate) struct Journal {
    path: PathBuf,
    disk: Box<dyn Disk>,
    len: u64,
    /// Where the last frame begins.
    last: u64,
    /// Set when the file may not be what `len` says; nothing is appended any more.
    broken: bool,
}

/// What the journal needs of a file. Tests have one that fails on demand and knows what would survive a power cut.
pub(crate) trait Disk: Send {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn flush(&mut self) -> io::Result<()>;
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

/// Where one change is in the file, and the CRC-32 of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Span {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    crc: u32,
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
pub(crate) type Visit<'a, E> = &'a mut dyn FnMut(Vec<(Change, Span)>) -> Result<(), E>;

/// How far a journal is known already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Covered {
    pub(crate) len: u64,
    /// Where the last frame before `len` begins.
    pub(crate) last: u64,
}

impl Journal {
    /// Opens or creates the journal and hands over what it holds after `covered`. A torn tail is cut off.
    pub(crate) fn open<E: From<JournalError>>(path: &Path, covered: Covered, visit: Visit<'_, E>) -> Result<Self, E> {
        let failed = |doing| move |source| JournalError::Io { doing, path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(failed("open"))?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(covered.len)).and_then(|_| file.read_to_end(&mut bytes)).map_err(failed("read"))?;
        let good = scan(path, covered, &bytes, visit)?;
        let (len, end) = (good.len, covered.len + bytes.len() as u64);
        if len < end {
            tracing::warn!(path = %path.display(), offset = len, bytes = end - len, "cut off a torn write");
        }
        let mut journal = Self { path: path.to_owned(), disk: Box::new(file), len, last: good.last, broken: false };
        journal.settle(end).map_err(failed("repair"))?;
        Ok(journal)
    }

    /// Cuts the file to its good part and makes that, and the file's name, durable. Whoever was here before may have been
    /// killed between a write and its flush.
    fn settle(&mut self, end: u64) -> io::Result<()> {
        if self.len < MAGIC.len() as u64 {
            self.disk.cut(0)?;
            self.disk.append(MAGIC)?;
            self.len = MAGIC.len() as u64;
        } else if self.len < end {
            self.disk.cut(self.len)?;
        }
        self.disk.flush()?;
        match self.path.parent() {
            Some(folder) => sync_folder(folder),
            None => Ok(()),
        }
    }

    #[cfg(test)]
    pub(super) fn on(disk: impl Disk + 'static) -> Self {
        Self { path: "test".into(), disk: Box::new(disk), len: 0, last: 0, broken: false }
    }

    pub(crate) fn covered(&self) -> Covered {
        Covered { len: self.len, last: self.last }
    }

    /// Makes a batch durable and says where its changes are. If that fails, the journal is as before.
    pub(crate) fn append(&mut self, changes: &[Change]) -> Result<Vec<Span>, JournalError> {
        let failed = |doing, source| JournalError::Io { doing, path: self.path.clone(), source };
        if self.broken {
            return Err(failed("write to", io::Error::other("an earlier write failed and could not be undone")));
        }
        let (payload, spans) = encode_batch(changes, self.len + FRAME_HEADER_BYTES as u64);
        let frame = encode_frame(&payload);
        if let Err(source) = self.disk.append(&frame) {
            self.broken = self.disk.cut(self.len).is_err();
            return Err(failed("write to", source));
        }
        if let Err(source) = self.disk.flush() {
            // After a failed flush nobody can tell what the disk holds.
            self.broken = true;
            return Err(failed("flush", source));
        }
        self.last = self.len;
        self.len += frame.len() as u64;
        Ok(spans)
    }
}

impl Disk for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.seek(SeekFrom::End(0))?;
        self.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

/// Makes a folder's list of files durable, where that is possible: Windows opens no folders.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Hands over what a journal's bytes after `covered` hold. Returns how far they are good; the rest is a torn write.
pub(super) fn scan<E: From<JournalError>>(
    path: &Path,
    covered: Covered,
    bytes: &[u8],
    visit: Visit<'_, E>,
) -> Result<Covered, E> {
    let start = if covered.len == 0 { MAGIC.len().min(bytes.len()) } else { 0 };
    if bytes[..start] != MAGIC[..start] {
        return Err(JournalError::Foreign { path: path.to_owned() }.into());
    }
    let (mut good, mut last) = (start, covered.last);
    let offset_of = |at: usize| covered.len + at as u64;
    while let Some(frame) = Frame::at(bytes, good) {
        let first = offset_of(good + FRAME_HEADER_BYTES);
        let unreadable = |source| JournalError::Unreadable { path: path.to_owned(), offset: offset_of(good), source };
        visit(decode_batch(frame.payload, first).map_err(unreadable)?)?;
        last = offset_of(good);
        good = frame.end;
    }
    if (good + 1..bytes.len()).any(|at| Frame::at(bytes, at).is_some()) {
        return Err(JournalError::Damaged { path: path.to_owned(), offset: offset_of(good) }.into());
    }
    Ok(Covered { len: offset_of(good), last })
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

/// The changes' bytes one after the other, each with its length; `first` is where the first byte will be in the file.
fn encode_batch(changes: &[Change], first: u64) -> (Vec<u8>, Vec<Span>) {
    let (mut payload, mut spans) = (Vec::new(), Vec::with_capacity(changes.len()));
    for change in changes {
        let bytes = change.to_bytes();
        bytes.as_slice().encode(&mut payload);
        let offset = first + (payload.len() - bytes.len()) as u64;
        spans.push(Span { offset, len: bytes.len() as u64, crc: crc32fast::hash(&bytes) });
    }
    (payload, spans)
}

fn decode_batch(payload: &[u8], first: u64) -> alloy_rlp::Result<Vec<(Change, Span)>> {
    let mut changes = Vec::new();
    let mut rest = payload;
    while !rest.is_empty() {
        let bytes = Header::decode_bytes(&mut rest, false)?;
        let offset = first + (payload.len() - rest.len() - bytes.len()) as u64;
        let span = Span { offset, len: bytes.len() as u64, crc: crc32fast::hash(bytes) };
        changes.push((Change::from_bytes(bytes)?, span));
    }
    Ok(changes)
}

/// Reads single changes back, for as long as they are not in memory.
#[derive(Debug)]
pub(crate) struct Archive {
    path: PathBuf,
    // Held for one read at a time; never across an await.
    file: Mutex<File>,
}

impl Archive {
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        let file =
            File::open(path).map_err(|source| JournalError::Io { doing: "open", path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    pub(crate) fn read(&self, span: Span) -> Result<Change, JournalError> {
        let path = || self.path.clone();
        let bytes = self.bytes(span.offset, span.len)?;
        if crc32fast::hash(&bytes) != span.crc {
            return Err(JournalError::Damaged { path: path(), offset: span.offset });
        }
        Change::from_bytes(&bytes).map_err(|source| JournalError::Unreadable {
            path: path(),
            offset: span.offset,
            source,
        })
    }

    /// The error for a span that holds something else than it should.
    pub(crate) fn damaged(&self, span: Span) -> JournalError {
        JournalError::Damaged { path: self.path.clone(), offset: span.offset }
    }

    /// Whether a frame begins at `covered.last` and ends at `covered.len`: enough to tell that nothing before was exchanged,
    /// since a frame's header has a checksum of what follows. Returns that header.
    pub(crate) fn last_header(&self, covered: Covered) -> Result<Vec<u8>, JournalError> {
        let header = self.bytes(covered.last, FRAME_HEADER_BYTES as u64)?;
        let len = u32::from_le_bytes(header[..4].try_into().expect("four bytes"));
        if covered.last + FRAME_HEADER_BYTES as u64 + u64::from(len) != covered.len {
            return Err(JournalError::Damaged { path: self.path.clone(), offset: covered.last });
        }
        Ok(header)
    }

    fn bytes(&self, offset: u64, len: u64) -> Result<Vec<u8>, JournalError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| (&mut *file).take(len).read_to_end(&mut bytes));
        match read {
            Ok(_) if bytes.len() as u64 == len => Ok(bytes),
            Ok(_) => Err(JournalError::Damaged { path: self.path.clone(), offset }),
            Err(source) => Err(JournalError::Io { doing: "read", path: self.path.clone(), source }),
        }
    }
}

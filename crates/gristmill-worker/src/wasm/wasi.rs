//! WASI preview 1, as far as it can be the same for every worker: files, arguments, environment, a clock that counts
//! what happens, and randomness from the task's seed. No sockets, no links, no host clock.
//!
//! Written here and not taken from wasmtime-wasi, which shows the host's time stamps, file numbers and folder order, and
//! counts no bytes. What a call makes the worker do is paid in fuel, or a module could have much done for little.

use std::collections::BTreeMap;

use wasmtime::{Caller, Extern, Linker};

use super::errno::Errno;
use super::files::{Kind, NodeId};
use super::state::{Handle, State};

const MODULE: &str = "wasi_snapshot_preview1";
/// Of fuel, for a call and for each byte that it moves.
const CALL_FUEL: u64 = 200;
const BYTES_PER_FUEL: u64 = 4;
/// Pieces of one read or write, and things waited for at once.
const PIECES_MAX: u32 = 1_024;
/// A path, or what is read or written by one call: a longer one is cut short, as WASI allows.
const PATH_BYTES_MAX: u32 = 4_096;
const CALL_BYTES_MAX: usize = 16 << 20;

const RIGHT_WRITE: u64 = 1 << 6;
const CREATE: u32 = 1;
const DIRECTORY: u32 = 2;
const EXCLUSIVE: u32 = 4;
const TRUNCATE: u32 = 8;
const APPEND: u32 = 1;

/// The module called `proc_exit`.
#[derive(Debug, thiserror::Error)]
#[error("exit status {0}")]
pub(super) struct Exited(pub(super) i32);

type Answer = wasmtime::Result<i32>;

/// A module's memory and its attempt's state.
struct Call<'a> {
    memory: &'a mut [u8],
    state: &'a mut State,
}

/// Pays for a call, does it, and answers with its error number.
fn call(caller: &mut Caller<'_, State>, work: impl FnOnce(&mut Call<'_>) -> Result<u64, Errno>) -> Answer {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        wasmtime::bail!("the module exports no memory")
    };
    let (memory, state) = memory.data_and_store_mut(&mut *caller);
    let (answer, bytes) = match work(&mut Call { memory, state }) {
        Ok(bytes) => (0, bytes),
        Err(errno) => (errno as i32, 0),
    };
    let fuel = caller.get_fuel()?;
    caller.set_fuel(fuel.saturating_sub(CALL_FUEL + bytes / BYTES_PER_FUEL))?;
    Ok(answer)
}

impl Call<'_> {
    fn bytes(&self, at: u32, length: u32) -> Result<&[u8], Errno> {
        let at = at as usize;
        self.memory.get(at..at.saturating_add(length as usize)).ok_or(Errno::Fault)
    }

    fn put(&mut self, at: u32, bytes: &[u8]) -> Result<(), Errno> {
        let at = at as usize;
        self.memory.get_mut(at..at.saturating_add(bytes.len())).ok_or(Errno::Fault)?.copy_from_slice(bytes);
        Ok(())
    }

    fn put_u32(&mut self, at: u32, value: u32) -> Result<(), Errno> {
        self.put(at, &value.to_le_bytes())
    }

    fn put_u64(&mut self, at: u32, value: u64) -> Result<(), Errno> {
        self.put(at, &value.to_le_bytes())
    }

    fn u32(&self, at: u32) -> Result<u32, Errno> {
        Ok(u32::from_le_bytes(self.bytes(at, 4)?.try_into().expect("four bytes")))
    }

    fn u64(&self, at: u32) -> Result<u64, Errno> {
        Ok(u64::from_le_bytes(self.bytes(at, 8)?.try_into().expect("eight bytes")))
    }

    fn path(&self, at: u32, length: u32) -> Result<String, Errno> {
        if length > PATH_BYTES_MAX {
            return Err(Errno::NameTooLong);
        }
        let text = std::str::from_utf8(self.bytes(at, length)?).map_err(|_| Errno::Inval)?;
        if text.contains('\0') { Err(Errno::Inval) } else { Ok(text.to_owned()) }
    }

    /// Address and length of each piece of a scattered buffer, as far as one call goes.
    fn pieces(&self, at: u32, count: u32) -> Result<Vec<(u32, u32)>, Errno> {
        if count > PIECES_MAX {
            return Err(Errno::Inval);
        }
        let (mut pieces, mut room) = (Vec::new(), u32::try_from(CALL_BYTES_MAX).expect("fits"));
        for number in 0..count {
            let piece = at.checked_add(8 * number).ok_or(Errno::Fault)?;
            let (start, length) = (self.u32(piece)?, self.u32(piece.checked_add(4).ok_or(Errno::Fault)?)?);
            let length = length.min(room);
            self.bytes(start, length)?;
            pieces.push((start, length));
            room -= length;
        }
        Ok(pieces)
    }

    fn gathered(&self, at: u32, count: u32) -> Result<Vec<u8>, Errno> {
        let mut data = Vec::new();
        for (start, length) in self.pieces(at, count)? {
            data.extend_from_slice(self.bytes(start, length)?);
        }
        Ok(data)
    }

    /// Texts one after another, and where each begins.
    fn put_texts(&mut self, texts: &[Vec<u8>], pointers: u32, mut at: u32) -> Result<u64, Errno> {
        let mut total = 0;
        for (pointer, text) in (0..).step_by(4).zip(texts) {
            self.put_u32(pointers.checked_add(pointer).ok_or(Errno::Fault)?, at)?;
            self.put(at, text)?;
            at = at.checked_add(u32::try_from(text.len()).map_err(|_| Errno::Fault)?).ok_or(Errno::Fault)?;
            total += text.len() as u64;
        }
        Ok(total)
    }

    fn put_sizes(&mut self, texts: &[Vec<u8>], count_at: u32, bytes_at: u32) -> Result<u64, Errno> {
        let bytes: usize = texts.iter().map(Vec::len).sum();
        self.put_u32(count_at, u32::try_from(texts.len()).map_err(|_| Errno::Inval)?)?;
        self.put_u32(bytes_at, u32::try_from(bytes).map_err(|_| Errno::Inval)?)?;
        Ok(0)
    }

    /// Reads at a place, or where the descriptor stands, which then moves on.
    fn read(&mut self, fd: u32, pieces: (u32, u32), place: Option<u64>, read_at: u32) -> Result<u64, Errno> {
        let pieces = self.pieces(pieces.0, pieces.1)?;
        let (node, start) = match *self.state.handle(fd)? {
            Handle::Stdin => {
                self.put_u32(read_at, 0)?;
                return Ok(0);
            }
            Handle::Node { node, at, read: true, .. } => (node, place.unwrap_or(at)),
            _ => return Err(Errno::BadF),
        };
        let mut total = 0_u64;
        for (address, length) in pieces {
            let (address, length) = (address as usize, length as usize);
            let offset = start.checked_add(total).ok_or(Errno::Inval)?;
            let read = self.state.files.read(node, offset, &mut self.memory[address..address + length])?;
            total += read as u64;
            if read < length {
                break;
            }
        }
        if let (None, Handle::Node { at, .. }) = (place, self.state.handle(fd)?) {
            *at += total;
        }
        self.put_u32(read_at, u32::try_from(total).expect("bounded by the pieces"))?;
        Ok(total)
    }

    fn write(&mut self, fd: u32, pieces: (u32, u32), place: Option<u64>, written_at: u32) -> Result<u64, Errno> {
        let data = self.gathered(pieces.0, pieces.1)?;
        match *self.state.handle(fd)? {
            Handle::Stdout => self.state.stdout.write(&data),
            Handle::Stderr => self.state.stderr.write(&data),
            Handle::Node { node, at, append, write: true, .. } => {
                if matches!(self.state.files.get(node).kind, Kind::Channel) {
                    self.state.report(&data);
                } else {
                    let start = if append { self.state.files.size(node) } else { place.unwrap_or(at) };
                    self.state.files.write(node, start, &data)?;
                    if let (None, Handle::Node { at, .. }) = (place, self.state.handle(fd)?) {
                        *at = start + data.len() as u64;
                    }
                }
            }
            _ => return Err(Errno::BadF),
        }
        self.put_u32(written_at, u32::try_from(data.len()).expect("bounded by the pieces"))?;
        Ok(data.len() as u64)
    }

    fn seek(&mut self, fd: u32, offset: i64, whence: u32, at: u32) -> Result<u64, Errno> {
        let node = self.state.node(fd).map_err(|_| Errno::SPipe)?;
        let size = self.state.files.size(node);
        let Handle::Node { at: place, .. } = self.state.handle(fd)? else { return Err(Errno::SPipe) };
        let base = match whence {
            0 => 0,
            1 => *place,
            2 => size,
            _ => return Err(Errno::Inval),
        };
        *place = base.checked_add_signed(offset).ok_or(Errno::Inval)?;
        let place = *place;
        self.put_u64(at, place)?;
        Ok(0)
    }

    fn open(&mut self, folder: u32, path: &str, how: Open, fd_at: u32) -> Result<u64, Errno> {
        let from = self.state.node(folder)?;
        let found = self.state.files.find(from, path)?;
        let node = match found.node {
            Some(_) if how.flags & CREATE != 0 && how.flags & EXCLUSIVE != 0 => return Err(Errno::Exist),
            Some(node) => node,
            None if how.flags & CREATE == 0 => return Err(Errno::NoEnt),
            None => {
                let (folder, name) = (found.folder, found.name.to_owned());
                self.state.files.make(folder, &name, Kind::Bytes(Vec::new()))?
            }
        };
        let is_folder = matches!(self.state.files.get(node).kind, Kind::Directory(_));
        if how.flags & DIRECTORY != 0 && !is_folder {
            return Err(Errno::NotDir);
        }
        if how.write && !is_folder && !self.state.files.is_writable(node) {
            return Err(Errno::RoFs);
        }
        if how.flags & TRUNCATE != 0 {
            self.state.files.resize(node, 0)?;
        }
        let append = how.append;
        let handle = Handle::Node { node, at: 0, append, read: true, write: how.write && !is_folder, shown_as: None };
        let fd = self.state.open(handle)?;
        self.put_u32(fd_at, fd)?;
        Ok(0)
    }

    fn put_filestat(&mut self, at: u32, node: Option<NodeId>) -> Result<u64, Errno> {
        let mut stat = [0; 64];
        let (number, size) = node.map_or((0, 0), |node| (u64::from(node.0), self.state.files.size(node)));
        stat[8..16].copy_from_slice(&number.to_le_bytes());
        stat[16] = node.map_or(CHARACTERS, |node| self.file_type(node));
        stat[24] = 1;
        stat[32..40].copy_from_slice(&size.to_le_bytes());
        self.put(at, &stat)?;
        Ok(64)
    }

    fn file_type(&self, node: NodeId) -> u8 {
        match self.state.files.get(node).kind {
            Kind::Directory(_) => FOLDER,
            Kind::Bytes(_) | Kind::Given(_) => REGULAR,
            Kind::Channel => CHARACTERS,
        }
    }

    /// As many entries of a folder as fit, beginning with the one of this number; the last may be cut.
    fn list(&mut self, fd: u32, buffer: u32, length: u32, cookie: u64, used_at: u32) -> Result<u64, Errno> {
        let node = self.state.node(fd)?;
        let length = length.min(1 << 20) as usize;
        let mut bytes = Vec::new();
        let Kind::Directory(entries) = &self.state.files.get(node).kind else { return Err(Errno::NotDir) };
        let dots = [(".", node), ("..", node)].into_iter();
        let all = dots.chain(entries.iter().map(|(name, id)| (name.as_str(), *id)));
        let skipped = usize::try_from(cookie).unwrap_or(usize::MAX);
        for (number, (name, id)) in all.enumerate().skip(skipped) {
            if bytes.len() >= length {
                break;
            }
            bytes.extend_from_slice(&(number as u64 + 1).to_le_bytes());
            bytes.extend_from_slice(&u64::from(id.0).to_le_bytes());
            bytes.extend_from_slice(&u32::try_from(name.len()).expect("names are short").to_le_bytes());
            bytes.extend_from_slice(&[self.file_type(id), 0, 0, 0]);
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes.truncate(length);
        self.put(buffer, &bytes)?;
        self.put_u32(used_at, u32::try_from(bytes.len()).expect("bounded by length"))?;
        // Skipping is work too.
        Ok(bytes.len() as u64 + 16 * skipped.min(super::files::NODES_MAX) as u64)
    }

    fn poll(&mut self, subscriptions: u32, events: u32, count: u32, happened_at: u32) -> Result<u64, Errno> {
        if count == 0 || count > PIECES_MAX {
            return Err(Errno::Inval);
        }
        let mut happened = Vec::new();
        let mut soonest: Option<(u64, u64)> = None;
        let now = self.state.monotonic_ns();
        for number in 0..count {
            let at = subscriptions.checked_add(48 * number).ok_or(Errno::Fault)?;
            self.bytes(at, 48)?;
            let user = self.u64(at)?;
            match self.bytes(at + 8, 1)?[0] {
                0 => {
                    let (clock, timeout, flags) = (self.u32(at + 16)?, self.u64(at + 24)?, self.bytes(at + 40, 1)?[0]);
                    let due = match (flags & 1, clock) {
                        (0, _) => now.saturating_add(timeout),
                        (_, 0) => timeout.saturating_sub(self.state.real_ns().saturating_sub(now)),
                        _ => timeout,
                    };
                    if soonest.is_none_or(|(known, _)| due < known) {
                        soonest = Some((due, user));
                    }
                }
                kind @ (1 | 2) => {
                    let fd = self.u32(at + 16)?;
                    let errno = self.state.handle(fd).err().map_or(0, |errno| errno as u16);
                    happened.push((user, errno, kind));
                }
                _ => return Err(Errno::Inval),
            }
        }
        // Files are always ready; only if none is waited for does time go on.
        if happened.is_empty()
            && let Some((due, user)) = soonest
        {
            self.state.sleep_until(due);
            happened.push((user, 0, 0));
        }
        for (number, (user, errno, kind)) in (0..).zip(&happened) {
            let mut event = [0; 32];
            event[..8].copy_from_slice(&user.to_le_bytes());
            event[8..10].copy_from_slice(&errno.to_le_bytes());
            event[10] = *kind;
            event[16] = 1;
            self.put(events.checked_add(32 * number).ok_or(Errno::Fault)?, &event)?;
        }
        self.put_u32(happened_at, u32::try_from(happened.len()).expect("bounded by count"))?;
        Ok(0)
    }
}

const CHARACTERS: u8 = 2;
const FOLDER: u8 = 3;
const REGULAR: u8 = 4;

#[derive(Clone, Copy)]
struct Open {
    flags: u32,
    append: bool,
    write: bool,
}

/// Everything a module may import.
pub(super) fn add_to(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    add_texts(linker)?;
    add_descriptors(linker)?;
    add_paths(linker)?;
    add_rest(linker)
}

type Module<'a> = Caller<'a, State>;

fn add_texts(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "args_get", |mut c: Module<'_>, pointers: u32, at: u32| {
        call(&mut c, |c| {
            let args = std::mem::take(&mut c.state.args);
            let put = c.put_texts(&args, pointers, at);
            c.state.args = args;
            put
        })
    })?;
    linker.func_wrap(MODULE, "args_sizes_get", |mut c: Module<'_>, count: u32, bytes: u32| {
        call(&mut c, |c| {
            let args = std::mem::take(&mut c.state.args);
            let put = c.put_sizes(&args, count, bytes);
            c.state.args = args;
            put
        })
    })?;
    linker.func_wrap(MODULE, "environ_get", |mut c: Module<'_>, pointers: u32, at: u32| {
        call(&mut c, |c| {
            let env = std::mem::take(&mut c.state.env);
            let put = c.put_texts(&env, pointers, at);
            c.state.env = env;
            put
        })
    })?;
    linker.func_wrap(MODULE, "environ_sizes_get", |mut c: Module<'_>, count: u32, bytes: u32| {
        call(&mut c, |c| {
            let env = std::mem::take(&mut c.state.env);
            let put = c.put_sizes(&env, count, bytes);
            c.state.env = env;
            put
        })
    })?;
    Ok(())
}

fn add_descriptors(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_read", |mut c: Module<'_>, fd: u32, at: u32, count: u32, read: u32| {
        call(&mut c, |c| c.read(fd, (at, count), None, read))
    })?;
    linker.func_wrap(
        MODULE,
        "fd_pread",
        |mut c: Module<'_>, fd: u32, at: u32, count: u32, place: u64, read: u32| {
            call(&mut c, |c| c.read(fd, (at, count), Some(place), read))
        },
    )?;
    linker.func_wrap(MODULE, "fd_write", |mut c: Module<'_>, fd: u32, at: u32, count: u32, written: u32| {
        call(&mut c, |c| c.write(fd, (at, count), None, written))
    })?;
    linker.func_wrap(
        MODULE,
        "fd_pwrite",
        |mut c: Module<'_>, fd: u32, at: u32, count: u32, place: u64, done: u32| {
            call(&mut c, |c| c.write(fd, (at, count), Some(place), done))
        },
    )?;
    linker.func_wrap(MODULE, "fd_seek", |mut c: Module<'_>, fd: u32, offset: i64, whence: u32, at: u32| {
        call(&mut c, |c| c.seek(fd, offset, whence, at))
    })?;
    linker
        .func_wrap(MODULE, "fd_tell", |mut c: Module<'_>, fd: u32, at: u32| call(&mut c, |c| c.seek(fd, 0, 1, at)))?;
    linker
        .func_wrap(MODULE, "fd_close", |mut c: Module<'_>, fd: u32| call(&mut c, |c| c.state.close(fd).map(|()| 0)))?;
    linker.func_wrap(MODULE, "fd_renumber", |mut c: Module<'_>, from: u32, to: u32| {
        call(&mut c, |c| {
            c.state.handle(to)?;
            let handle = *c.state.handle(from)?;
            if from != to {
                c.state.close(to)?;
                c.state.handles.remove(&from);
                c.state.handles.insert(to, handle);
            }
            Ok(0)
        })
    })?;
    linker.func_wrap(MODULE, "fd_fdstat_get", |mut c: Module<'_>, fd: u32, at: u32| {
        call(&mut c, |c| {
            let mut stat = [0; 24];
            let (kind, append) = match *c.state.handle(fd)? {
                Handle::Node { node, append, .. } => (c.file_type(node), append),
                _ => (CHARACTERS, false),
            };
            (stat[0], stat[2]) = (kind, u8::from(append));
            // What cannot be done is refused when it is tried.
            stat[8..24].fill(0xff);
            c.put(at, &stat)?;
            Ok(24)
        })
    })?;
    linker.func_wrap(MODULE, "fd_fdstat_set_flags", |mut c: Module<'_>, fd: u32, flags: u32| {
        call(&mut c, |c| {
            if let Handle::Node { append, .. } = c.state.handle(fd)? {
                *append = flags & APPEND != 0;
            }
            Ok(0)
        })
    })?;
    linker.func_wrap(MODULE, "fd_filestat_get", |mut c: Module<'_>, fd: u32, at: u32| {
        call(&mut c, |c| {
            let node = match *c.state.handle(fd)? {
                Handle::Node { node, .. } => Some(node),
                _ => None,
            };
            c.put_filestat(at, node)
        })
    })?;
    linker.func_wrap(MODULE, "fd_filestat_set_size", |mut c: Module<'_>, fd: u32, size: u64| {
        call(&mut c, |c| match *c.state.handle(fd)? {
            Handle::Node { node, write: true, .. } => c.state.files.resize(node, size).map(|()| size),
            _ => Err(Errno::BadF),
        })
    })?;
    linker.func_wrap(MODULE, "fd_allocate", |mut c: Module<'_>, fd: u32, at: u64, length: u64| {
        call(&mut c, |c| match *c.state.handle(fd)? {
            Handle::Node { node, write: true, .. } => {
                let end = at.checked_add(length).ok_or(Errno::FBig)?;
                if end > c.state.files.size(node) {
                    c.state.files.resize(node, end)?;
                }
                Ok(length)
            }
            _ => Err(Errno::BadF),
        })
    })?;
    linker.func_wrap(
        MODULE,
        "fd_readdir",
        |mut c: Module<'_>, fd: u32, at: u32, length: u32, from: u64, used: u32| {
            call(&mut c, |c| c.list(fd, at, length, from, used))
        },
    )?;
    linker.func_wrap(MODULE, "fd_prestat_get", |mut c: Module<'_>, fd: u32, at: u32| {
        call(&mut c, |c| {
            let Handle::Node { shown_as: Some(name), .. } = *c.state.handle(fd)? else { return Err(Errno::BadF) };
            c.put_u32(at, 0)?;
            c.put_u32(at.checked_add(4).ok_or(Errno::Fault)?, u32::try_from(name.len()).expect("names are short"))?;
            Ok(0)
        })
    })?;
    linker.func_wrap(MODULE, "fd_prestat_dir_name", |mut c: Module<'_>, fd: u32, at: u32, length: u32| {
        call(&mut c, |c| {
            let Handle::Node { shown_as: Some(name), .. } = *c.state.handle(fd)? else { return Err(Errno::BadF) };
            let name = &name.as_bytes()[..name.len().min(length as usize)];
            c.put(at, name)?;
            Ok(0)
        })
    })?;
    for name in ["fd_sync", "fd_datasync"] {
        linker.func_wrap(MODULE, name, |mut c: Module<'_>, fd: u32| call(&mut c, |c| c.state.handle(fd).map(|_| 0)))?;
    }
    linker.func_wrap(MODULE, "fd_advise", |mut c: Module<'_>, fd: u32, _: u64, _: u64, _: u32| {
        call(&mut c, |c| c.state.handle(fd).map(|_| 0))
    })?;
    linker.func_wrap(MODULE, "fd_filestat_set_times", |mut c: Module<'_>, fd: u32, _: u64, _: u64, _: u32| {
        call(&mut c, |c| c.state.handle(fd).map(|_| 0))
    })?;
    linker.func_wrap(MODULE, "fd_fdstat_set_rights", |mut c: Module<'_>, fd: u32, _: u64, _: u64| {
        call(&mut c, |c| c.state.handle(fd).map(|_| 0))
    })?;
    Ok(())
}

fn add_paths(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "path_open",
        |mut c: Module<'_>,
         folder: u32,
         _: u32,
         path: u32,
         length: u32,
         flags: u32,
         rights: u64,
         _: u64,
         fd_flags: u32,
         fd_at: u32| {
            call(&mut c, |c| {
                let path = c.path(path, length)?;
                let how = Open { flags, append: fd_flags & APPEND != 0, write: rights & RIGHT_WRITE != 0 };
                c.open(folder, &path, how, fd_at)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_filestat_get",
        |mut c: Module<'_>, folder: u32, _: u32, path: u32, length: u32, at: u32| {
            call(&mut c, |c| {
                let (path, from) = (c.path(path, length)?, c.state.node(folder)?);
                let node = c.state.files.find(from, &path)?.node.ok_or(Errno::NoEnt)?;
                c.put_filestat(at, Some(node))
            })
        },
    )?;
    linker.func_wrap(MODULE, "path_create_directory", |mut c: Module<'_>, folder: u32, path: u32, length: u32| {
        call(&mut c, |c| {
            let (path, from) = (c.path(path, length)?, c.state.node(folder)?);
            let found = c.state.files.find(from, &path)?;
            if found.node.is_some() {
                return Err(Errno::Exist);
            }
            c.state.files.make(found.folder, found.name, Kind::Directory(BTreeMap::new())).map(|_| 0)
        })
    })?;
    for (name, directory) in [("path_remove_directory", true), ("path_unlink_file", false)] {
        linker.func_wrap(MODULE, name, move |mut c: Module<'_>, folder: u32, path: u32, length: u32| {
            call(&mut c, |c| {
                let (path, from) = (c.path(path, length)?, c.state.node(folder)?);
                let found = c.state.files.find(from, &path)?;
                c.state.files.remove(found.folder, found.name, directory).map(|()| 0)
            })
        })?;
    }
    linker.func_wrap(
        MODULE,
        "path_rename",
        |mut c: Module<'_>, folder: u32, path: u32, length: u32, to_folder: u32, to_path: u32, to_length: u32| {
            call(&mut c, |c| {
                let (path, from) = (c.path(path, length)?, c.state.node(folder)?);
                let (to_path, to_from) = (c.path(to_path, to_length)?, c.state.node(to_folder)?);
                let (found, to) = (c.state.files.find(from, &path)?, c.state.files.find(to_from, &to_path)?);
                c.state.files.rename((found.folder, found.name), (to.folder, to.name)).map(|()| 0)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_filestat_set_times",
        |mut c: Module<'_>, folder: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32| {
            call(&mut c, |c| c.state.node(folder).map(|_| 0))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_link",
        |mut c: Module<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
            call(&mut c, |_| Err(Errno::NotSup))
        },
    )?;
    linker.func_wrap(MODULE, "path_symlink", |mut c: Module<'_>, _: u32, _: u32, _: u32, _: u32, _: u32| {
        call(&mut c, |_| Err(Errno::NotSup))
    })?;
    linker.func_wrap(
        MODULE,
        "path_readlink",
        |mut c: Module<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| call(&mut c, |_| Err(Errno::Inval)),
    )?;
    Ok(())
}

fn add_rest(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "clock_time_get", |mut c: Module<'_>, clock: u32, _: u64, at: u32| {
        call(&mut c, |c| {
            let time = if clock == 0 { c.state.real_ns() } else { c.state.monotonic_ns() };
            c.put_u64(at, time)?;
            Ok(0)
        })
    })?;
    linker.func_wrap(MODULE, "clock_res_get", |mut c: Module<'_>, _: u32, at: u32| {
        call(&mut c, |c| c.put_u64(at, 1_000).map(|()| 0))
    })?;
    linker.func_wrap(MODULE, "random_get", |mut c: Module<'_>, at: u32, length: u32| {
        call(&mut c, |c| {
            let (at, length) = (at as usize, length as usize);
            if length > CALL_BYTES_MAX {
                return Err(Errno::Inval);
            }
            let bytes = c.memory.get_mut(at..at.saturating_add(length)).ok_or(Errno::Fault)?;
            c.state.random.fill(bytes);
            // A hash costs more than a copy.
            Ok(8 * length as u64)
        })
    })?;
    linker.func_wrap(MODULE, "poll_oneoff", |mut c: Module<'_>, from: u32, to: u32, count: u32, happened: u32| {
        call(&mut c, |c| c.poll(from, to, count, happened))
    })?;
    linker.func_wrap(MODULE, "proc_exit", |_: Module<'_>, status: i32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Exited(status)))
    })?;
    linker.func_wrap(MODULE, "proc_raise", |mut c: Module<'_>, _: u32| call(&mut c, |_| Err(Errno::NotSup)))?;
    linker.func_wrap(MODULE, "sched_yield", |mut c: Module<'_>| call(&mut c, |_| Ok(0)))?;
    linker.func_wrap(MODULE, "sock_accept", |mut c: Module<'_>, _: u32, _: u32, _: u32| {
        call(&mut c, |_| Err(Errno::NotSup))
    })?;
    linker.func_wrap(MODULE, "sock_recv", |mut c: Module<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
        call(&mut c, |_| Err(Errno::NotSup))
    })?;
    linker.func_wrap(MODULE, "sock_send", |mut c: Module<'_>, _: u32, _: u32, _: u32, _: u32, _: u32| {
        call(&mut c, |_| Err(Errno::NotSup))
    })?;
    linker
        .func_wrap(MODULE, "sock_shutdown", |mut c: Module<'_>, _: u32, _: u32| call(&mut c, |_| Err(Errno::NotSup)))?;
    Ok(())
}

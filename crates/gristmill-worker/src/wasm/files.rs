//! The file system of one attempt. What the module writes lies in memory and is counted; what it is given is read from
//! the worker's checked files; nothing else of the host has a name here. There are no links, clocks or numbers that
//! could differ between workers, and folders are listed in alphabetical order.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::errno::Errno;

/// Files and folders an attempt may have at once, those it was given included.
pub(super) const NODES_MAX: usize = 16_384;
const NAME_BYTES_MAX: usize = 255;
const PARTS_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u32);

#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    parent: NodeId,
    /// It has a name still.
    named: bool,
    /// Descriptors that hold it.
    open: u32,
    writable: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    Directory(BTreeMap<String, NodeId>),
    Bytes(Vec<u8>),
    Given(Given),
    /// What is written here are reports to the worker.
    Channel,
}

/// A file of the worker, read only; opened when the module first looks at it.
#[derive(Debug)]
pub(super) struct Given {
    path: PathBuf,
    opened: OnceLock<Option<(File, u64)>>,
}

impl Given {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, opened: OnceLock::new() }
    }

    fn open(&self) -> Option<&(File, u64)> {
        let open = || {
            let file = File::open(&self.path).ok()?;
            let size = file.metadata().ok()?.len();
            Some((file, size))
        };
        self.opened.get_or_init(open).as_ref()
    }
}

#[derive(Debug)]
pub(super) struct Files {
    nodes: BTreeMap<NodeId, Node>,
    next: u32,
    bytes: u64,
    bytes_max: u64,
    /// A write was refused for want of room.
    pub(super) full: bool,
}

impl Files {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { nodes: BTreeMap::new(), next: 0, bytes: 0, bytes_max, full: false }
    }

    /// A folder without a parent.
    pub(super) fn root(&mut self, writable: bool) -> NodeId {
        let id = NodeId(self.next);
        self.next += 1;
        let kind = Kind::Directory(BTreeMap::new());
        self.nodes.insert(id, Node { kind, parent: id, named: true, open: 0, writable });
        id
    }

    /// Puts something where the worker wants it, with the folders above.
    pub(super) fn give(&mut self, root: NodeId, path: &str, kind: Kind) -> Result<(), Errno> {
        let (mut at, mut parts) = (root, path.split('/').peekable());
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return self.add(at, part, kind, false).map(drop);
            }
            at = match self.child(at, part)? {
                Some(child) => child,
                None => self.add(at, part, Kind::Directory(BTreeMap::new()), false)?,
            };
        }
        Err(Errno::Inval)
    }

    pub(super) fn get(&self, id: NodeId) -> &Node {
        &self.nodes[&id]
    }

    pub(super) fn hold(&mut self, id: NodeId) {
        self.node(id).open += 1;
    }

    pub(super) fn release(&mut self, id: NodeId) {
        self.node(id).open -= 1;
        self.forget(id);
    }

    /// Where a path leads from a folder, which it cannot leave upwards; the last part may be missing.
    pub(super) fn find<'a>(&self, from: NodeId, path: &'a str) -> Result<Found<'a>, Errno> {
        if path.starts_with('/') {
            return Err(Errno::NotCapable);
        }
        if path.is_empty() {
            return Err(Errno::NoEnt);
        }
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.len() > PARTS_MAX || parts.iter().any(|part| part.len() > NAME_BYTES_MAX) {
            return Err(Errno::NameTooLong);
        }
        let (mut at, mut depth) = (from, 0_usize);
        for (number, part) in parts.iter().enumerate() {
            let last = number + 1 == parts.len();
            if *part == ".." {
                depth = depth.checked_sub(1).ok_or(Errno::NotCapable)?;
                at = self.get(at).parent;
                continue;
            }
            match self.child(at, part)? {
                Some(child) => at = child,
                None if last => return Ok(Found { folder: at, name: last_part(path), node: None }),
                None => return Err(Errno::NoEnt),
            }
            depth += 1;
        }
        // What lies above an opened folder is not looked at: it may be gone.
        let folder = if at == from { at } else { self.get(at).parent };
        Ok(Found { folder, name: last_part(path), node: Some(at) })
    }

    fn child(&self, folder: NodeId, name: &str) -> Result<Option<NodeId>, Errno> {
        match &self.get(folder).kind {
            Kind::Directory(entries) => Ok(entries.get(name).copied()),
            _ => Err(Errno::NotDir),
        }
    }

    /// Makes a new file or folder.
    pub(super) fn make(&mut self, folder: NodeId, name: &str, kind: Kind) -> Result<NodeId, Errno> {
        if !self.get(folder).writable {
            return Err(Errno::RoFs);
        }
        if !self.get(folder).named {
            return Err(Errno::NoEnt);
        }
        if matches!(name, "" | "." | "..") {
            return Err(Errno::Inval);
        }
        self.add(folder, name, kind, true)
    }

    fn add(&mut self, folder: NodeId, name: &str, kind: Kind, writable: bool) -> Result<NodeId, Errno> {
        if self.nodes.len() >= NODES_MAX {
            self.full = true;
            return Err(Errno::NoSpc);
        }
        let id = NodeId(self.next);
        self.next = self.next.checked_add(1).ok_or(Errno::NoSpc)?;
        match &mut self.node(folder).kind {
            Kind::Directory(entries) if entries.contains_key(name) => return Err(Errno::Exist),
            Kind::Directory(entries) => entries.insert(name.to_owned(), id),
            _ => return Err(Errno::NotDir),
        };
        self.nodes.insert(id, Node { kind, parent: folder, named: true, open: 0, writable });
        Ok(id)
    }

    pub(super) fn remove(&mut self, folder: NodeId, name: &str, directory: bool) -> Result<(), Errno> {
        let id = self.child(folder, name)?.ok_or(Errno::NoEnt)?;
        if !self.get(folder).writable || !self.get(id).writable {
            return Err(Errno::RoFs);
        }
        match (&self.get(id).kind, directory) {
            (Kind::Directory(entries), true) if !entries.is_empty() => return Err(Errno::NotEmpty),
            (Kind::Directory(_), false) => return Err(Errno::IsDir),
            (Kind::Directory(_), true) => {}
            (_, true) => return Err(Errno::NotDir),
            (_, false) => {}
        }
        self.unname(folder, name, id);
        Ok(())
    }

    fn unname(&mut self, folder: NodeId, name: &str, id: NodeId) {
        if let Kind::Directory(entries) = &mut self.node(folder).kind {
            entries.remove(name);
        }
        self.node(id).named = false;
        self.forget(id);
    }

    /// Drops what has neither a name nor a descriptor.
    fn forget(&mut self, id: NodeId) {
        let node = self.get(id);
        if node.named || node.open > 0 {
            return;
        }
        if let Some(Node { kind: Kind::Bytes(bytes), .. }) = self.nodes.remove(&id) {
            self.bytes -= bytes.len() as u64;
        }
    }

    pub(super) fn rename(&mut self, from: (NodeId, &str), to: (NodeId, &str)) -> Result<(), Errno> {
        let id = self.child(from.0, from.1)?.ok_or(Errno::NoEnt)?;
        if !self.get(from.0).writable || !self.get(to.0).writable || !self.get(id).writable {
            return Err(Errno::RoFs);
        }
        if !self.get(to.0).named {
            return Err(Errno::NoEnt);
        }
        if matches!(to.1, "" | "." | "..") {
            return Err(Errno::Inval);
        }
        // A folder cannot move into itself.
        let mut above = to.0;
        while self.get(above).parent != above {
            if above == id {
                return Err(Errno::Inval);
            }
            above = self.get(above).parent;
        }
        match self.child(to.0, to.1)? {
            Some(other) if other == id => return Ok(()),
            Some(other) => {
                let is_folder = |id| matches!(self.get(id).kind, Kind::Directory(_));
                if is_folder(id) != is_folder(other) {
                    return Err(if is_folder(other) { Errno::IsDir } else { Errno::NotDir });
                }
                self.remove(to.0, to.1, is_folder(other))?;
            }
            None => {}
        }
        if let Kind::Directory(entries) = &mut self.node(from.0).kind {
            entries.remove(from.1);
        }
        if let Kind::Directory(entries) = &mut self.node(to.0).kind {
            entries.insert(to.1.to_owned(), id);
        }
        self.node(id).parent = to.0;
        Ok(())
    }

    pub(super) fn read(&self, id: NodeId, at: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        match &self.get(id).kind {
            Kind::Bytes(bytes) => {
                let start = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let count = buffer.len().min(bytes.len() - start);
                buffer[..count].copy_from_slice(&bytes[start..start + count]);
                Ok(count)
            }
            // All of it, whatever the system gives at a time: a short read would be a difference between workers.
            Kind::Given(given) => {
                let (file, size) = given.open().ok_or(Errno::Io)?;
                let count = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX).min(buffer.len());
                file.read_exact_at(&mut buffer[..count], at).map_err(|_| Errno::Io)?;
                Ok(count)
            }
            Kind::Channel => Ok(0),
            Kind::Directory(_) => Err(Errno::IsDir),
        }
    }

    pub(super) fn write(&mut self, id: NodeId, at: u64, data: &[u8]) -> Result<(), Errno> {
        let end = at.checked_add(data.len() as u64).ok_or(Errno::FBig)?;
        if end > self.size(id) {
            self.resize(id, end)?;
        }
        match &mut self.node(id).kind {
            Kind::Bytes(bytes) => {
                let start = usize::try_from(at).map_err(|_| Errno::FBig)?;
                bytes[start..start + data.len()].copy_from_slice(data);
                Ok(())
            }
            Kind::Directory(_) => Err(Errno::IsDir),
            Kind::Given(_) | Kind::Channel => Err(Errno::RoFs),
        }
    }

    pub(super) fn resize(&mut self, id: NodeId, size: u64) -> Result<(), Errno> {
        let (bytes_then, bytes_max) = (self.bytes, self.bytes_max);
        let Kind::Bytes(bytes) = &mut self.node(id).kind else { return Err(Errno::RoFs) };
        let bytes_now = (bytes_then - bytes.len() as u64).saturating_add(size);
        if bytes_now > bytes_max {
            self.full = true;
            return Err(Errno::NoSpc);
        }
        bytes.resize(usize::try_from(size).map_err(|_| Errno::FBig)?, 0);
        self.bytes = bytes_now;
        Ok(())
    }

    pub(super) fn size(&self, id: NodeId) -> u64 {
        match &self.get(id).kind {
            Kind::Bytes(bytes) => bytes.len() as u64,
            Kind::Given(given) => given.open().map_or(0, |(_, size)| *size),
            Kind::Directory(_) | Kind::Channel => 0,
        }
    }

    pub(super) fn is_writable(&self, id: NodeId) -> bool {
        self.get(id).writable || matches!(self.get(id).kind, Kind::Channel)
    }

    /// Every file below a folder that the module made, by its path.
    pub(super) fn take_below(&mut self, root: NodeId) -> Vec<(String, Vec<u8>)> {
        let (mut found, mut folders) = (Vec::new(), vec![(String::new(), root)]);
        while let Some((prefix, folder)) = folders.pop() {
            let Kind::Directory(entries) = &self.get(folder).kind else { continue };
            let entries: Vec<(String, NodeId)> =
                entries.iter().map(|(name, id)| (format!("{prefix}{name}"), *id)).collect();
            for (path, id) in entries {
                match &mut self.node(id).kind {
                    Kind::Directory(_) => folders.push((format!("{path}/"), id)),
                    Kind::Bytes(bytes) => found.push((path, std::mem::take(bytes))),
                    Kind::Given(_) | Kind::Channel => {}
                }
            }
        }
        found.sort();
        found
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node lives while it has a name or a descriptor")
    }
}

fn last_part(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// Where a path leads.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) folder: NodeId,
    pub(super) name: &'a str,
    pub(super) node: Option<NodeId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (Files, NodeId) {
        let mut files = Files::new(100);
        let root = files.root(true);
        (files, root)
    }

    #[test]
    fn no_path_leads_out() {
        let (mut files, root) = files();
        let folder = files.make(root, "a", Kind::Directory(BTreeMap::new())).unwrap();
        for path in ["/etc/passwd", "..", "a/../..", "../x", "a/../../x"] {
            assert_eq!(files.find(root, path).err(), Some(Errno::NotCapable), "{path}");
        }
        assert_eq!(files.find(folder, "..").err(), Some(Errno::NotCapable), "an opened folder is a border too");
        assert_eq!(files.find(root, "a/.././a/").unwrap().node, Some(folder));
        assert_eq!(files.find(root, &"x/".repeat(PARTS_MAX + 1)).err(), Some(Errno::NameTooLong));
        assert_eq!(files.find(root, &"x".repeat(NAME_BYTES_MAX + 1)).err(), Some(Errno::NameTooLong));
    }

    #[test]
    fn bytes_are_counted_until_nobody_has_them() {
        let (mut files, root) = files();
        let file = files.make(root, "f", Kind::Bytes(Vec::new())).unwrap();
        assert_eq!(files.write(file, 50, &[1; 50]), Ok(()));
        assert_eq!(files.write(file, 99, &[1; 2]), Err(Errno::NoSpc));
        assert!(files.full);
        files.hold(file);
        assert_eq!(files.remove(root, "f", false), Ok(()));
        let other = files.make(root, "g", Kind::Bytes(Vec::new())).unwrap();
        assert_eq!(files.write(other, 0, &[1]), Err(Errno::NoSpc), "a descriptor still holds them");
        files.release(file);
        assert_eq!(files.write(other, 0, &[1; 100]), Ok(()));
        assert_eq!(files.write(other, u64::MAX, &[1]), Err(Errno::FBig));
    }

    #[test]
    fn files_that_come_and_go_leave_nothing() {
        let (mut files, root) = files();
        for _ in 0..2 * NODES_MAX {
            files.make(root, "f", Kind::Bytes(Vec::new())).unwrap();
            files.remove(root, "f", false).unwrap();
        }
        for number in 0..NODES_MAX - 1 {
            files.make(root, &number.to_string(), Kind::Bytes(Vec::new())).unwrap();
        }
        assert_eq!(files.make(root, "more", Kind::Bytes(Vec::new())), Err(Errno::NoSpc));
    }

    #[test]
    fn what_is_given_stays() {
        let (mut files, _) = files();
        let given = files.root(false);
        files.give(given, "a/b", Kind::Bytes(vec![1])).unwrap();
        let folder = files.find(given, "a").unwrap().node.unwrap();
        assert_eq!(files.make(given, "x", Kind::Bytes(vec![])), Err(Errno::RoFs));
        assert_eq!(files.make(folder, "x", Kind::Bytes(vec![])), Err(Errno::RoFs));
        assert_eq!(files.remove(folder, "b", false), Err(Errno::RoFs));
        assert_eq!(files.rename((folder, "b"), (given, "b")), Err(Errno::RoFs));
    }

    #[test]
    fn a_folder_that_is_gone_stays_empty() {
        let (mut files, root) = files();
        let a = files.make(root, "a", Kind::Directory(BTreeMap::new())).unwrap();
        let b = files.make(a, "b", Kind::Directory(BTreeMap::new())).unwrap();
        files.hold(b);
        files.remove(a, "b", true).unwrap();
        files.remove(root, "a", true).unwrap();
        assert_eq!(files.make(b, "x", Kind::Bytes(vec![])), Err(Errno::NoEnt));
        let found = files.find(b, ".").unwrap();
        assert_eq!(files.remove(found.folder, found.name, true), Err(Errno::NoEnt));
        files.make(root, "f", Kind::Bytes(vec![])).unwrap();
        assert_eq!(files.rename((root, "f"), (b, "f")), Err(Errno::NoEnt));
        files.release(b);
    }

    #[test]
    fn a_folder_does_not_move_into_itself() {
        let (mut files, root) = files();
        let one = files.make(root, "one", Kind::Directory(BTreeMap::new())).unwrap();
        let two = files.make(one, "two", Kind::Directory(BTreeMap::new())).unwrap();
        assert_eq!(files.rename((root, "one"), (two, "x")), Err(Errno::Inval));
        let file = files.make(root, "f", Kind::Bytes(vec![])).unwrap();
        files.write(file, 0, b"abc").unwrap();
        assert_eq!(files.rename((root, "f"), (two, "g")), Ok(()));
        assert_eq!(files.take_below(root), [("one/two/g".to_owned(), b"abc".to_vec())]);
    }
}

//! What an attempt that is over left, until it is handed in.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::sandbox::out::OutDir;

#[derive(Debug)]
pub enum Outputs {
    /// In a file system of the sandbox's own.
    Folder(OutDir),
    /// By path.
    Memory(BTreeMap<String, Vec<u8>>),
}

impl Outputs {
    /// Opens a file that was listed.
    pub fn open(&self, path: &str) -> io::Result<File> {
        match self {
            Self::Folder(folder) => folder.open(path),
            Self::Memory(files) => {
                let bytes = files.get(path).ok_or(io::ErrorKind::NotFound)?;
                let mut file = File::from(memfd_create("gristmill-output", MFdFlags::MFD_CLOEXEC)?);
                file.write_all(bytes)?;
                file.rewind()?;
                Ok(file)
            }
        }
    }
}

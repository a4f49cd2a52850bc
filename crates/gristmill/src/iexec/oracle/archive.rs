//! The outputs of a task as the one file that iExec's tools download.
//!
//! Nothing is compressed and nothing dated: the same outputs are the same bytes, whichever compressor is in fashion, so
//! that the archive's digest, which goes on chain, is that of the outputs.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

pub(super) enum Content {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// Writes an archive of these, by path and in the order of their paths.
pub(super) fn write(archive: &Path, mut entries: Vec<(String, Content)>) -> Result<()> {
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let failed = || format!("cannot write {}", archive.display());
    let mut writer = ZipWriter::new(File::create(archive).with_context(failed)?);
    for (path, content) in entries {
        writer.start_file(path, options).with_context(failed)?;
        match content {
            Content::Bytes(bytes) => writer.write_all(&bytes).with_context(failed)?,
            Content::File(file) => {
                let mut file = File::open(&file).with_context(|| format!("cannot read {}", file.display()))?;
                io::copy(&mut file, &mut writer).with_context(failed)?;
            }
        }
    }
    writer.finish().with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_same_outputs_are_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "from a file").unwrap();
        let entries = || {
            vec![
                ("stdout.txt".to_owned(), Content::Bytes(b"hello".to_vec())),
                ("a/deep.txt".to_owned(), Content::File(file.clone())),
            ]
        };
        let (one, other) = (dir.path().join("1.zip"), dir.path().join("2.zip"));
        write(&one, entries()).unwrap();
        let mut backwards = entries();
        backwards.reverse();
        write(&other, backwards).unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&other).unwrap());

        let mut archive = zip::ZipArchive::new(File::open(&one).unwrap()).unwrap();
        let mut text = String::new();
        archive.by_name("a/deep.txt").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), archive.len()), ("from a file", 2));
    }
}

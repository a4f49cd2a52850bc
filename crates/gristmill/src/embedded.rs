//! The vanity program that this binary carries, as an app that workers fetch like anyone's.

use gristmill_data::{BlobStore, StoreError};
use gristmill_proto::app::{AppFile, AppManifest, ProcessTarget, Target};
use gristmill_proto::digest::Digest;

static VANITY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vanity"));

pub fn vanity_manifest() -> AppManifest {
    let file =
        AppFile { path: "vanity".to_owned(), digest: Digest::of(VANITY), size: VANITY.len() as u64, executable: true };
    let target = Target::Process(ProcessTarget {
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        entry: "vanity".to_owned(),
        files: vec![file],
    });
    AppManifest {
        description: "Searches for a vanity address without learning its private key".to_owned(),
        ..AppManifest::new("vanity", env!("CARGO_PKG_VERSION"), vec![target])
    }
}

/// The program itself, for who wants to run it without a grid.
pub fn vanity_program() -> &'static [u8] {
    VANITY
}

/// Puts the app where the pool's workers fetch it; its digest.
pub fn publish_vanity(pool: &BlobStore) -> Result<Digest, StoreError> {
    pool.put(VANITY)?;
    pool.put(&vanity_manifest().to_json())
}

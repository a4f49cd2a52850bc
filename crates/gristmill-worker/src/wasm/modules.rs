//! Compiled modules: in memory for those in use, on disk for the next start. A compiled module is machine code that the
//! worker trusts, so it is only ever compiled here: what is on disk carries a seal that nobody else can make.

use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use gristmill_proto::digest::Digest;
use tracing::warn;
use wasmtime::{Engine, InstancePre, Linker, Module};

use super::state::State;

/// Of a module as it is published: a larger one takes minutes to compile.
pub(super) const MODULE_BYTES_MAX: u64 = 32 << 20;
/// Modules kept in memory.
const LOADED_MAX: usize = 64;
/// Bytes of compiled modules on disk; beyond, all of them go.
const DISK_BYTES_MAX: u64 = 2 << 30;

type Ready = InstancePre<State>;

pub(super) struct Modules {
    engine: Engine,
    linker: Linker<State>,
    dir: PathBuf,
    /// Of this worker: seals what it has compiled.
    secret: [u8; 32],
    /// Engine version and settings; another engine's code is not even opened.
    engine_name: String,
    loaded: Mutex<HashMap<Digest, Ready>>,
    /// Attempts that start together compile a module once.
    compiling: Mutex<()>,
}

impl Modules {
    pub(super) fn new(engine: Engine, linker: Linker<State>, dir: PathBuf, secret: [u8; 32]) -> std::io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine_name = format!("{:016x}", hasher.finish());
        let (loaded, compiling) = (Mutex::default(), Mutex::default());
        Ok(Self { engine, linker, dir, secret, engine_name, loaded, compiling })
    }

    pub(super) fn loaded(&self, digest: Digest) -> Option<Ready> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned()
    }

    /// Loads a module, or compiles it from its bytes, which `read` gives. Takes long.
    pub(super) fn load(
        &self,
        digest: Digest,
        read: impl FnOnce() -> std::io::Result<Vec<u8>>,
    ) -> Result<Ready, LoadError> {
        let _alone = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = self.loaded(digest) {
            return Ok(ready);
        }
        let module = match self.kept(digest) {
            Some(module) => module,
            None => self.compile(digest, &read().map_err(LoadError::Read)?)?,
        };
        let ready = self.linker.instantiate_pre(&module).map_err(|error| LoadError::Module(error.to_string()))?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.len() >= LOADED_MAX {
            loaded.clear();
        }
        loaded.insert(digest, ready.clone());
        Ok(ready)
    }

    fn compile(&self, digest: Digest, bytes: &[u8]) -> Result<Module, LoadError> {
        if bytes.len() as u64 > MODULE_BYTES_MAX {
            return Err(LoadError::Module(format!("{} bytes are more than {MODULE_BYTES_MAX}", bytes.len())));
        }
        // Not the text format: what is run is what has the digest, byte for byte.
        let module =
            Module::from_binary(&self.engine, bytes).map_err(|error| LoadError::Module(format!("{error:#}")))?;
        if let Err(error) = self.keep(digest, &module) {
            warn!(error, "cannot keep a compiled module");
        }
        Ok(module)
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.dir.join(format!("{digest}-{}", self.engine_name))
    }

    fn seal(&self, digest: Digest, code: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(&digest.0).update(self.engine_name.as_bytes()).update(code);
        *hasher.finalize().as_bytes()
    }

    fn keep(&self, digest: Digest, module: &Module) -> Result<(), String> {
        let code = module.serialize().map_err(|error| error.to_string())?;
        let text = |error: std::io::Error| error.to_string();
        let kept = fs::read_dir(&self.dir).map_err(text)?.filter_map(|entry| entry.ok()?.metadata().ok());
        if kept.map(|file| file.len()).sum::<u64>() + code.len() as u64 > DISK_BYTES_MAX {
            fs::remove_dir_all(&self.dir).and_then(|()| fs::create_dir_all(&self.dir)).map_err(text)?;
        }
        let fresh = self.path(digest).with_extension("fresh");
        fs::write(&fresh, [&self.seal(digest, &code)[..], &code].concat()).map_err(text)?;
        fs::rename(fresh, self.path(digest)).map_err(text)
    }

    fn kept(&self, digest: Digest) -> Option<Module> {
        let bytes = fs::read(self.path(digest)).ok()?;
        let (seal, code) = bytes.split_at_checked(32)?;
        if blake3::Hash::from_bytes(self.seal(digest, code)) != blake3::Hash::from_slice(seal).ok()? {
            warn!(module = digest.short(), "a compiled module on disk is not what this worker wrote; compiling anew");
            return None;
        }
        trusted(&self.engine, code).ok()
    }
}

/// Machine code whose seal was checked.
#[expect(unsafe_code, reason = "wasmtime cannot know where the code comes from")]
fn trusted(engine: &Engine, code: &[u8]) -> wasmtime::Result<Module> {
    // SAFETY: `Module::serialize` of an engine with the same settings has written these bytes: the caller has checked
    // a keyed hash over them whose key never leaves this worker.
    unsafe { Module::deserialize(engine, code) }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("{0}")]
    Module(String),
    #[error("reading it: {0}")]
    Read(std::io::Error),
}

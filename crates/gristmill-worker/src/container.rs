//! Containers without a daemon: an OCI image, named by digest, becomes a folder that attempts share, and its program
//! runs in the same [sandbox](crate::sandbox) as any other.
//!
//! `source` fetches an image's parts from a registry, an archive or the pool; `manifest` reads what they say; `unpack`
//! writes layers, which are a stranger's archives; `images` keeps what was unpacked.

mod images;
mod manifest;
mod registry;
mod source;
mod unpack;

pub use self::images::{IMAGES_BYTES_MAX, Images, Prepared};
pub use self::registry::{Login, Registries, Registry};
pub use self::source::{Parts, Place};
pub(crate) use self::unpack::unpack_plain;
pub use self::unpack::{Room, UnpackError, unpack};

use gristmill_proto::app::OciDigest;
use gristmill_proto::message::Stream;
use tokio_util::sync::CancellationToken;

use crate::process::{self, Attempt, Finished, RunError};
use crate::sandbox::Sandbox;
use crate::sandbox::wire::Ground;

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("image {image}: {source}")]
    Fetch { image: OciDigest, source: source::FetchError },
    #[error("image {image} is not one that can be run: {fault}")]
    Malformed { image: OciDigest, fault: String },
    #[error("image {image}: layer {layer}: {source}")]
    Unpack { image: OciDigest, layer: OciDigest, source: UnpackError },
    #[error("image {image}: keeping it: {source}")]
    Keep { image: OciDigest, source: std::io::Error },
}

/// Runs an attempt in an image; `progress` and `say` hear what it says. What the attempt's app has as files is shown as `/app`, if it has any.
pub async fn run(
    sandbox: &Sandbox,
    attempt: &Attempt<'_>,
    image: &Prepared,
    entrypoint: &[String],
    (progress, say): (impl Fn(u64) + Send, impl Fn(Stream, &[u8]) + Send + Sync),
    cancel: CancellationToken,
) -> Result<Finished, RunError> {
    let job_says_nothing = attempt.job.args.is_empty();
    let before = image.words(entrypoint, job_says_nothing);
    if before.is_empty() && job_says_nothing {
        return Err(RunError::Job("error: neither the image, the app nor the job says what to run".into()));
    }
    process::run_aloud(sandbox, attempt, progress, say, cancel, |spec| {
        spec.ground = Ground::Image { rootfs: image.rootfs.clone() };
        spec.app_dir = image.shows_app.then(|| attempt.app_dir.to_owned());
        let mut words = before.into_iter().chain(std::mem::take(&mut spec.args));
        spec.program = words.next();
        spec.args = words.collect();
        let ours = std::mem::take(&mut spec.env);
        let theirs = image.env.iter().filter(|(name, _)| !ours.iter().any(|(known, _)| known == name));
        spec.env = theirs.cloned().chain(ours.iter().cloned()).collect();
        spec.work_dir.clone_from(&image.work_dir);
        spec.inner_ids = image.user;
    })
    .await
}

//! Attacks on this machine by a hostile program, each tried twice: outside, where it must work or nothing is shown, and
//! in the cell of a runtime, where it must not. The victims are alive: files, sockets, processes and another attempt.
//!
//! What the attacks are is in `attacks`, what they are aimed at in `victims`, where they are locked in in `cell`.

mod attacks;
mod cell;
mod victims;

use std::path::PathBuf;

use gristmill_proto::app::Runtime;
use serde::Serialize;

use self::attacks::Attack;
use self::cell::Cell;
use self::victims::Victims;
use crate::container::ImageError;
use crate::process::RunError;
use crate::sandbox::{Config, HostIds, SandboxError};

/// `hostile ATTACK ARGUMENT…`, a static program. Empty if there was no static C library to build it with.
pub const HOSTILE_PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hostile"));

/// One user for all attempts, as if every other wall between them had to hold alone, and so that victims can be of it.
pub const PRISONERS: HostIds = HostIds { first: 1_899_999_999, count: 1 };

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub runtime: Runtime,
    /// What it is aimed at.
    pub target: &'static str,
    pub attack: &'static str,
    /// For the owner of the machine.
    pub about: &'static str,
    pub contained: bool,
    /// Whether it works outside; nothing where only root could show it.
    pub control: Option<bool>,
    /// What came of it in the cell.
    pub seen: String,
}

#[derive(Debug, thiserror::Error)]
pub enum PrisonError {
    #[error(
        "this program was built without a static C library, and so without attacks\n\nhint: install one (Debian: libc6-dev) and build it anew"
    )]
    NoAttacks,
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("a victim of the attacks, {what}: {source}")]
    Victim { what: &'static str, source: std::io::Error },
    #[error(transparent)]
    Image(Box<ImageError>),
    #[error("{attack} could not be tried: {source}")]
    Cell { attack: &'static str, source: Box<RunError> },
}

/// Tries every attack and tells each finding as it comes. `launcher` as in [`Config`].
pub async fn run(launcher: PathBuf, mut tell: impl FnMut(Finding)) -> Result<(), PrisonError> {
    if HOSTILE_PROGRAM.is_empty() {
        return Err(PrisonError::NoAttacks);
    }
    let config = Config { launcher, host_ids: PRISONERS };
    for runtime in [Runtime::Process, Runtime::Container, Runtime::Vm] {
        let victims = Victims::gather()?;
        let cell = Cell::new(runtime, config.clone(), &victims).await?;
        let neighbour = cell.neighbour(&victims).await?;
        for attack in attacks::all(&victims, &cell, neighbour.pid) {
            tell(attempt(&attack, &cell, &victims).await?);
        }
    }
    Ok(())
}

async fn attempt(attack: &Attack, cell: &Cell, victims: &Victims) -> Result<Finding, PrisonError> {
    let control = attack.control(victims).map_err(|source| PrisonError::Victim { what: attack.name, source })?;
    let ended = cell
        .run(&attack.inside)
        .await
        .map_err(|source| PrisonError::Cell { attack: attack.name, source: source.into() })?;
    let (contained, seen) = attack.judge(&ended);
    Ok(Finding {
        runtime: cell.runtime,
        target: attack.target,
        attack: attack.name,
        about: attack.about,
        contained,
        control,
        seen,
    })
}

//! The file rights of an app once more, by Landlock: a second wall should the mounts have a hole, and the only one
//! around the contents of `/proc`.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

use super::egress;
use super::wire::{Ground, Spec};

/// The newest this was written for. An older kernel enforces what it knows of it.
const NEWEST: ABI = ABI::V7;

/// What an image has at its root, but for what the sandbox puts there: a right to all of `/` would be one to `/proc`.
fn top_of_image() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/").into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_file()));
    own.filter(|entry| !["proc", "dev", "in", "out", "tmp"].iter().any(|ours| entry.file_name() == *ours))
        .map(|entry| entry.path())
        .collect()
}

/// Restricts this process and its children to the sandbox's directories, each with the rights it is for; forbids TCP but
/// to the way out, and signals and abstract sockets across the border. Needs "no new privileges". False where the kernel has no Landlock.
pub(super) fn install(spec: &Spec) -> Result<bool, RulesetError> {
    let ground = &spec.ground;
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let write = make_bitflags!(AccessFs::{
        WriteFile | Truncate | RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSym | MakeFifo | MakeSock | Refer
    });
    let execute = read | AccessFs::Execute;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let (programs, program_rights) = match ground {
        Ground::Bare => (vec!["/app".into()], execute),
        Ground::Image { .. } => (top_of_image(), execute | write),
        Ground::Machine { .. } => {
            (["/usr", "/lib64", "/lib", "/bin", "/etc", "/app"].map(PathBuf::from).to_vec(), execute)
        }
    };
    ruleset = allow(ruleset, Path::new("/"), AccessFs::ReadDir.into())?;
    for path in programs.iter().filter(|path| path.exists()) {
        let of_kind = if path.is_dir() { program_rights } else { program_rights & AccessFs::from_file(NEWEST) };
        ruleset = allow(ruleset, path, of_kind)?;
    }
    ruleset = allow(ruleset, Path::new("/in"), read)?;
    let mut device = make_bitflags!(AccessFs::{ReadFile | WriteFile | ReadDir});
    if let Ground::Machine { kvm: true } = ground {
        device |= AccessFs::IoctlDev;
    }
    ruleset = allow(ruleset, Path::new("/dev"), device)?;
    for path in ["/out", "/tmp"] {
        ruleset = allow(ruleset, Path::new(path), read | write)?;
    }
    if let Ground::Image { .. } = ground {
        ruleset = allow(ruleset, Path::new("/dev/shm"), read | write)?;
    }
    if spec.egress {
        ruleset = ruleset.add_rule(NetPort::new(egress::PORT, AccessNet::ConnectTcp))?;
    }
    let RestrictionStatus { ruleset, .. } = ruleset.restrict_self()?;
    Ok(ruleset != RulesetStatus::NotEnforced)
}

fn allow(
    ruleset: landlock::RulesetCreated,
    path: &Path,
    rights: BitFlags<AccessFs>,
) -> Result<landlock::RulesetCreated, RulesetError> {
    let directory = PathFd::new(path).expect("the sandbox's root has this directory");
    ruleset.add_rule(PathBeneath::new(directory, rights))
}

/// Which version of Landlock the kernel offers; 0 without.
pub(super) fn offered() -> bool {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create)
        .is_ok()
}

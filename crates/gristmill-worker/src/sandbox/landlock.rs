//! The file rights of an app once more, by Landlock: a second wall should the mounts have a hole, and the only one
//! around the contents of `/proc`.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

/// The newest this was written for. An older kernel enforces what it knows of it.
const NEWEST: ABI = ABI::V7;

/// Restricts this process and its children to the sandbox's directories, each with the rights it is for; forbids TCP,
/// signals and abstract sockets across the border. Needs "no new privileges". False where the kernel has no Landlock.
pub(super) fn install() -> Result<bool, RulesetError> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let write = make_bitflags!(AccessFs::{
        WriteFile | Truncate | RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSym | MakeFifo | MakeSock | Refer
    });
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    ruleset = allow(ruleset, "/", AccessFs::ReadDir.into())?;
    ruleset = allow(ruleset, "/app", read | AccessFs::Execute)?;
    ruleset = allow(ruleset, "/in", read)?;
    ruleset = allow(ruleset, "/dev", make_bitflags!(AccessFs::{ReadFile | WriteFile | ReadDir}))?;
    for path in ["/out", "/tmp"] {
        ruleset = allow(ruleset, path, read | write)?;
    }
    let RestrictionStatus { ruleset, .. } = ruleset.restrict_self()?;
    Ok(ruleset != RulesetStatus::NotEnforced)
}

fn allow(
    ruleset: landlock::RulesetCreated,
    path: &str,
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

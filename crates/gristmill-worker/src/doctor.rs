//! What isolation this host can give, which part is missing, and what its owner can change.

use serde::Serialize;

use crate::sandbox::{Config, Isolation, Part, Sandbox, SandboxError};
use crate::vm::Accel;

/// One line of the doctor's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub about: &'static str,
    pub state: State,
    pub found: String,
    /// What to change, if something should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Good,
    /// Programs run, behind fewer or coarser walls.
    Weaker,
    /// Programs do not run.
    Missing,
}

/// Tries the sandbox as a worker would.
pub async fn examine(config: Config) -> Vec<Finding> {
    let sandbox = match Sandbox::open(config).await {
        Ok(sandbox) => sandbox,
        Err(error) => {
            let advice = advice(&error);
            return vec![Finding { about: "sandbox", state: State::Missing, found: error.to_string(), advice }];
        }
    };
    let isolation = sandbox.isolation();
    let machines = machines(&sandbox).await;
    let whole = "namespaces, private root, unprivileged user, seccomp filter and limits hold";
    vec![
        Finding { about: "sandbox", state: State::Good, found: whole.into(), advice: None },
        class(&isolation),
        control_groups(&isolation.control_groups),
        landlock(isolation.landlock),
        machines,
    ]
}

async fn machines(sandbox: &Sandbox) -> Finding {
    let about = "virtual machines";
    let scratch = std::env::temp_dir();
    let weaker =
        |found: String, advice: &str| Finding { about, state: State::Weaker, found, advice: Some(advice.into()) };
    match Accel::choose(sandbox, &scratch).await {
        Ok(Accel::Kvm) => Finding { about, state: State::Good, found: "KVM runs a guest's code".into(), advice: None },
        Ok(Accel::Tcg) => match Accel::Tcg.runs(sandbox, &scratch).await {
            Ok(()) => weaker("translated by QEMU: several times slower, as well contained".into(), KVM),
            Err(error) => weaker(error.to_string(), "jobs with virtual machines go elsewhere; install another QEMU"),
        },
        Err(error) => {
            weaker(error.to_string(), "to take jobs with virtual machines, install QEMU (Debian: qemu-system-x86)")
        }
    }
}

const KVM: &str = "to be faster, let the worker's user open /dev/kvm (a worker of root's: everyone), on a processor whose \
    virtualisation is switched on and really there";

fn class(isolation: &Isolation) -> Finding {
    let (about, class) = ("isolation class", isolation.class());
    let (state, advice) = match class {
        2.. => (State::Good, None),
        _ => (State::Weaker, Some("jobs that ask for `isolation >= 2` go elsewhere: see what is weaker below".into())),
    };
    Finding { about, state, found: class.to_string(), advice }
}

fn control_groups(found: &Result<u8, String>) -> Finding {
    let about = "control groups";
    match found {
        Ok(version) => Finding { about, state: State::Good, found: format!("version {version}"), advice: None },
        Err(reason) => Finding {
            about,
            state: State::Weaker,
            found: format!("{reason}; memory and processor time are watched a few dozen times a second instead"),
            advice: Some(DELEGATE.into()),
        },
    }
}

fn landlock(there: bool) -> Finding {
    let about = "Landlock";
    if there {
        return Finding { about, state: State::Good, found: "enforced".into(), advice: None };
    }
    Finding {
        about,
        state: State::Weaker,
        found: "not offered by this kernel; apps get no /proc".into(),
        advice: Some("use Linux 5.13 or newer, with `landlock` among the names of the boot parameter `lsm=`".into()),
    }
}

const DELEGATE: &str = "start the worker where it may make control groups: \
    `systemd-run --user --scope -p Delegate=yes gristmill worker …`, a systemd service with `Delegate=yes`, or as root";

/// What the owner of a host can do about a part that is missing.
pub fn advice(error: &SandboxError) -> Option<String> {
    match error {
        SandboxError::Part { part, .. } => advice_on(*part, &Facts::read()),
        SandboxError::Launcher { .. } | SandboxError::Silent => Some(
            "the worker's program must be there, executable and unchanged while it runs; restart the worker".into(),
        ),
    }
}

/// Settings of a host that decide about user namespaces.
#[derive(Debug, Default)]
struct Facts {
    root: bool,
    user_namespaces_max: Option<u64>,
    /// Debian's switch.
    unprivileged_allowed: Option<u64>,
    /// Ubuntu's.
    apparmor_restricts: Option<u64>,
}

impl Facts {
    fn read() -> Self {
        let number = |path| std::fs::read_to_string(path).ok()?.trim().parse().ok();
        Self {
            root: nix::unistd::geteuid().is_root(),
            user_namespaces_max: number("/proc/sys/user/max_user_namespaces"),
            unprivileged_allowed: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        }
    }
}

fn advice_on(part: Part, facts: &Facts) -> Option<String> {
    let container = "in a container, let it make namespaces and mounts (or run the worker outside it)";
    Some(match part {
        Part::UserNamespace if facts.user_namespaces_max == Some(0) => {
            "user namespaces are switched off: as root, `sysctl -w user.max_user_namespaces=10000`".into()
        }
        Part::UserNamespace if facts.unprivileged_allowed == Some(0) => {
            "users may not make user namespaces: as root, `sysctl -w kernel.unprivileged_userns_clone=1`".into()
        }
        // Ubuntu lets the namespace be made and takes its rights away, so that the next steps fail.
        Part::UserNamespace | Part::Namespaces | Part::RootFilesystem
            if facts.apparmor_restricts == Some(1) && !facts.root =>
        {
            "AppArmor takes the rights from user namespaces: give this program a profile with the rule `userns,`, or \
             as root `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
                .into()
        }
        Part::UserNamespace => format!("use a kernel with CONFIG_USER_NS; {container}"),
        Part::Namespaces | Part::RootFilesystem if facts.root => {
            format!(
                "root lacks CAP_SYS_ADMIN here, or a device or directory is missing: {container}, or run the worker \
                     as an ordinary user"
            )
        }
        Part::Namespaces | Part::RootFilesystem => {
            format!("the files of apps must be readable by the user who runs the worker; {container}")
        }
        Part::UnprivilegedUser => {
            "apps never run as root: give the worker a range of user ids that is mapped here and \
                                   used by nobody (`host_ids`), or run it as an ordinary user"
                .into()
        }
        Part::Cgroup | Part::Limits => DELEGATE.into(),
        Part::Egress => {
            "inside a network namespace loopback cannot be brought up; run `ip link set lo up` in one".into()
        }
        Part::NoNewPrivileges | Part::Seccomp => "use a kernel with CONFIG_SECCOMP_FILTER".into(),
        Part::Landlock => "this kernel offers Landlock and does not enforce it: use another".into(),
        Part::Launcher => "restart the worker: its program may have been replaced by another version".into(),
        Part::Program => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_that_is_off_is_named() {
        let check = |part, facts: Facts, expected: &str| {
            let advice = advice_on(part, &facts).unwrap();
            assert!(advice.contains(expected), "{facts:?}: {advice}");
        };
        let none = || Facts { user_namespaces_max: Some(0), ..Facts::default() };
        check(Part::UserNamespace, none(), "user.max_user_namespaces");
        let debian = || Facts { unprivileged_allowed: Some(0), ..Facts::default() };
        check(Part::UserNamespace, debian(), "kernel.unprivileged_userns_clone=1");
        let ubuntu = |root| Facts { apparmor_restricts: Some(1), root, ..Facts::default() };
        check(Part::RootFilesystem, ubuntu(false), "apparmor_restrict_unprivileged_userns");
        check(Part::RootFilesystem, ubuntu(true), "CAP_SYS_ADMIN");
        check(Part::UnprivilegedUser, Facts::default(), "host_ids");
    }

    #[test]
    fn without_control_groups_a_host_is_weaker_and_told_why() {
        let finding = control_groups(&Err("no hierarchy".into()));
        assert_eq!(finding.state, State::Weaker);
        assert!(finding.found.starts_with("no hierarchy") && finding.advice.unwrap().contains("Delegate=yes"));
        assert_eq!(control_groups(&Ok(2)).state, State::Good);
    }
}

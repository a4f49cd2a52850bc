//! Whose code this machine runs: its owner's word.

use std::collections::BTreeSet;

use gristmill_proto::app::{AppManifest, Runtime};
use gristmill_proto::digest::Digest;
use gristmill_proto::host::HostPort;
use gristmill_proto::id::ProviderId;

/// Empty lists allow everything; what is denied stays denied whatever else allows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub apps_allowed: BTreeSet<Digest>,
    pub apps_denied: BTreeSet<Digest>,
    pub providers_allowed: BTreeSet<ProviderId>,
    pub providers_denied: BTreeSet<ProviderId>,
    /// What apps may reach whose manifests ask for it; empty: nothing.
    pub hosts_allowed: Vec<HostPort>,
    /// Of those that the machine has.
    pub runtimes_allowed: BTreeSet<Runtime>,
}

impl Policy {
    /// Whether the app may run here, or why not.
    pub fn may_run(&self, app: Digest, manifest: &AppManifest) -> Result<(), String> {
        let Self { apps_allowed, apps_denied, providers_allowed, providers_denied, .. } = self;
        if apps_denied.contains(&app) {
            return Err(format!("this worker's owner denies the app {app}"));
        }
        if let Some(provider) = manifest.provider.filter(|provider| providers_denied.contains(provider)) {
            return Err(format!("this worker's owner denies the provider {provider}"));
        }
        let granted = |host: &&HostPort| self.hosts_allowed.iter().any(|allowed| allowed.covers(host));
        if let Some(host) = manifest.network.iter().find(|host| !granted(host)) {
            return Err(format!("this worker's owner does not let apps reach {host}"));
        }
        let unbound = apps_allowed.is_empty() && providers_allowed.is_empty();
        let named = apps_allowed.contains(&app) || manifest.provider.is_some_and(|p| providers_allowed.contains(&p));
        if unbound || named { Ok(()) } else { Err(format!("this worker's owner does not allow the app {app}")) }
    }

    /// The runtimes to offer, of those that work here.
    pub fn offered(&self, working: &[Runtime]) -> Vec<Runtime> {
        let allowed = |runtime: &&Runtime| self.runtimes_allowed.is_empty() || self.runtimes_allowed.contains(runtime);
        working.iter().filter(allowed).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_decides() {
        let (app, other) = (Digest::of(b"app"), Digest::of(b"other"));
        let (ann, bob) = (ProviderId([1; 20]), ProviderId([2; 20]));
        let by = |provider| AppManifest { provider, ..AppManifest::new("a", "1", Vec::new()) };
        let may = |policy: &Policy, app, provider| policy.may_run(app, &by(provider)).is_ok();
        let open = Policy::default();
        assert!(may(&open, app, None) && may(&open, app, Some(ann)));
        let picky = Policy { apps_allowed: [app].into(), providers_allowed: [ann].into(), ..open.clone() };
        assert!(may(&picky, app, None) && may(&picky, other, Some(ann)));
        assert!(!may(&picky, other, None) && !may(&picky, other, Some(bob)));
        let wary = Policy { apps_denied: [app].into(), providers_denied: [bob].into(), ..open };
        assert!(may(&wary, other, Some(ann)) && !may(&wary, app, Some(ann)) && !may(&wary, other, Some(bob)));
        let both = Policy { apps_denied: [app].into(), ..picky };
        assert!(!may(&both, app, Some(ann)), "denied stays denied");
    }

    #[test]
    fn an_app_reaches_what_the_owner_grants() {
        let hosts = |hosts: &[&str]| hosts.iter().map(|host| host.parse().unwrap()).collect::<Vec<HostPort>>();
        let manifest =
            |wanted: &[&str]| AppManifest { network: hosts(wanted), ..AppManifest::new("a", "1", Vec::new()) };
        let may = |granted: &[&str], wanted: &[&str]| {
            let policy = Policy { hosts_allowed: hosts(granted), ..Policy::default() };
            policy.may_run(Digest::of(b"app"), &manifest(wanted)).is_ok()
        };
        assert!(may(&[], &[]) && !may(&[], &["example.org:443"]));
        assert!(may(&["*:443"], &["example.org:443", "*.example.com:443"]));
        assert!(!may(&["*:443"], &["example.org:443", "example.org:80"]), "all or nothing");
        assert!(!may(&["*.example.org:443"], &["*:443"]), "a wish that is wider than what is granted");
    }

    #[test]
    fn only_runtimes_that_work_are_offered() {
        let working = [Runtime::Process, Runtime::Wasm];
        assert_eq!(Policy::default().offered(&working), working);
        let some = Policy { runtimes_allowed: [Runtime::Wasm, Runtime::Vm].into(), ..Policy::default() };
        assert_eq!(some.offered(&working), [Runtime::Wasm]);
    }
}

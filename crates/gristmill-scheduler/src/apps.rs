//! Apps by name: which versions there are, who published them, and which the pool lets run.
//!
//! Pure: what happens comes in as a call and goes out as an [`AppEntry`] to be made durable. A version never changes,
//! and a name stays with the provider that took it first.

use std::collections::BTreeMap;

use gristmill_proto::app::AppManifest;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{ProviderId, UnixMillis};
use gristmill_proto::view::AppEntry;

/// Versions of all apps together.
pub const APPS_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub struct Apps {
    by_name: BTreeMap<String, Vec<AppEntry>>,
    by_digest: BTreeMap<Digest, (String, String)>,
    /// Only what the admin has approved may run.
    approval: bool,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppRefusal {
    #[error("{name}@{version} is {known} already, and a version never changes")]
    Taken { name: String, version: String, known: Digest },
    #[error("the name `{name}` belongs to {}", owner.map_or("an app without a provider".to_owned(), |p| p.to_string()))]
    Foreign { name: String, owner: Option<ProviderId> },
    #[error("this pool keeps {APPS_MAX} versions of apps, and no more")]
    Full,
    #[error("there is no app `{0}` here")]
    Unknown(String),
    #[error("{0} is retired: no new job may use it")]
    Retired(String),
    #[error("{0} waits for the approval of this pool's admin")]
    NotApproved(String),
}

impl Apps {
    pub fn new(approval: bool, entries: Vec<AppEntry>) -> Self {
        let mut apps = Self { approval, ..Self::default() };
        for entry in entries {
            apps.put(entry);
        }
        apps
    }

    fn put(&mut self, entry: AppEntry) {
        self.by_digest.insert(entry.app, (entry.name.clone(), entry.version.clone()));
        let versions = self.by_name.entry(entry.name.clone()).or_default();
        match versions.iter_mut().find(|known| known.version == entry.version) {
            Some(known) => *known = entry,
            None => versions.push(entry),
        }
    }

    /// Takes a new version in. The same one again changes nothing.
    pub fn publish(&mut self, app: Digest, manifest: &AppManifest, now: UnixMillis) -> Result<AppEntry, AppRefusal> {
        let AppManifest { name, version, .. } = manifest;
        if let Some(versions) = self.by_name.get(name) {
            if let Some(known) = versions.iter().find(|known| known.version == *version) {
                let taken = || AppRefusal::Taken { name: name.clone(), version: version.clone(), known: known.app };
                return if known.app == app { Ok(known.clone()) } else { Err(taken()) };
            }
            let owner = versions.first().and_then(|first| first.provider);
            if owner != manifest.provider {
                return Err(AppRefusal::Foreign { name: name.clone(), owner });
            }
        }
        if self.by_digest.len() >= APPS_MAX {
            return Err(AppRefusal::Full);
        }
        let (name, version, provider) = (name.clone(), version.clone(), manifest.provider);
        let entry = AppEntry { app, name, version, provider, approved: false, retired: false, published_at_ms: now };
        self.put(entry.clone());
        Ok(entry)
    }

    /// `NAME` is its newest version that is not retired, `NAME@VERSION` that one.
    pub fn resolve(&self, name: &str) -> Result<&AppEntry, AppRefusal> {
        let (name, version) = name.split_once('@').map_or((name, None), |(name, version)| (name, Some(version)));
        let unknown = || AppRefusal::Unknown(version.map_or(name.to_owned(), |version| format!("{name}@{version}")));
        let versions = self.by_name.get(name).ok_or_else(unknown)?;
        match version {
            Some(version) => versions.iter().find(|entry| entry.version == version).ok_or_else(unknown),
            None => versions.iter().rev().find(|e| !e.retired).ok_or_else(|| AppRefusal::Retired(name.to_owned())),
        }
    }

    /// Whether a new job may use it. What was never published by name may, unless the pool wants approval.
    pub fn may_run(&self, app: &Digest) -> Result<(), AppRefusal> {
        let Some(entry) = self.entry(app) else {
            return if self.approval { Err(AppRefusal::NotApproved(app.to_string())) } else { Ok(()) };
        };
        let called = || format!("{}@{}", entry.name, entry.version);
        if entry.retired {
            return Err(AppRefusal::Retired(called()));
        }
        if self.approval && !entry.approved {
            return Err(AppRefusal::NotApproved(called()));
        }
        Ok(())
    }

    pub fn change(&mut self, app: &Digest, change: impl FnOnce(&mut AppEntry)) -> Result<AppEntry, AppRefusal> {
        let mut entry = self.entry(app).cloned().ok_or_else(|| AppRefusal::Unknown(app.to_string()))?;
        change(&mut entry);
        self.put(entry.clone());
        Ok(entry)
    }

    fn entry(&self, app: &Digest) -> Option<&AppEntry> {
        let (name, version) = self.by_digest.get(app)?;
        self.by_name.get(name)?.iter().find(|entry| entry.version == *version)
    }

    /// All versions, by name and in the order of their publication.
    pub fn all(&self) -> impl Iterator<Item = &AppEntry> {
        self.by_name.values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, version: &str, provider: Option<u8>) -> AppManifest {
        let provider = provider.map(|byte| ProviderId([byte; 20]));
        AppManifest { provider, ..AppManifest::new(name, version, Vec::new()) }
    }

    fn publish(apps: &mut Apps, manifest: &AppManifest, content: &str) -> Result<AppEntry, AppRefusal> {
        apps.publish(Digest::of(content.as_bytes()), manifest, UnixMillis(1))
    }

    #[test]
    fn a_version_never_changes_and_a_name_has_one_owner() {
        let mut apps = Apps::default();
        let first = publish(&mut apps, &manifest("a", "1", Some(1)), "one").unwrap();
        assert_eq!(publish(&mut apps, &manifest("a", "1", Some(1)), "one"), Ok(first));
        assert!(matches!(publish(&mut apps, &manifest("a", "1", Some(1)), "two"), Err(AppRefusal::Taken { .. })));
        for other in [None, Some(2)] {
            let taken = publish(&mut apps, &manifest("a", "2", other), "two");
            assert!(matches!(taken, Err(AppRefusal::Foreign { .. })), "{taken:?}");
        }
        publish(&mut apps, &manifest("a", "2", Some(1)), "two").unwrap();
        assert_eq!(apps.resolve("a").unwrap().version, "2");
        assert_eq!(apps.resolve("a@1").unwrap().version, "1");
        for unknown in ["b", "a@3", "", "@1"] {
            assert!(matches!(apps.resolve(unknown), Err(AppRefusal::Unknown(_))), "{unknown}");
        }
        let entries: Vec<AppEntry> = apps.all().cloned().collect();
        assert_eq!(Apps::new(false, entries).resolve("a").unwrap().version, "2", "as restored");
    }

    #[test]
    fn a_retired_version_gives_way_to_the_one_before() {
        let mut apps = Apps::default();
        for version in ["1", "2"] {
            publish(&mut apps, &manifest("a", version, None), version).unwrap();
        }
        let two = Digest::of(b"2");
        apps.change(&two, |entry| entry.retired = true).unwrap();
        assert_eq!(apps.resolve("a").unwrap().version, "1");
        assert!(matches!(apps.may_run(&two), Err(AppRefusal::Retired(_))));
        assert_eq!(apps.may_run(&Digest::of(b"1")), Ok(()));
        apps.change(&Digest::of(b"1"), |entry| entry.retired = true).unwrap();
        assert!(matches!(apps.resolve("a"), Err(AppRefusal::Retired(_))));
    }

    #[test]
    fn where_approval_is_wanted_nothing_runs_without() {
        let mut apps = Apps::new(true, Vec::new());
        publish(&mut apps, &manifest("a", "1", None), "1").unwrap();
        let app = Digest::of(b"1");
        for waits in [&app, &Digest::of(b"never seen")] {
            assert!(matches!(apps.may_run(waits), Err(AppRefusal::NotApproved(_))));
        }
        apps.change(&app, |entry| entry.approved = true).unwrap();
        assert_eq!(apps.may_run(&app), Ok(()));
    }
}

//! The prison's own list of attacks, as an owner of a machine runs it.

use gristmill_proto::app::Runtime;
use gristmill_worker::prison::{self, Finding};

use crate::prison::{is_root, launcher};

/// Attacks that need what this machine may not have.
const CONTROLS_MISSING_MAX: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_works_outside_and_fails_inside() {
    let mut findings = Vec::new();
    let _ = rustls::crypto::ring::default_provider().install_default();
    prison::run(launcher(), |finding| findings.push(finding)).await.unwrap();
    let escaped: Vec<&Finding> = findings.iter().filter(|finding| !finding.contained).collect();
    assert!(escaped.is_empty(), "{escaped:#?}");
    for runtime in [Runtime::Process, Runtime::Container, Runtime::Vm] {
        let of_runtime = findings.iter().filter(|finding| finding.runtime == runtime);
        let shown = of_runtime.clone().filter(|finding| finding.control == Some(true)).count();
        assert!(shown >= 40, "{runtime}: only {shown} attacks are shown to work");
        let dead: Vec<&Finding> = of_runtime.filter(|finding| finding.control == Some(false)).collect();
        assert!(dead.len() <= CONTROLS_MISSING_MAX, "{runtime}: these work nowhere: {dead:#?}");
    }
    assert!(!is_root() || findings.iter().all(|finding| finding.control.is_some()), "root can show them all");
}

//! `gristmill worker prison`: what strangers' programs cannot do on this machine.

use anyhow::{Result, bail};
use clap::Args;
use gristmill_worker::prison::{self, Finding};

use crate::report::Report;
use crate::roles;

#[derive(Args)]
pub(super) struct PrisonArgs {
    /// One JSON object per attack on standard output, and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: PrisonArgs) -> Result<()> {
    let report = Report::new(args.json);
    let mut findings = Vec::new();
    let mut aimed_at = None;
    prison::run(roles::sandbox_config().launcher, |finding| {
        let heading = if aimed_at == Some((finding.runtime, finding.target)) {
            String::new()
        } else {
            aimed_at = Some((finding.runtime, finding.target));
            format!("{}: {}\n", finding.runtime, finding.target)
        };
        report.result("attack", &finding, &format!("{heading}{}", line(&finding)));
        findings.push(finding);
    })
    .await?;
    let escaped = findings.iter().filter(|finding| !finding.contained).count();
    let shown = findings.iter().filter(|finding| finding.control == Some(true)).count();
    report.event(
        "prison",
        &serde_json::json!({ "attacks": findings.len(), "shown_outside": shown, "escaped": escaped }),
        &format!("\n{} attacks, {shown} of them shown to work without the sandbox, {escaped} escaped", findings.len()),
    );
    if escaped > 0 {
        bail!(
            "the sandbox does not hold on this machine\n\nhint: stop its workers, and tell the project what is printed above"
        );
    }
    Ok(())
}

fn line(finding: &Finding) -> String {
    let mark = if finding.contained { "contained" } else { "ESCAPED" };
    let control = match finding.control {
        Some(true) => "works outside",
        Some(false) => "this machine refuses it anyway",
        None => "only root could show that it works outside",
    };
    let seen = if finding.contained { String::new() } else { format!("\n             seen: {}", finding.seen) };
    format!("  {mark:<9}  {}: {} ({control}){seen}", finding.attack, finding.about)
}

//! `gristmill doctor`: what protects this machine.

use anyhow::{Result, bail};
use clap::Args;
use gristmill_worker::doctor::{self, State};

use crate::report::Report;
use crate::roles;

#[derive(Args)]
pub(super) struct DoctorArgs {
    /// One JSON object per finding on standard output, and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: DoctorArgs) -> Result<()> {
    let report = Report::new(args.json);
    let findings = doctor::examine(roles::sandbox_config()).await;
    for finding in &findings {
        let mark = match finding.state {
            State::Good => "good",
            State::Weaker => "weaker",
            State::Missing => "MISSING",
        };
        let advice = finding.advice.as_ref().map(|advice| format!("\n          {advice}")).unwrap_or_default();
        report.result("finding", finding, &format!("{mark:<8}  {}: {}{advice}", finding.about, finding.found));
    }
    if findings.iter().any(|finding| finding.state == State::Missing) {
        bail!("a worker on this machine would refuse to run apps");
    }
    Ok(())
}

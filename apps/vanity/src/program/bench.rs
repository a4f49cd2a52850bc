use anyhow::Result;
use clap::Args;

#[derive(Args)]
pub(super) struct BenchArguments {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(_: &BenchArguments) -> Result<()> {
    Ok(())
}

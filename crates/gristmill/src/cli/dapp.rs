//! `gristmill dapp`: contracts that have something computed.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::dapp::Example;
use crate::report::print_line;

#[derive(Args)]
pub(super) struct DappArgs {
    #[command(subcommand)]
    command: DappCommand,
}

#[derive(Subcommand)]
enum DappCommand {
    /// Make a folder with a contract, its app and an offer to start from: see docs/dapp.md
    Init {
        /// The new folder; its last part becomes the name of app and offer
        folder: PathBuf,
        #[arg(long, short, value_enum, default_value = "divisor")]
        template: Example,
    },
}

pub(super) fn run(args: &DappArgs) -> Result<()> {
    let DappCommand::Init { folder, template } = &args.command;
    template.write(folder)?;
    print_line(&format!("{} is a dApp now; README.md there says how it goes on", folder.display()));
    Ok(())
}

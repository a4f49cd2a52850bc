//! `gristmill chain`: the embedded development chain alone.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gristmill_chain::dev;
use tokio_util::sync::CancellationToken;

use crate::report::print_line;
use crate::roles::{self, Listen};

#[derive(Args)]
pub(super) struct ChainArgs {
    /// Address of the JSON-RPC server, over HTTP and WebSocket
    #[arg(long, default_value = "127.0.0.1:7118")]
    listen: SocketAddr,
    /// Where the chain is kept [default: chain in $GRISTMILL_HOME or ~/.local/share/gristmill]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Throw the chain away and start over
    #[arg(long)]
    fresh: bool,
    /// Web pages that may use the port, besides those on this machine: https://example.org
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
}

pub(super) async fn run(args: ChainArgs, shutdown: CancellationToken) -> Result<()> {
    let data_dir = roles::folder(args.data_dir, "chain")?;
    let config = dev::Config {
        data_dir: Some(data_dir),
        fresh: args.fresh,
        allow_origins: args.allow_origin,
        ..dev::Config::default()
    };
    let chain = roles::bind_chain(config, Listen::exactly(args.listen, "--listen")).await?;
    print_line(&chain.url());
    Ok(chain.run(shutdown).await?)
}

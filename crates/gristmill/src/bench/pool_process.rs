//! The pool that is measured: this program as `gristmill scheduler`, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::pool_client::PoolClient;

pub(super) struct PoolProcess {
    child: Child,
    folder: PathBuf,
    pub(super) url: String,
}

/// What the process has used since it began.
#[derive(Clone, Copy)]
pub(super) struct Used {
    pub(super) cpu: Duration,
    pub(super) resident_bytes: u64,
}

impl PoolProcess {
    /// Starts a pool in this folder and waits until it listens. `listen` is `127.0.0.1:0` for any port.
    pub(super) async fn start(folder: &Path, listen: &str) -> Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(program)
            .args(["--log", "error", "scheduler", "--listen", listen, "--data-dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting a pool")?;
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let Some(url) = lines.next_line().await? else { bail!("the pool does not start") };
        Ok(Self { child, folder: folder.to_owned(), url })
    }

    pub(super) fn client(&self) -> Result<PoolClient> {
        let token = std::fs::read_to_string(self.folder.join("token")).context("the pool's token")?;
        Ok(PoolClient::new(&self.url, token.trim()))
    }

    pub(super) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    pub(super) fn used(&self) -> Result<Used> {
        let id = self.child.id().context("the pool has ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // After the name, which is in parentheses and may hold anything: state is field 3, utime 14, stime 15, rss 24.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split(' ').skip(1).collect()).unwrap_or_default();
        let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
        let (Some(user), Some(system), Some(pages)) = (field(14), field(15), field(24)) else {
            bail!("/proc/{id}/stat cannot be understood");
        };
        // Linux tells processor time in hundredths of a second to everyone, whatever its own clock.
        let cpu = Duration::from_millis((user + system) * 10);
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.unwrap_or(4096);
        Ok(Used { cpu, resident_bytes: pages * u64::try_from(page)? })
    }
}

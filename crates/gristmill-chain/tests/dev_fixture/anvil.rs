//! Foundry's programs from the contracts' npm packages.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Rpc, request};

/// The path of `anvil`, `cast` or `forge`: `$GRISTMILL_ANVIL` and so on, else the npm package.
pub fn foundry(program: &str) -> PathBuf {
    let platform = match (std::env::consts::OS, std::env::consts::ARCH) {
        (os, "x86_64") => format!("{os}-amd64").replace("macos", "darwin"),
        (os, _) => format!("{os}-arm64").replace("macos", "darwin"),
    };
    let packaged = format!("../../contracts/node_modules/@foundry-rs/{program}-{platform}/bin/{program}");
    let packaged = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(packaged);
    let named = std::env::var_os(format!("GRISTMILL_{}", program.to_uppercase()));
    let path = named.map_or(packaged, PathBuf::from);
    assert!(path.exists(), "{program} is not at {}: run cargo xtask setup", path.display());
    path
}

pub struct Anvil {
    child: Child,
    pub rpc: Rpc,
}

impl Anvil {
    pub async fn start(arguments: &[&str]) -> Self {
        let deadline = Instant::now() + Duration::from_secs(120);
        while Instant::now() < deadline {
            // Somebody else may take the port in between; then the next round takes another.
            let port =
                TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
            let child = Command::new(foundry("anvil"))
                .args(["--silent", "--hardfork", "prague", "--port", &port.to_string()])
                .args(arguments)
                .stdout(Stdio::null())
                .spawn()
                .expect("anvil starts");
            let mut anvil = Self { child, rpc: Rpc::new(&format!("http://127.0.0.1:{port}")) };
            while Instant::now() < deadline && anvil.child.try_wait().expect("anvil can be asked").is_none() {
                if anvil.rpc.try_post(request(1, "eth_chainId", json!([])).to_string()).await.is_ok() {
                    return anvil;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        panic!("anvil does not come up");
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

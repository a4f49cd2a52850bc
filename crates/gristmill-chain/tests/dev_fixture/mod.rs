//! A development chain for one test, and clients for it.
#![allow(dead_code, unreachable_pub)]

use std::path::Path;

use alloy::{
    network::EthereumWallet,
    providers::{Provider, ProviderBuilder},
};
use gristmill_chain::dev::{self, Config};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct Fixture {
    pub url: String,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), dev::Error>>,
}

impl Fixture {
    pub async fn start(config: Config) -> Self {
        let chain = dev::bind(config).await.expect("the chain opens");
        let url = chain.url();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(chain.run(shutdown.clone()));
        Self { url, shutdown, serving }
    }

    pub async fn in_memory() -> Self {
        Self::start(Config::default()).await
    }

    pub async fn in_folder(folder: &Path) -> Self {
        Self::start(Config { data_dir: Some(folder.to_owned()), ..Config::default() }).await
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.expect("no panic").expect("no error");
    }

    /// A client that signs as the prefunded account `index`.
    pub fn client(&self, index: usize) -> impl Provider + Clone + use<> {
        client(&self.url, index)
    }
}

pub fn client(url: &str, index: usize) -> impl Provider + Clone + use<> {
    install_crypto();
    let wallet = EthereumWallet::from(dev::accounts().swap_remove(index));
    ProviderBuilder::new().wallet(wallet).connect_http(url.parse().expect("a URL"))
}

/// The HTTP client wants to know its TLS library even where it never uses TLS.
pub fn install_crypto() {
    // An error says that it was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

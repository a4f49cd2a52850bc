//! Knowing a chain again, and keys that other tools can read.

mod client_support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use alloy::primitives::Address;
use client_support::{
    node::{Kind, Node},
    once::Once,
};
use gristmill_chain::{
    check::{ChainIdentity, CheckError},
    dev::Config,
    keystore::{self, Password},
};

async fn a_chain_is_known_again(kind: Kind) {
    let node = Node::start(kind).await;
    let once = Once::deploy(&node).await;
    let stored = ChainIdentity::read(&node.rpc, [("once", once.0)]).await.unwrap();
    node.mine(3).await;
    let found = ChainIdentity::read(&node.rpc, [("once", once.0)]).await.unwrap();
    stored.expect_same(&found).unwrap();

    let nowhere = ChainIdentity::read(&node.rpc, [("once", Address::repeat_byte(5))]).await.unwrap_err();
    assert!(matches!(nowhere, CheckError::NoContract { .. }) && !nowhere.is_outage(), "{nowhere}");
}

#[tokio::test]
async fn the_embedded_chain_is_known_again() {
    a_chain_is_known_again(Kind::Embedded).await;
}

#[tokio::test]
async fn anvil_is_known_again() {
    a_chain_is_known_again(Kind::Anvil).await;
}

#[tokio::test]
async fn a_wiped_chain_with_the_same_id_is_another() {
    let first = Node::embedded(Config { genesis_timestamp: Some(1_700_000_000), ..Config::default() }).await;
    let second = Node::embedded(Config { genesis_timestamp: Some(1_700_000_001), ..Config::default() }).await;
    let read = async |node: &Node| {
        let once = Once::deploy(node).await;
        ChainIdentity::read(&node.rpc, [("once", once.0)]).await.unwrap()
    };
    let error = read(&first).await.expect_same(&read(&second).await).unwrap_err();
    assert!(matches!(error, CheckError::OtherGenesis { .. }), "{error}");
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_no_other_chain() {
    let node = Node::start(Kind::Embedded).await;
    let rpc = node.rpc.clone();
    node.stop().await;
    let error = ChainIdentity::read(&rpc, []).await.unwrap_err();
    assert!(error.is_outage(), "{error}");
}

fn cast() -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/node_modules/@foundry-rs");
    let path = std::env::var_os("GRISTMILL_CAST").map_or(root.join("cast-linux-amd64/bin/cast"), PathBuf::from);
    Command::new(path)
}

fn run(command: &mut Command) -> String {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; `cargo xtask test` installs it"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn cast_reads_our_keystores_and_we_read_its() {
    let dir = tempfile::tempdir().unwrap();
    let password_file = dir.path().join("password");
    fs::write(&password_file, "grist\n").unwrap();
    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).unwrap();
    let password = Password::read(&password_file).unwrap();

    let ours = dir.path().join("ours.json");
    let key = keystore::create(&ours, &password).unwrap();
    let address = run(cast().args(["wallet", "address", "--keystore"]).arg(&ours).args(["--password", "grist"]));
    assert_eq!(address.trim().parse::<Address>().unwrap(), key.address());

    run(cast().args(["wallet", "new"]).arg(dir.path()).args(["theirs", "--unsafe-password", "grist"]));
    let theirs = dir.path().join("theirs");
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600)).unwrap();
    let address = run(cast().args(["wallet", "address", "--keystore"]).arg(&theirs).args(["--password", "grist"]));
    assert_eq!(address.trim().parse::<Address>().unwrap(), keystore::load(&theirs, &password).unwrap().address());
}

//! The development chain as clients see it.

mod dev_fixture;

use alloy::{primitives::U256, providers::Provider, rpc::types::TransactionRequest};
use dev_fixture::Fixture;
use gristmill_chain::{contracts::DevRLC, dev};

#[tokio::test(flavor = "multi_thread")]
async fn alloy_deploys_and_uses_a_contract() {
    let chain = Fixture::in_memory().await;
    let client = chain.client(0);
    let token = DevRLC::deploy(client.clone(), dev::addresses()[0]).await.expect("deploys");
    let to = dev::addresses()[1];
    client
        .send_transaction(TransactionRequest::default().to(to).value(U256::from(5)))
        .await
        .unwrap()
        .get_receipt()
        .await
        .unwrap();
    assert_eq!(client.get_balance(to).await.unwrap(), U256::from(10).pow(U256::from(22)) + U256::from(5));
    assert_eq!(token.decimals().call().await.unwrap(), 9);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_chain_has_the_same_head() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Fixture::in_folder(folder.path()).await;
    DevRLC::deploy(chain.client(0), dev::addresses()[0]).await.expect("deploys");
    let head = chain.client(0).get_block(alloy::eips::BlockId::latest()).await.unwrap();
    chain.stop().await;
    let chain = Fixture::in_folder(folder.path()).await;
    assert_eq!(chain.client(0).get_block(alloy::eips::BlockId::latest()).await.unwrap(), head);
    DevRLC::deploy(chain.client(0), dev::addresses()[0]).await.expect("deploys again");
    chain.stop().await;
}

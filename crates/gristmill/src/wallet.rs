//! One person's account on the chain, for commands that send a transaction and wait for it.

use std::time::{Duration, Instant};

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::network::TransactionBuilder;
use alloy::primitives::{Address, Bytes, TxKind, U256};
use alloy::providers::Provider;
use alloy::rpc::types::{TransactionReceipt, TransactionRequest};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result, anyhow, bail};
use gristmill_chain::contracts::describe_revert;
use gristmill_chain::rpc::{Rpc, RpcError};

/// A transaction that no block has taken by then is reported, not awaited further.
const MINED_WAIT: Duration = Duration::from_secs(300);
const GAS_MARGIN_PERCENT: u64 = 20;

pub struct Wallet {
    pub rpc: Rpc,
    pub key: PrivateKeySigner,
    chain_id: u64,
    poll: Duration,
}

impl Wallet {
    pub async fn new(rpc: Rpc, key: PrivateKeySigner) -> Result<Self> {
        let chain_id = chain_id(&rpc).await?;
        let local = chain_id == gristmill_chain::dev::CHAIN_ID;
        let poll = Duration::from_millis(if local { 20 } else { 2_000 });
        Ok(Self { rpc, key, chain_id, poll })
    }

    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// Calls a contract and waits for the receipt. `doing` names it in errors: "cannot {doing}: …".
    pub async fn call(&self, doing: &str, to: Address, calldata: Vec<u8>) -> Result<TransactionReceipt> {
        self.transact(doing, TxKind::Call(to), calldata.into(), U256::ZERO).await
    }

    pub async fn pay(&self, doing: &str, to: Address, wei: U256) -> Result<TransactionReceipt> {
        self.transact(doing, TxKind::Call(to), Bytes::new(), wei).await
    }

    /// Puts a contract on the chain.
    pub async fn deploy(&self, doing: &str, code: Vec<u8>) -> Result<(Address, TransactionReceipt)> {
        let receipt = self.transact(doing, TxKind::Create, code.into(), U256::ZERO).await?;
        let address =
            receipt.contract_address.with_context(|| format!("cannot {doing}: the receipt names no contract"))?;
        Ok((address, receipt))
    }

    async fn transact(&self, doing: &str, to: TxKind, input: Bytes, value: U256) -> Result<TransactionReceipt> {
        let signed = self.sign(doing, to, input, value).await?;
        self.send(doing, &signed).await
    }

    /// A transaction ready to be sent. Its hash can be noted before it is.
    pub async fn sign(&self, doing: &str, to: TxKind, input: Bytes, value: U256) -> Result<TxEnvelope> {
        let failed = |error: RpcError| explain(doing, &error);
        let mut request = TransactionRequest::default().with_from(self.address()).with_input(input.clone());
        request.to = Some(to);
        request.value = Some(value);
        let head = self.rpc.head().await.map_err(failed)?;
        let gas = self.rpc.estimate_gas_at(request, head.number).await.map_err(failed)?;
        let tip = self.rpc.priority_fee().await.unwrap_or(1_000_000_000);
        let base = u128::from(head.base_fee_per_gas.unwrap_or_default());
        let transaction = TxEip1559 {
            chain_id: self.chain_id,
            nonce: self.rpc.nonce(self.address()).await.map_err(failed)?,
            gas_limit: gas + gas * GAS_MARGIN_PERCENT / 100,
            max_fee_per_gas: 2 * base + tip,
            max_priority_fee_per_gas: tip,
            to,
            value,
            access_list: alloy::eips::eip2930::AccessList::default(),
            input,
        };
        let signature = self.key.sign_hash_sync(&transaction.signature_hash())?;
        Ok(TxEnvelope::from(transaction.into_signed(signature)))
    }

    /// Sends it and waits for its receipt.
    pub async fn send(&self, doing: &str, signed: &TxEnvelope) -> Result<TransactionReceipt> {
        let hash = *signed.tx_hash();
        let sent = self.rpc.provider().send_raw_transaction(&signed.encoded_2718()).await;
        // Its receipt is awaited below, with a deadline, which what is returned here has not.
        let _ = sent.with_context(|| format!("cannot {doing}: the node refuses the transaction"))?;
        let receipt = self.receipt(doing, hash).await?;
        if !receipt.status() {
            bail!("cannot {doing}: transaction {hash} failed on chain");
        }
        Ok(receipt)
    }

    async fn receipt(&self, doing: &str, hash: alloy::primitives::B256) -> Result<TransactionReceipt> {
        let deadline = Instant::now() + MINED_WAIT;
        loop {
            if let Ok(Some(receipt)) = self.rpc.receipt(hash).await {
                return Ok(receipt);
            }
            if Instant::now() > deadline {
                return Err(anyhow!(
                    "cannot {doing}: transaction {hash} was sent but is in no block after {} s\n\n\
                     hint: the network may be busy; look the transaction up before you try again, or it happens twice",
                    MINED_WAIT.as_secs()
                ));
            }
            tokio::time::sleep(self.poll).await;
        }
    }
}

/// The first thing to ask an endpoint.
pub async fn chain_id(rpc: &Rpc) -> Result<u64> {
    rpc.chain_id().await.with_context(|| {
        let hint = "start a chain with `gristmill chain` or `gristmill dev`, or give another endpoint with --rpc";
        format!("the chain does not answer\n\nhint: {hint}")
    })
}

fn explain(doing: &str, error: &RpcError) -> anyhow::Error {
    match error.revert() {
        Some(data) => {
            let reason =
                describe_revert(&data).unwrap_or_else(|| format!("reverted with 0x{}", alloy::hex::encode(&data)));
            anyhow!("cannot {doing}: the contract refuses: {reason}")
        }
        None => anyhow!("cannot {doing}: {error}"),
    }
}

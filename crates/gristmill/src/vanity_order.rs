//! A requester's side of a vanity order: key, payment, and the key's other half when it is found.
//!
//! The requester's secret is on disk before any money moves, in a file only its owner can read; what goes on chain is
//! its public key. Every order has a folder of its own, named by its public key, so that nothing is ever overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::rpc::types::{Filter, TransactionReceipt};
use alloy::sol_types::{SolCall, SolEvent, SolValue};
use anyhow::{Context, Result, anyhow, bail};
use gristmill_chain::contracts::{Market, RLC, VanityShop};
use gristmill_chain::rpc::Rpc;
use serde::{Deserialize, Serialize};
use vanity::{AddressKind, Params, Pattern, SecretKey, Solution};
use zeroize::Zeroizing;

use crate::deployment::Deployment;
use crate::rlc::rlc;
use crate::vanity_shares::NearMiss;
use crate::wallet::Wallet;

/// An order's folder.
const SECRET_FILE: &str = "secret";
const RECORD_FILE: &str = "order.json";
const KEY_FILE: &str = "key.wif";

/// What is kept of an order; public all of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrderRecord {
    pub pattern: String,
    pub difficulty: f64,
    pub params: Bytes,
    pub chain_id: u64,
    pub market: Address,
    pub shop: Address,
    pub price: u128,
    /// The payment; set before it is sent.
    pub transaction: Option<B256>,
    /// The chain's first block: a development chain that was started anew is another one.
    #[serde(default)]
    pub genesis: Option<B256>,
    /// Nobody waits for it any more.
    #[serde(default)]
    pub closed: bool,
    /// The order's id when it was last seen on chain. A reorganisation that moves the payment to another block changes
    /// it, so [`on_chain`] asks anew.
    pub order: Option<B256>,
}

/// An order in its folder.
#[derive(Clone, Debug)]
pub struct LocalOrder {
    pub dir: PathBuf,
    pub record: OrderRecord,
}

/// How an order ended on chain.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub order: B256,
    pub transaction: B256,
    pub worker: Address,
    pub worker_paid: U256,
    pub pool_paid: U256,
    pub provider_paid: U256,
    pub result: Bytes,
    /// The shop has stored the answer.
    pub delivered: bool,
}

pub enum Ending {
    Settled(Settlement),
    Refunded { transaction: B256, amount: U256 },
}

/// The finished key.
#[derive(Clone, Debug)]
pub struct Finished {
    pub address: String,
    pub key_file: PathBuf,
    /// The offset k that the workers found: public, and harmless without the requester's half.
    pub offset: String,
}

/// A pattern that some address matches and that can be ordered; otherwise why not, and what would.
pub fn parse_pattern(text: &str) -> Result<Pattern> {
    let pattern = Pattern::parse(text).map_err(|error| {
        let hint = error.nearest.as_ref().map(|near| format!("\n\nhint: `{near}` is possible")).unwrap_or_default();
        anyhow!("{error}{hint}")
    })?;
    if pattern.kind() != AddressKind::P2pkh {
        bail!(
            "searches are sold for Bitcoin addresses that begin with 1, and not yet for others such as {text}\n\n\
             hint: `vanity search {text}` searches on this machine alone"
        );
    }
    Ok(pattern)
}

/// The price of a search now, in nRLC.
pub async fn quote(rpc: &Rpc, deployment: &Deployment, params: &Bytes) -> Result<(u64, u128)> {
    let shop = VanityShop::new(deployment.shop, rpc.provider());
    let quote = shop.quote(params.clone()).call().await;
    let quote = quote.with_context(|| {
        let hint = "check the deployment; on a development chain that was started anew, deploy again";
        format!("the shop at {} gives no quote\n\nhint: {hint}", deployment.shop)
    })?;
    Ok((quote.units, u128::try_from(quote.price).context("the shop's price is beyond all RLC there are")?))
}

/// Makes the requester's key and puts everything needed to use a result on disk. Nothing is paid yet.
pub async fn prepare(orders: &Path, rpc: &Rpc, deployment: &Deployment, pattern: &Pattern) -> Result<LocalOrder> {
    let secret = SecretKey::generate()?;
    let public_key = secret.public_key();
    let params: Bytes = Params::new(public_key, pattern.ranges().clone())?.encode().into();
    let (_, price) = quote(rpc, deployment, &params).await?;
    let name = hex::encode(public_key.to_bytes());
    let dir = orders.join(&name[..16]);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    // Money follows: what it buys is worthless without this file.
    write_durably(&dir.join(SECRET_FILE), &secret.to_hex())?;
    for folder in dir.ancestors().skip(1).take(2).filter(|folder| folder.is_dir()) {
        sync_folder(folder)?;
    }
    let record = OrderRecord {
        pattern: pattern.text().to_owned(),
        difficulty: pattern.difficulty().candidates(),
        params,
        chain_id: deployment.chain_id,
        market: deployment.market,
        shop: deployment.shop,
        price,
        transaction: None,
        genesis: genesis(rpc).await?,
        closed: false,
        order: None,
    };
    let order = LocalOrder { dir, record };
    order.save()?;
    Ok(order)
}

async fn genesis(rpc: &Rpc) -> Result<Option<B256>> {
    Ok(rpc.block(0).await?.map(|block| block.hash))
}

/// Pays and orders in one transaction; returns its gas. An order that nothing was paid for is thrown away: its key is of
/// no use to anybody.
pub async fn place(order: &mut LocalOrder, wallet: &Wallet, deployment: &Deployment) -> Result<u64> {
    let placed = pay(order, wallet, deployment).await;
    if placed.is_err() && order.record.transaction.is_none() {
        order.discard()?;
    }
    placed
}

async fn pay(order: &mut LocalOrder, wallet: &Wallet, deployment: &Deployment) -> Result<u64> {
    let price = U256::from(order.record.price);
    let token = RLC::new(deployment.token, wallet.rpc.provider());
    let held = token.balanceOf(wallet.address()).call().await.context("cannot read the RLC balance")?;
    if held < price {
        bail!(
            "the search costs {}, but {} holds {}\n\nhint: a shorter pattern costs less; each letter costs 58 times more",
            rlc(price),
            wallet.address(),
            rlc(held)
        );
    }
    let call = RLC::approveAndCallCall {
        spender: deployment.shop,
        amount: price,
        data: order.record.params.abi_encode().into(),
    };
    let doing = "order the search";
    let payment = wallet.sign(doing, deployment.token.into(), call.abi_encode().into(), U256::ZERO).await?;
    order.record.transaction = Some(*payment.tx_hash());
    order.save()?;
    let receipt = wallet.send(doing, &payment).await?;
    order.record.order = Some(requested_in(&receipt).context("the order's transaction left no order")?);
    order.save()?;
    Ok(receipt.gas_used)
}

fn requested_in(receipt: &TransactionReceipt) -> Option<B256> {
    receipt.logs().iter().find_map(|log| Some(Market::Requested::decode_log(&log.inner).ok()?.order))
}

/// The order's id and block, if its payment is in a block now.
pub async fn on_chain(rpc: &Rpc, record: &OrderRecord) -> Result<Option<(B256, u64)>> {
    let Some(transaction) = record.transaction else { return Ok(None) };
    let receipt = rpc.receipt(transaction).await?;
    Ok(receipt.and_then(|receipt| Some((requested_in(&receipt)?, receipt.block_number?))))
}

/// How the order ended, if it has.
pub async fn ending(rpc: &Rpc, record: &OrderRecord) -> Result<Option<Ending>> {
    let Some((order, block)) = on_chain(rpc, record).await? else { return Ok(None) };
    let events = vec![Market::Settled::SIGNATURE_HASH, Market::Refunded::SIGNATURE_HASH];
    let filter = Filter::new().address(record.market).event_signature(events).topic1(order).from_block(block);
    let Some(log) = rpc.logs(&filter).await?.pop() else { return Ok(None) };
    let transaction = log.transaction_hash.context("a log in a block has a transaction")?;
    if let Ok(event) = Market::Settled::decode_log(&log.inner) {
        let shop = VanityShop::new(record.shop, rpc.provider());
        let delivered = shop.answerOf(order).call().await.is_ok_and(|answer| answer.found);
        return Ok(Some(Ending::Settled(Settlement {
            order,
            transaction,
            worker: event.worker,
            worker_paid: event.workerPaid,
            pool_paid: event.poolPaid,
            provider_paid: event.providerPaid,
            result: event.data.result,
            delivered,
        })));
    }
    let event = Market::Refunded::decode_log(&log.inner)?;
    Ok(Some(Ending::Refunded { transaction, amount: event.amount }))
}

impl LocalOrder {
    pub fn open(dir: &Path) -> Result<Self> {
        let file = dir.join(RECORD_FILE);
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read the order {}", file.display()))?;
        let record = serde_json::from_str(&text).with_context(|| format!("{} is no order", file.display()))?;
        Ok(Self { dir: dir.to_owned(), record })
    }

    /// All orders kept below a folder, the newest last.
    pub fn list(orders: &Path) -> Result<Vec<Self>> {
        let Ok(entries) = fs::read_dir(orders) else { return Ok(Vec::new()) };
        let mut found: Vec<Self> = entries.flatten().filter_map(|entry| Self::open(&entry.path()).ok()).collect();
        let age = |order: &Self| fs::metadata(order.dir.join(SECRET_FILE)).and_then(|file| file.modified()).ok();
        found.sort_by_cached_key(age);
        Ok(found)
    }

    /// Before anything was paid.
    pub fn discard(&self) -> Result<()> {
        fs::remove_dir_all(&self.dir).with_context(|| format!("cannot remove {}", self.dir.display()))
    }

    /// Paid for, and its key not finished yet.
    pub fn is_awaited(&self) -> bool {
        self.record.transaction.is_some() && !self.record.closed && self.key_file().is_none()
    }

    /// Nothing will come of it any more: the money came back, or its chain is thrown away.
    pub fn close(&mut self) -> Result<()> {
        self.record.closed = true;
        self.save()
    }

    /// The finished key, if [`LocalOrder::finish`] has written it.
    pub fn key_file(&self) -> Option<PathBuf> {
        Some(self.dir.join(KEY_FILE)).filter(|file| file.exists())
    }

    /// Whether it was paid for on the chain behind this endpoint.
    pub async fn belongs_to(&self, rpc: &Rpc) -> Result<bool> {
        let Some(noted) = self.record.genesis else { return Ok(true) };
        Ok(genesis(rpc).await?.is_none_or(|found| found == noted))
    }

    fn save(&self) -> Result<()> {
        let file = self.dir.join(RECORD_FILE);
        let text = serde_json::to_string_pretty(&self.record).expect("a record has string keys only");
        write_durably(&file, &(text + "\n"))
    }

    /// Looks where the payment is now, and keeps the order's id. False if it is in no block.
    pub async fn refresh(&mut self, rpc: &Rpc) -> Result<bool> {
        let Some((order, _)) = on_chain(rpc, &self.record).await? else { return Ok(false) };
        if self.record.order != Some(order) {
            self.record.order = Some(order);
            self.save()?;
        }
        Ok(true)
    }

    /// Makes the key of a near miss that the pool shows while the search goes on. What the pool says is not believed: the
    /// address is derived from the key.
    pub fn take(&self, record: &str) -> Result<Finished> {
        let order = self.record.order.context("this order was never paid")?;
        let NearMiss { worker, index, image } =
            NearMiss::from_text(record).context("the pool's near miss is garbled")?;
        let key = vanity::solution::combine(&self.secret()?, &order.0, &worker, index, image)?;
        let address = key.public_key().address(AddressKind::P2pkh);
        vanity::verify::check_key(&key, AddressKind::P2pkh, &address)?;
        let key_file = self.dir.join(format!("{address}.wif"));
        write_durably(&key_file, &key.to_wif())?;
        let offset = vanity::Order { id: order.0, worker }.offset(index);
        Ok(Finished { address, key_file, offset: format!("0x{}", hex::encode(offset.to_bytes())) })
    }

    fn secret(&self) -> Result<SecretKey> {
        let secret = fs::read_to_string(self.dir.join(SECRET_FILE))
            .with_context(|| format!("cannot read the secret in {}", self.dir.display()))?;
        Ok(SecretKey::from_text(Zeroizing::new(secret).trim())?)
    }

    /// Adds the found offset to the requester's half. The address is derived from the finished key by other code than
    /// the search's, and must begin with the pattern, or nothing is written.
    pub fn finish(&self, settlement: &Settlement) -> Result<Finished> {
        let order = settlement.order;
        let params = Params::decode(&self.record.params)?;
        let solution = Solution::decode(&settlement.result).context("the settled result")?;
        let hash = solution.check(&params, &order.0).context("the settled result")?;
        let address = AddressKind::P2pkh.encode(hash);
        let key = solution.combine(&self.secret()?, &order.0)?;
        vanity::verify::check_key(&key, AddressKind::P2pkh, &address)?;
        if !address.starts_with(&self.record.pattern) {
            bail!("{address} does not begin with {}: this is a bug, the key is not written", self.record.pattern);
        }
        let key_file = self.dir.join(KEY_FILE);
        write_durably(&key_file, &key.to_wif())?;
        let offset = vanity::Order { id: order.0, worker: solution.worker }.offset(solution.index);
        Ok(Finished { address, key_file, offset: format!("0x{}", hex::encode(offset.to_bytes())) })
    }
}

/// Readable by its owner only, and whole: whatever happens, either the former text is there or this one.
fn write_durably(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    sync_folder(path.parent().expect("a file lies in a folder"))
}

fn sync_folder(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("cannot write {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_pattern_is_refused_with_a_possible_one() {
        let error = parse_pattern("1L0VE").unwrap_err().to_string();
        assert!(error.contains("hint:"), "{error}");
    }
}

//! A worker's vouchers on its own disk: what it has earned stays provable when its pool is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::Address;
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result, bail};
use gristmill_proto::id::WorkerId;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::pool_client::PoolClient;
use crate::vouchers::{Payout, SignedPayout, VoucherView};

const FILE: &str = "vouchers.json";
/// Pools that a worker has worked for; more are a mistake, or a pool that makes itself important.
const VOUCHERS_MAX: usize = 1_000;
/// A voucher replaces all earlier ones: to miss some costs nothing.
const PAUSE: Duration = Duration::from_secs(15);

/// Vouchers of one worker, the newest of each pool and market.
pub(super) struct Purse {
    file: PathBuf,
    pub(super) vouchers: Vec<VoucherView>,
}

impl Purse {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let file = folder.join(FILE);
        let vouchers = match fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is garbled", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        Ok(Self { file, vouchers })
    }

    /// Keeps a voucher if it is worth more than what is there. Says whether it is; a pool cannot take back what it owes.
    pub(super) fn take(&mut self, voucher: VoucherView) -> Result<bool> {
        let owed = voucher.nrlc()?;
        if !is_signed(&voucher)? {
            bail!("the pool's voucher is not signed by {}", voucher.pool);
        }
        let same = |known: &&mut VoucherView| {
            (known.chain_id, known.market, known.pool, known.worker)
                == (voucher.chain_id, voucher.market, voucher.pool, voucher.worker)
        };
        let count = self.vouchers.len();
        match self.vouchers.iter_mut().find(same) {
            Some(known) if known.nrlc()? >= owed => return Ok(false),
            Some(known) => *known = voucher,
            None if count >= VOUCHERS_MAX => bail!("there are {VOUCHERS_MAX} vouchers already"),
            None => self.vouchers.push(voucher),
        }
        self.save()?;
        Ok(true)
    }

    fn save(&self) -> Result<()> {
        let fresh = self.file.with_extension("new");
        let text = serde_json::to_string_pretty(&self.vouchers)?;
        let write = || -> std::io::Result<()> {
            fs::write(&fresh, text + "\n")?;
            fs::File::open(&fresh)?.sync_all()?;
            fs::rename(&fresh, &self.file)
        };
        write().with_context(|| format!("cannot write {}", self.file.display()))
    }
}

fn is_signed(voucher: &VoucherView) -> Result<bool> {
    let VoucherView { chain_id, market, pool, worker, .. } = *voucher;
    let hash = gristmill_chain::voucher::voucher_hash(chain_id, market, pool, worker, voucher.nrlc()?);
    Ok(gristmill_chain::voucher::is_signed_by(pool, hash, &voucher.signature))
}

/// Fetches vouchers as long as the worker runs, once it has said where it wants to be paid.
pub(super) async fn keep(
    pool: PoolClient,
    worker: WorkerId,
    folder: PathBuf,
    mut payout: Option<Address>,
    shutdown: CancellationToken,
) {
    loop {
        let collected = async {
            if let Some(to) = payout {
                choose_payout(&pool, &folder, to).await?;
                payout = None;
            }
            collect(&pool, worker, &folder).await
        };
        if let Err(error) = collected.await {
            debug!(error = format!("{error:#}"), "vouchers cannot be fetched; trying again");
        }
        if shutdown.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return;
        }
    }
}

/// Fetches what the pool owes now; how many vouchers are news.
pub(super) async fn collect(pool: &PoolClient, worker: WorkerId, folder: &Path) -> Result<usize> {
    let mut purse = Purse::open(folder)?;
    let mut news = 0;
    for voucher in pool.vouchers(worker).await? {
        let owed = voucher.cumulative.clone();
        if purse.take(voucher)? {
            info!(nrlc = owed, "the pool owes more");
            news += 1;
        }
    }
    Ok(news)
}

/// The worker's key, from its folder.
pub(super) fn key(folder: &Path) -> Result<PrivateKeySigner> {
    let file = folder.join("key");
    let text = fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}\n\nhint: name the worker's folder with --data-dir", file.display()))?;
    text.trim().parse().with_context(|| format!("{} is no worker key", file.display()))
}

/// Tells the pool where this worker wants to be paid from now on.
pub(super) async fn choose_payout(pool: &PoolClient, folder: &Path, to: Address) -> Result<()> {
    let key = key(folder)?;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let payout = Payout { to, since_ms: u64::try_from(since.as_millis())? };
    let signature = key.sign_hash_sync(&payout.hash(key.address()))?.as_bytes().into();
    pool.set_payout(WorkerId(key.address().into_array()), &SignedPayout { payout, signature }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voucher(pool: &PrivateKeySigner, cumulative: u128) -> VoucherView {
        let (market, worker) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let hash = gristmill_chain::voucher::voucher_hash(1, market, pool.address(), worker, cumulative);
        let signature = pool.sign_hash_sync(&hash).unwrap().as_bytes().into();
        let cumulative = cumulative.to_string();
        VoucherView { chain_id: 1, market, pool: pool.address(), worker, cumulative, signature }
    }

    #[test]
    fn the_best_voucher_of_each_pool_is_kept_and_forgeries_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (pool, other) = (PrivateKeySigner::random(), PrivateKeySigner::random());
        let mut purse = Purse::open(folder.path()).unwrap();
        assert!(purse.take(voucher(&pool, 5)).unwrap());
        assert!(!purse.take(voucher(&pool, 4)).unwrap());
        assert!(purse.take(voucher(&pool, 6)).unwrap());
        assert!(purse.take(voucher(&other, 1)).unwrap());
        let forged = VoucherView { cumulative: "7".to_owned(), ..voucher(&pool, 6) };
        assert!(purse.take(forged).is_err());
        let owed = |purse: &Purse| purse.vouchers.iter().map(|voucher| voucher.nrlc().unwrap()).collect::<Vec<_>>();
        assert_eq!(owed(&purse), [6, 1]);
        assert_eq!(owed(&Purse::open(folder.path()).unwrap()), [6, 1]);
    }

    #[test]
    fn a_purse_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut purse = Purse::open(folder.path()).unwrap();
        let pool = PrivateKeySigner::random();
        let filler = VoucherView { chain_id: 2, ..voucher(&pool, 1) };
        purse.vouchers = vec![filler; VOUCHERS_MAX];
        assert!(purse.take(voucher(&pool, 1)).is_err());
    }
}

//! `gristmill order`: buy a computation from a shell, see how it goes, get what came of it.

use std::path::{Path, PathBuf};

use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy::signers::SignerSync as _;
use alloy::sol_types::SolCall;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use gristmill_chain::contracts::{DevRLC, IMarket, Market};
use gristmill_chain::outcome::Outcome;
use gristmill_chain::rpc::Rpc;
use gristmill_chain::{batch_proof, dev};
use gristmill_proto::view::TaskResultView;
use serde_json::json;

use super::key::KeyArgs;
use super::offer::named;
use crate::deploy;
use crate::deployment::Deployment;
use crate::market_order::{self, Found, Part, State, Wish};
use crate::offer::{self, SignedOfferFile};
use crate::oracle;
use crate::pool_client::PoolClient;
use crate::report::{Report, duration};
use crate::rlc::rlc;
use crate::wallet::{self, Wallet};

#[derive(Args)]
pub(super) struct OrderArgs {
    #[command(subcommand)]
    command: OrderCommand,
    /// JSON-RPC of the chain
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:7118", env = "GRISTMILL_RPC")]
    rpc: String,
    /// The pool's contracts and offers
    #[arg(long, global = true, value_name = "FILE", default_value = "deployment.json", env = "GRISTMILL_DEPLOYMENT")]
    deployment: PathBuf,
    /// One JSON object per event on standard output, and nothing else
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum OrderCommand {
    /// Tell what an order costs and who gets it
    Quote(WishArgs),
    /// Pay and order in one transaction; prints the order's id
    Place {
        #[command(flatten)]
        wish: WishArgs,
        /// A pool's signed offer, as `offer sign` prints it
        #[arg(long, value_name = "FILE")]
        signed: Option<PathBuf>,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Sign an order for somebody else to bring, paid from your account in the market; prints a file for `order relay`
    Sign {
        #[command(flatten)]
        wish: WishArgs,
        /// What the bringer gets for the gas, in RLC
        #[arg(long, value_name = "RLC", default_value = "0")]
        tip: String,
        /// Seconds from now until it ends
        #[arg(long, default_value_t = 86_400)]
        valid_s: u64,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Bring an order that somebody else has signed
    Relay {
        file: PathBuf,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Put RLC into your account in the market, which pays signed orders
    Deposit {
        #[arg(value_name = "RLC")]
        amount: String,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Tell how an order goes
    Status { order: B256 },
    /// Get an order's results from the pool, and check them against the chain
    Fetch {
        order: B256,
        /// The pool
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7117", env = "GRISTMILL_POOL")]
        pool: String,
        /// A folder that does not exist yet [default: order- and the id's beginning]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Prove a task's result of a bag that was settled by one root, for a contract
    Proof {
        order: B256,
        task: u64,
        /// The pool
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7117", env = "GRISTMILL_POOL")]
        pool: String,
    },
    /// Ask to have an order back that nobody has begun with
    Cancel {
        order: B256,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Have an order refunded whose deadline has passed or whose cancellation has taken effect
    Refund {
        order: B256,
        #[command(flatten)]
        key: KeyArgs,
    },
}

#[derive(Args)]
pub(super) struct WishArgs {
    /// The offer's name or id
    offer: String,
    /// Order a bag of so many tasks
    #[arg(long, value_name = "TASKS")]
    bag: Option<u64>,
    /// Units of a single order
    #[arg(long, conflicts_with = "bag", default_value_t = 1)]
    units: u64,
    /// The order's parameters, in hexadecimal, for apps that read bytes
    #[arg(long, value_name = "HEX", conflicts_with = "args")]
    params: Option<Bytes>,
    /// Contract that receives the result
    #[arg(long, value_name = "ADDRESS", requires = "callback_gas")]
    callback: Option<Address>,
    /// Gas that it is given for that
    #[arg(long, value_name = "GAS")]
    callback_gas: Option<u32>,
    /// Arguments for the program; `{task}` stands for the task's number
    #[arg(last = true)]
    args: Vec<String>,
}

impl WishArgs {
    fn wish(&self) -> Result<Wish> {
        let params = match &self.params {
            Some(params) => params.clone(),
            None => serde_json::to_vec(&self.args)?.into(),
        };
        Ok(Wish {
            units: self.bag.unwrap_or(self.units),
            bag: self.bag.is_some(),
            params,
            callback: self.callback.unwrap_or_default(),
            callback_gas: self.callback_gas.unwrap_or_default(),
        })
    }
}

pub(super) async fn run(args: OrderArgs) -> Result<()> {
    let report = Report::new(args.json);
    let done = Box::pin(execute(args, &report)).await;
    report.concluded(done)
}

async fn execute(args: OrderArgs, report: &Report) -> Result<()> {
    let deployment = Deployment::read(&args.deployment)?;
    let shell = Shell { rpc: Rpc::connect(&args.rpc)?, deployment, report };
    match args.command {
        OrderCommand::Quote(wish) => shell.quote(&wish),
        OrderCommand::Place { wish, signed: None, key } => shell.place(&wish, &key).await,
        OrderCommand::Place { wish, signed: Some(file), key } => shell.place_signed(&wish, &file, &key).await,
        OrderCommand::Sign { wish, tip, valid_s, key } => shell.sign(&wish, &tip, valid_s, &key).await,
        OrderCommand::Relay { file, key } => shell.relay(&file, &key).await,
        OrderCommand::Deposit { amount, key } => shell.deposit(&amount, &key).await,
        OrderCommand::Status { order } => shell.status(order).await,
        OrderCommand::Fetch { order, pool, out } => shell.fetch(order, &pool, out).await,
        OrderCommand::Proof { order, task, pool } => shell.proof(order, task, &pool).await,
        OrderCommand::Cancel { order, key } => {
            let call = |order| Market::cancelCall { order }.abi_encode();
            shell.act(order, &key, "cancel the order", call).await?;
            let text =
                "asked; unless the pool says within an hour that it is at work, `gristmill order refund` gets it back";
            report.result("cancelling", &json!({ "order": order }), text);
            Ok(())
        }
        OrderCommand::Refund { order, key } => {
            let call = |order| Market::refundCall { order }.abi_encode();
            shell.act(order, &key, "refund the order", call).await?;
            let text = "refunded, to the requester's account in the market";
            report.result("refunded", &json!({ "order": order }), text);
            Ok(())
        }
    }
}

/// What every command here works with.
struct Shell<'a> {
    rpc: Rpc,
    deployment: Deployment,
    report: &'a Report,
}

impl Shell<'_> {
    async fn wallet(&self, key: &KeyArgs) -> Result<Wallet> {
        let chain_id = wallet::chain_id(&self.rpc).await?;
        if chain_id != self.deployment.chain_id {
            bail!(
                "the deployment is on chain {}, but the endpoint serves chain {chain_id}\n\n\
                 hint: give the right endpoint with --rpc, or the right file with --deployment",
                self.deployment.chain_id
            );
        }
        let wallet = Wallet::new(self.rpc.clone(), key.load(chain_id)?).await?;
        if chain_id == dev::CHAIN_ID {
            deploy::take_play_rlc(&wallet, self.deployment.token).await?;
        }
        Ok(wallet)
    }

    fn quote(&self, args: &WishArgs) -> Result<()> {
        let offer = named(&self.deployment, &args.offer)?;
        let quote = market_order::quote(offer, args.wish()?.units)?;
        let amount = |text: &str| rlc(text.parse().unwrap_or_default());
        let text = format!(
            "{}: {} to workers, {} to the pool, {} to the app's provider; refunded without a result within {}",
            amount(&quote.price),
            amount(&quote.workers),
            amount(&quote.pool),
            amount(&quote.provider),
            duration(f64::from(quote.duration_s))
        );
        self.report.result("quote", &quote, &text);
        Ok(())
    }

    fn tell_placed(&self, found: &Found) {
        let facts = json!({ "order": found.id, "price_nrlc": found.order.price.to_string(), "block": found.block,
            "deadline": found.order.deadline });
        self.report.result("placed", &facts, &found.id.to_string());
    }

    async fn place(&self, args: &WishArgs, key: &KeyArgs) -> Result<()> {
        let (offer, wish) = (named(&self.deployment, &args.offer)?, args.wish()?);
        let price = market_order::quote(offer, wish.units)?.price.parse()?;
        let wallet = self.wallet(key).await?;
        let found = market_order::place(&wallet, &self.deployment, offer.id, &wish, price).await?;
        self.tell_placed(&found);
        Ok(())
    }

    async fn place_signed(&self, args: &WishArgs, file: &Path, key: &KeyArgs) -> Result<()> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let signed: SignedOfferFile =
            serde_json::from_str(&text).with_context(|| format!("{} is no signed offer", file.display()))?;
        let wish = args.wish()?;
        if (signed.chain_id, signed.market) != (self.deployment.chain_id, self.deployment.market) {
            bail!("this offer is for the market {} on chain {}", signed.market, signed.chain_id);
        }
        if wish.bag {
            bail!("the market takes no bags under signed offers\n\nhint: order single units with --units");
        }
        let price = U256::from(market_order::quote(&signed.offer, wish.units)?.price.parse::<u128>()?);
        let wallet = self.wallet(key).await?;
        let call = Market::requestSignedCall {
            signed: signed.for_market(&self.deployment),
            signature: signed.signature,
            units: wish.units,
            priceMax: price,
            callback: wish.callback,
            callbackGas: wish.callback_gas,
            params: wish.params,
        };
        let (doing, call) = ("take the offer", call.abi_encode());
        // Money goes into the account only for an offer that is good for all else.
        match wallet.sign(doing, TxKind::Call(self.deployment.market), call.clone().into(), U256::ZERO).await {
            Err(error) if error.to_string().contains("AccountTooLow") => self.fill_account(&wallet, price).await?,
            tried => drop(tried?),
        }
        let receipt = wallet.call(doing, self.deployment.market, call).await?;
        self.tell_placed(&market_order::ordered_in(&receipt).context("the transaction left no order")?);
        Ok(())
    }

    /// Puts what is missing into the account in the market.
    async fn fill_account(&self, wallet: &Wallet, needed: U256) -> Result<()> {
        let market = Market::new(self.deployment.market, self.rpc.provider());
        let held = market.accountOf(wallet.address()).call().await?;
        let missing = needed.saturating_sub(held);
        if missing.is_zero() {
            return Ok(());
        }
        let call = DevRLC::approveAndCallCall { spender: self.deployment.market, amount: missing, data: Bytes::new() };
        wallet.call("deposit RLC", self.deployment.token, call.abi_encode()).await?;
        Ok(())
    }

    async fn deposit(&self, amount: &str, key: &KeyArgs) -> Result<()> {
        let (amount, wallet) = (U256::from(offer::parse_rlc(amount)?), self.wallet(key).await?);
        let market = Market::new(self.deployment.market, self.rpc.provider());
        let held = market.accountOf(wallet.address()).call().await?;
        self.fill_account(&wallet, held + amount).await?;
        let facts = json!({ "account": wallet.address(), "balance_nrlc": (held + amount).to_string() });
        self.report.result("deposited", &facts, &format!("{} in the market", rlc(held + amount)));
        Ok(())
    }

    async fn sign(&self, args: &WishArgs, tip: &str, valid_s: u64, key: &KeyArgs) -> Result<()> {
        let (offer, wish) = (named(&self.deployment, &args.offer)?, args.wish()?);
        let price: u128 = market_order::quote(offer, wish.units)?.price.parse()?;
        let key = key.load(self.deployment.chain_id)?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let request = IMarket::SignedRequest {
            requester: key.address(),
            relayer: Address::ZERO,
            tip: alloy::primitives::aliases::U96::from(offer::parse_rlc(tip)?),
            offer: offer.id,
            units: wish.units,
            bag: wish.bag,
            priceMax: alloy::primitives::aliases::U96::from(price),
            callback: wish.callback,
            callbackGas: wish.callback_gas,
            validUntil: now.as_secs().saturating_add(valid_s),
            salt: keccak256(format!("{now:?} {}", key.address())),
            params: wish.params,
        };
        let signature: Bytes = key.sign_hash_sync(&offer::request_hash(&self.deployment, &request))?.as_bytes().into();
        let call: Bytes = Market::relayCall { signed: request, signature }.abi_encode().into();
        let facts = json!({ "market": self.deployment.market, "chain_id": self.deployment.chain_id, "call": call });
        self.report.result("signed", &facts, &serde_json::to_string_pretty(&facts)?);
        Ok(())
    }

    async fn relay(&self, file: &Path, key: &KeyArgs) -> Result<()> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let signed: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("{} is no signed order", file.display()))?;
        let call: Bytes = serde_json::from_value(signed["call"].clone())
            .with_context(|| format!("{} is no signed order", file.display()))?;
        // Whoever wrote the file chooses what is called; only the one function that is meant may be.
        Market::relayCall::abi_decode(&call).with_context(|| format!("{} is no signed order", file.display()))?;
        let wallet = self.wallet(key).await?;
        let receipt = wallet.call("bring the order", self.deployment.market, call.to_vec()).await?;
        self.tell_placed(&market_order::ordered_in(&receipt).context("the transaction left no order")?);
        Ok(())
    }

    async fn act(
        &self,
        id: B256,
        key: &KeyArgs,
        doing: &str,
        call: impl FnOnce(IMarket::Order) -> Vec<u8>,
    ) -> Result<()> {
        let found = market_order::find(&self.rpc, &self.deployment, id).await?;
        let wallet = self.wallet(key).await?;
        wallet.call(doing, self.deployment.market, call(found.order)).await?;
        Ok(())
    }

    async fn status(&self, id: B256) -> Result<()> {
        let found = market_order::find(&self.rpc, &self.deployment, id).await?;
        let standing = market_order::standing(&self.rpc, self.deployment.market, &found).await?;
        let count = |part: &Part| match part {
            Part::Task { .. } => (1, 0),
            Part::Failed { .. } => (1, 1),
            Part::Batch { count, failed, .. } => (*count, *failed),
        };
        let (done, failed) =
            standing.parts.iter().map(count).fold((0, 0), |(d, f), (done, failed)| (d + done, f + failed));
        let tasks = if found.is_bag() { found.order.units } else { 1 };
        let facts = json!({ "order": id, "state": standing.state, "tasks": tasks, "done": done, "failed": failed,
            "refunded_nrlc": standing.refunded.to_string(), "declined": standing.declined,
            "transaction": standing.transaction, "deadline": found.order.deadline });
        let mut text = match standing.state {
            State::Open => format!("open, {done} of {tasks} tasks settled"),
            State::Cancelling => "being cancelled".to_owned(),
            State::Settled => format!("settled: {done} tasks, {failed} of them failed and refunded"),
            State::Refunded => format!("refunded: {}", rlc(standing.refunded)),
        };
        if let Some(reason) = &standing.declined {
            text += &format!("; the pool says: {reason}");
        }
        self.report.result("order", &facts, &text);
        Ok(())
    }

    async fn results(&self, id: B256, pool: &PoolClient) -> Result<Vec<TaskResultView>> {
        let job = pool.job_by_external_id(&format!("{id:#x}")).await?;
        let job = job.with_context(|| format!("the pool at {} does not know the order", pool.url()))?;
        pool.results(job.id).await
    }

    async fn fetch(&self, id: B256, pool: &str, out: Option<PathBuf>) -> Result<()> {
        let found = market_order::find(&self.rpc, &self.deployment, id).await?;
        let standing = market_order::standing(&self.rpc, self.deployment.market, &found).await?;
        if standing.parts.is_empty() {
            bail!("nothing of this order is settled yet\n\nhint: `gristmill order status {id}` tells how it goes");
        }
        let pool = PoolClient::new(pool, "");
        let results = self.results(id, &pool).await?;
        let folder = out.unwrap_or_else(|| PathBuf::from(format!("order-{}", &id.to_string()[2..10])));
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut fetched = 0_u64;
        for part in &standing.parts {
            for result in checked(part, &results)? {
                let place = if found.is_bag() { folder.join(result.task.to_string()) } else { folder.clone() };
                write_result(&pool, &place, result).await?;
                fetched += 1;
            }
        }
        let facts = json!({ "order": id, "folder": folder, "results": fetched });
        let text = format!("{fetched} results in {}, as they were settled on chain", folder.display());
        self.report.result("fetched", &facts, &text);
        Ok(())
    }

    async fn proof(&self, id: B256, task: u64, pool: &str) -> Result<()> {
        let found = market_order::find(&self.rpc, &self.deployment, id).await?;
        let standing = market_order::standing(&self.rpc, self.deployment.market, &found).await?;
        let results = self.results(id, &PoolClient::new(pool, "")).await?;
        for part in &standing.parts {
            let Part::Batch { root, .. } = part else { continue };
            let members = checked(part, &results)?;
            let Some(position) = members.iter().position(|result| result.task == task) else { continue };
            let encoded = members.iter().map(|result| oracle::outcome(result)).collect::<Result<Vec<_>>>()?;
            let leaves: Vec<B256> =
                members.iter().zip(&encoded).map(|(member, bytes)| batch_proof::leaf(member.task, bytes)).collect();
            let path = batch_proof::path(&leaves, position);
            let facts = json!({ "order": id, "root": root, "index": task, "result": encoded[position], "path": path });
            self.report.result("proof", &facts, &serde_json::to_string_pretty(&facts)?);
            return Ok(());
        }
        bail!("no root on chain holds a result of task {task}\n\nhint: it may have failed, or not be settled yet")
    }
}

/// The pool's results of a part, if they are those that the chain knows.
fn checked<'a>(part: &Part, results: &'a [TaskResultView]) -> Result<Vec<&'a TaskResultView>> {
    match part {
        Part::Failed { .. } => Ok(Vec::new()),
        Part::Task { index, result } => {
            let found = results.iter().find(|found| found.task == *index || results.len() == 1);
            let found = found.with_context(|| format!("the pool has no result of task {index} any more"))?;
            let raw = found.answer.as_deref().and_then(|answer| alloy::hex::decode(answer).ok());
            let known = oracle::outcome(found).is_ok_and(|outcome| outcome == *result)
                || raw.is_some_and(|raw| raw == **result);
            if !known {
                bail!("the pool shows another result of task {index} than it has settled with");
            }
            Ok(vec![found])
        }
        Part::Batch { first, count, failed, root } => {
            let range = *first..first.saturating_add(*count);
            let of = |result: &&TaskResultView| range.contains(&result.task) && oracle::outcome(result).is_ok();
            let members: Vec<&TaskResultView> = results.iter().filter(of).collect();
            let leaf = |result: &&TaskResultView| Ok(batch_proof::leaf(result.task, &oracle::outcome(result)?));
            let leaves = members.iter().map(leaf).collect::<Result<Vec<B256>>>()?;
            if batch_proof::root(&leaves) != *root || members.len() as u64 + failed != *count {
                bail!("the pool shows other results than it has settled with: their root is not that on chain");
            }
            Ok(members)
        }
    }
}

async fn write_result(pool: &PoolClient, folder: &Path, result: &TaskResultView) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if let Some(answer) = &result.answer {
        let path = folder.join("result");
        let bytes = alloy::hex::decode(answer).context("the pool's answer is garbled")?;
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let settled = Outcome::parse(&oracle::outcome(result)?).context("an outcome has a head")?;
    if settled.location != B256::from(oracle::location(&result.files).0) {
        bail!("the pool lists other files than it has settled with");
    }
    for file in &result.files {
        if !gristmill_proto::app::is_plain_path(&file.path) {
            bail!("the pool names an output `{}`, which is no plain path", file.path);
        }
        let path = folder.join(&file.path);
        if path.symlink_metadata().is_ok() {
            bail!("{} is there already", path.display());
        }
        pool.download(file.digest, file.size, &path).await?;
    }
    Ok(())
}

//! The acceptance test of the iExec path: their command line, as npm has it, uses a pool from `init` to `claim`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::run::{cargo, root, run, say};
use crate::setup;

const PACKAGES: &str = "xtask/iexec";
const PASSWORD: &str = "grist";
const NOBODY: &str = "0x0000000000000000000000000000000000000000";
/// TEE and TDX: what 9.0.1 puts on every order.
const ENCLAVE_TAG: &str = "0x0000000000000000000000000000000000000000000000000000000000000009";

/// Accounts of the development chain, whose keys everybody knows.
struct Account {
    address: &'static str,
    key: &'static str,
}

const PROVIDER: Account = Account {
    address: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    key: "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
};
/// `gristmill dev` gives this one play RLC.
const REQUESTER: Account = Account {
    address: "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
    key: "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
};
/// `gristmill dev` serves the pools of this one.
const OPERATOR: Account = Account {
    address: "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
    key: "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
};

pub(crate) fn check() -> Result<()> {
    setup::npm_packages(PACKAGES)?;
    cargo(&["build", "--release", "--locked", "-p", "gristmill"])?;
    let home = std::env::temp_dir().join(format!("gristmill-iexec-{}", std::process::id()));
    fs::create_dir_all(&home)?;
    let mut grid = Grid::start(&home, ["0", "0"])?;
    let program = home.join("primes");
    run(Command::new("cc").args(["-static", "-O2", "-o"]).arg(&program).arg(format!("{PACKAGES}/primes.c")))?;

    let cli = Cli::open("9.0.0", &[], &home, &grid)?;
    let market = cli.set_up(&grid, &program)?;
    cli.by_signed_orders(&market)?;
    cli.by_the_order_book(&market)?;
    cli.not_runnable(&market)?;
    cli.closed_and_claimed(&market)?;
    cli.through_kills(&market, &mut grid, &home)?;
    say(
        "iexec 9.0.0: init, deploy, orders, deals, results, order book, refusals, cancel, claim, and a bag through kills",
    );

    // It would ask iExec's secret service about the dataset's key. There is none: the dataset is not encrypted.
    let newer = Cli::open("9.0.1", &["--skip-preflight-check"], &home, &grid)?;
    newer.with_tags_of_an_enclave(&market)?;
    say("iexec 9.0.1: its orders, which always ask for an enclave, are served without one");
    drop(grid);
    Ok(fs::remove_dir_all(home)?)
}

/// `gristmill dev`: chain, hub, pool, worker and both oracles.
struct Grid {
    process: Child,
    dir: PathBuf,
    pool: String,
    chain: String,
    /// The pool that is registered from the start.
    workerpool: String,
}

impl Grid {
    fn start(home: &Path, [port, chain_port]: [&str; 2]) -> Result<Self> {
        let dir = home.join("grid");
        let mut process = Command::new(gristmill())
            .args(["dev", "--json", "--slots", "1", "--port", port, "--chain-port", chain_port, "--data-dir"])
            .arg(&dir)
            .env("GRISTMILL_LOG", "gristmill=info")
            .stdout(Stdio::piped())
            .stderr(fs::File::create(home.join("grid.log"))?)
            .spawn()?;
        let output = process.stdout.take().context("it was asked for")?;
        let (mut pool, mut chain, mut workerpool) = (None, None, None);
        for line in BufReader::new(output).lines() {
            let event: Value = serde_json::from_str(&line?)?;
            let field = |name: &str| event[name].as_str().map(str::to_owned);
            match event["event"].as_str() {
                Some("hub") => workerpool = field("workerpool"),
                Some("chain") => chain = field("rpc"),
                Some("pool") => pool = field("url"),
                Some("serving") => break,
                _ => {}
            }
        }
        let pool = pool.context("gristmill dev told of no pool")?;
        let workerpool = workerpool.context("gristmill dev told of no hub")?;
        let chain = chain.context("gristmill dev told of no chain")?;
        Ok(Self { process, dir, pool, chain, workerpool })
    }

    /// Ends it as a power cut would, and starts it at the same addresses.
    fn kill_and_start(&mut self, home: &Path) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        let port = |url: &str| url.rsplit(':').next().unwrap_or_default().to_owned();
        *self = Self::start(home, [&port(&self.pool), &port(&self.chain)])?;
        Ok(())
    }

    /// Runs a command of ours that talks to the pool.
    fn gristmill(&self, args: &[&str]) -> Result<Value> {
        let output =
            Command::new(gristmill()).args(args).args(["--pool", &self.pool]).stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "gristmill {args:?} failed");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn token(&self) -> Result<String> {
        for entry in fs::read_dir(&self.dir)? {
            let file = entry?.path().join("token");
            if file.exists() {
                return Ok(file.display().to_string());
            }
        }
        bail!("the pool has no token")
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn gristmill() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("release/gristmill")
}

/// What was deployed.
struct Market {
    app: String,
    dataset: String,
    workerpool: String,
}

/// One version of iExec's command line, in a folder of its own.
struct Cli {
    script: PathBuf,
    guard: PathBuf,
    dir: PathBuf,
    /// For every signature and deal.
    options: &'static [&'static str],
}

impl Cli {
    fn open(version: &str, options: &'static [&'static str], home: &Path, grid: &Grid) -> Result<Self> {
        let packages = root().join(PACKAGES);
        let dir = home.join(version);
        fs::create_dir_all(&dir)?;
        let script = packages.join(format!("node_modules/iexec-{version}/dist/esm/cli/cmd/iexec.js"));
        let cli = Self { script, guard: packages.join("loopback.mjs"), dir, options };
        cli.call(&["init", "--skip-wallet", "--force"])?;
        cli.write("chain.json", &grid.gristmill(&["iexec", "chain"])?)?;
        for account in [PROVIDER, REQUESTER, OPERATOR] {
            let wallet =
                cli.call(&["wallet", "import", account.key, "--password", PASSWORD, "--keystoredir", "keys"])?;
            ensure!(wallet["address"] == account.address, "another wallet was imported: {wallet}");
        }
        Ok(cli)
    }

    /// What it says as JSON, whether it says that all went well or not.
    fn answer(&self, args: &[&str]) -> Result<Value> {
        let guard = format!("--import={}", self.guard.display());
        let output = Command::new("node")
            .current_dir(&self.dir)
            .args([&guard, &self.script.display().to_string()])
            .args(args)
            .arg("--raw")
            .stdin(Stdio::null())
            .output()
            .context("node cannot be run")?;
        // Refusals of several orders together go to standard error, all else to standard output.
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let line = text.lines().rev().find(|line| line.starts_with("{\"ok\""));
        let line = line.with_context(|| format!("iexec {args:?} said no JSON: {text}"))?;
        Ok(serde_json::from_str(line)?)
    }

    fn call(&self, args: &[&str]) -> Result<Value> {
        let answer = self.answer(args)?;
        ensure!(answer["ok"] == true, "iexec {args:?} failed: {answer}");
        Ok(answer)
    }

    fn call_as(&self, account: &Account, args: &[&str]) -> Result<Value> {
        self.call(&[args, &signed_by(account)].concat())
    }

    fn refused_as(&self, account: &Account, args: &[&str], word: &str) -> Result<()> {
        let answer = self.answer(&[args, &signed_by(account)].concat())?;
        ensure!(answer["ok"] == false, "iexec {args:?} should have failed: {answer}");
        ensure!(answer.to_string().contains(word), "iexec {args:?} does not speak of `{word}`: {answer}");
        Ok(())
    }

    fn write(&self, file: &str, value: &Value) -> Result<()> {
        Ok(fs::write(self.dir.join(file), serde_json::to_string_pretty(value)?)?)
    }

    /// Changes parts of iexec.json: what to deploy, or orders.
    fn configure(&self, change: impl FnOnce(&mut Value)) -> Result<()> {
        let mut config: Value = serde_json::from_slice(&fs::read(self.dir.join("iexec.json"))?)?;
        change(&mut config);
        self.write("iexec.json", &config)
    }

    fn stake(&self, account: &Account) -> Result<(u64, u64)> {
        let shown = self.call_as(account, &["account", "show"])?;
        Ok((amount(&shown["balance"]["stake"])?, amount(&shown["balance"]["locked"])?))
    }

    /// Money, an app, a dataset and a pool.
    fn set_up(&self, grid: &Grid, program: &Path) -> Result<Market> {
        let sent =
            self.call_as(&REQUESTER, &["wallet", "send-RLC", "50", "RLC", "--to", OPERATOR.address, "--force"])?;
        ensure!(sent["amount"] == "50000000000", "{sent}");
        self.call_as(&OPERATOR, &["account", "deposit", "20", "RLC"])?;
        self.call_as(&REQUESTER, &["account", "deposit", "100", "RLC"])?;
        ensure!(self.stake(&REQUESTER)? == (100_000_000_000, 0), "the deposit is not there");
        self.call_as(&REQUESTER, &["account", "withdraw", "1", "RLC"])?;
        ensure!(self.stake(&REQUESTER)? == (99_000_000_000, 0), "the withdrawal went wrong");
        let categories = self.call(&["category", "count"])?;
        ensure!(amount(&categories["count"])? >= 5, "{categories}");

        let token = grid.token()?;
        let data = self.dir.join("data.txt");
        fs::write(&data, "ground twice\n")?;
        let put = |kind: &str, path: &Path| {
            grid.gristmill(&["iexec", kind, &path.display().to_string(), "--pool-token", &token])
        };
        let (app, dataset) = (put("app", program)?, put("dataset", &data)?);
        for (kind, owner) in [("app", &PROVIDER), ("dataset", &PROVIDER), ("workerpool", &OPERATOR)] {
            self.call_as(owner, &[kind, "init"])?;
        }
        self.configure(|config| {
            for (kind, fields) in [("app", &app["app"]), ("dataset", &dataset["dataset"])] {
                for (name, value) in fields.as_object().into_iter().flatten() {
                    config[kind][name] = value.clone();
                }
            }
        })?;
        let deploy = |owner: &Account, kind: &str| -> Result<String> {
            let address = text(&self.call_as(owner, &[kind, "deploy"])?["address"])?;
            let shown = self.call_as(owner, &[kind, "show", &address])?;
            ensure!(shown[kind]["owner"] == owner.address, "{shown}");
            ensure!(amount(&self.call_as(owner, &[kind, "count"])?["count"])? >= 1, "{kind} is not counted");
            Ok(address)
        };
        let market = Market {
            app: deploy(&PROVIDER, "app")?,
            dataset: deploy(&PROVIDER, "dataset")?,
            workerpool: deploy(&OPERATOR, "workerpool")?,
        };
        let registered = self.call_as(&OPERATOR, &["workerpool", "show", &grid.workerpool])?;
        ensure!(registered["workerpool"]["owner"] == OPERATOR.address, "{registered}");
        Ok(market)
    }

    /// Four orders, signed by their owners.
    fn sign_orders(&self, market: &Market, change: impl FnOnce(&mut Value)) -> Result<()> {
        self.call_as(&REQUESTER, &["order", "init", "--app", "--dataset", "--workerpool", "--request"])?;
        self.configure(|config| {
            let orders = &mut config["order"];
            let common = [("volume", json!("10"))];
            let fields = [
                ("apporder", vec![("app", json!(market.app)), ("appprice", json!("1"))]),
                ("datasetorder", vec![("dataset", json!(market.dataset)), ("datasetprice", json!("2"))]),
                ("workerpoolorder", vec![("workerpool", json!(market.workerpool)), ("workerpoolprice", json!("10"))]),
                (
                    "requestorder",
                    vec![
                        ("app", json!(market.app)),
                        ("dataset", json!(market.dataset)),
                        ("workerpool", json!(market.workerpool)),
                        ("appmaxprice", json!("1")),
                        ("datasetmaxprice", json!("2")),
                        ("workerpoolmaxprice", json!("10")),
                        ("params", json!({ "iexec_args": "100000" })),
                    ],
                ),
            ];
            for (order, fields) in fields {
                for (name, value) in fields.into_iter().chain(common.clone()) {
                    orders[order][name] = value;
                }
            }
            change(orders);
        })?;
        for (owner, kind) in
            [(&PROVIDER, "--app"), (&PROVIDER, "--dataset"), (&OPERATOR, "--workerpool"), (&REQUESTER, "--request")]
        {
            self.call_as(owner, &[&["order", "sign", kind], self.options].concat())?;
        }
        Ok(())
    }

    fn fill(&self) -> Result<(String, Vec<String>)> {
        let deal = text(&self.call_as(&REQUESTER, &[&["order", "fill"], self.options].concat())?["dealid"])?;
        let shown = self.call(&["deal", "show", &deal])?;
        let tasks =
            shown["deal"]["tasks"].as_array().context("a deal has tasks")?.iter().map(text).collect::<Result<_>>()?;
        Ok((deal, tasks))
    }

    /// Without an order book: a bag of three, with a dataset.
    fn by_signed_orders(&self, market: &Market) -> Result<()> {
        let before = self.stake(&REQUESTER)?;
        self.sign_orders(market, |orders| orders["requestorder"]["volume"] = "3".into())?;
        let (_, tasks) = self.fill()?;
        ensure!(tasks.len() == 3, "a deal of three tasks has {}", tasks.len());
        for (index, task) in tasks.iter().enumerate() {
            let files = self.download(task)?;
            ensure!(files["primes.txt"] == "9592\ndataset: ground twice\n", "{files}");
            ensure!(files["stdout.txt"] == format!("9592 primes below 100000, task {index}\n"), "{files}");
            ensure!(files["result"] == word(9592).as_str(), "{files}");
        }
        let after = self.stake(&REQUESTER)?;
        ensure!(after == (before.0 - 3 * 13, before.1), "three tasks of 13 nRLC changed {before:?} to {after:?}");
        Ok(())
    }

    /// Waits for a task and reads its archive: name to content, a character a byte.
    fn download(&self, task: &str) -> Result<Value> {
        let shown = self.call_as(&REQUESTER, &["task", "show", task, "--watch", "--download", task])?;
        ensure!(shown["task"]["statusName"] == "COMPLETED", "{shown}");
        let script = "import sys, zipfile, json\n\
                      with zipfile.ZipFile(sys.argv[1]) as z: print(json.dumps({n: z.read(n).decode('latin-1') for n in z.namelist()}))";
        let archive = self.dir.join(format!("{task}.zip"));
        let output =
            Command::new("python3").args(["-c", script]).arg(&archive).output().context("python3 cannot be run")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Published offers are found, used by `app run`, and taken back.
    fn by_the_order_book(&self, market: &Market) -> Result<()> {
        self.sign_orders(market, |_| {})?;
        for (owner, kind) in
            [(&PROVIDER, "app"), (&PROVIDER, "dataset"), (&OPERATOR, "workerpool"), (&REQUESTER, "request")]
        {
            let published = self.call_as(owner, &["order", "publish", &format!("--{kind}"), "--force"])?;
            let hash = text(&published[format!("{kind}order")]["orderHash"])?;
            let shown = self.call(&["order", "show", &format!("--{kind}"), &hash])?;
            ensure!(shown[format!("{kind}order")]["order"]["volume"] == 10, "{shown}");
        }
        let found = self.call(&["orderbook", "app", &market.app])?;
        ensure!(found["appOrders"][0]["price"] == 1 && amount(&found["count"])? == 1, "{found}");
        let found = self.call(&["orderbook", "dataset", &market.dataset])?;
        ensure!(found["datasetOrders"][0]["remaining"] == 10, "{found}");
        let found = self.call(&["orderbook", "workerpool", "--category", "0"])?;
        ensure!(found["workerpoolOrders"][0]["workerpool"] == market.workerpool.as_str(), "{found}");
        let found =
            self.call(&["orderbook", "requester", REQUESTER.address, "--category", "0", "--workerpool", "any"])?;
        ensure!(amount(&found["count"])? == 1, "{found}");

        let args =
            ["app", "run", &market.app, "--workerpool", &market.workerpool, "--args", "1000", "--watch", "--force"];
        let ran = self.call_as(&REQUESTER, &args)?;
        let task = text(&ran["tasks"][0]["taskid"])?;
        ensure!(self.download(&task)?["primes.txt"] == "168\n", "{ran}");
        self.until("the order book to learn of the deal", || {
            let found = self.call(&["orderbook", "app", &market.app])?;
            Ok(found["appOrders"][0]["remaining"] == 9)
        })?;

        self.refused_as(&REQUESTER, &["order", "unpublish", "--app", "--force"], "published")?;
        self.call_as(&PROVIDER, &["order", "unpublish", "--app", "--force"])?;
        self.call_as(&OPERATOR, &["order", "unpublish", "--workerpool", "--force"])?;
        ensure!(amount(&self.call(&["orderbook", "app", &market.app])?["count"])? == 0, "the app is still offered");
        self.refused_as(&REQUESTER, &args, "No order available")
    }

    /// An image that no registry of ours has: refunded at once.
    fn not_runnable(&self, market: &Market) -> Result<()> {
        self.configure(|config| {
            config["app"]["name"] = "foreign".into();
            config["app"]["multiaddr"] = "registry.example/nobody/nothing:1".into();
        })?;
        let app = text(&self.call_as(&PROVIDER, &["app", "deploy"])?["address"])?;
        let before = self.stake(&REQUESTER)?;
        let market = Market { app, dataset: market.dataset.clone(), workerpool: market.workerpool.clone() };
        self.sign_orders(&market, |orders| orders["requestorder"]["volume"] = "2".into())?;
        for task in self.fill()?.1 {
            self.until("the pool to give the task back", || {
                Ok(self.call(&["task", "show", &task])?["task"]["statusName"] == "FAILED")
            })?;
        }
        let after = self.stake(&REQUESTER)?;
        ensure!(after == before, "a refused deal changed {before:?} to {after:?}");
        Ok(())
    }

    /// Orders closed by their owners; a task of a pool that nobody serves, claimed when its time is over.
    fn closed_and_claimed(&self, market: &Market) -> Result<()> {
        self.sign_orders(market, |_| {})?;
        for (owner, kind) in
            [(&PROVIDER, "app"), (&PROVIDER, "dataset"), (&OPERATOR, "workerpool"), (&REQUESTER, "request")]
        {
            self.call_as(owner, &["order", "cancel", &format!("--{kind}"), "--force"])?;
        }
        self.refused_as(&REQUESTER, &["order", "fill"], "consumed")?;

        // Ten times one second: the shortest wait that the chain and the tool agree upon.
        self.configure(|config| {
            config["category"] = json!({ "name": "blink", "description": "1 second", "workClockTimeRef": "1" });
            config["workerpool"]["owner"] = PROVIDER.address.into();
            config["workerpool"]["description"] = "nobody's".into();
        })?;
        let category = self.call_as(&OPERATOR, &["category", "create"])?;
        let category = text(&category["catid"])?;
        let workerpool = text(&self.call_as(&PROVIDER, &["workerpool", "deploy"])?["address"])?;
        let idle = Market { workerpool, app: market.app.clone(), dataset: market.dataset.clone() };
        let before = self.stake(&REQUESTER)?;
        self.call_as(&REQUESTER, &["order", "init", "--app", "--dataset", "--workerpool", "--request"])?;
        self.configure(|config| {
            let orders = &mut config["order"];
            for (order, field, value) in [
                ("apporder", "app", &idle.app),
                ("workerpoolorder", "workerpool", &idle.workerpool),
                ("requestorder", "app", &idle.app),
                ("requestorder", "workerpool", &idle.workerpool),
            ] {
                orders[order][field] = value.as_str().into();
            }
            orders["apporder"]["appprice"] = "5".into();
            orders["requestorder"]["appmaxprice"] = "5".into();
            orders["requestorder"]["dataset"] = NOBODY.into();
            orders["requestorder"]["volume"] = "2".into();
            orders["workerpoolorder"]["volume"] = "2".into();
            orders["workerpoolorder"]["category"] = category.as_str().into();
            orders["requestorder"]["category"] = category.as_str().into();
        })?;
        self.call_as(&PROVIDER, &["order", "sign", "--app"])?;
        self.call_as(&PROVIDER, &["order", "sign", "--workerpool"])?;
        self.call_as(&REQUESTER, &["order", "sign", "--request"])?;
        let signed: Value = serde_json::from_slice(&fs::read(self.dir.join("orders.json"))?)?;
        let mut signed = signed;
        for orders in signed.as_object_mut().into_iter().flat_map(|chains| chains.values_mut()) {
            orders.as_object_mut().context("orders by kind")?.remove("datasetorder");
        }
        self.write("orders.json", &signed)?;
        let (deal, tasks) = self.fill()?;
        ensure!(self.stake(&REQUESTER)? == (before.0 - 10, before.1 + 10), "the price of two tasks is not locked");
        self.until("the deal's end", || Ok(self.call(&["deal", "show", &deal])?["deal"]["deadlineReached"] == true))?;
        self.call_as(&REQUESTER, &["deal", "claim", &deal])?;
        for task in &tasks {
            let shown = self.call(&["task", "show", task])?;
            ensure!(shown["task"]["statusName"] == "FAILED", "{shown}");
        }
        ensure!(self.stake(&REQUESTER)? == before, "the claims did not bring the money back");
        Ok(())
    }

    /// A bag whose grid is killed again and again: each task is done, and paid for once.
    fn through_kills(&self, market: &Market, grid: &mut Grid, home: &Path) -> Result<()> {
        let before = self.stake(&REQUESTER)?;
        self.sign_orders(market, |_| {})?;
        let (_, tasks) = self.fill()?;
        for _ in 0..2 {
            grid.kill_and_start(home)?;
        }
        for task in [&tasks[0], &tasks[tasks.len() - 1]] {
            ensure!(self.download(task)?["primes.txt"] == "9592\ndataset: ground twice\n", "another result");
        }
        self.until("all tasks to be paid", || Ok(self.stake(&REQUESTER)?.1 == before.1))?;
        let after = self.stake(&REQUESTER)?;
        ensure!(after.0 == before.0 - 10 * 13, "ten tasks of 13 nRLC changed {before:?} to {after:?}");
        Ok(())
    }

    /// 9.0.1 asks for an enclave in every order; this pool needs none to serve them.
    fn with_tags_of_an_enclave(&self, market: &Market) -> Result<()> {
        for (owner, kind) in [(&PROVIDER, "app"), (&PROVIDER, "dataset"), (&OPERATOR, "workerpool")] {
            self.call_as(owner, &[kind, "init"])?;
        }
        self.sign_orders(market, |orders| orders["requestorder"]["volume"] = "1".into())?;
        let (deal, tasks) = self.fill()?;
        let shown = self.call(&["deal", "show", &deal])?;
        ensure!(shown["deal"]["tag"] == ENCLAVE_TAG, "{shown}");
        ensure!(self.download(&tasks[0])?["primes.txt"] == "9592\ndataset: ground twice\n", "another result");
        Ok(())
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds()? {
            ensure!(Instant::now() < deadline, "waited a minute for {what} in vain");
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

fn signed_by(account: &Account) -> [&'static str; 6] {
    ["--wallet-address", account.address, "--password", PASSWORD, "--keystoredir", "keys"]
}

/// What the app's `computed.json` gives to a contract, as [`Cli::download`] shows it.
fn word(number: u64) -> String {
    [[0; 24].as_slice(), &number.to_be_bytes()].concat().into_iter().map(char::from).collect()
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("`{value}` is no text"))
}

/// The tool writes numbers in several ways.
fn amount(value: &Value) -> Result<u64> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number.with_context(|| format!("`{value}` is no number"))
}

//! The development chain beside anvil: the same transactions must do the same on both. And the tools that people use
//! besides alloy, run against it unmodified.
//!
//! `GRISTMILL_SEED=7 cargo test -p gristmill-chain --test dev_differential` repeats a failing history.

mod dev_fixture;

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxEnvelope, TxLegacy},
    eips::{
        Encodable2718,
        eip2930::{AccessList, AccessListItem},
        eip7702::Authorization,
    },
    network::TxSignerSync,
    primitives::{Address, B256, Bytes, TxKind, U256, hex, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol,
    sol_types::{SolCall, SolConstructor},
};
use dev_fixture::{
    Fixture, LOGGER, Rpc,
    anvil::{Anvil, foundry},
    compare::{differences, strip},
    dice::Dice,
};
use gristmill_chain::{
    contracts::DevRLC,
    dev::{self, CHAIN_ID, Config},
};
use serde_json::{Value, json};

sol! {
    interface Kitchen {
        function store(uint256 from, uint256 count, uint256 value);
        function bounce(uint256 slot, uint256 value);
        function logs(uint256 count, uint256 bytes_);
        function refuse(uint256 kind, bytes text);
        function child(uint256 value, uint256 wei_, bool fail);
        function child2(bytes32 salt, uint256 wei_);
        function tryChild(uint256 value) returns (bool);
        function endChild(address to);
        function ephemeral(address to, uint256 wei_);
        function pay(address to, uint256 wei_, uint256 gas_);
        function transientSum(uint256 count);
        function recurse(uint256 depth);
        function hashes(bytes data);
        function precompile(address at, bytes input, uint256 gas_);
        function environment();
        function memory_(uint256 bytes_);
    }
}

/// Transactions in one history: enough to meet every kind several times.
const STEPS: usize = 160;
const START: u64 = 1_900_000_000;

/// Both chains, and what the test knows of them.
struct Twins {
    ours: Fixture,
    anvil: Anvil,
    dice: Dice,
    signers: Vec<PrivateKeySigner>,
    nonces: Vec<u64>,
    now: u64,
    kitchen: Address,
    token: Address,
    /// Addresses whose balance, nonce, code and storage are compared in the end.
    touched: Vec<Address>,
}

impl Twins {
    async fn start(seed: u64) -> Self {
        let config = Config { genesis_timestamp: Some(START), ..Config::default() };
        let ours = Fixture::start(config).await;
        let (chain_id, start) = (CHAIN_ID.to_string(), START.to_string());
        let anvil = Anvil::start(&["--chain-id", &chain_id, "--timestamp", &start]).await;
        let twins = Self {
            ours,
            anvil,
            dice: Dice(seed),
            signers: dev::accounts(),
            nonces: vec![0; 10],
            now: START,
            kitchen: dev::addresses()[0].create(0),
            token: dev::addresses()[0].create(1),
            touched: dev::addresses(),
        };
        // Anvil gives the first block its parent's base fee instead of the next one.
        let fee = json!(["0x3b9aca00"]);
        twins.both("anvil_setNextBlockBaseFeePerGas", fee).await;
        twins
    }

    async fn both(&self, method: &str, params: Value) -> [Value; 2] {
        let (ours, theirs) =
            tokio::join!(self.ours.rpc.answer(method, params.clone()), self.anvil.rpc.answer(method, params));
        [ours, theirs]
    }

    async fn same(&self, method: &str, params: Value) -> Value {
        let [mut ours, mut theirs] = self.both(method, params.clone()).await.map(|answer| answer["result"].clone());
        strip(&mut ours);
        strip(&mut theirs);
        let mut found = Vec::new();
        differences("", &ours, &theirs, &mut found);
        assert!(found.is_empty(), "{method} {params}\n{}", found.join("\n"));
        ours
    }

    /// Mines a signed transaction on both and compares everything that can be the same.
    async fn send(&mut self, raw: Bytes, what: &str) -> Option<Value> {
        self.now += 1 + self.dice.below(100);
        self.both("evm_setNextBlockTimestamp", json!([self.now])).await;
        let [ours, theirs] = self.both("eth_sendRawTransaction", json!([raw])).await;
        assert_eq!(ours["result"], theirs["result"], "{what}: {ours} {theirs}");
        let hash = ours.get("result")?.clone();
        // Anvil mines a moment after it answered.
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.anvil.rpc.ok("eth_getTransactionReceipt", json!([hash])).await.is_null()
            || self.anvil.rpc.ok("eth_getTransactionByHash", json!([hash])).await["blockNumber"].is_null()
        {
            assert!(Instant::now() < deadline, "anvil does not mine: {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let receipt = self.same("eth_getTransactionReceipt", json!([hash])).await;
        assert!(receipt.is_object(), "{what} was not mined");
        self.same("eth_getTransactionByHash", json!([hash])).await;
        self.same("eth_getBlockByNumber", json!(["latest", true])).await;
        Some(receipt)
    }

    fn step(&mut self) -> (Bytes, String, usize) {
        let from = self.dice.below(6) as usize;
        let (to, value, input, what) = self.action();
        let signer = self.signers[from].clone();
        let gas_limit = self.dice.pick(&[100_000, 150_000, 1_000_000, 5_000_000]);
        let fee_cap = u128::from(2_000_000_000 + self.dice.below(3_000_000_000));
        let nonce = self.nonces[from];
        let raw = self.sign(&signer, nonce, to, value, input, gas_limit, fee_cap);
        (raw, format!("{what} from {from} with {gas_limit} gas"), from)
    }

    fn action(&mut self) -> (TxKind, U256, Bytes, String) {
        let kitchen = TxKind::Call(self.kitchen);
        let wei = U256::from(self.dice.below(1_000));
        let people = [self.signers[7].address(), Address::repeat_byte(0x42), self.kitchen, Address::with_last_byte(4)];
        let fresh = Address::from_word(B256::from(U256::from(self.dice.roll())));
        let person = if self.dice.below(3) == 0 { fresh } else { self.dice.pick(&people) };
        self.touched.extend([person]);
        let number = U256::from(self.dice.below(40));
        let call = |what: &str, input: Vec<u8>| (kitchen, U256::ZERO, Bytes::from(input), what.to_owned());
        match self.dice.below(25) {
            0 => (person.into(), wei, Bytes::new(), "transfer".into()),
            1 => (person.into(), U256::ZERO, self.dice.bytes(200), "message".into()),
            2 => (TxKind::Create, U256::ZERO, LOGGER, "deploy".into()),
            3 => {
                // Reverting, halting, oversized, forbidden, empty, and random code.
                let large = hex!("6160015ff3").to_vec();
                let codes = [
                    hex!("5f5ffd").to_vec(),
                    vec![0xfe],
                    large,
                    hex!("60ef5f5260206000f3").to_vec(),
                    hex!("60ef5f5360015ff3").to_vec(),
                    Vec::new(),
                    self.dice.bytes(60).to_vec(),
                ];
                (TxKind::Create, wei, self.dice.pick(&codes).into(), "deploy something bad".into())
            }
            4 => call(
                "store",
                Kitchen::storeCall {
                    from: number,
                    count: U256::from(self.dice.below(12)),
                    value: U256::from(self.dice.below(2)),
                }
                .abi_encode(),
            ),
            5 => {
                call("bounce", Kitchen::bounceCall { slot: number, value: U256::from(self.dice.below(3)) }.abi_encode())
            }
            6 => call(
                "logs",
                Kitchen::logsCall { count: U256::from(self.dice.below(6)), bytes_: number * U256::from(20) }
                    .abi_encode(),
            ),
            7 | 8 => call(
                "refuse",
                Kitchen::refuseCall { kind: U256::from(self.dice.below(7)), text: self.dice.bytes(40) }.abi_encode(),
            ),
            9 => call(
                "child",
                Kitchen::childCall { value: number, wei_: wei, fail: self.dice.below(4) == 0 }.abi_encode(),
            ),
            10 => call(
                "child2",
                Kitchen::child2Call { salt: B256::from(U256::from(self.dice.below(3))), wei_: wei }.abi_encode(),
            ),
            11 => call("tryChild", Kitchen::tryChildCall { value: number }.abi_encode()),
            12 => call("endChild", Kitchen::endChildCall { to: person }.abi_encode()),
            13 => call("ephemeral", Kitchen::ephemeralCall { to: person, wei_: wei }.abi_encode()),
            14 => call(
                "pay",
                Kitchen::payCall { to: person, wei_: wei, gas_: U256::from(self.dice.below(50_000)) }.abi_encode(),
            ),
            15 => call("transientSum", Kitchen::transientSumCall { count: number }.abi_encode()),
            16 => call("recurse", Kitchen::recurseCall { depth: number }.abi_encode()),
            17 => call("hashes", Kitchen::hashesCall { data: self.dice.bytes(300) }.abi_encode()),
            18 => {
                let at = Address::with_last_byte(1 + self.dice.below(0x12) as u8);
                self.touched.push(at);
                let input = if self.dice.below(2) == 0 {
                    Bytes::from(vec![0; 192 * self.dice.below(3) as usize])
                } else {
                    self.dice.bytes(300)
                };
                call(
                    "precompile",
                    Kitchen::precompileCall { at, input, gas_: U256::from(self.dice.below(200_000)) }.abi_encode(),
                )
            }
            19 => call("environment", Kitchen::environmentCall {}.abi_encode()),
            20 => call("memory", Kitchen::memory_Call { bytes_: number * U256::from(10_000) }.abi_encode()),
            21 => (kitchen, wei, Bytes::new(), "feed the kitchen".into()),
            22 => {
                let proxy = hex!("4e59b44847b379578588920cA78FbF26c0B4956C").into();
                let salt = B256::from(U256::from(self.dice.below(3)));
                self.touched.push(Address::create2(&proxy, salt, keccak256(&LOGGER)));
                (TxKind::Call(proxy), U256::ZERO, [salt.as_slice(), &LOGGER].concat().into(), "create2 proxy".into())
            }
            23 => (
                TxKind::Call(self.token),
                U256::ZERO,
                DevRLC::transferCall { to: person, value: number }.abi_encode().into(),
                "token".into(),
            ),
            _ => (
                TxKind::Call(self.token),
                U256::ZERO,
                DevRLC::approveCall { spender: person, value: number }.abi_encode().into(),
                "approve".into(),
            ),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn sign(
        &mut self,
        signer: &PrivateKeySigner,
        nonce: u64,
        to: TxKind,
        value: U256,
        input: Bytes,
        gas_limit: u64,
        fee_cap: u128,
    ) -> Bytes {
        fn done<T: SignableTransaction<alloy::primitives::Signature>>(signer: &PrivateKeySigner, mut tx: T) -> Bytes
        where
            TxEnvelope: From<alloy::consensus::Signed<T>>,
        {
            let signature = signer.sign_transaction_sync(&mut tx).expect("a local key signs");
            TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
        }
        let storage_keys = (0..self.dice.below(4)).map(|key| B256::from(U256::from(key))).collect();
        let access_list = AccessList(vec![
            AccessListItem { address: self.kitchen, storage_keys },
            AccessListItem { address: Address::repeat_byte(1), storage_keys: vec![B256::ZERO] },
        ]);
        let max_priority_fee_per_gas = u128::from(self.dice.below(1_000_000_000));
        let chain_id = CHAIN_ID;
        match (self.dice.below(6), to) {
            (0, _) => done(
                signer,
                TxLegacy { chain_id: Some(chain_id), nonce, gas_price: fee_cap, gas_limit, to, value, input },
            ),
            (1, _) => done(
                signer,
                TxEip2930 { chain_id, nonce, gas_price: fee_cap, gas_limit, to, value, input, access_list },
            ),
            (2, TxKind::Call(to)) => {
                // Accounts 8 and 9 hand themselves to a contract, properly or not.
                let authority = 8 + self.dice.below(2) as usize;
                let nonce_claimed = self.nonces[authority] + u64::from(self.dice.below(4) == 0);
                let address = self.dice.pick(&[self.kitchen, Address::ZERO, self.token]);
                let authorization = Authorization { chain_id: U256::from(chain_id), address, nonce: nonce_claimed };
                let signature =
                    self.signers[authority].sign_hash_sync(&authorization.signature_hash()).expect("a local key signs");
                let authorization_list = vec![authorization.into_signed(signature)];
                done(
                    signer,
                    TxEip7702 {
                        chain_id,
                        nonce,
                        max_fee_per_gas: fee_cap,
                        max_priority_fee_per_gas,
                        gas_limit,
                        to,
                        value,
                        input,
                        access_list,
                        authorization_list,
                    },
                )
            }
            (3, _) => done(
                signer,
                TxEip1559 {
                    chain_id,
                    nonce,
                    max_fee_per_gas: fee_cap,
                    max_priority_fee_per_gas,
                    gas_limit,
                    to,
                    value,
                    input,
                    access_list,
                },
            ),
            _ => done(
                signer,
                TxEip1559 {
                    chain_id,
                    nonce,
                    max_fee_per_gas: fee_cap,
                    max_priority_fee_per_gas,
                    gas_limit,
                    to,
                    value,
                    input,
                    access_list: AccessList::default(),
                },
            ),
        }
    }

    async fn set_up(&mut self) {
        let owner = self.signers[0].clone();
        let kitchen = hex::decode(include_str!("dev_fixture/Kitchen.hex").trim()).expect("the fixture is hex");
        let mut token = DevRLC::BYTECODE.to_vec();
        token.extend(DevRLC::constructorCall { holder: owner.address() }.abi_encode());
        for (nonce, (code, value)) in [(kitchen, U256::from(1_000_000)), (token, U256::ZERO)].into_iter().enumerate() {
            let raw = self.sign(&owner, nonce as u64, TxKind::Create, value, code.into(), 6_000_000, 5_000_000_000);
            let receipt = self.send(raw, "set up").await.expect("it is accepted");
            assert_eq!(receipt["status"], "0x1");
        }
        self.touched.extend([self.kitchen, self.token, Address::ZERO]);
        self.nonces[0] = 2;
    }

    /// Accounts that signed an authorisation move on by themselves.
    async fn read_nonces(&mut self) {
        for (index, signer) in self.signers.iter().enumerate() {
            self.nonces[index] =
                self.ours.rpc.number("eth_getTransactionCount", json!([signer.address(), "latest"])).await;
        }
    }

    async fn compare_states(&self) {
        for address in &self.touched {
            for method in ["eth_getBalance", "eth_getTransactionCount", "eth_getCode"] {
                self.same(method, json!([address, "latest"])).await;
            }
        }
        // The first slots of the kitchen and of those who run its code, and its mapping.
        for address in [self.kitchen, self.token, self.signers[8].address(), self.signers[9].address()] {
            for slot in 0..4u64 {
                self.same("eth_getStorageAt", json!([address, format!("{slot:#x}"), "latest"])).await;
            }
            for key in (0..52u64).map(U256::from).chain(self.touched.iter().map(|address| address.into_word().into())) {
                let slot = keccak256([key.to_be_bytes::<32>(), U256::ZERO.to_be_bytes::<32>()].concat());
                self.same("eth_getStorageAt", json!([address, slot, "latest"])).await;
            }
        }
    }

    /// The same call on both: the same output, or the same error data.
    async fn compare_call(&mut self) {
        let (to, value, input, what) = self.action();
        let request = json!({ "from": self.signers[1].address(), "to": to.to(), "value": value, "data": input, "gas": "0x2dc6c0" });
        let [ours, theirs] = self.both("eth_call", json!([request, "latest"])).await;
        assert_eq!(ours.get("result"), theirs.get("result"), "{what} {request}: {ours} {theirs}");
        assert_eq!(ours["error"]["data"], theirs["error"]["data"], "{what} {request}: {ours} {theirs}");
        assert_eq!(ours["error"]["code"] == 3, theirs["error"]["code"] == 3, "{what} {request}: {ours} {theirs}");
    }
}

async fn history(seed: u64) {
    let mut twins = Twins::start(seed).await;
    twins.set_up().await;
    for _ in 0..STEPS {
        let (raw, what, _) = twins.step();
        twins.send(raw, &what).await;
        twins.read_nonces().await;
        twins.compare_call().await;
    }
    twins.compare_states().await;
    let accepted = twins.ours.rpc.number("eth_blockNumber", json!([])).await;
    assert!(accepted as usize > STEPS * 3 / 4, "only {accepted} of {STEPS} were accepted");
    twins.ours.stop().await;
}

/// Prints the seed if the test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut stderr = std::io::stderr();
            let _ =
                std::io::Write::write_all(&mut stderr, format!("repeat with GRISTMILL_SEED={}\n", self.0).as_bytes());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_history_is_the_same_on_anvil() {
    let given = std::env::var("GRISTMILL_SEED").ok().map(|seed| seed.parse().expect("a seed is a number"));
    let fresh = || {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    };
    let seeds = given.map_or_else(|| vec![1, 2, fresh()], |seed| vec![seed]);
    for seed in seeds {
        let _shown = Seed(seed);
        history(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_of_several_is_the_same_on_anvil() {
    let mut twins = Twins::start(3).await;
    twins.set_up().await;
    twins.both("evm_setAutomine", json!([false])).await;
    for round in 0..3 {
        let mut hashes = Vec::new();
        for from in 0..6 {
            for _ in 0..=round {
                let signer = twins.signers[from].clone();
                let (to, value, input, _) = twins.action();
                // Distinct prices: which of two equal ones comes first is nobody's promise.
                let price = 40_000_000_000 - 1_000_000_000 * u128::from(twins.nonces[from]) - from as u128 * 1_000;
                let tx = TxLegacy {
                    chain_id: Some(CHAIN_ID),
                    nonce: twins.nonces[from],
                    gas_price: price,
                    gas_limit: 900_000,
                    to,
                    value,
                    input,
                };
                twins.nonces[from] += 1;
                let mut tx = tx;
                let signature = signer.sign_transaction_sync(&mut tx).unwrap();
                let raw: Bytes = TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into();
                let [ours, theirs] = twins.both("eth_sendRawTransaction", json!([raw])).await;
                assert_eq!(ours["result"], theirs["result"], "{ours} {theirs}");
                hashes.push(ours["result"].clone());
            }
        }
        twins.now += 10;
        twins.both("evm_setNextBlockTimestamp", json!([twins.now])).await;
        twins.both("evm_mine", json!([])).await;
        let block = twins.same("eth_getBlockByNumber", json!(["latest", true])).await;
        assert_eq!(block["transactions"].as_array().unwrap().len(), hashes.len());
        twins.same("eth_getBlockReceipts", json!(["latest"])).await;
    }
    twins.compare_states().await;
    twins.ours.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_anvil_refuses_is_refused() {
    let mut twins = Twins::start(4).await;
    twins.set_up().await;
    let signer = twins.signers[1].clone();
    let transfer = |nonce: u64, value: u64, gas_limit: u64, price: u128, chain_id: Option<u64>| {
        let value = U256::from(value) * U256::from(10).pow(U256::from(18));
        let mut tx = TxLegacy {
            chain_id,
            nonce,
            gas_price: price,
            gas_limit,
            to: Address::repeat_byte(1).into(),
            value,
            input: Bytes::new(),
        };
        let signature = signer.sign_transaction_sync(&mut tx).unwrap();
        Bytes::from(TxEnvelope::from(tx.into_signed(signature)).encoded_2718())
    };
    let gwei = 1_000_000_000;
    let good = transfer(0, 1, 21_000, 2 * gwei, Some(CHAIN_ID));
    twins.send(good.clone(), "good").await.expect("this one is accepted");
    for (what, words, raw) in [
        ("the same again", ["nonce too low", "nonce too low"], good),
        ("an old nonce", ["nonce too low", "nonce too low"], transfer(0, 2, 21_000, 2 * gwei, Some(CHAIN_ID))),
        (
            "too little money",
            ["insufficient funds", "insufficient funds"],
            transfer(1, 10_001, 21_000, 2 * gwei, Some(CHAIN_ID)),
        ),
        (
            "too little gas",
            ["intrinsic gas too low", "intrinsic gas too low"],
            transfer(1, 0, 20_999, 2 * gwei, Some(CHAIN_ID)),
        ),
        ("too much gas", ["exceeds block gas limit", "gas"], transfer(1, 0, 30_000_001, 2 * gwei, Some(CHAIN_ID))),
        (
            "too low a price",
            ["max fee per gas less than block base fee", "max fee per gas less than block base fee"],
            transfer(1, 0, 21_000, 1, Some(CHAIN_ID)),
        ),
        ("nonsense", ["failed to decode signed transaction", "failed to decode"], Bytes::from_static(&[0x02, 0xc0])),
    ] {
        let answers = twins.both("eth_sendRawTransaction", json!([raw])).await;
        for (answer, words) in answers.iter().zip(words) {
            let message =
                answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{what}: {answer}")).to_lowercase();
            assert!(message.contains(words), "{what}: {message}");
        }
    }
    // Anvil takes this one.
    let answer =
        twins.ours.rpc.error("eth_sendRawTransaction", json!([transfer(1, 0, 21_000, 2 * gwei, Some(1))])).await;
    assert_eq!(answer["message"], format!("invalid chain id for signer: have 1 want {CHAIN_ID}"));
    let unprotected = transfer(1, 0, 21_000, 2 * gwei, None);
    twins.send(unprotected, "without a chain id").await.expect("both take it");
    twins.ours.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anvil_has_the_same_accounts() {
    let anvil = Anvil::start(&[]).await;
    assert_eq!(
        anvil.rpc.ok("eth_accounts", json!([])).await,
        json!(dev::addresses().iter().map(|address| format!("{address:?}")).collect::<Vec<_>>())
    );
}

async fn cast(rpc: &Rpc, arguments: &[&str]) -> String {
    let output =
        Command::new(foundry("cast")).args(arguments).env("ETH_RPC_URL", &rpc.url).output().expect("cast starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cast {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn cast_works_unmodified() {
    let chain = Fixture::in_memory().await;
    let rpc = &chain.rpc;
    let key = dev::accounts()[0].to_bytes().to_string();
    let me = dev::addresses()[0].to_string();
    assert_eq!(cast(rpc, &["chain-id"]).await, CHAIN_ID.to_string());
    assert!(cast(rpc, &["client"]).await.starts_with("gristmill/"));
    assert_eq!(cast(rpc, &["balance", &me]).await, "10000000000000000000000");
    let code = hex::encode_prefixed(&LOGGER);
    let deployed: Value =
        serde_json::from_str(&cast(rpc, &["send", "--json", "--private-key", &key, "--create", &code]).await).unwrap();
    let logger = deployed["contractAddress"].as_str().expect("an address").to_owned();
    assert_eq!(cast(rpc, &["code", &logger]).await, hex::encode_prefixed(&LOGGER[9..]));
    let word = B256::repeat_byte(1).to_string();
    let sent: Value =
        serde_json::from_str(&cast(rpc, &["send", "--json", "--private-key", &key, &logger, &word]).await).unwrap();
    assert_eq!((&sent["status"], &sent["logs"][0]["topics"][0]), (&json!("0x1"), &json!(word)));
    let hash = sent["transactionHash"].as_str().expect("a hash");
    assert!(cast(rpc, &["receipt", hash, "--json"]).await.contains(&word));
    assert!(cast(rpc, &["tx", hash, "--json"]).await.contains(hash));
    assert!(cast(rpc, &["logs", "--address", &logger, "--from-block", "0", "--json"]).await.contains(&word));
    assert!(cast(rpc, &["storage", &logger, &word]).await.to_lowercase().ends_with(&me[2..].to_lowercase()));
    assert_eq!(cast(rpc, &["nonce", &me]).await, "2");
    assert_eq!(cast(rpc, &["block-number"]).await, "2");
    assert!(cast(rpc, &["block", "latest", "--json"]).await.contains(hash));
    assert!(cast(rpc, &["gas-price"]).await.parse::<u64>().unwrap() > 0);
    assert!(cast(rpc, &["estimate", &logger, &word]).await.parse::<u64>().unwrap() > 21_000);
    let refused = Command::new(foundry("cast")).args(["call", &logger]).env("ETH_RPC_URL", &rpc.url).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("execution reverted"));
    cast(rpc, &["rpc", "evm_increaseTime", "100"]).await;
    cast(rpc, &["rpc", "anvil_mine", "2"]).await;
    assert_eq!(cast(rpc, &["block-number"]).await, "4");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viem_works_unmodified() {
    let fallback = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../web/node_modules");
    let modules = std::env::var_os("GRISTMILL_NODE_MODULES").map_or_else(fallback, PathBuf::from);
    assert!(modules.join("viem").exists(), "viem is not in {}: run cargo xtask setup", modules.display());
    let chain = Fixture::in_memory().await;
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/dev_fixture/viem.cjs");
    let key = dev::accounts()[0].to_bytes().to_string();
    let url = chain.url.clone();
    let run = move || Command::new("node").arg(script).arg(modules).args([url, key]).output().expect("node starts");
    let output = tokio::task::spawn_blocking(run).await.expect("no panic");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.trim() == "ok", "{stdout}{stderr}");
    chain.stop().await;
}

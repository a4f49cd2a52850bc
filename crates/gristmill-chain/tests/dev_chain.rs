//! The development chain as clients see it over HTTP.

mod dev_fixture;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy::{
    eips::BlockNumberOrTag,
    primitives::{Address, B256, TxKind, U256, hex},
    providers::Provider,
    rpc::types::{Filter, TransactionRequest},
    sol_types::SolError as _,
};
use dev_fixture::{Fixture, LOGGER, Rpc, Tx, request};
use futures_util::{StreamExt, future::join_all};
use gristmill_chain::{
    contracts::DevRLC,
    dev::{self, CHAIN_ID, CONNECTIONS_MAX, Config, FILTERS_MAX, Limits, REQUEST_BYTES_MAX, STATES_KEPT},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

#[tokio::test(flavor = "multi_thread")]
async fn alloy_deploys_and_uses_a_contract() {
    let chain = Fixture::in_memory().await;
    let client = chain.client(0);
    let [owner, other] = [0, 1].map(|index| dev::addresses()[index]);
    let token = DevRLC::deploy(client.clone(), owner).await.expect("deploys");
    assert_eq!(token.decimals().call().await.unwrap(), 9);

    let receipt = token.transfer(other, U256::from(5)).send().await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    let event = receipt.decoded_log::<DevRLC::Transfer>().expect("the event is there");
    assert_eq!((event.from, event.to, event.value), (owner, other, U256::from(5)));
    let filter = Filter::new().address(*token.address()).from_block(0);
    assert_eq!(client.get_logs(&filter).await.unwrap().len(), 2, "the mint and the transfer");

    let error = token.transferFrom(other, owner, U256::from(6)).call().await.unwrap_err();
    let decoded = error.as_decoded_error::<DevRLC::ERC20InsufficientAllowance>().expect("the contract's own error");
    assert_eq!(decoded.needed, U256::from(6));

    let before = client.get_balance(other).await.unwrap();
    let transfer = TransactionRequest::default().to(other).value(U256::from(7));
    assert_eq!(client.estimate_gas(transfer.clone()).await.unwrap(), 21_000);
    client.send_transaction(transfer).await.unwrap().get_receipt().await.unwrap();
    assert_eq!(client.get_balance(other).await.unwrap(), before + U256::from(7));
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_chain_has_the_same_head_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Fixture::in_folder(folder.path()).await;
    chain.rpc.deploy_logger().await;
    let waiting = chain.rpc.send(&Tx { nonce: 2, ..Tx::default() }).await;
    let head = chain.rpc.head().await;
    chain.stop().await;
    let chain = Fixture::in_folder(folder.path()).await;
    assert_eq!(chain.rpc.head().await, head);
    chain.rpc.send(&Tx { nonce: 1, ..Tx::default() }).await;
    assert_eq!(chain.rpc.receipt(waiting).await["blockNumber"], "0x3", "the gap is filled");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_chains_in_one_process_and_none_in_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Fixture::in_folder(folder.path()).await, Fixture::in_memory().await);
    one.rpc.send(&Tx::default()).await;
    assert_eq!(one.rpc.number("eth_blockNumber", json!([])).await, 1);
    assert_eq!(two.rpc.number("eth_blockNumber", json!([])).await, 0);
    let config = Config { data_dir: Some(folder.path().to_owned()), ..Config::default() };
    let error = dev::bind(config).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, dev::Error::Locked { .. }), "{error}");
    let taken = one.url.trim_start_matches("http://").parse().unwrap();
    let error = dev::bind(Config { listen: taken, ..Config::default() }).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, dev::Error::Listen { .. }), "{error}");
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_in_parallel_need_no_order() {
    let chain = Fixture::in_memory().await;
    // A fixed shuffle: 7 has no divisor in common with 60.
    let sends = (0..60).map(|index| {
        let rpc = chain.rpc.clone();
        async move { rpc.send(&Tx { nonce: index * 7 % 60, ..Tx::default() }).await }
    });
    let hashes = join_all(sends).await;
    assert_eq!(chain.rpc.number("eth_getTransactionCount", json!([dev::addresses()[0], "latest"])).await, 60);
    for receipt in join_all(hashes.iter().map(|hash| chain.rpc.receipt(*hash))).await {
        assert_eq!(receipt["status"], "0x1");
    }
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_transactions_can_be_replaced_and_mined_at_will() {
    let chain = Fixture::in_memory().await;
    let rpc = &chain.rpc;
    rpc.ok("evm_setAutomine", json!([false])).await;
    let old = Tx { fee_cap: 2_000_000_000, ..Tx::default() };
    let hash = rpc.send(&old).await;
    assert_eq!(rpc.receipt(hash).await, Value::Null);
    assert_eq!(rpc.ok("txpool_status", json!([])).await, json!({ "pending": "0x1", "queued": "0x0" }));
    assert_eq!(rpc.number("eth_getTransactionCount", json!([dev::addresses()[0], "pending"])).await, 1);
    assert_eq!(rpc.number("eth_getTransactionCount", json!([dev::addresses()[0], "latest"])).await, 0);
    let waiting = rpc.ok("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!((&waiting["hash"], &waiting["blockNumber"]), (&json!(hash), &Value::Null));

    let same = rpc.send_error(&old).await;
    assert_eq!((&same["code"], &same["message"]), (&json!(-32000), &json!("already known")));
    let cheap = rpc.send_error(&Tx { fee_cap: 2_100_000_000, tip: 1_050, ..old.clone() }).await;
    assert_eq!(cheap["message"], "replacement transaction underpriced");
    let dear = rpc.send(&Tx { fee_cap: 2_200_000_000, tip: 1_100, ..old }).await;
    rpc.ok("evm_mine", json!([])).await;
    assert_eq!(rpc.receipt(hash).await, Value::Null);
    assert_eq!(rpc.receipt(dear).await["status"], "0x1");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alloy_follows_logs_through_a_reorg() {
    let chain = Fixture::in_memory().await;
    let logger = chain.rpc.deploy_logger().await;
    let client = chain.client(1);
    let filter = Filter::new().address(logger);
    let logs = client.watch_canonical_logs_from(1, &filter).block_tag(BlockNumberOrTag::Latest);
    let mut logs = Box::pin(logs.into_stream());
    let emit = Tx { nonce: 1, to: logger.into(), input: B256::repeat_byte(1).into(), ..Tx::default() };
    let hash = chain.rpc.send(&emit).await;
    let mut seen = Vec::new();
    let mut reorganised = false;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while seen.len() < 3 {
        let batch = tokio::time::timeout_at(deadline, logs.next()).await.expect("in time").expect("no end").unwrap();
        let text = format!("{batch:?}");
        for kind in
            ["Removed", "Added"].into_iter().filter(|kind| text.contains(kind) && text.contains(&hash.to_string()))
        {
            seen.push(kind);
        }
        if !reorganised && !seen.is_empty() {
            chain.rpc.ok("dev_reorg", json!([1])).await;
            // The stream looks back only when a block arrives whose parent it does not know.
            chain.rpc.ok("evm_mine", json!([])).await;
            reorganised = true;
        }
    }
    assert_eq!(seen, ["Added", "Removed", "Added"]);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorg_over_rpc_drops_or_keeps_transactions() {
    let chain = Fixture::in_memory().await;
    let rpc = &chain.rpc;
    let hashes = [rpc.send(&Tx::default()).await, rpc.send(&Tx { from: 1, ..Tx::default() }).await];
    let old = rpc.head().await;
    rpc.ok("dev_reorg", json!([1])).await;
    assert_ne!(rpc.head().await["hash"], old["hash"]);
    assert_eq!(rpc.ok("eth_getBlockByHash", json!([old["hash"], false])).await, Value::Null);
    assert_eq!(rpc.receipt(hashes[1]).await["blockHash"], rpc.head().await["hash"]);
    rpc.ok("dev_reorg", json!([2, { "drop": true, "blocks": 1 }])).await;
    assert_eq!(rpc.number("eth_blockNumber", json!([])).await, 1);
    assert_eq!(rpc.receipt(hashes[0]).await, Value::Null);
    assert_eq!(rpc.error("dev_reorg", json!([2])).await["code"], -32602);
    assert_eq!(rpc.error("dev_reorg", json!([1, { "drp": true }])).await["code"], -32602, "a misspelt option");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_is_what_the_tests_say() {
    let clock = Arc::new(AtomicU64::new(2_000_000_000));
    let read = clock.clone();
    let config = Config { clock: Arc::new(move || read.load(Ordering::Relaxed)), ..Config::default() };
    let chain = Fixture::start(config).await;
    let rpc = &chain.rpc;
    let stamp = async || {
        rpc.head().await["timestamp"].as_str().map(|text| u64::from_str_radix(&text[2..], 16).unwrap()).unwrap()
    };
    assert_eq!(stamp().await, 2_000_000_000);
    clock.store(2_000_000_500, Ordering::Relaxed);
    // A call sees the time that a transaction sent now would see: TIMESTAMP, stored and returned.
    let timestamp_code = json!([{ "data": "0x425f5260205ff3" }, "latest"]);
    assert_eq!(rpc.ok("eth_call", timestamp_code.clone()).await, json!(B256::from(U256::from(2_000_000_500))));
    rpc.ok("evm_mine", json!([])).await;
    assert_eq!(stamp().await, 2_000_000_500);
    rpc.ok("evm_increaseTime", json!([1_000])).await;
    assert_eq!(rpc.ok("eth_call", timestamp_code).await, json!(B256::from(U256::from(2_000_001_500))));
    rpc.ok("evm_mine", json!([])).await;
    assert_eq!(stamp().await, 2_000_001_500);
    rpc.ok("evm_setNextBlockTimestamp", json!(["0x77359fff"])).await;
    rpc.ok("evm_mine", json!([])).await;
    assert_eq!(stamp().await, 0x7735_9fff);
    rpc.ok("evm_mine", json!([{ "timestamp": 2_100_000_000 }])).await;
    assert_eq!(stamp().await, 2_100_000_000);
    assert_eq!(rpc.error("evm_setNextBlockTimestamp", json!([5])).await["code"], -32602);
    rpc.ok("anvil_mine", json!(["0x3", 10])).await;
    assert_eq!(stamp().await, 2_100_000_021);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_over_rpc_brings_the_chain_back() {
    let chain = Fixture::in_memory().await;
    let rpc = &chain.rpc;
    let nobody = Address::repeat_byte(3);
    let id = rpc.ok("evm_snapshot", json!([])).await;
    rpc.ok("anvil_setBalance", json!([nobody, "0x9"])).await;
    rpc.ok("anvil_mine", json!([2])).await;
    assert_eq!(rpc.number("eth_getBalance", json!([nobody, "latest"])).await, 9);
    assert_eq!(rpc.ok("evm_revert", json!([id])).await, json!(true));
    assert_eq!(rpc.number("eth_blockNumber", json!([])).await, 0);
    assert_eq!(rpc.number("eth_getBalance", json!([nobody, "latest"])).await, 0);
    assert_eq!(rpc.ok("evm_revert", json!([id])).await, json!(false), "it is used up");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_states_answer_as_long_as_they_are_kept() {
    let chain = Fixture::in_memory().await;
    let rpc = &chain.rpc;
    let nobody = Address::repeat_byte(3);
    for nonce in 0..3 {
        rpc.send(&Tx { nonce, to: nobody.into(), value: U256::from(1), ..Tx::default() }).await;
    }
    for number in 0..=3u64 {
        assert_eq!(rpc.number("eth_getBalance", json!([nobody, format!("{number:#x}")])).await, number);
        let block = rpc.ok("eth_getBlockByNumber", json!([format!("{number:#x}"), false])).await;
        assert_eq!(rpc.number("eth_getBalance", json!([nobody, { "blockHash": block["hash"] }])).await, number);
        // BALANCE of the address in the calldata.
        let balance_of = json!({ "data": format!("0x73{}315f5260205ff3", hex::encode(nobody)) });
        let found = rpc.ok("eth_call", json!([balance_of, format!("{number:#x}")])).await;
        assert_eq!(found, json!(B256::from(U256::from(number))));
    }
    rpc.ok("anvil_mine", json!([STATES_KEPT])).await;
    assert_eq!(rpc.number("eth_getBalance", json!([nobody, "0x4"])).await, 3);
    let error = rpc.error("eth_getBalance", json!([nobody, "0x3"])).await;
    let message = "state of block 3 is not kept any more: missing trie node, the oldest kept is that of block 4";
    assert_eq!(error["message"], message);
    assert_eq!(rpc.error("eth_getBalance", json!([nobody, "0x999"])).await["code"], -32000);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_carry_the_codes_and_data_that_clients_look_for() {
    let chain = Fixture::in_memory().await;
    let rpc = &chain.rpc;
    let logger = rpc.deploy_logger().await;
    for method in ["eth_call", "eth_estimateGas"] {
        let error = rpc.error(method, json!([{ "to": logger }])).await;
        let data = format!("{:#066x}", 0x1234);
        assert_eq!(error, json!({ "code": 3, "message": "execution reverted", "data": data }), "{method}");
    }
    // Copies the code after itself, which is the encoding of Error("no"), to memory and reverts with it.
    let reason = hex::encode(alloy::sol_types::Revert::from("no").abi_encode());
    let require = format!("0x6064600b5f3960645ffd00{reason}");
    let error = rpc.error("eth_call", json!([{ "data": require }])).await;
    assert_eq!(error["message"], "execution reverted: no");
    assert_eq!(rpc.error("eth_call", json!([{ "data": "0xfe" }])).await["message"], "invalid opcode: INVALID");
    assert_eq!(
        rpc.error("eth_estimateGas", json!([{ "data": "0x5b5f56" }])).await["message"],
        "gas required exceeds allowance (30000000)"
    );
    assert_eq!(rpc.error("eth_call", json!([{ "data": "0x5b5f56" }])).await["message"], "out of gas");

    let broke = json!([{ "from": Address::repeat_byte(5), "to": logger, "value": "0x1" }, "latest"]);
    let message = rpc.error("eth_call", broke).await["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("insufficient funds for gas * price + value: address 0x0505"), "{message}");
    let low = rpc.send_error(&Tx::default()).await;
    assert_eq!(low, json!({ "code": -32000, "message": "nonce too low: next nonce 1, tx nonce 0" }));

    for method in ["eth_fillTransaction", "eth_getProof", "eth_sendTransaction", "debug_traceTransaction", "nonsense"] {
        let error = rpc.error(method, json!([])).await;
        let message = format!("the method {method} does not exist/is not available");
        assert_eq!(error, json!({ "code": -32601, "message": message }));
    }
    assert_eq!(rpc.error("eth_getBalance", json!([])).await["code"], -32602);
    assert_eq!(rpc.error("eth_getBalance", json!(["0x12"])).await["code"], -32602);
    assert_eq!(rpc.error("eth_sendRawTransaction", json!(["0x02c0"])).await["code"], -32000);
    assert_eq!(rpc.error("eth_getLogs", json!([{ "blockHash": B256::ZERO }])).await["message"], "unknown block");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_that_clients_call_answers() {
    let chain = Fixture::in_memory().await;
    let rpc = &chain.rpc;
    let logger = rpc.deploy_logger().await;
    let hash = rpc.send(&Tx { nonce: 1, to: logger.into(), input: B256::repeat_byte(1).into(), ..Tx::default() }).await;
    let head = rpc.head().await;
    let me = dev::addresses()[0];
    let id = format!("{CHAIN_ID:#x}");
    assert_eq!(rpc.ok("eth_chainId", json!([])).await, json!(id));
    assert_eq!(rpc.ok("net_version", json!([])).await, json!(CHAIN_ID.to_string()));
    let version = rpc.ok("web3_clientVersion", json!([])).await;
    assert!(version.as_str().unwrap().starts_with("gristmill/"), "{version}");
    assert_eq!(rpc.ok("eth_syncing", json!([])).await, json!(false));
    assert_eq!(rpc.ok("eth_accounts", json!([])).await, json!([]));
    assert_eq!(rpc.ok("eth_getCode", json!([logger, "latest"])).await, json!(hex::encode_prefixed(&LOGGER[9..])));
    let slot = rpc.ok("eth_getStorageAt", json!([logger, B256::repeat_byte(1), "latest"])).await;
    assert_eq!(slot, json!(me.into_word()));
    for (method, params) in
        [("eth_getBlockByNumber", json!(["latest", true])), ("eth_getBlockByHash", json!([head["hash"], true]))]
    {
        assert_eq!(rpc.ok(method, params).await["transactions"][0]["hash"], json!(hash), "{method}");
    }
    for (method, params) in [
        ("eth_getTransactionByHash", json!([hash])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["0x2", "0x0"])),
        ("eth_getTransactionByBlockHashAndIndex", json!([head["hash"], "0x0"])),
    ] {
        let tx = rpc.ok(method, params).await;
        assert_eq!((&tx["hash"], &tx["from"]), (&json!(hash), &json!(format!("{me:?}"))), "{method}");
    }
    let receipt = rpc.receipt(hash).await;
    assert_eq!(rpc.ok("eth_getBlockReceipts", json!(["latest"])).await, json!([receipt]));
    assert_eq!(receipt["logs"], rpc.ok("eth_getLogs", json!([{ "address": logger, "fromBlock": "earliest" }])).await);
    assert_eq!(receipt["logs"][0]["topics"], json!([B256::repeat_byte(1)]));
    assert_eq!(
        rpc.ok("eth_getLogs", json!([{ "topics": [B256::repeat_byte(2)], "fromBlock": "0x0" }])).await,
        json!([])
    );
    for method in ["eth_getBlockTransactionCountByNumber", "eth_getUncleCountByBlockNumber"] {
        let expected = if method.contains("Uncle") { "0x0" } else { "0x1" };
        assert_eq!(rpc.ok(method, json!(["latest"])).await, json!(expected));
    }
    let history = rpc.ok("eth_feeHistory", json!(["0x5", "latest", [0.0, 50.0, 100.0]])).await;
    assert_eq!(history["oldestBlock"], "0x0");
    assert_eq!(history["baseFeePerGas"].as_array().unwrap().len(), 4);
    assert_eq!(history["reward"][2], json!(["0x3e8", "0x3e8", "0x3e8"]));
    assert_eq!(rpc.number("eth_maxPriorityFeePerGas", json!([])).await, 1_000_000_000);
    assert!(rpc.number("eth_gasPrice", json!([])).await > 1_000_000_000);
    let pending = rpc.ok("eth_getBlockByNumber", json!(["pending", false])).await;
    assert_eq!((&pending["number"], &pending["parentHash"]), (&json!("0x3"), &head["hash"]));
    for tag in ["safe", "finalized"] {
        assert_eq!(rpc.ok("eth_getBlockByNumber", json!([tag, false])).await["hash"], head["hash"]);
    }
    for missing in [json!(["0x99", false])] {
        assert_eq!(rpc.ok("eth_getBlockByNumber", missing).await, Value::Null);
    }
    assert_eq!(rpc.receipt(B256::ZERO).await, Value::Null);
    assert_eq!(rpc.ok("web3_sha3", json!(["0x"])).await, json!(alloy::primitives::KECCAK256_EMPTY));
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_is_enough_and_not_much_more() {
    let chain = Fixture::in_memory().await;
    let rpc = &chain.rpc;
    let logger = rpc.deploy_logger().await;
    let call = json!([{ "from": dev::addresses()[0], "to": logger, "data": B256::repeat_byte(1) }]);
    let gas = rpc.number("eth_estimateGas", call).await;
    let tx = Tx { nonce: 1, to: logger.into(), input: B256::repeat_byte(1).into(), gas_limit: gas, ..Tx::default() };
    let receipt = rpc.receipt(rpc.send(&tx).await).await;
    assert_eq!(receipt["status"], "0x1");
    let used = u64::from_str_radix(&receipt["gasUsed"].as_str().unwrap()[2..], 16).unwrap();
    assert!((used..used * 11 / 10).contains(&gas), "estimated {gas}, used {used}");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_can_pretend() {
    let chain = Fixture::in_memory().await;
    let rpc = &chain.rpc;
    let somebody = Address::repeat_byte(3);
    let call = async |input: &str, overrides: Value| {
        rpc.answer(
            "eth_call",
            json!([{ "to": somebody, "data": input, "value": "0x5", "from": somebody }, "latest", overrides]),
        )
        .await
    };
    // SELFBALANCE and the slot named by the calldata, added.
    let code = "0x475f3554015f5260205ff3";
    let overrides = |slots: &str| json!({ somebody.to_string(): { "balance": "0x7", "code": code, slots: { B256::with_last_byte(1).to_string(): B256::with_last_byte(2) } } });
    let one = B256::with_last_byte(1).to_string();
    for slots in ["state", "stateDiff"] {
        assert_eq!(call(&one, overrides(slots)).await["result"], json!(B256::with_last_byte(9)), "{slots}");
    }
    assert_eq!(call(&one, json!({ somebody.to_string(): { "balance": "0x4" } })).await["error"]["code"], -32000);
    assert_eq!(rpc.ok("eth_getCode", json!([somebody, "latest"])).await, "0x", "it was only for the call");
    let bad = json!({ somebody.to_string(): { "code": "0xef010001" } });
    assert_eq!(call("0x", bad).await["error"]["code"], -32602);
    let block = rpc.error("eth_call", json!([{ "to": somebody }, "latest", {}, { "number": "0x5" }])).await;
    assert_eq!(block["message"], "block overrides are not supported");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_tell_what_is_new() {
    let chain = Fixture::in_memory().await;
    let rpc = &chain.rpc;
    let logger = rpc.deploy_logger().await;
    let logs = rpc.ok("eth_newFilter", json!([{ "address": logger }])).await;
    let blocks = rpc.ok("eth_newBlockFilter", json!([])).await;
    let transactions = rpc.ok("eth_newPendingTransactionFilter", json!([])).await;
    let changes = async |id: &Value| rpc.ok("eth_getFilterChanges", json!([id])).await;
    assert_eq!(changes(&logs).await, json!([]));
    let hash = rpc.send(&Tx { nonce: 1, to: logger.into(), input: B256::repeat_byte(1).into(), ..Tx::default() }).await;
    let mut expected = rpc.receipt(hash).await["logs"].take();
    assert_eq!(changes(&logs).await, expected);
    assert_eq!(changes(&logs).await, json!([]));
    assert_eq!(changes(&blocks).await, json!([rpc.head().await["hash"]]));
    assert_eq!(changes(&transactions).await, json!([hash]));
    rpc.ok("dev_reorg", json!([1, { "drop": true }])).await;
    expected[0]["removed"] = json!(true);
    assert_eq!(changes(&logs).await, expected);
    assert_eq!(rpc.ok("eth_uninstallFilter", json!([logs])).await, json!(true));
    assert_eq!(rpc.error("eth_getFilterChanges", json!([logs])).await["message"], "filter not found");
    for _ in 2..FILTERS_MAX {
        rpc.ok("eth_newBlockFilter", json!([])).await;
    }
    assert_eq!(rpc.error("eth_newBlockFilter", json!([])).await["code"], -32005);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_answered_in_order_and_bounded() {
    let chain = Fixture::in_memory().await;
    let post = async |body: Value| -> Value { chain.rpc.post(body.to_string()).await.json().await.unwrap() };
    let batch = json!([
        request(7, "eth_chainId", json!([])),
        { "jsonrpc": "2.0", "method": "eth_chainId" },
        request(8, "nonsense", json!([])),
        5,
    ]);
    let answers = post(batch).await;
    assert_eq!((&answers[0]["id"], &answers[0]["result"]), (&json!(7), &json!(format!("{CHAIN_ID:#x}"))));
    assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&json!(8), &json!(-32601)));
    assert_eq!((&answers[2]["id"], &answers[2]["error"]["code"]), (&Value::Null, &json!(-32600)));
    assert_eq!(answers.as_array().unwrap().len(), 3);

    assert_eq!(post(json!([])).await["error"]["code"], -32600);
    let requests = |count: usize| Value::Array(vec![request(1, "eth_chainId", json!([])); count]);
    let limit = Limits::default().batch;
    assert_eq!(post(requests(limit)).await.as_array().unwrap().len(), limit);
    assert_eq!(post(requests(limit + 1)).await["error"]["code"], -32005);
    let parse: Value = chain.rpc.post("{".into()).await.json().await.unwrap();
    assert_eq!(parse["error"]["code"], -32700);
    let silent = chain.rpc.post(json!({ "method": "eth_chainId" }).to_string()).await;
    assert_eq!(silent.status(), StatusCode::NO_CONTENT);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_bounded() {
    let chain = Fixture::in_memory().await;
    let padded = |bytes: usize| {
        let body = request(1, "eth_chainId", json!([])).to_string();
        format!("{body}{}", " ".repeat(bytes - body.len()))
    };
    assert_eq!(chain.rpc.post(padded(REQUEST_BYTES_MAX)).await.status(), StatusCode::OK);
    assert_eq!(chain.rpc.post(padded(REQUEST_BYTES_MAX + 1)).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let long = Tx { to: TxKind::Create, input: vec![0; dev::TRANSACTION_BYTES_MAX].into(), ..Tx::default() };
    let error = chain.rpc.send_error(&long).await;
    assert!(error["message"].as_str().unwrap().starts_with("oversized data"), "{error}");

    chain.rpc.ok("anvil_mine", json!([10_000])).await;
    let error = chain.rpc.error("anvil_mine", json!([10_001])).await;
    assert_eq!(error["code"], -32005);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_bounded() {
    let limits =
        Limits { log_range: 6, log_results: 3, log_bytes: 100, batch_answer_bytes: 1_000, ..Limits::default() };
    let chain = Fixture::start(Config { limits, ..Config::default() }).await;
    let rpc = &chain.rpc;
    let logger = rpc.deploy_logger().await;
    let emit =
        |nonce: u64, bytes: usize| Tx { nonce, to: logger.into(), input: vec![1; bytes].into(), ..Tx::default() };
    for (nonce, bytes) in [(1, 30), (2, 30), (3, 40), (4, 1), (5, 100), (6, 101)] {
        rpc.send(&emit(nonce, bytes)).await;
    }
    let logs =
        async |from: &str, to: &str| rpc.answer("eth_getLogs", json!([{ "fromBlock": from, "toBlock": to }])).await;
    let count = |answer: &Value| answer["result"].as_array().map(Vec::len);
    assert_eq!(count(&logs("0x2", "0x4").await), Some(3), "three logs and a hundred bytes");
    let error = logs("0x2", "0x5").await["error"].clone();
    assert_eq!(error["code"], -32005);
    assert!(error["message"].as_str().unwrap().ends_with("Try with this block range [0x2, 0x4]."), "{error}");
    assert_eq!(count(&logs("0x6", "0x6").await), Some(1));
    assert_eq!(logs("0x7", "0x7").await["error"]["code"], -32005, "one log too long");
    assert_eq!(count(&logs("0x0", "0x3").await), Some(2));
    assert_eq!(logs("0x0", "0x6").await["error"]["message"], "query exceeds max block range 6");
    assert_eq!(count(&logs("0x8", "0x7777").await), Some(0), "past the head there is nothing");
    assert_eq!(logs("0x5", "0x4").await["error"]["code"], -32602);
    let filter = rpc.ok("eth_newFilter", json!([{ "fromBlock": "0x0", "toBlock": "0x6" }])).await;
    assert_eq!(rpc.error("eth_getFilterLogs", json!([filter])).await["code"], -32005);

    let requests = vec![request(1, "eth_getBlockByNumber", json!(["latest", false])); 3];
    let answers: Value = rpc.post(json!(requests).to_string()).await.json().await.unwrap();
    assert!(answers[0]["result"].is_object());
    assert_eq!((&answers[2]["id"], &answers[2]["error"]["code"]), (&json!(1), &json!(-32005)));
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_pages_are_refused() {
    let config = Config { allow_origins: vec!["https://wallet.example".into()], ..Config::default() };
    let chain = Fixture::start(config).await;
    let ask = async |origin: &str, method: Method| {
        let body = request(1, "eth_chainId", json!([])).to_string();
        chain
            .rpc
            .request(method)
            .header("origin", origin)
            .header("content-type", "text/plain")
            .body(body)
            .send()
            .await
            .unwrap()
    };
    for origin in ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://wallet.example"] {
        for method in [Method::POST, Method::OPTIONS, Method::GET] {
            let answer = ask(origin, method).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin}");
            assert!(!answer.text().await.unwrap().contains("0x"), "{origin}");
        }
    }
    for origin in ["https://wallet.example", "http://localhost:5173", "http://127.0.0.1"] {
        let answer = ask(origin, Method::POST).await;
        assert_eq!(answer.status(), StatusCode::OK, "{origin}");
        assert_eq!(answer.headers()["access-control-allow-origin"], origin);
        let preflight = ask(origin, Method::OPTIONS).await;
        assert_eq!(preflight.status(), StatusCode::NO_CONTENT, "{origin}");
        assert_eq!(preflight.headers()["access-control-allow-headers"], "content-type");
    }
    let plain = chain.rpc.request(Method::GET).send().await.unwrap();
    assert_eq!(plain.status(), StatusCode::METHOD_NOT_ALLOWED);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_connections_and_no_more() {
    let chain = Fixture::in_memory().await;
    let address = chain.url.trim_start_matches("http://").to_owned();
    let head = "POST / HTTP/1.1\r\nhost: x\r\n";
    let mut guests = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut guest = TcpStream::connect(&address).await.unwrap();
        guest.write_all(head.as_bytes()).await.unwrap();
        guests.push(guest);
    }
    let rpc = chain.rpc.clone();
    let mut late = tokio::spawn(async move { rpc.head().await });
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut late).await;
    assert!(waited.is_err(), "there was still room");
    guests.pop();
    let served = tokio::time::timeout(Duration::from_secs(20), late).await.expect("in time").expect("no panic");
    assert!(served.is_object());
    // Half a request does not hold up the end for long.
    tokio::time::timeout(Duration::from_secs(20), chain.stop()).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_is_free_after_the_chain_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Fixture::in_folder(folder.path()).await;
    let url = chain.url.clone();
    chain.stop().await;
    assert!(Rpc::new(&url).try_post(String::new()).await.is_err());
    let listen = url.trim_start_matches("http://").parse().unwrap();
    let config = Config { listen, data_dir: Some(folder.path().to_owned()), ..Config::default() };
    Fixture::start(config).await.stop().await;
}

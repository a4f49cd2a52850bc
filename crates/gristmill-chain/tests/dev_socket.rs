//! The development chain over WebSocket: subscriptions.

mod dev_fixture;

use std::time::Duration;

use alloy::primitives::{Address, B256};
use dev_fixture::{Fixture, Tx, request};
use futures_util::{SinkExt, StreamExt};
use gristmill_chain::dev::{REQUEST_BYTES_MAX, SOCKETS_MAX, SUBSCRIPTIONS_MAX};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::StatusCode},
};

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn connect(chain: &Fixture) -> Self {
        let (socket, _) = connect_async(chain.url.replace("http:", "ws:")).await.expect("connects");
        Self(socket)
    }

    async fn send(&mut self, method: &str, params: Value) {
        self.0.send(Message::text(request(1, method, params).to_string())).await.expect("sends");
    }

    /// The next message; there is one soon or the test fails.
    async fn next(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await.expect("in time");
            match message.expect("the connection is open").expect("no error") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn ok(&mut self, method: &str, params: Value) -> Value {
        self.send(method, params).await;
        let answer = self.next().await;
        answer.get("result").cloned().unwrap_or_else(|| panic!("{method}: {answer}"))
    }

    /// The next message, which must be for this subscription.
    async fn told(&mut self, subscription: &Value) -> Value {
        let message = self.next().await;
        assert_eq!(message["method"], "eth_subscription", "{message}");
        assert_eq!(&message["params"]["subscription"], subscription, "{message}");
        message["params"]["result"].clone()
    }

    /// Nothing waits to be read: whatever comes before this request's answer would be read first.
    async fn quiet(&mut self) {
        assert!(self.ok("eth_chainId", json!([])).await.is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_logs_are_pushed_and_taken_back() {
    let chain = Fixture::in_memory().await;
    let logger = chain.rpc.deploy_logger().await;
    let mut heads = Socket::connect(&chain).await;
    let mut logs = Socket::connect(&chain).await;
    let head_id = heads.ok("eth_subscribe", json!(["newHeads"])).await;
    let wanted = json!({ "address": logger, "topics": [B256::repeat_byte(1)] });
    let log_id = logs.ok("eth_subscribe", json!(["logs", wanted])).await;

    for (nonce, topic) in [(1, 1), (2, 2)] {
        let tx = Tx { nonce, to: logger.into(), input: B256::repeat_byte(topic).into(), ..Tx::default() };
        let hash = chain.rpc.send(&tx).await;
        let block = heads.told(&head_id).await;
        assert_eq!(block["hash"], chain.rpc.head().await["hash"]);
        if topic == 1 {
            assert_eq!(logs.told(&log_id).await, chain.rpc.receipt(hash).await["logs"][0]);
        }
    }
    logs.quiet().await;

    let before = chain.rpc.ok("eth_getLogs", json!([{ "fromBlock": "0x0", "topics": [B256::repeat_byte(1)] }])).await;
    chain.rpc.ok("dev_reorg", json!([2])).await;
    let mut removed = before[0].clone();
    removed["removed"] = json!(true);
    assert_eq!(logs.told(&log_id).await, removed);
    let again = logs.told(&log_id).await;
    assert_eq!((&again["removed"], &again["transactionHash"]), (&json!(false), &removed["transactionHash"]));
    assert_ne!(again["blockHash"], removed["blockHash"]);
    logs.quiet().await;
    for number in ["0x2", "0x3"] {
        assert_eq!(heads.told(&head_id).await["number"], number);
    }
    heads.quiet().await;
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_transactions_are_announced_once() {
    let chain = Fixture::in_memory().await;
    let mut socket = Socket::connect(&chain).await;
    let id = socket.ok("eth_subscribe", json!(["newPendingTransactions"])).await;
    chain.rpc.ok("evm_setAutomine", json!([false])).await;
    let hash = chain.rpc.send(&Tx::default()).await;
    assert_eq!(socket.told(&id).await, json!(hash));
    chain.rpc.ok("evm_mine", json!([])).await;
    socket.quiet().await;
    chain.rpc.ok("evm_setAutomine", json!([true])).await;
    let hash = chain.rpc.send(&Tx { nonce: 1, ..Tx::default() }).await;
    assert_eq!(socket.told(&id).await, json!(hash));
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_answers_like_http_too() {
    let chain = Fixture::in_memory().await;
    let mut socket = Socket::connect(&chain).await;
    let hash = socket.ok("eth_sendRawTransaction", json!([Tx::default().raw()])).await;
    assert_eq!(hash, json!(Tx::default().hash()));
    let batch = json!([request(1, "eth_blockNumber", json!([])), request(2, "eth_subscribe", json!(["newHeads"]))]);
    socket.0.send(Message::text(batch.to_string())).await.unwrap();
    let answers = socket.next().await;
    assert_eq!(answers[0]["result"], "0x1");
    assert_eq!(answers[1]["error"]["code"], -32601);
    // Over HTTP there is nothing to push to.
    assert_eq!(chain.rpc.error("eth_subscribe", json!(["newHeads"])).await["code"], -32601);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_end_and_are_bounded() {
    let chain = Fixture::in_memory().await;
    let mut socket = Socket::connect(&chain).await;
    let id = socket.ok("eth_subscribe", json!(["newHeads"])).await;
    assert_eq!(socket.ok("eth_unsubscribe", json!([id])).await, json!(true));
    assert_eq!(socket.ok("eth_unsubscribe", json!([id])).await, json!(false));
    chain.rpc.ok("evm_mine", json!([])).await;
    socket.quiet().await;
    for _ in 0..SUBSCRIPTIONS_MAX {
        socket.ok("eth_subscribe", json!(["logs", { "address": Address::ZERO }])).await;
    }
    socket.send("eth_subscribe", json!(["newHeads"])).await;
    assert_eq!(socket.next().await["error"]["code"], -32005);
    socket.send("eth_subscribe", json!(["syncing"])).await;
    assert_eq!(socket.next().await["error"]["code"], -32005);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_pages_cannot_open_a_socket() {
    let chain = Fixture::in_memory().await;
    for (origin, allowed) in [("https://evil.example", false), ("null", false), ("http://localhost:3000", true)] {
        let mut request = chain.url.replace("http:", "ws:").into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        match connect_async(request).await {
            Ok(_) => assert!(allowed, "{origin}"),
            Err(Error::Http(answer)) => {
                assert!(!allowed, "{origin}");
                assert_eq!(answer.status(), StatusCode::FORBIDDEN);
            }
            Err(error) => panic!("{origin}: {error}"),
        }
    }
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_sockets_and_no_more() {
    let chain = Fixture::in_memory().await;
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS_MAX {
        sockets.push(Socket::connect(&chain).await);
    }
    match connect_async(chain.url.replace("http:", "ws:")).await {
        Err(Error::Http(answer)) => assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE),
        other => panic!("{other:?}"),
    }
    // One that leaves makes room, as soon as the chain has noticed.
    sockets.pop();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while connect_async(chain.url.replace("http:", "ws:")).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "no room again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_long_ends_the_connection() {
    let chain = Fixture::in_memory().await;
    let mut socket = Socket::connect(&chain).await;
    // The chain may hang up before all of it is sent.
    let _ = socket.0.send(Message::text(" ".repeat(REQUEST_BYTES_MAX + 1))).await;
    let end = tokio::time::timeout(Duration::from_secs(20), socket.0.next()).await.expect("in time");
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
    assert!(chain.rpc.head().await.is_object(), "others are served");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_chain_says_goodbye() {
    let chain = Fixture::in_memory().await;
    let mut socket = Socket::connect(&chain).await;
    socket.ok("eth_subscribe", json!(["newHeads"])).await;
    let stopping = tokio::spawn(chain.stop());
    let end = tokio::time::timeout(Duration::from_secs(20), socket.0.next()).await.expect("in time");
    assert!(matches!(end, Some(Ok(Message::Close(_))) | None), "{end:?}");
    drop(socket);
    tokio::time::timeout(Duration::from_secs(20), stopping).await.expect("in time").expect("no panic");
}

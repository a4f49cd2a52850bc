//! An endpoint between client and node that refuses, hangs, dies, or knows less than it should.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use gristmill_chain::rpc::Rpc;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::eventually;

/// What is to become of one call.
pub enum Verdict {
    Forward,
    /// Asked of the node in this form instead.
    ForwardAs(Value),
    Refuse(i64, &'static str),
    /// A result that the node never gave.
    Answer(Value),
    /// No answer, as long as the client waits.
    Hang,
    /// An error page.
    Unavailable,
    /// The node does it, but nobody hears.
    ForwardThenHang,
}

type Judge = Box<dyn FnMut(&str, &Value) -> Verdict + Send>;
type Censor = Box<dyn FnMut(&str, Value) -> Value + Send>;

struct Rules {
    judge: Judge,
    censor: Censor,
    batches: bool,
    calls: Vec<String>,
}

#[derive(Clone)]
pub struct Proxy {
    pub url: String,
    upstream: String,
    client: reqwest::Client,
    rules: Arc<Mutex<Rules>>,
    down: CancellationToken,
    forwarding: Arc<AtomicU64>,
}

impl Proxy {
    pub async fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self::on(listener, upstream).await
    }

    async fn on(listener: TcpListener, upstream: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let rules = Rules {
            judge: Box::new(|_, _| Verdict::Forward),
            censor: Box::new(|_, result| result),
            batches: true,
            calls: Vec::new(),
        };
        let proxy = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            upstream: upstream.to_owned(),
            // A test makes hundreds of proxies, and the node takes only so many connections.
            client: reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap(),
            rules: Arc::new(Mutex::new(rules)),
            down: CancellationToken::new(),
            forwarding: Arc::default(),
        };
        let app = Router::new().route("/", post(answer)).with_state(proxy.clone());
        let down = proxy.down.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = async { axum::serve(listener, app).await } => served.unwrap(),
                () = down.cancelled() => {}
            }
        });
        proxy
    }

    pub fn rpc(&self) -> Rpc {
        Rpc::connect(&self.url).unwrap().with_deadline(std::time::Duration::from_millis(500))
    }

    /// Decides about each call from now on.
    pub fn judge(&self, judge: impl FnMut(&str, &Value) -> Verdict + Send + 'static) {
        self.rules.lock().unwrap().judge = Box::new(judge);
    }

    /// Changes each result from now on.
    pub fn censor(&self, censor: impl FnMut(&str, Value) -> Value + Send + 'static) {
        self.rules.lock().unwrap().censor = Box::new(censor);
    }

    pub fn behave(&self) {
        self.judge(|_, _| Verdict::Forward);
        self.censor(|_, result| result);
    }

    pub fn refuse_batches(&self) {
        self.rules.lock().unwrap().batches = false;
    }

    /// Methods asked since the last time.
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.rules.lock().unwrap().calls)
    }

    /// Waits until the node has answered everything that was forwarded to it.
    pub async fn settle(&self) {
        eventually("forwarded calls are answered", || async { self.forwarding.load(Ordering::SeqCst) == 0 }).await;
    }

    async fn one(&self, call: Value) -> Result<Value, StatusCode> {
        let method = call["method"].as_str().unwrap_or_default().to_owned();
        let verdict = {
            let mut rules = self.rules.lock().unwrap();
            rules.calls.push(method.clone());
            (rules.judge)(&method, &call["params"])
        };
        let id = call["id"].clone();
        match verdict {
            Verdict::Forward => self.forward(&method, call).await,
            Verdict::ForwardAs(params) => {
                let mut call = call;
                call["params"] = params;
                self.forward(&method, call).await
            }
            Verdict::Refuse(code, message) => {
                Ok(json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }))
            }
            Verdict::Answer(result) => Ok(json!({ "jsonrpc": "2.0", "id": id, "result": result })),
            Verdict::Hang => std::future::pending().await,
            Verdict::Unavailable => Err(StatusCode::SERVICE_UNAVAILABLE),
            Verdict::ForwardThenHang => {
                self.forward(&method, call).await?;
                std::future::pending().await
            }
        }
    }

    async fn forward(&self, method: &str, call: Value) -> Result<Value, StatusCode> {
        // In a task, because a client that hangs up must not take back what is on its way.
        let request = self.client.post(&self.upstream).json(&call);
        let forwarding = Arc::clone(&self.forwarding);
        forwarding.fetch_add(1, Ordering::SeqCst);
        let asked = tokio::spawn(async move {
            let answer = async { request.send().await?.json::<Value>().await }.await;
            forwarding.fetch_sub(1, Ordering::SeqCst);
            answer
        });
        let mut answer = asked.await.expect("no panic").map_err(|_| StatusCode::BAD_GATEWAY)?;
        if let Some(result) = answer.get_mut("result") {
            let taken = result.take();
            *result = (self.rules.lock().unwrap().censor)(method, taken);
        }
        Ok(answer)
    }
}

async fn answer(State(proxy): State<Proxy>, body: Bytes) -> Response {
    let call: Value = serde_json::from_slice(&body).unwrap();
    let answered = match call {
        Value::Array(_) if !proxy.rules.lock().unwrap().batches => {
            Ok(json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32600, "message": "no batches here" } }))
        }
        Value::Array(calls) => {
            let mut answers = Vec::new();
            let mut failed = None;
            for call in calls {
                match proxy.one(call).await {
                    Ok(answer) => answers.push(answer),
                    Err(status) => failed = Some(status),
                }
            }
            failed.map_or(Ok(Value::Array(answers)), Err)
        }
        call => proxy.one(call).await,
    };
    match answered {
        Ok(answer) => ([(CONTENT_TYPE, "application/json")], answer.to_string()).into_response(),
        Err(status) => status.into_response(),
    }
}

/// `0x…` as a number.
pub fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

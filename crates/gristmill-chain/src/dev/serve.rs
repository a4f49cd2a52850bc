//! The server: HTTP for requests and batches, WebSocket for those and subscriptions, on one port and path.

use std::{future::IntoFuture, io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequestParts, Request, State, WebSocketUpgrade},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    door::Door,
    origin::{Origins, Verdict},
    rpc::Api,
    socket,
};

/// One request body or WebSocket message: a batch of some thirty of the largest transactions.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// WebSocket connections at a time: every page and worker of a small grid, and far below the usual limit on open files.
pub const SOCKETS_MAX: usize = 256;

/// How long a client that is in the middle of a request may hold up the end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

struct Served {
    api: Arc<Api>,
    sockets: Arc<Semaphore>,
    /// Waits for the sockets: the HTTP server forgets a connection once it is upgraded.
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// Serves until `shutdown`, then until the last request is answered, but not for long.
pub(crate) async fn serve(
    listener: TcpListener,
    api: Api,
    origins: Origins,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let tasks = TaskTracker::new();
    let served = Served {
        api: Arc::new(api),
        sockets: Arc::new(Semaphore::new(SOCKETS_MAX)),
        tasks: tasks.clone(),
        shutdown: shutdown.clone(),
    };
    let router = Router::new()
        .route("/", post(answer).get(upgrade))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(origins), admit))
        .with_state(Arc::new(served));
    let serving = axum::serve(Door::new(listener), router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let finished = async {
        serving.into_future().await?;
        tasks.close();
        tasks.wait().await;
        Ok(())
    };
    tokio::select! {
        finished = finished => finished,
        () = async { shutdown.cancelled().await; tokio::time::sleep(SHUTDOWN_GRACE).await } => Ok(()),
    }
}

/// Turns strangers' pages away and tells browsers of the others that they may read the answer.
async fn admit(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Response {
    let preflight = request.method() == Method::OPTIONS;
    let origin = match origins.judge(request.headers()) {
        Verdict::Refused => {
            return (StatusCode::FORBIDDEN, "this page may not use the chain: its origin is not allowed")
                .into_response();
        }
        Verdict::Program => return next.run(request).await,
        Verdict::Page(origin) => origin,
    };
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    if preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    }
    response
}

async fn answer(State(served): State<Arc<Served>>, body: Bytes) -> Response {
    match served.api.answer(&body).await {
        Some(answer) => ([(header::CONTENT_TYPE, "application/json")], answer).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn upgrade(State(served): State<Arc<Served>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await else {
        let text = "this is the JSON-RPC port of a gristmill chain: POST requests to it, or open a WebSocket\n";
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], text).into_response();
    };
    let Ok(place) = served.sockets.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many WebSocket connections").into_response();
    };
    let alive = served.tasks.token();
    upgrade.max_message_size(REQUEST_BYTES_MAX).max_frame_size(REQUEST_BYTES_MAX).on_upgrade(|socket| async move {
        socket::run(socket, &served.api, served.shutdown.clone()).await;
        drop((place, alive));
    })
}

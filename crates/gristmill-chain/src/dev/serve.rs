//! The HTTP side: who may ask, how much at once, and the two forms in which requests come.

use std::{future::IntoFuture, io, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{node::Node, rpc};

/// One request body: the largest transaction in hex, a thousand times over in a batch, is refused; a few dozen fit.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

struct Served {
    node: Node,
}

pub(crate) async fn serve(
    listener: TcpListener,
    node: Node,
    _allow_origins: Vec<String>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let router = Router::new()
        .route("/", post(answer))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(Arc::new(Served { node }));
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).into_future().await
}

async fn answer(State(served): State<Arc<Served>>, _headers: HeaderMap, body: Bytes) -> Response {
    match rpc::answer(&served.node, &body).await {
        Some(answer) => ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

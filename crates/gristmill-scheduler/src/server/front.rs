//! What answers on the pool's port: the pool while this scheduler leads, and directions to the leader otherwise.

use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use gristmill_proto::LEADER_HEADER;
use gristmill_proto::view::{ApiError, Health, Standing};
use tower::ServiceExt as _;

use crate::store::Term;

pub(super) struct Front {
    pool: String,
    /// Served beside the pool's API, whoever leads: the page.
    extra: Router,
    /// Served while this scheduler leads, and refused otherwise.
    led: Router,
    now: RwLock<Now>,
}

struct Now {
    health: Health,
    routes: Router,
}

impl Front {
    pub(super) fn new(pool: String, extra: Router, led: Router) -> Arc<Self> {
        let health = Health { pool: pool.clone(), standing: Standing::StandBy, leader: None, term: None };
        let now = RwLock::new(Now { routes: standing_by(&health, &led).merge(extra.clone()), health });
        Arc::new(Self { pool, extra, led, now })
    }

    pub(super) fn lead(&self, routes: Router, term: Option<Term>, url: &str) {
        let (leader, term) = (Some(url.to_owned()), term.map(|term| term.0));
        let health = Health { pool: self.pool.clone(), standing: Standing::Leads, leader, term };
        self.become_now(health, routes.merge(self.led.clone()));
    }

    /// Tells who leads, as far as it is known.
    pub(super) fn stand_by(&self, leader: Option<String>) {
        let health = Health { pool: self.pool.clone(), standing: Standing::StandBy, leader, term: None };
        if self.now.read().unwrap_or_else(PoisonError::into_inner).health != health {
            let routes = standing_by(&health, &self.led);
            self.become_now(health, routes);
        }
    }

    fn become_now(&self, health: Health, routes: Router) {
        let shown = health.clone();
        let routes = routes.merge(self.extra.clone()).route("/health", get(move || async move { Json(shown) }));
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Now { health, routes };
    }
}

pub(super) fn router(front: Arc<Front>) -> Router {
    Router::new().fallback(answer).with_state(front)
}

async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response {
    let routes = front.now.read().unwrap_or_else(PoisonError::into_inner).routes.clone();
    routes.oneshot(request).await.into_response()
}

fn standing_by(health: &Health, led: &Router) -> Router {
    let leader = health.leader.clone();
    let refuse = move || {
        let leader = leader.clone();
        async move { refusal(leader.as_deref()) }
    };
    let led = led.clone().layer(middleware::from_fn({
        let refuse = refuse.clone();
        move |_: Request, _: Next| refuse()
    }));
    Router::new().route("/api/{*rest}", any(refuse.clone())).route("/metrics", get(refuse)).merge(led)
}

fn refusal(leader: Option<&str>) -> Response {
    let (error, hint) = match leader {
        Some(leader) => (format!("this scheduler stands by: {leader} leads"), format!("use --pool {leader}")),
        None => {
            let hint = "try again in a moment: a stand-by takes over when the leader has been silent for its lease";
            ("this scheduler stands by, and nobody leads".to_owned(), hint.to_owned())
        }
    };
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, Json(ApiError { error, hint })).into_response();
    let value = leader.and_then(|leader| HeaderValue::from_str(leader).ok());
    response.headers_mut().insert(LEADER_HEADER, value.unwrap_or(HeaderValue::from_static("")));
    response
}

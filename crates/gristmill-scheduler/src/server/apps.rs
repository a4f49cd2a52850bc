//! Apps by name over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use gristmill_proto::digest::Digest;
use gristmill_proto::view::{AppEntry, PublishRequest};

use super::Api;
use super::api::{Authorized, Refusal, committed, manifest};
use crate::apps::{AppRefusal, Apps};
use crate::core::Change;
use crate::pool::lock;

impl From<AppRefusal> for Refusal {
    fn from(refusal: AppRefusal) -> Self {
        let (status, hint) = match &refusal {
            AppRefusal::Taken { .. } => (StatusCode::CONFLICT, "publish it under a new version"),
            AppRefusal::Foreign { .. } => {
                (StatusCode::FORBIDDEN, "sign it with the key of the first version, or take another name")
            }
            AppRefusal::Full => (StatusCode::INSUFFICIENT_STORAGE, ""),
            AppRefusal::Unknown(_) => (StatusCode::NOT_FOUND, "`gristmill app list` shows what there is"),
            AppRefusal::Retired(_) => (StatusCode::GONE, "`gristmill app list` shows other versions"),
            AppRefusal::NotApproved(_) => (StatusCode::FORBIDDEN, "the admin approves it with `gristmill app approve`"),
        };
        Self::new(status, refusal, hint)
    }
}

pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Vec<AppEntry>> {
    Json(lock(&api.apps).all().cloned().collect())
}

pub(super) async fn named(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Json<AppEntry>, Refusal> {
    Ok(Json(lock(&api.apps).resolve(&name)?.clone()))
}

pub(super) async fn publish(
    _: Authorized,
    State(api): State<Arc<Api>>,
    Json(request): Json<PublishRequest>,
) -> Result<Json<AppEntry>, Refusal> {
    let manifest = manifest(&api, request.app)?;
    for blob in manifest.blobs() {
        let refuse = |why: String| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, why, "upload the app's files first");
        let (_, size) = api.pool.blobs.open_blob(blob.digest).map_err(|error| refuse(error.to_string()))?;
        if size != blob.size {
            return Err(refuse(format!("blob {} has {size} bytes and not {}", blob.digest, blob.size)));
        }
    }
    change(&api, |apps, now| apps.publish(request.app, &manifest, now)).await
}

pub(super) async fn approve(
    _: Authorized,
    State(api): State<Arc<Api>>,
    Path(app): Path<Digest>,
) -> Result<Json<AppEntry>, Refusal> {
    change(&api, |apps, _| apps.change(&app, |entry| entry.approved = true)).await
}

pub(super) async fn retire(
    _: Authorized,
    State(api): State<Arc<Api>>,
    Path(app): Path<Digest>,
) -> Result<Json<AppEntry>, Refusal> {
    change(&api, |apps, _| apps.change(&app, |entry| entry.retired = true)).await
}

/// Changes the list and answers when that is durable.
async fn change(
    api: &Api,
    change: impl FnOnce(&mut Apps, gristmill_proto::id::UnixMillis) -> Result<AppEntry, AppRefusal>,
) -> Result<Json<AppEntry>, Refusal> {
    let (entry, durable) = {
        // Held until the writer has it, so that changes become durable in the order in which they were made.
        let mut apps = lock(&api.apps);
        let (entry, durable) = api.pool.act(|_, now, effects| {
            let entry = change(&mut apps, now)?;
            effects.changes.push(Change::AppChanged(entry.clone()));
            Ok::<_, AppRefusal>(entry)
        });
        (entry?, durable)
    };
    committed(durable).await?;
    Ok(Json(entry))
}

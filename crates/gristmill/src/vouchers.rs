//! Vouchers as the pool keeps them for its workers, and where each worker wants to be paid.
//!
//! The pool's oracle brings them; a worker comes for its own. Nothing here is believed by anyone: a voucher is worth what
//! its signature says, and a payout address is signed by the worker's key.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use alloy::primitives::{Address, B256, Bytes, Signature, keccak256};
use anyhow::{Context, Result};
use axum::extract::{DefaultBodyLimit, Path as At, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

/// A pool's promise to pay a worker so much in all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoucherView {
    pub chain_id: u64,
    pub market: Address,
    pub pool: Address,
    /// Whom the market pays.
    pub worker: Address,
    /// In nRLC, as decimal text.
    pub cumulative: String,
    pub signature: Bytes,
}

impl VoucherView {
    pub fn nrlc(&self) -> Result<u128> {
        self.cumulative.parse().with_context(|| format!("`{}` is no amount", self.cumulative))
    }
}

/// A worker's wish to be paid at another address than its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payout {
    pub to: Address,
    /// Later wishes have a higher one, so that an old one cannot be brought again.
    pub since_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignedPayout {
    #[serde(flatten)]
    pub payout: Payout,
    pub signature: Bytes,
}

impl Payout {
    /// What a worker signs.
    pub fn hash(&self, worker: Address) -> B256 {
        keccak256(format!("gristmill payout of {worker:#x} to {:#x} since {}", self.to, self.since_ms))
    }
}

/// A request with so many vouchers, or one wish, is within it.
const REQUEST_BYTES_MAX: usize = 512 << 10;
/// Wishes of workers that nobody has to have heard of.
const PAYOUTS_MAX: u64 = 1_000_000;

struct Desk {
    connection: Mutex<Connection>,
    /// The pool's: whoever shows it brings vouchers.
    token: String,
}

/// Routes below `/api`, over a database of their own in the pool's folder.
pub fn routes(folder: &Path, token: &str) -> Result<Router> {
    let file = folder.join("vouchers.sqlite");
    let connection = open(&file).with_context(|| format!("cannot open {}", file.display()))?;
    let desk = Arc::new(Desk { connection: Mutex::new(connection), token: token.to_owned() });
    Ok(Router::new()
        .route("/api/vouchers", put(tell))
        .route("/api/vouchers/{worker}", get(vouchers))
        .route("/api/payouts/{worker}", get(payout).put(set_payout))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(desk))
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE IF NOT EXISTS voucher (
             worker BLOB NOT NULL, chain_id INTEGER NOT NULL, market BLOB NOT NULL, pool BLOB NOT NULL,
             cumulative TEXT NOT NULL, signature BLOB NOT NULL,
             PRIMARY KEY (worker, chain_id, market, pool)
         ) STRICT, WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS payout (
             worker BLOB PRIMARY KEY, payee BLOB NOT NULL, since_ms INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID;",
    )?;
    Ok(connection)
}

struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(serde_json::json!({ "error": self.1, "hint": "" }))).into_response()
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        tracing::error!(%error, "the vouchers' database failed");
        Self(StatusCode::INTERNAL_SERVER_ERROR, "the vouchers' database failed".to_owned())
    }
}

fn bad(why: impl Into<String>) -> Refusal {
    Refusal(StatusCode::UNPROCESSABLE_ENTITY, why.into())
}

impl Desk {
    fn connection(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn tell(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    Json(vouchers): Json<Vec<VoucherView>>,
) -> Result<StatusCode, Refusal> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    // Hashed, so that the time it takes says nothing of the token.
    if shown.map(keccak256) != Some(keccak256(&desk.token)) {
        return Err(Refusal(StatusCode::UNAUTHORIZED, "this request needs the pool's token".to_owned()));
    }
    let connection = desk.connection();
    let transaction = connection.unchecked_transaction()?;
    for voucher in &vouchers {
        let cumulative = voucher.nrlc().map_err(|error| bad(error.to_string()))?;
        let known = transaction
            .query_row(
                "SELECT cumulative FROM voucher WHERE worker = ?1 AND chain_id = ?2 AND market = ?3 AND pool = ?4",
                params![
                    voucher.worker.as_slice(),
                    voucher.chain_id,
                    voucher.market.as_slice(),
                    voucher.pool.as_slice()
                ],
                |row| row.get::<_, String>(0),
            )
            .optional()?;
        if known.and_then(|known| known.parse::<u128>().ok()).is_some_and(|known| known >= cumulative) {
            continue;
        }
        transaction.execute(
            "INSERT OR REPLACE INTO voucher (worker, chain_id, market, pool, cumulative, signature)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                voucher.worker.as_slice(),
                voucher.chain_id,
                voucher.market.as_slice(),
                voucher.pool.as_slice(),
                cumulative.to_string(),
                voucher.signature.as_ref()
            ],
        )?;
    }
    transaction.commit()?;
    Ok(StatusCode::NO_CONTENT)
}

async fn vouchers(State(desk): State<Arc<Desk>>, At(worker): At<Address>) -> Result<Json<Vec<VoucherView>>, Refusal> {
    let connection = desk.connection();
    let payee = payout_of(&connection, worker)?.map_or(worker, |payout| payout.to);
    let mut find = connection.prepare_cached(
        "SELECT worker, chain_id, market, pool, cumulative, signature FROM voucher WHERE worker IN (?1, ?2)",
    )?;
    let voucher = |row: &rusqlite::Row<'_>| {
        let address = |column| Ok::<_, rusqlite::Error>(Address::from(row.get::<_, [u8; 20]>(column)?));
        Ok(VoucherView {
            worker: address(0)?,
            chain_id: row.get(1)?,
            market: address(2)?,
            pool: address(3)?,
            cumulative: row.get(4)?,
            signature: row.get::<_, Vec<u8>>(5)?.into(),
        })
    };
    let found = find.query_map([worker.as_slice(), payee.as_slice()], voucher)?.collect::<Result<_, _>>()?;
    Ok(Json(found))
}

async fn payout(State(desk): State<Arc<Desk>>, At(worker): At<Address>) -> Result<Json<Option<Payout>>, Refusal> {
    Ok(Json(payout_of(&desk.connection(), worker)?))
}

async fn set_payout(
    State(desk): State<Arc<Desk>>,
    At(worker): At<Address>,
    Json(signed): Json<SignedPayout>,
) -> Result<StatusCode, Refusal> {
    let signature = Signature::from_raw(&signed.signature).map_err(|_| bad("this is no signature"))?;
    let signer = signature.recover_address_from_prehash(&signed.payout.hash(worker));
    if signer.ok() != Some(worker) {
        return Err(bad(format!("this is not signed by {worker}")));
    }
    let connection = desk.connection();
    let count: u64 = connection.query_row("SELECT count(*) FROM payout", [], |row| row.get(0))?;
    match payout_of(&connection, worker)? {
        Some(known) if known.since_ms >= signed.payout.since_ms => return Ok(StatusCode::NO_CONTENT),
        None if count >= PAYOUTS_MAX => return Err(bad(format!("this pool keeps {PAYOUTS_MAX} payout addresses"))),
        _ => {}
    }
    connection.execute(
        "INSERT OR REPLACE INTO payout (worker, payee, since_ms) VALUES (?1, ?2, ?3)",
        params![worker.as_slice(), signed.payout.to.as_slice(), signed.payout.since_ms],
    )?;
    Ok(StatusCode::NO_CONTENT)
}

fn payout_of(connection: &Connection, worker: Address) -> rusqlite::Result<Option<Payout>> {
    connection
        .query_row("SELECT payee, since_ms FROM payout WHERE worker = ?1", [worker.as_slice()], |row| {
            Ok(Payout { to: Address::from(row.get::<_, [u8; 20]>(0)?), since_ms: row.get(1)? })
        })
        .optional()
}

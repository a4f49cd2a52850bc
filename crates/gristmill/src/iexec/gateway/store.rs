//! Published orders on disk.

use std::path::Path;

use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::Eip712Domain;
use anyhow::{Context, Result};
use gristmill_proto::id::UnixMillis;
use rusqlite::{Connection, params};

use super::book::Published;
use super::order::{Kind, Order};

pub(super) struct Store {
    connection: Connection,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let open = || format!("cannot open the order book {}", path.display());
        let connection = Connection::open(path).with_context(open)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE IF NOT EXISTS published (
                     hash BLOB PRIMARY KEY,
                     hub BLOB NOT NULL,
                     kind TEXT NOT NULL,
                     body TEXT NOT NULL,
                     signer BLOB NOT NULL,
                     published_at_ms INTEGER NOT NULL
                 ) STRICT, WITHOUT ROWID;",
            )
            .with_context(open)?;
        Ok(Self { connection })
    }

    /// Orders of this hub. How much of each is left, the chain says.
    pub(super) fn orders(&self, hub: Address, domain: &Eip712Domain) -> Result<Vec<Published>> {
        let mut statement =
            self.connection.prepare("SELECT kind, body, signer, published_at_ms FROM published WHERE hub = ?1")?;
        let mut rows = statement.query([hub.0.0])?;
        let mut orders = Vec::new();
        while let Some(row) = rows.next()? {
            let kind = Kind::of_path(&row.get::<_, String>(0)?).context("an order of a kind that is not known")?;
            let order = Order::parse(kind, serde_json::from_str(&row.get::<_, String>(1)?)?, domain)?;
            let signer = Address::from(row.get::<_, [u8; 20]>(2)?);
            orders.push(Published { order, signer, remaining: U256::ZERO, at: UnixMillis(row.get(3)?) });
        }
        Ok(orders)
    }

    pub(super) fn insert(&self, hub: Address, published: &Published) -> Result<()> {
        let Published { order, signer, at, .. } = published;
        self.connection.execute(
            "INSERT OR REPLACE INTO published (hash, hub, kind, body, signer, published_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![order.hash.0, hub.0.0, order.kind.path(), serde_json::to_string(&order.json)?, signer.0.0, at.0],
        )?;
        Ok(())
    }

    pub(super) fn remove(&self, hash: &B256) -> Result<()> {
        self.connection.execute("DELETE FROM published WHERE hash = ?1", [hash.0])?;
        Ok(())
    }
}

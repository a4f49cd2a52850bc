//! One of the two databases a pool may have.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::StoreError;
use super::postgres::Postgres;
use super::sql::{Row, Statement, Value};
use super::sqlite::Sqlite;

/// Where a pool's database is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file of its own.
    File(PathBuf),
    /// A PostgreSQL that several schedulers may share.
    Shared(Box<tokio_postgres::Config>),
}

#[derive(Debug, thiserror::Error)]
#[error("`{place}` names no database: {why}")]
pub struct NoPlace {
    place: String,
    why: String,
}

impl std::str::FromStr for Place {
    type Err = NoPlace;

    /// `postgres://user@host/name`, or the path of a file.
    fn from_str(text: &str) -> Result<Self, NoPlace> {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", _)) => {
                let config = text.parse().map_err(|error: tokio_postgres::Error| {
                    let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                    // Its password is nobody's business.
                    NoPlace { place: "postgres://…".to_owned(), why }
                })?;
                Ok(Self::Shared(Box::new(config)))
            }
            Some((scheme, _)) => {
                let why = "only postgres:// and files are known".to_owned();
                Err(NoPlace { place: format!("{scheme}://…"), why })
            }
            None => Ok(Self::File(text.into())),
        }
    }
}

pub(super) enum Database {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

impl Database {
    pub(super) fn open_file(path: &Path) -> Result<Self, StoreError> {
        Sqlite::open(path).map(Self::Sqlite)
    }

    pub(super) fn open_shared(
        config: &tokio_postgres::Config,
        abandoned_ms: u64,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        Ok(Self::Postgres(Box::new(Postgres::open(config, abandoned_ms, patience)?)))
    }

    pub(super) fn query(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.query(sql, values),
            Self::Postgres(postgres) => postgres.query(sql, values),
        }
    }

    pub(super) fn one(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, values)?.into_iter().next())
    }

    /// All of the statements or none, durable when it returns.
    pub(super) fn transact(&mut self, statements: &[Statement<'_>]) -> Result<(), StoreError> {
        self.transact_after("", statements)
    }

    /// The same, with statements before them that have no parameters.
    pub(super) fn transact_after(&mut self, script: &str, statements: &[Statement<'_>]) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.transact(script, statements),
            Self::Postgres(postgres) => postgres.transact(script, statements),
        }
    }
}

//! The pool's own file: SQLite.

use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql, TransactionBehavior};

use super::StoreError;
use super::sql::{Row, Statement, Value};

/// More than the store has, so that none is parsed twice.
const STATEMENTS_KEPT: usize = 128;

pub(super) struct Sqlite {
    connection: Connection,
    path: PathBuf,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let open = |source| StoreError::Open { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(open)?;
        // EXCLUSIVE would keep readers out; a second pool on the same folder is refused by the role's lock file.
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            .map_err(open)?;
        Ok(Self::with(connection, path))
    }

    /// A second connection, for questions: it sees what is committed and never waits for the writer.
    pub(super) fn reader(&self) -> Result<Self, StoreError> {
        let path = &self.path;
        let open = |source| StoreError::Open { path: path.clone(), source };
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(open)?;
        Ok(Self::with(connection, path))
    }

    fn with(connection: Connection, path: &Path) -> Self {
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Self { connection, path: path.to_owned() }
    }

    pub(super) fn query(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| -> Result<Row, rusqlite::Error> {
            (0..columns).map(|column| row.get_ref(column).map(owned)).collect::<Result<_, _>>().map(Row)
        };
        Ok(statement.query_map(rusqlite::params_from_iter(values), row)?.collect::<Result<_, _>>()?)
    }

    pub(super) fn transact(&mut self, script: &str, statements: &[Statement<'_>]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(script)?;
        for statement in statements {
            let mut prepared = transaction.prepare_cached(statement.sql)?;
            let values = rusqlite::params_from_iter(&statement.values);
            let rows = if prepared.column_count() == 0 {
                prepared.execute(values)?
            } else {
                prepared.query_map(values, |_| Ok(()))?.collect::<Result<Vec<()>, _>>()?.len()
            };
            statement.check(rows as u64)?;
        }
        Ok(transaction.commit()?)
    }

    pub(super) fn format(&self) -> Result<u32, StoreError> {
        Ok(self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn owned(value: ValueRef<'_>) -> Value<'static> {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        // STRICT tables hold none.
        ValueRef::Real(_) => Value::Null,
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned().into()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec().into()),
    }
}

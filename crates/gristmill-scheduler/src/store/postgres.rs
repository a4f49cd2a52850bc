//! A database that several schedulers share: PostgreSQL.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{self, MaybeDone, maybe_done};
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;
use super::sql::{Row, Statement, Value};

/// Statements on their way at once, so that a commit costs a few round trips however much it holds.
const PIPELINED_MAX: usize = 512;

/// One session. Its work runs on the thread that asks.
pub(super) struct Postgres {
    config: Box<Config>,
    /// Taken when dropped: a runtime may not end inside another.
    runtime: Option<Runtime>,
    session: RefCell<Session>,
    /// Said at the start of each session.
    setup: String,
    /// How long an answer may take.
    patience: Duration,
}

struct Session {
    client: Client,
    prepared: HashMap<&'static str, tokio_postgres::Statement>,
}

impl Postgres {
    /// `abandoned_ms`: a transaction whose client fell silent is ended by the database after this time, so that its
    /// locks keep nobody waiting.
    pub(super) fn open(config: &Config, abandoned_ms: u64, patience: Duration) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(StoreError::Runtime)?;
        // A database that is set to acknowledge early is told not to.
        let setup = format!(
            "SET idle_in_transaction_session_timeout = {abandoned_ms};
             SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';"
        );
        let session = wait(&runtime, patience, connect(config, &setup))?;
        Ok(Self {
            config: Box::new(config.clone()),
            runtime: Some(runtime),
            session: RefCell::new(session),
            setup,
            patience,
        })
    }

    pub(super) fn query(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        if self.session.borrow().client.is_closed() {
            *self.session.borrow_mut() = self.wait(connect(&self.config, &self.setup))?;
        }
        let mut session = self.session.borrow_mut();
        let rows = self.wait(async {
            let statement = session.prepare(sql).await?;
            session.client.query(&statement, &parameters(values)).await
        })?;
        let owned = |row: &tokio_postgres::Row| {
            (0..row.len()).map(|column| row.try_get::<_, Value<'static>>(column)).collect::<Result<_, _>>().map(Row)
        };
        Ok(rows.iter().map(owned).collect::<Result<_, _>>()?)
    }

    /// A script without parameters and statements after it: all or none.
    pub(super) fn transact(&mut self, script: &str, statements: &[Statement<'_>]) -> Result<(), StoreError> {
        let mut session = self.session.borrow_mut();
        self.wait(async {
            session.client.batch_execute(&format!("BEGIN; {script}")).await?;
            let executed = session.execute(statements).await;
            let end = if executed.is_ok() { "COMMIT" } else { "ROLLBACK" };
            let ended = session.client.batch_execute(end).await;
            executed?;
            ended.map_err(StoreError::from)
        })
    }

    fn wait<T, E: Into<StoreError>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, StoreError> {
        wait(self.runtime.as_ref().expect("it lasts as long as this"), self.patience, work)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// Other work of a server's thread goes on meanwhile.
fn wait<T, E: Into<StoreError>>(
    runtime: &Runtime,
    patience: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, StoreError> {
    let work = || {
        let bounded = async { tokio::time::timeout(patience, work).await };
        runtime.block_on(bounded).map_err(|_| StoreError::Silent(patience))?.map_err(Into::into)
    };
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

async fn connect(config: &Config, setup: &str) -> Result<Session, StoreError> {
    let (client, connection) = config.connect(tls()?).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(error = &error as &dyn StdError, "a session with the database ended");
        }
    });
    client.batch_execute(setup).await?;
    Ok(Session { client, prepared: HashMap::new() })
}

/// The system's certificates decide whom to trust.
fn tls() -> Result<MakeRustlsConnect, StoreError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn parameters<'v>(values: &'v [Value<'_>]) -> Vec<&'v (dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

impl Session {
    async fn prepare(&mut self, sql: &'static str) -> Result<tokio_postgres::Statement, tokio_postgres::Error> {
        if let Some(known) = self.prepared.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(&sql.replace('?', "$")).await?;
        self.prepared.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Executes the statements in their order, many at a time on the way. A failure of one fails all that follow.
    async fn execute(&mut self, statements: &[Statement<'_>]) -> Result<(), StoreError> {
        for statements in statements.chunks(PIPELINED_MAX) {
            let mut prepared = Vec::with_capacity(statements.len());
            for statement in statements {
                prepared.push(self.prepare(statement.sql).await?);
            }
            let values: Vec<_> = statements.iter().map(|statement| parameters(&statement.values)).collect();
            let mut sent: Vec<Pin<Box<MaybeDone<_>>>> = prepared
                .iter()
                .zip(&values)
                .map(|(prepared, values)| Box::pin(maybe_done(self.client.execute(prepared, values))))
                .collect();
            // The first poll sends.
            for execution in &mut sent {
                future::poll_fn(|context| Poll::Ready(execution.as_mut().poll(context).is_ready())).await;
            }
            for (mut execution, statement) in sent.into_iter().zip(statements) {
                execution.as_mut().await;
                statement.check(execution.as_mut().take_output().expect("it has been waited for")?)?;
            }
        }
        Ok(())
    }
}

type Failure = Box<dyn StdError + Sync + Send>;

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) if *kind == Type::INT4 => i32::try_from(*number)?.to_sql(kind, out),
            Self::Integer(number) => number.to_sql(kind, out),
            // Text of a database holds no zero byte; what people read needs none.
            Self::Text(text) if text.contains('\0') => text.replace('\0', " ").to_sql(kind, out),
            Self::Text(text) => text.to_sql(kind, out),
            Self::Bytes(bytes) => (&**bytes).to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        is_integer(kind) || is_text(kind) || *kind == Type::BYTEA
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value<'static> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        Ok(match kind {
            kind if *kind == Type::INT4 => Self::Integer(i32::from_sql(kind, raw)?.into()),
            kind if is_integer(kind) => Self::Integer(i64::from_sql(kind, raw)?),
            kind if is_text(kind) => Self::Text(String::from_sql(kind, raw)?.into()),
            kind => Self::Bytes(Vec::<u8>::from_sql(kind, raw)?.into()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failure> {
        Ok(Self::Null)
    }

    fn accepts(kind: &Type) -> bool {
        <Self as ToSql>::accepts(kind)
    }
}

fn is_integer(kind: &Type) -> bool {
    *kind == Type::INT8 || *kind == Type::INT4
}

fn is_text(kind: &Type) -> bool {
    *kind == Type::TEXT || *kind == Type::VARCHAR
}

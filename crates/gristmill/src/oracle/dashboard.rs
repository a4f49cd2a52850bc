//! What operators want to know of running oracles: as JSON, and in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use alloy::primitives::{Address, U256};
use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Oracle;
use super::work::Work;

/// All oracles of a process, as long as they run.
#[derive(Clone, Default)]
pub struct Dashboard(Arc<Mutex<Vec<Weak<Oracle>>>>);

/// How one oracle is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub chain_id: u64,
    pub market: Address,
    pub account: Address,
    /// Newest block of the chain, and the newest that was taken in.
    pub head: u64,
    pub cursor: u64,
    /// Why the endpoint does not answer usefully.
    pub outage: Option<String>,
    /// Orders that are not closed on chain.
    pub open: u64,
    /// Orders whose job runs.
    pub running: u64,
    /// Actions that wait, that are sent, and that are in a block without enough confirmations.
    pub queued: u64,
    pub pending: u64,
    pub mined: u64,
    pub balance_wei: Option<U256>,
    /// Why actions wait although the node answers.
    pub hold: Option<String>,
    pub transactions: Transactions,
    /// What workers are owed in all, and how much of it the market keeps for them, in nRLC.
    pub owed: String,
    pub locked: String,
}

/// What has become of transactions since the books were begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transactions {
    pub confirmed: u64,
    /// Mined, but reverted.
    pub reverted: u64,
    /// Not sent: the simulation reverts.
    pub refused: u64,
    /// Taken along by a reorganisation, and sent again.
    pub dropped: u64,
    pub gas_used: u64,
    pub fees_wei: U256,
}

impl Dashboard {
    pub(super) fn show(&self, oracle: &Arc<Oracle>) {
        self.oracles().push(Arc::downgrade(oracle));
    }

    fn oracles(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Oracle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn status(&self) -> Result<Vec<Status>> {
        let oracles: Vec<Arc<Oracle>> = self.oracles().iter().filter_map(Weak::upgrade).collect();
        let mut all = Vec::with_capacity(oracles.len());
        for oracle in oracles {
            all.push(oracle.status().await?);
        }
        Ok(all)
    }

    /// Serves `/status` and `/metrics` until told to stop.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
        let router = Router::new().route("/status", get(status)).route("/metrics", get(metrics)).with_state(self);
        let server = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
        server.await.context("the dashboard stopped")
    }
}

impl Oracle {
    async fn status(&self) -> Result<Status> {
        let sender = self.sender.status().borrow().clone();
        let follow = self.follow_status.borrow().clone();
        let books = self.books.lock().await;
        let (ledger, cover) = (&books.ledger, books.store.cover()?);
        let count = |wanted: &dyn Fn(&super::ledger::Order) -> bool| {
            ledger.orders().filter(|(_, order)| wanted(order)).count() as u64
        };
        Ok(Status {
            chain_id: self.chain_id,
            market: self.market,
            account: self.pool_account,
            head: follow.head.unwrap_or(ledger.chain.head),
            cursor: follow.cursor.map_or(ledger.chain.head, |cursor| cursor.number),
            outage: follow.outage.or(sender.outage).map(|outage| outage.reason),
            open: count(&|order| order.closed.is_none()),
            running: count(&|order| matches!(order.work, Work::Started { .. })),
            queued: sender.queued as u64,
            pending: sender.pending as u64,
            mined: sender.mined as u64,
            balance_wei: sender.balance_wei,
            hold: sender.hold.map(|hold| hold.to_string()),
            transactions: books.store.transactions()?,
            owed: cover.owed.to_string(),
            locked: cover.locked.to_string(),
        })
    }
}

async fn status(State(dashboard): State<Dashboard>) -> Result<Json<Vec<Status>>, String> {
    dashboard.status().await.map(Json).map_err(|error| format!("{error:#}"))
}

async fn metrics(State(dashboard): State<Dashboard>) -> Result<impl IntoResponse, String> {
    let all = dashboard.status().await.map_err(|error| format!("{error:#}"))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text(&all)))
}

fn text(all: &[Status]) -> String {
    type Value = fn(&Status) -> String;
    let gauges: [(&str, &str, &str, Value); 14] = [
        ("head", "gauge", "Newest block of the chain.", |s| s.head.to_string()),
        ("lag_blocks", "gauge", "Blocks that were not taken in yet.", |s| s.head.saturating_sub(s.cursor).to_string()),
        ("outage", "gauge", "1 while the chain does not answer usefully.", |s| {
            u8::from(s.outage.is_some()).to_string()
        }),
        ("held", "gauge", "1 while transactions wait for ether or cheaper gas.", |s| {
            u8::from(s.hold.is_some()).to_string()
        }),
        ("orders_open", "gauge", "Orders that are not closed on chain.", |s| s.open.to_string()),
        ("jobs_running", "gauge", "Orders whose job runs.", |s| s.running.to_string()),
        ("actions_queued", "gauge", "Transactions to be sent.", |s| s.queued.to_string()),
        ("actions_pending", "gauge", "Transactions in no block.", |s| s.pending.to_string()),
        ("confirmed_total", "counter", "Transactions confirmed.", |s| s.transactions.confirmed.to_string()),
        ("reverted_total", "counter", "Transactions that reverted.", |s| s.transactions.reverted.to_string()),
        ("refused_total", "counter", "Transactions not sent: they would revert.", |s| {
            s.transactions.refused.to_string()
        }),
        ("dropped_total", "counter", "Transactions lost in a reorganisation.", |s| s.transactions.dropped.to_string()),
        ("gas_used_total", "counter", "Gas used.", |s| s.transactions.gas_used.to_string()),
        ("fees_wei_total", "counter", "Fees paid.", |s| s.transactions.fees_wei.to_string()),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in gauges {
        let _ = writeln!(text, "# HELP gristmill_oracle_{name} {help}\n# TYPE gristmill_oracle_{name} {kind}");
        for status in all {
            let (chain, market) = (status.chain_id, status.market);
            let _ =
                writeln!(text, "gristmill_oracle_{name}{{chain=\"{chain}\",market=\"{market}\"}} {}", value(status));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_name_chain_and_market() {
        let status = Status {
            chain_id: 5,
            market: Address::repeat_byte(1),
            account: Address::ZERO,
            head: 100,
            cursor: 97,
            outage: None,
            open: 2,
            running: 1,
            queued: 0,
            pending: 0,
            mined: 0,
            balance_wei: None,
            hold: None,
            transactions: Transactions { fees_wei: U256::from(7), ..Transactions::default() },
            owed: "0".into(),
            locked: "0".into(),
        };
        let text = text(&[status]);
        let label = "{chain=\"5\",market=\"0x0101010101010101010101010101010101010101\"}";
        assert!(text.contains(&format!("\ngristmill_oracle_lag_blocks{label} 3\n")), "{text}");
        assert!(text.contains(&format!("\ngristmill_oracle_fees_wei_total{label} 7\n")), "{text}");
    }
}

//! Wall-clock time, for what people mean by it.

use std::time::{SystemTime, UNIX_EPOCH};

use gristmill_proto::id::UnixMillis;

pub fn now() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

pub fn in_seconds(seconds: u64) -> UnixMillis {
    now().plus(seconds.saturating_mul(1_000))
}

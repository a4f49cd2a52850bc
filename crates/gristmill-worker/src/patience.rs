//! How long to wait before the pool is tried again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(30);

/// Pauses twice as long each time, and each of them random, so that a pool which comes back does not meet all its workers
/// at once. Nobody counts the tries: the pool takes back a lease that lasts too long.
pub(crate) struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Patience {
    pub(crate) async fn wait(&mut self) {
        let pause = self.0.mul_f64(0.5 + fraction() / 2.0);
        self.0 = (2 * self.0).min(LAST);
        tokio::time::sleep(pause).await;
    }
}

/// Somewhere from 0 to 1.
fn fraction() -> f64 {
    let mut byte = [0];
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

//! The user's story: roles as separate processes, one paid order from key to key.

mod grid;

use std::time::{Duration, Instant};

use grid::{Grid, run, text};
use gristmill_proto::view::JobState;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_searched_settled_and_finished() {
    let grid = Grid::start();
    let order = grid.order("1Lo");
    let settlement = grid.until_settled(&order).await;
    assert!(settlement.delivered, "the shop has stored the answer");
    grid.check_money(&[&order], &[]).await;

    let orders = grid.path("orders");
    let id = order.record.order.unwrap().to_string();
    let status = run(&["vanity", "status", "--rpc", &grid.rpc_url, "--orders", text(&orders)]);
    let listed = String::from_utf8(status.stdout).unwrap();
    assert_eq!(
        listed,
        format!("{id}  1Lo            settled: `gristmill vanity finish {}` writes its key\n", &id[..10])
    );

    let finish = ["vanity", "finish", &id[..10], "--rpc", &grid.rpc_url, "--orders", text(&orders), "--json"];
    let finished = run(&finish);
    assert!(finished.status.success(), "{}", String::from_utf8_lossy(&finished.stderr));
    let result: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
    let address = result["address"].as_str().unwrap();
    assert!(address.starts_with("1Lo"), "{address}");
    let key_file = result["key_file"].as_str().unwrap();
    let key = vanity::SecretKey::from_wif(std::fs::read_to_string(key_file).unwrap().trim()).unwrap();
    assert_eq!(key.public_key().address(vanity::AddressKind::P2pkh), address);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(key_file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "only its owner reads the key");
    // Finishing again gives the same and overwrites nothing.
    assert_eq!(run(&finish).stdout, finished.stdout);

    let job = grid.pool().job_by_external_id(&format!("{:#x}", order.record.order.unwrap())).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Done);
    assert!(job.progress.done > 0, "the search counted its candidates");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_orders_share_the_pool() {
    let mut grid = Grid::start();
    grid.start_worker();
    let orders = ["1a", "1b", "1Lo"].map(|pattern| grid.order(pattern));
    for order in &orders {
        grid.until_settled(order).await;
    }
    grid.check_money(&orders.iter().collect::<Vec<_>>(), &[]).await;
}

/// While the search goes on, its best near miss is there for the taking.
#[tokio::test(flavor = "multi_thread")]
async fn the_closest_near_miss_can_be_taken() {
    let grid = Grid::start();
    let order = grid.order("1LoVEa");
    let id = order.record.order.unwrap();
    grid.wait_for_job(id, "a near miss", |job| job.closest.is_some()).await;
    let closest = grid.pool().job_by_external_id(&format!("{id:#x}")).await.unwrap().unwrap().closest.unwrap();
    let letters = usize::try_from(closest.score).unwrap();
    assert!(letters >= 2 && closest.text.starts_with(&"1LoVEa"[..letters]), "{closest:?}");

    let orders = grid.path("orders");
    let take = ["vanity", "finish", "1LoVEa", "--closest", &grid.pool_url, "--rpc", &grid.rpc_url, "--json"];
    let taken = run(&[&take[..], &["--orders", text(&orders)]].concat());
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let result: serde_json::Value = serde_json::from_slice(&taken.stdout).unwrap();
    let address = result["address"].as_str().unwrap();
    // The search goes on meanwhile, and can only come closer.
    assert!(address.starts_with(&"1LoVEa"[..letters]), "{address} instead of {closest:?}");
    let key = std::fs::read_to_string(result["key_file"].as_str().unwrap()).unwrap();
    let key = vanity::SecretKey::from_wif(key.trim()).unwrap();
    assert_eq!(key.public_key().address(vanity::AddressKind::P2pkh), address);
}

/// What others still search for, once it is found, is given up within a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_find_stops_the_rest_of_the_search() {
    let mut grid = Grid::start();
    grid.start_worker();
    let order = grid.order("1LoVEa").record.order.unwrap();
    grid.wait_for_job(order, "its find", |job| job.state == JobState::Done).await;
    let found = Instant::now();
    while grid.pool().workers().await.unwrap().iter().any(|worker| worker.running > 0) {
        assert!(found.elapsed() < Duration::from_secs(1), "somebody still searches");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

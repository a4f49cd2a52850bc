//! Programs that take all they can get.

use gristmill_proto::outcome::{Exit, Limit};
use nix::libc;

use crate::prison::{Prison, is_root, text};

#[tokio::test]
async fn processes() {
    let prison = Prison::new().await;
    assert_eq!(prison.outside(&["fork-bomb", "200", "end"]), "200");
    let finished = prison.run(&["fork-bomb", "200"]).await;
    assert_told_or_unseen(&finished.exit);
    let made: u32 = text(&finished.stdout.head).parse().unwrap();
    assert!((16..32).contains(&made), "{made} children");
}

#[tokio::test]
async fn threads() {
    let prison = Prison::new().await;
    assert_eq!(prison.outside(&["thread-bomb", "200"]), "200");
    let finished = prison.run(&["thread-bomb", "200"]).await;
    assert_told_or_unseen(&finished.exit);
    let made: u32 = text(&finished.stdout.head).parse().unwrap();
    assert!((16..32).contains(&made), "{made} threads");
}

/// Only a control group counts what has come and gone between two looks.
fn assert_told_or_unseen(exit: &Exit) {
    assert!(*exit == Exit::Limit(Limit::Processes) || !is_root() && *exit == Exit::Code(1), "{exit}");
}

#[tokio::test]
async fn memory() {
    let prison = Prison::new().await;
    for kind in [libc::MAP_PRIVATE, libc::MAP_SHARED] {
        let args = ["memory-bomb", "400", &kind.to_string(), "500"];
        assert_eq!(prison.outside(&args), "yes");
        let finished = prison.run(&args).await;
        assert_eq!(finished.exit, Exit::Limit(Limit::Memory), "{:?}", text(&finished.stdout.head));
        assert!(finished.usage.memory_peak_bytes < 200 << 20, "{:?}", finished.usage);
        assert!(finished.usage.memory_peak_bytes > 40 << 20, "{:?}", finished.usage);
    }
    assert_eq!(prison.inside(&["memory-bomb", "40", &libc::MAP_PRIVATE.to_string(), "0"]).await, "yes");
}

#[tokio::test]
async fn memory_of_many_processes_together() {
    let prison = Prison::new().await;
    let args = ["memory-bombs", "8", "40"];
    assert_eq!(prison.outside(&args), "yes");
    assert_eq!(prison.run(&args).await.exit, Exit::Limit(Limit::Memory));
}

#[tokio::test]
async fn memory_shared_is_counted_once() {
    let prison = Prison::new().await;
    assert_eq!(prison.inside(&["share-memory", "4", "40"]).await, "yes");
    assert_eq!(prison.inside(&["lend-memory", "40"]).await, "yes");
}

#[tokio::test]
async fn disk() {
    let prison = Prison::new().await;
    let filled = (32 << 20).to_string();
    let scratch = prison.scratch().join("filled");
    assert_eq!(prison.outside(&["fill", scratch.to_str().unwrap(), &filled]), filled);
    for place in ["/out/x", "/tmp/x"] {
        let finished = prison.run(&["fill", place, &filled]).await;
        assert_eq!(finished.exit, Exit::Limit(Limit::Disk), "{place}");
        // A file as large as the limit may end by its own limit, a signal.
        let said = text(&finished.stdout.head);
        assert!(said.is_empty() || said.parse::<u64>().unwrap() <= 8 << 20, "{said}");
    }
    let fits = (6 << 20).to_string();
    assert_eq!(prison.inside(&["fill", "/out/x", &fits]).await, fits);
    let finished = prison.run(&["fill-twice", "/out/x", &fits, "/tmp/x", &fits]).await;
    assert_eq!(finished.exit, Exit::Limit(Limit::Disk), "they share one quota");
}

#[tokio::test]
async fn files() {
    let prison = Prison::new().await;
    let scratch = prison.scratch();
    assert_eq!(prison.outside(&["inode-bomb", scratch.to_str().unwrap(), "5000"]), "5000");
    let finished = prison.run(&["inode-bomb", "/tmp", "5000"]).await;
    assert_eq!(finished.exit, Exit::Limit(Limit::Disk));
    let made: u32 = text(&finished.stdout.head).parse().unwrap();
    assert!((1000..=2048).contains(&made), "{made} files");
}

#[tokio::test]
async fn a_gigabyte_on_each_stream() {
    let prison = Prison::new().await;
    let gigabyte = (1_u64 << 30).to_string();
    for number in ["1", "2"] {
        let finished = prison.run(&["flood", number, &gigabyte]).await;
        assert_eq!(finished.exit, Exit::Limit(Limit::Output));
        let log = if number == "1" { finished.stdout } else { finished.stderr };
        assert_eq!(log.head.len() as u64, prison.limits.log_bytes);
        assert!(log.total_bytes < 80 << 20, "{} bytes read", log.total_bytes);
    }
    // Much, but not mad: cut and counted.
    let finished = prison.run(&["flood", "1", &(1 << 20).to_string()]).await;
    assert_eq!(finished.exit, Exit::Code(0));
    assert_eq!((finished.stdout.head.len(), finished.stdout.total_bytes), (64 << 10, 1 << 20));
    // What nobody understands on the channel is read slowly and never kept.
    let mut prison = prison;
    prison.limits.wall_ms = 500;
    assert_eq!(prison.run(&["flood", "3", &gigabyte]).await.exit, Exit::Limit(Limit::Wall));
}

#[tokio::test]
async fn a_file_of_a_gigabyte() {
    let prison = Prison::new().await;
    let gigabyte = (1_u64 << 30).to_string();
    let scratch = prison.scratch().join("sparse");
    assert_eq!(prison.outside(&["sparse", scratch.to_str().unwrap(), &gigabyte]), "yes");
    prison.assert_fails_inside(&["sparse", "/out/x", &gigabyte]).await;
    assert_eq!(prison.run(&["fill", "/out/x", &gigabyte]).await.exit, Exit::Limit(Limit::Disk));
}

#[tokio::test]
async fn processor_time() {
    let mut prison = Prison::new().await;
    prison.limits.cpu_ms = 600;
    for processes in ["1", "4"] {
        let finished = prison.run(&["burn", processes]).await;
        assert_eq!(finished.exit, Exit::Limit(Limit::Cpu), "{processes} processes");
        assert!(finished.usage.cpu_ms < 3000, "{:?}", finished.usage);
    }
}

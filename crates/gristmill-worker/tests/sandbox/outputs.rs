//! Tricks in `/out`, played on whoever reads it.

use std::io::Read;

use gristmill_proto::outcome::{Exit, Limit};

use crate::prison::Prison;

#[tokio::test]
async fn only_regular_files_with_plain_names_are_taken() {
    let prison = Prison::new().await;
    let secret = prison.host_file("secret", "secret");
    let finished = prison.run(&["out-links", &secret]).await;
    assert_eq!(finished.exit, Exit::Code(0));
    let files: Vec<_> = finished.files.iter().map(|file| (file.path.as_str(), file.size)).collect();
    assert_eq!(files, [("dir/deep", 5), ("good", 4), ("hard", 4)]);
    for path in ["to-host", "to-good", "to-root/etc/passwd", "dir/up/etc/passwd", "../app/hostile", "/etc/passwd"] {
        assert!(finished.out.open(path).is_err(), "{path}");
    }
    let mut content = String::new();
    finished.out.open("dir/deep").unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content, "deep!");
}

#[tokio::test]
async fn an_answer_is_a_regular_file_of_some_size() {
    let prison = Prison::new().await;
    let secret = prison.host_file("secret", "secret");
    for trick in [&["out-result", "symlink", &secret][..], &["out-result", "fifo"], &["out-result", "directory"]] {
        let finished = prison.run(trick).await;
        assert_eq!((finished.exit, finished.answer, finished.files), (Exit::Code(0), None, vec![]), "{trick:?}");
    }
    let finished = prison.run(&["out-result", "8192", "0"]).await;
    assert_eq!(finished.answer, Some(vec![b'r'; 8192]));
    let finished = prison.run(&["out-result", "8193", "0"]).await;
    assert_eq!((finished.exit, finished.answer), (Exit::Limit(Limit::Output), None));
    let finished = prison.run(&["out-result", "5", "1"]).await;
    assert_eq!((finished.exit, finished.answer), (Exit::Code(1), None), "a failed app has no answer");
}

#[tokio::test]
async fn their_number_is_limited() {
    let prison = Prison::new().await;
    assert_eq!(prison.run(&["out-many", "1000"]).await.files.len(), 1000);
    let finished = prison.run(&["out-many", "1001"]).await;
    assert_eq!((finished.exit, finished.files), (Exit::Limit(Limit::Output), vec![]));
}

#[tokio::test]
async fn sizes_together_are_limited_even_if_links_or_holes_multiply_them() {
    let prison = Prison::new().await;
    let half = (4 << 20).to_string();
    assert_eq!(prison.run(&["out-multiplied", "2", &half]).await.files.len(), 2);
    assert_eq!(prison.run(&["out-multiplied", "3", &half]).await.exit, Exit::Limit(Limit::Disk));
}

#[tokio::test]
async fn deep_directories_end_where_names_get_too_long() {
    let prison = Prison::new().await;
    assert_eq!(prison.run(&["out-deep", "3"]).await.files[0].path, "d/d/d/leaf");
    let finished = prison.run(&["out-deep", "900"]).await;
    assert_eq!((finished.exit, finished.files), (Exit::Code(0), vec![]));
}

//! What an app gets.

use std::path::PathBuf;
use std::sync::Mutex;

use gristmill_proto::outcome::Exit;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use tokio_util::sync::CancellationToken;

use crate::prison::{Prison, rust_program, text};

#[tokio::test]
async fn arguments_environment_and_directory() {
    let prison = Prison::new().await;
    let finished = prison.run(&["print", "{task}", "{work}", "a={worker}", "{other}"]).await;
    assert_eq!(finished.exit, Exit::Code(0));
    let worker = format!("0x{}", "ab".repeat(20));
    let expected = format!(
        "[3] [4000] [a={worker}] [{{other}}] \n/out\nGRISTMILL_ATTEMPT=77\nGRISTMILL_CHANNEL_FD=3\nGRISTMILL_JOB=5\n\
         GRISTMILL_TASK=3\nGRISTMILL_WORKER={worker}\nIEXEC_ARGS=print 3 4000 a={worker} {{other}}\n\
         IEXEC_BOT_FIRST_INDEX=0\nIEXEC_BOT_SIZE=1\nIEXEC_BOT_TASK_INDEX=3\nIEXEC_IN=/in\n\
         IEXEC_INPUT_FILES_FOLDER=/in\nIEXEC_INPUT_FILES_NUMBER=0\nIEXEC_OUT=/out\nIEXEC_TASK_ID=0x{:048x}{:016x}",
        5, 3
    );
    assert_eq!(text(&finished.stdout.head), expected);
    assert_eq!(text(&finished.stderr.head), "to stderr");
}

#[tokio::test]
async fn an_honest_program_runs() {
    let prison = Prison::new().await;
    assert_eq!(prison.inside(&["honest", "/app/hostile"]).await, "yes");
}

#[tokio::test]
async fn a_rust_program_runs() {
    let prison = Prison::new().await;
    std::fs::copy(rust_program(), prison.app.join("hostile")).unwrap();
    assert_eq!(prison.inside(&[]).await, "well");
}

#[tokio::test]
async fn inputs_are_read_and_outputs_found() {
    let mut prison = Prison::new().await;
    let (one, two) = (prison.host_file("one", "first input"), prison.host_file("two", "second"));
    prison.inputs = vec![("one".into(), one.into()), ("deep/down/two".into(), two.into())];
    prison.inside(&["copy", "/in/one", "result"]).await;
    let finished = prison.run(&["copy", "/in/deep/down/two", "/out/copied"]).await;
    assert_eq!(finished.answer, None);
    assert_eq!(finished.files.iter().map(|file| (file.path.as_str(), file.size)).collect::<Vec<_>>(), [("copied", 6)]);
    let mut content = String::new();
    std::io::Read::read_to_string(&mut finished.out.open("copied").unwrap(), &mut content).unwrap();
    assert_eq!(content, "second");
    let finished = prison.run(&["copy", "/in/one", "/out/result"]).await;
    assert_eq!(finished.answer.as_deref(), Some(&b"first input"[..]));
    assert_eq!(finished.files, []);
    prison.assert_fails_inside(&["write", "/in/one"]).await;
    prison.assert_fails_inside(&["write", "/in/new"]).await;
}

#[tokio::test]
async fn it_is_nobody_in_particular() {
    let prison = Prison::new().await;
    assert_eq!(
        prison.inside(&["identity"]).await,
        "uid 1000 gid 1000 pid 2 ppid 1 session 2 groups 0 caps 0 bounding 0 nnp 1 host gristmill"
    );
    assert_eq!(prison.inside(&["stdin"]).await, "0");
}

#[tokio::test]
async fn no_descriptor_of_the_worker_is_inherited() {
    let prison = Prison::new().await;
    // Even one that the worker itself was given carelessly.
    let careless = std::fs::File::open("/").unwrap();
    nix::fcntl::fcntl(&careless, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    assert_ne!(prison.outside(&["descriptors"]), "0 1 2");
    assert_eq!(prison.inside(&["descriptors"]).await, "0 1 2 3");
}

#[tokio::test]
async fn it_sees_its_own_files_and_nothing_else() {
    let prison = Prison::new().await;
    assert_eq!(prison.inside(&["list", "/"]).await, "app dev in out proc tmp");
    assert_eq!(prison.inside(&["list", "/dev"]).await, "full null random urandom zero");
    assert_eq!(prison.inside(&["list", "/app"]).await, "hostile");
    for empty in ["/in", "/out", "/tmp"] {
        assert_eq!(prison.inside(&["list", empty]).await, "", "{empty}");
    }
    for place in ["/x", "/app/x", "/app/hostile", "/in/x", "/dev/x", "/proc/x"] {
        prison.assert_fails_inside(&["write", place]).await;
    }
    for place in ["/out/x", "/tmp/x", "/dev/null"] {
        assert_eq!(prison.inside(&["write", place]).await, "yes", "{place}");
    }
}

#[tokio::test]
async fn every_mount_gives_the_least() {
    let mut prison = Prison::new().await;
    let input = prison.host_file("input", "input");
    prison.inputs = vec![("input".into(), input.into())];
    let expected = [
        "/ ro nosuid nodev noexec",
        "/app ro nosuid nodev",
        "/in/input ro nosuid nodev noexec",
        "/out nosuid nodev noexec",
        "/tmp nosuid nodev noexec",
        "/proc ro nosuid nodev noexec",
        "/dev ro nosuid nodev noexec",
        "/dev/null nosuid noexec",
    ];
    let places: Vec<&str> = expected.iter().map(|line| line.split(' ').next().unwrap()).collect();
    let args: Vec<&str> = std::iter::once("mount-flags").chain(places).collect();
    assert_eq!(prison.inside(&args).await, expected.join("\n"));
}

#[tokio::test]
async fn progress_is_heard_and_the_last_count_kept() {
    let prison = Prison::new().await;
    let heard = Mutex::new(Vec::new());
    let line = |done: u64| format!("{{\"type\":\"progress\",\"done\":{done}}}");
    let (one, two) = (line(1), line(12_345_678_901));
    let args =
        ["say", "garbage", "\u{1}\u{7f}", "[[[[", &one, "LONG", "", "{\"type\":\"progress\",\"done\":-1}", &two, "{"];
    let finished =
        prison.try_run(&args, |done| heard.lock().unwrap().push(done), CancellationToken::new()).await.unwrap();
    assert_eq!(finished.exit, Exit::Code(0));
    assert_eq!(finished.usage.work_done, 12_345_678_901);
    assert_eq!(heard.into_inner().unwrap().last(), Some(&12_345_678_901));
}

#[tokio::test]
async fn a_chatty_app_is_heard_now_and_then() {
    let mut prison = Prison::new().await;
    prison.limits.wall_ms = 1000;
    let heard = Mutex::new(0);
    let finished =
        prison.try_run(&["say-for-ever"], |_| *heard.lock().unwrap() += 1, CancellationToken::new()).await.unwrap();
    let heard = heard.into_inner().unwrap();
    assert!((2..=40).contains(&heard), "{heard} times");
    assert_eq!(finished.usage.work_done, 1);
}

#[tokio::test]
async fn many_sandboxes_at_once_do_not_meet() {
    let prison = Prison::new().await;
    let runs = (0..8).map(|number| {
        let number = number.to_string();
        let prison = &prison;
        async move {
            let finished = prison.run(&["out-result", &number, "0"]).await;
            assert_eq!(finished.answer.unwrap().len().to_string(), number);
            assert_eq!(prison.inside(&["list", "/out"]).await, "");
        }
    });
    futures_util::future::join_all(runs).await;
}

#[tokio::test]
async fn what_is_read_from_disk_is_counted() {
    let mut prison = Prison::new().await;
    let content = "x".repeat(1 << 20);
    let path = PathBuf::from(prison.host_file("input", &content));
    // Out of memory again, or nothing would be read from the disk.
    let file = std::fs::File::open(&path).unwrap();
    file.sync_all().unwrap();
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
    prison.inputs = vec![("one".into(), path)];
    let usage = prison.run(&["copy", "/in/one", "/out/copied"]).await.usage;
    assert!(usage.disk_read_bytes >= 1 << 20, "{usage:?}");
}

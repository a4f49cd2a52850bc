//! The way out, which only apps have that ask for it: what they reach through it, and what not.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use gristmill_proto::outcome::Exit;

use crate::host::{SECOND_PROCESS, run_alone};
use crate::prison::{Prison, is_root, reaching_program, text};

/// Stands for the Internet: in a network of the test's own it is the machine's.
const PUBLIC: &str = "8.8.8.8";

#[tokio::test(flavor = "multi_thread")]
async fn an_app_reaches_what_it_may_and_nothing_else() {
    if std::env::var_os(SECOND_PROCESS).is_none() {
        let script =
            format!("busybox ip link set lo up && busybox ip addr add {PUBLIC}/32 dev lo && exec \"$0\" \"$@\"");
        let mut with_own_network = Command::new("unshare");
        with_own_network.arg("--net");
        if !is_root() {
            with_own_network.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        with_own_network.args(["sh", "-c", &script]).arg(std::env::current_exe().unwrap());
        return run_alone("egress::an_app_reaches_what_it_may_and_nothing_else", &mut with_own_network);
    }
    serve(&format!("{PUBLIC}:80"), tell_what_was_asked);
    serve(&format!("{PUBLIC}:7000"), repeat);
    serve(&format!("{PUBLIC}:7001"), repeat);
    serve("127.0.0.1:7000", repeat);
    for there in [format!("{PUBLIC}:7001"), "127.0.0.1:7000".into()] {
        TcpStream::connect(&there).expect("outside the sandbox it can be reached");
    }

    let mut prison = Prison::new().await;
    std::fs::copy(reaching_program(), prison.app.join("hostile")).unwrap();
    prison.hosts = ["8.8.8.8:80", "*:7000"].map(|host| host.parse().unwrap()).to_vec();
    let connect = |to: &str| format!("CONNECT {to} HTTP/1.1\nHost: {to}\n\nsaid through it\n");
    let said = [
        format!("GET http://{PUBLIC}/a?b HTTP/1.1\nHost: other\nProxy-Connection: keep-alive\nConnection: close\n\n"),
        connect("8.8.8.8:7000"),
        connect("8.8.8.8:7001"),
        connect("127.0.0.1:7000"),
        connect("localhost:7000"),
        connect("169.254.169.254:7000"),
        connect("[::1]:7000"),
        "GET / HTTP/1.1\nHost: 8.8.8.8\nConnection: close\n\n".into(),
        "no HTTP\n\n".into(),
        "direct".into(),
        "datagram".into(),
    ];
    let finished = prison.run(&said.each_ref().map(String::as_str)).await;
    assert_eq!(finished.exit, Exit::Code(0), "{}", text(&finished.stderr.head));
    let heard = text(&finished.stdout.head);
    let heard: Vec<&str> = heard.split("\n---").map(str::trim_start).collect();
    let begins = |number: usize, with: &str| {
        let begun = heard[number].starts_with(with);
        assert!(begun, "{:?} was answered by {:?} instead of {with}", said[number], heard[number]);
    };
    begins(0, "HTTP/1.1 200");
    let asked = heard[0].to_lowercase();
    assert!(asked.contains("get /a?b http/1.1") && asked.contains(&format!("host: {PUBLIC}\n")), "{asked}");
    assert!(!asked.contains("other") && !asked.contains("proxy-connection"), "{asked}");
    begins(1, "HTTP/1.1 200");
    assert!(heard[1].ends_with("said through it\n") || heard[1].ends_with("said through it"), "{}", heard[1]);
    begins(2, "HTTP/1.1 403");
    assert!(heard[2].contains("not among the hosts"), "{}", heard[2]);
    for private in [3, 4, 5] {
        begins(private, "HTTP/1.1 403");
        assert!(heard[private].contains("no address on the public Internet"), "{}", heard[private]);
    }
    begins(6, "HTTP/1.1 403");
    begins(7, "HTTP/1.1 400");
    begins(8, "HTTP/1.1 400");
    begins(9, "no: ");
    begins(10, "no: ");
    let usage = &finished.usage;
    assert!(usage.network_sent_bytes > 15 && usage.network_received_bytes > 100, "{usage:?}");
}

#[tokio::test]
async fn who_does_not_ask_has_no_way_out() {
    let prison = Prison::new().await;
    std::fs::copy(reaching_program(), prison.app.join("hostile")).unwrap();
    let said = prison.inside(&["direct", "GET http://8.8.8.8/ HTTP/1.1\n\n"]).await;
    assert_eq!(said.matches("no: ").count(), 2, "{said}");
}

fn serve(address: &str, answer: fn(TcpStream) -> std::io::Result<()>) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(stream))));
}

/// Answers with the head of the request.
fn tell_what_was_asked(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while stream.read_line(&mut head)? > 2 {}
    let length = head.len();
    write!(stream.get_mut(), "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{head}")
}

fn repeat(mut stream: TcpStream) -> std::io::Result<()> {
    let mut said = [0; 64];
    let length = stream.read(&mut said)?;
    stream.write_all(&said[..length])
}

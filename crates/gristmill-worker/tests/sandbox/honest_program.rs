// What an honest Rust program does with the standard library. Compiled statically by the test beside it.
use std::process::Command;
use std::{env, fs, thread};

fn main() {
    if env::args().nth(1).as_deref() == Some("child") {
        return print!("from the child");
    }
    let own = env::current_exe().unwrap();
    assert_eq!(own.to_str(), Some("/app/hostile"));
    let child = Command::new(own).arg("child").output().unwrap();
    assert!(child.status.success());
    assert_eq!(child.stdout, b"from the child");

    let threads = thread::available_parallelism().unwrap().get();
    let sum: usize = (0..threads).map(|number| thread::spawn(move || number)).map(|thread| thread.join().unwrap()).sum();
    assert_eq!(sum, threads * (threads - 1) / 2);

    fs::create_dir_all("/tmp/a/b").unwrap();
    fs::write("/tmp/a/b/c", vec![7; 100_000]).unwrap();
    assert_eq!(fs::copy("/tmp/a/b/c", "/out/copy").unwrap(), 100_000);
    fs::rename("/out/copy", "/out/moved").unwrap();
    fs::set_permissions("/out/moved", fs::metadata("/app/hostile").unwrap().permissions()).unwrap();
    fs::File::open("/out/moved").unwrap().lock_shared().unwrap();
    let (mut from, mut to) = (fs::File::open("/out/moved").unwrap(), fs::File::create("/tmp/again").unwrap());
    assert_eq!(std::io::copy(&mut from, &mut to).unwrap(), 100_000);
    assert_eq!(fs::read_dir("/out").unwrap().count(), 1);
    fs::remove_dir_all("/tmp/a").unwrap();

    let map: std::collections::HashMap<u8, u8> = [(1, 2)].into();
    assert_eq!(map[&1], 2);
    assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err());
    assert!(std::panic::catch_unwind(|| panic!("to stderr")).is_err());
    println!("well");
}

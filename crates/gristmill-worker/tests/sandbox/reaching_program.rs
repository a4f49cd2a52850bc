// A program that wants to reach hosts. Compiled statically by the test beside it. Each argument is what is said to the
// proxy; what comes back is printed. `direct` and `datagram` try without it.
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

fn main() {
    for said in std::env::args().skip(1) {
        let heard = match said.as_str() {
            "direct" => TcpStream::connect("8.8.8.8:80").map(|_| "connected".into()),
            "datagram" => UdpSocket::bind("127.0.0.1:0").map(|_| "bound".into()),
            _ => through_the_proxy(&said),
        };
        println!("{}\n---", heard.unwrap_or_else(|error| format!("no: {error}")));
    }
}

fn through_the_proxy(said: &str) -> std::io::Result<String> {
    let proxy = std::env::var("http_proxy").map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect(proxy.strip_prefix("http://").unwrap_or_default())?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(said.replace('\n', "\r\n").as_bytes())?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    Ok(String::from_utf8_lossy(&heard).replace('\r', ""))
}

//! The way out of a sandbox: an HTTP proxy on its loopback, behind which is the worker. It connects apps to the hosts
//! that they may reach, if those are of the public Internet: never to this machine, its network, or a cloud's metadata.
//!
//! `CONNECT host:port` (RFC 9110, section 9.3.6) carries any protocol over TCP; `GET http://host/path` (RFC 9112, section
//! 3.2.2) is for programs that ask so. Names are looked up here, once, and what was looked at is what is connected to.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gristmill_proto::host::HostPort;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::io::{InspectReader, InspectWriter};
use tokio_util::sync::CancellationToken;

use crate::sandbox::egress::PORT;

/// Of one attempt, at once. More wait.
const CONNECTIONS_MAX: usize = 64;
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
const HEAD_BYTES_MAX: usize = 32 << 10;

/// The variables that programs read to learn of a proxy, and its address in the sandbox.
pub(crate) fn variables() -> impl Iterator<Item = (String, String)> {
    let proxy = format!("http://{}:{PORT}", Ipv4Addr::LOCALHOST);
    ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
        .into_iter()
        .map(move |name| (name.to_owned(), proxy.clone()))
}

/// What one attempt may reach, and what has passed.
#[derive(Debug)]
pub(crate) struct Gate {
    allowed: Vec<HostPort>,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

type Body = BoxBody<Bytes, hyper::Error>;

/// What an app is told instead of an answer.
type Refusal = (StatusCode, String);

impl Gate {
    pub(crate) fn to(allowed: &[HostPort]) -> Arc<Self> {
        Arc::new(Self {
            allowed: allowed.to_vec(),
            received_bytes: AtomicU64::default(),
            sent_bytes: AtomicU64::default(),
        })
    }

    /// Bytes that have come in and gone out.
    pub(crate) fn passed(&self) -> (u64, u64) {
        (self.received_bytes.load(Ordering::Relaxed), self.sent_bytes.load(Ordering::Relaxed))
    }

    /// Serves the sandbox until the attempt is over; then every connection is closed.
    pub(crate) async fn serve(self: Arc<Self>, listener: std::net::TcpListener, over: CancellationToken) {
        let listening = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
        let listener = match listening {
            Ok(listener) => listener,
            Err(error) => return tracing::warn!(%error, "an app's way to the network"),
        };
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let accept = async {
            loop {
                let place = places.clone().acquire_owned().await.expect("it is never closed");
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (gate, over) = (self.clone(), over.clone());
                        tokio::spawn(async move {
                            let place = Arc::new(place);
                            let answered = gate.talk(stream, &over, &place);
                            over.run_until_cancelled(answered).await;
                        });
                    }
                    // Out of descriptors, or the peer is gone already.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        over.run_until_cancelled(accept).await;
    }

    async fn talk<P: Send + Sync + 'static>(
        self: Arc<Self>,
        stream: TcpStream,
        over: &CancellationToken,
        place: &Arc<P>,
    ) {
        let service = service_fn(move |request| {
            let (gate, over, place) = (self.clone(), over.clone(), place.clone());
            async move {
                let answer = gate.answer(request, over, place).await;
                Ok::<_, Infallible>(answer.unwrap_or_else(|(status, reason)| {
                    let text = Full::new(Bytes::from(format!("gristmill: {reason}\n")));
                    let mut answer = Response::new(text.map_err(|never| match never {}).boxed());
                    *answer.status_mut() = status;
                    answer
                }))
            }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE).max_buf_size(HEAD_BYTES_MAX);
        // An app may hang up, or say what is not HTTP: that is its own affair.
        let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    }

    async fn answer<P: Send + Sync + 'static>(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        over: CancellationToken,
        place: Arc<P>,
    ) -> Result<Response<Body>, Refusal> {
        let is_tunnel = request.method() == Method::CONNECT;
        let (host, port) = asked(request.uri(), is_tunnel)?;
        let stream = self.clone().connect(&host, port).await?;
        if is_tunnel {
            tokio::spawn(async move {
                let _place = place;
                let tunnel = async {
                    let mut stream = Box::pin(stream);
                    let mut app = TokioIo::new(hyper::upgrade::on(request).await.map_err(io::Error::other)?);
                    tokio::io::copy_bidirectional(&mut app, &mut stream).await
                };
                over.run_until_cancelled(tunnel).await
            });
            return Ok(Response::new(Full::default().map_err(|never| match never {}).boxed()));
        }
        let lost = |error: hyper::Error| (StatusCode::BAD_GATEWAY, format!("{host}:{port}: {error}"));
        let (mut sender, connection) = handshake(TokioIo::new(Box::pin(stream))).await.map_err(lost)?;
        tokio::spawn(async move {
            let _place = place;
            over.run_until_cancelled(connection).await
        });
        as_for_the_host(&mut request)?;
        Ok(sender.send_request(request).await.map_err(lost)?.map(Incoming::boxed))
    }

    async fn connect(
        self: Arc<Self>,
        host: &str,
        port: u16,
    ) -> Result<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + use<>, Refusal> {
        if !self.allowed.iter().any(|allowed| allowed.includes(host, port)) {
            let reason = format!("{host}:{port} is not among the hosts that this app may reach");
            return Err((StatusCode::FORBIDDEN, reason));
        }
        let unreachable = |error: io::Error| (StatusCode::BAD_GATEWAY, format!("{host}:{port}: {error}"));
        let found = tokio::net::lookup_host((host, port)).await.map_err(unreachable)?;
        let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
        if public.is_empty() {
            let reason = format!("{host} has no address on the public Internet");
            return Err((StatusCode::FORBIDDEN, reason));
        }
        let late = |_| unreachable(io::ErrorKind::TimedOut.into());
        let connected = tokio::time::timeout(CONNECT_PATIENCE, TcpStream::connect(&public[..])).await.map_err(late)?;
        let stream = connected.map_err(unreachable)?;
        let (received, sent) = (self.clone(), self);
        let counted = InspectReader::new(stream, move |bytes: &[u8]| {
            received.received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        });
        Ok(InspectWriter::new(counted, move |bytes: &[u8]| {
            sent.sent_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }))
    }
}

/// Whom a request is for.
fn asked(uri: &Uri, is_tunnel: bool) -> Result<(String, u16), Refusal> {
    let bad = |reason: &str| (StatusCode::BAD_REQUEST, reason.to_owned());
    let host = uri.host().ok_or_else(|| bad("this is a proxy: ask for http://HOST/PATH, or CONNECT HOST:PORT"))?;
    let port = match uri.port_u16() {
        Some(port) => port,
        None if is_tunnel => return Err(bad("CONNECT names a host and a port")),
        None if uri.scheme_str() == Some("http") => 80,
        None => return Err(bad("only http is spoken here: everything else goes through CONNECT")),
    };
    // In a URI an address of IPv6 stands in brackets.
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

/// A request to a proxy becomes one to the host: without what is meant for the proxy alone, and named as the host itself is.
fn as_for_the_host(request: &mut Request<Incoming>) -> Result<(), Refusal> {
    let bad = |error: &dyn std::fmt::Display| (StatusCode::BAD_REQUEST, error.to_string());
    let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let named = authority.rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
    let named = HeaderValue::from_str(named).map_err(|error| bad(&error))?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse().map_err(|error| bad(&error))?;
    for of_the_proxy in ["connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "upgrade"] {
        request.headers_mut().remove(HeaderName::from_static(of_the_proxy));
    }
    request.headers_mut().insert(HOST, named);
    Ok(())
}

/// Whether an address is one of the public Internet: not among IANA's special-purpose addresses (RFC 6890), and not one
/// that leads to such an address by another way.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let within = |[a, b, c, d]: [u8; 4], bits: u32| {
        let mask = u32::MAX << (32 - bits);
        u32::from(address) & mask == u32::from(Ipv4Addr::new(a, b, c, d))
    };
    let special = [
        ([0, 0, 0, 0], 8),
        ([10, 0, 0, 0], 8),
        // Shared by customers of a provider; some clouds' metadata.
        ([100, 64, 0, 0], 10),
        ([127, 0, 0, 0], 8),
        // Of one link; metadata of most clouds.
        ([169, 254, 0, 0], 16),
        ([172, 16, 0, 0], 12),
        ([192, 0, 0, 0], 24),
        ([192, 0, 2, 0], 24),
        ([192, 88, 99, 0], 24),
        ([192, 168, 0, 0], 16),
        ([198, 18, 0, 0], 15),
        ([198, 51, 100, 0], 24),
        ([203, 0, 113, 0], 24),
        // Multicast, reserved, broadcast.
        ([224, 0, 0, 0], 3),
        // A public address by its number, which a cloud answers its own machines under.
        ([168, 63, 129, 16], 32),
    ];
    !special.iter().any(|(first, bits)| within(*first, *bits))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, fourth, ..] = address.segments();
    // Only 2000::/3 is given out. In it: tunnels that carry an IPv4 address (2001::/32, 2002::/16), the rest of 2001::/23,
    // and examples (2001:db8::/32, 3fff::/20).
    let is_given_out = first & 0xe000 == 0x2000;
    let is_special =
        first == 0x2001 && (second < 0x200 || second == 0xdb8) || first == 0x2002 || first == 0x3fff && second < 0x1000;
    // 64:ff9b::/96 stands for IPv4 addresses, where there is no other IPv4.
    let is_translated = [first, second, third, fourth] == [0x64, 0xff9b, 0, 0] && address.segments()[4..6] == [0, 0];
    match address.to_ipv4_mapped() {
        Some(v4) => is_public_v4(v4),
        None if is_translated => {
            let [.., a, b, c, d] = address.octets();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        None => is_given_out && !is_special,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        let is = |text: &str| is_public(text.parse().unwrap());
        for public in
            ["1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.1"]
        {
            assert!(is(public), "{public}");
        }
        for public in ["2606:4700::1111", "2001:4860:4860::8888", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"] {
            assert!(is(public), "{public}");
        }
        let special_v4 = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
        ];
        let special_v6 = [
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for special in special_v4.into_iter().chain(special_v6) {
            assert!(!is(special), "{special}");
        }
    }

    #[test]
    fn whom_a_request_is_for() {
        let of = |text: &str, is_tunnel| asked(&text.parse().unwrap(), is_tunnel).map_err(|(status, _)| status);
        assert_eq!(of("example.org:443", true), Ok(("example.org".into(), 443)));
        assert_eq!(of("http://example.org/path", false), Ok(("example.org".into(), 80)));
        assert_eq!(of("http://me@example.org:8080", false), Ok(("example.org".into(), 8080)));
        assert_eq!(of("[2001:db8::1]:80", true), Ok(("2001:db8::1".into(), 80)));
        for (bad, is_tunnel) in [("/path", false), ("example.org", true), ("https://example.org/", false)] {
            assert_eq!(of(bad, is_tunnel), Err(StatusCode::BAD_REQUEST), "{bad}");
        }
    }
}

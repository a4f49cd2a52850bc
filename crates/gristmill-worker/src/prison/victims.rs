//! What the attacks are aimed at. Everything here is alive while they go on, and open to the attacker's user outside.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::geteuid;

use super::{HOSTILE_PROGRAM, PRISONERS, PrisonError};

pub(super) struct Victims {
    dir: Folder,
    pub(super) tcp: u16,
    /// Nothing where the machine has no IPv6.
    pub(super) tcp_six: Option<u16>,
    pub(super) names: u16,
    pub(super) abstract_socket: String,
    pub(super) process: Outsider,
    pub(super) address: String,
    _listeners: (TcpListener, Option<TcpListener>, UnixListener, UnixListener),
}

impl Victims {
    pub(super) fn gather() -> Result<Self, PrisonError> {
        let dir = Folder::new().map_err(|source| PrisonError::Victim { what: "a folder", source })?;
        let sockets = || -> io::Result<_> {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let tcp_six = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).ok();
            let name = format!("gristmill-prison-{}", std::process::id());
            let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
            let path = dir.0.join("socket");
            let open = UnixListener::bind(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
            Ok((name, (tcp, tcp_six, hidden, open)))
        };
        let (name, listeners) = sockets().map_err(|source| PrisonError::Victim { what: "sockets", source })?;
        let port = |listener: &TcpListener| listener.local_addr().map_or(0, |address| address.port());
        let names = answer_names().map_err(|source| PrisonError::Victim { what: "a name server", source })?;
        let (process, address) =
            dir.lend_secret().map_err(|source| PrisonError::Victim { what: "a process", source })?;
        Ok(Self {
            tcp: port(&listeners.0),
            tcp_six: listeners.1.as_ref().map(port),
            names,
            abstract_socket: format!("@{name}"),
            process,
            address,
            _listeners: listeners,
            dir,
        })
    }

    /// A path in the folder that the attacker may write to outside.
    pub(super) fn path(&self, name: &str) -> String {
        self.dir.0.join(name).display().to_string()
    }

    pub(super) fn secret(&self) -> String {
        self.path("secret")
    }

    /// The hostile program outside, as who it is in a cell: on a machine's root, another user.
    pub(super) fn outside(&self, args: &[String]) -> Command {
        self.dir.outside(args)
    }

    /// The hostile program as the machine's owner.
    pub(super) fn outside_as_owner(&self, args: &[String]) -> Command {
        self.dir.as_owner(args)
    }
}

/// Answers whatever comes. Its thread ends with the process.
fn answer_names() -> io::Result<u16> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = socket.local_addr()?.port();
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            let _ = socket.send_to(&question[..length], from);
        }
    });
    Ok(port)
}

/// Removed with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("gristmill-prison-{}", std::process::id()));
        fs::create_dir(&path)?;
        let folder = Self(path);
        folder.open_to_all(&folder.0, 0o777)?;
        fs::write(folder.0.join("secret"), "the owner's")?;
        folder.open_to_all(&folder.0.join("secret"), 0o666)?;
        let app = folder.0.join("app");
        fs::create_dir(&app)?;
        fs::write(app.join("hostile"), HOSTILE_PROGRAM)?;
        for path in [&app, &app.join("hostile")] {
            folder.open_to_all(path, 0o755)?;
        }
        Ok(folder)
    }

    fn open_to_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }

    fn as_owner(&self, args: &[String]) -> Command {
        let mut command = Command::new(self.0.join("app/hostile"));
        command.args(args).current_dir(&self.0).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn outside(&self, args: &[String]) -> Command {
        let mut command = self.as_owner(args);
        if geteuid().is_root() {
            command.uid(PRISONERS.first).gid(PRISONERS.first);
        }
        command
    }

    fn lend_secret(&self) -> io::Result<(Outsider, String)> {
        let args = ["lend-secret".to_owned(), "in memory".to_owned()];
        let mut child = self.outside(&args).stdout(Stdio::piped()).spawn()?;
        let said = child.stdout.take().map(BufReader::new);
        let outsider = Outsider(child);
        let mut address = String::new();
        said.ok_or(io::ErrorKind::BrokenPipe)?.read_line(&mut address)?;
        Ok((outsider, address.trim().to_owned()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with its owner.
pub(super) struct Outsider(Child);

impl Outsider {
    pub(super) fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! The sandbox's end of its only way to the network: a listening socket on its own loopback, which nothing else is behind.
//! Who accepts is the worker, outside ([`crate::egress`]).

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::syscall;
use super::wire::{self, Context, Failure, Part, Report};

/// Where HTTP proxies are by custom.
pub(crate) const PORT: u16 = 3128;

/// Called where the sandbox's network namespace has been entered and may still be changed.
pub(super) fn open(control: &OwnedFd) -> Result<(), Failure> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .part(Part::Egress, || "socket".into())?;
    syscall::bring_up_loopback(any.as_fd()).part(Part::Egress, || "bringing loopback up".into())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).part(Part::Egress, || "listening".into())?;
    wire::send_report(control.as_fd(), &Report::Egress, Some(&listener.into()))
        .part(Part::Egress, || "handing the socket over".into())
}

//! Which workers count as one where they vote on the same task.

use std::net::IpAddr;

use crate::trust::HostId;

/// What keeps the voters on one task apart, beside their keys and the owners they name. A key costs nothing, an address
/// costs little, and neither is proof: what the pool assumes of its workers rests on how it admits them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Apart {
    /// Workers that come from one address (one network of 64 bits in IPv6) have one voice.
    #[default]
    Addresses,
    /// Each worker has a voice: for pools that admit their workers by name, or see them all through one proxy.
    Workers,
}

impl Apart {
    pub(super) fn host_at(self, address: IpAddr) -> Option<HostId> {
        match (self, address.to_canonical()) {
            (Self::Workers, _) => None,
            (Self::Addresses, IpAddr::V4(address)) => Some(HostId(u64::from(address.to_bits()))),
            // No network of IPv6 that a machine can be in begins with so many zeros, so these two never meet.
            (Self::Addresses, IpAddr::V6(address)) => {
                let network = address.to_bits() >> 64;
                Some(HostId(u64::try_from(network).unwrap_or(u64::MAX)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_one_voice() {
        let host = |text: &str| Apart::Addresses.host_at(text.parse().unwrap()).unwrap();
        assert_eq!(host("192.0.2.1"), host("::ffff:192.0.2.1"));
        assert_ne!(host("192.0.2.1"), host("192.0.2.2"));
        assert_eq!(host("2001:db8::1"), host("2001:db8::ffff:2"));
        assert_ne!(host("2001:db8::1"), host("2001:db8:0:1::1"));
        assert_eq!(Apart::Workers.host_at("192.0.2.1".parse().unwrap()), None);
    }
}

//! What functions may reach by our relays.
//!
//! Must not do anything: it is a table.

use std::net::Ipv4Addr;

/// Why nothing is relayed to this address; `None` if it is.
///
/// What only the host itself reaches is not for functions: its loopback, where services trust whoever calls, and the
/// link-local addresses, at which cloud providers hand out the host's credentials. All others are connected to as a
/// program of the host would, so the local network and the host's own addresses in it are within reach.
pub(super) fn refusal(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [127, ..] => Some("the host's loopback"),
        // To the kernel 0.0.0.0 is this very machine, too.
        [0, ..] => Some("this host"),
        [169, 254, ..] => Some("link-local"),
        [224..=239, ..] => Some("multicast"),
        // Reserved, with the broadcast address at the end.
        [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outside_is_relayed_and_what_is_the_hosts_alone_is_not() {
        for (address, relayed) in [
            ("0.0.0.0", false),
            ("0.255.255.255", false),
            ("1.0.0.0", true),
            ("10.0.0.1", true),
            ("93.184.216.34", true),
            ("126.255.255.255", true),
            ("127.0.0.0", false),
            ("127.0.0.1", false),
            ("127.255.255.255", false),
            ("128.0.0.0", true),
            ("169.253.255.255", true),
            ("169.254.0.0", false),
            ("169.254.100.1", false),
            ("169.254.169.254", false),
            ("169.254.170.2", false),
            ("169.255.0.0", true),
            ("172.17.0.1", true),
            ("192.168.1.1", true),
            ("223.255.255.255", true),
            ("224.0.0.1", false),
            ("239.255.255.250", false),
            ("240.0.0.0", false),
            ("255.255.255.255", false),
        ] {
            let address: Ipv4Addr = address.parse().unwrap();
            assert_eq!(refusal(address).is_none(), relayed, "{address}");
        }
    }
}

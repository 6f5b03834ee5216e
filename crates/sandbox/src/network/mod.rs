//! Network namespaces: what is set up in one, and the sockets that are made in it.
//!
//! A namespace of ours has nothing but its loopback interface, and no wire leads out of it. Where a way out is wanted,
//! every address is made local to that interface, and a rule hands whatever is sent to addresses of the outside to two
//! sockets of the service, which learn from the kernel where it was meant to go and may relay it. All of this lives
//! in the namespace and goes with it; the host's routes, rules and settings are not touched.
//!
//! Must not relay anything, nor decide what may be reached.

mod netlink;
mod setup;
mod sockets;

use std::net::Ipv4Addr;

pub use sockets::{Arrival, Egress, Entrance, Replies, Sockets};

pub(crate) use setup::Plan;

/// Address of an environment in its own network, next to that of loopback. Name servers and the like are announced here.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 100, 1);

/// Port at which name servers are asked.
pub(crate) const DNS_PORT: u16 = 53;

/// Port of the two sockets that take what is sent to the outside. Programs without privileges cannot listen on a port
/// this low, so none misses it.
pub(crate) const EGRESS_PORT: u16 = 9;

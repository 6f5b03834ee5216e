//! What is set up in a new network namespace: its loopback interface, and the way to the sockets of the service.
//!
//! Everything is written before a helper enters the namespace and sends it. Must not touch another namespace.

use std::net::SocketAddrV4;

use super::{
    DNS_PORT, EGRESS_PORT, GATEWAY,
    netlink::{Attributes, Messages},
    sockets::{self, Wanted},
};
use crate::{
    error::Step,
    helper::{Failure, Left, Slot},
};

/// Number of the loopback interface, the first of every namespace.
const LOOPBACK: u32 = 1;

/// What a helper does in a new network namespace.
#[derive(Debug)]
pub(crate) struct Plan {
    addresses: Messages,
    rules: Option<Messages>,
    sockets: Vec<Wanted>,
}

impl Plan {
    /// A plan for these sockets, with or without a way out.
    pub(crate) fn new(listeners: &[SocketAddrV4], datagrams: &[SocketAddrV4], egress: bool) -> Self {
        let mut wanted: Vec<Wanted> = listeners.iter().copied().map(Wanted::Listener).collect();
        wanted.extend(datagrams.iter().copied().map(Wanted::Datagrams));
        if egress {
            wanted.extend(sockets::EGRESS);
        }
        Self { addresses: addresses(egress), rules: egress.then(rules), sockets: wanted }
    }

    /// In the helper, inside the namespace. Async-signal-safe.
    pub(crate) fn perform(&self, left: &Left<'_>) -> Result<(), Failure> {
        let at = Failure::at;
        self.addresses.send().map_err(at(Step::Loopback))?;
        if let Some(rules) = &self.rules {
            rules.send().map_err(at(Step::Egress))?;
        }
        for (index, wanted) in self.sockets.iter().enumerate() {
            let step = if wanted.is_egress() { Step::Egress } else { Step::Listen };
            left.leave(Slot::Socket(index), wanted.open().map_err(at(step))?);
        }
        Ok(())
    }

    /// The sockets, in the order in which they are left.
    pub(crate) fn sockets(&self) -> &[Wanted] {
        &self.sockets
    }
}

/// Brings the loopback interface up, and gives it the environment's address and, with a way out, all others: what is
/// sent to any address then arrives here.
fn addresses(every: bool) -> Messages {
    let mut messages = Messages::new(libc::NETLINK_ROUTE);
    let family = libc::AF_INET as u8;
    let up = libc::IFF_UP as u32;
    let link: Vec<u8> = [0, LOOPBACK, up, up].iter().flat_map(|word| word.to_ne_bytes()).collect();
    messages.add(libc::RTM_NEWLINK, 0, &link, |_| {});

    // After that, for the interface takes 127.0.0.1 as it comes up only if it has no address.
    let mut address = vec![family, 32, 0, libc::RT_SCOPE_UNIVERSE];
    address.extend(LOOPBACK.to_ne_bytes());
    messages.add(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &address, |attributes| {
        attributes.put(libc::IFA_LOCAL, &GATEWAY.octets()).put(libc::IFA_ADDRESS, &GATEWAY.octets());
    });
    if every {
        let (table, protocol) = (libc::RT_TABLE_LOCAL, libc::RTPROT_BOOT);
        let mut route = vec![family, 0, 0, 0, table, protocol, libc::RT_SCOPE_HOST, libc::RTN_LOCAL];
        route.extend(0_u32.to_ne_bytes());
        messages.add(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &route, |attributes| {
            attributes.put(libc::RTA_OIF, &LOOPBACK.to_ne_bytes()).put(libc::RTA_PREFSRC, &GATEWAY.octets());
        });
    }
    messages
}

/// The rules that hand what is sent to the outside, and questions to the announced name server, to the egress sockets:
///
/// ```text
/// ip daddr 127.0.0.0/8 accept
/// ip daddr 169.254.100.1 th dport != 53 accept
/// tproxy to :9
/// ```
fn rules() -> Messages {
    const TABLE: &[u8] = b"hothouse\0";
    const CHAIN: &[u8] = b"egress\0";
    const MANGLE_PRIORITY: i32 = -150;
    let family = libc::NFPROTO_IPV4 as u8;
    let fixed = [family, 0, 0, 0];
    let create = libc::NLM_F_CREATE | libc::NLM_F_EXCL;

    let mut messages = Messages::new(libc::NETLINK_NETFILTER);
    let [high, low] = (libc::NFNL_SUBSYS_NFTABLES as u16).to_be_bytes();
    let batch = [0, 0, high, low];
    messages.add(libc::NFNL_MSG_BATCH_BEGIN as u16, 0, &batch, |_| {});
    messages.add(nftables(libc::NFT_MSG_NEWTABLE), create, &fixed, |table| {
        table.put(attribute::TABLE_NAME, TABLE);
    });
    messages.add(nftables(libc::NFT_MSG_NEWCHAIN), create, &fixed, |chain| {
        chain
            .put(attribute::CHAIN_TABLE, TABLE)
            .put(attribute::CHAIN_NAME, CHAIN)
            .nest(attribute::CHAIN_HOOK, |hook| {
                hook.number(attribute::HOOK_NUMBER, libc::NF_INET_PRE_ROUTING as u32)
                    .number(attribute::HOOK_PRIORITY, MANGLE_PRIORITY as u32);
            })
            .put(attribute::CHAIN_TYPE, b"filter\0");
    });
    let mut rule = |expressions: &dyn Fn(&mut Attributes<'_>)| {
        messages.add(
            nftables(libc::NFT_MSG_NEWRULE),
            libc::NLM_F_CREATE | libc::NLM_F_APPEND,
            &fixed,
            |rule| {
                rule.put(attribute::RULE_TABLE, TABLE)
                    .put(attribute::RULE_CHAIN, CHAIN)
                    .nest(attribute::RULE_EXPRESSIONS, expressions);
            },
        );
    };
    rule(&|list| {
        compare(list, DESTINATION_ADDRESS, libc::NFT_CMP_EQ, &[127]);
        accept(list);
    });
    rule(&|list| {
        compare(list, DESTINATION_ADDRESS, libc::NFT_CMP_EQ, &GATEWAY.octets());
        compare(list, DESTINATION_PORT, libc::NFT_CMP_NEQ, &DNS_PORT.to_be_bytes());
        accept(list);
    });
    rule(&|list| {
        expression(list, b"immediate\0", |immediate| {
            immediate.number(attribute::IMMEDIATE_REGISTER, REGISTER).nest(
                attribute::IMMEDIATE_DATA,
                |data| {
                    data.put(attribute::DATA_VALUE, &EGRESS_PORT.to_be_bytes());
                },
            );
        });
        // Passes over whatever is neither TCP nor UDP.
        expression(list, b"tproxy\0", |proxy| {
            proxy
                .number(attribute::TPROXY_FAMILY, family.into())
                .number(attribute::TPROXY_PORT_REGISTER, REGISTER);
        });
    });
    messages.add(libc::NFNL_MSG_BATCH_END as u16, 0, &batch, |_| {});
    messages
}

/// The attributes of nf_tables that we use, from the kernel's `linux/netfilter/nf_tables.h`.
mod attribute {
    pub(super) const TABLE_NAME: u16 = 1;
    pub(super) const CHAIN_TABLE: u16 = 1;
    pub(super) const CHAIN_NAME: u16 = 3;
    pub(super) const CHAIN_HOOK: u16 = 4;
    pub(super) const CHAIN_TYPE: u16 = 7;
    pub(super) const HOOK_NUMBER: u16 = 1;
    pub(super) const HOOK_PRIORITY: u16 = 2;
    pub(super) const RULE_TABLE: u16 = 1;
    pub(super) const RULE_CHAIN: u16 = 2;
    pub(super) const RULE_EXPRESSIONS: u16 = 4;
    pub(super) const LIST_ELEMENT: u16 = 1;
    pub(super) const EXPRESSION_NAME: u16 = 1;
    pub(super) const EXPRESSION_DATA: u16 = 2;
    pub(super) const DATA_VALUE: u16 = 1;
    pub(super) const DATA_VERDICT: u16 = 2;
    pub(super) const VERDICT_CODE: u16 = 1;
    pub(super) const PAYLOAD_REGISTER: u16 = 1;
    pub(super) const PAYLOAD_BASE: u16 = 2;
    pub(super) const PAYLOAD_OFFSET: u16 = 3;
    pub(super) const PAYLOAD_LENGTH: u16 = 4;
    pub(super) const COMPARE_REGISTER: u16 = 1;
    pub(super) const COMPARE_OPERATION: u16 = 2;
    pub(super) const COMPARE_DATA: u16 = 3;
    pub(super) const IMMEDIATE_REGISTER: u16 = 1;
    pub(super) const IMMEDIATE_DATA: u16 = 2;
    pub(super) const TPROXY_FAMILY: u16 = 1;
    pub(super) const TPROXY_PORT_REGISTER: u16 = 3;
}

const REGISTER: u32 = libc::NFT_REG_1 as u32;

/// Header that holds a field, and the field's place in it.
type Field = (u32, u32);

const DESTINATION_ADDRESS: Field = (libc::NFT_PAYLOAD_NETWORK_HEADER as u32, 16);
const DESTINATION_PORT: Field = (libc::NFT_PAYLOAD_TRANSPORT_HEADER as u32, 2);

fn nftables(message: libc::c_int) -> u16 {
    ((libc::NFNL_SUBSYS_NFTABLES << 8) | message) as u16
}

fn expression(list: &mut Attributes<'_>, name: &[u8], fill: impl FnOnce(&mut Attributes<'_>)) {
    list.nest(attribute::LIST_ELEMENT, |element| {
        element.put(attribute::EXPRESSION_NAME, name).nest(attribute::EXPRESSION_DATA, fill);
    });
}

/// Goes on only if as many bytes of a packet's field as `value` has compare with it as told.
fn compare(list: &mut Attributes<'_>, (base, offset): Field, operation: libc::c_int, value: &[u8]) {
    expression(list, b"payload\0", |payload| {
        payload
            .number(attribute::PAYLOAD_REGISTER, REGISTER)
            .number(attribute::PAYLOAD_BASE, base)
            .number(attribute::PAYLOAD_OFFSET, offset)
            .number(attribute::PAYLOAD_LENGTH, value.len() as u32);
    });
    expression(list, b"cmp\0", |comparison| {
        comparison
            .number(attribute::COMPARE_REGISTER, REGISTER)
            .number(attribute::COMPARE_OPERATION, operation as u32)
            .nest(attribute::COMPARE_DATA, |data| {
                data.put(attribute::DATA_VALUE, value);
            });
    });
}

fn accept(list: &mut Attributes<'_>) {
    expression(list, b"immediate\0", |immediate| {
        immediate.number(attribute::IMMEDIATE_REGISTER, libc::NFT_REG_VERDICT as u32).nest(
            attribute::IMMEDIATE_DATA,
            |data| {
                data.nest(attribute::DATA_VERDICT, |verdict| {
                    verdict.number(attribute::VERDICT_CODE, libc::NF_ACCEPT as u32);
                });
            },
        );
    });
}

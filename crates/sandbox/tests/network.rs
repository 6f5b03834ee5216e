//! Networks of their own: what programs inside reach, and what the sockets outside learn of it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    path::Path,
};

use common::*;
use hothouse_sandbox::{
    Arrival, Command, Egress, Ending, GATEWAY, Missing, Network, Process, Sandbox, SandboxSpec, Template,
};

/// An address that belongs to nobody (RFC 5737).
const NOWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

fn loopback(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

/// A template with this feature of the network, if there is also something to connect with.
fn connected(feature: Missing) -> Option<Template> {
    let template = isolated_with(feature)?;
    if Path::new("/bin/bash").exists() && Path::new("/usr/bin/timeout").exists() {
        return Some(template);
    }
    skip("no bash to connect with");
    None
}

/// A sandbox with this network, `/tmp` and no sockets.
fn sandbox_in(template: &Template, network: Network) -> Sandbox {
    Sandbox::create(template, SandboxSpec { network, ..spec() }).unwrap()
}

/// A bash script, which knows `/dev/tcp` and `/dev/udp`. It does not wait forever for what does not come.
fn bash(text: &str) -> Command {
    Command {
        arguments: ["/usr/bin/timeout", "20", "/bin/bash", "-c", text].map(Into::into).into(),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        directory: "/".into(),
        ..Command::default()
    }
}

fn start_bash(sandbox: &mut Sandbox, text: &str) -> (Process, Output) {
    let (command, output) = with_output(bash(text));
    (sandbox.spawn(command).unwrap(), output)
}

fn succeeds(sandbox: &mut Sandbox, text: &str) -> bool {
    let (process, output) = start_bash(sandbox, text);
    let said = output.read();
    let exit = end_of(process);
    eprintln!("{text}: {exit:?} {said}");
    matches!(exit.ending, Ending::Exited(0))
}

fn accept(listener: &TcpListener) -> TcpStream {
    wait_readable(listener);
    let (connection, _) = listener.accept().unwrap();
    connection.set_nonblocking(false).unwrap();
    connection
}

fn receive(egress: &Egress, buffer: &mut [u8]) -> Arrival {
    wait_readable(&egress.datagrams);
    Arrival::receive(&egress.datagrams, buffer).unwrap()
}

#[test]
fn listeners_inside_are_accepted_outside() {
    let Some(template) = connected(Missing::NetworkNamespace) else { return };
    let text = "exec 3<>/dev/tcp/127.0.0.1/9001; echo $NAME >&3; cat <&3";
    // The same address twice, and a second one: every sandbox has its own.
    let sandboxes = ["one", "two"].map(|name| {
        let listeners = [9001, 9002].map(loopback).into();
        let mut sandbox = Sandbox::create(&template, SandboxSpec { listeners, ..spec() }).unwrap();
        let (mut command, output) = with_output(bash(text));
        command.environment.push(("NAME".into(), name.into()));
        let process = sandbox.spawn(command).unwrap();
        (name, sandbox.take_sockets().listeners, process, output, sandbox)
    });
    for (name, listeners, process, output, _sandbox) in sandboxes {
        assert_eq!(listeners[0].local_addr().unwrap(), loopback(9001).into());
        assert_eq!(listeners[1].local_addr().unwrap(), loopback(9002).into());
        let mut connection = accept(&listeners[0]);
        let mut greeting = [0; 4];
        connection.read_exact(&mut greeting).unwrap();
        assert_eq!(greeting, format!("{name}\n").as_bytes());
        connection.write_all(b"welcome").unwrap();
        drop(connection);
        assert_eq!(output.read(), "welcome");
        end_of(process);
    }
}

#[test]
fn datagrams_to_the_environments_address_are_received_outside() {
    let Some(template) = connected(Missing::NetworkNamespace) else { return };
    for network in [Network::Own, Network::Relayed] {
        if template.network(network) != network {
            skip("the machine gives no way out of a network namespace");
            continue;
        }
        let datagrams = vec![SocketAddrV4::new(GATEWAY, 2000)];
        let mut sandbox = Sandbox::create(&template, SandboxSpec { network, datagrams, ..spec() }).unwrap();
        assert!(succeeds(&mut sandbox, &format!("echo -n segment > /dev/udp/{GATEWAY}/2000")));
        let mut buffer = [0; 100];
        let socket = &sandbox.take_sockets().datagrams[0];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"segment");
        assert_eq!(from.ip(), GATEWAY);
    }
}

#[test]
fn the_hosts_network_is_out_of_reach_unless_shared() {
    let Some(template) = connected(Missing::NetworkNamespace) else { return };
    let outside = TcpListener::bind(loopback(0)).unwrap();
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{}", outside.local_addr().unwrap().port());
    assert!(!succeeds(&mut sandbox_in(&template, Network::Own), &connect));
    assert!(!succeeds(&mut sandbox_in(&template, Network::Relayed), &connect));
    let mut shared = sandbox_in(&template, Network::Host);
    assert!(succeeds(&mut shared, &connect));
    assert!(shared.take_sockets().listeners.is_empty() && shared.entrance().is_none());
}

#[test]
fn without_a_way_out_there_is_no_way() {
    let Some(template) = connected(Missing::NetworkNamespace) else { return };
    let mut sandbox = sandbox_in(&template, Network::Own);
    assert!(sandbox.take_sockets().egress.is_none());
    assert!(!succeeds(&mut sandbox, &format!("exec 3<>/dev/tcp/{NOWHERE}/80")));
    assert!(!succeeds(&mut sandbox, &format!("echo x > /dev/udp/{NOWHERE}/80")));
}

#[test]
fn connections_to_the_outside_tell_where_they_were_going() {
    let Some(template) = connected(Missing::Egress) else { return };
    let mut sandbox = sandbox_in(&template, Network::Relayed);
    let egress = sandbox.take_sockets().egress.unwrap();
    // 9 is the port of the egress sockets themselves, and 53 that of the announced name server.
    for (address, port) in [(NOWHERE, 443), (NOWHERE, 9), (GATEWAY, 53), (Ipv4Addr::new(10, 0, 0, 1), 53)] {
        let (process, output) =
            start_bash(&mut sandbox, &format!("exec 3<>/dev/tcp/{address}/{port}; echo to >&3; cat <&3"));
        let mut connection = accept(&egress.streams);
        assert_eq!(connection.local_addr().unwrap(), SocketAddr::from((address, port)));
        let mut greeting = [0; 3];
        connection.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"to\n");
        connection.write_all(b"from").unwrap();
        drop(connection);
        assert_eq!(output.read(), "from");
        end_of(process);
    }
}

#[test]
fn datagrams_to_the_outside_tell_where_they_were_going_and_are_answered_from_there() {
    let Some(template) = connected(Missing::Egress) else { return };
    let mut sandbox = sandbox_in(&template, Network::Relayed);
    let egress = sandbox.take_sockets().egress.unwrap();
    let mut buffer = vec![0; 65536];
    for (address, port) in [(NOWHERE, 443), (NOWHERE, 9), (GATEWAY, 53)] {
        // bash connects its socket, so only an answer from the very address and port is received.
        let (process, output) = start_bash(
            &mut sandbox,
            &format!(
                "exec 3<>/dev/udp/{address}/{port}; echo question >&3; dd bs=65536 count=1 <&3 2>/dev/null | wc -c; head -c 6 <&3"
            ),
        );
        let arrival = receive(&egress, &mut buffer);
        assert_eq!(&buffer[..arrival.length], b"question\n");
        assert_eq!(arrival.destination, SocketAddrV4::new(address, port));
        assert_eq!(arrival.source.ip(), &GATEWAY);
        let stranger = SocketAddrV4::new(address, port ^ 1);
        egress.replies.send(stranger, arrival.source, b"from a stranger").unwrap();
        // As large as datagrams get, almost.
        egress.replies.send(arrival.destination, arrival.source, &[b'x'; 60000]).unwrap();
        egress.replies.send(arrival.destination, arrival.source, b"answer").unwrap();
        assert_eq!(output.read(), "60000\nanswer");
        end_of(process);
    }
    let arrival = Arrival::receive(&egress.datagrams, &mut buffer);
    assert_eq!(arrival.unwrap_err().kind(), ErrorKind::WouldBlock, "nothing else came");
    let too_large =
        egress.replies.send(SocketAddrV4::new(NOWHERE, 1), SocketAddrV4::new(GATEWAY, 1), &buffer);
    assert_eq!(too_large.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn what_programs_serve_each_other_does_not_leave() {
    let Some(template) = connected(Missing::Egress) else { return };
    if !Path::new("/usr/bin/python3").exists() {
        return skip("no Python to listen with");
    }
    let mut sandbox = sandbox_in(&template, Network::Relayed);
    let egress = sandbox.take_sockets().egress.unwrap();
    let text = format!(
        "import socket\n\
         socket.setdefaulttimeout(20)\n\
         for address in ['127.0.0.1', '{GATEWAY}']:\n\
         \x20 server = socket.create_server(('0.0.0.0', 0))\n\
         \x20 client = socket.create_connection((address, server.getsockname()[1]))\n\
         \x20 server.accept()[0].sendall(b'hello')\n\
         \x20 print(client.recv(5).decode())\n"
    );
    let (command, output) = with_output(Command {
        arguments: ["/usr/bin/python3", "-c", &text].map(Into::into).into(),
        directory: "/".into(),
        ..Command::default()
    });
    let process = sandbox.spawn(command).unwrap();
    assert_eq!(output.read(), "hello\nhello\n");
    end_of(process);
    assert_eq!(egress.streams.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn version_6_leads_nowhere_at_once() {
    let Some(template) = connected(Missing::Egress) else { return };
    let mut sandbox = sandbox_in(&template, Network::Relayed);
    assert!(!succeeds(&mut sandbox, "exec 3<>/dev/tcp/2001:db8::1/80"));
}

#[test]
fn the_name_server_is_ours_only_where_questions_reach_us() {
    let Some(template) = connected(Missing::Egress) else { return };
    let mut sandbox = sandbox_in(&template, Network::Relayed);
    let said = output_of(&mut sandbox, "grep ^nameserver /etc/resolv.conf");
    assert_eq!(said, format!("nameserver {GATEWAY}\n"));
}

#[test]
fn what_listens_inside_can_be_connected_to() {
    let Some(template) = connected(Missing::NetworkNamespace) else { return };
    let listeners = vec![loopback(9001)];
    let mut sandbox = Sandbox::create(&template, SandboxSpec { listeners, ..spec() }).unwrap();
    let listener = sandbox.take_sockets().listeners.pop().unwrap();
    let entrance = sandbox.entrance().unwrap();
    let mut ours = entrance.connect(9001).unwrap();
    ours.write_all(b"in").unwrap();
    drop(ours);
    let mut said = String::new();
    accept(&listener).read_to_string(&mut said).unwrap();
    assert_eq!(said, "in");
    entrance.connect(9002).unwrap_err();
    // A socket that is connected later is of the same network, and nobody waits for it.
    let unconnected = entrance.unconnected().unwrap();
    assert!(unconnected.peer_addr().is_err());
    let mut nothing = [0];
    let read = (&unconnected).read(&mut nothing).unwrap_err();
    assert!(matches!(read.kind(), ErrorKind::NotConnected | ErrorKind::WouldBlock), "{read}");
}

#[test]
fn nothing_on_the_host_changes() {
    let Some(template) = connected(Missing::Egress) else { return };
    let look = || {
        ["/proc/net/dev", "/proc/net/route", "/proc/net/if_inet6", "/proc/sys/net/ipv4/ip_forward"].map(
            |path| {
                let text = std::fs::read_to_string(path).unwrap_or_default();
                // Of interfaces and routes their names: the counters move.
                text.lines()
                    .map(|line| line.split_whitespace().next().unwrap_or_default().to_owned())
                    .collect::<Vec<_>>()
            },
        )
    };
    let before = look();
    let sandbox = sandbox_in(&template, Network::Relayed);
    assert_eq!(look(), before);
    drop(sandbox);
    assert_eq!(look(), before);
}

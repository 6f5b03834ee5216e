//! Measures what a sandbox costs: `cargo run --release --example timing -- [PROGRAM] [ROUNDS]`.
//!
//! Prints medians, in microseconds, until the sandbox is created, a process in it exists, and its program runs, and of
//! that program's end and of removing everything, for each kind of sandbox that the machine has. PROGRAM should print
//! something at once, and end; a static one has least to do.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for developers")]

use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddrV4},
    time::Instant,
};

use hothouse_sandbox::{
    Command, Ending, GATEWAY, Identity, Level, Limits, Mount, Network, Sandbox, SandboxSpec, Template,
    TemplateSpec,
};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().unwrap_or_else(|| "/bin/pwd".to_owned());
    let rounds: usize = arguments.next().map_or(200, |count| count.parse().unwrap());
    let plain = Limits { processes: None, memory_bytes: None, ..Limits::default() };
    let ceilings = Limits { processes: Some(742), memory_bytes: Some(256 << 20), ..Limits::default() };
    for (name, level, network, limits) in [
        ("none", Level::None, Network::Host, &plain),
        ("own root and tree", Level::Best, Network::Host, &plain),
        ("… and network", Level::Best, Network::Own, &plain),
        ("… and a way out", Level::Best, Network::Relayed, &plain),
        ("… and control group", Level::Best, Network::Relayed, &ceilings),
    ] {
        let template = Template::create(TemplateSpec {
            level,
            network,
            identity: Identity {
                uid: 993,
                gid: 990,
                name: "sbx_user1051".into(),
                home: "/home/sbx_user1051".into(),
            },
            mounts: vec![Mount::read_only(&program, "/program")],
            ..TemplateSpec::default()
        })
        .unwrap();
        let inside = if template.has_own_root() { "/program" } else { &program };
        let mut times: [Vec<f64>; 5] = Default::default();
        for _ in 0..rounds {
            let started = Instant::now();
            let spec = SandboxSpec {
                tmp_bytes: 512 << 20,
                hostname: "timing".into(),
                limits: limits.clone(),
                network,
                // As an environment of a function has them.
                listeners: [9001, 4566].map(|port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).into(),
                datagrams: [SocketAddrV4::new(GATEWAY, 2000)].into(),
                ..SandboxSpec::default()
            };
            let mut sandbox = Sandbox::create(&template, spec).unwrap();
            times[0].push(microseconds(started));
            let (mut output, writer) = std::io::pipe().unwrap();
            let command = Command {
                arguments: vec![inside.into()],
                directory: "/".into(),
                descriptors: vec![(writer.into(), 1)],
                ..Command::default()
            };
            let process = sandbox.spawn(command).unwrap();
            times[1].push(microseconds(started));
            output.read_exact(&mut [0]).unwrap();
            times[2].push(microseconds(started));
            let running = Instant::now();
            let exit = process.wait().unwrap();
            assert!(matches!(exit.ending, Ending::Exited(0)), "{exit:?}");
            times[3].push(microseconds(running));
            let ended = Instant::now();
            drop(sandbox);
            times[4].push(microseconds(ended));
        }
        let [created, spawned, running, ended, removed] = times.map(|mut values| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        });
        println!(
            "{name:22} {}: created {created:.0}, spawned {spawned:.0}, running {running:.0}; ended in {ended:.0}, removed in {removed:.0} µs",
            template.isolation()
        );
    }
}

fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_nanos() as f64 / 1000.0
}

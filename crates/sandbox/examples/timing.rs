//! Measures what a sandbox costs: `cargo run --release --example timing -- [PROGRAM] [ROUNDS]`.
//!
//! Prints medians, in microseconds, of creating the sandbox, of starting a program in it, of that program's end, and of
//! removing everything, for each kind of sandbox that the machine has. PROGRAM should do nothing.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for developers")]

use std::time::Instant;

use hothouse_sandbox::{
    Command, Ending, Identity, Level, Limits, Network, Sandbox, SandboxSpec, Template, TemplateSpec,
};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().unwrap_or_else(|| "/bin/true".to_owned());
    let rounds: usize = arguments.next().map_or(200, |count| count.parse().unwrap());
    let plain = Limits { processes: None, memory_bytes: None, ..Limits::default() };
    let ceilings = Limits { processes: Some(742), memory_bytes: Some(256 << 20), ..Limits::default() };
    for (name, level, network, limits) in [
        ("none", Level::None, Network::Host, &plain),
        ("own root and tree", Level::Best, Network::Host, &plain),
        ("… and network", Level::Best, Network::Own, &plain),
        ("… and control group", Level::Best, Network::Own, &ceilings),
    ] {
        let template = Template::create(TemplateSpec {
            level,
            identity: Identity {
                uid: 993,
                gid: 990,
                name: "sbx_user1051".into(),
                home: "/home/sbx_user1051".into(),
            },
            ..TemplateSpec::default()
        })
        .unwrap();
        let mut times: [Vec<f64>; 4] = Default::default();
        for _ in 0..rounds {
            let started = Instant::now();
            let spec = SandboxSpec {
                tmp_bytes: 512 << 20,
                hostname: "timing".into(),
                limits: limits.clone(),
                network,
                ..SandboxSpec::default()
            };
            let mut sandbox = Sandbox::create(&template, spec).unwrap();
            times[0].push(microseconds(started));
            let command = Command {
                arguments: vec![program.clone().into()],
                directory: "/".into(),
                ..Command::default()
            };
            let process = sandbox.spawn(command).unwrap();
            times[1].push(microseconds(started));
            let exit = process.wait().unwrap();
            assert!(matches!(exit.ending, Ending::Exited(0)), "{exit:?}");
            times[2].push(microseconds(started));
            let ended = Instant::now();
            drop(sandbox);
            times[3].push(microseconds(ended));
        }
        let [created, spawned, ended, removed] = times.map(|mut values| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        });
        println!(
            "{name:22} {}: created {created:.0}, spawned {spawned:.0}, ended {ended:.0}; removed in {removed:.0} µs",
            template.isolation()
        );
    }
}

fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_nanos() as f64 / 1000.0
}

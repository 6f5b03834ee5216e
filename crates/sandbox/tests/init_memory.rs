//! What an init costs while its program runs.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::fs;

use common::*;
use hothouse_sandbox::Sandbox;

#[test]
fn a_waiting_init_holds_none_of_the_services_memory() {
    const BALLAST: usize = 64 << 20;
    for template in levels() {
        let mut ballast = vec![1_u8; BALLAST];
        let mut sandbox = Sandbox::create(&template, spec()).unwrap();
        let (process, mut output) = start(&mut sandbox, "echo ready; exec sleep 60");
        assert_eq!(output.line(), "ready");
        // Every page is another now; a copy of the old ones would be init's own.
        ballast.fill(2);
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.id().unwrap())).unwrap();
        let init = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
        let rollup = format!("/proc/{init}/smaps_rollup");
        if fs::read_to_string(&rollup).is_err() {
            return skip("only root may look at the memory of an init");
        }
        let private = || {
            let memory = fs::read_to_string(&rollup).unwrap();
            let kilobytes = memory.lines().filter(|line| line.starts_with("Private_"));
            kilobytes.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum::<u64>()
        };
        eventually("less than a megabyte of its own", || private() < 1024);
        eprintln!("{}: init has {} KiB of its own", template.isolation(), private());
        assert_eq!(ballast[BALLAST / 2], 2);
        drop(process);
    }
}

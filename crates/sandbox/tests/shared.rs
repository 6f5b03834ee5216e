//! Several programs in one tree, at each level of isolation that the machine has.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::{io::ErrorKind, os::fd::AsRawFd};

use common::*;
use hothouse_sandbox::{Ending, Exit, Process, Ready, Sandbox};

/// Waits for the next program that ends.
fn next_end(process: &mut Process) -> Option<(usize, Exit)> {
    loop {
        match process.program_ended() {
            Ok(end) => return end,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        let mut news = libc::pollfd { fd: process.news().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: pointer and count are of one value.
        let count = unsafe { libc::poll(&raw mut news, 1, PATIENCE.as_millis() as i32) };
        assert_eq!(count, 1, "no news");
    }
}

/// Starts the first script in a tree that it shares, and adds the others.
fn start_all(sandbox: &mut Sandbox, scripts: &[&str]) -> (Process, Vec<Output>) {
    let (command, output) = with_output(script(scripts[0]));
    let mut process = sandbox.spawn_shared(command).unwrap();
    let mut outputs = vec![output];
    for text in &scripts[1..] {
        let (command, output) = with_output(script(text));
        sandbox.add(&mut process, command).unwrap();
        outputs.push(output);
    }
    (process, outputs)
}

const UNTIL_TOLD: &str = "echo up; exec sleep 1000";

#[test]
fn programs_end_one_by_one_and_the_tree_lasts() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let (mut process, mut outputs) = start_all(&mut sandbox, &[UNTIL_TOLD, "exit 3", UNTIL_TOLD]);
        let (number, exit) = next_end(&mut process).unwrap();
        assert!(number == 1 && matches!(exit.ending, Ending::Exited(3)), "{number}: {exit:?}");
        assert_eq!([outputs[0].line(), outputs[2].line()], ["up", "up"]);
        assert_eq!(process.program_ended().unwrap_err().kind(), ErrorKind::WouldBlock);
        process.signal_program(0, libc::SIGTERM).unwrap();
        let (number, exit) = next_end(&mut process).unwrap();
        assert!(number == 0 && matches!(exit.ending, Ending::Signaled(libc::SIGTERM)), "{number}: {exit:?}");
        process.signal_program(0, libc::SIGTERM).unwrap();
        process.signal_program(9, libc::SIGTERM).unwrap();
        assert!(process.try_wait().unwrap().is_none(), "one is left");
        process.kill().unwrap();
        process.wait().unwrap();
        assert_eq!(outputs.pop().unwrap().read(), "", "all are gone");
    }
}

#[test]
fn a_tree_lasts_without_programs_until_it_is_ended() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let (mut process, mut outputs) =
            start_all(&mut sandbox, &["(echo background; exec sleep 1000) & exit 0"]);
        assert_eq!(outputs[0].line(), "background");
        assert!(matches!(next_end(&mut process).unwrap(), (0, Exit { ending: Ending::Exited(0), .. })));
        let (command, output) = with_output(script("echo later"));
        sandbox.add(&mut process, command).unwrap();
        assert_eq!(output.read(), "later\n");
        process.kill().unwrap();
        process.wait().unwrap();
        for output in outputs {
            assert_eq!(output.read(), "");
        }
    }
}

#[test]
fn what_cannot_be_executed_is_told_with_its_number() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let (mut process, mut outputs) = start_all(&mut sandbox, &[UNTIL_TOLD]);
        let mut command = script("");
        command.arguments = vec!["/nowhere".into()];
        sandbox.add(&mut process, command).unwrap();
        let (number, exit) = next_end(&mut process).unwrap();
        let Ending::NotExecuted(error) = exit.ending else { panic!("{exit:?}") };
        assert_eq!((number, error.path.to_str().unwrap()), (1, "/nowhere"));
        assert_eq!(outputs[0].line(), "up");
        // The number of one that did not run is not given to another.
        let (command, _output) = with_output(script("exit 5"));
        sandbox.add(&mut process, command).unwrap();
        assert_eq!(next_end(&mut process).unwrap().0, 2);
    }
}

#[test]
fn all_stand_still_together() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let ticking = "while :; do echo tick; done";
        let (process, mut outputs) = start_all(&mut sandbox, &[ticking, ticking]);
        for output in &mut outputs {
            assert_eq!(output.line(), "tick");
        }
        process.freeze().unwrap();
        process.thaw().unwrap();
        for output in &mut outputs {
            assert_eq!(output.line(), "tick");
        }
        process.kill().unwrap();
    }
}

#[test]
fn a_sandbox_made_ahead_takes_several_programs() {
    let Some(template) = isolated() else { return };
    let Some(ready) = Ready::make(&template, &spec()).unwrap() else {
        return skip("only root keeps sandboxes ready");
    };
    let mut sandbox = ready.fit(spec()).unwrap();
    let (mut process, outputs) = start_all(&mut sandbox, &["echo one", "echo two"]);
    let mut ended = [next_end(&mut process).unwrap().0, next_end(&mut process).unwrap().0];
    ended.sort_unstable();
    assert_eq!(ended, [0, 1]);
    let texts: Vec<String> = outputs.into_iter().map(Output::read).collect();
    assert_eq!(texts, ["one\n", "two\n"]);
}

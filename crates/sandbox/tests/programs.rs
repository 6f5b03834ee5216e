//! How programs begin and end, at each level of isolation that the machine has.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::{fs, os::unix::fs::PermissionsExt};

use common::*;
use hothouse_sandbox::{Command, Ending, ExecErrorKind, SpawnError};

#[test]
fn exit_codes_and_signals_are_those_of_the_program() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        for (text, expected) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255)] {
            let (exit, _) = run(&mut sandbox, text);
            assert!(matches!(exit.ending, Ending::Exited(code) if code == expected), "{text}: {exit:?}");
            assert!(!exit.out_of_memory);
        }
        // The first process of a tree would not hear what it sends itself.
        for (name, expected) in [
            ("TERM", libc::SIGTERM),
            ("KILL", libc::SIGKILL),
            ("SEGV", libc::SIGSEGV),
            ("PIPE", libc::SIGPIPE),
        ] {
            let (exit, _) = run(&mut sandbox, &format!("kill -{name} $$; sleep 60"));
            assert!(
                matches!(exit.ending, Ending::Signaled(signal) if signal == expected),
                "{name}: {exit:?}"
            );
        }
    }
}

#[test]
fn an_end_is_told_once_and_only_after_it() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let mut command = script("read line; exit 3");
        let (input, writer) = std::io::pipe().unwrap();
        command.descriptors.push((input.into(), 0));
        let mut process = sandbox.spawn(command).unwrap();
        assert!(process.try_wait().unwrap().is_none());
        drop(writer);
        wait_readable(&process);
        let exit = process.try_wait().unwrap().unwrap();
        assert!(matches!(exit.ending, Ending::Exited(3)));
        assert!(exit.peak_memory.unwrap() > 100_000);
        assert!(process.try_wait().unwrap().is_none());
        assert!(process.id().is_none());
        process.kill().unwrap();
    }
}

#[test]
fn signals_reach_the_program_and_kill_reaches_all() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let (process, mut output) =
            start(&mut sandbox, "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.01; done");
        assert_eq!(output.line(), "ready");
        process.signal(libc::SIGTERM).unwrap();
        assert_eq!(output.line(), "got it");
        assert!(matches!(end_of(process).ending, Ending::Exited(9)));

        let marker = marker();
        let (process, mut output) =
            start(&mut sandbox, &format!("trap '' TERM; sleep {marker} & echo ready; wait"));
        assert_eq!(output.line(), "ready");
        eventually("the child runs", || !processes_with(&marker).is_empty());
        process.kill().unwrap();
        let exit = end_of(process);
        assert!(matches!(exit.ending, Ending::Signaled(libc::SIGKILL)), "{exit:?}");
        assert_eq!(output.read(), "");
        assert!(processes_with(&marker).is_empty());
    }
}

#[test]
fn all_can_be_stopped_and_continued() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let (process, mut output) = start(&mut sandbox, "echo ready; exec sleep 60");
        assert_eq!(output.line(), "ready");
        let pid = process.id().unwrap();
        let state = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit_once(") ").unwrap().1.as_bytes()[0]
        };
        process.signal_all(libc::SIGSTOP).unwrap();
        eventually("stopped", || state() == b'T');
        process.signal_all(libc::SIGCONT).unwrap();
        eventually("continued", || state() != b'T');
        drop(process);
    }
}

/// Init may end without having read them.
#[test]
fn orders_that_come_too_late_do_not_hide_how_it_ended() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        for _ in 0..50 {
            let (process, mut output) = start(&mut sandbox, "echo ready; exit 4");
            assert_eq!(output.line(), "ready");
            for _ in 0..20 {
                process.signal_all(libc::SIGCONT).unwrap();
            }
            let exit = end_of(process);
            assert!(matches!(exit.ending, Ending::Exited(4)), "{exit:?}");
        }
    }
}

#[test]
fn daemons_end_with_the_program() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let marker = marker();
        let text = format!("(setsid setsid sleep {marker} > /dev/null 2>&1 &) ; exit 5");
        let (exit, _) = run(&mut sandbox, &text);
        assert!(matches!(exit.ending, Ending::Exited(5)), "{exit:?}");
        assert!(processes_with(&marker).is_empty(), "{}", template.isolation());
    }
}

#[test]
fn dropping_a_process_ends_it() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let marker = marker();
        let (process, mut output) = start(&mut sandbox, &format!("echo ready; exec sleep {marker}"));
        assert_eq!(output.line(), "ready");
        eventually("it runs", || !processes_with(&marker).is_empty());
        drop(process);
        assert!(processes_with(&marker).is_empty());
    }
}

#[test]
fn the_environment_is_exactly_what_was_given() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let variables = [("A", "1"), ("EMPTY", ""), ("WITH", "x=y\nz ü"), ("_LAST", "$A")];
        let (command, output) = with_output(Command {
            arguments: ["/usr/bin/env", "-0"].map(Into::into).into(),
            environment: variables.map(|(name, value)| (name.into(), value.into())).into(),
            directory: "/".into(),
            descriptors: vec![],
        });
        let process = sandbox.spawn(command).unwrap();
        assert_eq!(output.read(), "A=1\0EMPTY=\0WITH=x=y\nz ü\0_LAST=$A\0");
        end_of(process);
    }
}

#[test]
fn descriptors_are_exactly_those_given() {
    // Another descriptor that a careless exec would hand down.
    // SAFETY: takes no pointers.
    let leaky = unsafe { libc::dup(2) };
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let mut command = script(
            "cd /proc/$$/fd; for fd in *; do [ -e $fd ] && echo $fd; done; echo here > /proc/self/fd/62; cat <&3",
        );
        let (input, writer) = std::io::pipe().unwrap();
        let (reader, output) = std::io::pipe().unwrap();
        // Sources whose numbers are targets of others.
        let output = std::os::fd::OwnedFd::from(output);
        command.descriptors =
            vec![(output.try_clone().unwrap(), 62), (output.try_clone().unwrap(), 1), (input.into(), 3)];
        drop(output);
        let process = sandbox.spawn(command).unwrap();
        drop(writer);
        let text = std::io::read_to_string(reader).unwrap();
        assert_eq!(text, "0\n1\n2\n3\n62\nhere\n", "{}", template.isolation());
        assert!(matches!(end_of(process).ending, Ending::Exited(0)));
    }
    // SAFETY: it is ours.
    unsafe { libc::close(leaky) };
}

#[test]
fn a_program_starts_as_a_fresh_process() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let text = output_of(
            &mut sandbox,
            "umask; pwd; grep -E '^Sig(Blk|Ign)' /proc/self/status; cut -d' ' -f6 /proc/self/stat; echo $$",
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "0022");
        assert_eq!(lines[1], "/");
        for mask in &lines[2..4] {
            assert!(mask.ends_with("\t0000000000000000"), "{mask}");
        }
        // The leader of its session.
        assert_eq!(lines[4], lines[5]);
    }
}

#[test]
fn limits_are_those_asked_for() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let text = output_of(&mut sandbox, "ulimit -n; ulimit -Hn; ulimit -s; ulimit -l");
        assert_eq!(text, "1024\n1024\n8192\n64\n");
    }
}

#[test]
fn what_cannot_be_executed_says_why() {
    for template in levels() {
        let directory =
            tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
        let files = [
            ("no-interpreter", "#!/nowhere/at/all\n", 0o755, ExecErrorKind::InterpreterNotFound),
            ("no-permission", "#!/bin/sh\n", 0o644, ExecErrorKind::NotExecutable),
            ("no-format", "what is this", 0o755, ExecErrorKind::WrongFormat),
            ("empty", "", 0o755, ExecErrorKind::WrongFormat),
        ];
        for (name, content, mode, _) in files {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(directory.path().join("directory")).unwrap();
        let mut spec = spec();
        let mut inside = directory.path().to_owned();
        if template.has_own_root() {
            inside = "/var/task".into();
            spec.mounts.push(hothouse_sandbox::Mount::read_only(directory.path(), &inside));
        }
        let mut sandbox = hothouse_sandbox::Sandbox::create(&template, spec).unwrap();
        let absent = [("absent", ExecErrorKind::NotFound), ("directory", ExecErrorKind::NotExecutable)];
        for (name, expected) in files.map(|(name, _, _, kind)| (name, kind)).into_iter().chain(absent) {
            let path = inside.join(name);
            let command =
                Command { arguments: vec![path.clone().into()], directory: "/".into(), ..Command::default() };
            match end_of(sandbox.spawn(command).unwrap()).ending {
                Ending::NotExecuted(error) => {
                    assert_eq!((error.kind, &error.path), (expected, &path), "{name}: {error:?}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_missing_working_directory_is_not_the_programs_fault() {
    for template in levels() {
        let mut command = script("exit 0");
        command.directory = "/nowhere".into();
        let exit = end_of(sandbox(&template).spawn(command).unwrap());
        let Ending::NotSetUp { step, source } = exit.ending else { panic!("{exit:?}") };
        assert_eq!(step.to_string(), "enter the working directory");
        assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    }
}

#[test]
fn impossible_requests_are_refused_before_anything_happens() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let spawn = |sandbox: &mut hothouse_sandbox::Sandbox, arguments: Vec<&str>, variable: &str| {
            sandbox.spawn(Command {
                arguments: arguments.into_iter().map(Into::into).collect(),
                environment: vec![("A".into(), variable.into())],
                directory: "/".into(),
                descriptors: vec![],
            })
        };
        assert!(matches!(spawn(&mut sandbox, vec![], ""), Err(SpawnError::NoProgram)));
        assert!(matches!(spawn(&mut sandbox, vec!["sh"], ""), Err(SpawnError::Path { .. })));
        assert!(matches!(spawn(&mut sandbox, vec!["/bin/sh", "a\0b"], ""), Err(SpawnError::ZeroByte { .. })));
        assert!(matches!(spawn(&mut sandbox, vec!["/bin/sh"], "\0"), Err(SpawnError::ZeroByte { .. })));
    }
}

#[test]
fn a_process_outlives_the_thread_that_started_it() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let (input, writer) = std::io::pipe().unwrap();
        let process = std::thread::spawn(move || {
            let mut command = script("read line; exit 8");
            command.descriptors.push((input.into(), 0));
            (sandbox.spawn(command).unwrap(), sandbox)
        });
        let (process, _sandbox) = process.join().unwrap();
        drop(writer);
        let exit = end_of(process);
        assert!(matches!(exit.ending, Ending::Exited(8)), "{exit:?}");
    }
}

#[test]
fn two_programs_can_run_in_one_place() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let (one, mut output_of_one) = start(&mut sandbox, "echo ready; exec sleep 60");
        assert_eq!(output_of_one.line(), "ready");
        let (exit, _) = run(&mut sandbox, "exit 2");
        assert!(matches!(exit.ending, Ending::Exited(2)), "{exit:?}");
        assert!(one.id().is_some_and(|pid| fs::metadata(format!("/proc/{pid}")).is_ok()));
    }
}

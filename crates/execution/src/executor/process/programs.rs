//! The programs of one process tree, external extensions and the runtime, and who is told of their ends.
//!
//! Must not start or end any.

use std::{
    io,
    os::fd::AsFd,
    sync::{Arc, Mutex},
};

use hothouse_sandbox::{ExecError, ExecErrorKind, Process};
use tokio::{io::unix::AsyncFd, sync::oneshot};

use super::{
    instance::{exit_of, readiness},
    lock,
};
use crate::{
    executor::StartError,
    fault::{Exit, ExitStatus},
};

/// Numbered as in the sandbox, in the order of their start: extensions, then the runtime.
pub(super) struct Programs {
    promises: Arc<Mutex<Promises>>,
    runtime: Option<usize>,
}

#[derive(Default)]
struct Promises {
    /// Of ends that have not been told.
    open: Vec<Option<oneshot::Sender<Exit>>>,
    runtime: Option<usize>,
    /// The ends of programs that were not promised yet: a program may end before its start is through.
    early: Vec<(usize, Exit)>,
    /// How the tree ended.
    over: Option<Exit>,
}

impl Programs {
    /// Follows a tree that has just been made.
    pub(super) fn watch(process: &Arc<Mutex<Process>>) -> Result<Programs, StartError> {
        let duplicate = |descriptor: std::os::fd::BorrowedFd<'_>| {
            let descriptor =
                descriptor.try_clone_to_owned().map_err(StartError::machine("watch a process"))?;
            readiness(descriptor)
        };
        let (ended, news) = {
            let process = lock(process);
            (duplicate(process.as_fd())?, duplicate(process.news())?)
        };
        let promises = Arc::new(Mutex::new(Promises::default()));
        #[expect(
            clippy::disallowed_methods,
            reason = "ends with the process tree, whose owner is the environment"
        )]
        tokio::spawn(follow(process.clone(), promises.clone(), ended, news));
        Ok(Programs { promises, runtime: None })
    }

    /// The next program is an extension.
    pub(super) fn add_extension(&mut self) -> oneshot::Receiver<Exit> {
        lock(&self.promises).add()
    }

    /// The next program is the runtime.
    pub(super) fn add_runtime(&mut self) -> oneshot::Receiver<Exit> {
        let mut promises = lock(&self.promises);
        self.runtime = Some(promises.open.len());
        promises.runtime = self.runtime;
        promises.add()
    }

    /// The runtime's number, if it has been started.
    pub(super) fn runtime(&self) -> Option<usize> {
        self.runtime
    }
}

impl Promises {
    fn add(&mut self) -> oneshot::Receiver<Exit> {
        let (exit, exited) = oneshot::channel();
        self.open.push(Some(exit));
        for (number, exit) in std::mem::take(&mut self.early) {
            self.keep(number, exit);
        }
        if let Some(over) = self.over.clone() {
            self.end(over);
        }
        exited
    }

    fn keep(&mut self, number: usize, exit: Exit) {
        match self.open.get_mut(number) {
            Some(promise) => {
                if let Some(promise) = promise.take() {
                    let _ = promise.send(exit);
                }
            }
            None => self.early.push((number, exit)),
        }
    }

    /// The tree is gone, and with it all programs.
    fn end(&mut self, over: Exit) {
        for promise in self.open.iter_mut().filter_map(Option::take) {
            let _ = promise.send(over.clone());
        }
        self.over = Some(over);
    }

    /// As Go says it of an extension, which is what AWS's callers see.
    fn why(&self, number: usize, error: &ExecError) -> String {
        if self.runtime == Some(number) {
            return error.to_string();
        }
        let path = error.path.display();
        match error.kind {
            ExecErrorKind::NotFound | ExecErrorKind::InterpreterNotFound => {
                format!("fork/exec {path}: no such file or directory")
            }
            ExecErrorKind::NotExecutable => format!("fork/exec {path}: permission denied"),
            ExecErrorKind::WrongFormat => format!("fork/exec {path}: exec format error"),
            ExecErrorKind::Other => format!("fork/exec {path}: {}", error.source),
        }
    }
}

/// Tells of each program's end until the tree is gone.
async fn follow(
    process: Arc<Mutex<Process>>,
    promises: Arc<Mutex<Promises>>,
    ended: AsyncFd<std::os::fd::OwnedFd>,
    news: AsyncFd<std::os::fd::OwnedFd>,
) {
    let mut more = true;
    loop {
        tokio::select! {
            biased;
            guard = news.readable(), if more => {
                let Ok(mut guard) = guard else { return };
                match tell(&process, &promises) {
                    Ok(()) => more = false,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                    Err(error) => {
                        tracing::error!(%error, "failed to hear of the end of a program");
                        more = false;
                    }
                }
            }
            guard = ended.readable() => {
                let Ok(mut guard) = guard else { return };
                // Its last words, which may have come meanwhile.
                let _ = tell(&process, &promises);
                match lock(&process).try_wait() {
                    Ok(Some(how)) => {
                        let killed = Exit { status: ExitStatus::Signal(9), out_of_memory: how.out_of_memory };
                        lock(&promises).end(killed);
                        return;
                    }
                    Ok(None) => guard.clear_ready(),
                    Err(error) => {
                        tracing::error!(%error, "failed to wait for a process");
                        return;
                    }
                }
            }
        }
    }
}

/// Tells what there is to tell. An error if there may be more later.
fn tell(process: &Mutex<Process>, promises: &Mutex<Promises>) -> io::Result<()> {
    while let Some((number, how)) = lock(process).program_ended()? {
        let mut promises = lock(promises);
        let exit = exit_of(how, |error| promises.why(number, error));
        promises.keep(number, exit);
    }
    Ok(())
}

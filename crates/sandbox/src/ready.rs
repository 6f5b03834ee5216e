//! Sandboxes made ahead: all that does not depend on who will run in them is done, init included, which waits inside. A
//! program may wait there, too, that has to be told whose it is.
//!
//! Must not decide how many there are, nor when they are made.

use std::ffi::CString;

use crate::{
    Command, Sandbox, SandboxSpec, SpawnError, Step, Template, init::FIT_MEMORY, isolation::Mode,
    launch::Errand, mounts, parcel::Parcel, process::OrderKind, spec::Limits,
};

/// A sandbox with an init that waits in it. It becomes a [`Sandbox`] once, and never comes back.
///
/// Its init ends with the service, as every init does. Dropping it removes everything.
#[derive(Debug)]
pub struct Ready(Sandbox);

impl Ready {
    /// Makes one for sandboxes like this, which may differ in mounts, in the size of `/tmp` and in their ceilings of memory
    /// and CPU. `None` where only those who have power over the host's mounts could use it: an ordinary user has not.
    /// Blocks for about as long as [`Sandbox::create`].
    pub fn make(template: &Template, spec: &SandboxSpec) -> Result<Option<Self>, SpawnError> {
        if template.features().mode != Mode::Privileged {
            return Ok(None);
        }
        let mut sandbox = Sandbox::create(template, SandboxSpec { mounts: Vec::new(), ..spec.clone() })?;
        let init = sandbox.start_init(None)?;
        init.waits()?;
        sandbox.waiting = Some(init);
        Ok(Some(Self(sandbox)))
    }

    /// Starts a program in it, with all that keeps programs in their place, which is to wait until the sandbox is fitted:
    /// until then it sees neither its mounts nor the real size of `/tmp`, and must not be led by anything that others say.
    /// Whether it was started: not where the program's user namespace cannot be made ahead. [`Sandbox::take_program`]
    /// gives it out in the end.
    pub fn start(&mut self, command: Command) -> Result<bool, SpawnError> {
        let Self(sandbox) = self;
        if !sandbox.has_users() {
            return Ok(false);
        }
        let errand = Errand::new(command, sandbox.outside(), false)?;
        let Some(init) = &mut sandbox.waiting else {
            return Err(SpawnError::step(Step::Init)(std::io::ErrorKind::NotFound.into()));
        };
        init.run(&errand).map_err(SpawnError::step(Step::Init))?;
        init.waits()?;
        sandbox.has_program = true;
        Ok(true)
    }

    /// Memory that the program uses, if there is one: its own, without what it shares with others.
    pub fn program_memory(&self) -> Option<u64> {
        self.0.waiting.as_ref().filter(|_| self.0.has_program)?.program_memory()
    }

    /// Whether this can become a sandbox of this template and specification.
    pub fn suits(&self, template: &Template, spec: &SandboxSpec) -> bool {
        let Limits { memory_bytes, cpu_millis, .. } = self.0.spec.limits;
        let alike = SandboxSpec {
            mounts: Vec::new(),
            tmp_bytes: self.0.spec.tmp_bytes,
            limits: Limits { memory_bytes, cpu_millis, ..spec.limits.clone() },
            ..spec.clone()
        };
        self.0.template.is(template)
            && self.0.spec == alike
            && memory_bytes.is_some() == spec.limits.memory_bytes.is_some()
            && cpu_millis.is_some() == spec.limits.cpu_millis.is_some()
            // What may be written to is decided before init waits.
            && spec.mounts.iter().all(|mount| !mount.writable)
    }

    /// Whether its init still waits.
    pub fn is_alive(&self) -> bool {
        self.0.waiting.as_ref().is_some_and(crate::Process::is_alive)
    }

    /// Makes it the sandbox of this specification, which it must suit. Takes some microseconds for each mount. Where a
    /// program runs already, nobody in the sandbox has any power left when this returns.
    pub fn fit(self, spec: SandboxSpec) -> Result<Sandbox, SpawnError> {
        let Self(mut sandbox) = self;
        let Some(init) = &sandbox.waiting else {
            return Err(SpawnError::step(Step::Init)(std::io::ErrorKind::NotFound.into()));
        };
        if let Some(group) = &sandbox.group {
            let changed = group.change(&sandbox.spec.limits, &spec.limits);
            changed.map_err(SpawnError::step(Step::ControlGroup))?;
        }
        let resized =
            (sandbox.spec.tmp_bytes != spec.tmp_bytes).then(|| mounts::memory_options(spec.tmp_bytes));
        let resized = resized.map(|options| CString::new(options).expect("numbers hold no zero byte"));
        let (trees, targets): (Vec<_>, Vec<_>) = mounts::take_hold(&spec.mounts)?.into_iter().unzip();
        let mut texts = vec![None; FIT_MEMORY + 1];
        texts[FIT_MEMORY] = resized.as_deref();
        texts.extend(targets.iter().map(|target| Some(&**target)));
        init.send(&Parcel::new(OrderKind::FIT, &[], &texts, trees)).map_err(SpawnError::step(Step::Init))?;
        init.waits()?;
        sandbox.spec = spec;
        Ok(sandbox)
    }
}

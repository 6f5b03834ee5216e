//! The control plane over its API, with a fake executor below it.

mod aliases;
mod concurrency;
mod durability;
mod functions;
mod invoke;
mod packages;
mod recorded;
mod support;
mod tags;
mod versions;

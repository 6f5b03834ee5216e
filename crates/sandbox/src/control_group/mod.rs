//! Control groups: ceilings for all processes of a sandbox together, the measure of their memory, and their freezer.
//!
//! A service has one directory per hierarchy, locked as long as it lives, with a group per sandbox in it. Whatever an
//! ended service left behind is found by its missing lock, and removed by the next one that starts.
//! Must not decide what happens without control groups.
//!
//! ```text
//! hothouse/SERVICE/SANDBOX               ceilings (a directory in each hierarchy of the first version)
//!                         /TREE          init: never frozen, for it ends the tree when the service is gone
//!                              /program  everything else: frozen and thawed
//! ```
//!
//! The freezer is always that of the second version, whose frozen processes can be killed; those of the first version's
//! cannot, and would outlive the service. Where the first version sets the ceilings, a second one beside it
//! (`/sys/fs/cgroup/unified`) has only the trees.

mod directory;
mod group;
mod hierarchy;
mod service;
mod tree;

pub(crate) use group::Group;
pub(crate) use service::Groups;
pub(crate) use tree::{Entrances, Tree};

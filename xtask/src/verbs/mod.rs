//! One file for each verb of the command line. No verb imports another.

pub mod boot;
pub mod bpf;
pub mod cache;
pub mod dist;
pub mod doctor;
pub mod kernels;
pub mod merge;
pub mod rebuild;
pub mod report;
pub mod verify;

use crate::workspace::machine::Machine;
use crate::workspace::needs::Need;

/// A verb, and what it needs of a machine.
pub type Needs = (&'static str, fn(&Machine) -> Vec<Need>);

/// What the verbs need that need anything, for `doctor`.
pub const NEEDS: [Needs; 4] =
    [("dist", dist::needs), ("bpf", bpf::needs), ("boot", boot::needs), ("rebuild", rebuild::needs)];

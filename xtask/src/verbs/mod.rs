//! One file for each verb of the command line. No verb imports another.

pub mod boot;
pub mod bpf;
pub mod cache;
pub mod completions;
pub mod dist;
pub mod doctor;
pub mod init;
pub mod kernels;
pub mod merge;
pub mod rebuild;
pub mod report;
pub mod verify;

use crate::workspace::needs::OfVerb;

/// What the verbs need that need anything, for `doctor`.
pub const NEEDS: [OfVerb; 4] =
    [("dist", dist::needs), ("bpf", bpf::needs), ("boot", boot::needs), ("rebuild", rebuild::needs)];

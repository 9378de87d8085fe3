//! One file for each verb of the command line. No verb imports another.

pub mod boot;
pub mod bpf;
pub mod btf;
pub mod cache;
pub mod ci;
pub mod completions;
pub mod deploy;
pub mod dist;
pub mod doctor;
pub mod emit;
pub mod image;
pub mod init;
pub mod kernels;
pub mod merge;
pub mod package;
pub mod rebuild;
pub mod report;
pub mod sign;
pub mod verify;
pub mod vmlinux;

use crate::workspace::needs::{Need, OfVerb};

/// The verbs that need anything, for `doctor`.
pub const NEEDS: [OfVerb; 5] = [
    ("dist", &[Need::Workspace, Need::Objects, Need::Git, Need::Builds]),
    ("bpf", &[Need::Workspace, Need::Clang]),
    ("boot", &[Need::Workspace, Need::Builds, Need::Kernels]),
    ("deploy", &[Need::Workspace, Need::Ssh]),
    ("rebuild", &[Need::Workspace, Need::Git, Need::Builds, Need::EmptyCache]),
];

//! One file for each verb of the command line. No verb imports another.

pub mod boot;
pub mod bpf;
pub mod cache;
pub mod dist;
pub mod doctor;
pub mod init;
pub mod kernels;
pub mod merge;
pub mod rebuild;
pub mod report;
pub mod verify;

//! The tool as a user drives it.

mod bad_requests;
mod bpf;
mod completions;
mod dist;
mod engines;
mod exectrace;
mod fetching;
mod guard;
mod plan;
mod support;
mod tidy;
mod verify;
mod verify_hostile;

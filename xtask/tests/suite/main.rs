//! The tool as a user drives it.

mod bad_requests;
mod bpf;
mod dist;
mod engines;
mod exectrace;
mod failures;
mod fetching;
mod guard;
mod plan;
mod support;
mod tidy;

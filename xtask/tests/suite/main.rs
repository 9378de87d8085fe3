//! The tool as a user drives it.

mod bad_requests;
mod bpf;
mod cache;
mod dist;
mod doctor;
mod engines;
mod exectrace;
mod fetching;
mod guard;
mod plan;
mod support;
mod tidy;

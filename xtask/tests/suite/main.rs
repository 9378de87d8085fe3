//! The tool as a user drives it.

mod adopt;
mod backtrace;
mod bad_requests;
mod boot;
mod bpf;
mod bpf_report;
mod cache;
mod cache_damage;
mod completions;
mod dist;
mod doctor;
mod engines;
mod exectrace;
mod failures;
mod fetching;
mod guard;
mod kinds;
mod merge;
mod pipelines;
mod plan;
mod rebuild;
mod reproducible;
mod support;
mod tidy;
mod verify;
mod verify_hostile;

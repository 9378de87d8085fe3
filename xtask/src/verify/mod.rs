//! Reads archives and what lies beside them as a stranger would: nothing of the workspace is used.

pub mod release;
pub mod report;
pub mod sigstore;
pub mod trust;

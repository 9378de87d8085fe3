//! What leaves the workspace: checked binaries, archives and the manifest.

pub mod artifacts;
pub mod beside;
pub mod binary;
pub mod boot_report;
pub mod compare;
pub mod describe;
pub mod documents;

pub mod install;
pub mod layout;
pub mod licenses;
pub mod manifest;
pub mod pack;
pub mod plan;
pub mod run;
pub mod sbom;
pub mod section;
pub mod staging;
pub mod unpack;

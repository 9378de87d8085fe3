//! Writes what other engines run a release by: a playbook, a unit, transfer files, a manifest of Kubernetes.

pub mod ansible;
pub mod facts;
pub mod k8s;
pub mod plan;
pub mod run;
pub mod sysupdate;
pub mod units;

use crate::workspace::products::Deploy;

/// The program that is emitted for.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    pub name: &'a str,
    /// The folder that it goes to on targets.
    pub folder: &'a str,
    pub config: &'a Deploy,
}

//! Installs a released binary on other machines over ssh, in a way that undoes itself.

pub mod decide;
pub mod facts;
pub mod host;
pub mod plan;
pub mod report;
pub mod run;
pub mod script;
pub mod ssh;
pub mod unit;

//! Packages that package managers install, made of what was released.

pub mod contents;
pub mod format;
pub mod plan;
pub mod run;
pub mod spec;

//! Container images of what was released: written as an OCI image layout, without an engine.

pub mod layout;
pub mod plan;
pub mod run;

//! What `init` and `ci` add to a workspace, so that this tool can ship it.

pub mod edit;
pub mod facts;
pub mod pipelines;
pub mod plan;
pub mod run;
pub mod survey;

//! Building a release once more, apart from all that is here, and comparing.

pub mod plan;
pub mod run;

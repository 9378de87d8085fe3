//! What becomes of objects that were compiled.

pub mod run;

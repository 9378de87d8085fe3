//! A foreign workspace, read without building anything of it: what stands in the way of shipping it, and what to do.

pub mod crates;
pub mod facts;
pub mod findings;
pub mod lock;
pub mod text;

//! The types of kernels: where they are found, and the parts of them that the workspace's objects need.

pub mod facts;
pub mod image;
pub mod parts;
pub mod run;
pub mod select;

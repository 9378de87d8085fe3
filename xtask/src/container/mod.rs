//! Containers: the engines that run them, and an image of our own, made of Debian's packages, without any registry.

pub mod archive;
pub mod engine;
pub mod facts;
pub mod layer;
pub mod lock;
pub mod plan;
pub mod recipe;
pub mod run;

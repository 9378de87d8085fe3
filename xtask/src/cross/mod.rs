//! cross as a builder: another program starts the container, and what it might do besides is not there for it to be done with.

pub mod facts;
pub mod plan;
pub mod program;
pub mod settings;
pub mod stage;

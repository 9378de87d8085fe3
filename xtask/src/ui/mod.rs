//! What the user reads: the screen, errors and their remedies. It imports nothing from above.

pub mod error;
pub mod github;
pub mod linker;
pub mod remedies;
pub mod screen;
pub mod status;
pub mod suggest;
pub mod table;

//! What builds need besides cargo and rustc: standard libraries, and the pinned clang.

pub mod facts;
pub mod plan;
pub mod run;
pub mod sysroot;
pub mod zig;

pub use facts::{Installed, names};
pub use plan::{Needs, RUST_SRC_MB, STD_MB, plan};

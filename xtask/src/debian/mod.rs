//! Debian's packages, fetched by the machine's apt.

pub mod apt;
pub mod deb;
pub mod facts;

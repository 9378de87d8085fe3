//! Who made a release, and what they say of it: signatures, and signed statements.

pub mod dsse;
pub mod encoding;
pub mod facts;
pub mod key;
pub mod minisign;
pub mod plan;
pub mod run;
pub mod sshsig;
pub mod statement;
pub mod wire;

//! What an archive consists of, for others' tools: as a CycloneDX document beside it, and as a list of crates in each binary.

pub mod crates;
pub mod dep_info;
pub mod document;
pub mod facts;

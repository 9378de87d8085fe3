//! Reads BPF object files strictly, writes them in a canonical form, and reports what they need of a kernel.
#![doc = include_str!("../README.md")]

pub mod bindings;
pub mod btf;
mod canonical;
mod co_re;
mod code;
pub mod elf;
pub mod faults;
pub mod header;
mod instructions;
pub mod kernel_features;
mod maps;
pub mod min_btf;
pub mod report;

pub use canonical::{OBJECT_FORMAT_VERSION, Object, canonical, canonical_rust, check};

/// Byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Endian {
    Little,
    Big,
}

impl Endian {
    pub const ALL: [Endian; 2] = [Endian::Little, Endian::Big];

    /// `little` or `big`.
    pub fn name(self) -> &'static str {
        match self {
            Endian::Little => "little",
            Endian::Big => "big",
        }
    }

    /// clang's target for BPF objects of this byte order.
    pub fn bpf_target(self) -> &'static str {
        match self {
            Endian::Little => "bpfel",
            Endian::Big => "bpfeb",
        }
    }
}

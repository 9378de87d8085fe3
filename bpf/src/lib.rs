//! The BPF half of exectrace: for each source, the object for this target, and bindings for it.

use std::mem::offset_of;

pub use bpfship_embed::{Bundle, get, view, with_perf_buffers};

/// Reads the kernel's own structs, which takes BTF, and sends events through a ring buffer or perf buffers.
pub mod exectrace;
/// Hands over the records of tracepoints, without BTF.
pub mod tracepoints;

use exectrace::Limits;

/// Bytes of a process's name, the final NUL included.
pub const COMM_SIZE: usize = Limits::COMM_SIZE.0 as usize;
/// Bytes of a file's name that an event carries at most.
pub const FILE_MAX: usize = Limits::FILE_MAX.0 as usize;
/// Bytes of all arguments together that an event carries at most, the NUL after each included.
pub const ARGS_MAX: usize = Limits::ARGS_MAX.0 as usize;

/// Bytes of the names of the folders of the current directory that an event carries at most, the NUL after each included.
pub const CWD_MAX: usize = Limits::CWD_MAX.0 as usize;
/// Bytes of a terminal's name, the final NUL included.
pub const TTY_SIZE: usize = Limits::TTY_SIZE.0 as usize;

/// Bytes that `tracepoints.bpf.c` puts before a tracepoint's record.
pub const RECORD_HEADER: usize = offset_of!(tracepoints::Record, data);

/// Name and SHA-256 of each embedded object, as bpf.lock has them.
pub const OBJECTS: [(&str, &str); 2] = bpfship_embed::objects!();

/// BTF of kernels that have none themselves, which `btf` in Cargo.toml may name.
pub const BTF: Bundle = bpfship_embed::btf!();

/// Notices what cargo does not: a source whose content changed and whose time did not.
#[test]
fn the_objects_are_what_their_sources_give() -> Result<(), bpfship_embed::Error> {
    bpfship_embed::verify(".").map(drop)
}

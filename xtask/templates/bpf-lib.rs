//! The BPF half: its sources and the objects that are compiled from them.

/// Counts the programs that are started. The BPF object for the machine that this is built for.
pub fn hello() -> &'static [u8] {
    bpfship_embed::embed!("hello")
}

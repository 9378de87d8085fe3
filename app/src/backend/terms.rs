//! What every backend is told, and what it owns up to: settings, and losses.

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Size of the buffer, or of each of several.
    pub(crate) buffer_kib: u32,
    /// Only processes that are tracked, and their descendants.
    pub(crate) only_tracked: bool,
    /// Exits are not shown, and need not be sent.
    pub(crate) no_exits: bool,
    /// Execs that are refused are shown.
    pub(crate) failed: bool,
    /// So is where programs are executed.
    pub(crate) places: bool,
}

/// Execs and exits that could not be shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) count: u64,
    /// Else that many at most.
    pub(crate) is_exact: bool,
    /// Those of them that something other than a full buffer has kept away.
    pub(crate) hidden: u64,
    /// Those of which the kernel did not run a BPF program, for it had interrupted that itself.
    pub(crate) interrupted: u64,
    /// How often there was a processor that had not been watched for a while.
    pub(crate) blind: u64,
    /// What happened there is not counted.
    pub(crate) is_incomplete: bool,
}

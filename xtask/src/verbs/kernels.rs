//! `cargo xtask boot --list`: the kernels that there are to boot.

use crate::boot::kernels::KERNELS;
use crate::sys::process::Runner;
use crate::ui::table::Align::Left;
use crate::ui::table::Table;
use anyhow::Result;

/// Lists the kernels.
pub fn run(runner: Runner) -> Result<()> {
    let mut table = Table::new([Left; 6]);
    table.row(["arch", "kernel", "default", "BTF", "machine", "from"]);
    for kernel in &KERNELS {
        let default = if kernel.default { "yes" } else { "" };
        let from = kernel.describe();
        table.row([kernel.arch.name, kernel.label, default, kernel.btf.word(), kernel.machine.name, &from]);
    }
    runner.table(&[table]);
    Ok(())
}

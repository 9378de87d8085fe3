//! `cargo xtask kernels`: the kernels that `boot` knows.

use anyhow::Result;
use serde_json::{Value, json};

use crate::boot::kernels::KERNELS;
use crate::flags;
use crate::sys::process::Runner;
use crate::ui::screen;
use crate::ui::table::Align::Left;
use crate::ui::table::Table;

/// Runs the verb.
pub fn run(runner: Runner, request: &flags::Kernels) -> Result<()> {
    if request.json {
        let kernels = KERNELS.iter().map(|kernel| {
            json!({
                "arch": kernel.arch,
                "label": kernel.label,
                "default": kernel.default,
                "btf": kernel.btf,
                "machine": kernel.machine.name,
                "cpu": kernel.machine.cpu(kernel.arch),
                "from": kernel.describe(),
                "cache_entry": kernel.entry(),
            })
        });
        return screen::print(&format!("{:#}\n", Value::from_iter(kernels)));
    }
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

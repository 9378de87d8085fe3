//! `cargo xtask kernels`: the kernels that `boot` knows.

use anyhow::Result;
use serde::Serialize;

use crate::arch::Arch;
use crate::boot::kernels::{Btf, KERNELS};
use crate::flags;
use crate::ui::screen;
use crate::ui::table::Align::Left;
use crate::ui::table::Table;

/// What is printed as JSON.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Kernels {
    pub kernels: Vec<Kernel>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Kernel {
    pub arch: &'static Arch,
    pub label: &'static str,
    /// Whether it is what is booted for this architecture unless another one is named.
    pub default: bool,
    /// Whether programs find its types.
    pub btf: Btf,
    /// QEMU's words for machine and processor.
    pub machine: &'static str,
    pub cpu: &'static str,
    /// Where it is from, in words.
    pub from: String,
    pub cache_entry: String,
}

/// Runs the verb.
pub fn run(request: &flags::Kernels) -> Result<()> {
    let wanted = KERNELS.iter().filter(|kernel| request.arches.is_empty() || request.arches.contains(&kernel.arch));
    if request.json {
        let kernels = wanted.map(|kernel| Kernel {
            arch: kernel.arch,
            label: kernel.label,
            default: kernel.default,
            btf: kernel.btf,
            machine: kernel.machine.name,
            cpu: kernel.machine.cpu(kernel.arch),
            from: kernel.describe(),
            cache_entry: kernel.entry(),
        });
        return screen::print_result(Kernels { kernels: kernels.collect() });
    }
    let mut table = Table::new([Left; 6]);
    table.row(["arch", "kernel", "default", "BTF", "machine", "from"]);
    for kernel in wanted {
        let default = if kernel.default { "yes" } else { "" };
        let from = kernel.describe();
        table.row([kernel.arch.name, kernel.label, default, kernel.btf.word(), kernel.machine.name, &from]);
    }
    screen::print_table(table)
}

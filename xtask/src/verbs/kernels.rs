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
    let kernels: Vec<_> = wanted.collect();
    // On a narrow terminal, without the last columns.
    let table = |columns: usize| {
        let mut table = Table::new(vec![Left; columns]);
        table.row(["arch", "kernel", "BTF", "default", "machine", "from"].into_iter().take(columns));
        for kernel in &kernels {
            let default = if kernel.default { "yes" } else { "" };
            let from = kernel.describe();
            let cells = [kernel.arch.name, kernel.label, kernel.btf.word(), default, kernel.machine.name, &from];
            table.row(cells.into_iter().take(columns));
        }
        table
    };
    screen::print_tables(&[6, 5, 4, 3].map(table))
}

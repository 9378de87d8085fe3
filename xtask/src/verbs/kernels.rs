//! `cargo xtask boot --list`: the kernels that there are to boot.

use crate::boot::kernels::KERNELS;
use crate::sys::process::Runner;
use anyhow::Result;

/// Lists the kernels.
pub fn run(runner: Runner) -> Result<()> {
    let width = KERNELS.iter().map(|kernel| kernel.label.len()).max().unwrap_or_default();
    let line = |arch: &str, label: &str, default: &str, btf: &str, machine: &str, from: &str| {
        format!("{arch:7}  {label:width$}  {default:7}  {btf:6}  {machine:15}  {from}")
    };
    let rows = KERNELS.iter().map(|kernel| {
        let default = if kernel.default { "yes" } else { "" };
        line(kernel.arch, kernel.label, default, kernel.btf.word(), kernel.machine.name, &kernel.describe())
    });
    let head = line("arch", "kernel", "default", "BTF", "machine", "from");
    runner.println(std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n"));
    Ok(())
}

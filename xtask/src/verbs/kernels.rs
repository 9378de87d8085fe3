//! `cargo xtask kernels`: the kernels that `boot` knows.

use anyhow::Result;
use serde::Serialize;

use crate::arch::Arch;
use crate::boot::kernels::lock::{FILE, Lock};
use crate::boot::kernels::update;
use crate::boot::kernels::{self, Btf, KERNELS};
use crate::debian::apt::Mirror;
use crate::debian::deb::Deb;
use crate::flags::{self, Common};
use crate::sys;
use crate::sys::process::Runner;
use crate::ui::error::{BadRequest, bad_request};
use crate::ui::screen;
use crate::ui::table::Align::Left;
use crate::ui::table::Table;
use crate::workspace::facts::Workspace;

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

/// What `--update` prints as JSON.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Updated {
    pub kernels: Vec<Pinned>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pinned {
    pub arch: &'static Arch,
    pub label: &'static str,
    /// What kernels.lock pins it to. A kernel that is built is from the sources in it.
    pub package: Deb,
}

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &flags::Kernels) -> Result<()> {
    let wanted = KERNELS.iter().filter(|kernel| request.arches.is_empty() || request.arches.contains(&kernel.arch));
    if request.update {
        return update(runner, common, request, &wanted.collect::<Vec<_>>());
    }
    if request.json {
        let kernels = wanted.map(|kernel| Kernel {
            arch: kernel.arch,
            label: kernel.label,
            default: kernel.default,
            btf: kernel.btf,
            machine: kernel.machine.name,
            cpu: kernel.machine.cpu(kernel.arch),
            from: kernel.describe(),
            cache_entry: kernel.entry(None),
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

/// Pins kernels.
fn update(
    runner: Runner,
    common: &Common,
    request: &flags::Kernels,
    wanted: &[&'static kernels::Kernel],
) -> Result<()> {
    let (workspace, _) = Workspace::find(runner, common)?;
    if common.offline {
        bad_request!("--offline, and --update asks a mirror of Debian");
    }
    let mirror = Mirror::find(runner).map_err(|status| BadRequest(status.sentence()))?;
    let before = Lock::read(&workspace.root)?;
    let (work, file) = (workspace.work.join("pins"), workspace.root.join(FILE));
    let tasks = update::tasks(&mirror, &work, wanted, before.clone(), file)?;
    if request.plan {
        return sys::plan::print(&tasks, request.json);
    }
    sys::plan::run(runner, &tasks)?;
    let lock = Lock::read(&workspace.root)?;
    if request.json {
        let pinned = wanted.iter().filter_map(|kernel| {
            Some(Pinned { arch: kernel.arch, label: kernel.label, package: lock.pin(kernel)?.clone() })
        });
        return screen::print_result(Updated { kernels: pinned.collect() });
    }
    runner.status(match lock.moved(&before) {
        0 => format!("{FILE} pins the newest packages already"),
        moved => format!("{FILE}: {moved} pins have changed"),
    });
    Ok(())
}

//! Units of systemd: the one that `deploy --service` writes, for kernels that are not known yet.

use crate::deploy::unit::{self, Kernel, Runs, SINCE};
use crate::emit::Program;
use crate::emit::plan::File;
use crate::workspace::products::PerfEvents;

/// The unit for one kind of kernel.
pub fn unit(program: Program, kernel: Kernel) -> File {
    let Program { name, folder, config } = program;
    File::text(format!("{name}.service"), unit::text(config, &Runs { name, folder, kernel }))
}

/// Units for all kinds of kernels, newest first.
pub fn all(program: Program) -> Vec<(Kernel, File)> {
    let kinds = match program.config.perf_events {
        PerfEvents::Never => vec![(true, false), (false, false)],
        _ => vec![(true, false), (false, false), (true, true), (false, true)],
    };
    let of = |version: (u32, u32), (btf, is_paranoid): (bool, bool)| {
        let kernel = Kernel { version, btf, is_paranoid };
        let which = format!("{}{}", if btf { "btf" } else { "no-btf" }, if is_paranoid { "-paranoid" } else { "" });
        let path = format!("units/linux-{}.{}-{which}.service", version.0, version.1);
        (kernel, File { path, ..unit(program, kernel) })
    };
    SINCE.iter().flat_map(|version| kinds.iter().map(|kind| of(*version, *kind)).collect::<Vec<_>>()).collect()
}

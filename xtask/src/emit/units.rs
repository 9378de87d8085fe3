//! Units of systemd: the one that `deploy --service` writes, for kernels that are not known yet.

use crate::deploy::unit::{self, Runs, SINCE};
use crate::emit::Program;
use crate::emit::plan::File;

/// The unit for one kind of kernel.
pub fn unit(program: Program, kernel: (u32, u32), btf: bool) -> File {
    let Program { name, folder, config } = program;
    File::text(format!("{name}.service"), unit::text(config, &Runs { name, folder, kernel, btf }))
}

/// Units for all kinds of kernels, newest first: since which kernel, whether with BTF, and the file.
pub fn all(program: Program) -> Vec<((u32, u32), bool, File)> {
    let of = |kernel: (u32, u32), btf: bool| {
        let File { content, .. } = unit(program, kernel, btf);
        let which = if btf { "btf" } else { "no-btf" };
        (kernel, btf, File { path: format!("units/linux-{}.{}-{which}.service", kernel.0, kernel.1), content })
    };
    SINCE.iter().flat_map(|kernel| [of(*kernel, true), of(*kernel, false)]).collect()
}

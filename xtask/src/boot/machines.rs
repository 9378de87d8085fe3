//! The machines that QEMU plays, and how it is told to.

use std::path::Path;

use serde::Serialize;

use crate::arch::Arch;

/// One machine. QEMU translates everything itself (TCG): the same machine on every host, and kernels of five
/// architectures need it anyway.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// QEMU's word for it (`-M`).
    pub name: &'static str,
    /// The processor (`-cpu`), where it is not the oldest one that the architecture's binaries must start on.
    pub cpu: Option<&'static str>,
    /// MiB.
    pub memory: u32,
    /// Whether QEMU may leave out whatever else such a machine has: network, disks, graphics.
    pub bare: bool,
    /// Serial ports before the one that the console is on.
    pub serials_before: usize,
    /// The device of the console in the guest.
    pub console: &'static str,
    /// More words for the kernel.
    pub append: &'static [&'static str],
}

const USUAL: Machine =
    Machine { name: "virt", cpu: None, memory: 512, bare: true, serials_before: 0, console: "ttyS0", append: &[] };

pub static PC: Machine = Machine { name: "q35", ..USUAL };

pub static ARM: Machine = Machine { console: "ttyAMA0", ..USUAL };

/// A kernel with pages of 16 KiB does not start on a processor that has none.
pub static ARM_16K: Machine = Machine { cpu: Some("cortex-a76"), ..ARM };

/// Its first serial port belongs to Bluetooth. QEMU insists on the memory of the board, and gives the processor.
pub static RASPBERRY_PI_3: Machine =
    Machine { name: "raspi3b", memory: 1024, bare: false, serials_before: 1, console: "ttyS1,115200", ..USUAL };

pub static RISCV: Machine = Machine { ..USUAL };

/// Without firmware there is no ISA bus, and the keyboard's driver would crash looking for it.
pub static LOONGSON: Machine = Machine { append: &["initcall_blacklist=i8042_init"], ..USUAL };

pub static MAINFRAME: Machine = Machine { name: "s390-ccw-virtio", console: "ttysclp0", ..USUAL };

pub static MALTA: Machine = Machine { name: "malta", cpu: Some("24Kf"), memory: 256, ..USUAL };

/// What QEMU is given to boot.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    pub kernel: &'a Path,
    pub initramfs: &'a Path,
    pub device_tree: Option<&'a Path>,
}

impl Machine {
    pub fn cpu(&self, arch: &Arch) -> &'static str {
        self.cpu.unwrap_or(arch.oldest_cpu)
    }

    /// QEMU's arguments. The console is on its standard output; a kernel that panics ends it.
    pub fn arguments(&self, arch: &Arch, load: Load) -> Vec<String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut args: Vec<String> = vec!["-no-user-config".into(), "-M".into(), self.name.into()];
        let mut add = |flag: &str, value: String| args.extend([flag.into(), value]);
        add("-accel", "tcg".into());
        add("-cpu", self.cpu(arch).into());
        add("-m", self.memory.to_string());
        add("-display", "none".into());
        add("-monitor", "none".into());
        (0..self.serials_before).for_each(|_| add("-serial", "null".into()));
        add("-serial", "stdio".into());
        add("-kernel", text(load.kernel));
        add("-initrd", text(load.initramfs));
        if let Some(device_tree) = load.device_tree {
            add("-dtb", text(device_tree));
        }
        let console = format!("console={}", self.console);
        let words = [console.as_str(), "panic=-1"].into_iter().chain(self.append.iter().copied());
        add("-append", words.collect::<Vec<_>>().join(" "));
        args.push("-no-reboot".into());
        args.extend(self.bare.then(|| "-nodefaults".into()));
        args
    }
}

/// What QEMU's program for an architecture is called.
pub fn emulator(arch: &Arch) -> String {
    format!("qemu-system-{}", arch.qemu)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn line(machine: &Machine, arch: &str, device_tree: Option<&str>) -> String {
        let load =
            Load { kernel: Path::new("/k"), initramfs: Path::new("/i"), device_tree: device_tree.map(Path::new) };
        machine.arguments(<&Arch>::from_str(arch).unwrap(), load).join(" ")
    }

    #[test]
    fn a_command_line_has_what_the_rows_say() {
        assert_eq!(
            line(&PC, "amd64", None),
            "-no-user-config -M q35 -accel tcg -cpu qemu64 -m 512 -display none -monitor none -serial stdio -kernel /k \
             -initrd /i -append console=ttyS0 panic=-1 -no-reboot -nodefaults"
        );
        assert_eq!(
            line(&RASPBERRY_PI_3, "arm64", Some("/d")),
            "-no-user-config -M raspi3b -accel tcg -cpu cortex-a53 -m 1024 -display none -monitor none -serial null \
             -serial stdio -kernel /k -initrd /i -dtb /d -append console=ttyS1,115200 panic=-1 -no-reboot"
        );
        assert!(line(&ARM_16K, "arm64", None).contains("-cpu cortex-a76"));
        assert!(line(&LOONGSON, "loong64", None).contains("console=ttyS0 panic=-1 initcall_blacklist=i8042_init"));
    }
}

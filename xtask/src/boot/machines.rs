//! The machines that QEMU emulates in addition to those of the table of architectures, and its command line for one.

use std::path::Path;

use crate::arch::{ARM_VIRT, Arch, Machine, VIRT};

/// A kernel with pages of 16 KiB does not start on a processor that has none.
pub static ARM_16K: Machine = Machine { cpu: Some("cortex-a76"), ..ARM_VIRT };

/// Its first serial port belongs to Bluetooth. QEMU insists on the memory of the board, and gives the processor.
pub static RASPBERRY_PI_3: Machine =
    Machine { name: "raspi3b", memory: 1024, bare: false, serials_before: 1, console: "ttyS1,115200", ..VIRT };

/// The first one, and the processor of the Pi Zero. The driver of its power domains looks for a bridge that QEMU's machine does not
/// have, and would crash.
pub static RASPBERRY_PI_1: Machine = Machine {
    name: "raspi1ap",
    cpu: Some("arm1176"),
    bare: false,
    append: &["initcall_blacklist=bcm2835_power_driver_init"],
    ..ARM_VIRT
};

/// What QEMU is given to boot.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    pub kernel: &'a Path,
    pub initramfs: &'a Path,
    pub device_tree: Option<&'a Path>,
}

/// QEMU's words for a machine and its processor; with `kvm`, that of this machine.
pub fn words(machine: &Machine, arch: &Arch, kvm: bool) -> (String, String) {
    match kvm {
        true => (format!("{},accel=kvm", machine.name), "host".into()),
        false => (machine.name.into(), machine.cpu(arch).into()),
    }
}

/// QEMU's arguments. The console is its standard output; a kernel that panics ends it.
pub fn arguments(machine: &Machine, arch: &Arch, load: Load, kvm: bool) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (name, cpu) = words(machine, arch, kvm);
    let mut args: Vec<String> = vec!["-no-user-config".into(), "-M".into(), name];
    let mut add = |flag: &str, value: String| args.extend([flag.into(), value]);
    if !kvm {
        add("-accel", "tcg".into());
    }
    add("-cpu", cpu);
    add("-m", machine.memory.to_string());
    add("-display", "none".into());
    add("-monitor", "none".into());
    (0..machine.serials_before).for_each(|_| add("-serial", "null".into()));
    add("-serial", "stdio".into());
    add("-kernel", text(load.kernel));
    add("-initrd", text(load.initramfs));
    if let Some(device_tree) = load.device_tree {
        add("-dtb", text(device_tree));
    }
    let console = format!("console={}", machine.console);
    let words = [console.as_str(), "panic=-1"].into_iter().chain(machine.append.iter().copied());
    add("-append", words.collect::<Vec<_>>().join(" "));
    args.push("-no-reboot".into());
    args.extend(machine.bare.then(|| "-nodefaults".into()));
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(machine: &Machine, arch: &str, device_tree: Option<&str>) -> String {
        let load =
            Load { kernel: Path::new("/k"), initramfs: Path::new("/i"), device_tree: device_tree.map(Path::new) };
        arguments(machine, Arch::named(arch), load, false).join(" ")
    }

    fn usual(arch: &str) -> String {
        line(&Arch::named(arch).machine, arch, None)
    }

    #[test]
    fn a_processor_that_is_not_translated_is_this_machine_s() {
        let arch = Arch::named("amd64");
        let load = Load { kernel: Path::new("/k"), initramfs: Path::new("/i"), device_tree: None };
        let line = arguments(&arch.machine, arch, load, true).join(" ");
        assert!(line.starts_with("-no-user-config -M q35,accel=kvm -cpu host -m 512 "), "{line}");
    }

    #[test]
    fn a_command_line_has_what_the_rows_say() {
        assert_eq!(
            usual("amd64"),
            "-no-user-config -M q35 -accel tcg -cpu qemu64 -m 512 -display none -monitor none -serial stdio -kernel /k \
             -initrd /i -append console=ttyS0 panic=-1 no_timer_check -no-reboot -nodefaults"
        );
        assert_eq!(
            line(&RASPBERRY_PI_3, "arm64", Some("/d")),
            "-no-user-config -M raspi3b -accel tcg -cpu cortex-a53 -m 1024 -display none -monitor none -serial null \
             -serial stdio -kernel /k -initrd /i -dtb /d -append console=ttyS1,115200 panic=-1 -no-reboot"
        );
        assert!(line(&ARM_16K, "arm64", None).contains("-cpu cortex-a76"));
        assert!(usual("loong64").contains("console=ttyS0 panic=-1 initcall_blacklist=i8042_init"));
    }
}

//! The architectures that can be shipped, one row each: everything that differs between them stands here.

use std::env::consts;
use std::fmt;
use std::str::FromStr;

pub use bpfship_object::Endian;
use object::elf;

use crate::route::Route;
use crate::ui::suggest;

/// One architecture. A column is named after whoever reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Arch {
    /// The word on the command line: Go's GOARCH.
    pub name: &'static str,
    /// Other words people use for it: Rust's, Debian's, the kernel's.
    pub aliases: &'static [&'static str],
    /// Whether it is shipped where `arches` is not set; else it must be named there, or with `--arch`.
    pub by_default: bool,
    /// The Rust target.
    pub triple: &'static str,
    /// Byte order, of the binary and of the BPF objects in it.
    pub endian: Endian,
    /// Bits in a word: the ELF class.
    pub bits: u8,
    /// `e_machine` of the ELF header.
    pub elf_machine: u16,
    /// The largest page, in bytes, that a kernel of this architecture may be built with; segments must be aligned to
    /// it.
    pub max_page_size: u64,
    /// Where its standard library comes from unless `--std` is given.
    pub route: Route,
    /// Whether Rust's release team builds a standard library for it, which rustup can fetch.
    pub in_rustup: bool,
    /// What zig calls it, for the C runtime below a standard library built from source.
    pub zig_target: &'static str,
    /// The processor that rustc's target promises, where zig's default is a newer one.
    pub zig_cpu: Option<&'static str>,
    /// The folder of musl's own headers in zig's `lib/libc/include`.
    pub musl_headers: &'static str,
    /// Flags of clang, so that C code runs on the oldest processor that the Rust target promises.
    pub c_flags: &'static [&'static str],
    /// Arguments of the linker.
    pub link_args: &'static [&'static str],
    /// The first kernel that has this architecture and all that a Rust binary for it needs.
    pub min_kernel: &'static str,
    /// QEMU's word for it (`qemu-WORD`, `qemu-system-WORD`).
    pub qemu: &'static str,
    /// `-cpu` for QEMU: the oldest processor that the binary must start on.
    pub oldest_cpu: &'static str,
    /// The machine that its kernels are booted on, unless a kernel wants another one.
    pub machine: Machine,
    /// Debian's word for it, if Debian still has it.
    pub debian: Option<&'static str>,
    /// What package managers call it.
    pub packages: PackageNames,
    /// What container images call it.
    pub platform: Platform,
    /// The kernel's word for it: a folder in `arch/`, `ARCH=` for its makefiles and what follows `__TARGET_ARCH_` in
    /// libbpf's headers.
    pub linux: &'static str,
    /// The folder of the kernel's headers in zig's `lib/libc/include`.
    pub linux_headers: &'static str,
    /// What its compilers define and those headers ask for: clang defines nothing of it for BPF.
    pub header_macros: &'static [&'static str],
    /// How a kernel image that is no ELF file is recognized.
    pub kernel_magic: Option<Magic>,
    /// How kernels are built for it; `None` if its kernels are Debian's only.
    pub kernel_build: Option<KernelBuild>,
    /// Machines that people know it by.
    pub machines: &'static str,
}

/// What package managers call an architecture; none where no system that uses the format runs on it.
#[derive(Debug, PartialEq, Eq)]
pub struct PackageNames {
    /// dpkg's word (`dpkg-architecture --list`).
    pub deb: Option<&'static str>,
    /// rpm's (`rpmrc`).
    pub rpm: Option<&'static str>,
    /// That of Alpine's apk (its `apk_arch.h`).
    pub apk: Option<&'static str>,
    /// OpenWrt's for opkg, which names processors.
    pub ipk: Option<&'static str>,
    /// pacman's: Arch Linux's, or that of its port.
    pub arch: Option<&'static str>,
}

/// What a container image says of the machines that it is for, in Go's words.
#[derive(Debug, PartialEq, Eq)]
pub struct Platform {
    pub architecture: &'static str,
    pub variant: Option<&'static str>,
}

/// A machine that QEMU emulates. QEMU translates all code (TCG): the same machine on every host, and kernels of five
/// architectures need it anyway.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct Machine {
    /// QEMU's word for it (`-M`).
    pub name: &'static str,
    /// The processor (`-cpu`), where it is not the oldest one that the architecture's binaries must start on.
    pub cpu: Option<&'static str>,
    /// MiB.
    pub memory: u32,
    /// Whether QEMU may leave out what else such a machine has: network, disks, graphics.
    pub bare: bool,
    /// Serial ports before the one that the console is on.
    pub serials_before: usize,
    /// The device of the console in the guest.
    pub console: &'static str,
    /// More arguments of the kernel's.
    pub append: &'static [&'static str],
}

impl Machine {
    /// The processor that it is given.
    pub fn cpu(&self, arch: &Arch) -> &'static str {
        self.cpu.unwrap_or(arch.oldest_cpu)
    }
}

/// What machines have in common unless their rows set it.
pub const VIRT: Machine =
    Machine { name: "virt", cpu: None, memory: 512, bare: true, serials_before: 0, console: "ttyS0", append: &[] };

/// arm64's usual machine.
pub const ARM_VIRT: Machine = Machine { console: "ttyAMA0", ..VIRT };

/// rust-lld only warns, and rustc does not show it, where it cannot find the lower half of an address whose upper half code has:
/// the binary would read elsewhere. clang's assembler leaves such code where `la` names what comes later, with `.option pic2`.
const MIPS_LINK: &str = "--fatal-warnings";

/// Where a `bzImage` says what it is.
const PC_KERNEL: Magic = Magic { offset: 0x202, bytes: b"HdrS" };

/// Where a `zImage` of 32-bit ARM says what it is.
const ARM_KERNEL: Magic = Magic { offset: 0x24, bytes: b"\x18\x28\x6f\x01" };

/// Bytes at an offset of a file, by which its kind is recognized.
#[derive(Debug, PartialEq, Eq)]
pub struct Magic {
    pub offset: usize,
    pub bytes: &'static [u8],
}

/// What the build of a kernel needs to know of an architecture.
#[derive(Debug, PartialEq, Eq)]
pub struct KernelBuild {
    /// The options of QEMU's machine.
    pub options: ConfigFile,
    /// Whether QEMU needs a raw image, such as arm64's `Image`: it gives a device tree to no other. Else an ELF file.
    pub raw: bool,
}

/// A file of kernel options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ConfigFile {
    pub name: &'static str,
    pub text: &'static str,
}

/// A [`ConfigFile`] of boot/kernels/config.
macro_rules! config_file {
    ($name:literal) => {
        $crate::arch::ConfigFile {
            name: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/boot/kernels/config/", $name)),
        }
    };
}
pub(crate) use config_file;

/// An architecture to build for, and where its standard library comes from.
pub type Target = (&'static Arch, Route);

const KIB: u64 = 1024;

/// Every architecture, in the order in which they are shown and built.
pub static ARCHES: [Arch; 11] = [
    Arch {
        name: "amd64",
        aliases: &["x86_64", "x64"],
        by_default: true,
        triple: "x86_64-unknown-linux-musl",
        endian: Endian::Little,
        bits: 64,
        elf_machine: elf::EM_X86_64,
        max_page_size: 4 * KIB,
        route: Route::Prebuilt,
        in_rustup: true,
        zig_target: "x86_64-linux-musl",
        zig_cpu: None,
        musl_headers: "x86_64-linux-musl",
        c_flags: &["-march=x86-64"],
        link_args: &[],
        min_kernel: "3.2",
        qemu: "x86_64",
        oldest_cpu: "qemu64",
        // Where the machine has too much to do, the kernel takes the timer for broken.
        machine: Machine { name: "q35", append: &["no_timer_check"], ..VIRT },
        debian: Some("amd64"),
        packages: PackageNames {
            deb: Some("amd64"),
            rpm: Some("x86_64"),
            apk: Some("x86_64"),
            ipk: Some("x86_64"),
            arch: Some("x86_64"),
        },
        platform: Platform { architecture: "amd64", variant: None },
        linux: "x86",
        linux_headers: "x86-linux-any",
        header_macros: &[],
        kernel_magic: Some(PC_KERNEL),
        kernel_build: None,
        machines: "PCs, servers",
    },
    Arch {
        name: "arm64",
        aliases: &["aarch64"],
        by_default: true,
        triple: "aarch64-unknown-linux-musl",
        endian: Endian::Little,
        bits: 64,
        elf_machine: elf::EM_AARCH64,
        max_page_size: 64 * KIB,
        route: Route::Prebuilt,
        in_rustup: true,
        zig_target: "aarch64-linux-musl",
        zig_cpu: None,
        musl_headers: "aarch64-linux-musl",
        c_flags: &["-march=armv8-a", "-mno-outline-atomics"],
        link_args: &[],
        min_kernel: "4.1",
        qemu: "aarch64",
        oldest_cpu: "cortex-a53",
        machine: ARM_VIRT,
        debian: Some("arm64"),
        packages: PackageNames {
            deb: Some("arm64"),
            rpm: Some("aarch64"),
            apk: Some("aarch64"),
            ipk: Some("aarch64_generic"),
            arch: Some("aarch64"),
        },
        platform: Platform { architecture: "arm64", variant: Some("v8") },
        linux: "arm64",
        linux_headers: "aarch64-linux-any",
        header_macros: &[],
        kernel_magic: Some(Magic { offset: 56, bytes: b"ARM\x64" }),
        kernel_build: Some(KernelBuild { options: config_file!("arm64.config"), raw: true }),
        machines: "Raspberry Pi 3 and later (64-bit), Graviton",
    },
    Arch {
        name: "riscv64",
        aliases: &["riscv64gc"],
        by_default: true,
        triple: "riscv64gc-unknown-linux-musl",
        endian: Endian::Little,
        bits: 64,
        elf_machine: elf::EM_RISCV,
        max_page_size: 4 * KIB,
        route: Route::Source,
        in_rustup: true,
        zig_target: "riscv64-linux-musl",
        zig_cpu: None,
        musl_headers: "riscv64-linux-musl",
        c_flags: &["-march=rv64gc", "-mabi=lp64d"],
        link_args: &[],
        min_kernel: "4.20",
        qemu: "riscv64",
        oldest_cpu: "sifive-u54",
        machine: VIRT,
        debian: Some("riscv64"),
        packages: PackageNames {
            deb: Some("riscv64"),
            rpm: Some("riscv64"),
            apk: Some("riscv64"),
            ipk: Some("riscv64_generic"),
            arch: Some("riscv64"),
        },
        platform: Platform { architecture: "riscv64", variant: None },
        linux: "riscv",
        linux_headers: "riscv-linux-any",
        header_macros: &[],
        kernel_magic: Some(Magic { offset: 56, bytes: b"RSC\x05" }),
        kernel_build: None,
        machines: "VisionFive 2, SiFive boards",
    },
    Arch {
        name: "loong64",
        aliases: &["loongarch64"],
        by_default: true,
        triple: "loongarch64-unknown-linux-musl",
        endian: Endian::Little,
        bits: 64,
        elf_machine: elf::EM_LOONGARCH,
        max_page_size: 64 * KIB,
        route: Route::Source,
        in_rustup: true,
        zig_target: "loongarch64-linux-musl",
        zig_cpu: None,
        musl_headers: "loongarch64-linux-musl",
        c_flags: &["-march=loongarch64", "-mlsx"],
        link_args: &[],
        min_kernel: "5.19",
        qemu: "loongarch64",
        oldest_cpu: "la464",
        // Without firmware there is no ISA bus, and the keyboard's driver would crash looking for it.
        machine: Machine { append: &["initcall_blacklist=i8042_init"], ..VIRT },
        debian: Some("loong64"),
        packages: PackageNames {
            deb: Some("loong64"),
            rpm: Some("loongarch64"),
            apk: Some("loongarch64"),
            ipk: Some("loongarch64_generic"),
            arch: Some("loong64"),
        },
        platform: Platform { architecture: "loong64", variant: None },
        linux: "loongarch",
        linux_headers: "loongarch-linux-any",
        header_macros: &[],
        kernel_magic: Some(Magic { offset: 56, bytes: b"\xcd\x23\x82\x81" }),
        kernel_build: Some(KernelBuild { options: config_file!("loong64.config"), raw: false }),
        machines: "Loongson 3A5000 and later",
    },
    Arch {
        name: "s390x",
        aliases: &["systemz"],
        by_default: true,
        triple: "s390x-unknown-linux-musl",
        endian: Endian::Big,
        bits: 64,
        elf_machine: elf::EM_S390,
        max_page_size: 4 * KIB,
        route: Route::Source,
        in_rustup: false,
        zig_target: "s390x-linux-musl",
        zig_cpu: Some("z10"),
        musl_headers: "s390x-linux-musl",
        c_flags: &["-march=z10"],
        link_args: &[],
        min_kernel: "3.2",
        qemu: "s390x",
        oldest_cpu: "max,vx=off",
        machine: Machine { name: "s390-ccw-virtio", console: "ttysclp0", ..VIRT },
        debian: Some("s390x"),
        packages: PackageNames { deb: Some("s390x"), rpm: Some("s390x"), apk: Some("s390x"), ipk: None, arch: None },
        platform: Platform { architecture: "s390x", variant: None },
        linux: "s390",
        linux_headers: "s390x-linux-any",
        header_macros: &[],
        kernel_magic: Some(Magic { offset: 0x10008, bytes: b"S390EP" }),
        kernel_build: None,
        machines: "IBM Z and LinuxONE mainframes",
    },
    Arch {
        name: "mips",
        aliases: &["mips32"],
        by_default: true,
        triple: "mips-unknown-linux-musl",
        endian: Endian::Big,
        bits: 32,
        elf_machine: elf::EM_MIPS,
        max_page_size: 64 * KIB,
        route: Route::Source,
        in_rustup: false,
        zig_target: "mips-linux-musleabi",
        zig_cpu: None,
        musl_headers: "mips-linux-musl",
        c_flags: &["-march=mips32r2", "-msoft-float"],
        link_args: &[MIPS_LINK],
        min_kernel: "4.4",
        qemu: "mips",
        oldest_cpu: "24Kc",
        machine: Machine { name: "malta", cpu: Some("24Kf"), memory: 256, ..VIRT },
        debian: None,
        packages: PackageNames {
            deb: Some("mips"),
            rpm: Some("mips"),
            apk: Some("mips"),
            ipk: Some("mips_24kc"),
            arch: None,
        },
        platform: Platform { architecture: "mips", variant: None },
        linux: "mips",
        linux_headers: "mips-linux-any",
        header_macros: &["__MIPSEB__", "_MIPS_SIM=1", "_MIPS_SZLONG=32"],
        kernel_magic: None,
        kernel_build: Some(KernelBuild { options: config_file!("mips.config"), raw: false }),
        machines: "big-endian 32-bit routers (soft float)",
    },
    Arch {
        name: "arm",
        aliases: &["armv6", "armv6l", "armv6hf", "armv6kz", "arm/v6"],
        by_default: false,
        triple: "arm-unknown-linux-musleabihf",
        endian: Endian::Little,
        bits: 32,
        elf_machine: elf::EM_ARM,
        max_page_size: 64 * KIB,
        route: Route::Source,
        in_rustup: true,
        zig_target: "arm-linux-musleabihf",
        zig_cpu: Some("arm1176jzf_s"),
        musl_headers: "arm-linux-musl",
        c_flags: &["-march=armv6", "-mfpu=vfpv2", "-mfloat-abi=hard"],
        link_args: &[],
        min_kernel: "3.2",
        qemu: "arm",
        oldest_cpu: "arm1176",
        machine: Machine { cpu: Some("cortex-a7"), ..ARM_VIRT },
        debian: Some("armel"),
        packages: PackageNames {
            deb: Some("armhf"),
            rpm: Some("armv6hl"),
            apk: Some("armhf"),
            ipk: Some("arm_arm1176jzf-s_vfp"),
            arch: Some("armv6h"),
        },
        platform: Platform { architecture: "arm", variant: Some("v6") },
        linux: "arm",
        linux_headers: "arm-linux-any",
        header_macros: &["__ARM_EABI__"],
        kernel_magic: Some(ARM_KERNEL),
        kernel_build: None,
        machines: "Raspberry Pi Zero and 1, and what armv7 runs on",
    },
    Arch {
        name: "armv7",
        aliases: &["armv7l", "armv7a", "armv7hf", "armv8l", "arm/v7"],
        by_default: false,
        triple: "armv7-unknown-linux-musleabihf",
        endian: Endian::Little,
        bits: 32,
        elf_machine: elf::EM_ARM,
        max_page_size: 64 * KIB,
        route: Route::Source,
        in_rustup: true,
        zig_target: "arm-linux-musleabihf",
        // The generic one of this version has NEON and 32 registers, which the target does not promise.
        zig_cpu: Some("generic+v7a+vfp3d16-d32-neon"),
        musl_headers: "arm-linux-musl",
        c_flags: &["-march=armv7-a", "-mfpu=vfpv3-d16", "-mfloat-abi=hard"],
        link_args: &[],
        min_kernel: "3.2",
        qemu: "arm",
        oldest_cpu: "cortex-a8,neon=off,vfp-d32=off",
        machine: Machine { cpu: Some("cortex-a7"), ..ARM_VIRT },
        debian: Some("armhf"),
        packages: PackageNames {
            deb: Some("armhf"),
            rpm: Some("armv7hl"),
            apk: Some("armv7"),
            ipk: Some("arm_cortex-a9_vfpv3-d16"),
            arch: Some("armv7h"),
        },
        platform: Platform { architecture: "arm", variant: Some("v7") },
        linux: "arm",
        linux_headers: "arm-linux-any",
        header_macros: &["__ARM_EABI__"],
        kernel_magic: Some(ARM_KERNEL),
        kernel_build: None,
        machines: "Raspberry Pi 2, 32-bit gateways",
    },
    Arch {
        name: "ppc64le",
        aliases: &["powerpc64le", "ppc64el"],
        by_default: false,
        triple: "powerpc64le-unknown-linux-musl",
        endian: Endian::Little,
        bits: 64,
        elf_machine: elf::EM_PPC64,
        max_page_size: 64 * KIB,
        route: Route::Source,
        in_rustup: true,
        zig_target: "powerpc64le-linux-musl",
        zig_cpu: Some("pwr8"),
        musl_headers: "powerpc64-linux-musl",
        c_flags: &["-mcpu=pwr8"],
        link_args: &[],
        min_kernel: "3.13",
        qemu: "ppc64le",
        oldest_cpu: "power8",
        machine: Machine { name: "pseries", memory: 1024, console: "hvc0", ..VIRT },
        debian: Some("ppc64el"),
        packages: PackageNames {
            deb: Some("ppc64el"),
            rpm: Some("ppc64le"),
            apk: Some("ppc64le"),
            ipk: None,
            arch: Some("powerpc64le"),
        },
        platform: Platform { architecture: "ppc64le", variant: None },
        linux: "powerpc",
        linux_headers: "powerpc-linux-any",
        header_macros: &["__powerpc64__", "__LITTLE_ENDIAN__", "_CALL_ELF=2"],
        kernel_magic: None,
        kernel_build: None,
        machines: "IBM POWER8 and later",
    },
    Arch {
        name: "mipsle",
        aliases: &["mipsel", "mips32el"],
        by_default: false,
        triple: "mipsel-unknown-linux-musl",
        endian: Endian::Little,
        bits: 32,
        elf_machine: elf::EM_MIPS,
        max_page_size: 64 * KIB,
        route: Route::Source,
        in_rustup: false,
        zig_target: "mipsel-linux-musleabi",
        zig_cpu: None,
        musl_headers: "mips-linux-musl",
        c_flags: &["-march=mips32r2", "-msoft-float"],
        link_args: &[MIPS_LINK],
        min_kernel: "4.4",
        qemu: "mipsel",
        oldest_cpu: "24Kc",
        machine: Machine { name: "malta", cpu: Some("24Kf"), memory: 256, ..VIRT },
        debian: Some("mipsel"),
        packages: PackageNames {
            deb: Some("mipsel"),
            rpm: Some("mipsel"),
            apk: Some("mipsel"),
            ipk: Some("mipsel_24kc"),
            arch: None,
        },
        platform: Platform { architecture: "mipsle", variant: None },
        linux: "mips",
        linux_headers: "mips-linux-any",
        header_macros: &["__MIPSEL__", "_MIPS_SIM=1", "_MIPS_SZLONG=32"],
        kernel_magic: None,
        kernel_build: None,
        machines: "little-endian 32-bit routers, such as those with an MT7621 (soft float)",
    },
    Arch {
        name: "386",
        aliases: &["i386", "i686", "x86"],
        by_default: false,
        // i586 would do without SSE2, but computes with the x87, whose results are not those of IEEE 754.
        triple: "i686-unknown-linux-musl",
        endian: Endian::Little,
        bits: 32,
        elf_machine: elf::EM_386,
        max_page_size: 4 * KIB,
        route: Route::Prebuilt,
        in_rustup: true,
        zig_target: "x86-linux-musl",
        zig_cpu: Some("pentium4"),
        musl_headers: "x86-linux-musl",
        c_flags: &["-march=pentium4"],
        link_args: &[],
        min_kernel: "3.2",
        qemu: "i386",
        // What a Pentium 4 has that programs use.
        oldest_cpu: "pentium3,sse2=on",
        machine: Machine { name: "q35", append: &["no_timer_check"], ..VIRT },
        debian: Some("i386"),
        packages: PackageNames {
            deb: Some("i386"),
            rpm: Some("i686"),
            apk: Some("x86"),
            ipk: Some("i386_pentium4"),
            arch: Some("pentium4"),
        },
        platform: Platform { architecture: "386", variant: None },
        // The word for its makefiles only. libbpf's headers know none, and have the registers of x86_64 for `x86`.
        linux: "i386",
        linux_headers: "x86-linux-any",
        header_macros: &["__i386__"],
        kernel_magic: Some(PC_KERNEL),
        kernel_build: None,
        machines: "32-bit PCs with SSE2: Pentium 4, Pentium M and later",
    },
];

/// What people ask for and there is no row for, and why.
const UNSUPPORTED: [(&[&str], &str); 11] = [
    (
        &["armhf", "arm32"],
        "it is `armv7` for Debian, and `arm` for Raspberry Pi OS, whose 32-bit systems also run on a Pi Zero and 1",
    ),
    (&["armel"], "it has no floating-point unit; a Raspberry Pi Zero or 1 has one, and runs `arm` under any system"),
    (&["armv4", "armv4t", "armv5", "armv5te", "armv5tel"], "`arm` is ARMv6 with a floating-point unit, or newer"),
    (
        &["i486", "i586"],
        "it has no SSE2, which a Pentium 4 or later has, and Rust's floating-point arithmetic wants; those run `386`",
    ),
    (
        &["mips64", "mips64le", "mips64el"],
        "it was not tried; a 64-bit kernel that runs 32-bit programs runs `mips` or `mipsle`",
    ),
    (
        &["ppc64", "powerpc64"],
        "Debian has no big-endian kernel to prove it on; POWER8 and later also run little-endian systems, and those `ppc64le`",
    ),
    (&["riscv32", "riscv32gc"], "Debian has no kernel to prove it on"),
    (
        &["pi", "rpi", "raspberrypi", "raspberry-pi", "pi3", "pi4", "pi5", "rpi3", "rpi4", "rpi5"],
        "`uname -m` on the Raspberry Pi says which it is: `aarch64` is `arm64`, `armv7l` is `armv7`, and `armv6l` is `arm`",
    ),
    (&["pi0", "pi1", "rpi0", "rpi1"], "a Raspberry Pi Zero or 1 is `arm`"),
    (&["pi2", "rpi2"], "a Raspberry Pi 2 is `armv7`"),
    (&["all", "*"], "without `--arch`, every configured architecture is meant"),
];

/// As its name: the rest of the row is known.
impl serde::Serialize for Arch {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// By its name, which is how it is written, and none of its aliases.
impl<'de> serde::Deserialize<'de> for &'static Arch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let row = ARCHES.iter().find(|arch| arch.name == name);
        row.ok_or_else(|| serde::de::Error::custom(format!("unknown architecture `{name}`")))
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Looks an architecture up by its name, one of its aliases or its Rust target.
impl FromStr for &'static Arch {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        // As containers' platforms have it.
        let word = word.strip_prefix("linux/").unwrap_or(word);
        ARCHES.iter().find(|arch| arch.words().any(|known| known.eq_ignore_ascii_case(word))).ok_or_else(|| {
            let shown = suggest::cut(word);
            let names: Vec<_> = ARCHES.iter().map(|arch| arch.name).collect();
            let names = names.join(", ");
            if let Some((_, reason)) = UNSUPPORTED.iter().find(|(words, _)| words.contains(&&*word.to_lowercase())) {
                return format!("`{shown}` is no target here: {reason}; known are {names}");
            }
            let guess = match suggest::nearest(word, ARCHES.iter().flat_map(Arch::words)) {
                Some(near) => format!("did you mean `{near}`? "),
                None => String::new(),
            };
            format!("unknown architecture `{shown}`: {guess}known are {names}")
        })
    }
}

impl Arch {
    /// The architecture of this name, for rows of other tables. A name that is not in the table does not compile there.
    pub const fn named(name: &str) -> &'static Arch {
        let mut index = 0;
        while index < ARCHES.len() {
            if same(ARCHES[index].name, name) {
                return &ARCHES[index];
            }
            index += 1;
        }
        panic!("no such architecture")
    }

    /// The one of the machine that this tool runs on.
    pub fn of_this_machine() -> Option<&'static Arch> {
        // Rust has one word for both byte orders.
        let endian = if cfg!(target_endian = "big") { Endian::Big } else { Endian::Little };
        ARCHES.iter().find(|arch| arch.rust() == consts::ARCH && arch.endian == endian)
    }

    /// Those that are shipped where none are named.
    pub fn defaults() -> impl Iterator<Item = &'static Arch> {
        ARCHES.iter().filter(|arch| arch.by_default)
    }

    /// Rust's word for it (`target_arch`): the target's, without the version of the instruction set and the byte order.
    pub fn rust(&self) -> &'static str {
        let word = self.triple.split('-').next().unwrap_or_default();
        if word == "i686" {
            return "x86";
        }
        ["gc", "v7", "le", "el"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word)
    }

    /// What clang calls it: as zig does, which has another word for one architecture only.
    pub fn clang_target(&self) -> String {
        match self.zig_target.strip_prefix("x86-") {
            Some(system) => format!("i686-{system}"),
            None => self.zig_target.into(),
        }
    }

    /// The one that the kernel calls the same, of this byte order: for some, it has one word for both.
    pub fn of_byte_order(&'static self, endian: Endian) -> Option<&'static Arch> {
        let is_it = |other: &&Arch| other.linux == self.linux && other.bits == self.bits && other.endian == endian;
        [self].into_iter().chain(&ARCHES).find(is_it)
    }

    /// Itself, or what there is an archive for in its place: ARMv6 runs on all that came later.
    pub fn or_older(&'static self, released: &[&'static Arch]) -> &'static Arch {
        let older = Arch::named("arm");
        let is_there = |arch: &'static Arch| released.contains(&arch);
        if self.linux == older.linux && !is_there(self) && is_there(older) { older } else { self }
    }

    /// QEMU's program that emulates a whole machine.
    pub fn emulator(&self) -> String {
        format!("qemu-system-{}", self.qemu)
    }

    fn words(&self) -> impl Iterator<Item = &'static str> {
        [self.name, self.triple].into_iter().chain(self.aliases.iter().copied())
    }
}

/// `==`, which `const` functions do not have yet.
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

/// What the schema of the configuration says of a word for an architecture: one of these names, or an alias.
#[cfg(test)]
pub fn schema_of_word() -> serde_json::Value {
    serde_json::json!({ "anyOf": [{ "enum": ARCHES.each_ref().map(|arch| arch.name) }, { "type": "string" }] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_names_one_architecture() {
        let mut words: Vec<_> = ARCHES.iter().flat_map(Arch::words).collect();
        let all = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), all);
    }

    #[test]
    fn an_alias_and_a_triple_are_as_good_as_the_name() {
        for word in ["arm64", "aarch64", "aarch64-unknown-linux-musl", "linux/arm64"] {
            assert_eq!(<&Arch>::from_str(word).unwrap().name, "arm64");
        }
    }

    #[test]
    fn capitals_do_not_matter_and_what_is_not_supported_has_a_reason() {
        assert_eq!(<&Arch>::from_str("ARM64").unwrap().name, "arm64");
        assert_eq!(<&Arch>::from_str("S390X-Unknown-Linux-Musl").unwrap().name, "s390x");
        for (words, reason) in UNSUPPORTED {
            for word in words {
                let error = <&Arch>::from_str(&word.to_uppercase()).unwrap_err();
                assert!(error.contains(&format!("is no target here: {reason}; known are amd64")), "{error}");
            }
        }
        assert!(<&Arch>::from_str(&"a".repeat(100_000)).unwrap_err().len() < 300);
    }

    #[test]
    fn a_misspelt_architecture_suggests_the_right_one() {
        let error = <&Arch>::from_str("arm46").unwrap_err();
        assert_eq!(
            error,
            "unknown architecture `arm46`: did you mean `arm64`? known are amd64, arm64, riscv64, loong64, s390x, mips, arm, \
             armv7, ppc64le, mipsle, 386"
        );
    }

    #[test]
    fn a_word_like_nothing_known_gets_no_guess() {
        let error = <&Arch>::from_str("sparc").unwrap_err();
        assert!(error.starts_with("unknown architecture `sparc`: known are"), "{error}");
    }
}

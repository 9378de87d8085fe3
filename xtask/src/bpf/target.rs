//! The targets that BPF objects are compiled for, one row each, and how an object is named after its target.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::arch::{Arch, Endian};

/// What an object is compiled for.
#[derive(Debug, PartialEq, Eq)]
pub struct BpfTarget {
    /// What its objects are named after: `bpfel` in `tick_bpfel.o`.
    pub name: &'static str,
    pub endian: Endian,
    /// What follows `__TARGET_ARCH_` in libbpf's headers; `None` if an object is for all architectures of this byte
    /// order.
    pub arch_word: Option<&'static str>,
    /// The folder of the kernel's headers (`asm/…`) in zig's `lib/libc/include`. Where an object is for several
    /// architectures, the headers of any of them would do.
    pub headers: &'static str,
    /// What those headers ask for besides.
    pub macros: &'static [&'static str],
}

/// Every target, in the order in which objects are compiled and shown: those for a byte order, then one for each architecture.
pub static TARGETS: [BpfTarget; 12] = [
    BpfTarget {
        name: "bpfel",
        endian: Endian::Little,
        arch_word: None,
        headers: Arch::named("amd64").linux_headers,
        macros: &[],
    },
    BpfTarget {
        name: "bpfeb",
        endian: Endian::Big,
        arch_word: None,
        headers: Arch::named("s390x").linux_headers,
        macros: &[],
    },
    BpfTarget::of_arch("x86_bpfel", Arch::named("amd64")),
    BpfTarget::of_arch("arm64_bpfel", Arch::named("arm64")),
    BpfTarget::of_arch("riscv_bpfel", Arch::named("riscv64")),
    BpfTarget::of_arch("loongarch_bpfel", Arch::named("loong64")),
    BpfTarget::of_arch("s390_bpfeb", Arch::named("s390x")),
    BpfTarget::of_arch("mips_bpfeb", Arch::named("mips")),
    // Of all generations: none of them is known to the kernel or to libbpf.
    BpfTarget::of_arch("arm_bpfel", Arch::named("arm")),
    BpfTarget::of_arch("powerpc_bpfel", Arch::named("ppc64le")),
    BpfTarget::of_arch("mips_bpfel", Arch::named("mipsle")),
    BpfTarget::of_arch("i386_bpfel", Arch::named("386")),
];

impl BpfTarget {
    const fn of_arch(name: &'static str, arch: &'static Arch) -> BpfTarget {
        let Arch { endian, linux, linux_headers: headers, header_macros: macros, .. } = *arch;
        BpfTarget { name, endian, arch_word: Some(linux), headers, macros }
    }

    /// The target whose objects are for this architecture only.
    pub fn only_for(arch: &Arch) -> &'static BpfTarget {
        let is_it = |target: &&BpfTarget| target.arch_word == Some(arch.linux) && target.endian == arch.endian;
        TARGETS.iter().find(is_it).expect("a row for each architecture")
    }

    /// What a user calls it: an architecture, or a byte order. Its whole name where the architecture has both orders.
    pub fn shown(&self) -> &'static str {
        let is_other = |other: &BpfTarget| other.arch_word == self.arch_word && other.endian != self.endian;
        self.arch_word.filter(|_| !TARGETS.iter().any(is_other)).unwrap_or(self.name)
    }

    /// The target whose objects are for every architecture of this byte order.
    pub fn of_byte_order(endian: Endian) -> &'static BpfTarget {
        match endian {
            Endian::Little => &TARGETS[0],
            Endian::Big => &TARGETS[1],
        }
    }

    /// Whether its objects are for this architecture.
    pub fn is_for(&self, arch: &Arch) -> bool {
        self.endian == arch.endian && self.arch_word.is_none_or(|word| word == arch.linux)
    }
}

impl fmt::Display for BpfTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// As its name: the rest of the row is known.
impl Serialize for BpfTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// The name of an object's file: `tick_bpfel.o`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// What the objects of one source share: `tick`.
    pub stem: String,
    pub target: &'static BpfTarget,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}.o", self.stem, self.target)
    }
}

impl FromStr for ObjectName {
    type Err = String;

    fn from_str(text: &str) -> Result<ObjectName, String> {
        let of = |target: &'static BpfTarget| {
            let stem = text.strip_suffix(&format!("_{target}.o"))?.to_owned();
            Some(ObjectName { stem, target })
        };
        // What ends with `_x86_bpfel.o` ends with `_bpfel.o`, too.
        let (all, one) = TARGETS.split_at(2);
        one.iter().chain(all).find_map(of).ok_or_else(|| {
            let names: Vec<String> = all.iter().map(|target| format!("NAME_{target}.o")).collect();
            format!("`{text}` is no name of a BPF object: {} is expected", names.join(" or "))
        })
    }
}

impl Serialize for ObjectName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ObjectName, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::arch::ARCHES;

    #[test]
    fn an_object_is_known_by_its_name() {
        for text in ["tick_bpfel.o", "tick_tock_bpfeb.o"] {
            assert_eq!(text.parse::<ObjectName>().unwrap().to_string(), text);
        }
        assert_eq!("tick_bpfeb.o".parse::<ObjectName>().unwrap().target.endian, Endian::Big);
        assert_eq!(
            "tick.o".parse::<ObjectName>().unwrap_err(),
            "`tick.o` is no name of a BPF object: NAME_bpfel.o or NAME_bpfeb.o is expected"
        );
    }

    #[test]
    fn an_object_for_one_architecture_is_known_by_its_name() {
        let name: ObjectName = "tick_x86_bpfel.o".parse().unwrap();
        assert_eq!((name.stem.as_str(), name.target.arch_word), ("tick", Some("x86")));
        assert_eq!("tick_x87_bpfel.o".parse::<ObjectName>().unwrap().stem, "tick_x87");
    }

    #[test]
    fn every_architecture_has_a_target_of_its_byte_order_and_one_for_itself_only() {
        for endian in Endian::ALL {
            let target = BpfTarget::of_byte_order(endian);
            assert_eq!((target.endian, target.arch_word, target.name), (endian, None, endian.bpf_target()));
        }
        let key = |arch: &Arch| (arch.linux, arch.endian);
        let keys: BTreeSet<_> = ARCHES.iter().map(key).collect();
        assert_eq!(TARGETS.len(), 2 + keys.len());
        for arch in &ARCHES {
            let target = BpfTarget::only_for(arch);
            assert_eq!(target.name, format!("{}_{}", arch.linux, arch.endian.bpf_target()));
            assert!(ARCHES.iter().all(|other| target.is_for(other) == (key(other) == key(arch))));
            let first = ARCHES.iter().find(|first| key(first) == key(arch)).unwrap();
            assert_eq!((target.headers, target.macros), (first.linux_headers, first.header_macros));
            assert_eq!(
                (arch.linux_headers, arch.header_macros, arch.rust()),
                (first.linux_headers, first.header_macros, first.rust())
            );
            assert!(BpfTarget::of_byte_order(arch.endian).is_for(arch));
        }
    }
}

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
}

/// Every target, in the order in which objects are compiled and shown.
pub static TARGETS: [BpfTarget; 2] = [
    BpfTarget { name: "bpfel", endian: Endian::Little, arch_word: None, headers: Arch::named("amd64").linux_headers },
    BpfTarget { name: "bpfeb", endian: Endian::Big, arch_word: None, headers: Arch::named("s390x").linux_headers },
];

impl BpfTarget {
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
        TARGETS.iter().find_map(of).ok_or_else(|| {
            let names: Vec<String> = TARGETS.iter().map(|target| format!("NAME_{target}.o")).collect();
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
    fn every_architecture_has_a_target_and_one_with_a_word_is_for_that_architecture_only() {
        for endian in Endian::ALL {
            let target = BpfTarget::of_byte_order(endian);
            assert_eq!((target.endian, target.arch_word), (endian, None));
        }
        assert!(ARCHES.iter().all(|arch| TARGETS.iter().any(|target| target.is_for(arch))));
        let arm64 = BpfTarget { arch_word: Some("arm64"), ..TARGETS[0] };
        let of: Vec<&str> = ARCHES.iter().filter(|arch| arm64.is_for(arch)).map(|arch| arch.name).collect();
        assert_eq!(of, ["arm64"]);
    }
}

//! The BPF half as it lies in the repository: its sources keep to the one way of reading, and its objects have the
//! layout that the Rust half reads. Needs no kernel.

use std::{
    fs,
    mem::{offset_of, size_of},
    path::{Path, PathBuf},
};

use exectrace_bpf::{EventHeader, ExecEvent, ExitEvent, FailedEvent};
use object::{Object as _, ObjectSection as _};

fn bpf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bpf")
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut sources = Vec::new();
    for folder in [bpf(), bpf().join("include")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "c" || extension == "h") {
                sources.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(sources.len() >= 3, "{sources:?}");
    sources
}

/// What reads as many bytes as BPF's own type has, which is wrong for a pointer or a long of a 32-bit kernel.
const WRONG_READS: &[&str] =
    &["BPF_CORE_READ", "BPF_PROBE_READ", "bpf_core_read(", "PT_REGS_", "bpf_probe_read(", "bpf_get_current_task_btf"];

#[test]
fn kernel_fields_are_read_through_one_macro() {
    for (path, source) in sources() {
        for (index, line) in source.lines().enumerate() {
            for wrong in WRONG_READS {
                assert!(
                    !line.contains(wrong),
                    "{}:{}: {wrong} reads 8 bytes where a 32-bit kernel has 4: use KREAD",
                    path.display(),
                    index + 1
                );
            }
        }
    }
}

#[test]
fn one_source_serves_all_architectures() {
    for (path, source) in sources() {
        assert!(!source.contains("__TARGET_ARCH"), "{}", path.display());
        assert!(
            source.starts_with("/* SPDX-License-Identifier: MIT OR GPL-2.0-only */\n/* "),
            "{}: no licence, or not a word about what it is",
            path.display()
        );
    }
}

/// A program and its section.
type Program = (&'static str, &'static str);

/// What is embedded, and the programs in it.
fn embedded() -> [(&'static str, &'static [u8], Vec<Program>); 3] {
    let structs = vec![
        ("on_exec", "raw_tp/sched_process_exec"),
        ("on_execve", "tracepoint/syscalls/sys_enter_execve"),
        ("on_execve_end", "tracepoint/syscalls/sys_exit_execve"),
        ("on_execveat", "tracepoint/syscalls/sys_enter_execveat"),
        ("on_execveat_end", "tracepoint/syscalls/sys_exit_execveat"),
        ("on_exit", "raw_tp/sched_process_exit"),
        ("on_fork", "raw_tp/sched_process_fork"),
    ];
    let tracepoints = vec![
        ("on_exec", "tracepoint/sched/sched_process_exec"),
        ("on_exit", "tracepoint/sched/sched_process_exit"),
        ("on_exit_group", "tracepoint/syscalls/sys_enter_exit_group"),
        ("on_exit_thread", "tracepoint/syscalls/sys_enter_exit"),
        ("on_new_task", "tracepoint/task/task_newtask"),
        ("on_signal_sent", "tracepoint/signal/signal_generate"),
        ("on_signal_taken", "tracepoint/signal/signal_deliver"),
    ];
    [
        ("exectrace", exectrace_bpf::exectrace(), structs.clone()),
        ("exectrace_perf", exectrace_bpf::exectrace_perf(), structs),
        ("tracepoints", exectrace_bpf::tracepoints(), tracepoints),
    ]
}

#[test]
fn the_embedded_objects_are_those_of_this_byte_order() {
    for (name, object, _) in embedded() {
        let file = format!("{name}_{}.o", if cfg!(target_endian = "big") { "bpfeb" } else { "bpfel" });
        assert_eq!(object, fs::read(bpf().join("objects").join(file)).unwrap());
        assert_eq!(object.as_ptr().align_offset(8), 0);
    }
}

#[test]
fn the_loader_understands_the_embedded_objects() {
    for (name, bytes, expected) in embedded() {
        // aya-obj parses the BTF of its own byte order only.
        let object = aya_obj::Object::parse(bytes).unwrap();
        let mut programs: Vec<&str> = object.programs.keys().map(String::as_str).collect();
        programs.sort_unstable();
        assert_eq!(programs, expected.iter().map(|(program, _)| *program).collect::<Vec<_>>(), "{name}");
        assert_eq!(object.license.to_str(), Ok("Dual MIT/GPL"));
        // Where there is no BTF, aya would load such a program as if it needed none.
        assert_eq!(object.has_btf_relocations(), name != "tracepoints", "{name}");
    }
}

#[test]
fn objects_of_both_byte_orders_hold_the_same_programs() {
    for (name, _, expected) in embedded() {
        for (order, little_endian) in [("bpfel", true), ("bpfeb", false)] {
            let name = format!("{name}_{order}.o");
            let bytes = object_file(&name);
            let file = object::File::parse(&*bytes).unwrap();
            assert_eq!(file.architecture(), object::Architecture::Bpf, "{name}");
            assert_eq!(file.is_little_endian(), little_endian, "{name}");
            for (_, section) in &expected {
                assert!(file.section_by_name(section).is_some_and(|section| section.size() > 0), "{name}: {section}");
            }
        }
    }
}

#[test]
fn tracepoints_have_the_same_numbers_on_both_sides() {
    let header = fs::read_to_string(bpf().join("include/tracepoints.h")).unwrap();
    for (name, number) in [
        ("TASK_NEWTASK", exectrace_bpf::TASK_NEWTASK),
        ("SCHED_PROCESS_EXEC", exectrace_bpf::SCHED_PROCESS_EXEC),
        ("SCHED_PROCESS_EXIT", exectrace_bpf::SCHED_PROCESS_EXIT),
        ("SYS_ENTER_EXIT_GROUP", exectrace_bpf::SYS_ENTER_EXIT_GROUP),
        ("SYS_ENTER_EXIT", exectrace_bpf::SYS_ENTER_EXIT),
        ("SIGNAL_GENERATE", exectrace_bpf::SIGNAL_GENERATE),
        ("SIGNAL_DELIVER", exectrace_bpf::SIGNAL_DELIVER),
    ] {
        assert!(header.contains(&format!("\t{name} = {number},\n")), "{name}");
    }
    assert!(header.contains(&format!("#define RECORD_HEADER {} ", exectrace_bpf::RECORD_HEADER)));
}

#[test]
fn events_have_one_layout_on_both_sides() {
    for name in ["exectrace_bpfel.o", "exectrace_bpfeb.o", "exectrace_perf_bpfel.o", "exectrace_perf_bpfeb.o"] {
        let btf = Btf::of(&object_file(name));
        let check = |structure: &str, size: usize, fields: &[(&str, usize)]| {
            let (c_size, c_fields) = btf.structure(structure).unwrap_or_else(|| panic!("{name}: no {structure}"));
            let fields: Vec<_> = fields.iter().map(|&(field, offset)| (field.to_owned(), offset)).collect();
            assert_eq!((c_size, c_fields), (size, fields), "{name}: {structure}");
        };
        check(
            "event_header",
            size_of::<EventHeader>(),
            &[
                ("kind", offset_of!(EventHeader, kind)),
                ("pid", offset_of!(EventHeader, pid)),
                ("ppid", offset_of!(EventHeader, ppid)),
                ("uid", offset_of!(EventHeader, uid)),
                ("time_ns", offset_of!(EventHeader, time_ns)),
                ("start_ns", offset_of!(EventHeader, start_ns)),
                ("cgroup_id", offset_of!(EventHeader, cgroup_id)),
                ("comm", offset_of!(EventHeader, comm)),
            ],
        );
        check(
            "exec_event",
            size_of::<ExecEvent>(),
            &[
                ("header", offset_of!(ExecEvent, header)),
                ("file_len", offset_of!(ExecEvent, file_len)),
                ("args_len", offset_of!(ExecEvent, args_len)),
                ("flags", offset_of!(ExecEvent, flags)),
                ("reserved", offset_of!(ExecEvent, reserved)),
            ],
        );
        check(
            "failed_event",
            size_of::<FailedEvent>(),
            &[
                ("header", offset_of!(FailedEvent, header)),
                ("file_len", offset_of!(FailedEvent, file_len)),
                ("error", offset_of!(FailedEvent, error)),
                ("flags", offset_of!(FailedEvent, flags)),
                ("reserved", offset_of!(FailedEvent, reserved)),
            ],
        );
        check(
            "exit_event",
            size_of::<ExitEvent>(),
            &[
                ("header", offset_of!(ExitEvent, header)),
                ("exec_ns", offset_of!(ExitEvent, exec_ns)),
                ("status", offset_of!(ExitEvent, status)),
                ("reserved", offset_of!(ExitEvent, reserved)),
            ],
        );
    }
}

fn object_file(name: &str) -> Vec<u8> {
    fs::read(bpf().join("objects").join(name)).unwrap()
}

/// As much of BTF as it takes to find a struct: aya-obj keeps its own to itself.
/// The format: <https://docs.kernel.org/bpf/btf.html>.
struct Btf {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Btf {
    fn of(object: &[u8]) -> Self {
        let file = object::File::parse(object).unwrap();
        let bytes = file.section_by_name(".BTF").unwrap().data().unwrap().to_vec();
        Self { bytes, big_endian: !file.is_little_endian() }
    }

    fn u32(&self, offset: usize) -> usize {
        let bytes = self.bytes[offset..][..4].try_into().unwrap();
        (if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }) as usize
    }

    /// Size, and name and offset of each field.
    fn structure(&self, wanted: &str) -> Option<(usize, Vec<(String, usize)>)> {
        let header_length = self.u32(4);
        let types = header_length + self.u32(8);
        let end = types + self.u32(12);
        let strings = header_length + self.u32(16);
        let text = |offset: usize| {
            let bytes = self.bytes[strings + offset..].split(|&byte| byte == 0).next().unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        let mut at = types;
        while at < end {
            let (name, info, size) = (self.u32(at), self.u32(at + 4), self.u32(at + 8));
            let (kind, members) = (info >> 24 & 0x1f, info & 0xffff);
            at += 12;
            if kind == 4 && text(name) == wanted {
                let fields = (0..members).map(|member| at + 12 * member);
                return Some((size, fields.map(|at| (text(self.u32(at)), self.u32(at + 8) / 8)).collect()));
            }
            at += match kind {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * members,
                6 | 13 => 8 * members,
                2 | 7..=12 | 16 | 18 => 0,
                _ => panic!("BTF kind {kind}"),
            };
        }
        None
    }
}

//! The BPF half as it lies in the repository: its sources keep to the one way of reading, and its objects have the
//! layout that the Rust half reads. Needs no kernel.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use aya_obj::generated::bpf_map_type;
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
fn embedded() -> [(&'static str, &'static [u8], Vec<Program>); 2] {
    let structs = vec![
        ("on_exec", "raw_tp/sched_process_exec"),
        ("on_exec_place", "raw_tp/sched_process_exec"),
        ("on_execve", "tracepoint/syscalls/sys_enter_execve"),
        ("on_execve_end", "tracepoint/syscalls/sys_exit_execve"),
        ("on_execveat", "tracepoint/syscalls/sys_enter_execveat"),
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
        ("exectrace", exectrace_bpf::exectrace::object(), structs),
        ("tracepoints", exectrace_bpf::tracepoints::object(), tracepoints),
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
fn the_loader_finds_perf_buffers_where_the_ring_buffer_was() {
    let object = exectrace_bpf::with_perf_buffers(exectrace_bpf::exectrace::object(), "events").unwrap();
    let mut changed = aya_obj::Object::parse(&object).unwrap().maps;
    let mut as_compiled = aya_obj::Object::parse(exectrace_bpf::exectrace::object()).unwrap().maps;
    let [events, ring] = [&mut changed, &mut as_compiled].map(|maps| maps.remove("events").unwrap());
    assert_eq!(ring.map_type(), bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32);
    assert_eq!(events.map_type(), bpf_map_type::BPF_MAP_TYPE_PERF_EVENT_ARRAY as u32);
    assert_eq!([events.key_size(), events.value_size(), events.max_entries()], [4, 4, 0]);
    let text = |maps: HashMap<String, aya_obj::Map>| format!("{:?}", maps.into_iter().collect::<BTreeMap<_, _>>());
    assert_eq!(text(changed), text(as_compiled));
}

fn object_file(name: &str) -> Vec<u8> {
    fs::read(bpf().join("objects").join(name)).unwrap()
}

//! Objects of both byte orders whose ring buffer was changed to perf buffers, as `report` reads them.

use std::fs;
use std::path::Path;

use bpfship_embed::with_perf_buffers;
use bpfship_object::Endian;
use bpfship_object::btf::{Btf, Field, Kind, Type, find};
use bpfship_object::report::Report;

/// The object that bindings are tested with: it has maps of all kinds.
fn object(endian: Endian) -> Vec<u8> {
    let file = format!("../object/tests/bindings/layouts_{}.o", endian.bpf_target());
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// An object that has ring buffers only, and one map more.
fn ring_buffers(endian: Endian) -> Vec<u8> {
    let file = format!("tests/ring_buffers_{}.o", endian.bpf_target());
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// What a map is defined by.
fn members(object: &[u8], map: &str) -> Vec<String> {
    let (endian, data) = find::find(object).unwrap();
    let btf = Btf::parse(data, endian).unwrap();
    let is_map = |found: &&Type| found.kind == Kind::Variable && found.name() == map.as_bytes();
    let definition = btf.get(btf.types.iter().find(is_map).unwrap().references().next().unwrap()).unwrap();
    let name = |member: &[Field]| match member {
        [Field::Name(name), ..] => String::from_utf8(name.to_vec()).unwrap(),
        _ => panic!("{definition:?}"),
    };
    definition.fields[3..].chunks(3).map(name).collect()
}

fn report(object: &[u8]) -> Report {
    Report::read(object).unwrap().1
}

#[test]
fn nothing_else_changes() {
    for endian in Endian::ALL {
        let before = object(endian);
        let after = with_perf_buffers(&before, "events").unwrap();
        assert_eq!(Report::read(&after).unwrap().0, endian);
        let (mut before, after) = (report(&before), report(&after));
        let events = before.maps.iter_mut().find(|map| map.name == "events").unwrap();
        assert_eq!(events.kind, "ringbuf");
        events.kind = "perf_event_array".into();
        assert_eq!(before.maps, after.maps);
        assert_eq!(before.relocations, after.relocations);
        assert_eq!(before.programs, after.programs);
    }
}

#[test]
fn each_ring_buffer_is_changed_alone_however_its_type_is_called() {
    for endian in Endian::ALL {
        let object = ring_buffers(endian);
        let before = report(&object).maps;
        for map in ["named", "named_twice", "one", "other", "pinned"] {
            let mut expected = before.clone();
            expected.iter_mut().find(|found| found.name == map).unwrap().kind = "perf_event_array".into();
            assert_eq!(report(&with_perf_buffers(&object, map).unwrap()).maps, expected);
        }
        assert!(with_perf_buffers(&object, "hash").is_err());
    }
}

#[test]
fn perf_buffers_are_pinned_if_the_ring_buffer_was() {
    for endian in Endian::ALL {
        let object = ring_buffers(endian);
        let of = |map| members(&with_perf_buffers(&object, map).unwrap(), map);
        assert_eq!(of("one"), ["type", "key_size", "value_size"]);
        assert_eq!(of("pinned"), ["type", "key_size", "value_size", "pinning"]);
    }
}

#[test]
fn a_map_that_is_no_ring_buffer_is_refused() {
    let object = object(Endian::Little);
    let refusal = |object: &[u8], map: &str| with_perf_buffers(object, map).unwrap_err().to_string();
    for map in ["", "nowhere", "config", "type"] {
        assert_eq!(refusal(&object, map), format!("the BTF of the object has no ring buffer {map}"));
    }
    // Now it is none any more.
    let changed = with_perf_buffers(&object, "events").unwrap();
    assert_eq!(refusal(&changed, "events"), "the BTF of the object has no ring buffer events");
}

#[test]
fn what_is_no_object_is_refused() {
    let object = object(Endian::Big);
    assert!(with_perf_buffers(b"", "events").is_err());
    for length in (0..object.len()).step_by(97) {
        assert!(with_perf_buffers(&object[..length], "events").is_err(), "{length} bytes");
    }
    // Headers of sections that are not there: mostly, those come last in an object.
    let mut without_headers = object.clone();
    without_headers[0x3c..0x3e].fill(0xff);
    assert!(with_perf_buffers(&without_headers, "events").is_err());
    // The last type has one member more than there is room for.
    let btf = find::find(&object).unwrap().1;
    let at = object.windows(btf.len()).position(|part| part == btf).unwrap();
    let types = Btf::parse(btf, Endian::Big).unwrap().types;
    let before: usize = types[..types.len() - 1].iter().map(|found| 4 * found.fields.len()).sum();
    assert_eq!(types.last().unwrap().kind, Kind::DataSection);
    let mut longer = object.clone();
    // The last byte of the number of its members, behind a header of 24 bytes.
    longer[at + 24 + before + 7] += 1;
    assert!(with_perf_buffers(&longer, "events").is_err());
    // Whatever it is changed to, nothing panics.
    for place in (0..object.len()).step_by(13) {
        let mut object = object.clone();
        object[place] = !object[place];
        let _ = with_perf_buffers(&object, "events");
    }
}

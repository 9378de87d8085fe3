//! Objects of both byte orders whose ring buffer was changed to perf buffers, as `report` reads them.

use std::fs;
use std::path::Path;

use bpfship_embed::with_perf_buffers;
use bpfship_object::Endian;
use bpfship_object::report::Report;

/// The object that bindings are tested with: it has maps of all kinds.
fn object(endian: Endian) -> Vec<u8> {
    let file = format!("../object/tests/bindings/layouts_{}.o", endian.bpf_target());
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
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
    // Whatever it is changed to, nothing panics.
    for place in (0..object.len()).step_by(13) {
        let mut object = object.clone();
        object[place] = !object[place];
        let _ = with_perf_buffers(&object, "events");
    }
}

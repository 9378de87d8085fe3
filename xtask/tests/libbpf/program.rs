//! Makes a system call some times, and compares how often a BPF program saw that, which libbpf loads.

use std::error::Error;
use std::os::unix::process::parent_id;
use std::process::{ExitCode, id};

use libbpf_rs::{MapCore as _, MapFlags, ObjectBuilder};

const CALLS: u64 = 7;

fn main() -> ExitCode {
    if std::env::args().any(|word| word == "--version") {
        println!("calls, with {} bits", usize::BITS);
        return ExitCode::SUCCESS;
    }
    match calls() {
        Ok(CALLS) => ExitCode::SUCCESS,
        Ok(other) => {
            println!("{other} calls were seen, and there were {CALLS}");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{error}: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn calls() -> Result<u64, Box<dyn Error>> {
    let object = ObjectBuilder::default().open_memory(bpfship_embed::embed!("calls"))?.load()?;
    let program = object.progs_mut().next().ok_or("the object has no program")?;
    let _link = program.attach()?;
    for _ in 0..CALLS {
        let _ = parent_id();
    }
    let calls = object.maps().find(|map| map.name() == "calls").ok_or("the object has no map")?;
    let count = calls.lookup(&id().to_ne_bytes(), MapFlags::ANY)?.ok_or("no call was seen")?;
    Ok(u64::from_ne_bytes(count.as_slice().try_into()?))
}

//! --pid: puts a process and its descendants into the map of tracked processes, which the kernel side then keeps up.

use std::{collections::HashSet, io, path::Path};

use aya::maps::{HashMap, MapData};

use crate::{error::Error, procfs};

/// # Errors
/// When one of them is no process.
pub(crate) fn check(pids: &[u32]) -> Result<(), Error> {
    for &pid in pids {
        match procfs::thread_group(pid) {
            Some(process) if process == pid => {}
            Some(process) => return Err(Error::Thread { tid: pid, process }),
            // With hidepid=1 it is there, and cannot be read.
            None if Path::new(&format!("/proc/{pid}")).exists() => {
                return Err(Error::Proc(io::ErrorKind::PermissionDenied.into()));
            }
            None => return Err(Error::NoProcess(pid)),
        }
    }
    Ok(())
}

/// The fork program has to be attached before: then whoever is forked by a tracked process is tracked as well, and
/// only those forked earlier are to be found here.
pub(crate) fn track(map: &mut HashMap<MapData, u32, u8>, pids: &[u32]) -> Result<(), Error> {
    let mut found: HashSet<u32> = pids.iter().copied().collect();
    let mut new: Vec<u32> = pids.to_vec();
    // A child may be forked between reading its parent's entry and tracking that parent: so until nothing is new.
    while !new.is_empty() {
        for pid in new.drain(..) {
            insert(map, pid)?;
        }
        let parents = procfs::parents().map_err(Error::Proc)?;
        new = procfs::descendants(&parents, &found);
        found.extend(&new);
    }
    Ok(())
}

fn insert(map: &mut HashMap<MapData, u32, u8>, pid: u32) -> Result<(), Error> {
    map.insert(pid, 1, 0).map_err(|error| Error::Load(format!("cannot track process {pid}: {error}")))?;
    // One that ended before it was tracked would stay in the map, and its number comes back one day.
    if procfs::thread_group(pid).is_none() {
        let _ = map.remove(&pid);
    }
    Ok(())
}

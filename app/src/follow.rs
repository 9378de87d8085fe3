//! --pid: puts a process and its descendants into the map of tracked processes, which the kernel side then keeps up.

use std::{collections::HashSet, fs, io};

use aya::maps::{HashMap, MapData};

use crate::error::Error;

/// The fork program has to be attached before: then whoever is forked by a tracked process is tracked as well, and
/// only those forked earlier are to be found here.
pub(crate) fn track(map: &mut HashMap<MapData, u32, u8>, pids: &[u32]) -> Result<(), Error> {
    for &pid in pids {
        match thread_group(pid) {
            Some(process) if process == pid => {}
            Some(process) => return Err(Error::Thread { tid: pid, process }),
            None => return Err(Error::NoProcess(pid)),
        }
    }
    let mut found: HashSet<u32> = pids.iter().copied().collect();
    let mut new: Vec<u32> = pids.to_vec();
    // A child may be forked between reading its parent's entry and tracking that parent: so until nothing is new.
    while !new.is_empty() {
        for pid in new.drain(..) {
            insert(map, pid)?;
        }
        let parents = parents().map_err(Error::Proc)?;
        new = descendants(&parents, &found);
        found.extend(&new);
    }
    Ok(())
}

fn insert(map: &mut HashMap<MapData, u32, u8>, pid: u32) -> Result<(), Error> {
    map.insert(pid, 1, 0).map_err(|error| Error::Load(format!("cannot track process {pid}: {error}")))?;
    // One that ended before it was tracked would stay in the map, and its number comes back one day.
    if thread_group(pid).is_none() {
        let _ = map.remove(&pid);
    }
    Ok(())
}

/// The number of the process that a thread belongs to.
fn thread_group(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// Every process with its parent.
fn parents() -> io::Result<Vec<(u32, u32)>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Gone since: no matter.
        if let Some(parent) = fs::read(format!("/proc/{pid}/stat")).ok().and_then(|stat| parent_in(&stat)) {
            parents.push((pid, parent));
        }
    }
    Ok(parents)
}

/// The second field after the name, which stands in parentheses and may itself hold any byte.
fn parent_in(stat: &[u8]) -> Option<u32> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    std::str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Processes that descend from `ancestors`, without those in it.
fn descendants(parents: &[(u32, u32)], ancestors: &HashSet<u32>) -> Vec<u32> {
    let mut known = ancestors.clone();
    let mut new = Vec::new();
    loop {
        let before = new.len();
        for &(pid, parent) in parents {
            if known.contains(&parent) && known.insert(pid) {
                new.push(pid);
            }
        }
        if new.len() == before {
            return new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        assert_eq!(parent_in(b"7 (a) R 3 (b) S 42 7 7 0"), Some(42));
        assert_eq!(parent_in(b"7 (\xff\n) S 1 7"), Some(1));
        assert_eq!(parent_in(b"7 (cut"), None);
        assert_eq!(parent_in(b"7 (cut) S"), None);
    }

    #[test]
    fn descendants_are_found_in_any_order() {
        let parents = [(5, 4), (4, 3), (3, 1), (9, 2), (2, 1), (1, 0)];
        assert_eq!(descendants(&parents, &HashSet::from([3])), [4, 5]);
        assert_eq!(descendants(&parents, &HashSet::from([3, 4])), [5]);
        assert!(descendants(&parents, &HashSet::from([5])).is_empty());
    }
}

//! What `deploy` will do, as data: what was decided for each target, in batches.

use std::collections::BTreeMap;

use crate::deploy::decide::{Decided, Decision, Request};
use crate::deploy::host::Host;
use crate::deploy::run::{Deploy, Uninstall, Way};
use crate::release::run::TakeBinaries;
use crate::sys::plan::{Slot, Steps, Task};
use crate::sys::steps::Sweep;

/// A target by the user's name for it, and what came of it.
pub type Outcome = (Host, Slot<Result<String, String>>);

/// Plans what was decided for the targets.
pub fn tasks(request: &Request, decided: Vec<(Host, Decided)>) -> (Vec<Task>, Vec<Outcome>) {
    let mut taken: BTreeMap<String, Slot<BTreeMap<String, Vec<u8>>>> = BTreeMap::new();
    let (mut take, mut hosts, mut outcomes): (Steps, Vec<Task>, Vec<Outcome>) = (Vec::new(), Vec::new(), Vec::new());
    let mut closing: Steps = Vec::new();
    for (host, Decided { decision, r#become, .. }) in decided {
        let done = Slot::default();
        let way = Way { ssh: request.ssh.clone(), host: host.clone(), place: request.place.clone(), r#become };
        closing.push(Box::new(Sweep(request.ssh.close(&host))));
        let (verb, step): (&str, Steps) = match decision {
            Decision::Nothing(_) => continue,
            Decision::Uninstall => ("removing it from", vec![Box::new(Uninstall { way, done: done.clone() })]),
            Decision::Change(both) => {
                let (change, artifact) = *both;
                let binaries = artifact.map(|artifact| {
                    let of_archive = || {
                        let binaries = Slot::default();
                        let dist = request.folder.clone();
                        take.push(Box::new(TakeBinaries {
                            dist,
                            artifact: artifact.clone(),
                            binaries: binaries.clone(),
                        }));
                        binaries
                    };
                    taken.entry(artifact.file.clone()).or_insert_with(of_archive).clone()
                });
                ("deploying to", vec![Box::new(Deploy { way, change, binaries, done: done.clone() })])
            }
        };
        hosts.push(
            Task::new(format!("{verb} {host}"), step)
                .live(host.to_string())
                .beside(mark(request.canary, request.batch, hosts.len()))
                .waiting()
                .failure("not done"),
        );
        outcomes.push((host, done));
    }
    let mut tasks = Vec::new();
    if !take.is_empty() {
        tasks.push(Task::new("taking the binaries out of the archives", take));
    }
    tasks.extend(hosts);
    tasks.push(Task::new("closing the connections", closing).always());
    (tasks, outcomes)
}

/// The mark of a target by its number, the same for those of one batch. No batch begins if one before it failed.
fn mark(canary: Option<usize>, batch: Option<usize>, number: usize) -> &'static str {
    let canary = canary.unwrap_or_default();
    let batch = match number.checked_sub(canary) {
        None => 0,
        Some(number) => 1 + batch.map_or(0, |batch| number / batch.max(1)),
    };
    // Neighbours with another mark are not side by side.
    if batch % 2 == 0 { "hosts" } else { "more hosts" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_targets_and_each_batch_have_a_mark_of_their_own() {
        let marks = |canary: Option<usize>, batch: Option<usize>| -> String {
            (0..7).map(|number| if mark(canary, batch, number) == "hosts" { 'a' } else { 'b' }).collect()
        };
        assert_eq!(marks(None, None), "bbbbbbb");
        assert_eq!(marks(Some(1), None), "abbbbbb");
        assert_eq!(marks(Some(2), Some(3)), "aabbbaa");
        assert_eq!(marks(None, Some(2)), "bbaabba");
    }
}

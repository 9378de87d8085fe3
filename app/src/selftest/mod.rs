//! --self-test: starts children whose doings are known, and compares with them what arrives.

mod case;
mod fixtures;
mod found;
mod verdict;
pub(crate) mod workload;

use std::{
    env,
    path::{Path, PathBuf},
    process::{self, ExitCode},
};

use self::{
    case::{Case, cases},
    fixtures::Fixtures,
    verdict::{Difference, Verdict, say},
    workload::Child,
};
use crate::{
    backend::{Backend, terms::Settings, tracer::Tracer},
    cli::{BackendName, Cli},
    error::Error,
    event::End,
    features::{BtfFrom, Features, Support},
};

/// Every backend that this kernel allows has to work.
pub(crate) fn run(cli: &Cli) -> Result<ExitCode, Error> {
    let features = Features::probe(cli.btf.as_deref())?;
    if let Support::No(_) = features.numbers {
        return Err(Error::PidNamespace { what: "--self-test" });
    }
    // What is wrong if there is none.
    BackendName::choose(cli.backend, &features)?;
    let names = cli.backend.map_or_else(|| BackendName::ALL.to_vec(), |backend| vec![backend]);
    let backends: Vec<Backend> = names.iter().filter_map(|name| name.find(&features).ok()).collect();
    let exe = exe()?;
    let fixtures = Fixtures::set_up(&exe).map_err(Error::SelfTest)?;

    let mut verdict = Verdict::default();
    if let BtfFrom::Carried { .. } = &features.btf_from {
        say(&format!("BTF: {}", features.btf_from));
    }
    for backend in &backends {
        say(&format!("backend: {backend}"));
        let check = Check { backend, exe: &exe, fixtures: &fixtures, stops_at_first: false };
        verdict.add(&check.run(cli.buffer)?);
    }
    for gap in backends.first().map(Backend::gaps).unwrap_or_default() {
        say(&format!("gap: {gap}"));
    }
    Ok(verdict.report())
}

fn exe() -> Result<PathBuf, Error> {
    env::current_exe()
        .map_err(|error| Error::SelfTest(format!("cannot find this binary: {error}: mount -t proc proc /proc")))
}

/// What a backend is checked with.
struct Check<'a> {
    backend: &'a Backend,
    exe: &'a Path,
    fixtures: &'a Fixtures,
    stops_at_first: bool,
}

impl Check<'_> {
    /// What is found with a buffer that is large enough: on a busy machine, a larger one may be needed than for the children
    /// alone.
    fn run(&self, buffer_kib: u32) -> Result<Verdict, Error> {
        let mut verdict = self.run_with(buffer_kib)?;
        for larger in [4, 16] {
            if verdict.lost == 0 {
                break;
            }
            // Where there is no memory for more, that is what was found.
            let Ok(found) = self.run_with(buffer_kib.saturating_mul(larger)) else { break };
            verdict = found;
        }
        Ok(verdict)
    }

    fn run_with(&self, buffer_kib: u32) -> Result<Verdict, Error> {
        let Self { backend, exe, fixtures, stops_at_first } = *self;
        let mut verdict = Verdict::default();
        // The verifier drops what a setting leaves unused, so that each is another program to it. Nearly all is checked
        // among our own descendants: the rest of the machine stays out, and the fork program has to work.
        let plain = Case::new("whole machine", exe, Child::Succeed, End::Code(0));
        for (only_tracked, cases) in [(false, vec![plain]), (true, cases(exe, fixtures))] {
            let mut tracer = Tracer::start(
                backend,
                &Settings { buffer_kib, only_tracked, no_exits: false, failed: false, places: true },
            )?;
            if only_tracked {
                tracer.track(&[process::id()])?;
            }
            for case in cases {
                case.run(&mut tracer, backend, &mut verdict)?;
                if stops_at_first && verdict.failed > 0 {
                    break;
                }
            }
            let lost = tracer.lost()?.count;
            // What the rest of a busy machine loses is no fault.
            if only_tracked {
                verdict.check("no event lost", [Difference::between("lost", 0, lost)]);
            }
            if verdict.failed > 0 {
                verdict.lost += lost;
                if stops_at_first {
                    break;
                }
            }
        }
        Ok(verdict)
    }
}

/// Whether all is right that the self-test checks of a backend: else it reads the wrong fields.
///
/// # Errors
/// When it cannot be known, for events were lost.
pub(crate) fn agrees(backend: &Backend, buffer_kib: u32) -> Result<bool, Error> {
    let exe = exe()?;
    let fixtures = Fixtures::set_up(&exe).map_err(Error::SelfTest)?;
    let verdict = Check { backend, exe: &exe, fixtures: &fixtures, stops_at_first: true }.run(buffer_kib)?;
    if verdict.lost > 0 {
        return Err(Error::SelfTest(
            "events were lost, for this machine is too busy: try a larger --buffer".to_owned(),
        ));
    }
    Ok(verdict.failed == 0)
}

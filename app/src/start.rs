//! Begins to trace: with the best backend that works here, and never silently with a lesser one.

use crate::{
    backend::{Backend, Refused, descendants, terms::Settings, tracer::Tracer},
    cli::{BackendName, Cli},
    clock::time_namespace_is_clear,
    diag,
    error::Error,
    features::{BtfFrom, Features, Support},
    selftest,
};

/// Everything is seen that happens after this returns. `pids`: only these and their descendants, if any.
pub(crate) fn tracer(cli: &Cli, pids: &[u32]) -> Result<(Tracer, Backend), Error> {
    let features = Features::probe(cli.btf.as_deref())?;
    let (backends, mut lack) = BackendName::choose(cli.backend, &features)?;
    descendants::check(pids)?;
    let settings = Settings {
        buffer_kib: cli.buffer,
        only_tracked: !pids.is_empty(),
        no_exits: cli.no_exits,
        failed: cli.failed,
        places: cli.json || cli.show_cwd || cli.show_tty,
    };
    let last = backends.len().saturating_sub(1);
    let is_given = matches!(features.btf_from, BtfFrom::File(_));
    for (index, backend) in backends.iter().enumerate() {
        check(cli, &features, backend, !pids.is_empty())?;
        match start(backend, &settings) {
            Ok(mut tracer) => {
                if let Some(lack) = lack {
                    warn(backend, &lack);
                }
                tracer.track(pids)?;
                return Ok((tracer, backend.clone()));
            }
            // The kernel seemed to offer it, and then refuses. What the user has named is not passed over.
            Err(error) if index < last && error.is_of_the_backend() && !is_given => {
                if let (true, Some(log)) = (cli.verbose, error.verifier_log()) {
                    diag::note(format_args!("the verifier's log:\n{}", log.trim_end()));
                }
                lack = Some(error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::NoBackend("no backend works on this kernel".to_owned()))
}

/// A request that this backend cannot fulfil is refused.
fn check(cli: &Cli, features: &Features, backend: &Backend, follows: bool) -> Result<(), Error> {
    for flag in backend.refuses() {
        match flag {
            Refused::Uid if !cli.uid.is_empty() => {
                return Err(Error::Unknowable { flag: flag.name(), field: "user" });
            }
            Refused::Cgroup if !cli.cgroup.is_empty() => {
                return Err(Error::Unknowable { flag: flag.name(), field: "control group" });
            }
            Refused::Failed if cli.failed => return Err(Error::FailedNeedsBtf),
            Refused::Uid | Refused::Cgroup | Refused::Failed => {}
        }
    }
    if !time_namespace_is_clear() {
        return Err(Error::TimeNamespace);
    }
    // BPF numbers processes as the first pid namespace does.
    if let Support::No(_) = features.numbers {
        if follows {
            let what = if cli.pid.is_empty() { "tracing a command" } else { "--pid" };
            return Err(Error::PidNamespace { what });
        }
        diag::note("this is another pid namespace than the host's, whose process numbers are shown");
    }
    Ok(())
}

fn start(backend: &Backend, settings: &Settings) -> Result<Tracer, Error> {
    // The places of another kernel's fields would give values that look right and are not.
    if let Backend::Structs { btf: btf @ (BtfFrom::File(_) | BtfFrom::Carried { .. }), .. } = backend {
        if !selftest::agrees(backend, settings.buffer_kib)? {
            return Err(Error::OtherBtf(btf.to_string()));
        }
        if let BtfFrom::Carried { .. } = btf {
            diag::note(format_args!("this kernel does not describe its types: using {btf}"));
        }
    }
    Tracer::start(backend, settings)
}

fn warn(backend: &Backend, lack: &str) {
    let gaps = backend.gaps();
    let fields = |never: bool| -> String {
        let mut words: Vec<_> = gaps.iter().filter(|gap| gap.when.is_none() == never).map(|gap| gap.field).collect();
        if never {
            words.extend(backend.refuses().into_iter().map(Refused::name));
        }
        words.join(", ")
    };
    let missing = match (fields(true), fields(false)) {
        (never, sometimes) if never.is_empty() && sometimes.is_empty() => String::new(),
        (never, sometimes) if never.is_empty() => format!(", not always with {sometimes}"),
        (never, sometimes) => format!(", without {never}, and not always with {sometimes}"),
    };
    diag::note(format_args!("{lack}; until then, {backend}{missing} (see --preflight)"));
}

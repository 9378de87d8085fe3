//! How cross is got and called, as data.

use std::path::{Path, PathBuf};

use crate::cross::facts::{Cross, Program};
use crate::cross::program::{self, FILE, VERSION};
use crate::cross::stage::{FIRST, Stage};
use crate::sys::command::{Command, word};
use crate::sys::plan::{Steps, Task};
use crate::sys::steps::{CacheEntry, CheckEntry, HoldEntries, Remove, Run};
use crate::workspace::facts::Facts;

/// Arguments that cross reads, and would act upon. `--verbose` has it print what it runs; the target folder it would call by
/// another name.
const VERBOSE: &str = "--verbose";
const TARGET: &str = "--target-dir";

/// Has cross be in the cache.
pub fn get(program: &Program, facts: &Facts) -> Vec<Task> {
    let name = program::name(&facts.rust.host);
    match program {
        Program::Own(_) => Vec::new(),
        Program::Cached => {
            let hold = HoldEntries::new(facts.cache.clone(), vec![name.clone()]);
            let check = CheckEntry { cache: facts.cache.clone(), name, reads: |_| true };
            let title = "keeping other runs from removing cross, which is used here";
            vec![Task::new(title, vec![Box::new(hold), Box::new(check)])]
        }
        Program::Missing => vec![install(facts, name)],
    }
}

/// Compiles it, once, by its own lock.
fn install(facts: &Facts, name: String) -> Task {
    let partial = facts.cache.partial(&name);
    let work = partial.join("work");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let install = Command::new(facts.rust.cargo(), &facts.root)
        .env("RUSTC", text(&facts.rust.rustc()))
        .env("CARGO_HOME", text(&facts.cargo_home))
        .args(["install", "cross", "--locked", "--no-track", "--version", &format!("={VERSION}"), "--bin", "cross"])
        .args(["--target", &facts.rust.host, "--root", &text(&partial), TARGET, &text(&work)]);
    let steps: Steps = vec![Box::new(Run(install)), Box::new(Remove { folder: work })];
    let title = format!("compiling {}, once, into {}", program::line(), facts.cache.path(&name).display());
    let entry = CacheEntry::new(facts.cache.clone(), name, steps);
    Task::new(title, vec![Box::new(entry)]).live("cross").failure(format!("cannot get {}", program::line()))
}

/// A call of cross in which it starts a container.
#[derive(Debug)]
pub struct Call {
    pub command: Command,
    /// Makes what it is given.
    pub before: Steps,
    /// The file that is there afterwards, if it made a container.
    pub proof: PathBuf,
}

impl Call {
    /// cargo's `command` by cross. `options` are those of the engine, and `base` is the folder of the builder.
    pub fn new(
        cross: &Cross,
        options: &[String],
        command: &Command,
        triples: &[&str],
        (facts, base): (&Facts, &Path),
    ) -> Call {
        let Cross { container, environment, .. } = cross;
        let kind = container.engine.kind;
        let stage = Stage::new(base);
        let (passed, kept) = split(&command.args);
        let own = ["--cidfile", &stage.proof().to_string_lossy(), "--entrypoint", FIRST].map(String::from);
        let options = options.iter().chain(&own).map(|it| word(it)).collect::<Vec<_>>().join(" ");
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let path = environment.get("PATH").map(|path| format!(":{path}")).unwrap_or_default();
        let mut call = Command::new(program(cross, facts), &stage.project()).only(environment.clone());
        for (name, value) in [
            ("PATH", format!("{}{path}", stage.programs().display())),
            ("RUSTC", text(stage.programs().join("rustc"))),
            ("CARGO_HOME", text(stage.empty("cargo"))),
            ("XARGO_HOME", text(stage.empty("xargo"))),
            ("CROSS_CONFIG", text(stage.config())),
            ("CROSS_CUSTOM_TOOLCHAIN", "1".into()),
            ("CROSS_CONTAINER_ENGINE", kind.program().into()),
            ("CROSS_CONTAINER_OPTS", options),
            // Both as this tool itself does it.
            ("CROSS_CONTAINER_USER_NAMESPACE", container.user_namespace().unwrap_or("none").into()),
            ("CROSS_ROOTLESS_CONTAINER_ENGINE", "0".into()),
            ("DOCKER_CONTENT_TRUST", String::new()),
            ("DOCKER_DEFAULT_PLATFORM", String::new()),
        ] {
            call = call.env(name, value);
        }
        let mut command_within = command.clone();
        command_within.args.clear();
        Call {
            command: Command { heartbeat: kind.heartbeat_of_build(), ..call.args(passed) },
            before: stage.steps(triples, &container.image, (&facts.rust.rustc(), &command_within), &kept),
            proof: stage.proof(),
        }
    }
}

fn program(cross: &Cross, facts: &Facts) -> PathBuf {
    match &cross.program {
        Program::Own(own) => own.clone(),
        _ => facts.cache.path(&program::name(&facts.rust.host)).join(FILE),
    }
}

/// The arguments of cargo that cross passes on, and those that it does not see.
fn split(args: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut passed, mut kept) = (Vec::new(), Vec::new());
    let mut rest = args.iter().cloned();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            VERBOSE => kept.push(arg),
            TARGET => kept.extend([arg].into_iter().chain(rest.next())),
            _ => passed.push(arg),
        }
    }
    (passed, kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_does_not_see_what_it_would_act_upon() {
        let args = ["build", "--verbose", "--target-dir", "/t", "--target", "x"].map(String::from);
        let (passed, kept) = split(&args);
        assert_eq!((passed.join(" "), kept.join(" ")), ("build --target x".into(), "--verbose --target-dir /t".into()));
    }
}

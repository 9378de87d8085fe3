//! How cargo is run in a container, as data: at this machine's paths, with what it needs and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::build::builder::Builder;
use crate::build::cargo::Within;
use crate::build::crate_names;
use crate::build::site::Site;
use crate::container::facts::Container;
use crate::container::plan::{self, sealing};
use crate::cross;
use crate::cross::plan::Call;
use crate::sys::command::{Command, Environment};
use crate::sys::hash;
use crate::sys::plan::{Step, Steps, Task};
use crate::sys::steps::{DropOthers, MakeFolder, Run, Sweep};
use crate::ui::error::bad_request;
use crate::workspace::facts::Facts;

/// Both streams of cargo's become one before the engine sees them: it would mix two in the middle of a line. The first process of a
/// container ends by a signal only if it handles it; with it, all others do.
const SCRIPT: &str = "trap 'exit 143' TERM; \"$@\" 2>&1 & wait $!";

/// Where cargo writes down when it used what it has downloaded, in its CARGO_HOME.
const LAST_USE: &str = ".global-cache";

/// The folders that a build reads and writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folders {
    pub read: BTreeSet<PathBuf>,
    pub written: BTreeSet<PathBuf>,
}

impl Folders {
    /// Those of a build of the workspace, but for what its targets add. `base` is the folder of the builder, and `home` its
    /// CARGO_HOME.
    pub fn new(facts: &Facts, base: &Path, home: &Path) -> Folders {
        let mut read = BTreeSet::from([facts.sources.folder.clone(), facts.rust.sysroot.clone(), home.to_owned()]);
        // The CARGO_HOME has links to these.
        read.extend(facts.downloaded.iter().cloned());
        // Crates that lie elsewhere: beside the repository, or in a registry that is a folder.
        let elsewhere =
            |folder: &&Path| !folder.starts_with(&facts.cargo_home) && !folder.starts_with(&facts.sources.top);
        read.extend(facts.packages.iter().map(|package| package.folder.as_path()).filter(elsewhere).map(PathBuf::from));
        let sources = facts.network_config.get("source").and_then(toml::Value::as_table);
        let local = sources
            .into_iter()
            .flat_map(toml::Table::values)
            .flat_map(|source| ["directory", "local-registry"].into_iter().filter_map(|key| source.get(key)?.as_str()));
        read.extend(local.map(Path::new).filter(elsewhere).map(PathBuf::from));
        if facts.has_packages_beside() {
            read.insert(facts.work.join(crate_names::PROGRAM));
        }
        Folders { read, written: BTreeSet::from([base.join("build")]) }
    }

    /// An engine's options for them. It refuses a folder that is not there, as none is on another machine.
    fn mounts(&self) -> Vec<String> {
        let is_inside = |folder: &&PathBuf| !folder.ancestors().skip(1).any(|above| self.read.contains(above));
        let mount = |folder: &PathBuf, end: &str| format!("type=bind,source={0},target={0}{end}", folder.display());
        let read = self.read.iter().filter(is_inside).map(|folder| mount(folder, ",readonly"));
        let all = read.chain(self.written.iter().map(|folder| mount(folder, "")));
        all.flat_map(|mount| ["--mount".to_owned(), mount]).collect()
    }
}

/// A build in a container, and what it takes.
#[derive(Debug)]
pub struct Contained {
    /// The engine, and what calls it, for messages.
    pub engine: String,
    pub within: Within,
    /// What cross is given, if that calls the engine.
    stage: Steps,
    /// Unpacks the crates, which cargo in the container only reads.
    unpack: Command,
    folders: Folders,
    /// The CARGO_HOME.
    home: PathBuf,
    /// Removes the container.
    sweep: Command,
}

impl Contained {
    /// cargo's `command`, for these targets, in a container; none if the builder has none.
    pub fn new(
        site: Site,
        folders: Folders,
        command: &Command,
        unpack: Command,
        triples: &[&str],
    ) -> Option<Contained> {
        let Site { facts, builder } = site;
        let (container, work) = (builder.container()?, &facts.work);
        // No other run has it, for those of one workspace wait for each other.
        let name = format!("bpfship-build-{:.16}", hash::bytes(command.to_string().as_bytes()));
        let kind = container.engine.kind;
        let sweep = kind.command(work).args(["rm", "--force", "--volumes"]).args(kind.ignore_missing()).arg(&name);
        let options = options(&name, &folders);
        let engine = format!("{} {}", kind.program(), container.engine.version);
        let (engine, stage, within) = match builder {
            Builder::Cross(cross) => {
                let Call { command, before, proof } =
                    Call::new(cross, &options, command, triples, (facts, &site.base()));
                (format!("{engine}, by cross"), before, Within { command, proof: Some(proof) })
            }
            _ => (engine, Steps::new(), Within { command: contained(container, options, command, work), proof: None }),
        };
        Some(Contained { engine, within, stage, unpack, folders, home: site.home(), sweep })
    }

    /// Refuses paths that no engine takes.
    pub fn check(&self) -> Result<()> {
        for folder in self.folders.read.iter().chain(&self.folders.written) {
            if folder.to_string_lossy().contains([',', '"']) {
                bad_request!(
                    "{} has a comma or a quotation mark in its path, which no container can be given: use --builder host",
                    folder.display()
                );
            }
        }
        Ok(())
    }

    /// The tasks before and after the one that builds, and that one.
    pub fn around(self, task: Task) -> Vec<Task> {
        let folder = |folder: PathBuf| Box::new(MakeFolder { folder }) as Box<dyn Step>;
        let run = |command: Command| Box::new(Run(command)) as Box<dyn Step>;
        // cargo writes down what was used when: in the container to a file that goes away, or it warns that it cannot.
        let command = |program: &str| Command::new(program, &self.home);
        let forget = command("rm").args(["-f", LAST_USE]);
        let divert = command("ln").args(["-s", "/tmp/last-use", LAST_USE]);
        let mut before: Steps = [forget.clone(), self.unpack, forget, divert].map(run).into();
        before.extend(self.folders.written.into_iter().map(folder));
        before.extend(self.stage);
        // What an earlier run left.
        before.push(Box::new(Sweep(self.sweep.clone())));
        vec![
            Task::new("unpacking crates for a container, which only reads them", before).failure("cannot build"),
            task,
            Task::new("removing the container", vec![Box::new(Sweep(self.sweep))]).always(),
        ]
    }
}

/// Has the engine have the image, and whatever starts the container be there; and removes what was built in another image.
pub fn prepare(site: Site) -> Result<Vec<Task>> {
    let Site { facts, builder } = site;
    let (Some(container), base) = (builder.container(), site.base()) else { return Ok(Vec::new()) };
    let cross = match builder {
        Builder::Cross(cross) => Some(cross),
        _ => None,
    };
    let missing = container.missing().or_else(|| cross.and_then(|cross| cross.program.missing()));
    if let (true, Some(missing)) = (facts.offline, missing) {
        bail!("--offline, but this is missing: {missing}; run once without --offline");
    }
    let mut tasks = cross.map(|cross| cross::plan::get(&cross.program, facts)).unwrap_or_default();
    tasks.extend(plan::get(container, &facts.cache, &facts.work)?);
    let image = match &container.ours {
        Some(ours) => ours.recipe.entry(),
        None => container.image.clone(),
    };
    // Its build scripts may want libraries of that one.
    let drop = DropOthers { folders: vec![base.join("build")], file: base.join("image"), key: image };
    tasks.push(Task::new("leaving what was built in another image", vec![Box::new(drop)]));
    Ok(tasks)
}

/// An engine's options for the container of a build, but for its image and its user.
fn options(name: &str, folders: &Folders) -> Vec<String> {
    let mut options = sealing(name).map(String::from).to_vec();
    // SELinux would have all that is mounted get another label, the toolchain included.
    options.extend(["--security-opt", "label=disable"].map(String::from));
    options.extend(["--tmpfs", "/tmp:rw,exec,mode=1777"].map(String::from));
    options.extend(folders.mounts());
    options
}

/// cargo's command in a container. A Ctrl-C ends it, for the engine passes signals on.
fn contained(container: &Container, options: Vec<String>, command: &Command, work: &Path) -> Command {
    let (Environment::Only(variables) | Environment::Users(variables)) = &command.environment;
    let kind = container.engine.kind;
    let run = Command { heartbeat: kind.heartbeat_of_build(), ..kind.command(work) };
    let mut run = run.args(["run", "--rm"]).args(options).args(["--user", &container.user]);
    run = run.args(container.user_namespace().iter().flat_map(|namespace| ["--userns", namespace]));
    for (name, value) in variables {
        run = run.args(["--env".to_owned(), format!("{name}={value}")]);
    }
    run.args(["--workdir", &command.folder.to_string_lossy(), "--entrypoint", "/bin/sh", &container.image])
        .args(["-c", SCRIPT, "sh"])
        .arg(command.program.to_string_lossy())
        .args(command.args.iter().cloned())
}

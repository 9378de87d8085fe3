//! What cross is given of this machine: programs that answer its questions and do nothing else, and empty folders. So it can
//! neither change a toolchain nor build on this machine, and what it mounts has nothing in it. What a build needs is mounted by
//! this tool, as for every container.

use std::path::{Path, PathBuf};

use serde_json::json;
use toml::{Table, Value};

use crate::sys::command::{Command, Environment, quote, word};
use crate::sys::plan::{Step, Steps};
use crate::sys::steps::{MakeFolder, Run, Write};

/// The folders that cross mounts, to be written.
const EMPTY: [&str; 3] = ["cargo/bin", "xargo", "target"];

/// Variables that cross sets for a build, and this tool's own builds do not have.
const UNKNOWN: [&str; 6] =
    ["PKG_CONFIG_ALLOW_CROSS", "XARGO_HOME", "CARGO_HOME", "CARGO_TARGET_DIR", "CROSS_RUNNER", "USER"];

/// The name of the toolchain, for cross.
const TOOLCHAIN: &str = "rust";

/// The folder of all that cross is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    folder: PathBuf,
}

impl Stage {
    /// `base` is the folder of the builder.
    pub fn new(base: &Path) -> Stage {
        Stage { folder: base.join("stage") }
    }

    /// Where it finds programs.
    pub fn programs(&self) -> PathBuf {
        self.folder.join("programs")
    }

    /// The workspace that it knows of, which it mounts: it has nothing in it. In `/`, it would mount all of this machine.
    pub fn project(&self) -> PathBuf {
        self.folder.join("project")
    }

    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.join("Cross.toml")
    }

    /// A file that the engine writes when it makes a container, and nobody else does.
    pub fn proof(&self) -> PathBuf {
        self.folder.join("container-id")
    }

    pub fn empty(&self, name: &str) -> PathBuf {
        self.folder.join("empty").join(name)
    }

    fn toolchain(&self) -> PathBuf {
        self.folder.join(TOOLCHAIN)
    }

    /// Makes it, for a build for these targets in this image: `cargo` is the command that is to run in the container, with
    /// `more` arguments besides those that cross passes on.
    pub fn steps(&self, triples: &[&str], image: &str, (rustc, cargo): (&Path, &Command), more: &[String]) -> Steps {
        let write = |file: PathBuf, text: String| Box::new(Write { file, text }) as Box<dyn Step>;
        let programs = self.programs();
        let mut steps: Steps = vec![
            write(self.config(), config(triples, image)),
            write(self.project().join("Cargo.toml"), "# cross takes this folder for the workspace.\n".into()),
            write(programs.join("cargo"), self.cargo()),
            write(programs.join("rustup"), rustup(triples)),
            write(programs.join("rustc"), self.rustc(rustc)),
            write(self.toolchain().join("bin/cargo"), within(cargo, more)),
            write(self.toolchain().join("bin/first"), FIRST_TEXT.into()),
        ];
        let run = |program: &str| Command::new(program, &self.folder);
        steps.extend(EMPTY.map(|name| Box::new(MakeFolder { folder: self.empty(name) }) as Box<dyn Step>));
        let executable = run("chmod").args(["-R", "a+rX,u+x", "programs", TOOLCHAIN]);
        steps.push(Box::new(Run(executable)));
        steps.push(Box::new(Run(run("rm").arg("-f").arg(self.proof().to_string_lossy()))));
        steps
    }

    /// Says what the workspace is, and builds nothing.
    fn cargo(&self) -> String {
        let metadata = json!({
            "workspace_root": self.project(),
            "target_directory": self.empty("target"),
            "packages": [],
            "workspace_members": [],
        });
        format!(
            "#!/bin/sh\n[ \"$1\" = metadata ] && exec printf '%s\\n' {}\n\
             echo \"cargo $*: cross may build nothing on this machine\" >&2\nexit 98\n",
            word(&metadata.to_string())
        )
    }

    /// The compiler, which says that its toolchain is elsewhere.
    fn rustc(&self, rustc: &Path) -> String {
        format!(
            "#!/bin/sh\n[ \"$*\" = '--print sysroot' ] && exec printf '%s\\n' {}\nexec {} \"$@\"\n",
            quote(&self.toolchain()),
            quote(rustc)
        )
    }
}

/// Says which toolchain there is, and that it has all that cross would add to it.
fn rustup(triples: &[&str]) -> String {
    let components: Vec<String> = triples.iter().map(|triple| format!("'rust-std-{triple} (installed)'")).collect();
    format!(
        "#!/bin/sh\ncase \"$*\" in\n\
         'toolchain list') echo {TOOLCHAIN};;\n\
         'component list --toolchain {TOOLCHAIN}') printf '%s\\n' {};;\n\
         *) echo \"rustup $*: cross may change no toolchain\" >&2; exit 97;;\nesac\n",
        components.join(" ")
    )
}

/// What is in place of the image's own first program: the shell that cross starts would be the first process, and as that it
/// heeds no signal. With the first process, all others end.
pub const FIRST: &str = "/rust/bin/first";
const FIRST_TEXT: &str = "#!/bin/sh\ntrap 'exit 143' TERM\n\"$@\" &\nwait $!\n";

/// cargo in the container, by the name by which cross calls it. Both of its streams become one before the engine sees them,
/// as in every container.
fn within(cargo: &Command, more: &[String]) -> String {
    let (Environment::Only(variables) | Environment::Users(variables)) = &cargo.environment;
    let exports: String = variables.iter().map(|(name, value)| format!("export {name}={}\n", word(value))).collect();
    let more: String = more.iter().map(|arg| format!(" {}", word(arg))).collect();
    format!(
        "#!/bin/sh\nunset {}\n{exports}cd {} || exit 1\nexec {} \"$@\"{more} 2>&1\n",
        UNKNOWN.join(" "),
        quote(&cargo.folder),
        quote(&cargo.program),
    )
}

/// The configuration: the image, and nothing else.
fn config(triples: &[&str], image: &str) -> String {
    let target = |triple: &&str| {
        let table = Table::from_iter([("image".to_owned(), Value::from(image))]);
        ((*triple).to_owned(), Value::from(table))
    };
    let targets: Table = triples.iter().map(target).collect();
    Table::from_iter([("target".to_owned(), Value::from(targets))]).to_string()
}

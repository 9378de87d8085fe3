//! A small workspace to ship, and assertions about what happens to it.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::schemas;
use bpfship::testing::manifest::{Archive, Artifact, Manifest, Rustc, SCHEMA};
use bpfship::testing::pack::{self, Entry};
use bpfship::testing::{Arch, hash};

/// An eBPF application of another name and layout than exectrace: a package `tool` whose binary `probe` holds the BPF
/// object `tick`. It depends on nothing, so it builds in seconds.
pub struct Workspace {
    pub root: PathBuf,
    /// What goes away with this value.
    remove: Option<PathBuf>,
    environment: BTreeMap<String, String>,
}

const MANIFEST: &str = "[workspace]\nmembers = [\"tool\"]\nresolver = \"3\"\n\n[workspace.metadata.bpfship]\n";

const TOOL_MANIFEST: &str = "[package]\nname = \"tool\"\nversion = \"0.3.0\"\nedition = \"2024\"\nlicense = \"MIT\"\n
[[bin]]\nname = \"probe\"\npath = \"main.rs\"\n";

const LOCK: &str = "version = 4\n\n[[package]]\nname = \"tool\"\nversion = \"0.3.0\"\n";

const MAIN: &str = r#"
#[cfg(target_endian = "little")]
const BYTES: &[u8] = include_bytes!("../kernel/objects/tick_bpfel.o");
#[cfg(target_endian = "big")]
const BYTES: &[u8] = include_bytes!("../kernel/objects/tick_bpfeb.o");

#[used]
#[unsafe(link_section = ".bpf.tick")]
static OBJECT: [u8; BYTES.len()] = {
    let mut object = [0; BYTES.len()];
    object.copy_from_slice(BYTES);
    object
};

fn main() {
    println!("probe of {} bytes, commit {:?}", OBJECT.len(), option_env!("BPFSHIP_COMMIT"));
}
"#;

const PROGRAM: &str = r#"#define SEC(name) __attribute__((section(name), used))
#include "answer.h"
SEC("raw_tp/sys_enter") int tick(void *context) { return context ? ANSWER : 0; }
SEC("license") char LICENSE[] = "GPL";
"#;

impl Workspace {
    /// A workspace in a new folder, outside of git. `config` goes into `[workspace.metadata.bpfship]`.
    pub fn new(name: &str, config: &str) -> Workspace {
        let pin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rust-toolchain.toml");
        Workspace::empty(name)
            .write("Cargo.toml", &format!("{MANIFEST}{config}"))
            .write("Cargo.lock", LOCK)
            .write("rust-toolchain.toml", &fs::read_to_string(pin).unwrap())
            .write("README.md", "A tool.\n")
            .write("tool/Cargo.toml", TOOL_MANIFEST)
            .write("tool/main.rs", MAIN)
            .write("kernel/tick.bpf.c", PROGRAM)
            .write("kernel/include/answer.h", "#define ANSWER 42\n")
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .env("BPFSHIP_ENGINE", "host")
    }

    /// A new, empty folder.
    pub fn empty(name: &str) -> Workspace {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let unique = format!("bpfship-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let base = env::temp_dir().join(unique);
        let root = base.join(name);
        fs::create_dir_all(&root).unwrap();
        Workspace { root, remove: Some(base), environment: BTreeMap::new() }
    }

    /// The usual configuration.
    pub fn usual(name: &str) -> Workspace {
        Workspace::new(name, "package = \"tool\"\nbpf.folder = \"kernel\"\n")
    }

    /// A copy of the workspace that this test belongs to. It is kept, and files that are the same already are left
    /// alone, so that cargo need not build them again the next time. It is in a folder that git ignores, and so outside
    /// of git.
    pub fn copy_of_our_own(name: &str) -> Workspace {
        let root = &Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        for path in [
            "Cargo.toml",
            "Cargo.lock",
            "rust-toolchain.toml",
            "README.md",
            "CHANGELOG.md",
            "app",
            "bpf",
            "docs",
            "xtask",
        ] {
            copy_changed(&own_root().join(path), &root.join(path));
        }
        for name in list(&own_root()).iter().filter(|name| name.starts_with("LICENSE")) {
            copy_changed(&own_root().join(name), &root.join(name));
        }
        Workspace { root: root.clone(), remove: None, environment: BTreeMap::new() }
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .env("BPFSHIP_ENGINE", "host")
    }

    pub fn write(self, path: &str, text: &str) -> Workspace {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Writes a program that stands in for another one on PATH.
    pub fn program(self, name: &str, script: &str) -> Workspace {
        let folder = self.root.join("programs");
        let path = match self.environment.get("PATH") {
            Some(path) if path.starts_with(folder.to_str().unwrap()) => path.clone(),
            Some(path) => format!("{}:{path}", folder.display()),
            None => format!("{}:{}", folder.display(), env::var("PATH").unwrap()),
        };
        let workspace = self.write(&format!("programs/{name}"), script).env("PATH", &path);
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        workspace
    }

    /// Hides all programs of this machine but these.
    pub fn only(self, programs: &[&str]) -> Workspace {
        let folder = self.path("few");
        fs::create_dir_all(&folder).unwrap();
        for program in programs {
            let found = env::split_paths(&env::var_os("PATH").unwrap())
                .map(|path| path.join(program))
                .find(|path| path.exists());
            symlink(found.unwrap_or_else(|| panic!("there is no {program}")), folder.join(program)).unwrap();
        }
        self.env("PATH", folder.to_str().unwrap())
    }

    pub fn env(mut self, name: &str, value: &str) -> Workspace {
        self.environment.insert(name.into(), value.into());
        self
    }

    pub fn without_env(mut self, name: &str) -> Workspace {
        self.environment.remove(name);
        self
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The names in a folder of the workspace.
    #[track_caller]
    pub fn list(&self, path: &str) -> Vec<String> {
        list(&self.path(path))
    }

    /// A command line, split as a shell does, ready to be started.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        self.prepare(&mut command);
        command.args(shlex::split(line).unwrap());
        command
    }

    /// A shell script in which `$BPFSHIP` is the tool.
    pub fn shell(&self, script: &str) -> Run {
        self.run_shell(&mut Command::new("sh"), script)
    }

    /// The same, with private mounts: see [`can_mount`].
    pub fn shell_with_mounts(&self, script: &str) -> Run {
        self.run_shell(Command::new("unshare").args(["--mount", "sh"]), script)
    }

    fn run_shell(&self, command: &mut Command, script: &str) -> Run {
        self.prepare(command);
        Run::of(command.args(["-c", script]).env("BPFSHIP", env!("CARGO_BIN_EXE_xtask")))
    }

    fn prepare(&self, command: &mut Command) {
        command.current_dir(&self.root).envs(&self.environment).stdin(Stdio::null());
        // What may be set for the run of these tests is not meant for the workspace.
        for name in ["SOURCE_DATE_EPOCH", "CARGO_TARGET_DIR"] {
            if !self.environment.contains_key(name) {
                command.env_remove(name);
            }
        }
    }

    #[track_caller]
    pub fn xtask(&self, line: &str) -> Run {
        let run = Run::of(&mut self.command(line));
        schemas::check(line, &String::from_utf8_lossy(&run.output.stdout), run.output.status.success());
        run
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Some(folder) = &self.remove {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// What came of a command.
pub struct Run {
    output: Output,
}

impl Run {
    pub fn of(command: &mut Command) -> Run {
        Run { output: command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")) }
    }

    pub fn from_output(output: Output) -> Run {
        Run { output }
    }

    /// What it printed on standard output, as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.output.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// What it printed: standard output, then standard error.
    pub fn text(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        text(&self.output.stdout) + &text(&self.output.stderr)
    }

    #[track_caller]
    pub fn succeeds(self) -> Run {
        self.ends_with(0)
    }

    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// Exits with this code, and panics in no case.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Run {
        assert_eq!(self.output.status.code(), Some(code), "{}", self.text());
        assert!(!self.text().contains("panicked at"), "{}", self.text());
        self
    }

    #[track_caller]
    pub fn says(self, words: &str) -> Run {
        assert!(self.text().contains(words), "it does not print {words:?}, but:\n{}", self.text());
        self
    }

    #[track_caller]
    pub fn says_nothing_of(self, words: &str) -> Run {
        assert!(!self.text().contains(words), "it says {words:?}:\n{}", self.text());
        self
    }

    /// The same, without lines of its standard error that begin with `start`.
    pub fn without_lines(mut self, start: &str) -> Run {
        let text = String::from_utf8_lossy(&self.output.stderr).into_owned();
        let kept = text.lines().filter(|line| !line.starts_with(start)).map(|line| format!("{line}\n"));
        self.output.stderr = kept.collect::<String>().into_bytes();
        self
    }

    /// Its error is one line.
    #[track_caller]
    pub fn in_one_line(self) -> Run {
        let text = self.text();
        assert_eq!(text.trim_end().lines().count(), 1, "{text}");
        self
    }
}

pub fn copy_changed(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        let names = list(from);
        for stray in list(to).iter().filter(|name| !names.contains(name)) {
            let stray = to.join(stray);
            if stray.is_dir() { fs::remove_dir_all(stray) } else { fs::remove_file(stray) }.unwrap();
        }
        for name in names {
            copy_changed(&from.join(&name), &to.join(&name));
        }
    } else if fs::read(from).ok() != fs::read(to).ok() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

/// The names in a folder, sorted.
#[track_caller]
pub fn list(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whether what a test needs is here. If not, says so, or fails where everything is required (BPFSHIP_REQUIRE=all, or
/// `all but WHAT`).
#[track_caller]
pub fn has(what: &str, how_to_get_it: &str, found: bool) -> bool {
    if !found {
        let required = env::var("BPFSHIP_REQUIRE").unwrap_or_default();
        let excepted = required.is_empty() || required == format!("all but {what}");
        assert!(excepted, "needs {what} ({how_to_get_it})");
        // Not by `println!`, which the test runner keeps to itself when a test passes.
        let _ = writeln!(io::stderr(), "not run: needs {what} ({how_to_get_it})");
    }
    found
}

/// Whether python has a module.
pub fn python(module: &str) -> bool {
    let found = Command::new("python3").args(["-c", &format!("import {module}")]).output();
    found.is_ok_and(|output| output.status.success())
}

/// Every `cargo xtask …` in a text is a command that the tool knows.
#[track_caller]
pub fn knows_the_commands(text: &str) {
    let mut found = 0;
    for line in text.split("cargo xtask ").skip(1) {
        let command = line.split(['\n', '`', '#', '&', ';', '|', ')']).next().unwrap();
        let words = std::iter::once("cargo xtask").chain(command.split_whitespace());
        let parsed = <bpfship::testing::Flags as clap::Parser>::try_parse_from(words);
        assert!(parsed.is_ok(), "cargo xtask {command}: {}", parsed.unwrap_err());
        found += 1;
    }
    assert!(found > 0, "there is no command in it");
}

/// Whether we are root and can mount file systems in a namespace of our own.
pub fn can_mount() -> bool {
    let mounted = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    has("mount namespaces", "run as root", mounted.is_ok_and(|output| output.status.success()))
}

/// Numbers without an order, the same ones in every run.
pub struct Random(pub u64);

impl Random {
    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        // xorshift64*: small, and far better than what follows needs.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    pub fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    /// What may become of a file on its way, or in bad hands.
    pub fn mutated(&mut self, original: &[u8]) -> Vec<u8> {
        if self.below(20) == 0 {
            return (0..self.below(original.len() + 1)).map(|_| self.byte()).collect();
        }
        let mut bytes = original.to_vec();
        for _ in 0..=self.below(4) {
            let [at, to] = [0; 2].map(|_| self.below(bytes.len() + 1));
            match (self.below(8), bytes.get_mut(at)) {
                (0, _) => bytes.truncate(at),
                (1, _) => bytes.insert(at, self.byte()),
                (2, _) => drop(bytes.drain(at.min(to)..at.max(to))),
                (3, _) => {
                    let copied = bytes[at.min(to)..at.max(to)].to_vec();
                    bytes.splice(at..at, copied);
                }
                (4, Some(byte)) => *byte ^= 1 << self.below(8),
                (5, Some(byte)) => *byte = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                (_, Some(byte)) => *byte = self.byte(),
                (_, None) => {}
            }
        }
        // Copies of copies would grow for ever.
        bytes.truncate(2 * original.len() + 100);
        bytes
    }
}

/// The workspace that this test belongs to.
pub fn own_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

/// Where rustup keeps toolchains, for a run whose HOME is another one.
pub fn rustup_home() -> String {
    let default = || env::home_dir().unwrap().join(".rustup").to_str().unwrap().to_owned();
    env::var("RUSTUP_HOME").unwrap_or_else(|_| default())
}

/// Makes the workspace a git repository with one commit.
pub fn commit(workspace: &Workspace) {
    workspace
        .shell("git init -q && git add -A && git -c user.name=a -c user.email=a@b.invalid commit -qm first")
        .succeeds();
}

/// A workspace with a release in its `dist/`, for these architectures: its binaries are no programs, and nothing is compiled.
pub fn released(name: &str, config: &str, arches: &[&str]) -> Workspace {
    let config = format!("package = \"tool\"\nbpf.folder = \"kernel\"\n{config}");
    let about = "description = \"Counts ticks, for $1\"\nrepository = \"https://example.org/tool\"\n\n[[bin]]";
    let workspace = Workspace::new(name, &config).write("tool/Cargo.toml", &TOOL_MANIFEST.replace("\n[[bin]]", about));
    let texts = [
        ("probe", "probe"),
        ("README.md", "A tool.\n"),
        ("LICENSE-MIT", "The MIT licence.\n"),
        ("THIRD-PARTY-LICENSES.txt", "Licences.\n"),
        ("COPYRIGHT-library.html", "Licences.\n"),
        ("probe.service", "[Unit]\n"),
        ("docs/probe.1", ".TH PROBE 1\n"),
        ("completions/probe.bash", "complete probe\n"),
        ("completions/_probe", "#compdef probe\n"),
        ("completions/probe.fish", "complete -c probe\n"),
    ];
    let entry = |name: &str, text: &str| Entry { bytes: text.into(), executable: name == "probe" };
    let files: BTreeMap<String, Entry> =
        texts.iter().map(|(name, text)| ((*name).to_owned(), entry(name, text))).collect();
    let mut artifacts = Vec::new();
    for arch in arches.iter().map(|name| Arch::named(name)) {
        let tar = pack::tar(&format!("tool-0.3.0-{}", arch.triple), &files, 1_700_000_000).unwrap();
        let archive = pack::gzip(&tar).unwrap();
        let artifact = Artifact::example("0.3.0", arch, &archive);
        fs::create_dir_all(workspace.path("dist")).unwrap();
        fs::write(workspace.path("dist").join(&artifact.file), archive).unwrap();
        artifacts.push(artifact);
    }
    artifacts.sort_by(|one, other| one.file.cmp(&other.file));
    let manifest = Manifest {
        schema: SCHEMA,
        archives: vec![Archive::example("0.3.0")],
        commit: Some("1a2b".into()),
        dirty: false,
        source_date_epoch: 1_700_000_000,
        cargo_lock: hash::bytes(b"1"),
        bpf_lock: None,
        rustc: Rustc { version: "1.95.0".into(), commit: "3".into(), llvm: "22".into() },
        c_compiler: "zig".into(),
        compressor: "deflate".into(),
        cargo_toml: hash::bytes(b"2"),
        flags: Vec::new(),
        bpf_objects: Vec::new(),
        artifacts,
    };
    workspace.write("dist/release.json", &manifest.to_json().unwrap())
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}

/// Whether each link of a page leads to a file in `folder`, and to a heading if it names one; how many there are, without
/// those to the web.
#[track_caller]
pub fn follow_links(page: &Path, folder: &Path) -> usize {
    let text = fs::read_to_string(page).unwrap();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links: Vec<&str> = links.filter(|link| !link.starts_with("https://")).collect();
    for link in &links {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let leads_to = if file.is_empty() { page.to_owned() } else { page.parent().unwrap().join(file) };
        let is_there = leads_to.canonicalize().is_ok_and(|path| path.starts_with(folder.canonicalize().unwrap()));
        assert!(is_there, "{} has a link to {link}, which is not there", page.display());
        if !anchor.is_empty() {
            let there = anchors(&fs::read_to_string(&leads_to).unwrap());
            assert!(there.contains(&anchor.to_owned()), "{}: {link} is none of {there:?}", page.display());
        }
    }
    links.len()
}

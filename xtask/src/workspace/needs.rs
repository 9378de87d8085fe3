//! What verbs need, as data: each need by its name, with what was found on this machine. Here is what several verbs
//! need; each verb puts its own list together.

use crate::arch::{ARCHES, Arch};
use crate::route::Route;
use crate::toolchain::plan::{Needs, RUST_SRC_MB, STD_MB};
use crate::toolchain::sysroot::{self, Sysroot};
use crate::toolchain::zig;
use crate::ui::screen;
use crate::ui::status::{Found, State, Status};
use crate::workspace::machine::{self, Machine, Space};

/// One need of a verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub name: String,
    pub found: Found,
}

/// A verb, and what it needs of a machine.
pub type OfVerb = (&'static str, fn(&Machine) -> Vec<Need>);

impl Need {
    pub fn new(name: impl Into<String>, found: Found) -> Need {
        Need { name: name.into(), found }
    }
}

impl Machine {
    /// The architectures that are shipped; all of them while that is unknown.
    pub fn arches(&self) -> Vec<&'static Arch> {
        self.config.as_ref().map_or_else(|_| ARCHES.iter().collect(), |config| config.arches.clone())
    }

    /// The workspace, and what reads it.
    pub fn workspace(&self) -> Vec<Need> {
        let pin = if self.is_pinned { ", as the workspace pins it" } else { "; the workspace pins none" };
        let arches: Vec<&str> = self.arches().iter().map(|arch| arch.name).collect();
        let config = self.config.clone();
        let mut needs = vec![
            Need::new("Rust", self.rust.clone().map(|rust| rust.version + pin)),
            Need::new("cargo", self.cargo.clone()),
            Need::new("workspace", config.map(|it| format!("{} {} for {}", it.package, it.version, arches.join(", ")))),
            Need::new("crates", self.crates.clone().map(|count| format!("all {count} of Cargo.lock"))),
        ];
        if self.rust.is_err() {
            needs.push(Need::new("rustup", self.rustup.clone()));
        }
        needs
    }

    /// What compiles BPF objects.
    pub fn clang(&self) -> Needs {
        match &self.place {
            Ok(place) => Needs { zig: place.needs_compiler(), image: place.pulls(), ..Needs::default() },
            Err(_) => Needs::default(),
        }
    }

    /// The container engine that was asked for, where it does not answer.
    pub fn engine(&self) -> Option<Need> {
        self.place.as_ref().err().map(|status| Need::new("engine", Err(status.clone())))
    }

    /// What builds for these architectures take, and `others`.
    pub fn builds(&self, arches: &[&'static Arch], others: Needs) -> Vec<Need> {
        let Ok(rust) = &self.rust else {
            let unknown = arches.iter().map(|arch| Need::new(format!("std {arch}"), Err(Status::unknown("Rust"))));
            let linker = std::iter::once(Need::new("cc", self.linker.clone()));
            return linker.chain(self.toolchain(&others)).chain(unknown).collect();
        };
        let mut needs = Needs { zig: others.zig || self.with_c, ..others };
        for arch in arches {
            match arch.route {
                Route::Prebuilt => needs.std.push(arch.triple),
                Route::Source => needs.sysroots.push(Sysroot::new(arch, rust)),
            }
        }
        let mut rows = self.toolchain(&needs);
        rows.insert(0, Need::new("cc", self.linker.clone()));
        rows
    }

    /// All that this takes: what is there, what gets the rest, and room for it.
    pub fn toolchain(&self, needs: &Needs) -> Vec<Need> {
        // On a machine that there is no compiler for, it fails, which the row of the compiler shows.
        let missing = needs.missing(&self.installed, false).unwrap_or_else(|_| needs.clone());
        let mut rows = vec![Need::new("cache", self.cache.clone().and_then(|cache| cache.check(&missing)))];
        match zig::name() {
            Err(error) => rows.push(Need::new("compiler", Err(error.into()))),
            Ok(name) if self.installed.cached.contains(&name) => rows.push(Need::new("compiler", Ok(name))),
            Ok(_) if missing.zig => {
                rows.push(Need::new("compiler", self.fetch(zig::PACKAGE, "pip", Some(zig::DOWNLOAD_MB))))
            }
            Ok(_) => {}
        }
        if let Some(image) = &missing.image {
            rows.push(Need::new("image", self.fetch(image, "the engine", None)));
        }
        for arch in ARCHES.iter().filter(|arch| needs.std.contains(&arch.triple)) {
            let found = match missing.std.contains(&arch.triple) {
                true => self.fetch("not here", "rustup", Some(STD_MB)),
                false => Ok("prebuilt".into()),
            };
            rows.push(Need::new(format!("std {arch}"), found));
        }
        for sysroot in &needs.sysroots {
            let found = match missing.sysroots.contains(sysroot) {
                true => Err(Status::new(State::ToBuild, "from its sources, once")),
                false => Ok("in the cache".into()),
            };
            rows.push(Need::new(format!("std {}", sysroot.arch), found));
        }
        if missing.rust_src {
            rows.push(Need::new("rust-src", self.fetch("not here", "rustup", Some(RUST_SRC_MB))));
        }
        // A program that gets others is needed while they are missing, unless it may not get them.
        if !self.offline && (missing.rust_src || !missing.std.is_empty()) {
            rows.push(Need::new("rustup", self.rustup.clone()));
        }
        if !self.offline && missing.zig {
            rows.push(Need::new("pip", self.pip.clone()));
        }
        rows
    }

    /// What some verb needs on another machine, or another day.
    pub fn others(&self) -> Vec<Need> {
        let absent = |detail: &str| Err(Status::new(State::Optional, detail));
        let rust_src = if self.installed.rust_src { Ok("here".into()) } else { absent("not here") };
        let mut needs = vec![
            Need::new("compiler", absent("not in the cache")),
            Need::new("rust-src", self.rust.as_ref().map_err(|_| Status::unknown("Rust")).and(rust_src)),
            Need::new("rustup", self.rustup.clone()),
            Need::new("pip", self.pip.clone()),
        ];
        let engines = self.engines.iter();
        needs
            .extend(engines.map(|(kind, found)| Need::new(kind.program(), found.clone().map(|engine| engine.version))));
        needs
    }

    /// Something that the next run downloads.
    fn fetch(&self, detail: &str, by: &str, megabytes: Option<u64>) -> Found {
        Err(machine::fetch(self.offline, detail, by, megabytes))
    }
}

impl Space {
    /// Whether the cache will do for making what is missing.
    fn check(self, missing: &Needs) -> Found {
        let Space { folder, used, free, writable } = self;
        let zig = if missing.zig { zig::SPACE_MB } else { 0 };
        let wanted = (zig + missing.sysroots.len() as u64 * sysroot::SPACE_MB) * 1_000_000;
        let writes = *missing != Needs { image: missing.image.clone(), ..Needs::default() };
        let (used, room) = (screen::size(used), screen::size(free));
        match writable {
            Err(why) if writes => {
                Err(Status::missing(format!("{folder}: {why}"), "set BPFSHIP_CACHE to a folder that can be written"))
            }
            Err(_) => Ok(format!("{folder}: {used}, read-only, which does while nothing is missing")),
            Ok(()) if wanted > free => Err(Status::missing(
                format!("{folder}: {room} free, and {} are needed", screen::size(wanted)),
                "free some space, or set BPFSHIP_CACHE to a folder on a larger disk",
            )),
            Ok(()) => Ok(format!("{folder}: {used}, and {room} free")),
        }
    }
}

//! What `deploy` does with a target: decided from what it is and what is released.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::arch::{Arch, Endian};
use crate::deploy::facts::{Target, There};
use crate::deploy::script::{Change, Place};
use crate::deploy::ssh::Ssh;
use crate::deploy::unit::{self, Runs};
use crate::release::manifest::{Archive, Artifact, Binary, Manifest};
use crate::sys::hash;
use crate::ui::error::bad_request;
use crate::workspace::config;
use crate::workspace::products::Deploy;

/// KiB that must be free besides the binary.
const ROOM: u64 = 512;

/// Seconds for one command of the application's.
const LIMIT: u64 = 180;

/// What the user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Install,
    /// An earlier version, or the one before.
    Rollback(Option<String>),
    Uninstall,
}

/// What is the same for all targets.
#[derive(Debug)]
pub struct Request<'a> {
    pub wanted: Wanted,
    pub service: bool,
    pub keep: usize,
    pub confirm: u64,
    pub watch: u64,
    /// How many targets are first, and how many are done at once after them.
    pub canary: Option<usize>,
    pub batch: Option<usize>,
    pub config: &'a Deploy,
    pub place: Place,
    pub ssh: Ssh,
    /// Where the archives are.
    pub folder: PathBuf,
    pub manifest: Option<&'a Manifest>,
}

/// What will be done on a target.
#[derive(Debug)]
pub enum Decision {
    /// It is as it should be; why.
    Nothing(String),
    /// With the archive that is sent, if it is not there.
    Change(Box<(Change, Option<Artifact>)>),
    Uninstall,
}

/// A decision, and what the user should know of the target.
#[derive(Debug)]
pub struct Decided {
    pub decision: Decision,
    pub r#become: Option<String>,
    pub notes: Vec<String>,
}

/// The architecture whose binary runs on a target. `released` are those that there are archives for; none if they are yet to be
/// built.
pub fn arch(target: &Target, released: &[&'static Arch]) -> Result<&'static Arch> {
    if target.system != "Linux" {
        bail!("it runs {}, and a program of Linux runs nowhere else", or_nothing(&target.system));
    }
    let Ok(arch) = target.machine.parse::<&'static Arch>() else {
        bail!("its machine is `{}`, which is none that is shipped for (`cargo xtask dist --help`)", target.machine);
    };
    // `mips` is the kernel's word for both byte orders.
    let endian = match target.elf {
        Some((_, 1)) => Endian::Little,
        Some(_) => Endian::Big,
        None => arch.endian,
    };
    let Some(arch) = arch.of_byte_order(endian) else {
        bail!("its programs are not {}-endian, as those for {arch} are", arch.endian.name());
    };
    if let Some(page) = target.page.filter(|page| *page > arch.max_page_size) {
        bail!("its pages have {page} bytes, and binaries for {arch} are made for {} at most", arch.max_page_size);
    }
    Ok(arch.or_older(released))
}

/// Decides what is done on a target; or says why nothing can be, with what helps.
pub fn decide(target: &Target, request: &Request) -> Result<Decided> {
    let Place { name, folder, .. } = &request.place;
    let mut notes = notes(target, request);
    if let Some(owner) = &target.locked {
        bail!("{owner} is deploying to it now: wait for that to end");
    }
    let r#become = match (target.uid, &target.r#become) {
        (0, _) => None,
        (_, Some(program)) => Some(program.clone()),
        (_, None) if target.writable && !request.service && !target.own_unit => None,
        _ => bail!(
            "{} is not root there and neither sudo nor doas makes it root without a password: call it root@…, allow that, or \
             use --dir with a folder of its own and no --service",
            or_nothing(&target.user)
        ),
    };
    match &target.there {
        There::Link(to) => {
            bail!("{folder}/{name} is a link to {to}, which is not ours: remove it, or use another --dir")
        }
        There::Other => bail!("{folder}/{name} is no file: remove it, or use another --dir"),
        _ => {}
    }
    if request.wanted == Wanted::Uninstall {
        let has_unit = target.own_unit;
        if target.versions.is_empty() && !has_unit && target.current().is_none() {
            return Ok(Decided { decision: Decision::Nothing("it is not installed there".into()), r#become, notes });
        }
        return Ok(Decided { decision: Decision::Uninstall, r#become, notes });
    }
    if !target.hashes {
        bail!("it has no sha256sum, so nobody there can check what arrives: install coreutils or a busybox with it");
    }
    if let Some((at, options)) = &target.mounted {
        let has = |word: &str| options.split(',').any(|option| option == word);
        if has("ro") {
            bail!("{folder} is on {at}, which is mounted read-only: `mount -o remount,rw {at}`, or use another --dir");
        }
        if has("noexec") {
            bail!(
                "{folder} is on {at}, which is mounted noexec, so that no program there can be started: use another --dir"
            );
        }
    }
    if r#become.is_none() && !target.writable {
        bail!("{} cannot write to {}: use another --dir", or_nothing(&target.user), target.existing);
    }
    if request.service && target.init != "systemd" {
        bail!(
            "--service writes units of systemd, and it runs {}: leave --service out, and start {folder}/{name} from a script of \
             its own (docs/deploy.md has one for OpenRC, procd and init)",
            or_nothing(&target.init)
        );
    }
    if request.service && target.unit.is_some() && !target.own_unit {
        bail!("it has a unit {name}.service that is not ours: remove it, or leave --service out");
    }
    let mut size = 0;
    let (version, sha256, artifact) = match &request.wanted {
        Wanted::Rollback(wanted) => {
            let version = earlier(target, wanted.as_deref())?;
            let Some(sha256) = target.versions.iter().find(|(name, _)| *name == version).and_then(|(_, hash)| *hash)
            else {
                bail!("{version} is not there any more, or cannot be read");
            };
            // The name of a version has the beginning of its hash.
            if !version.ends_with(&format!("-{sha256:.12}")) {
                bail!("{version} is not what it was when it was deployed: deploy it again");
            }
            (version, sha256, None)
        }
        _ => {
            let (release, artifact, binary) = archive(target, request)?;
            size = usize::try_from(binary.size)?;
            (format!("{}-{:.12}", release.version, binary.sha256), binary.sha256, Some(artifact))
        }
    };
    if let (Some(kernel), Some(artifact)) = (target.kernel(), &artifact)
        && config::kernel_version(&artifact.minimum_kernel).is_some_and(|needed| kernel < needed)
    {
        notes.push(format!(
            "its kernel is {}, and {name} is made for {} or newer",
            target.release, artifact.minimum_kernel
        ));
    }
    let is_there = target.versions.iter().any(|(name, hash)| *name == version && *hash == Some(sha256));
    if is_there {
        size = 0;
    }
    let needed = size as u64 / 1024 + ROOM;
    if size > 0 && target.free.is_some_and(|free| free < needed) {
        bail!(
            "{needed} kB are needed in {folder}, and {} are free: make room, or use another --dir",
            target.free.unwrap_or_default()
        );
    }
    let runs = Runs { name, folder, kernel: target.unit_kernel() };
    let service = request.service.then(|| unit::text(request.config, &runs));
    // The text as it is in the file.
    let unit_hash = service.as_ref().map(|text| hash::bytes(format!("{}\n", text.trim_end()).as_bytes()).to_string());
    let has_unit = match (&unit_hash, &target.unit) {
        (None, _) => true,
        (Some(hash), Some((found, state))) => found == hash && state.contains("ActiveState=active"),
        (Some(_), None) => false,
    };
    if target.current() == Some(version.as_str()) && is_there && has_unit && !target.pending {
        return Ok(Decided { decision: Decision::Nothing(format!("{version} is current already")), r#become, notes });
    }
    let change = Change {
        version,
        sha256,
        size,
        preflight: request.config.preflight.clone(),
        self_test: request.config.self_test.clone(),
        service,
        limit: LIMIT,
        watch: request.watch,
        confirm: request.confirm,
        keep: request.keep,
    };
    let artifact = artifact.filter(|_| size > 0);
    Ok(Decided { decision: Decision::Change(Box::new((change, artifact))), r#become, notes })
}

/// What should be known of a target and is no reason to do nothing.
fn notes(target: &Target, request: &Request) -> Vec<String> {
    let mut notes = Vec::new();
    if target.pending {
        notes.push("a deployment to it was cut off, and is undone first".into());
    }
    if let Some(undone) = &target.undone {
        notes.push(format!("the deployment before was undone: {undone}"));
    }
    if request.wanted == Wanted::Uninstall {
        return notes;
    }
    if let (Some((1, _)), Ok(arch)) = (target.elf, target.machine.parse::<&'static Arch>())
        && arch.bits == 64
    {
        notes.push(format!("its programs have 32 bits and its kernel 64: the binary for {arch} runs there"));
    }
    if !target.btf && !target.tracefs {
        notes.push(
            "its kernel has no BTF, and tracefs is not mounted: `mount -t tracefs tracefs /sys/kernel/tracing`".into(),
        );
    }
    if request.service
        && let Some(level) = target.paranoid.filter(|level| *level > 2)
    {
        let kernel = target.unit_kernel();
        let name = &request.place.name;
        notes.push(match request.config.perf_events.are_used(kernel.btf) {
            true => format!(
                "its kernel.perf_event_paranoid is {level}, so the service gets CAP_SYS_ADMIN for perf events: with 2 it would not need it"
            ),
            false => format!(
                "its kernel.perf_event_paranoid is {level}: if {name} opens perf events, by which probes and tracepoints are attached, set \
                 {} and its service gets CAP_SYS_ADMIN",
                crate::workspace::keys::key("deploy.perf-events")
            ),
        });
    }
    if target.year.is_some_and(|year| year < 2024) {
        notes.push("its clock is wrong: set it, or what it records has wrong times".into());
    }
    notes
}

/// The version to go back to.
fn earlier(target: &Target, wanted: Option<&str>) -> Result<String> {
    let others = target.history.iter().rev().filter(|version| Some(version.as_str()) != target.current());
    let others: Vec<&String> = others.collect();
    let known = || match others.as_slice() {
        [] => "it has no other".to_owned(),
        some => format!("it has {}", some.iter().map(|version| version.as_str()).collect::<Vec<_>>().join(", ")),
    };
    match wanted {
        None => match others.first() {
            Some(version) => Ok((*version).clone()),
            None => bad_request!("there is no version to go back to"),
        },
        Some(wanted) => {
            let fitting: Vec<&&String> = others.iter().filter(|version| version.starts_with(wanted)).collect();
            match fitting.as_slice() {
                [version] => Ok((**version).clone()),
                [] if target.current().is_some_and(|current| current.starts_with(wanted)) => {
                    Ok(target.current().unwrap_or_default().to_owned())
                }
                [] => bad_request!("it has no version `{wanted}` to go back to: {}", known()),
                _ => bad_request!("`{wanted}` fits several versions: {}", known()),
            }
        }
    }
}

/// What is sent to a target: the archive, and what of it.
fn archive<'a>(target: &Target, request: &'a Request) -> Result<(&'a Archive, Artifact, Binary)> {
    let name = &request.place.name;
    let Some((release, artifacts)) = request.manifest.and_then(|manifest| manifest.with_binary(name)) else {
        bail!("there is no archive with {name} in {}: `cargo xtask dist` makes it", request.folder.display());
    };
    let released: Vec<&'static Arch> = artifacts.iter().map(|(artifact, _)| artifact.arch).collect();
    let arch = arch(target, &released)?;
    match artifacts.into_iter().find(|(artifact, _)| artifact.arch == arch) {
        Some((artifact, binary)) => Ok((release, artifact.clone(), binary.clone())),
        None => bail!(
            "there is no archive for {arch} in {}: `cargo xtask dist --arch {arch}` makes it",
            request.folder.display()
        ),
    }
}

fn or_nothing(word: &str) -> &str {
    if word.is_empty() { "something unknown" } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::report::Report;
    use crate::release::manifest::Rustc;

    const TOKEN: &str = "12ab";

    fn place() -> Place {
        Place { name: "probe".into(), folder: "/usr/local/bin".into(), operator: "ann@desk".into() }
    }

    /// What a Raspberry Pi with nothing on it reports, with other lines in place of, or in addition to, its own.
    fn target(other: &[&str]) -> Target {
        let word = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        let hash = hash::bytes(b"x");
        let usual = [
            "machine aarch64".to_owned(),
            "kernel Linux 6.6.31+rpt-rpi-v8".into(),
            "elf  127 69 76 70 2 1 1 0 0 0 0 0 0 0 0 0 3 0 183 0".into(),
            "page 4".into(),
            "btf no".into(),
            "tracefs yes".into(),
            "init systemd".into(),
            "year 2026".into(),
            "user 0 root".into(),
            format!("hash {hash}"),
            "free 4000000".into(),
            "mount / rw,noatime".into(),
            "existing /usr/local/bin".into(),
            "writable".into(),
        ];
        let mut report = Report::default();
        let mut take = |line: &str| assert!(report.take(TOKEN, &format!("@{TOKEN} {line}")).is_continue());
        usual.iter().filter(|line| other.iter().all(|it| word(it) != word(line))).for_each(|line| take(line));
        other.iter().filter(|line| !line.starts_with("writable no")).for_each(|line| take(line));
        Target::of(&report, &place()).unwrap()
    }

    fn manifest(arches: &[&'static str]) -> Manifest {
        let of = |name: &&'static str| Artifact::example("1.0.0", Arch::named(name), name.as_bytes());
        Manifest {
            schema: crate::release::manifest::SCHEMA,
            archives: vec![Archive::example("1.0.0")],
            commit: None,
            dirty: false,
            source_date_epoch: 0,
            cargo_lock: hash::bytes(b""),
            cargo_toml: hash::bytes(b""),
            bpf_lock: None,
            rustc: Rustc { version: "1".into(), commit: "c".into(), llvm: "22".into() },
            c_compiler: "zig".into(),
            flags: Vec::new(),
            compressor: "x".into(),
            bpf_objects: Vec::new(),
            artifacts: arches.iter().map(of).collect(),
        }
    }

    fn decided(other: &[&str], change: impl FnOnce(&mut Request)) -> Result<Decided> {
        let manifest = manifest(&["arm64", "mips", "arm"]);
        let config = Deploy { self_test: vec![vec!["--self-test".into()]], ..Deploy::default() };
        let mut request = Request {
            wanted: Wanted::Install,
            service: false,
            keep: 3,
            confirm: 60,
            watch: 60,
            canary: None,
            batch: None,
            config: &config,
            place: place(),
            ssh: Ssh { folder: "/tmp/x".into(), config: None },
            folder: "/dist".into(),
            manifest: Some(&manifest),
        };
        change(&mut request);
        decide(&target(other), &request)
    }

    #[track_caller]
    fn refused(other: &[&str], words: &str) {
        let error = decided(other, |_| {}).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    /// What is changed, and the archive that is sent for it.
    #[track_caller]
    fn changed(decided: Result<Decided>) -> (Change, Option<Artifact>) {
        match decided.unwrap().decision {
            Decision::Change(both) => *both,
            other => panic!("{other:?}"),
        }
    }

    fn version() -> String {
        format!("1.0.0-{:.12}", hash::bytes(b"probe"))
    }

    #[test]
    fn a_target_gets_the_binary_for_its_machine_once() {
        let (change, artifact) = changed(decided(&[], |_| {}));
        assert_eq!((change.version.as_str(), change.size), (version().as_str(), 5));
        assert_eq!(artifact.unwrap().arch.name, "arm64");

        let sha256 = hash::bytes(b"probe");
        let there = [format!("version {} {sha256}", version()), format!("link .probe/{}", version())];
        let there: Vec<&str> = there.iter().map(String::as_str).collect();
        assert!(matches!(decided(&there, |_| {}).unwrap().decision, Decision::Nothing(_)));
        // It is there, and something else is current: it is not sent again.
        let (change, artifact) = changed(decided(&[there[0], "link .probe/0.9.0-1"], |_| {}));
        assert!(change.size == 0 && artifact.is_none());
        // What is there under its name is something else.
        let bad = format!("version {} {}", version(), hash::bytes(b"other"));
        let (change, _) = changed(decided(&[&bad, there[1]], |_| {}));
        assert_eq!(change.size, 5);
    }

    #[test]
    fn the_word_of_the_kernel_is_not_all_there_is_to_a_machine() {
        for (machine, elf, arch) in [
            ("mips", "elf 127 69 76 70 1 2", "mips"),
            ("armv6l", "elf 127 69 76 70 1 1", "arm"),
            // There is no archive for ARMv7, and ARMv6 runs on it.
            ("armv7l", "elf 127 69 76 70 1 1", "arm"),
        ] {
            let (_, artifact) = changed(decided(&[&format!("machine {machine}"), elf], |_| {}));
            assert_eq!(artifact.unwrap().arch.name, arch, "{machine}");
        }
        refused(&["machine mips", "elf 127 69 76 70 1 1"], "there is no archive for mipsle in /dist");
        refused(&["machine s390x", "elf 127 69 76 70 2 1"], "its programs are not big-endian");
        refused(&["machine riscv128"], "its machine is `riscv128`, which is none that is shipped for");
        refused(
            &["machine x86_64"],
            "there is no archive for amd64 in /dist: `cargo xtask dist --arch amd64` makes it",
        );
        refused(&["kernel FreeBSD 14.1"], "it runs FreeBSD");
        refused(&["page 256"], "its pages have 262144 bytes");
    }

    #[test]
    fn what_stands_in_the_way_is_said_with_what_helps() {
        refused(&["free 100"], "517 kB are needed in /usr/local/bin".replace("517", "512").as_str());
        refused(&["mount / ro,noatime"], "mounted read-only");
        refused(&["mount /usr rw,noexec"], "mounted noexec");
        refused(&["user 1000 pi", "writable no"], "pi is not root there and neither sudo nor doas");
        refused(&["hash none"], "it has no sha256sum");
        refused(&["link /opt/probe"], "is a link to /opt/probe, which is not ours");
        refused(&["other"], "is no file");
        refused(&["locked bob@lap"], "bob@lap is deploying to it now");
        let error = decided(&["init procd"], |request| request.service = true).unwrap_err().to_string();
        assert!(error.contains("it runs procd: leave --service out"), "{error}");
        let error = decided(&["unit 12 ActiveState=active"], |request| request.service = true).unwrap_err().to_string();
        assert!(error.contains("a unit probe.service that is not ours"), "{error}");
    }

    #[test]
    fn whoever_may_write_there_or_becomes_root_without_a_password_is_let_in() {
        let of = |other: &[&str]| decided(other, |_| {}).unwrap().r#become;
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["user 1000 pi"]), None);
        assert_eq!(of(&["user 1000 pi", "become doas", "writable no"]).as_deref(), Some("doas"));
        assert_eq!(of(&["user 1000 pi", "become rm"]), None);
    }

    #[test]
    fn what_should_be_known_is_said() {
        let notes = |other: &[&str]| decided(other, |_| {}).unwrap().notes.join("\n");
        assert_eq!(notes(&[]), "");
        assert!(notes(&["elf 127 69 76 70 1 1"]).contains("its programs have 32 bits and its kernel 64"));
        assert!(notes(&["tracefs no"]).contains("tracefs is not mounted"));
        assert!(notes(&["year 1970"]).contains("its clock is wrong"));
        assert!(notes(&["kernel Linux 4.19.0"]).contains("is made for 5.10 or newer"));
        assert!(notes(&["pending 12"]).contains("is undone first"));
        let of_a_service = |line: &str| decided(&[line], |request| request.service = true).unwrap().notes.join("\n");
        assert_eq!(of_a_service("paranoid 2"), "");
        let note = of_a_service("paranoid 3");
        assert!(note.contains("kernel.perf_event_paranoid is 3: if probe opens perf events"), "{note}");
        assert!(!notes(&["paranoid 3"]).contains("paranoid"));
    }

    #[test]
    fn who_goes_back_goes_to_the_version_before_or_to_one_by_its_beginning() {
        let (one, two) = (hash::bytes(b"1"), hash::bytes(b"2"));
        let (first, second) = (format!("1.0.0-{one:.12}"), format!("1.1.0-{two:.12}"));
        let lines = [
            format!("version {first} {one}"),
            format!("version {second} {two}"),
            format!("history {first}"),
            format!("history {second}"),
            format!("link .probe/{second}"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let to = |wanted: Option<&str>| {
            decided(&lines, |request| {
                request.manifest = None;
                request.wanted = Wanted::Rollback(wanted.map(String::from));
            })
        };
        for wanted in [None, Some("1.0"), Some("1.0.0")] {
            let (change, artifact) = changed(to(wanted));
            assert!(change.version == first && change.size == 0 && artifact.is_none());
        }
        assert!(matches!(to(Some("1.1")).unwrap().decision, Decision::Nothing(_)));
        assert!(
            to(Some("2")).unwrap_err().to_string().contains(&format!("no version `2` to go back to: it has {first}"))
        );
    }
}

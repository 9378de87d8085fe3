//! `verify`: whether archives are what they should be, in `dist/` or wherever they were downloaded to.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bpfship::testing::hash;
use bpfship::testing::{manifest, pack};
use flate2::read::GzDecoder;
use memchr::memmem;
use serde_json::{Value, json};
use tar::{EntryType, Header};

use super::support::{Run, Workspace, has, list, own_root, python as python_has};

const AMD64: &str = "tool-0.3.0-x86_64-unknown-linux-musl.tar.gz";
const ARM64: &str = "tool-0.3.0-aarch64-unknown-linux-musl.tar.gz";
const S390X: &str = "tool-0.3.0-s390x-unknown-linux-musl.tar.gz";

/// What `dist` makes for three architectures, and the BPF objects, by file name.
fn release() -> &'static BTreeMap<String, Vec<u8>> {
    static RELEASE: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    RELEASE.get_or_init(|| {
        let workspace = Workspace::usual("release");
        workspace.xtask("dist --arch amd64,arm64,s390x").succeeds();
        let read = |folder: &str| -> BTreeMap<String, Vec<u8>> {
            let bytes = |name: &String| fs::read(workspace.path(folder).join(name)).unwrap();
            workspace.list(folder).into_iter().map(|name| (name.clone(), bytes(&name))).collect()
        };
        let mut files = read("dist");
        files.extend(read("kernel/objects"));
        files
    })
}

/// A folder of downloads, on a machine without a checkout, Rust, git, or any other program.
struct Downloads(Workspace);

impl Downloads {
    fn of(names: &[&str]) -> Downloads {
        let folder = Workspace::empty("downloads").env("PATH", "/nonexistent").env("HOME", "/nonexistent");
        names.iter().fold(Downloads(folder), |downloads, name| downloads.with(name, &release()[*name]))
    }

    fn everything() -> Downloads {
        let is_for_download = |name: &&str| !name.ends_with(".o");
        Downloads::of(&release().keys().map(String::as_str).filter(is_for_download).collect::<Vec<_>>())
    }

    fn with(self, name: &str, bytes: impl AsRef<[u8]>) -> Downloads {
        fs::write(self.0.path(name), bytes).unwrap();
        self
    }

    fn without(self, name: &str) -> Downloads {
        fs::remove_file(self.0.path(name)).unwrap();
        self
    }

    /// The manifest, with another value at a JSON pointer.
    fn with_manifest(self, pointer: &str, value: Value) -> Downloads {
        let mut manifest: Value = serde_json::from_slice(&release()["release.json"]).unwrap();
        *manifest.pointer_mut(pointer).unwrap() = value;
        self.with("release.json", manifest.to_string())
    }

    fn verify(&self, line: &str) -> Run {
        self.0.xtask(&format!("verify {line}"))
    }
}

/// The faults of an archive without other files beside it.
fn alone(name: &str, archive: &[u8]) -> Run {
    Downloads::of(&[]).with(name, archive).verify(&format!("-q --no-checksum {name}"))
}

/// The entries of an archive.
type Parts = Vec<(Header, Vec<u8>)>;

fn parts(archive: &[u8]) -> Parts {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    let part = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.header().clone(), bytes)
    };
    archive.entries().unwrap().map(part).collect()
}

/// An archive that was altered by somebody who knows how they are made.
fn altered(archive: &[u8], alter: impl FnOnce(&mut Parts)) -> Vec<u8> {
    let mut parts = parts(archive);
    alter(&mut parts);
    let mut tar = Vec::new();
    for (mut header, bytes) in parts {
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.extend(header.as_bytes());
        tar.extend(&bytes);
        tar.resize(tar.len().next_multiple_of(pack::BLOCK), 0);
    }
    tar.resize(tar.len() + 2 * pack::BLOCK, 0);
    pack::gzip(&tar).unwrap()
}

/// The binary is the last file by name.
fn binary(parts: &mut Parts) -> &mut (Header, Vec<u8>) {
    let last = parts.last_mut().unwrap();
    assert!(last.0.path().unwrap().ends_with("probe"));
    last
}

fn set_name(header: &mut Header, name: &str) {
    let field = &mut header.as_old_mut().name;
    *field = [0; 100];
    field[..name.len()].copy_from_slice(name.as_bytes());
}

#[test]
fn what_dist_makes_is_right() {
    let workspace = Workspace::usual("verified");
    workspace.xtask("verify").ends_with(2).says("there is no release.json in").says("run `cargo xtask dist`");
    workspace.xtask("dist --arch amd64").succeeds();
    // Of another version, it is in no manifest.
    let workspace = workspace.write("dist/tool-0.2.9-x86_64-unknown-linux-musl.tar.gz", "no archive");
    workspace
        .xtask("verify")
        .succeeds()
        .says(&format!("{AMD64}  "))
        .says("  ok  .sha256, SHA256SUMS, release.json\n")
        .in_one_line();
    fs::remove_file(workspace.path("dist").join(AMD64)).unwrap();
    workspace.xtask("verify").ends_with(1).says(&format!("{AMD64}: it is not there, although it is named"));
}

#[test]
fn a_release_is_checked_without_a_checkout() {
    let downloads = Downloads::everything();
    let text = downloads.verify(".").succeeds().text();
    let names: Vec<&str> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, [ARM64, S390X, AMD64].map(|name| format!("./{name}")));
    assert_eq!(text.lines().filter(|line| line.ends_with("  ok  .sha256, SHA256SUMS, release.json")).count(), 3);
    assert!(text.contains(&format!("{:.12}", hash::bytes(&release()[ARM64]))), "{text}");

    let found = &downloads.verify("--json .").succeeds().json()["files"];
    assert_eq!(found[2]["file"], format!("./{AMD64}"));
    assert_eq!(found[2]["ok"], true);
    assert_eq!(found[2]["sha256"], hash::bytes(&release()[AMD64]).to_string());
    downloads.verify("-q .").succeeds().says_nothing_of("ok");
    downloads.0.xtask("verify").ends_with(2).says("no archive is named").says("there is no Cargo.toml in");
}

#[test]
fn an_archive_is_checked_against_whatever_lies_beside_it() {
    let downloads = Downloads::of(&[ARM64]);
    downloads.verify(ARM64).ends_with(1).says(&format!("{ARM64}: its checksum is not known: get {ARM64}.sha256"));
    downloads
        .verify(&format!("--no-checksum {ARM64}"))
        .succeeds()
        .says("  ok  no checksum\n")
        .says("no release.json: the BPF objects were checked for form and byte order only");
    for (beside, source) in [
        (format!("{ARM64}.sha256"), ".sha256"),
        ("SHA256SUMS".into(), "SHA256SUMS"),
        ("release.json".into(), "release.json"),
    ] {
        Downloads::of(&[ARM64, &beside]).verify(ARM64).succeeds().says(&format!("  ok  {source}\n"));
    }
    // One that the manifest does not name is right as far as is known, and counted.
    let other = AMD64.replace("0.3.0", "0.2.9");
    let renamed = altered(&release()[AMD64], |parts| {
        for (header, _) in parts {
            let name = header.path().unwrap().display().to_string();
            set_name(header, &name.replace("tool-0.3.0", "tool-0.2.9"));
        }
    });
    let list = format!("{}  {other}\n", hash::bytes(&renamed));
    let downloads = Downloads::everything().with(&other, &renamed).with(&format!("{other}.sha256"), list);
    let run = downloads.verify(".").succeeds().says(&format!("{other}  ")).says("release.json does not name it");
    run.says("\n1 of 4 is not in release.json, which says nothing of what is in them\n");
    let found = downloads.verify("--json .").succeeds().json();
    assert_eq!(found["not_in_manifest"], json!([format!("./{other}")]));
    assert_eq!(Downloads::everything().verify("--json .").succeeds().json()["not_in_manifest"], json!([]));
    // The manifest names others, too, and their absence is no fault of this one.
    let downloads = Downloads::everything().without(AMD64);
    let path = downloads.0.path(ARM64);
    downloads.verify(path.to_str().unwrap()).succeeds().in_one_line();
    downloads.verify(".").ends_with(1).says(&format!("error: ./{AMD64}: it is not there")).says(&format!("{S390X}  "));
}

#[test]
fn one_byte_is_enough() {
    let mut archive = release()[AMD64].clone();
    let middle = archive.len() / 2;
    archive[middle] ^= 1;
    let downloads = Downloads::everything().with(AMD64, &archive);
    let mut run = downloads.verify(".").ends_with(1).says(&format!("{ARM64}  ")).says("its gzip stream is damaged");
    for source in [".sha256", "SHA256SUMS", "release.json"] {
        let sha256 = hash::bytes(&archive);
        run = run.says(&format!("./{AMD64}: its SHA-256 is {sha256:.12}…, and {source} has"));
    }

    let output = downloads.0.command("verify --json .").output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = &found["files"];
    assert_eq!(found[2]["ok"], false);
    assert!(found[2]["faults"].as_array().unwrap().len() >= 4, "{found:#}");
}

#[test]
fn all_sources_of_a_checksum_must_agree() {
    let wrong = manifest::checksum_line(&"0".repeat(64).parse().unwrap(), AMD64);
    Downloads::everything()
        .with(&format!("{AMD64}.sha256"), &wrong)
        .verify(AMD64)
        .ends_with(1)
        .says("…, and .sha256 has 000000000000…: get it again")
        .in_one_line();
    Downloads::everything()
        .with("SHA256SUMS", &wrong)
        .verify(&format!("-q {AMD64}"))
        .ends_with(1)
        .says(&format!("  {AMD64}: its SHA-256 is"))
        .says("…, and SHA256SUMS has 000000000000…")
        .says(&format!("  SHA256SUMS: it disagrees with release.json about {AMD64}"))
        .says(&format!("  SHA256SUMS: it disagrees with release.json about {ARM64}"));
    let of_another = release()[&format!("{ARM64}.sha256")].clone();
    Downloads::of(&[AMD64])
        .with(&format!("{AMD64}.sha256"), of_another)
        .verify(&format!("-q {AMD64}"))
        .ends_with(1)
        .says("its .sha256 cannot be used: it is about something else");
    Downloads::of(&[AMD64])
        .with(&format!("{AMD64}.sha256"), "\u{1b}[2J")
        .with("SHA256SUMS", [0xff])
        .verify(".")
        .ends_with(1)
        .says("its .sha256 cannot be used: its line 1 is not a SHA-256")
        .says("./SHA256SUMS: it is not text");
}

#[test]
fn what_is_not_one_gzip_stream_is_refused() {
    let archive = &release()[AMD64];
    let second = pack::gzip(b"").unwrap();
    alone(AMD64, &[archive.as_slice(), &second].concat()).ends_with(1).says("a second gzip stream").in_one_line();
    alone(AMD64, &[archive, b"and more".as_slice()].concat()).ends_with(1).says("8 bytes more").in_one_line();
    alone(AMD64, &archive[..archive.len() - 1000]).ends_with(1).says("it is cut off: get it again").in_one_line();
    alone(AMD64, b"").ends_with(1).says(&format!("error: {AMD64}: it is cut off")).in_one_line();
}

#[test]
fn another_layout_than_that_of_dist_is_refused() {
    type Alter = fn(&mut Parts);
    let file = |parts: &mut Parts, name: &str| {
        let mut added = parts.last().unwrap().0.clone();
        set_name(&mut added, name);
        added.set_mode(0o644);
        parts.push((added, b"x".to_vec()));
    };
    let cases: [(&str, Alter); 12] = [
        ("../x leads out of the archive", |parts| set_name(&mut parts[1].0, "../x")),
        ("/etc/x has an absolute name", |parts| set_name(&mut parts[1].0, "/etc/x")),
        ("COPYRIGHT-library.html is a symbolic link", |parts| parts[1].0.set_entry_type(EntryType::Symlink)),
        ("COPYRIGHT-library.html is a device", |parts| parts[1].0.set_entry_type(EntryType::Char)),
        ("probe has mode 4755", |parts| binary(parts).0.set_mode(0o4755)),
        ("probe has mode 777", |parts| binary(parts).0.set_mode(0o777)),
        ("probe belongs to user 1000 and group 0", |parts| binary(parts).0.set_uid(1000)),
        ("probe belongs to `me`", |parts| binary(parts).0.set_username("me").unwrap()),
        ("probe has another date", |parts| binary(parts).0.set_mtime(1)),
        ("COPYRIGHT-library.html is in it twice", |parts| parts.insert(2, parts[1].clone())),
        ("it is not sorted", |parts| parts.swap(1, 2)),
        ("there is no program in its folder", |parts| drop(parts.pop())),
    ];
    for (words, alter) in cases {
        alone(AMD64, &altered(&release()[AMD64], alter)).ends_with(1).says(words);
    }
    // As it may be: somebody else's tar writes the name of the owner.
    let by_root = altered(&release()[AMD64], |parts| {
        for (header, _) in parts {
            header.set_username("root").unwrap();
            header.set_groupname("root").unwrap();
        }
    });
    alone(AMD64, &by_root).succeeds();
    let renamed = AMD64.replace("tool", "tool-copy");
    alone(&renamed, &release()[AMD64]).ends_with(1).says("is not in the one folder that is named like the archive");
    let elsewhere = altered(&release()[AMD64], |parts| file(parts, "elsewhere/x"));
    alone(AMD64, &elsewhere).ends_with(1).says("elsewhere/x is not in the one folder").in_one_line();
}

/// An archive of one architecture, in a folder that is named for another one.
fn disguised(from: &str, to: &str) -> Vec<u8> {
    let [from_top, to_top] = [from, to].map(|name| name.strip_suffix(".tar.gz").unwrap());
    altered(&release()[from], |parts| {
        for (header, _) in parts {
            let name = header.path().unwrap().to_str().unwrap().replace(from_top, to_top);
            set_name(header, &name);
        }
    })
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_binary_of_another_architecture_is_refused() {
    alone(ARM64, &disguised(AMD64, ARM64)).ends_with(1).says("probe: it is for machine 62, and arm64 is 183");
    alone(AMD64, &disguised(ARM64, AMD64)).ends_with(1).says("probe: it is for machine 183").in_one_line();
    alone(AMD64, &disguised(S390X, AMD64))
        .ends_with(1)
        .says("probe: it is for machine 22")
        .says("probe: it is big-endian, and amd64 is little-endian")
        .says("no BPF object for amd64: it is big-endian, expected little-endian");
    // As it is, under another name.
    Downloads::of(&[ARM64, "SHA256SUMS", "release.json"])
        .with(AMD64, &release()[S390X])
        .verify(&format!("-q {AMD64}"))
        .ends_with(1)
        .says("SHA256SUMS has")
        .says("is not in the one folder");
}

#[test]
fn a_dynamic_binary_is_refused() {
    let dynamic = fs::read("/bin/true").unwrap();
    let archive = altered(&release()[AMD64], |parts| binary(parts).1 = dynamic);
    alone(AMD64, &archive)
        .ends_with(1)
        .says(&format!("  {AMD64}: probe: it asks for a loader (PT_INTERP)"))
        .says(&format!("  {AMD64}: probe: it has no section .bpf.NAME"));
}

#[test]
fn another_bpf_object_is_refused() {
    let replaced = |old: &[u8], new: &[u8]| {
        altered(&release()[AMD64], |parts| {
            let bytes = &mut binary(parts).1;
            let at = memmem::find(bytes, old).unwrap();
            bytes[at..at + old.len()].copy_from_slice(new);
        })
    };
    let [little, big] = ["tick_bpfel.o", "tick_bpfeb.o"].map(|name| release()[name].as_slice());
    let archive = replaced(little, big);
    alone(AMD64, &archive)
        .ends_with(1)
        .says("what is in its section .bpf.tick is no BPF object for amd64: it is big-endian")
        .in_one_line();

    // Still a BPF object, so only the manifest shows it.
    let licensed = memmem::find(little, b"GPL\0").unwrap();
    let mut other = little.to_vec();
    other[licensed] = b'L';
    let archive = replaced(little, &other);
    alone(AMD64, &archive).succeeds();
    Downloads::of(&["release.json"])
        .with(AMD64, &archive)
        .verify(AMD64)
        .ends_with(1)
        .says("probe: the BPF object in its section .bpf.tick is not the tick_bpfel.o of release.json")
        .says("probe does not match release.json");
}

#[test]
fn a_manifest_that_was_altered_is_seen() {
    let zeros = json!("0".repeat(64));
    // The artifacts are sorted by name, and so are the objects: bpfeb, bpfel.
    let cases = [
        ("/artifacts/0/file", json!("tool-0.3.0-mips-unknown-linux-musl.tar.gz"), "release.json: it names"),
        (
            "/artifacts/0/file",
            json!("../../etc/passwd"),
            "release.json: it names ../../etc/passwd, which is not tool 0.3.0",
        ),
        ("/artifacts/0/file", json!("\u{1b}[2J\n"), "\\u{1b}[2J\\n, which is not tool 0.3.0"),
        ("/artifacts/0/endianness", json!("big"), "which is not tool 0.3.0 for arm64"),
        ("/artifacts/0/sha256", zeros.clone(), "and release.json has 000000000000…"),
        ("/artifacts/0/sha256", json!("0"), "artifacts[0].sha256: `0` is no SHA-256"),
        ("/artifacts/0/size", json!(5), "bytes, and release.json has 5"),
        ("/artifacts/0/tar_sha256", zeros.clone(), "its uncompressed content does not match release.json"),
        ("/artifacts/0/binaries/0/file", json!("prob"), "-musl.tar.gz are not those of its products"),
        ("/artifacts/0/binaries/0/size", json!(5), "probe does not match release.json"),
        ("/artifacts/0/binaries/0/sha256", zeros.clone(), "probe does not match release.json"),
        ("/bpf_objects/1/sha256", zeros, "is not the tick_bpfel.o of release.json"),
        ("/bpf_objects/1/file", json!("tock_bpfel.o"), "has probe hold tick_bpfel.o, which it does not describe"),
        ("/bpf_objects", json!([]), "has probe hold tick_bpfel.o, which it does not describe"),
        (
            "/artifacts/0/binaries/0/bpf_objects",
            json!([]),
            "its section .bpf.tick belongs to no BPF object of release.json",
        ),
        ("/artifacts/0/archive", json!("tol"), "which is not tol"),
        ("/source_date_epoch", json!(1), "its date is not the source_date_epoch of release.json"),
        ("/schema", json!(1), "its schema is 1, and this tool knows 3"),
        ("/archives/0/version", json!("0.3.1"), "which is not tool 0.3.1 for arm64"),
        ("/artifacts", json!({}), "./release.json: not a manifest that this version understands"),
    ];
    for (pointer, value, words) in cases {
        let run = Downloads::everything().with_manifest(pointer, value).verify(".").ends_with(1).says(words);
        assert!(!run.text().contains('\u{1b}'));
    }
    let text = String::from_utf8(release()["release.json"].clone()).unwrap();
    for (name, words) in
        [("README.md", "README.md is not executable"), ("prob", "there is no prob in it, which release.json names")]
    {
        let altered = text.replace("\"probe\"", &format!("\"{name}\""));
        Downloads::everything().with("release.json", altered).verify(".").ends_with(1).says(words);
    }
    Downloads::everything()
        .with("release.json", "{}")
        .verify(AMD64)
        .ends_with(1)
        .says("release.json cannot be used: the BPF objects were checked for form and byte order only")
        .says("release.json: not a manifest that this version understands");
    Downloads::everything()
        .with("release.json", vec![b' '; 2 << 20])
        .verify(AMD64)
        .ends_with(1)
        .says("release.json: it has more than 1048576 bytes");
}

#[test]
fn a_bundle_of_sigstore_is_checked_by_its_own_program_offline_or_by_nobody() {
    const WORKFLOW: &str = "https://example.com/ann/tool/.github/workflows/release.yml@refs/tags/v0.3.0";
    let verify =
        |downloads: &Downloads, identity: &str| downloads.verify(&format!("--no-checksum --identity {identity} ."));
    let alone = Downloads::of(&[AMD64]);
    verify(&alone, WORKFLOW).ends_with(1).says("there is no bundle of Sigstore beside it: ");
    let bundled = alone.with("attestation.sigstore.json", "{}");
    verify(&bundled, WORKFLOW)
        .ends_with(1)
        .says("nothing here reads attestation.sigstore.json: run `pip install sigstore`")
        .says(&format!("python3 -m sigstore verify identity --offline --cert-identity {WORKFLOW} --cert-oidc-issuer"));
    // A module of Python that somebody put beside the archive is not run: it is started elsewhere.
    let folder = bundled.0.path("").canonicalize().unwrap();
    let folder = folder.display();
    let python = format!(
        "#!/bin/sh\n[ \"$(pwd)\" = / ] || exit 1\ncase \"$*\" in \"-m sigstore --version\") ;;\n\
         \"-m sigstore verify identity --offline --cert-identity {WORKFLOW} --cert-oidc-issuer \
         https://token.actions.githubusercontent.com --bundle {folder}/attestation.sigstore.json {folder}/{AMD64}\") ;;\n*) exit 1 ;; esac\n"
    );
    let bundled = Downloads(bundled.0.program("python3", &python));
    verify(&bundled, WORKFLOW).succeeds().says("ok  attestation.sigstore.json");
    verify(&bundled, "https://example.com/eve").ends_with(1).says("sigstore does not accept attestation.sigstore.json");
    if has("sigstore", "pip install sigstore", python_has("sigstore")) {
        let bundled = Downloads(bundled.0.env("PATH", &std::env::var("PATH").unwrap()));
        let refused = verify(&bundled, WORKFLOW).ends_with(1);
        refused.says("sigstore does not accept attestation.sigstore.json for it; (cd / && env");
    }
}

#[test]
fn a_wrong_request_is_refused() {
    let downloads = Downloads::of(&["SHA256SUMS"]);
    fs::create_dir(downloads.0.path("empty")).unwrap();
    downloads.verify("nowhere.tar.gz").ends_with(2).says("nowhere.tar.gz is not there").in_one_line();
    downloads.verify("empty").ends_with(2).says("there is nothing to verify in empty").in_one_line();
    downloads.verify("SHA256SUMS").ends_with(2).says("an archive (*.tar.gz), or a folder of them, is expected");
    // If one of several is wrong, nothing is checked.
    downloads.verify(". nowhere").ends_with(2).says("nowhere is not there").in_one_line();
    downloads.verify(".").ends_with(1).says(&format!("./{AMD64}: it is not there, although it is named"));
    downloads.with("tool.tar.gz", "").verify("tool.tar.gz").ends_with(1).says("it is not called NAME-VERSION-TARGET");
}

#[test]
fn what_never_ends_does_not_keep_anybody_waiting() {
    let downloads = Downloads::of(&[]);
    let fifo = std::process::Command::new("mkfifo").arg(downloads.0.path(AMD64)).status().unwrap();
    assert!(fifo.success());
    downloads.verify(AMD64).ends_with(2).says("cannot be verified");
    downloads.verify(".").ends_with(1).says("it is not a file").in_one_line();

    // 300 MiB of nothing, which gzip makes a thousandth of; and there is less memory than that.
    let mut zeros = pack::tar(AMD64.strip_suffix(".tar.gz").unwrap(), &BTreeMap::new(), 1).unwrap();
    zeros.resize(300 << 20, 0);
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(2));
    std::io::Write::write_all(&mut bomb, &zeros).unwrap();
    let bomb = bomb.finish().unwrap();
    let downloads = Downloads::of(&[]).with(AMD64, &bomb);
    let limited = "ulimit -v 250000 && exec \"$BPFSHIP\" verify -q --no-checksum .";
    let downloads = Downloads(downloads.0.env("PATH", &std::env::var("PATH").unwrap()));
    let begin = Instant::now();
    downloads.0.shell(limited).ends_with(1).says("it holds more than 256 MiB");
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn the_corpus_is_refused_by_the_tool_as_a_whole() {
    let corpus = own_root().join("xtask/tests/corpus");
    let mut downloads = Downloads::of(&[]);
    let mut names = Vec::new();
    for file in list(&corpus).into_iter().filter(|file| file.ends_with(".tar.gz")) {
        let name = format!("{}-x86_64-unknown-linux-musl.tar.gz", file.strip_suffix(".tar.gz").unwrap());
        downloads = downloads.with(&name, read(&corpus.join(file)));
        names.push(name);
    }
    let text = downloads.verify(".").ends_with(1).text();
    for name in names {
        assert!(text.contains(&format!("\n  ./{name}: ")), "nothing is printed about {name}:\n{text}");
    }
    assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}[2J"), "{text}");
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

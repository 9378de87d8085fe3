//! `sign`: who made a release, and what they state of it; and `verify` with the keys of those who are trusted.

use std::fs;

use bpfship::testing::boot_report::{Boot, Kernel, Report, Verdict};
use bpfship::testing::{Arch, hash};
use serde_json::Value;

use super::support::{Workspace, commit, has, python};

const ARCHIVE: &str = "tool-0.3.0-x86_64-unknown-linux-musl.tar.gz";

fn has_program(name: &str, how: &str) -> bool {
    has(name, how, Workspace::empty("program").shell(&format!("command -v {name}")).text().contains(name))
}

pub fn has_ssh_keygen() -> bool {
    has_program("ssh-keygen", "apt-get install openssh-client")
}

/// A release of one archive with a boot of it, and two keys: `ours`, and `other`.
pub fn released(name: &str) -> Workspace {
    let workspace = Workspace::usual(name).write(".gitignore", "target\ndist\nours*\nother*\n");
    workspace.xtask("bpf").succeeds();
    commit(&workspace);
    workspace.xtask("dist --arch amd64").succeeds();
    workspace.shell("for key in ours other; do ssh-keygen -q -t ed25519 -N '' -C '' -f $key; done").succeeds();
    let text = boot_report(&workspace.read("dist/release.json"));
    workspace.write("dist/boot-report.json", &text)
}

/// What a boot of the first archive of a manifest would have reported.
pub fn boot_report(manifest: &str) -> String {
    let manifest: Value = serde_json::from_str(manifest).unwrap();
    let artifact = &manifest["artifacts"][0];
    let sha256 = |value: &Value| value.as_str().unwrap().parse().unwrap();
    let boot = Boot {
        arch: Arch::named("amd64"),
        file: ARCHIVE.into(),
        sha256: sha256(&artifact["sha256"]),
        binaries: [("probe".to_owned(), sha256(&artifact["binaries"][0]["sha256"]))].into(),
        kernel: Kernel {
            label: "debian-12-6.1".into(),
            sha256: hash::bytes(b"kernel"),
            source: None,
            release: Some("6.1.0".into()),
            btf: Some(5_000_000),
            hidden_btf: None,
            jit: Some("on".into()),
            page: Some(4096),
        },
        qemu: "10.0".into(),
        machine: "q35".into(),
        cpu: "max".into(),
        commands: vec!["probe".into()],
        verdict: Verdict::Gaps(vec!["no uid".into()]),
        seconds: 7.5,
        date: "2026-11-22T10:00:00Z".into(),
    };
    let mut report = Report::new();
    report.add(vec![boot], |_| true);
    report.to_json().unwrap()
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_release_is_signed_and_whatever_is_altered_then_is_refused() {
    if !has_ssh_keygen() {
        return;
    }
    let workspace = released("sign");
    workspace.xtask("sign --plan").succeeds().says("# sign").says("provenance.intoto.jsonl");
    workspace.xtask("sign").ends_with(2).says("there is no key to sign with").in_one_line();
    workspace.xtask("sign --key dist/release.json").ends_with(2).says("no Ed25519 key");
    workspace.xtask("verify --signer ours.pub").ends_with(1).says("no signature of it is there");
    let secret = workspace.read("ours");
    let signed = workspace.xtask("sign -v --key ours").succeeds();
    for line in secret.lines().filter(|line| !line.starts_with("---")) {
        assert!(!signed.text().contains(line), "it prints the key");
    }
    let before = workspace.read(&format!("dist/{ARCHIVE}.minisig"));
    // The same key gives the same signatures, from wherever it is read.
    let workspace = workspace.env("BPFSHIP_SIGNING_KEY", &secret);
    workspace.xtask("sign").succeeds();
    assert_eq!(workspace.read(&format!("dist/{ARCHIVE}.minisig")), before);

    let public = workspace.xtask("sign --public --json").succeeds().json();
    let minisign = public["minisign"].as_str().unwrap();
    for signer in ["ours.pub", minisign] {
        workspace
            .xtask(&format!("verify --signer {signer} --proof"))
            .succeeds()
            .says("signature, provenance and boots");
    }
    workspace.xtask("verify --signer other.pub").ends_with(1).says("is no signature of it by a signer that is named");
    workspace.xtask("verify --signer ours.pub --signer other.pub --proof").succeeds();
    workspace.xtask("verify --signer nothing").ends_with(2).says("a public key, or a file with one, is expected");

    // One byte of each, and what is said of it.
    for (file, from, to, words) in [
        (
            "boot-report.json",
            "5000000",
            "5000001",
            "no signer states what boot-report.json says of its boot on debian-12-6.1",
        ),
        (
            "boot-report.json",
            &hash::bytes(b"kernel").to_string(),
            &hash::bytes(b"kernal").to_string(),
            "no signer states what",
        ),
        ("release.json", "\"llvm\": \"", "\"llvm\": \"1", "no signer states that it was built as release.json says"),
        ("SHA256SUMS", "  tool", "  tool-", "SHA256SUMS.minisig is no signature of it"),
        ("provenance.intoto.jsonl", "\"sig\":\"", "\"sig\":\"AAAA", "provenance.intoto.jsonl cannot be used"),
        ("boots.intoto.jsonl", "\"payload\":\"eyJ", "\"payload\":\"eyI", "is not what SHA256:"),
    ] {
        let path = format!("dist/{file}");
        let text = workspace.read(&path);
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(workspace.path(&path), text.replacen(from, to, 1)).unwrap();
        workspace.xtask("verify --signer ours.pub --proof").ends_with(1).says(words);
        fs::write(workspace.path(&path), text).unwrap();
    }
    let archive = workspace.path("dist").join(ARCHIVE);
    let bytes = fs::read(&archive).unwrap();
    let mut altered = bytes.clone();
    altered[2000] ^= 1;
    fs::write(&archive, altered).unwrap();
    workspace.xtask("verify --signer ours.pub --proof").ends_with(1).says(".minisig is no signature of it");
    fs::write(&archive, bytes).unwrap();
    workspace.xtask("verify --signer ours.pub --proof").succeeds();

    // What is built anew has no signature of what was there before.
    workspace.shell("cp -r dist kept").succeeds();
    workspace.xtask("dist --arch arm64").succeeds();
    assert!(!workspace.path("dist/SHA256SUMS.sig").exists() && workspace.path(&format!("dist/{ARCHIVE}.sig")).exists());
    workspace.shell("rm -r dist && mv kept dist").succeeds();

    // By programs that are not ours.
    if has_program("minisign", "apt-get install minisign") {
        for name in [ARCHIVE, "SHA256SUMS", "install.sh"] {
            let line = format!("minisign -V -P {minisign} -m dist/{name}");
            workspace.shell(&line).succeeds().says("Signature and comment signature verified");
        }
        // And what minisign signs is taken: its own key, and its own signature.
        workspace.shell("minisign -G -W -f -p mini.pub -s mini.key && cp -r dist mini").succeeds();
        let foreign = workspace.without_env("BPFSHIP_SIGNING_KEY");
        foreign.shell("cd mini && rm *.sig *.minisig && minisign -S -W -s ../mini.key -m SHA256SUMS").succeeds();
        foreign.xtask("verify --signer mini.pub mini").succeeds().says("signature");
        foreign.xtask("sign --key mini.key mini").succeeds();
        foreign.shell(&format!("minisign -V -p mini.pub -m mini/{ARCHIVE}")).succeeds();
        verified_by_others(&foreign, &public);
    }
}

fn verified_by_others(workspace: &Workspace, public: &Value) {
    let script = format!(
        "echo \"us $(cat ours.pub)\" >allowed
        ssh-keygen -Y verify -f allowed -I us -n bpfship -s dist/{ARCHIVE}.sig <dist/{ARCHIVE}
        rm dist/SHA256SUMS.minisig dist/*.sig && ssh-keygen -Y sign -f ours -n bpfship dist/SHA256SUMS"
    );
    workspace.shell(&script).succeeds().says("Good \"bpfship\" signature for us");
    workspace.xtask("verify --signer allowed").succeeds().says("signature");
    if !has(
        "securesystemslib",
        "pip install securesystemslib in-toto-attestation",
        python("securesystemslib.dsse, in_toto_attestation"),
    ) {
        return;
    }
    let check = r#"
import json, sys, base64, struct
from google.protobuf import json_format
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1 import statement_pb2
wire = base64.b64decode(sys.argv[1].split()[1])
key = SSlibKey(sys.argv[2], "ed25519", "ed25519", {"public": wire[-32:].hex()})
for name in sys.argv[3:]:
    for line in open(name):
        envelope = Envelope.from_dict(json.loads(line))
        envelope.verify([key], 1)
        parsed = json_format.Parse(envelope.payload, statement_pb2.Statement())
        Statement.copy_from_pb(parsed).validate()
        print("verified", parsed.predicate_type)
"#;
    fs::write(workspace.path("check.py"), check).unwrap();
    let (ssh, fingerprint) = (&public["ssh"], &public["fingerprint"]);
    workspace
        .shell(&format!("python3 check.py {ssh} {fingerprint} dist/provenance.intoto.jsonl dist/boots.intoto.jsonl"))
        .succeeds()
        .says("verified https://slsa.dev/provenance/v1\nverified https://in-toto.io/attestation/test-result/v0.1");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn as_many_rebuilders_as_are_demanded_must_state_the_same_bytes() {
    if !has_ssh_keygen() {
        return;
    }
    let workspace = released("rebuilders").without_env("SOURCE_DATE_EPOCH");
    workspace.xtask("rebuild --key ours").ends_with(2).says("--sign");
    workspace.xtask("rebuild --sign --key ours").succeeds().says("states that these bytes come out of the commit");
    let signers = "--signer ours.pub --signer other.pub";
    workspace.xtask(&format!("verify --rebuilders 1 {signers}")).succeeds().says("rebuilt by 1");
    workspace
        .xtask(&format!("verify --rebuilders 2 {signers}"))
        .ends_with(1)
        .says("1 of the signers state that they built it again, and 2 must");
    // The word of a key twice is one word, and that of a stranger is none.
    workspace.shell("cp dist/rebuild-*.jsonl dist/again.intoto.jsonl").succeeds();
    workspace.xtask(&format!("verify --rebuilders 2 {signers}")).ends_with(1).says("1 of the signers");
    workspace.xtask("verify --rebuilders 1 --signer other.pub").ends_with(1).says("0 of the signers");
    // Nobody is called before they hold.
    let deploy = || workspace.xtask(&format!("deploy no-host.invalid --from dist --rebuilders 2 {signers}"));
    deploy().ends_with(1).says("1 of the signers state that they built it again").says_nothing_of("no-host");
    workspace.xtask("rebuild --sign --key other --by https://example.com/ann").succeeds();
    workspace.xtask(&format!("verify --rebuilders 2 {signers}")).succeeds().says("rebuilt by 2");
    deploy().ends_with(1).says("no-host.invalid: ");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn install_sh_installs_only_what_the_signer_has_signed() {
    if !has_ssh_keygen() {
        return;
    }
    let workspace = released("install-signed");
    workspace.xtask("sign --key ours").succeeds();
    let (ours, other) = (workspace.read("ours.pub"), workspace.read("other.pub"));
    let public = workspace.xtask("sign --key ours --public --json").succeeds().json();
    let minisign = public["minisign"].as_str().unwrap();
    // Nothing but what every system has, and one program that checks signatures, or none.
    let few = "for name in sh busybox cat cp sed base64 head tail tr cut sort grep od dd uname mktemp rm mv chmod gzip tar sha256sum dirname; do
            ln -sf $(command -v $name) few/$name; done";
    workspace.shell(&format!("mkdir -p bin few && {few}")).succeeds();
    let with = |checker: &str, shell: &str, words: &str| {
        workspace.shell(&format!(
            "rm -f few/minisign few/ssh-keygen bin/probe; for name in {checker}; do ln -s $(command -v $name) few/; done
            {words} PATH=$PWD/few DIR=$PWD/bin {shell} dist/install.sh"
        ))
    };
    let mut checkers = vec!["ssh-keygen"];
    checkers.extend(has_program("minisign", "apt-get install minisign").then_some("minisign"));
    let mut shells = vec!["sh"];
    shells.extend(has_program("busybox", "apt-get install busybox-static").then_some("busybox sh"));
    // Either form of a key is for either program.
    for (checker, shell) in checkers.iter().flat_map(|checker| shells.iter().map(move |shell| (checker, shell))) {
        for signer in [ours.trim(), minisign, &format!("{}{minisign}\n", other)] {
            let words = format!("SIGNER='{signer}'");
            with(checker, shell, &words).succeeds().says("installed tool-0.3.0 as ").says("bin/probe\n");
        }
        let refused = with(checker, shell, &format!("SIGNER='{}'", other.trim())).ends_with(1);
        refused.says("SHA256SUMS is not signed by SIGNER: nothing was installed").in_one_line();
        let refused = with(checker, shell, &format!("SIGNER='{minisign}' REBUILDERS=1")).ends_with(1);
        refused.says("0 of SIGNER built tool-0.3.0-").says("again, and 1 must: nothing was installed").in_one_line();
    }
    let none = with("", "sh", &format!("SIGNER='{minisign}'")).ends_with(1);
    none.says("nothing here checks signatures: install base64, and minisign or openssh").in_one_line();
    for signer in ["a word", "release.pub", "ssh-ed25519", "ssh-rsa AAAA"] {
        with("ssh-keygen", "sh", &format!("SIGNER='{signer}'"))
            .ends_with(1)
            .says("SIGNER is no public key")
            .in_one_line();
    }
    with("ssh-keygen", "sh", "REBUILDERS=1").ends_with(1).says("SIGNER is no public key").in_one_line();
    workspace.shell("rm dist/SHA256SUMS.*sig").succeeds();
    with("ssh-keygen", "sh", &format!("SIGNER='{}'", ours.trim())).ends_with(1).says("is not signed by SIGNER");
    assert!(!workspace.path("bin/probe").exists());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn install_sh_demands_the_keys_and_rebuilders_that_the_configuration_names() {
    if !has_ssh_keygen() {
        return;
    }
    let workspace = Workspace::usual("install-pinned").write(".gitignore", "target\ndist\nours*\nother*\nbin\n");
    workspace
        .shell("mkdir bin; for key in ours other; do ssh-keygen -q -t ed25519 -N '' -C '' -f $key; done")
        .succeeds();
    let keys = ["ours.pub", "other.pub"].map(|file| format!("{:?}", workspace.read(file).trim()));
    let config = workspace.read("Cargo.toml");
    let demands = |signers: &str, rebuilders: u8| {
        format!("{config}\n[workspace.metadata.bpfship.install]\nsigners = [{signers}]\nrebuilders = {rebuilders}\n")
    };
    let workspace = workspace.write("Cargo.toml", &demands(&keys[0], 2)).without_env("SOURCE_DATE_EPOCH");
    workspace.xtask("dist --arch amd64").ends_with(2).says("is 2; a number from 1 to that of");
    let workspace = workspace.write("Cargo.toml", &demands(&keys.join(", "), 2));
    workspace.xtask("bpf").succeeds();
    commit(&workspace);
    workspace.xtask("dist --arch amd64").succeeds();
    let install = |words: &str| workspace.shell(&format!("{words} DIR=$PWD/bin sh dist/install.sh"));
    install("").ends_with(1).says("SHA256SUMS is not signed by SIGNER").in_one_line();
    workspace.xtask("sign --key ours").succeeds();
    workspace.xtask("rebuild --sign --key other").succeeds();
    // The word of a key twice is one word, as is a copy under the name of another.
    workspace
        .shell("cd dist && for file in rebuild-*; do cp $file $(echo $file | sed s/rebuild-./rebuild-x/); done")
        .succeeds();
    install("").ends_with(1).says("1 of SIGNER built tool-0.3.0-").in_one_line();
    install("REBUILDERS=1").succeeds().says("installed tool-0.3.0 as ").says("bin/probe\n");
    workspace.xtask("rebuild --sign --key ours").succeeds();
    install("").succeeds().says("installed tool-0.3.0 as ").says("bin/probe\n");
    workspace.shell("rm bin/probe; cd dist; for file in rebuild-*.jsonl; do sed -i s/eyJ/eyK/ $file; done").succeeds();
    install("").ends_with(1).says("0 of SIGNER built").in_one_line();
    assert!(!workspace.path("bin/probe").exists());
    install("SIGNER= REBUILDERS=").succeeds();
}

/// One byte of each file of a release, every signature in the place of another, and what is no file at all.
#[test]
#[ignore = "long: --include-ignored runs it"]
fn whatever_byte_of_a_signed_release_is_altered_it_is_refused() {
    if !has_ssh_keygen() {
        return;
    }
    let workspace = released("one-byte").without_env("SOURCE_DATE_EPOCH");
    workspace.xtask("sign --key ours").succeeds();
    workspace.xtask("rebuild --sign --key ours").succeeds();
    let verify = || workspace.xtask("verify --signer ours.pub --proof --rebuilders 1 dist");
    verify().succeeds();
    let names = workspace.list("dist");
    assert_eq!(names.len(), 19, "{names:?}");
    for name in &names {
        let path = workspace.path("dist").join(name);
        let bytes = fs::read(&path).unwrap();
        // A text that a comment is in is altered after that.
        for at in [bytes.len() / 2, bytes.len() * 3 / 4, bytes.len() - 4] {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            fs::write(&path, &altered).unwrap();
            assert_eq!(verify().code(), Some(1), "byte {at} of {name} may be altered");
        }
        fs::write(&path, &bytes).unwrap();
        if name.ends_with(".minisig") || name.ends_with(".sig") {
            let ending = name.rsplit('.').next().unwrap();
            for other in names.iter().filter(|other| *other != name && other.ends_with(&format!(".{ending}"))) {
                fs::copy(workspace.path("dist").join(other), &path).unwrap();
                assert_eq!(verify().code(), Some(1), "{other} is taken for {name}");
            }
            fs::write(&path, &bytes).unwrap();
        }
        // What never ends is not waited for.
        for other in ["mkfifo", "ln -s /dev/zero"] {
            let run = workspace.shell(&format!(
                "mv dist/{name} kept && {other} dist/{name}
                timeout -s KILL 20 \"$BPFSHIP\" verify --signer ours.pub --proof --rebuilders 1 dist; code=$?
                rm dist/{name} && mv kept dist/{name}; exit $code"
            ));
            assert_eq!(run.code(), Some(1), "{other} in place of {name}: {}", run.text());
        }
    }
    verify().succeeds();
}

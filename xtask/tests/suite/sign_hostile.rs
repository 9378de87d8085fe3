//! A release that somebody altered, in the hands of `verify`, `sign`, `rebuild` and install.sh: what they were asked to demand is
//! demanded, and what they are given is read to an end.

use std::fs;
use std::os::unix::fs::symlink;

use super::sign::{has_ssh_keygen, released};
use super::support::Workspace;

/// The archive of [`released`] without its ending.
const STEM: &str = "tool-0.3.0-x86_64-unknown-linux-musl";

/// Does to the release what a script says, calls the tool, and puts the release back.
#[track_caller]
fn after(workspace: &Workspace, script: &str, args: &str, code: i32, words: &str) {
    workspace.shell("rm -rf kept && cp -a dist kept").succeeds();
    workspace.shell(&format!("cd dist && {script}")).succeeds();
    let run = workspace.xtask(args);
    workspace.shell("rm -rf dist && mv kept dist").succeeds();
    assert!(run.text().contains(words), "{script}: {words} is not in {}", run.text());
    run.ends_with(code);
}

/// Gives the files that were altered the checksums that they have now.
const SUMS: &str = "while read -r _ file; do sha256sum \"$file\"; done <SHA256SUMS >new; mv new SHA256SUMS";

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_is_beside_a_signed_archive_must_be_signed_too() {
    if !has_ssh_keygen() {
        return;
    }
    let workspace = released("beside signed");
    workspace.xtask("sign --key ours").succeeds();
    let alone = "rm SHA256SUMS*";
    let nobody = "no signer stands behind it: SHA256SUMS with its checksum, signed, must be beside it";
    let sbom = format!("{STEM}.cdx.json");
    for (script, words) in [
        // The archive has its own signature.
        (format!("{alone} && rm install.sh.* && echo rm -rf / >>install.sh"), format!("dist/install.sh: {nobody}")),
        (
            format!(
                "{alone} && rm install.sh.* && echo rm -rf / >>install.sh && sha256sum install.sh >install.sh.sha256"
            ),
            format!("dist/install.sh: {nobody}"),
        ),
        // A signature of its own may be that of an earlier release.
        (alone.to_owned(), format!("dist/install.sh: {nobody}")),
        (
            format!("{alone} && sed -i 's/^  \"commit\": .*/  \"commit\": null,/' release.json"),
            format!("dist/release.json: {nobody}"),
        ),
        (format!("{alone} release.json && echo >>{sbom}"), format!("dist/{sbom}: {nobody}")),
        (
            format!("rm SHA256SUMS.* && echo >>install.sh && sha256sum install.sh >install.sh.sha256 && {SUMS}"),
            "dist/install.sh: install.sh.minisig is no signature of it".to_owned(),
        ),
        (
            format!("rm *sig && echo >>install.sh && sha256sum install.sh >install.sh.sha256 && {SUMS}"),
            "no signature of it is there".to_owned(),
        ),
    ] {
        after(&workspace, &script, "verify --signer ours.pub dist", 1, &words);
    }
    let archive = format!("verify --signer ours.pub dist/{STEM}.tar.gz");
    after(&workspace, &format!("{alone} release.json && echo >>{sbom}"), &archive, 1, nobody);
    after(&workspace, &format!("{alone} release.json {sbom}"), &archive, 0, "signature");
    // Who asks for no signer is told what nothing speaks for.
    let unchecked = format!("no release.json or SHA256SUMS names {sbom} beside it: nothing in that was checked");
    after(&workspace, &format!("{alone} release.json"), &format!("verify dist/{STEM}.tar.gz"), 0, &unchecked);
    // No host is called before that holds.
    let deploy = "deploy no-host.invalid --from dist --signer ours.pub";
    after(
        &workspace,
        &format!("{alone} && sed -i 's/^  \"commit\": .*/  \"commit\": null,/' release.json"),
        deploy,
        1,
        nobody,
    );
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_boot_that_is_signed_as_failed_cannot_be_left_out_of_the_report() {
    if !has_ssh_keygen() {
        return;
    }
    let workspace = released("failed boot");
    let passed = workspace.read("dist/boot-report.json");
    let mut report: serde_json::Value = serde_json::from_str(&passed).unwrap();
    let mut failed = report["boots"][0].clone();
    failed["verdict"] = serde_json::json!({ "is": "fail", "why": "it hung" });
    failed["kernel"]["label"] = "debian-13-6.12".into();
    report["boots"].as_array_mut().unwrap().push(failed);
    fs::write(workspace.path("dist/boot-report.json"), report.to_string()).unwrap();
    workspace.xtask("sign --key ours").succeeds();
    let verify = || workspace.xtask("verify --signer ours.pub --proof");
    verify().ends_with(1).says("boot-report.json has a failure on debian-13-6.12: it hung").in_one_line();
    fs::write(workspace.path("dist/boot-report.json"), passed).unwrap();
    verify()
        .ends_with(1)
        .says("a signer states that it failed on debian-13-6.12, which boot-report.json does not say")
        .in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_was_altered_before_it_is_signed_is_not_signed() {
    if !has_ssh_keygen() {
        return;
    }
    let workspace = released("altered before");
    for (script, words) in [
        ("echo rm -rf / >>install.sh", "dist/install.sh: its SHA-256 is"),
        (&format!("echo >>{STEM}.cdx.json"), "is not the one that was made with it"),
        ("sed -i 's/^  \"commit\": .*/  \"commit\": null,/' release.json", "it has another SHA-256 for release.json"),
        (
            "sha256sum /bin/true | sed 's|/bin/true|evil.sh|' >>SHA256SUMS",
            "names evil.sh, which is not of this release",
        ),
        ("sed -i 's/^./g/' SHA256SUMS", "its line 1 is not a SHA-256"),
        (&format!("ln -sf /dev/zero {STEM}.tar.gz"), "it is not a file"),
        ("ln -sf /dev/zero release.json", "it is not a file"),
        ("ln -sf /dev/zero boot-report.json", "boot-report.json: it is not a file"),
    ] {
        after(&workspace, script, "sign --key ours", 1, words);
        assert!(!workspace.path("dist/SHA256SUMS.sig").exists(), "{script}");
    }
    workspace.xtask("sign --key ours").succeeds();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_rebuild_is_of_all_that_the_manifest_says() {
    if !has_ssh_keygen() {
        return;
    }
    let workspace = released("rebuilt and altered").without_env("SOURCE_DATE_EPOCH");
    let of =
        |key: &str, value: &str| format!("sed -i 's/^  \"{key}\": .*/  \"{key}\": {value},/' release.json && {SUMS}");
    let number = "its number is expected, 40 or 64 hexadecimal digits";
    for name in ["HEAD", "--help", "main"] {
        after(&workspace, &of("commit", &format!("\"{name}\"")), "rebuild", 1, number);
    }
    after(&workspace, "ln -sf /dev/zero release.json", "rebuild", 1, "it is not a file");
    // The archives are right, and what is said of them is not.
    let lied = "built again, the release is described otherwise: release.json has compressor \"gzip 9\", and \"";
    after(&workspace, &of("compressor", "\"gzip 9\""), "rebuild", 1, lied);
    workspace.xtask("rebuild --sign --key other").succeeds().says("states that these bytes come out of the commit");

    let verify = "verify --rebuilders 1 --signer other.pub dist";
    let none = "0 of the signers state that they built it again";
    after(&workspace, &of("commit", "null"), verify, 1, none);
    let sbom = format!("{STEM}.cdx.json");
    let swapped = format!(
        "old=$(sha256sum <{sbom}) && echo >>{sbom} && new=$(sha256sum <{sbom}) && sed -i \"s/${{old%% *}}/${{new%% *}}/\" release.json && {SUMS}"
    );
    after(&workspace, &swapped, verify, 1, none);
    // Who released it is not asked.
    workspace.xtask("sign --key ours").succeeds();
    workspace.xtask(verify).succeeds().says("rebuilt by 1");
    workspace
        .xtask(&format!("{verify} --proof"))
        .ends_with(1)
        .says("SHA256SUMS.minisig is no signature of it by a signer");
    let two = "verify --rebuilders 2 --signer other.pub --signer other.pub dist";
    workspace.xtask(two).ends_with(2).says("--rebuilders 2 wants as many different keys, and --signer names 1");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_file_of_keys_may_be_anything() {
    if !has_ssh_keygen() {
        return;
    }
    let workspace = released("key files");
    workspace.xtask("sign --key ours").succeeds();
    let key = workspace.read("ours.pub").trim().as_bytes().to_vec();
    let with = |before: &[u8], after: &[u8]| [before, &key, after].concat();
    for (bytes, code, words) in [
        (with(b"\xef\xbb\xbf", b"\r\n"), 0, "signature"),
        (with(b"# J\xf6rg\n", b" J\xf6rg\n"), 0, "signature"),
        (with(b"ann Valid-Before=\"20200101\" ", b"\n"), 2, "not understood, Valid-Before"),
        (with(b"ann cert-authority,namespaces=\"bpfship\" ", b"\n"), 2, "not understood, cert-authority"),
        (workspace.read("ours").into_bytes(), 2, "it is a private key: name the public one of it"),
        (vec![b'\n'; 2 << 20], 2, "it has more than 1048576 bytes"),
    ] {
        fs::write(workspace.path("other.keys"), bytes).unwrap();
        workspace.xtask("verify --signer other.keys").ends_with(code).says(words);
    }
    workspace.xtask("verify --signer /dev/zero").ends_with(2).says("it has more than 1048576 bytes").in_one_line();
    workspace.xtask("verify --signer dist").ends_with(2).says("cannot read it").in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn install_sh_takes_nothing_that_it_does_not_understand_for_less_than_it_says() {
    if !has_ssh_keygen() {
        return;
    }
    let workspace = released("install hostile");
    workspace.xtask("sign --key ours").succeeds();
    let signer = workspace.read("ours.pub").trim().to_owned();
    fs::create_dir(workspace.path("bin")).unwrap();
    let install = |words: &str, from: &str| {
        workspace.shell(&format!("SIGNER='{signer}' {words} DIR=$PWD/bin sh dist/install.sh {from}"))
    };
    for number in ["0", "-1", "x", "\" 1\"", "1e1"] {
        let refused = install(&format!("REBUILDERS={number}"), "").ends_with(1);
        refused.says("REBUILDERS is no number from 1 to 99").in_one_line();
    }
    for key in ["RW!!!", "RWQ", "ssh-ed25519 $(touch pwned) x", "ssh-ed25519 * x", "-n", &format!("{signer}\nnonsense")]
    {
        let refused = workspace.shell(&format!("SIGNER='{key}' DIR=$PWD/bin sh dist/install.sh")).ends_with(1);
        refused.says("SIGNER is no public key").in_one_line();
    }
    assert!(!workspace.path("pwned").exists());
    install("", "dist more").ends_with(1).says("more than one argument").in_one_line();
    let few = "mkdir few && for name in sh cat head mktemp rm sha256sum dirname base64 ssh-keygen; do ln -s $(command -v $name) few/; done";
    workspace.shell(few).succeeds();
    let refused = install("PATH=$PWD/few", "http://127.0.0.1:1").ends_with(1);
    refused.says("nothing here downloads: install curl or wget").in_one_line();
    for (file, words) in
        [(format!("{STEM}.tar.gz"), "has not the SHA-256"), ("SHA256SUMS".into(), "is not signed by SIGNER")]
    {
        workspace.shell(&format!("rm -rf endless && cp -r dist endless && ln -sf /dev/zero endless/{file}")).succeeds();
        install("", "endless").ends_with(1).says(words).in_one_line();
    }
    fs::create_dir(workspace.path("bin/probe")).unwrap();
    install("", "").ends_with(1).says("bin/probe is a link or a folder, and not of this script").in_one_line();
    fs::remove_dir(workspace.path("bin/probe")).unwrap();
    // What others put where a program is first written to is not written through.
    fs::write(workspace.path("precious"), "precious").unwrap();
    symlink(workspace.path("precious"), workspace.path("bin/.probe.new")).unwrap();
    install("", "").succeeds().says("installed tool-0.3.0 as ").says("bin/probe\n");
    assert_eq!(workspace.read("precious"), "precious");
}

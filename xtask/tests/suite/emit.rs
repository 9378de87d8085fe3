//! `cargo xtask emit`: each file is checked by the program that it is for.

use std::fs;
use std::process::Command;

use super::deploy::{Kind, release, server};
use super::support::{Run, Workspace, has, list};

const IMAGE: &str = "example.org/probe@sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

/// A workspace with a release whose self-test passes, and one whose self-test fails.
fn workspace(name: &str) -> Workspace {
    let config = "package = \"tool\"\nbpf.folder = \"kernel\"\n\
                  [workspace.metadata.bpfship.deploy]\n\
                  args = \"--output '/var/log/a b'\"\n\
                  capabilities-without-btf = [\"CAP_DAC_READ_SEARCH\"]\n\
                  perf-events = \"without-btf\"\n";
    let workspace = Workspace::new(name, config);
    release(&workspace, "1.0.0", "echo one");
    release(&workspace, "1.1.0", "[ \"$1\" != --self-test ] || exit 3; echo two");
    workspace
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_is_there_and_is_another_file_stays() {
    let workspace = workspace("emit twice");
    let run = workspace.xtask("emit systemd --plan").succeeds();
    assert!(run.text().contains("/systemd/probe.service") && !workspace.path("systemd").exists(), "{}", run.text());
    workspace.xtask("emit systemd").succeeds().says("systemd/probe.service");
    let unit = workspace.read("systemd/probe.service");
    workspace.xtask("emit systemd").succeeds().says("nothing to do");
    fs::write(workspace.path("systemd/probe.service"), "mine").unwrap();
    workspace.xtask("emit systemd").ends_with(2).says("probe.service is there and is another: --force replaces it");
    assert_eq!(workspace.read("systemd/probe.service"), "mine");
    let report = workspace.xtask("emit systemd --force --json").succeeds().json();
    assert_eq!(report["written"][0], "probe.service", "{report}");
    assert_eq!(workspace.read("systemd/probe.service"), unit);
    for (words, complaint) in [
        ("emit k8s --from 1.0.0 --image probe:latest", "NAME@sha256:DIGEST is expected"),
        ("emit sysupdate --from 1.0.0 --url ftp://x", "http:// is expected"),
        ("emit systemd --kernel six", "a version such as 5.10 is expected"),
        ("emit systemd --dir bin", "the path of a folder from the root is expected"),
        ("emit ansible", "there is no release yet"),
        ("emit ansible --from 1.0.0 --bin prob", "no binary `prob` is shipped"),
    ] {
        workspace.xtask(words).ends_with(2).says(complaint);
    }
    assert!(!["ansible", "k8s", "sysupdate"].iter().any(|folder| workspace.path(folder).exists()));
}

#[test]
fn a_unit_is_for_the_kernel_that_is_named() {
    let workspace = workspace("emit unit");
    for (words, capabilities) in [
        ("--kernel 5.11", "CAP_BPF CAP_PERFMON"),
        ("", "CAP_BPF CAP_PERFMON CAP_SYS_RESOURCE"),
        ("--kernel 5.11 --paranoid", "CAP_BPF CAP_PERFMON"),
        ("--kernel 5.11 --no-btf --paranoid", "CAP_DAC_READ_SEARCH CAP_SYS_ADMIN"),
        ("--kernel 5.4 --no-btf", "CAP_DAC_READ_SEARCH CAP_SYS_ADMIN CAP_SYS_RESOURCE"),
    ] {
        workspace.xtask(&format!("emit systemd --force --dir /bin {words}")).succeeds();
        let unit = workspace.read("systemd/probe.service");
        assert!(unit.contains(&format!("\nCapabilityBoundingSet={capabilities}\n")), "{words}: {unit}");
        assert!(unit.contains("\nExecStart=/bin/probe --output \"/var/log/a b\"\n"), "{unit}");
    }
    verify(&workspace, "systemd/probe.service");
}

/// Has systemd read a unit. That its program is not there is no fault.
fn verify(workspace: &Workspace, unit: &str) {
    if has("systemd-analyze", "apt install systemd", Command::new("systemd-analyze").arg("--version").output().is_ok())
    {
        let check = format!(
            "systemd-analyze verify {unit} 2>&1 | grep probe | grep -v 'is not executable: No such file' || true"
        );
        workspace.shell(&check).succeeds().says_nothing_of("probe");
    }
}

#[test]
fn machines_pull_the_newest_release_by_its_checksums() {
    let workspace = workspace("emit sysupdate");
    workspace.xtask("emit sysupdate --from 1.0.0 --url https://example.org/100%25/").succeeds();
    let [folder] = &list(&workspace.path("sysupdate"))[..1] else { panic!() };
    let transfer = workspace.read(&format!("sysupdate/{folder}/sysupdate.probe.d/probe.transfer"));
    assert!(transfer.contains("\nPath=https://example.org/100%%25\nMatchPattern=tool-@v-"), "{transfer}");
    // ci/sysupdate has systemd-sysupdate do it.
    verify(&workspace, "sysupdate/probe-update.service sysupdate/probe-update.timer");
    let service = workspace.read("sysupdate/probe-update.service");
    let (_, script) = service.split_once("/bin/sh -euc '").unwrap();
    let script = script.split_once("' switch").unwrap().0.replace("$$", "$").replace("/opt/", "opt/");
    let script = script.replace("systemctl", ": systemctl");
    workspace.shell("mkdir -p opt/probe/1/x opt/probe/2/x bin; cp /bin/true opt/probe/1/x/probe; cp /bin/false opt/probe/2/x/probe").succeeds();
    let workspace = workspace.write("switch.sh", &script);
    for (version, code) in [("1", 0), ("1", 0), ("2", 1)] {
        let run = workspace.shell(&format!("ln -sfn {version} opt/probe/current; sh -eu switch.sh bin"));
        run.ends_with(code);
        workspace.shell("cmp opt/probe/1/x/probe bin/probe").succeeds();
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_daemon_set_is_what_kubernetes_takes() {
    let workspace = workspace("emit k8s");
    workspace.xtask(&format!("emit k8s --from 1.0.0 --kernel 5.11 --image {IMAGE}")).succeeds();
    let text = workspace.read("k8s/daemonset.yaml");
    assert!(text.contains("{drop: [\"ALL\"], add: [\"BPF\", \"PERFMON\"]}"), "{text}");
    assert!(text.contains("args: [\"--output\", \"/var/log/a b\"]") && !text.contains("hostPID"), "{text}");
    workspace.xtask(&format!("emit k8s --from 1.0.0 --kernel 5.4 --host-pid -o old --image {IMAGE}")).succeeds();
    let old = workspace.read("old/daemonset.yaml");
    assert!(old.contains("hostPID: true") && old.contains("allowPrivilegeEscalation: true"), "{old}");
    let found = Command::new("python3").args(["-c", "import kubernetes_validate"]).output();
    if has("kubernetes-validate", "pip install kubernetes-validate", found.is_ok_and(|it| it.status.success())) {
        let check = "import sys, yaml, kubernetes_validate\n\
                     for file in sys.argv[1:]:\n    \
                         kubernetes_validate.validate(yaml.safe_load(open(file)), '1.37', strict=True)\n";
        let workspace = workspace.write("check.py", check);
        workspace.shell("python3 check.py k8s/daemonset.yaml old/daemonset.yaml").succeeds();
        // The schema is one that refuses something.
        workspace
            .shell("sed 's/readOnlyRootFilesystem/readOnlyRoot/' k8s/daemonset.yaml >wrong.yaml; python3 check.py wrong.yaml")
            .ends_with(1);
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_playbook_installs_and_goes_back_over_ssh() {
    let found = Command::new("ansible-playbook").arg("--version").output().is_ok();
    if !has("ansible-playbook", "apt install ansible-core", found) {
        return;
    }
    let workspace = workspace("emit-ansible");
    let Some(_server) = server(&workspace, Kind::OpenSsh("")) else { return };
    let config = workspace.path("ssh/ssh_config");
    let hosts = format!("pi ansible_ssh_common_args='-F {}'\n", config.display());
    let workspace = workspace
        .write("hosts", &hosts)
        .env("ANSIBLE_LOCAL_TEMP", "ansible-temp")
        .env("ANSIBLE_HOME", "ansible-home")
        .env("ANSIBLE_PIPELINING", "1")
        .env("ANSIBLE_SSH_TRANSFER_METHOD", "piped");
    let bin = workspace.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let play = |version: &str, words: &str| -> Run {
        workspace
            .xtask(&format!("emit ansible --from {version} --dir '{}' -o play-{version}", bin.display()))
            .succeeds();
        workspace.shell(&format!("ansible-playbook -i hosts play-{version}/deploy.yml {words}"))
    };
    play("1.0.0", "--syntax-check").succeeds();
    play("1.0.0", "--check").succeeds().says("changed=");
    assert!(list(&bin).is_empty());
    play("1.0.0", "").succeeds();
    let current = || fs::read_link(bin.join("probe")).unwrap().display().to_string();
    let first = current();
    assert!(first.starts_with(".probe/1.0.0-"), "{first}");
    play("1.0.0", "").succeeds().says("changed=0");
    // Its self-test fails.
    play("1.1.0", "").ends_with(2).says("Run the self-test failed, and what was there before is there again");
    assert_eq!(current(), first);
    // What `deploy` finds is what it would have left itself.
    let deploy = format!("deploy pi --ssh-config '{}' --dir '{}'", config.display(), bin.display());
    workspace.xtask(&format!("{deploy} --from 1.0.0")).succeeds().says("nothing to do: 1.0.0-");
    workspace.xtask(&format!("{deploy} --uninstall")).succeeds();
    assert!(list(&bin).is_empty());
}

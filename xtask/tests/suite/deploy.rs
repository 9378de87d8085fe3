//! `cargo xtask deploy`: to targets that are this machine, by a real ssh server, and by a stand-in that cuts, alters and lies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use bpfship::testing::install;
use bpfship::testing::manifest::{Archive, Artifact, Binary, Manifest, Rustc, SCHEMA};
use bpfship::testing::pack::{self, Entry};
use bpfship::testing::unit::{self, Kernel, Runs};
use bpfship::testing::{ARCHES, Arch, Deploy, Install, hash};

use super::support::{Run, Workspace, can_mount, has, list};

fn this_arch() -> &'static Arch {
    ARCHES.iter().find(|arch| arch.triple.starts_with(std::env::consts::ARCH)).expect("this machine is in the table")
}

/// A release of a program that is a script, in a folder of the workspace.
pub fn release(workspace: &Workspace, version: &str, script: &str) {
    let arch = this_arch();
    let program = format!("#!/bin/sh\n{script}\n").into_bytes();
    let stem = format!("tool-{version}-{}", arch.triple);
    let files = BTreeMap::from([("probe".to_owned(), Entry { bytes: program.clone(), executable: true })]);
    let tar = pack::tar(&stem, &files, 7).unwrap();
    let archive = pack::gzip(&tar).unwrap();
    let artifact = Artifact {
        tar_sha256: hash::bytes(&tar),
        binaries: vec![Binary {
            file: "probe".into(),
            size: program.len() as u64,
            sha256: hash::bytes(&program),
            bpf_objects: Vec::new(),
        }],
        ..Artifact::example(version, arch, &archive)
    };
    let manifest = Manifest {
        schema: SCHEMA,
        archives: vec![Archive::example(version)],
        commit: None,
        dirty: false,
        source_date_epoch: 7,
        cargo_lock: hash::bytes(b"1"),
        cargo_toml: hash::bytes(b"1"),
        bpf_lock: None,
        rustc: Rustc { version: "1".into(), commit: "3".into(), llvm: "22".into() },
        c_compiler: "zig".into(),
        flags: Vec::new(),
        compressor: "x".into(),
        bpf_objects: Vec::new(),
        artifacts: vec![artifact],
    };
    let folder = workspace.path(version);
    fs::create_dir_all(&folder).unwrap();
    let name = format!("{stem}.tar.gz");
    fs::write(folder.join("SHA256SUMS"), format!("{}  {name}\n", hash::bytes(&archive))).unwrap();
    fs::write(folder.join("install.sh"), install::script(&manifest, &Install::default())).unwrap();
    fs::write(folder.join(name), archive).unwrap();
    fs::write(folder.join("release.json"), manifest.to_json().unwrap()).unwrap();
}

/// A workspace with two good releases, and a folder `bin` to deploy to.
fn workspace(name: &str) -> Workspace {
    let workspace = Workspace::usual(name);
    release(&workspace, "1.0.0", "echo one");
    release(&workspace, "1.1.0", "echo two");
    fs::create_dir_all(workspace.path("bin")).unwrap();
    workspace
}

/// The same, whose ssh is a stand-in that runs the command here, with what else stands in `more`, before that.
pub fn with_stand_in(name: &str, more: &str) -> Workspace {
    let workspace = workspace(name);
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *'-O exit'*) exit 0 ;; esac\nfor command; do :; done\nhere='{}'\n{more}\nexec sh -c \"$command\"\n",
        workspace.path("").display()
    );
    workspace.program("ssh", &script)
}

pub fn deploy(workspace: &Workspace, words: &str) -> Run {
    workspace.xtask(&line(workspace, words))
}

fn line(workspace: &Workspace, words: &str) -> String {
    format!("deploy pi --dir '{}' {words}", workspace.path("bin").display())
}

/// Everything that is installed: names, where links lead, and hashes.
pub fn tree(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for name in list(folder) {
        let path = folder.join(name);
        if path.is_symlink() {
            found.insert(path.clone(), fs::read_link(&path).unwrap().display().to_string());
        } else if path.is_dir() {
            found.extend(tree(&path));
        } else {
            found.insert(path.clone(), hash::file(&path).unwrap().to_string());
        }
    }
    found
}

/// What the installed program prints.
pub fn prints(workspace: &Workspace) -> String {
    let output = Command::new(workspace.path("bin/probe")).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Waits for something that another process does.
#[track_caller]
fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if is_there() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{what} did not come about in two minutes");
}

/// An ssh server on this machine, which ends with this value.
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server, and who is let in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// OpenSSH, with more settings.
    OpenSsh(&'a str),
    Dropbear,
    /// OpenSSH for somebody who is not root, and whom sudo makes root, with or without a password.
    Plain {
        sudo: bool,
    },
    /// The same where doas does that, without a password.
    Doas,
}

/// Starts a server, with a configuration of ssh for it in `ssh_config`, in which it is called `pi`.
pub fn server(workspace: &Workspace, kind: Kind) -> Option<Server> {
    let dropbear = kind == Kind::Dropbear;
    let program = if dropbear { "/usr/sbin/dropbear" } else { "/usr/sbin/sshd" };
    let package = if dropbear { "apt install dropbear-bin" } else { "apt install openssh-server" };
    let user = if matches!(kind, Kind::Plain { .. } | Kind::Doas) { "ann" } else { "root" };
    let root = rustix::process::geteuid().is_root();
    if !has("root", "run this as root", root) || !has(program, package, Path::new(program).exists()) {
        return None;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = workspace.path("ssh");
    fs::create_dir_all(&folder).unwrap();
    let at = folder.display();
    workspace
        .shell(&format!(
            "cd {at} && ssh-keygen -q -t ed25519 -N '' -f key && ssh-keygen -q -t ed25519 -N '' -f host && mkdir -p /run/sshd && \
             cp key.pub authorized_keys && chmod 755 . && chmod 644 authorized_keys && \
             echo \"[127.0.0.1]:{port} $(cut -d' ' -f1,2 host.pub)\" >known"
        ))
        .succeeds();
    let config = format!(
        "Host pi\nHostName 127.0.0.1\nPort {port}\nUser {user}\nIdentityFile {at}/key\nIdentitiesOnly yes\nUserKnownHostsFile {at}/known\n"
    );
    fs::write(folder.join("ssh_config"), config).unwrap();
    let mut command = Command::new(program);
    if dropbear {
        // It knows keys by the home of root alone, so it gets another one.
        if !has("mounts", "run as root, where mounts are allowed", can_mount()) {
            return None;
        }
        workspace.shell(&format!("dropbearconvert openssh dropbear {at}/host {at}/host.dropbear")).succeeds();
        // It hands on what it ignores itself, such as the hangup that `nohup` would have these tests ignore.
        let script = format!(
            "mount -t tmpfs -o mode=700 tmpfs /root && mkdir -m 700 /root/.ssh && cp {at}/authorized_keys /root/.ssh/ && \
             exec env --default-signal {program} -F -E -s -r {at}/host.dropbear -p 127.0.0.1:{port}"
        );
        command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]);
    } else {
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized_keys\nPidFile none\n\
             UsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n{}\n",
            if let Kind::OpenSsh(settings) = kind { settings } else { "" }
        );
        fs::write(folder.join("sshd_config"), text).unwrap();
        command.args(["-D", "-e", "-f", &format!("{at}/sshd_config")]);
        if matches!(kind, Kind::Plain { .. } | Kind::Doas) {
            if !has("mounts", "run as root, where mounts are allowed", can_mount())
                || !has("sudo", "apt install sudo", Path::new("/usr/bin/sudo").exists())
            {
                return None;
            }
            // Ann is there for the server alone.
            let rule = match kind {
                Kind::Plain { sudo: true } => "ann ALL=(ALL) NOPASSWD: ALL",
                _ => "ann ALL=(ALL) ALL",
            };
            let doas = match kind {
                Kind::Doas => {
                    "echo 'permit nopass ann' >doas.conf && mount -t tmpfs tmpfs /var/tmp && cp -a /etc/. /var/tmp && \
                               cp doas.conf /var/tmp && chmod 400 /var/tmp/doas.conf && mount --bind /var/tmp /etc && "
                }
                _ => "",
            };
            let script = format!(
                "cd {at} && cp /etc/passwd /etc/shadow . && echo 'ann:x:12345:12345::/tmp:/bin/sh' >>passwd && \
                 echo 'ann:*:19000:0:99999:7:::' >>shadow && printf 'Defaults use_pty\\n{rule}\\n' >sudoers && chmod 440 sudoers && \
                 {doas}for file in passwd shadow sudoers; do mount --bind $file /etc/$file || exit; done; exec {program} -D -e -f sshd_config"
            );
            command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", &script]);
        }
    }
    let log = fs::File::create(folder.join("log")).unwrap();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let server = Server(child);
    wait_for("the ssh server", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    Some(server)
}

/// From nothing to a program and back, by a server.
fn lifecycle(workspace: &Workspace) {
    let config = format!("--ssh-config {}", workspace.path("ssh/ssh_config").display());
    let deploy = |words: &str| deploy(workspace, &format!("{config} {words}"));
    deploy("--from 1.0.0").succeeds().says("pi: 1.0.0-").says("is current");
    assert_eq!(prints(workspace), "one");
    let before = tree(&workspace.path("bin"));
    deploy("--from 1.0.0").succeeds().says("nothing to do: 1.0.0-");
    assert_eq!(tree(&workspace.path("bin")), before);
    deploy("--from 1.1.0").succeeds();
    assert_eq!(prints(workspace), "two");
    deploy("--status").succeeds().says("pi").says("1.1.0-").says("1.0.0-");
    // Signals end a program there as they do anywhere.
    let ended = "for it in HUP INT TERM PIPE; do sh -c \"kill -$it \\$\\$\"; [ $? -gt 128 ] || exit 1; done";
    release(workspace, "1.2.0", ended);
    deploy("--from 1.2.0").succeeds();
    deploy("--rollback").succeeds().says("1.1.0-");
    deploy("--rollback=1.0").succeeds().says("1.0.0-");
    assert_eq!(prints(workspace), "one");
    deploy("--rollback=1.1").succeeds();
    assert_eq!(prints(workspace), "two");
    deploy("--uninstall").succeeds().says("removed: program, versions and unit");
    assert!(tree(&workspace.path("bin")).is_empty() && !workspace.path("bin/.probe").exists());
    deploy("--uninstall").succeeds().says("it is not installed there");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn by_openssh_a_program_comes_is_upgraded_goes_back_and_goes() {
    let workspace = workspace("deploy-openssh");
    let Some(_server) = server(&workspace, Kind::OpenSsh("")) else { return };
    lifecycle(&workspace);
    // Another key than the one that is known, and a key that nobody knows.
    fs::write(workspace.path("ssh/known"), "").unwrap();
    let config = format!("--ssh-config {}", workspace.path("ssh/ssh_config").display());
    deploy(&workspace, &format!("{config} --from 1.0.0"))
        .ends_with(1)
        .says("its key is not known")
        .says("run `ssh pi` once");
    assert!(tree(&workspace.path("bin")).is_empty());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_target_needs_nothing_but_busybox() {
    let workspace = workspace("deploy-busybox");
    if !has(
        "busybox",
        "apt install busybox-static",
        Path::new("/bin/busybox").exists() || Path::new("/usr/bin/busybox").exists(),
    ) {
        return;
    }
    workspace.shell("mkdir box && busybox --install -s box && rm -f box/nc").succeeds();
    let path = format!("SetEnv PATH={}", workspace.path("box").display());
    let Some(_server) = server(&workspace, Kind::OpenSsh(&path)) else { return };
    lifecycle(&workspace);
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn by_dropbear_too() {
    let workspace = workspace("deploy-dropbear");
    let Some(_server) = server(&workspace, Kind::Dropbear) else { return };
    lifecycle(&workspace);
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn whoever_is_not_root_needs_sudo_without_a_password_or_a_folder_of_their_own() {
    let workspace = workspace("deploy-sudo");
    release(&workspace, "2.0.0", WAITS);
    let config = format!("--ssh-config {}", workspace.path("ssh/ssh_config").display());
    {
        let Some(_server) = server(&workspace, Kind::Plain { sudo: true }) else { return };
        lifecycle(&workspace);
        // Cut off after the switch, the shell that sudo started goes back.
        deploy(&workspace, &format!("{config} --from 1.0.0")).succeeds();
        let before = tree(&workspace.path("bin"));
        let line = line(&workspace, &format!("{config} --from 2.0.0 --confirm 1"));
        let mut operator = workspace.command(&line).stderr(Stdio::null()).spawn().unwrap();
        wait_for("the self-test", || workspace.path("bin/probe.began").exists());
        operator.kill().unwrap();
        operator.wait().unwrap();
        fs::write(workspace.path("bin/probe.go"), "").unwrap();
        goes_back(&workspace, &before);
        deploy(&workspace, &format!("{config} --uninstall")).succeeds();
    }
    fs::remove_dir_all(workspace.path("ssh")).unwrap();
    let Some(_server) = server(&workspace, Kind::Plain { sudo: false }) else { return };
    let refused = "ann is not root there and neither sudo nor doas makes it root without a password";
    deploy(&workspace, &format!("{config} --from 1.0.0")).ends_with(1).says(refused);
    workspace.shell("chown 12345 bin").succeeds();
    lifecycle(&workspace);
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn where_there_is_doas_it_makes_root_of_the_user() {
    if !has("doas", "apt install opendoas", Path::new("/usr/bin/doas").exists()) {
        return;
    }
    let workspace = workspace("deploy-doas");
    let Some(_server) = server(&workspace, Kind::Doas) else { return };
    lifecycle(&workspace);
    // What is there is root's.
    let config = format!("--ssh-config {}", workspace.path("ssh/ssh_config").display());
    deploy(&workspace, &format!("{config} --from 1.0.0")).succeeds();
    assert_eq!(fs::symlink_metadata(workspace.path("bin/probe")).unwrap().uid(), 0);
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn cut_off_at_any_byte_a_target_is_as_it_was() {
    // The first call asks what the target is.
    let workspace = with_stand_in(
        "deploy cut",
        "cut=$(cat \"$here/cut\" 2>/dev/null)\n\
         if [ \"$cut\" ] && [ -e \"$here/asked\" ]; then head -c \"$cut\" | sh -c \"$command\"; exit $?; fi; : >\"$here/asked\"",
    );
    deploy(&workspace, "--from 1.0.0").succeeds();
    let before = tree(&workspace.path("bin"));
    let plan = deploy(&workspace, "--from 1.1.0 --confirm 1 --plan").succeeds().text();
    let count = plan.split("count=").nth(1).unwrap().split(' ').next().unwrap();
    // A token is longer than the word that stands for it in a plan.
    let whole = count.parse::<usize>().unwrap() + 32 - "TOKEN".len() + "#!/bin/sh\necho two\n".len();
    for number in 0..20 {
        fs::write(workspace.path("cut"), ((whole - 1) * number / 19).to_string()).unwrap();
        let _ = fs::remove_file(workspace.path("asked"));
        let run = deploy(&workspace, "--from 1.1.0 --confirm 1");
        assert!(run.text().contains("pi: ") && !run.text().contains("is current"), "{number} of 19: {}", run.text());
        run.ends_with(1);
        assert_eq!(tree(&workspace.path("bin")), before, "cut off at {number} of 19");
    }
    fs::remove_file(workspace.path("cut")).unwrap();
    deploy(&workspace, "--from 1.1.0").succeeds();
}

/// What stands in for ssh hands on what comes after the script: `bytes` is the filter that it goes through.
fn altering(name: &str, bytes: &str) -> Workspace {
    with_stand_in(
        name,
        &format!(
            "size=${{command#*count=}}; size=${{size%% *}}\ncase $(cat \"$here/alter\" 2>/dev/null) in yes) \
             {{ dd bs=1 count=\"$size\" 2>/dev/null; {bytes}; }} | sh -c \"$command\"; exit $? ;; esac"
        ),
    )
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_arrives_altered_or_in_part_is_never_switched_to() {
    for (name, filter) in [("altered", "tr e a"), ("part", "head -c 5"), ("more", "cat - /etc/passwd")] {
        let workspace = altering(&format!("deploy {name}"), filter);
        deploy(&workspace, "--from 1.0.0").succeeds();
        let before = tree(&workspace.path("bin"));
        fs::write(workspace.path("alter"), "yes").unwrap();
        deploy(&workspace, "--from 1.1.0").ends_with(1).says("what arrived is not what was sent");
        assert_eq!(tree(&workspace.path("bin")), before, "{name}");
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_program_that_fails_before_or_after_the_switch_is_not_current() {
    let workspace = with_stand_in("deploy bad", "");
    release(&workspace, "2.0.0", "[ \"$1\" != --version ]");
    release(&workspace, "3.0.0", "echo 'why \x1b[2J not'; [ \"$1\" != --self-test ]");
    // A file that somebody put there stays, too.
    fs::write(workspace.path("bin/probe"), "#!/bin/sh\necho by hand\n").unwrap();
    workspace.shell("chmod 755 bin/probe").succeeds();
    let before = tree(&workspace.path("bin"));
    for _ in 0..2 {
        deploy(&workspace, "--from 2.0.0")
            .ends_with(1)
            .says("`probe --version` failed (exit code 1): nothing was switched");
        assert_eq!(tree(&workspace.path("bin")), before);
        let run = deploy(&workspace, "--from 3.0.0").ends_with(1);
        let run = run
            .says("`probe --self-test` failed (exit code 1): it is back to what was there before")
            .says("why \\u{1b}[2J not");
        assert!(!run.text().contains('\x1b'));
        assert_eq!(prints(&workspace), "by hand");
        deploy(&workspace, "--status").succeeds().says("the last deployment was undone: 3.0.0-");
        fs::remove_file(workspace.path("bin/.probe/.undone")).unwrap();
        fs::remove_dir(workspace.path("bin/.probe")).unwrap();
        assert_eq!(tree(&workspace.path("bin")), before);
        // The same where nothing was there.
    }
    deploy(&workspace, "--from 1.0.0").succeeds();
    let before = tree(&workspace.path("bin"));
    deploy(&workspace, "--from 3.0.0").ends_with(1);
    assert_eq!(prints(&workspace), "one");
    fs::remove_file(workspace.path("bin/.probe/.undone")).unwrap();
    assert_eq!(tree(&workspace.path("bin")), before);
}

/// Waits until the target is as it was before a deployment whose self-test waited.
#[track_caller]
fn goes_back(workspace: &Workspace, before: &BTreeMap<PathBuf, String>) {
    let store = workspace.path("bin/.probe");
    wait_for("the way back", || !store.join(".lock").is_symlink() && store.join(".undone").exists());
    for file in ["bin/probe.go", "bin/probe.began", "bin/.probe/.undone"] {
        fs::remove_file(workspace.path(file)).unwrap();
    }
    assert_eq!(tree(&workspace.path("bin")), *before);
}

/// A release whose self-test says that it began, and waits.
const WAITS: &str = "[ \"$1\" = --self-test ] || exit 0\n: >\"$0.began\"; until [ -e \"$0.go\" ]; do sleep 1; done";

#[test]
#[ignore = "long: --include-ignored runs it"]
fn whoever_is_cut_off_after_the_switch_leaves_a_target_that_goes_back_alone() {
    let workspace = with_stand_in("deploy killed", "");
    release(&workspace, "2.0.0", WAITS);
    deploy(&workspace, "--from 1.0.0").succeeds();
    let before = tree(&workspace.path("bin"));
    let mut operator =
        workspace.command(&line(&workspace, "--from 2.0.0 --confirm 1")).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the self-test", || workspace.path("bin/probe.began").exists());
    // Another operator is told who is at work.
    deploy(&workspace, "--from 1.1.0").ends_with(1).says("is deploying to it now");
    operator.kill().unwrap();
    operator.wait().unwrap();
    fs::write(workspace.path("bin/probe.go"), "").unwrap();
    goes_back(&workspace, &before);
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn whoever_is_cut_off_and_comes_back_confirms() {
    // The second call is the one that deploys: of it, three lines arrive.
    let workspace = with_stand_in(
        "deploy back",
        "echo x >>\"$here/calls\"\n\
         if [ \"$(wc -l <\"$here/calls\")\" = 2 ]; then mkfifo \"$here/pipe\"; exec 3<&0\n\
         setsid sh -c \"$command\" <&3 >\"$here/pipe\" 2>/dev/null &\nhead -n 3 <\"$here/pipe\"; exit 0; fi",
    );
    deploy(&workspace, "--from 1.0.0").succeeds().says("is current; the connection was cut on the way");
    assert_eq!(prints(&workspace), "one");
    assert_eq!(workspace.read("calls").lines().count(), 3);
    wait_for("the end", || !workspace.path("bin/.probe/.lock").is_symlink());
    assert!(workspace.path("bin/.probe/.history").exists() && !workspace.path("bin/.probe/.pending").exists());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_a_loss_of_power_left_is_undone_by_the_next_deployment_and_its_lock_is_void() {
    let workspace = with_stand_in("deploy power", "");
    deploy(&workspace, "--from 1.0.0").succeeds();
    let version = fs::read_link(workspace.path("bin/probe")).unwrap();
    let version = version.file_name().unwrap().to_str().unwrap().to_owned();
    // As it is between the switch and the confirmation.
    fs::copy(workspace.path("bin/.probe").join(&version), workspace.path("bin/.probe/9.0.0-9")).unwrap();
    workspace.shell("ln -sfn .probe/9.0.0-9 bin/probe; ln -s '1 1 another-boot bob@lap' bin/.probe/.lock").succeeds();
    fs::write(workspace.path("bin/.probe/.pending"), format!("token\nversion {version} none no\n9.0.0-9\n")).unwrap();
    deploy(&workspace, "--status").succeeds().says("a deployment was cut off before it was confirmed");
    deploy(&workspace, "--from 1.1.0").succeeds().says("is undone first");
    let history = workspace.read("bin/.probe/.history");
    assert!(history.starts_with(&version) && history.lines().count() == 2, "{history}");
    assert_eq!(prints(&workspace), "two");
    assert_eq!(list(&workspace.path("bin/.probe")).len(), 3, "{:?}", list(&workspace.path("bin/.probe")));
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn only_as_many_versions_stay_as_are_to_be_kept() {
    let workspace = with_stand_in("deploy keep", "umask 077");
    for number in 0..4 {
        let version = format!("4.{number}.0");
        release(&workspace, &version, &format!("echo {number}"));
        deploy(&workspace, &format!("--from {version} --keep 2")).succeeds();
    }
    let kept: Vec<String> =
        list(&workspace.path("bin/.probe")).into_iter().filter(|name| !name.starts_with('.')).collect();
    let mode = fs::metadata(workspace.path("bin/.probe")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755, "whatever the umask of who logs in");
    assert!(kept.len() == 2 && kept[0].starts_with("4.2.0-") && kept[1].starts_with("4.3.0-"), "{kept:?}");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_target_that_prints_what_it_likes_can_do_no_harm() {
    let workspace = with_stand_in("deploy hostile", "[ -e \"$here/yes\" ] && exec yes \"$(printf '\\033[2J')\"");
    fs::write(workspace.path("yes"), "").unwrap();
    let run = deploy(&workspace, "--from 1.0.0").ends_with(1).says("pi: it prints without end");
    assert!(!run.text().contains('\x1b'));
    let workspace = with_stand_in("deploy banner", "printf 'Welcome \\033]0;x\\007\\n'; echo nonsense >&2; exit 0");
    let run = deploy(&workspace, "--from 1.0.0")
        .ends_with(1)
        .says("it did not report what it is")
        .says("Welcome \\u{1b}]0;x\\u{7}");
    assert!(!run.text().contains('\x1b'));
    let workspace = with_stand_in("deploy uname", "PATH=$here/odd:$PATH");
    fs::create_dir_all(workspace.path("odd")).unwrap();
    workspace.shell("printf '#!/bin/sh\\nprintf \"\\\\033[1mpdp11 \\\\n\"' >odd/uname; chmod 755 odd/uname").succeeds();
    let run = deploy(&workspace, "--from 1.0.0").ends_with(1);
    assert!(run.text().contains("it runs ") && !run.text().contains('\x1b'), "{}", run.text());
}

#[test]
fn a_wrong_request_is_refused_before_anybody_is_called() {
    let workspace = with_stand_in("deploy wrong", ": >\"$here/called\"");
    for (words, complaint) in [
        ("deploy -- -oProxyCommand=x", "the host begins with a dash"),
        ("deploy pi pi", "pi is named twice"),
        ("deploy 'a b'", "is no name of a host"),
        ("deploy pi --dir bin", "the path of a folder from the root is expected"),
        ("deploy pi --confirm 0", "a number of seconds from 1 to 3600 is expected"),
        ("deploy pi --from nowhere", "nowhere"),
        ("deploy pi --signer RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3", "name its folder with --from"),
        ("deploy pi --proof", "--signer"),
    ] {
        let run = workspace.xtask(words);
        assert!(run.text().contains(complaint), "{words}: {}", run.text());
        run.ends_with(2);
    }
    assert!(!workspace.path("called").exists());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn where_there_is_no_room_or_no_program_may_run_nothing_is_changed() {
    if !has("mounts", "run as root, where mounts are allowed", can_mount()) {
        return;
    }
    let workspace = with_stand_in("deploy mounts", "[ -e \"$here/liar\" ] && PATH=$here/odd:$PATH");
    release(&workspace, "5.0.0", &format!("exit 0\n{}", "#\n".repeat(400_000)));
    fs::create_dir_all(workspace.path("odd")).unwrap();
    workspace.shell("printf '#!/bin/sh\\necho x; echo x 9 9 999999 9%% /' >odd/df; chmod 755 odd/df").succeeds();
    for (options, setup, complaint) in [
        ("size=600k", "", "kB are needed in"),
        ("size=600k", ": >liar", "the disk is full, or"),
        ("noexec", "rm -f liar", "mounted noexec"),
        ("ro", "rm -f liar", "mounted read-only"),
    ] {
        let deploy = line(&workspace, "--from 5.0.0");
        let script = format!(
            "{setup}\nmount -t tmpfs -o {options} tmpfs bin && \"$BPFSHIP\" {deploy}; code=$?; find bin -mindepth 1; exit $code"
        );
        let run = workspace.shell_with_mounts(&script).ends_with(1);
        assert!(run.text().contains(complaint), "{options}: {}", run.text());
        assert!(!run.text().contains("\nbin/.probe"), "{options}: {}", run.text());
    }
}

/// Stands in for systemctl: the unit runs while there is a file `pid`.
const SYSTEMCTL: &str = r#"#!/bin/sh
case $1 in
restart) [ ! -e fails ] && echo $$ >pid ;;
is-active) [ ! -e dies ] || rm -f pid; [ -e pid ] ;;
show) case "$*" in
    *ActiveState*) [ -e pid ] && echo ActiveState=active || echo ActiveState=failed ;;
    *) echo "MainPID=$(cat pid)" ;;
    esac ;;
disable | stop) rm -f pid ;;
status) echo "the log of the unit" ;;
esac
"#;

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_service_comes_is_watched_goes_back_and_goes() {
    if !has("mounts", "run as root, where mounts are allowed", can_mount()) {
        return;
    }
    let workspace = with_stand_in("deploy service", "cd \"$here\"; PATH=$here/odd:$PATH");
    let workspace = workspace.write("odd/systemctl", SYSTEMCTL);
    workspace.shell("chmod 755 odd/systemctl").succeeds();
    let deploy = |words: &str| format!("\"$BPFSHIP\" {}", line(&workspace, words));
    let (one, two) = (deploy("--from 1.0.0 --service --watch 1"), deploy("--from 1.1.0 --service --watch 1"));
    let script = format!(
        "mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /etc/systemd/system; mkdir -p /run/systemd/system
         unit=/etc/systemd/system/probe.service
         here() {{ readlink bin/probe; [ -e pid ] && echo runs; cksum <$unit; }} 2>/dev/null
         : >fails; {one}; echo \"code $? $(ls bin /etc/systemd/system)\"; rm fails
         {one} || exit 9; cat $unit; before=$(here)
         {one}
         for how in fails dies; do
             : >$how; {two}; echo \"code $?\"
             rm $how; echo $$ >pid
             [ \"$(here)\" = \"$before\" ] && echo as before $how
         done
         {two} || exit 9; [ \"$(here)\" = \"$before\" ] || echo other
         mount -t tmpfs tmpfs /var/log; mkdir -p /var/log/private/probe $unit.d; ln -s private/probe /var/log/probe
         {}; echo \"left $(ls -A bin /etc/systemd/system)\"; [ -e pid ] || echo stopped",
        deploy("--uninstall")
    );
    let run = workspace.shell_with_mounts(&script).succeeds();
    let run = run
        .says("code 1 /etc/systemd/system:\n\nbin:\n")
        .says("the unit probe.service cannot be started")
        .says("nothing to do: 1.0.0-");
    let run = run.says("\nExecStart=").says("AmbientCapabilities=CAP_").says("as before fails").says("as before dies");
    let run = run.says("the unit probe.service ended 1 s after its start: it is back").says("the log of the unit");
    let kept = "removed; kept: /var/log/private/probe, /etc/systemd/system/probe.service.d";
    run.says("other\n").says(kept).says("left /etc/systemd/system:\nprobe.service.d\n\nbin:\nstopped");
}

#[test]
fn the_script_for_targets_is_one_that_shellcheck_finds_nothing_in() {
    let found = Command::new("shellcheck").arg("--version").output().is_ok();
    if has("shellcheck", "apt install shellcheck", found) {
        // What is in capitals is assigned before it.
        let check = Command::new("shellcheck")
            .args(["--shell=sh", "--exclude=SC2034,SC2153,SC2154"])
            .arg(super::support::own_root().join("xtask/src/deploy/target.sh"))
            .output()
            .unwrap();
        Run::from_output(check).succeeds();
    }
}

#[test]
fn the_script_of_a_release_installs_upgrades_and_leaves_nothing_behind() {
    let workspace = workspace("install script");
    let busybox = Command::new("busybox").output().is_ok();
    let mut shells = vec!["sh"];
    shells.extend(has("busybox", "apt install busybox-static", busybox).then_some("busybox sh"));
    for shell in shells {
        let install = |words: &str| workspace.shell(&format!("DIR=bin {shell} {words}"));
        install("1.0.0/install.sh").succeeds().says("installed tool-1.0.0 as bin/probe\n");
        assert_eq!(prints(&workspace), "one");
        install("1.1.0/install.sh 1.1.0/").succeeds();
        assert_eq!(prints(&workspace), "two");
        // Not what the checksums are of.
        workspace.shell("rm -rf bad; cp -r 1.0.0 bad && cp 1.1.0/*.gz bad/$(basename 1.0.0/*.gz)").succeeds();
        install("bad/install.sh").ends_with(1).says("has not the SHA-256 of SHA256SUMS: nothing was installed");
        workspace.shell("echo nothing >bad/SHA256SUMS").succeeds();
        install("bad/install.sh").ends_with(1).says("there is no archive for this machine (").says(&format!(
            "a clone makes one by cargo xtask dist --arch {}\n",
            this_arch().triple.split('-').next().unwrap()
        ));
        install("1.0.0/install.sh nowhere").ends_with(1).says("cannot get SHA256SUMS from nowhere");
        install("1.0.0/install.sh --help")
            .succeeds()
            .says("\n  sh install.sh [FOLDER|URL]     installs")
            .says_nothing_of("set -eu");
        install("1.0.0/install.sh --remove").ends_with(1).says("or --uninstall, is expected");
        assert_eq!(prints(&workspace), "two");
        install("1.0.0/install.sh --uninstall").succeeds();
        assert!(list(&workspace.path("bin")).is_empty());
        install("1.0.0/install.sh --uninstall")
            .ends_with(1)
            .says("there is no bin/probe: it is not installed")
            .in_one_line();
    }
    // A program that does not start is not installed, and a link of `deploy` is not touched.
    release(&workspace, "2.0.0", "exit 3");
    workspace.shell("DIR=bin sh 2.0.0/install.sh").ends_with(1).says("does not start on this machine");
    assert!(list(&workspace.path("bin")).is_empty());
    workspace
        .shell("ln -s .probe/1 bin/probe; DIR=bin sh 1.0.0/install.sh")
        .ends_with(1)
        .says("bin/probe is a link or a folder, and not of this script");
    fs::remove_file(workspace.path("bin/probe")).unwrap();
    if busybox {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = workspace.path("1.0.0");
        let mut command = Command::new("busybox");
        command.args(["httpd", "-f", "-p", &format!("127.0.0.1:{port}"), "-h"]).arg(at);
        let _server = Server(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        wait_for("the web server", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        let get = format!("DIR=bin no_proxy=127.0.0.1 sh 1.0.0/install.sh http://127.0.0.1:{port}");
        workspace.shell(&get).succeeds();
        assert_eq!(prints(&workspace), "one");
    }
}

#[test]
fn the_script_of_a_release_is_short_and_one_that_shellcheck_finds_nothing_in() {
    let workspace = workspace("install check");
    assert!(workspace.read("1.0.0/install.sh").lines().count() <= 150);
    if has("shellcheck", "apt install shellcheck", Command::new("shellcheck").arg("--version").output().is_ok()) {
        workspace.shell("shellcheck 1.0.0/install.sh").succeeds();
    }
}

/// The unit of a program with the usual capabilities, for a kernel.
fn unit(version: (u32, u32), btf: bool) -> String {
    let config = Deploy {
        capabilities: ["CAP_BPF", "CAP_PERFMON"].map(String::from).into(),
        capabilities_without_btf: ["CAP_DAC_READ_SEARCH", "CAP_NET_ADMIN"].map(String::from).into(),
        ..Deploy::default()
    };
    let kernel = Kernel { version, btf, is_paranoid: false };
    unit::text(&config, &Runs { name: "probe", folder: "/usr/local/bin", kernel })
}

/// The unit in exectrace's archive is that of `deploy` and of packages, but for its capabilities and its comments.
#[test]
fn the_unit_in_the_archive_of_exectrace_is_as_confined_as_that_of_deploy() {
    let lines = |text: &str| -> BTreeSet<String> {
        let is_same = |line: &&str| {
            ![
                "#",
                "Description=",
                "Documentation=",
                "ExecStart=",
                "LogsDirectory=",
                "StateDirectory=",
                "After=",
                "Wants=",
                "AmbientCapabilities=",
                "CapabilityBoundingSet=",
            ]
            .iter()
            .any(|start| line.starts_with(start))
        };
        text.lines().filter(is_same).map(String::from).collect()
    };
    let shipped = fs::read_to_string(super::support::own_root().join("app/exectrace.service")).unwrap();
    let ours = unit((6, 1), true);
    assert_eq!(lines(&shipped), lines(&ours));
    for line in ["AmbientCapabilities=CAP_BPF CAP_PERFMON", "CapabilityBoundingSet=CAP_BPF CAP_PERFMON"] {
        assert!(shipped.lines().any(|it| it == line) && ours.lines().any(|it| it == line), "{line}");
    }
}

#[test]
fn a_unit_is_safe_by_systemd_s_own_rules() {
    let found = Command::new("systemd-analyze").arg("--version").output().is_ok();
    if !has("systemd-analyze", "apt install systemd", found) {
        return;
    }
    for (name, kernel, btf, most) in
        [("btf", (6, 1), true, 18), ("no-btf", (6, 1), false, 22), ("old", (5, 4), false, 25)]
    {
        let workspace = Workspace::empty("deploy unit");
        let text = unit(kernel, btf).replace("/usr/local/bin/probe", "/bin/true");
        let workspace = workspace.write(&format!("{name}.service"), &text);
        workspace
            .shell(&format!("systemd-analyze verify ./{name}.service 2>&1 | grep {name}.service: || true"))
            .succeeds()
            .says_nothing_of(name);
        let run = workspace.shell(&format!("systemd-analyze security --offline=true ./{name}.service")).succeeds();
        let text = run.text();
        let score =
            text.split(": ").find_map(|rest| rest.split(' ').next().filter(|it| it.contains('.'))?.parse::<f64>().ok());
        assert!(score.is_some_and(|score| score * 10.0 <= f64::from(most)), "{name}: {score:?} {text}");
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn of_many_targets_the_first_batch_that_fails_is_the_last() {
    // Each target has a folder of its own, by its name.
    let more = "for word; do [ \"$host\" != -- ] || name=$word; host=$word; done\n\
                sed \"s,/_/bin,/$name/bin,g\" | sh -c \"$command\"; exit";
    let workspace = with_stand_in("deploy fleet", more);
    let hosts = ["a", "b", "c", "d", "e"];
    for host in hosts {
        fs::create_dir_all(workspace.path(host).join("bin")).unwrap();
    }
    let _ = fs::remove_dir_all(workspace.path("bin"));
    release(&workspace, "2.0.0", "[ ! -e \"${0%/bin/*}/bad\" ]");
    let workspace = workspace.write("b/bad", "").write("hosts", "a\nb # the second\n\nc\nd\ne\n");
    let dir = workspace.path("_/bin");
    let deploy =
        |words: &str| workspace.xtask(&format!("deploy @hosts --dir '{}' --from 2.0.0 {words}", dir.display()));
    let current = || hosts.map(|host| workspace.path(host).join("bin/probe").is_symlink());
    let run = deploy("--canary 1 --batch 2").ends_with(1).says("a: 2.0.0-");
    run.says("b: `probe --version` failed").says("nothing was begun on d, e, because a batch before failed");
    assert_eq!(current(), [true, false, true, false, false]);
    fs::remove_file(workspace.path("b/bad")).unwrap();
    let report = deploy("--json").succeeds().json();
    let report: BTreeMap<&str, &str> = report["targets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["host"].as_str().unwrap(), it["done"].as_str().unwrap()))
        .collect();
    assert!(report["a"].starts_with("nothing to do") && report["b"].ends_with("is current"), "{report:?}");
    assert_eq!(current(), [true; 5]);
    deploy("--canary 0").ends_with(2);
    workspace.xtask("deploy @nobody").ends_with(2).says("@nobody: there is no such file of hosts");
}

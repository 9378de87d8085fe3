//! The built binary on this machine's kernel.
//!
//! What a test needs and does not find, it names, and passes; with BPFSHIP_REQUIRE=all it fails instead.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    env, fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{fs::PermissionsExt as _, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid, gettid},
};
use serde_json::Value;

const EXECTRACE: &str = env!("CARGO_BIN_EXE_exectrace");

/// Long enough for the slowest machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn self_test_passes() {
    if !can_trace() {
        return;
    }
    let output = run(Command::new(EXECTRACE).arg("--self-test"));
    let text = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<&str> = text.lines().collect();
    let begin_with = |word: &str| lines.iter().filter(|line| line.starts_with(word)).count();
    // Every backend that this kernel allows: all of them, where there is BTF.
    assert_eq!(begin_with("backend: "), 4, "{text}");
    let checks = begin_with("ok   ");
    assert_eq!(lines.last(), Some(&&*format!("self-test: passed ({checks} checks)")));
    // The best backend leaves no gap; not every kernel runs 32-bit programs.
    assert_eq!(lines.len(), 4 + checks + begin_with("none 32-bit program") + 1, "{text}");
}

#[test]
fn json_shows_an_exec_and_its_exit_and_count_ends_it() {
    if !can_trace() {
        return;
    }
    let script = Script::new("count", "exit 3");
    let tracing = Tracing::start(&["--json", "--count", "2", "--comm", &script.name]);
    let mut child = Command::new(&script.path).arg("one two").spawn().unwrap();
    child.wait().unwrap();
    let ended = tracing.wait();
    assert!(ended.success, "{ended:?}");

    let [exec, exit] = &ended.json()[..] else { panic!("{ended:?}") };
    assert_eq!(exec["event"], "exec");
    assert_eq!(exec["pid"], child.id());
    assert_eq!(exec["ppid"], std::process::id());
    assert_eq!(exec["uid"], 0);
    assert_eq!(exec["comm"], *script.name);
    assert_eq!(exec["file"], script.path.to_str().unwrap());
    assert_eq!(exec["args"], serde_json::json!(["/bin/sh", script.path.to_str().unwrap(), "one two"]));
    assert_eq!(exec["file_truncated"], false);
    assert_eq!(exec["args_truncated"], false);
    assert_eq!(exit["event"], "exit");
    assert_eq!(exit["pid"], child.id());
    assert_eq!(exit["code"], 3);
    assert_eq!(exit["signal"], Value::Null);
    assert!(exit["since_exec_us"].is_u64(), "{exit}");
    assert!(exec["time"].as_str() <= exit["time"].as_str(), "{exec} {exit}");
    assert!(ended.summary().starts_with("exectrace: 1 exec, 1 exit, 0 lost, "), "{ended:?}");
}

#[test]
fn pid_follows_a_process_through_forks_without_exec() {
    if !can_trace() {
        return;
    }
    // A shell, a part of it that only forks, and what that executes.
    let mut shell = Shell::start("read go; ( /bin/true; exit 5 ); exit 6");
    let tracing = Tracing::start(&["--json", "--pid", &shell.pid().to_string()]);
    run(&mut Command::new("/bin/true"));
    shell.go();
    check_family(&shell, &tracing.stop(Signal::SIGINT));
}

#[test]
fn pid_follows_descendants_that_were_there_before() {
    if !can_trace() {
        return;
    }
    let mut shell = Shell::start("( read go; /bin/true; exit 5 ); exit 6");
    // The part that only forks has to be there before.
    wait_until(|| !children_of(shell.pid()).is_empty());
    let tracing = Tracing::start(&["--json", "--pid", &shell.pid().to_string()]);
    run(&mut Command::new("/bin/true"));
    shell.go();
    check_family(&shell, &tracing.stop(Signal::SIGINT));
}

#[track_caller]
fn check_family(shell: &Shell, ended: &Ended) {
    let events = ended.json();
    let shown: Vec<(&str, &Value)> =
        events.iter().map(|event| (event["event"].as_str().unwrap(), &event["code"])).collect();
    let code = |code: u8| serde_json::json!(code);
    assert_eq!(
        shown,
        [("exec", &Value::Null), ("exit", &code(0)), ("exit", &code(5)), ("exit", &code(6))],
        "{ended:?}"
    );
    let [exec, exit, fork, last] = &events[..] else { unreachable!() };
    assert_eq!(exec["file"], "/bin/true");
    assert_eq!(exec["pid"], exit["pid"]);
    assert_eq!(exec["ppid"], fork["pid"]);
    assert_eq!(fork["ppid"], shell.pid());
    assert_eq!(last["pid"], shell.pid());
    // Neither has executed anything while it was watched.
    assert_eq!(fork["since_exec_us"], Value::Null);
    assert_eq!(last["since_exec_us"], Value::Null);
}

#[test]
fn a_command_is_traced_from_its_exec_to_its_end() {
    if !can_trace() {
        return;
    }
    for backend in ["btf", "perf"] {
        let output = run(Command::new(EXECTRACE).args(["--json", "--backend", backend, "--"]).args([
            "/bin/sh",
            "-c",
            "echo hello; /bin/true; exit 5",
        ]));
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        // Standard output is the command's.
        assert_eq!(stdout(&output), "hello\n");
        let events: Vec<Value> = stderr(&output).lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let shown: Vec<&Value> =
            events.iter().map(|event| if event["event"] == "exec" { &event["file"] } else { &event["code"] }).collect();
        let json = |text: &str| Value::from(text);
        assert_eq!(
            shown,
            [&Value::Null, &json("/bin/sh"), &json("/bin/true"), &Value::from(0), &Value::from(5)],
            "{output:?}"
        );
    }
    let killed = run(Command::new(EXECTRACE).args(["--", "/bin/sh", "-c", "kill -9 $$"]));
    assert_eq!(killed.status.code(), Some(128 + 9));
    let missing = run(Command::new(EXECTRACE).args(["--", "/no/such/program"]));
    assert_eq!(missing.status.code(), Some(127));
    assert!(stderr(&missing).contains("exectrace: cannot run /no/such/program: "), "{missing:?}");
    // Nothing is left of one that could not be traced.
    let refused = run(Command::new(EXECTRACE).args(["--cgroup", "/no/such/group", "--", "/bin/true"]));
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

#[test]
fn execs_that_are_refused_are_shown_with_the_error() {
    if !can_trace() {
        return;
    }
    for backend in ["btf", "btf-perf"] {
        let output = run(Command::new(EXECTRACE).args(["--json", "--failed", "--backend", backend, "--"]).args([
            "/bin/sh",
            "-c",
            "exec 2>/dev/null; /no/such/file; /etc/passwd; /bin/true; exit 0",
        ]));
        let events: Vec<Value> = stderr(&output).lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let failed: Vec<(&str, &str)> = events
            .iter()
            .filter(|event| event["event"] == "failed")
            .map(|event| (event["file"].as_str().unwrap(), event["error"].as_str().unwrap()))
            .collect();
        // /bin/sh need not try what is not there.
        assert!(failed.contains(&("/etc/passwd", "EACCES")), "{output:?}");
        let [shell, refused] =
            ["exec", "failed"].map(|kind| events.iter().find(|event| event["event"] == kind).unwrap());
        assert_eq!(refused["ppid"], shell["pid"], "{output:?}");
        assert_eq!(refused["uid"], 0, "{output:?}");
    }
    assert_refused(
        Command::new(EXECTRACE).args(["--failed", "--backend", "perf"]),
        "--failed needs BPF that reads the kernel's structs: leave it out, or use a kernel with CONFIG_BPF_EVENTS=y and \
         CONFIG_DEBUG_INFO_BTF=y",
    );
}

#[test]
fn a_command_under_sudo_is_the_users_own() {
    if !can_trace() {
        return;
    }
    let output = run(Command::new(EXECTRACE)
        .args(["--", "/bin/sh", "-c", "id -u; id -g; echo $HOME"])
        .env("SUDO_UID", "65534")
        .env("SUDO_GID", "65534"));
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).starts_with("65534\n65534\n"), "{output:?}");
    assert!(!stdout(&output).contains("/root"), "{output:?}");
}

#[test]
fn it_ends_when_the_last_process_has_that_is_followed() {
    if !can_trace() {
        return;
    }
    for backend in ["btf", "tracepoints", "perf"] {
        let mut shell = Shell::start("read go; /bin/true & exit 0");
        let tracing = Tracing::start(&["--backend", backend, "--pid", &shell.pid().to_string()]);
        shell.go();
        let ended = tracing.wait();
        assert!(ended.success, "{ended:?}");
        assert!(ended.summary().starts_with("exectrace: 1 exec, 2 exits, 0 lost, "), "{backend}: {ended:?}");
    }
}

#[test]
fn output_goes_to_a_file_that_can_be_rotated() {
    if !can_trace() {
        return;
    }
    let script = Script::new("rotate", "exit 0");
    let folder = Folder::new("rotated");
    let (path, old) = (folder.0.join("log"), folder.0.join("log.1"));
    let tracing = Tracing::start(&["--json", "--no-exits", "--output", path.to_str().unwrap(), "--comm", &script.name]);
    run(Command::new(&script.path).arg("before-it"));
    wait_until(|| fs::read_to_string(&path).is_ok_and(|text| text.contains("before-it")));
    fs::rename(&path, &old).unwrap();
    tracing.signal(Signal::SIGHUP);
    wait_until(|| path.exists());
    run(Command::new(&script.path).arg("after-it"));
    let ended = tracing.stop(Signal::SIGTERM);
    assert!(ended.success, "{ended:?}");
    assert_eq!(ended.stdout, "");
    let texts = [old, path].map(|path| fs::read_to_string(path).unwrap());
    assert!(texts[0].contains("before-it") && !texts[0].contains("after-it"), "{texts:?}");
    assert!(!texts[1].contains("before-it") && texts[1].contains("after-it"), "{texts:?}");
}

#[test]
fn text_can_be_a_tree_with_relative_times_or_a_summary() {
    if !can_trace() {
        return;
    }
    const COMMAND: [&str; 3] = ["/bin/sh", "-c", "x=/bin/fal; ( ( ${x}se; sleep 0.5; exit 3 ); exit 4 )"];
    let trace = |arguments: &[&str]| stderr(&run(Command::new(EXECTRACE).args(arguments).arg("--").args(COMMAND)));
    let tree = trace(&["--tree", "--relative"]);
    let lines: Vec<&str> = tree.lines().collect();
    assert!(lines[1].starts_with("0.") && lines[1].contains(" exec "), "{tree}");
    let places: Vec<Option<usize>> = ["/bin/sh -c", "/bin/false", "code 1,"]
        .iter()
        .map(|word| lines.iter().find_map(|line| line.find(word)))
        .collect();
    let [Some(shell), Some(child), Some(end)] = places[..] else { panic!("{tree}") };
    assert!(shell < child && child == end, "{tree}");
    let summary = trace(&["--summary"]);
    let lines: Vec<Vec<&str>> = summary.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["EXECS", "FAILED", "TOTAL", "LONGEST", "FILE"], "{summary}");
    assert!(lines.iter().any(|line| line[0] == "1" && line[1] == "1" && line[4] == "/bin/false"), "{summary}");
}

/// As script(1) runs it: on a terminal that does not say how many lines it has.
#[test]
fn on_a_terminal_there_are_colors_and_the_header_comes_again() {
    if !can_trace() {
        return;
    }
    if Command::new("script").arg("--version").output().is_err() {
        return not_run("script", "apt install bsdutils");
    }
    let command = format!(
        "'{EXECTRACE}' --show-cgroup -- sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11; do /bin/true; done; kill -9 $$'"
    );
    let trace = |no_color: &str| {
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).env("TERM", "xterm").env("NO_COLOR", no_color);
        stdout(&run(&mut script))
    };
    let colored = trace("");
    // 24 lines below the header, where 22 find room.
    assert_eq!(colored.matches("\u{1b}[1mTIME").count(), 2, "{colored}");
    assert_eq!(colored.matches("\u{1b}[2m").count(), 11, "{colored}");
    assert_eq!(colored.matches("\u{1b}[31m").count(), 1, "{colored}");
    let plain = trace("1");
    assert_eq!(plain.matches(" CGROUP ").count(), 2, "{plain}");
    assert!(!plain.contains('\u{1b}'), "{plain}");
}

/// Through mounts, in another root, in a folder that is gone, and below more folders than are looked at.
#[test]
fn an_exec_shows_its_current_directory_and_its_terminal() {
    if !can_trace() || !can_unshare() {
        return;
    }
    if Command::new("script").arg("--version").output().is_err() {
        return not_run("script", "apt install bsdutils");
    }
    let folder = Folder::new("place");
    let script = r#"
        cd "$1"; mkdir -p "a b/gone" mounted root $(printf 'd/%.0s' $(seq 130))
        printf '/bin/true terminal "$(tty)"' >run; script -qec 'sh run' /dev/null >/dev/null
        setsid /bin/true none
        mount -t tmpfs none mounted; mkdir mounted/in; mount --rbind / root
        (cd "a b"; /bin/true plain; cd gone; rmdir ../gone; /bin/true deleted)
        (cd mounted/in; /bin/true mounted)
        chroot root /bin/sh -c 'cd /bin/..; cd tmp; /bin/true chroot'
        (cd $(printf 'd/%.0s' $(seq 130)); /bin/true deep)
    "#;
    for backend in ["btf", "btf-perf", "perf"] {
        let file = folder.0.join("events");
        let mut tracing = Command::new("unshare");
        tracing.args([
            "--mount",
            EXECTRACE,
            "--json",
            "--backend",
            backend,
            "--match",
            "^/bin/true",
            "--no-exits",
            "-o",
        ]);
        tracing.arg(&file).args(["--", "sh", "-ec", script, "sh"]).arg(&folder.0);
        let output = run(&mut tracing);
        assert!(output.status.success(), "{output:?}");
        let text = fs::read_to_string(&file).unwrap();
        let all: Vec<Value> = text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
        let execs = all.iter().filter(|event| event["event"] == "exec");
        let cases: BTreeMap<&str, &Value> = execs.filter_map(|exec| Some((exec["args"][1].as_str()?, exec))).collect();
        fs::remove_file(&file).unwrap();
        fs::remove_dir_all(folder.0.join("a b")).unwrap();
        if backend == "perf" {
            for exec in cases.values() {
                assert!(exec["cwd"].is_null() && exec["cwd_truncated"].is_null() && exec["tty"].is_null(), "{exec}");
            }
            assert!(text.contains(r#"{"field":"cwd","when":null},{"field":"tty","when":null}"#), "{text}");
            continue;
        }
        let place = folder.0.to_str().unwrap();
        for (case, cwd) in [
            ("plain", format!("{place}/a b")),
            ("deleted", format!("{place}/a b/gone (deleted)")),
            ("mounted", format!("{place}/mounted/in")),
            ("chroot", "/tmp".to_owned()),
            ("deep", vec!["d"; 128].join("/")),
        ] {
            assert_eq!(cases[case]["cwd"], cwd, "{backend}, {case}");
            assert_eq!(cases[case]["cwd_truncated"], case == "deep", "{backend}, {case}");
        }
        assert_eq!(cases["none"]["tty"], "");
        let terminal = &cases["terminal"];
        assert!(terminal["tty"].as_str().unwrap().starts_with("pts/"), "{terminal}");
        assert_eq!(format!("/dev/{}", terminal["tty"].as_str().unwrap()), terminal["args"][2].as_str().unwrap());
    }
}

#[test]
fn execs_are_found_by_pattern_parent_user_and_control_group() {
    if !can_trace() {
        return;
    }
    let script = Script::new("found", "exit 0");
    let own = std::process::id().to_string();
    for (arguments, found) in [
        (&["--match", "found-[0-9]+ one$"][..], 1),
        (&["--match", "found-[0-9]+ (one|two)$", "--ppid", &own], 2),
        (&["--comm", &script.name, "--ppid", "1"], 0),
        (&["--comm", &script.name, "--uid", "root"], 2),
        (&["--comm", &script.name, "--cgroup", "/"], 2),
        (&["--comm", &script.name, "--min-duration", "5"], 0),
    ] {
        let tracing = Tracing::start(arguments);
        for argument in ["one", "two"] {
            run(Command::new(&script.path).arg(argument));
        }
        let ended = tracing.stop(Signal::SIGINT);
        let s = if found == 1 { "" } else { "s" };
        assert!(ended.summary().contains(&format!("{found} exec{s}, {found} exit{s}, ")), "{arguments:?}: {ended:?}");
    }
}

/// Also of a process that moves between its events.
#[test]
#[ignore = "long: --include-ignored runs it"]
fn control_groups_are_those_of_the_moment_in_every_backend() {
    if !can_trace() {
        return;
    }
    let Some(groups) = [Group::new("one"), Group::new("two")].into_iter().collect::<Option<Vec<_>>>() else {
        return not_run("a control group to make others in", "mount -t cgroup2 none /sys/fs/cgroup");
    };
    let [one, two] = &groups[..] else { unreachable!() };
    let move_to = |group: &Group| format!("echo $$ >{}/cgroup.procs", group.folder.display());
    let last = Script::new("moving", &format!("{}; exit 3", move_to(two)));
    let script = format!("{}; exec {}", move_to(one), last.path.display());
    for backend in ["btf", "btf-perf", "tracepoints", "perf"] {
        let tracing = Tracing::start(&["--json", "--backend", backend, "--comm", &last.name]);
        assert_eq!(run(Command::new("sh").args(["-c", &script])).status.code(), Some(3));
        let ended = tracing.stop(Signal::SIGINT);
        let shown: Vec<_> = ended.json().into_iter().map(|event| event["cgroup"].clone()).collect();
        assert_eq!(shown, [&*one.path, &*two.path], "{backend}: {ended:?}");
    }
}

/// A control group in that of the tests, as long as this lives.
struct Group {
    folder: PathBuf,
    path: String,
}

impl Group {
    fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?.to_owned();
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?.trim_end_matches('/').to_owned();
        let path = format!("{own}/exectrace-test-{}-{name}", std::process::id());
        let folder = PathBuf::from(format!("{mount}{path}"));
        fs::create_dir(&folder).ok()?;
        Some(Self { folder, path })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// What one backend shows, another shows too, or null where it has a gap: field by field, of the same processes.
#[test]
fn all_backends_show_the_same_of_a_busy_workload() {
    if !can_trace() {
        return;
    }
    const WORKLOAD: &str = r#"
        read go
        {
        for round in 1 2 3 4 5 6 7 8; do
            ( /bin/true a$round "" 'two words'; exit $round ) &
            ( exec /bin/sh -c 'exit 3' ) &
            sh -c 'kill -TERM $$' &
            sh -c 'kill -9 $$' &
            sh -c 'ulimit -c 0; kill -SEGV $$' &
            # Nobody waits for the last one, whose parent ends first.
            sh -c '( sleep 0.2; exec /bin/true orphan ) & exit 0' &
            /bin/false | /bin/cat | /bin/true
        done 2>/dev/null
        wait
        # All of them keep it open, and the last one closes it.
        } 3>&1 >/dev/null | cat
        sleep 0.5
    "#;
    let mut shell = Shell::start(WORKLOAD);
    let pid = shell.pid().to_string();
    let backends = ["btf", "btf-perf", "tracepoints", "perf"];
    let tracings =
        backends.map(|backend| Tracing::start(&["--json", "--pid", &pid, "--buffer", "4096", "--backend", backend]));
    shell.go();
    let [best, others @ ..] = tracings.map(|tracing| events_by_process(&tracing.stop(Signal::SIGINT)));
    assert!(best.values().map(Vec::len).sum::<usize>() > 8 * 20, "{best:?}");
    for (backend, events) in backends[1..].iter().zip(others) {
        assert_eq!(events.keys().collect::<Vec<_>>(), best.keys().collect::<Vec<_>>(), "{backend}");
        let mut unknown = BTreeMap::new();
        for (pid, best) in &best {
            let same = &events[pid];
            assert_eq!(same.len(), best.len(), "{backend}: {same:?} {best:?}");
            for (event, best) in same.iter().zip(best) {
                for (field, value) in best.as_object().unwrap() {
                    let shown = &event[field];
                    if shown.is_null() && !value.is_null() {
                        *unknown.entry(field.clone()).or_insert(0) += 1;
                    } else if field == "since_exec_us" || field == "start_us" {
                        // When a process began, /proc shows in hundredths of a second.
                        let [shown, value] = [shown, value].map(|value| value.as_i64().unwrap_or_default());
                        assert!(shown.abs_diff(value) < 100_000, "{backend}: {event} {best}");
                    } else if field != "time" {
                        assert_eq!(shown, value, "{backend}: {field} of {event} {best}");
                    }
                }
            }
        }
        let gaps: Vec<&str> = unknown.keys().map(String::as_str).collect();
        let always = ["args", "args_truncated", "cwd", "cwd_truncated", "ppid", "tty"];
        let without_reports = ["code", "core_dumped", "signal", "uid"];
        let allowed = match *backend {
            "tracepoints" | "perf" if has_reports() => always.to_vec(),
            "tracepoints" | "perf" => [&always[..], &without_reports].concat(),
            _ => Vec::new(),
        };
        assert!(gaps.iter().all(|gap| allowed.contains(gap)), "{backend}: {unknown:?}");
        // Exits at the same time as signals, and parents that have just ended, are few.
        for rare in ["code", "ppid", "signal"] {
            assert!(unknown.get(rare).is_none_or(|&count| count <= 16), "{backend}: {unknown:?}");
        }
    }
}

/// In the order in which each process had them.
fn events_by_process(ended: &Ended) -> BTreeMap<u64, Vec<Value>> {
    assert!(ended.success && ended.summary().contains(" 0 lost, "), "{ended:?}");
    let mut processes: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for event in ended.json() {
        processes.entry(event["pid"].as_u64().unwrap()).or_default().push(event);
    }
    processes
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    if !can_trace() {
        return;
    }
    let mut child = Command::new(EXECTRACE).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("TIME"), "{line}");
    // The pipe is closed by now, and nothing else need happen.
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_standard_error_that_nobody_reads_does_no_harm() {
    if !can_trace() {
        return;
    }
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let status = Command::new(EXECTRACE)
        .args(["--verbose", "--duration", "0.1"])
        .stdout(Stdio::null())
        .stderr(writer)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn signals_end_it_with_a_summary() {
    if !can_trace() {
        return;
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let ended = Tracing::start(&["--comm", "no-such-name"]).stop(signal);
        assert!(ended.success, "{ended:?}");
        assert!(ended.summary().starts_with("exectrace: 0 execs, 0 exits, 0 lost, "), "{ended:?}");
        assert_eq!(ended.stdout.lines().count(), 1, "{ended:?}");
    }
}

#[test]
fn duration_ends_it() {
    if !can_trace() {
        return;
    }
    let output = run(Command::new(EXECTRACE).args(["--duration", "0.2", "--comm", "no-such-name"]));
    assert!(output.status.success(), "{output:?}");
    assert!(stderr(&output).contains("0 execs, 0 exits"), "{output:?}");
}

#[test]
fn lost_events_are_counted_and_reported() {
    if !can_trace() {
        return;
    }
    let tracing = Tracing::start(&["--json", "--buffer", "4"]);
    // While it stands still, a page is soon full (where pages are larger, a little later).
    tracing.signal(Signal::SIGSTOP);
    let long = "x".repeat(3000);
    for _ in 0..64 {
        run(Command::new("/bin/true").arg(&long));
    }
    tracing.signal(Signal::SIGCONT);
    let ended = tracing.stop(Signal::SIGINT);
    assert!(ended.success, "{ended:?}");
    let shown: u64 =
        ended.json().iter().filter(|event| event["event"] == "lost").filter_map(|event| event["count"].as_u64()).sum();
    assert!(shown > 0, "{ended:?}");
    assert!(ended.summary().contains(&format!(" {shown} lost, ")), "{ended:?}");
    assert!(ended.stderr.contains(" events lost, for the buffer was full"), "{ended:?}");
}

#[test]
fn arguments_are_cut_at_a_bound_and_odd_bytes_kept_from_the_terminal() {
    if !can_trace() {
        return;
    }
    let script = Script::new("odd", "exit 0");
    let tracing = Tracing::start(&["--count", "1", "--comm", &script.name]);
    run(Command::new(&script.path).arg("\x1b[2J\n").arg("y".repeat(5000)));
    let ended = tracing.wait();
    let line = ended.stdout.lines().nth(1).unwrap();
    assert!(line.contains(r" $'\033[2J\n' yyyy"), "{line}");
    assert!(line.ends_with("yyyy] [arguments cut at 4096 bytes]"), "{line}");
}

#[test]
fn without_root_one_sentence_says_so() {
    if !geteuid().is_root() {
        return not_run("root, so as to become nobody", "run the tests with sudo");
    }
    // Where cargo builds, nobody else may be allowed to look.
    let folder = Folder::new("nobody");
    let copy = folder.0.join("exectrace");
    fs::copy(EXECTRACE, &copy).unwrap();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    for arguments in [&[][..], &["--self-test"], &["--json"]] {
        assert_refused(
            Command::new(&copy).args(arguments).uid(65_534).gid(65_534),
            "tracing needs root, or the capabilities CAP_BPF and CAP_PERFMON: run it with sudo",
        );
    }
}

#[test]
fn without_bpf_it_says_so_and_records_tracepoints() {
    if !can_trace() {
        return;
    }
    for (errno, lack) in [
        (
            libc::ENOSYS,
            "there is no bpf() system call here: run it on a kernel with CONFIG_BPF_SYSCALL=y, \
             and not under an emulator such as qemu-user",
        ),
        (
            libc::EPERM,
            "the kernel refuses bpf() in spite of the capabilities: run it on the host, \
             or in a container with --privileged",
        ),
    ] {
        let trace = |arguments: &[&str]| run(with_bpf_failing(Command::new(EXECTRACE).args(arguments), errno));
        let output = trace(&["--duration", "0.1"]);
        assert!(output.status.success(), "{output:?}");
        let sentence = "; until then, perf records tracepoints, without BPF, ";
        assert!(stderr(&output).starts_with(&format!("exectrace: {lack}{sentence}")), "{output:?}");
        let tested = trace(&["--self-test"]);
        assert!(tested.status.success(), "{tested:?}");
        assert!(stdout(&tested).contains("\ngap: ppid is not always known: "), "{tested:?}");
    }
}

/// Everything that a kernel of another configuration would not report is known to some other backend, or named.
#[test]
fn without_reports_of_ends_it_watches_system_calls_and_signals() {
    if !can_trace() {
        return;
    }
    for backend in ["tracepoints", "perf"] {
        let trace = |arguments: &[&str]| {
            run(without_net_admin(Command::new(EXECTRACE).args(["--backend", backend]).args(arguments)))
        };
        let tested = trace(&["--self-test"]);
        assert!(tested.status.success(), "{tested:?}");
        assert!(stdout(&tested).contains("\ngap: core_dumped is not always known: "), "{tested:?}");
        if backend == "perf" && cfg!(target_arch = "x86_64") {
            assert!(stdout(&tested).contains("\ngap: uid is never known\n"), "{tested:?}");
            // What is never known is no filter.
            let refused = trace(&["--uid", "0"]);
            assert_eq!(refused.status.code(), Some(1), "{refused:?}");
            let sentence = "exectrace: --uid needs to know the user of processes";
            assert!(stderr(&refused).starts_with(sentence), "{refused:?}");
        }
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn after_a_loss_everything_is_shown_again() {
    if !can_trace() {
        return;
    }
    for backend in ["tracepoints", "perf"] {
        let script = Script::new("lossy", "exit 3");
        let tracing = Tracing::start(&["--json", "--backend", backend, "--buffer", "128"]);
        tracing.signal(Signal::SIGSTOP);
        let long = "x".repeat(3000);
        for _ in 0..100 {
            run(Command::new("/bin/true").arg(&long));
        }
        tracing.signal(Signal::SIGCONT);
        thread::sleep(Duration::from_millis(300));
        // The kernel reports what a processor's buffer lost with the next record that finds room there, and on a quiet machine
        // that would be one of the script.
        for processor in 0..thread::available_parallelism().unwrap().get() {
            run(Command::new("taskset").args(["-c", &processor.to_string(), "/bin/true"]));
        }
        // By then it has read of all processes what it had known.
        thread::sleep(Duration::from_secs(2));
        run(&mut Command::new(&script.path));
        thread::sleep(Duration::from_millis(200));
        let ended = tracing.stop(Signal::SIGINT);
        let events = ended.json();
        let lost: u64 = events.iter().filter_map(|event| event["count"].as_u64()).sum();
        assert!(lost > 0, "{backend}: {ended:?}");
        let [exec, exit] = &events.iter().filter(|event| event["comm"] == *script.name).collect::<Vec<_>>()[..] else {
            panic!("{backend}: {ended:?}")
        };
        assert_eq!(exec["ppid"], std::process::id(), "{backend}");
        assert_eq!(exec["uid"], 0, "{backend}");
        assert_eq!(exit["code"], 3, "{backend}");
        assert_eq!(exit["start_us"], exec["start_us"], "{backend}");
    }
}

#[test]
fn execs_that_other_bpf_keeps_away_are_counted() {
    if !can_trace() {
        return;
    }
    let _alone = alone();
    let _other = match deny_tracepoint("sched/sched_process_exec") {
        Ok(event) => event,
        Err(error) => return not_run("a BPF program on a tracepoint", &error.to_string()),
    };
    let script = Script::new("kept", "exit 0");
    let tracing = Tracing::start(&["--json", "--backend", "perf"]);
    for _ in 0..5 {
        run(&mut Command::new(&script.path));
    }
    let ended = tracing.stop(Signal::SIGINT);
    let exits = ended.json().iter().filter(|event| event["event"] == "exit" && event["comm"] == *script.name).count();
    assert_eq!(exits, 5, "{ended:?}");
    assert!(ended.stderr.contains(" execs lost, for perf had no sample of them: "), "{ended:?}");
    assert!(!ended.summary().contains(" 0 lost, "), "{ended:?}");
    // BPF of one's own is not kept away by that of others.
    let tracing = Tracing::start(&["--json", "--backend", "tracepoints", "--comm", &script.name]);
    run(&mut Command::new(&script.path));
    let ended = tracing.stop(Signal::SIGINT);
    assert!(ended.summary().starts_with("exectrace: 1 exec, 1 exit, 0 lost, "), "{ended:?}");
}

/// perf records an end of theirs when they are executed.
#[test]
fn programs_that_their_user_may_not_read_or_that_are_another_users_do_not_end_when_they_begin() {
    if !can_trace() {
        return;
    }
    let folder = Folder::new("unreadable");
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    for (name, mode) in [("unreadable", 0o711), ("privileged", 0o4755)] {
        let file = folder.0.join(name);
        fs::copy("/bin/sleep", &file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        for backend in ["btf", "tracepoints", "perf"] {
            let tracing = Tracing::start(&["--json", "--backend", backend, "--comm", name]);
            run(Command::new(&file).arg("0.2").uid(65534).gid(65534));
            let ended = tracing.stop(Signal::SIGINT);
            let [exec, exit] = &ended.json()[..] else { panic!("{backend}: {ended:?}") };
            assert!(exec["event"] == "exec" && exec["ppid"] == std::process::id() && exec["uid"] == 65534, "{ended:?}");
            assert!(exit["code"] == 0 && exit["since_exec_us"].as_u64() > Some(150_000), "{backend}: {ended:?}");
            assert!(ended.summary().contains(" 0 lost, "), "{backend}: {ended:?}");
        }
    }
}

/// What it adds to an exit is not there then; the exit is.
#[test]
fn exits_come_without_a_control_group_where_other_bpf_keeps_that_away() {
    if !can_trace() {
        return;
    }
    let _alone = alone();
    let _other = match deny_tracepoint("sched/sched_process_exit") {
        Ok(event) => event,
        Err(error) => return not_run("a BPF program on a tracepoint", &error.to_string()),
    };
    let script = Script::new("left", "exit 3");
    let tracing = Tracing::start(&["--json", "--backend", "perf", "--comm", &script.name]);
    run(&mut Command::new(&script.path));
    let ended = tracing.stop(Signal::SIGINT);
    let [exec, exit] = &ended.json()[..] else { panic!("{ended:?}") };
    assert!(!exec["cgroup_id"].is_null() && exit["cgroup_id"].is_null() && exit["code"] == 3, "{ended:?}");
    assert!(ended.summary().contains(" 0 lost, "), "{ended:?}");
}

#[test]
fn a_processor_that_is_switched_on_later_is_watched() {
    if !can_trace() || !can_unshare() || !has_two_processors() {
        return;
    }
    let possible = "/sys/devices/system/cpu/possible";
    let script = Script::new("late", "exit 0");
    // Until then only the first one seems to be there. The maps of the other backends' BPF programs would have room for no more:
    // ci/processors really switches one off and on, with all of them.
    let shell = format!(
        "echo 0 > {0}.possible && mount --bind {0}.possible {possible} && exec \"$0\" --verbose --backend perf --comm {1}",
        script.path.display(),
        script.name
    );
    let mut command = Command::new("unshare");
    let tracing = Tracing::start_command(command.args(["--mount", "sh", "-c", &shell, EXECTRACE]));
    let pid = tracing.child.id().to_string();
    run(Command::new("nsenter").args(["--mount", "--target", &pid, "umount", possible]));
    thread::sleep(Duration::from_millis(2500));
    for processor in ["0", "1"] {
        run(Command::new("taskset").args(["-c", processor]).arg(&script.path));
    }
    let ended = tracing.stop(Signal::SIGINT);
    assert!(ended.stderr.contains("exectrace: a processor was switched on, "), "{ended:?}");
    assert!(ended.summary().contains(" and some not counted, "), "{ended:?}");
    // Names that are not known may be the one that is looked for, and are shown, too.
    let execs = ended.stdout.lines().filter(|line| line.contains(" exec ") && line.contains(&script.name)).count();
    assert_eq!(execs, 2, "{ended:?}");
}

/// As lxcfs does.
#[test]
#[ignore = "long: --include-ignored runs it"]
fn where_a_container_shows_its_own_processors_only_all_are_watched() {
    if !can_trace() || !can_unshare() || !has_two_processors() {
        return;
    }
    let online = "/sys/devices/system/cpu/online";
    let script = Script::new("contained", "exit 0");
    for backend in ["btf-perf", "tracepoints", "perf"] {
        let shell = format!(
            "echo 0 > {0}.online && mount --bind {0}.online {online} && exec \"$0\" --verbose --backend {backend} --comm {1}",
            script.path.display(),
            script.name
        );
        let mut command = Command::new("unshare");
        let tracing = Tracing::start_command(command.args(["--mount", "sh", "-c", &shell, EXECTRACE]));
        // It looks for others meanwhile.
        for _ in 0..2 {
            for processor in ["0", "1"] {
                run(Command::new("taskset").args(["-c", processor]).arg(&script.path));
            }
            thread::sleep(Duration::from_millis(1500));
        }
        let ended = tracing.stop(Signal::SIGINT);
        assert!(ended.summary().contains("4 execs, 4 exits, 0 lost, "), "{backend}: {ended:?}");
    }
}

fn has_two_processors() -> bool {
    let has_two = fs::read_to_string("/sys/devices/system/cpu/online").unwrap().trim() != "0";
    if !has_two {
        not_run("two processors", "a machine that has them");
    }
    has_two
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn in_a_time_namespace_times_are_right() {
    if !can_trace() || !can_unshare() {
        return;
    }
    let output = run(Command::new("unshare").args([
        "-T",
        "--monotonic",
        "86400",
        "--boottime",
        "777",
        "--fork",
        EXECTRACE,
        "--self-test",
    ]));
    if !output.status.success() && stderr(&output).contains("unshare") {
        return not_run("time namespaces", "Linux 5.6 and util-linux 2.36");
    }
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn with_hidden_processes_it_says_so() {
    if !can_trace() || !can_unshare() {
        return;
    }
    let folder = Folder::new("hidepid");
    let copy = folder.0.join("exectrace");
    fs::copy(EXECTRACE, &copy).unwrap();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    let shell = "mount -t proc -o hidepid=1 proc /proc && exec setpriv --reuid 65534 --regid 65534 --clear-groups \
                 --inh-caps +bpf,+perfmon --ambient-caps +bpf,+perfmon \"$0\" \"$@\"";
    let trace = |arguments: &[&str]| {
        run(Command::new("unshare").args(["--mount", "sh", "-c", shell]).arg(&copy).args(arguments))
    };
    let output = trace(&["--pid", "1"]);
    if stderr(&output).starts_with("setpriv") {
        return not_run("setpriv with capabilities", "apt-get install util-linux");
    }
    assert!(stderr(&output).starts_with("exectrace: cannot read /proc: "), "{output:?}");
    assert!(stdout(&trace(&["--preflight"])).contains("\nall processes        no  cannot read /proc"), "{output:?}");
    // With BTF, the two capabilities are enough for the rest.
    assert!(trace(&["--duration", "0.1"]).status.success());
    // Without it, tracepoints are root's alone.
    let hidden = format!(
        "mount -t tmpfs none /sys/kernel/btf && {}",
        shell.replace("mount -t proc -o hidepid=1 proc /proc &&", "")
    );
    let output =
        run(Command::new("unshare").args(["--mount", "sh", "-c", &hidden]).arg(&copy).args(["--backend", "perf"]));
    assert!(
        stderr(&output).contains("give it the capabilities CAP_DAC_READ_SEARCH and CAP_NET_ADMIN, too"),
        "{output:?}"
    );
}

#[test]
fn a_standard_output_that_nobody_reads_holds_nothing_up() {
    if !can_trace() {
        return;
    }
    let (reader, writer) = io::pipe().unwrap();
    let mut child = Command::new(EXECTRACE)
        .args(["--json", "--duration", "1.5", "--verbose"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    err.read_line(&mut String::new()).unwrap();
    // More than a pipe holds.
    let long = "x".repeat(4000);
    for _ in 0..60 {
        run(Command::new("/bin/true").arg(&long));
    }
    let start = std::time::Instant::now();
    let status = child.wait().unwrap();
    assert!(status.success() && start.elapsed() < Duration::from_secs(5), "{status} {:?}", start.elapsed());
    let mut text = String::new();
    err.read_to_string(&mut text).unwrap();
    assert!(text.contains(" lines not written, for nobody reads the output"), "{text}");
    assert!(!text.contains(" 0 lost, "), "{text}");
    drop(reader);
}

#[test]
fn a_standard_output_that_does_not_block_loses_nothing() {
    if !can_trace() {
        return;
    }
    let (mut reader, writer) = io::pipe().unwrap();
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    let script = Script::new("nonblocking", "exit 0");
    let mut child = Command::new(EXECTRACE)
        .args(["--json", "--comm", &script.name, "--count", "120"])
        .arg("--verbose")
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    err.read_line(&mut String::new()).unwrap();
    let long = "x".repeat(4000);
    for _ in 0..60 {
        run(Command::new(&script.path).arg(&long));
    }
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(text.lines().count(), 1 + 120);
}

#[test]
fn a_signal_that_is_ignored_does_not_end_it() {
    if !can_trace() {
        return;
    }
    // As a shell without job control starts what is to run in the background.
    let mut child = Command::new("sh")
        .args(["-c", "trap '' INT; exec \"$0\" --verbose --duration 60 >/dev/null", EXECTRACE])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut String::new()).unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    kill(pid, Signal::SIGINT).unwrap();
    thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none());
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn without_btf_it_says_so_and_reads_tracepoints() {
    if !can_trace() || !can_unshare() {
        return;
    }
    let hide = "mount -t tmpfs none /sys/kernel/btf && exec \"$0\" \"$@\"";
    let trace = |arguments: &[&str]| {
        run(Command::new("unshare").args(["--mount", "sh", "-c", hide, EXECTRACE]).args(arguments))
    };
    let output = trace(&["--duration", "0.1"]);
    assert!(output.status.success(), "{output:?}");
    let sentence = "exectrace: this kernel does not describe its types (/sys/kernel/btf/vmlinux is missing): \
                    use a kernel with CONFIG_DEBUG_INFO_BTF=y, or --btf with a file made for this one; until then, \
                    BPF hands over the records of tracepoints, without cwd, tty, --failed, and not always with ";
    assert!(stderr(&output).starts_with(sentence), "{output:?}");
    let tested = trace(&["--self-test"]);
    assert!(tested.status.success(), "{tested:?}");
    assert!(!stdout(&tested).contains("structs"), "{tested:?}");
}

#[test]
fn tracefs_that_is_not_mounted_is_mounted_for_itself_alone() {
    if !can_trace() || !can_unshare() {
        return;
    }
    let take_away = "umount -l /sys/kernel/tracing /sys/kernel/debug 2>/dev/null
        for backend in tracepoints perf; do \"$0\" --self-test --backend $backend || exit; done
        \"$0\" --preflight | grep '^tracefs' && ! ls -d /sys/kernel/tracing/events 2>/dev/null";
    let output = run(Command::new("unshare").args(["--mount", "sh", "-c", take_away, EXECTRACE]));
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).ends_with("yes not mounted; exectrace mounts it for itself\n"), "{output:?}");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn btf_from_a_file_is_used_and_that_of_another_kernel_refused() {
    if !can_trace() || !can_unshare() {
        return;
    }
    let folder = Folder::new("btf");
    let (own, other) = (folder.0.join("own"), folder.0.join("other"));
    let mut types = fs::read("/sys/kernel/btf/vmlinux").unwrap();
    fs::write(&own, &types).unwrap();
    shift_members(&mut types, "task_struct");
    fs::write(&other, &types).unwrap();
    let hide = "mount -t tmpfs none /sys/kernel/btf && exec \"$0\" \"$@\"";
    let trace = |name: &str, file: &Path, arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", hide, EXECTRACE]).args(arguments);
        match name {
            "--btf" => command.arg("--btf").arg(file),
            name => command.env(name, file),
        };
        run(&mut command)
    };
    for name in ["--btf", "EXECTRACE_BTF"] {
        let output = trace(name, &own, &["--duration", "0.1"]);
        assert!(output.status.success(), "{output:?}");
        assert!(!stderr(&output).contains("until then"), "{output:?}");
        let output = trace(name, &other, &["--duration", "0.1"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr(&output).contains("describes another kernel than this one"), "{output:?}");
    }
    let output = trace("--btf", Path::new(EXECTRACE), &["--duration", "0.1"]);
    assert!(stderr(&output).starts_with(&format!("exectrace: cannot read {EXECTRACE}: ")), "{output:?}");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

/// Moves every member of a struct by 8 bytes, in BTF.
fn shift_members(btf: &mut [u8], name: &str) {
    let word = |btf: &[u8], at: usize| u32::from_ne_bytes(btf[at..at + 4].try_into().unwrap());
    // struct btf_header: the types begin where the header ends, and the strings lie at an offset from there.
    let header = word(btf, 4) as usize;
    let (types, length) = (header + word(btf, 8) as usize, word(btf, 12) as usize);
    let strings = header + word(btf, 16) as usize;
    let mut at = types;
    while at < types + length {
        let (name_at, info) = (strings + word(btf, at) as usize, word(btf, at + 4));
        let (kind, members) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let is_it = kind == 4 && btf[name_at..].starts_with(name.as_bytes()) && btf[name_at + name.len()] == 0;
        at += 12;
        // What follows a type, and how often (Documentation/bpf/btf.rst).
        let (size, count) = match kind {
            1 | 14 | 17 => (4, 1),
            3 => (12, 1),
            4 | 5 | 15 | 19 => (12, members),
            6 | 13 => (8, members),
            _ => (0, 0),
        };
        for member in 0..count {
            if is_it {
                let offset = at + member * 12 + 8;
                let moved = word(btf, offset) + 64;
                btf[offset..offset + 4].copy_from_slice(&moved.to_ne_bytes());
            }
        }
        at += size * count;
    }
}

#[test]
fn preflight_says_what_there_is_with_and_without_root() {
    let report = |command: &mut Command| -> Value {
        serde_json::from_str(&stdout(&run(command.args(["--preflight", "--json"])))).unwrap()
    };
    let is_there = |report: &Value, name: &str| -> Value {
        let rows = report["offers"].as_array().unwrap();
        rows.iter().find(|row| row["offer"] == name).unwrap()["is_there"].clone()
    };
    let own = report(&mut Command::new(EXECTRACE));
    assert_eq!(own["page_size"].as_u64().unwrap() % 4096, 0);
    assert_eq!(is_there(&own, "BTF"), Path::new("/sys/kernel/btf/vmlinux").exists());
    if can_trace() {
        assert_eq!(own["backend"], "BPF reads the kernel's structs");
        assert_eq!((&own["missing"], &own["refused"]), (&serde_json::json!([]), &serde_json::json!([])));
        let text = stdout(&run(Command::new(EXECTRACE).arg("--preflight")));
        assert!(text.ends_with("\nbackend: BPF reads the kernel's structs\n"), "{text}");
        let without_bpf = report(with_bpf_failing(&mut Command::new(EXECTRACE), libc::ENOSYS));
        assert_eq!(without_bpf["backend"], "perf records tracepoints, without BPF");
        assert_eq!(without_bpf["missing"][0]["field"], if has_reports() { "args" } else { "uid" });
        assert_eq!(without_bpf["refused"][0], "--failed");
        let text = stdout(&run(Command::new(EXECTRACE).args(["--preflight", "--backend", "tracepoints"])));
        assert!(text.contains("\nrefused: --failed\n"), "{text}");
        let folder = Folder::new("preflight");
        let copy = folder.0.join("exectrace");
        fs::copy(EXECTRACE, &copy).unwrap();
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
        let nobody = report(Command::new(&copy).uid(65_534).gid(65_534));
        assert_eq!(is_there(&nobody, "root or capabilities"), false);
        assert_eq!(is_there(&nobody, "bpf()"), Value::Null);
        assert_eq!(is_there(&nobody, "BTF"), true);
        assert_eq!(nobody["backend"], Value::Null);
    }
}

#[test]
fn in_another_pid_namespace_pid_and_self_test_refuse() {
    if !can_trace() || !can_unshare() {
        return;
    }
    for (flag, arguments) in [("--self-test", &["--self-test"][..]), ("--pid", &["--pid", "1"])] {
        assert_refused(
            Command::new("unshare").args(["--fork", "--pid", EXECTRACE]).args(arguments),
            &format!(
                "{flag} needs the host's process numbers, and this is another pid namespace: \
                 start the container with --pid=host"
            ),
        );
    }
    let output = run(Command::new("unshare").args(["--fork", "--pid", EXECTRACE, "--duration", "0.1"]));
    assert!(output.status.success(), "{output:?}");
    assert!(stderr(&output).starts_with("exectrace: this is another pid namespace than the host's"), "{output:?}");
}

#[test]
fn pid_has_to_be_that_of_a_process() {
    if !can_trace() {
        return;
    }
    assert_refused(
        Command::new(EXECTRACE).args(["--pid", "2147483647"]),
        "no process has the number 2147483647: see ps -e for those that run",
    );
    // Tests run in threads.
    let (tid, pid) = (gettid(), std::process::id());
    assert_refused(
        Command::new(EXECTRACE).args(["--pid", &tid.to_string()]),
        &format!("{tid} is a thread of process {pid}: use --pid {pid}"),
    );
}

#[test]
fn an_output_that_takes_nothing_is_an_error() {
    if !can_trace() {
        return;
    }
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(EXECTRACE).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "exectrace: cannot write to standard output: No space left on device (os error 28)\n");
}

#[test]
fn version_says_what_exactly_this_is() {
    let output = run(Command::new(EXECTRACE).arg("--version"));
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    let [version, commit, target, ref objects @ ..] = lines[..] else { panic!("{text}") };
    assert_eq!(version, format!("exectrace {}", env!("CARGO_PKG_VERSION")));
    assert!(commit.starts_with("commit "), "{text}");
    assert!(target.starts_with("target "), "{text}");
    assert!(target.ends_with(&format!("-{}", if cfg!(target_env = "musl") { "musl" } else { "gnu" })), "{text}");
    let expected = exectrace_bpf::OBJECTS.map(|(name, sha256)| format!("bpf object {name} sha256 {sha256}"));
    assert_eq!(*objects, expected);
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [&["--pid", "0"][..], &["--count", "0"], &["--duration", "-1"], &["--nonsense"], &["argument"]] {
        let output = run(Command::new(EXECTRACE).args(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn help_documents_every_field() {
    let help = stdout(&run(Command::new(EXECTRACE).arg("--help")));
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let document = fs::read_to_string(docs.join("exectrace.md")).unwrap();
    let page = fs::read_to_string(docs.join("exectrace.1")).unwrap();
    for field in [
        "event",
        "time",
        "pid",
        "ppid",
        "uid",
        "comm",
        "file",
        "file_truncated",
        "args",
        "args_truncated",
        "cwd",
        "cwd_truncated",
        "tty",
        "code",
        "signal",
        "core_dumped",
        "since_exec_us",
        "start_us",
        "cgroup_id",
        "cgroup",
        "container",
        "exact",
        "errno",
        "error",
        "version",
        "backend",
        "missing",
        "count",
    ] {
        assert!(help.contains(field), "{field}: {help}");
        assert!(document.contains(&format!("`{field}`")), "{field} is not in docs/exectrace.md");
        assert!(page.contains(&format!(".TP\n.B {field}\n")), "{field} is not in docs/exectrace.1");
    }
}

// What the tests need.

fn not_run(needs: &str, how: &str) {
    assert!(
        env::var_os("BPFSHIP_REQUIRE").is_none_or(|value| !value.to_string_lossy().starts_with("all")),
        "needs {needs} ({how})"
    );
    // Not by `println!`, which the test runner keeps to itself when a test passes.
    let _ = writeln!(io::stderr(), "not run: needs {needs} ({how})");
}

/// Held by every test that traces, and by [`alone`].
static TRACERS: RwLock<()> = RwLock::new(());

thread_local! {
    /// Until the thread of the test ends.
    static TRACES: RefCell<Option<RwLockReadGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// Has no other test trace meanwhile, for one that changes what all of them see.
fn alone() -> RwLockWriteGuard<'static, ()> {
    TRACES.take();
    TRACERS.write().unwrap_or_else(PoisonError::into_inner)
}

fn can_trace() -> bool {
    TRACES.take();
    TRACES.set(Some(TRACERS.read().unwrap_or_else(PoisonError::into_inner)));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or_default();
    let sys_admin = 1 << 21;
    if !geteuid().is_root() || capabilities & sys_admin == 0 {
        not_run("root with CAP_SYS_ADMIN", "run the tests with sudo; in a container, with --privileged");
        return false;
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        not_run("a kernel with BTF", "CONFIG_DEBUG_INFO_BTF=y");
        return false;
    }
    if fs::read_link("/proc/self/ns/pid").is_ok_and(|namespace| namespace != Path::new("pid:[4026531836]")) {
        not_run("the host's pid namespace", "in a container, with --pid=host");
        return false;
    }
    true
}

fn can_unshare() -> bool {
    let works = Command::new("unshare").args(["--mount", "--fork", "--pid", "true"]).status();
    if works.is_ok_and(|status| status.success()) {
        return true;
    }
    not_run("unshare", "apt-get install util-linux, and no seccomp filter against it");
    false
}

// Processes that the tests start.

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// One sentence on standard error, nothing else anywhere, and exit code 1.
#[track_caller]
fn assert_refused(command: &mut Command, sentence: &str) {
    let output = run(command);
    assert_eq!(stderr(&output), format!("exectrace: {sentence}\n"));
    assert_eq!(stdout(&output), "");
    assert_eq!(output.status.code(), Some(1));
}

/// As a kernel without bpf() does it, or one that forbids it.
fn with_bpf_failing(command: &mut Command, errno: i32) -> &mut Command {
    let filter = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    // The system call's number is the first field of struct seccomp_data.
    let mut program = vec![
        filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_bpf as u32),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        // SAFETY: the program outlives the call, and its length is right.
        match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec it only calls prctl.
    unsafe { command.pre_exec(install) }
}

/// Without CAP_NET_ADMIN, netlink reports neither ends nor users.
fn without_net_admin(command: &mut Command) -> &mut Command {
    const CAP_NET_ADMIN: libc::c_ulong = 12;
    let drop = || {
        // SAFETY: takes numbers only.
        match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_NET_ADMIN, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec it only calls prctl.
    unsafe { command.pre_exec(drop) }
}

/// Whether this kernel reports how processes end, and changes of user.
fn has_reports() -> bool {
    let output = run(Command::new(EXECTRACE).arg("--preflight"));
    ["\ntaskstats            yes\n", "\nproc connector       yes\n"].iter().all(|row| stdout(&output).contains(row))
}

/// A BPF program that returns 0 on a tracepoint, until this is dropped: perf has no samples of it then.
fn deny_tracepoint(tracepoint: &str) -> io::Result<OwnedFd> {
    let tracefs = Folder::new("tracefs");
    let mounted = Command::new("mount").args(["-t", "tracefs", "none"]).arg(&tracefs.0).status()?;
    let id = fs::read_to_string(tracefs.0.join("events").join(tracepoint).join("id"));
    if mounted.success() {
        Command::new("umount").arg(&tracefs.0).status()?;
    }
    let id: u64 = id?.trim().parse().unwrap();
    let descriptor = |result: libc::c_long| match result {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the calls below give descriptors to us alone.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
    };
    // r0 = 0; exit
    let program: [u64; 2] = [0xb7_u8, 0x95].map(|code| u64::from_ne_bytes([code, 0, 0, 0, 0, 0, 0, 0]));
    // The beginning of union bpf_attr: type (tracepoint), number of instructions, instructions, licence.
    let mut attr = [0_u64; 16];
    attr[0] = u64::from_ne_bytes([5_u32.to_ne_bytes(), 2_u32.to_ne_bytes()].concat().try_into().unwrap());
    attr[1] = program.as_ptr() as u64;
    attr[2] = c"GPL".as_ptr() as u64;
    // SAFETY: BPF_PROG_LOAD reads what attr points to, which is alive.
    let loaded = descriptor(unsafe { libc::syscall(libc::SYS_bpf, 5, attr.as_ptr(), 48) })?;
    // The beginning of struct perf_event_attr: type (tracepoint) and size, number.
    let mut attr = [0_u64; 8];
    attr[0] = u64::from_ne_bytes([2_u32.to_ne_bytes(), 64_u32.to_ne_bytes()].concat().try_into().unwrap());
    attr[1] = id;
    // SAFETY: attr is alive and as long as it says.
    let event = descriptor(unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), -1, 0, -1, 8) })?;
    // PERF_EVENT_IOC_SET_BPF, and enabled it is already.
    // SAFETY: takes a descriptor.
    match unsafe { libc::ioctl(event.as_raw_fd(), 0x4004_2408, loaded.as_raw_fd()) } {
        0 => Ok(event),
        _ => Err(io::Error::last_os_error()),
    }
}

fn wait_until(condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(10));
    }
}

fn children_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
}

/// A shell that waits for a word before it goes on.
struct Shell {
    child: Child,
    stdin: ChildStdin,
}

impl Shell {
    fn start(script: &str) -> Self {
        let mut child = Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        Self { child, stdin }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns when it has ended.
    fn go(&mut self) {
        self.stdin.write_all(b"go\n").unwrap();
        self.child.wait().unwrap();
    }
}

/// exectrace while it runs, from the moment when it sees everything.
struct Tracing {
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

#[derive(Debug)]
struct Ended {
    success: bool,
    stdout: String,
    stderr: String,
}

impl Tracing {
    #[track_caller]
    fn start(arguments: &[&str]) -> Self {
        Self::start_command(Command::new(EXECTRACE).arg("--verbose").args(arguments))
    }

    #[track_caller]
    fn start_command(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let stdout = thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).unwrap();
            text
        });
        let (started, start) = mpsc::channel();
        let err = BufReader::new(child.stderr.take().unwrap());
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            for line in err.lines() {
                let line = line.unwrap();
                if line == "exectrace: tracing" {
                    let _ = started.send(());
                } else {
                    text += &line;
                    text.push('\n');
                }
            }
            text
        });
        if start.recv_timeout(PATIENCE).is_err() {
            let _ = child.kill();
            panic!("it does not start: {}", stderr.join().unwrap());
        }
        Self { child, stdout, stderr }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    fn stop(self, signal: Signal) -> Ended {
        self.signal(signal);
        self.wait()
    }

    fn wait(mut self) -> Ended {
        let start = std::time::Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if start.elapsed() > PATIENCE {
                self.child.kill().unwrap();
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ended {
            success: self.child.wait().unwrap().success(),
            stdout: self.stdout.join().unwrap(),
            stderr: self.stderr.join().unwrap(),
        }
    }
}

impl Ended {
    #[track_caller]
    fn json(&self) -> Vec<Value> {
        let mut events: Vec<Value> = self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.remove(0)["event"], "start", "{self:?}");
        events
    }

    fn summary(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }
}

/// Removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("exectrace-test-{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program whose name no other process has.
struct Script {
    name: String,
    path: PathBuf,
    _folder: Folder,
}

impl Script {
    fn new(name: &str, text: &str) -> Self {
        let folder = Folder::new(name);
        let name = format!("{name}-{}", std::process::id());
        let path = folder.0.join(&name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { name, path, _folder: folder }
    }
}

//! Where clang runs: the bytes are the same everywhere, and why an engine that does not answer is refused.

use std::env;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::RwLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::support::{Run, Workspace, has, own_root};

/// Held while an image has a wrong name, so that no other test meets it.
pub static IMAGES: RwLock<()> = RwLock::new(());

/// The engines that this machine has.
pub fn engines() -> Vec<&'static str> {
    let answers = |engine: &&str| {
        let output = Command::new(engine).args(["run", "--help"]).output();
        let info = Command::new(engine).arg("info").output();
        has(engine, "install it", output.is_ok() && info.is_ok_and(|output| output.status.success()))
    };
    ["docker", "podman"].into_iter().filter(answers).collect()
}

/// Has everything compiled again.
fn forget(workspace: &Workspace) {
    let _ = fs::remove_file(workspace.path("target/bpfship/bpf-records.json"));
}

/// What is left of the containers of a workspace.
fn left_behind(workspace: &Workspace, engine: &str) -> String {
    forget(workspace);
    let plan = workspace.xtask(&format!("bpf --engine {engine} --plan")).succeeds().text();
    let name =
        plan.split_whitespace().find(|word| word.starts_with("bpfship-bpf-") && !word.contains("clang")).unwrap();
    let containers = ["ps", "--all", "--filter", &format!("name={name}"), "--format", "{{.Names}}"];
    Run::of(Command::new(engine).args(containers)).succeeds().text()
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_bytes_are_the_same_from_docker_podman_and_host() {
    let _images = IMAGES.read().unwrap();
    let copy = Workspace::copy_of_our_own("engines");
    for engine in [&["host"], engines().as_slice()].concat() {
        copy.xtask(&format!("bpf --engine {engine}")).succeeds().says_nothing_of("changed: raw_tp");
        for name in copy.list("bpf/objects") {
            let path = format!("bpf/objects/{name}");
            let ours = fs::read(own_root().join(&path)).unwrap();
            assert!(fs::read(copy.path(&path)).unwrap() == ours, "{name} from {engine} differs");
        }
        assert_eq!(copy.read("bpf/bpf.lock"), fs::read_to_string(own_root().join("bpf/bpf.lock")).unwrap());
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_container_sees_the_sources_only_and_can_write_nowhere_and_runs_as_nobody() {
    let _images = IMAGES.read().unwrap();
    for engine in engines() {
        let workspace = Workspace::usual("sealed");
        let plan = workspace.xtask(&format!("bpf --engine {engine} --plan")).succeeds().text();
        let runs: Vec<&str> = plan.lines().filter(|line| line.contains(&format!("{engine} run "))).collect();
        assert_eq!(runs.len(), 2, "{plan}");
        for flag in [
            "--network none",
            "--read-only",
            "--cap-drop ALL",
            "--security-opt no-new-privileges",
            "--user 65534:65534",
            "--pull never",
            ":ro,z",
        ] {
            assert!(runs.iter().all(|run| run.contains(flag)), "{flag} is not in\n{plan}");
        }
        assert!(!plan.contains("--mount") && !plan.contains("--privileged"), "{plan}");

        // It is what the plan says: a program that includes a file of this machine does not find it.
        let file = workspace.path("kernel/include/answer.h");
        let program = format!("#include \"{}\"\n", file.display());
        let workspace = workspace.write("kernel/tick.bpf.c", &program);
        workspace
            .xtask(&format!("bpf --engine {engine}"))
            .ends_with(1)
            .says(&format!("'{}' file not found", file.display()));
        assert_eq!(left_behind(&workspace, engine), "");
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_commands_printed_for_a_container_compile_the_same_object() {
    let _images = IMAGES.read().unwrap();
    for engine in engines() {
        let workspace = Workspace::usual("plan of an engine");
        workspace.xtask(&format!("bpf --engine {engine}")).succeeds();
        let ours = fs::read(workspace.path("kernel/objects/tick_bpfel.o")).unwrap();
        forget(&workspace);
        workspace
            .shell(&format!("umask 077 && \"$BPFSHIP\" bpf --engine {engine} --plan >plan.sh && sh -e plan.sh"))
            .succeeds();
        let compiled = fs::read(workspace.path("target/bpfship/bpf/tick_bpfel.o")).unwrap();
        let object = bpfship_object::Object::new(&compiled, bpfship_object::Endian::Little).unwrap();
        assert!(object.bytes == ours, "{engine}");
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_compile_error_is_the_same_in_a_container() {
    let _images = IMAGES.read().unwrap();
    for engine in engines() {
        let workspace = Workspace::usual("error in a container").write("kernel/tick.bpf.c", "int x = nonsense;\n");
        workspace
            .xtask(&format!("bpf --engine {engine}"))
            .ends_with(1)
            .says("kernel/tick.bpf.c:1:9: error: use of undeclared identifier 'nonsense'")
            .says("the previous ones are untouched")
            .says_nothing_of("bpfship-reads");
        assert_eq!(left_behind(&workspace, engine), "");
    }
}

/// Takes clang hours to read.
fn endless() -> String {
    let level = |number: usize| format!("#define X{number} X{0} X{0} X{0} X{0}\n", number + 1);
    let levels: String = (0..24).map(level).collect();
    format!(
        "{levels}#define X24\nX0\n#define SEC(name) __attribute__((section(name), used))\nSEC(\"license\") char LICENSE[] = \"GPL\";\n"
    )
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_compile_in_a_container_that_is_interrupted_is_over() {
    let _images = IMAGES.read().unwrap();
    for engine in engines() {
        let workspace = Workspace::usual("endless");
        workspace.xtask(&format!("bpf --engine {engine}")).succeeds();
        let workspace = workspace.write("kernel/tick.bpf.c", &endless());
        let mut command = workspace.command(&format!("bpf --engine {engine}"));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let names = format!("{engine} ps --filter name=bpfship-bpf- --format '{{{{.Names}}}}'");
        let begin = Instant::now();
        let running = || workspace.shell(&names).succeeds().text();
        let stage = format!("bpfship-bpf-{:.16}", bpfship::testing::hash::bytes(stage_of(&workspace).as_bytes()));
        while !running().contains(&stage) {
            assert!(begin.elapsed() < Duration::from_secs(120), "the compiler never started");
            thread::sleep(Duration::from_millis(200));
        }
        let signalled = Instant::now();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        Run::from_output(child.wait_with_output().unwrap()).ends_with(130).says("interrupted");
        assert!(signalled.elapsed() < Duration::from_secs(9), "{engine}: {:?}", signalled.elapsed());
        let all = names.replace("ps ", "ps --all ");
        workspace.shell(&all).succeeds().says_nothing_of(&stage);
    }
}

/// Where a workspace's sources of BPF are laid out.
fn stage_of(workspace: &Workspace) -> String {
    workspace.path("target/bpfship/bpf").display().to_string()
}

/// A compiler image of somebody else: the same compiler, under other paths, that brings along its headers.
#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_image_of_ones_own_is_taken_by_its_digest_and_recorded() {
    let _images = IMAGES.read().unwrap();
    for engine in engines() {
        let workspace = Workspace::usual("image");
        let plan = workspace.xtask(&format!("bpf --engine {engine} --plan")).succeeds().text();
        workspace.xtask(&format!("bpf --engine {engine}")).succeeds();
        let base = plan.split_whitespace().find(|word| word.starts_with("bpfship-bpf-clang:")).unwrap();
        let build = format!(
            "printf 'FROM {base}\\nENTRYPOINT [\"/zig\", \"clang\", \"-isystem\", \"/lib/include\"]\\n' >Containerfile && \
             {engine} build -q --network none -t bpfship-test-image -f Containerfile kernel >id && \
             {engine} image inspect --format '{{{{.Id}}}}' bpfship-test-image"
        );
        let id = workspace.shell(&build).succeeds().without_lines("").text();
        let digest = id.trim().rsplit(':').next().unwrap().to_owned();
        let image = format!("team/clang@sha256:{digest}");
        let config = format!(
            "[workspace]\nmembers = [\"tool\"]\nresolver = \"3\"\n\n[workspace.metadata.bpfship]\npackage = \"tool\"\nbpf.folder = \"kernel\"\nbpf.image = \"{image}\"\n"
        );
        let workspace = workspace.write("Cargo.toml", &config);
        workspace
            .xtask(&format!("dist --engine {engine} --arch amd64"))
            .succeeds()
            .says("compiling the BPF objects again: the compiler");
        assert!(workspace.read("kernel/bpf.lock").contains(&format!("compiler image {image}\n")));
        workspace.xtask("bpf --engine host").ends_with(2).says("leave one of them out");
        workspace.xtask("dist --arch amd64 --locked").succeeds();

        let other = config.replace(&digest, &"0".repeat(64));
        workspace
            .write("Cargo.toml", &other)
            .xtask(&format!("bpf --engine {engine} --offline"))
            .ends_with(1)
            .says("--offline, but this is missing: the container image team/clang@sha256:000");
    }
}

#[test]
fn an_image_by_its_tag_is_refused() {
    Workspace::new("tag", "package = \"tool\"\nbpf.folder = \"kernel\"\nbpf.image = \"team/clang:22\"\n")
        .xtask("bpf")
        .ends_with(2)
        .says("`image` in [workspace.metadata.bpfship.bpf] of Cargo.toml is `team/clang:22`; NAME@sha256:DIGEST is expected")
        .in_one_line();
}

/// A `docker` that answers with this script.
fn with_docker(name: &str, script: &str) -> Workspace {
    Workspace::usual(name).program("docker", &format!("#!/bin/sh\n{script}\n")).program("podman", "#!/bin/sh\nexit 1\n")
}

#[test]
fn an_engine_that_was_named_and_does_not_answer_is_an_error_with_the_reason() {
    for (name, script, reason) in [
        (
            "no daemon",
            "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' >&2; exit 1",
            "its daemon is not running: start it (systemctl start docker)",
        ),
        (
            "no permission",
            "echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1",
            "you may not talk to its daemon: add yourself to the group `docker`",
        ),
        ("odd", "echo 'strange' >&2; exit 1", "it fails: fix it"),
    ] {
        with_docker(name, script).xtask("bpf --engine docker").ends_with(1).says(reason).says("docker printed:");
    }
}

#[test]
fn an_engine_that_is_not_there_is_named_with_how_to_install_it() {
    let workspace =
        Workspace::usual("no engine").only(&["rustc", "cargo", "git", "python3", "env"]).without_env("BPFSHIP_ENGINE");
    workspace
        .xtask("bpf --engine podman")
        .ends_with(1)
        .says("--engine podman: there is no podman on this machine: apt install podman (Debian)")
        .in_one_line();
    workspace.xtask("bpf").succeeds().says("clang runs on this machine itself: neither docker nor podman answers");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn without_a_choice_the_first_engine_that_answers_is_taken_and_reported() {
    let _images = IMAGES.read().unwrap();
    let refuses = with_docker("auto", "echo 'Cannot connect to the Docker daemon' >&2; exit 1");
    refuses.without_env("BPFSHIP_ENGINE").xtask("bpf").succeeds().says("clang runs on this machine itself");
    if let Some(engine) = engines().first() {
        Workspace::usual("first")
            .without_env("BPFSHIP_ENGINE")
            .xtask("bpf")
            .succeeds()
            .says(&format!("clang runs in {engine} "));
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_image_that_only_has_our_name_is_not_used() {
    let _images = IMAGES.write().unwrap();
    for engine in engines() {
        let workspace = Workspace::usual("impostor");
        let plan = workspace.xtask(&format!("bpf --engine {engine} --plan")).succeeds().text();
        workspace.xtask(&format!("bpf --engine {engine}")).succeeds();
        let ours = plan.split_whitespace().find(|word| word.starts_with("bpfship-bpf-clang:")).unwrap();
        let build = "printf 'FROM scratch\\nCOPY tick.bpf.c /\\nENTRYPOINT [\"/tick.bpf.c\"]\\n' >Containerfile && \
                     $ENGINE build -q --network none -t $OURS -f Containerfile kernel";
        workspace.shell(&build.replace("$ENGINE", engine).replace("$OURS", ours)).succeeds();
        forget(&workspace);
        workspace
            .xtask(&format!("bpf --engine {engine}"))
            .succeeds()
            .says("getting the image of the compiler")
            .says("as before");
        workspace.xtask(&format!("bpf --engine {engine}")).succeeds().says_nothing_of("getting the image");
    }
}

/// Another program by the name of an engine, which does this and then what the engine does.
fn with_wrapper(workspace: Workspace, engine: &str, script: &str) -> Workspace {
    let found =
        env::split_paths(&env::var_os("PATH").unwrap()).map(|path| path.join(engine)).find(|path| path.exists());
    workspace.program(engine, &format!("#!/bin/sh\n{script}\nexec {} \"$@\"\n", found.unwrap().display()))
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_engine_that_never_answers_is_given_up_and_the_next_one_is_taken() {
    let hangs = || with_docker("hangs", "exec sleep 100");
    hangs().xtask("bpf --engine docker").ends_with(1).says("docker does not answer within 10 seconds: ").in_one_line();
    hangs()
        .without_env("BPFSHIP_ENGINE")
        .xtask("bpf")
        .succeeds()
        .says("docker does not answer within 10 seconds: ")
        .says("clang runs on this machine itself");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_engine_that_hangs_in_the_middle_is_given_up() {
    let docker = "case $1 in version) [ ! -e hangs ] || exec sleep 100; echo 27.0 linux/amd64 2;; image) exit 1;; \
                  *) touch hangs; exec sleep 100;; esac";
    let workspace = with_docker("stops", &docker.replace("hangs", "\"$0.hangs\"")).env("BPFSHIP_ENGINE", "docker");
    workspace
        .xtask("bpf")
        .ends_with(1)
        .says("docker does not answer within 10 seconds any more: start its daemon again, or use another --engine");
}

#[test]
fn the_image_has_the_kernel_headers_of_every_architecture_and_what_its_compiler_reads() {
    use bpfship::testing::{ARCHES, container::CONTAINERFILE};

    let copied: Vec<&str> = CONTAINERFILE.lines().filter_map(|line| line.strip_prefix("COPY ")).collect();
    let headers = ARCHES.iter().map(|arch| arch.linux_headers).chain(["any-linux-any"]);
    let folders = headers.map(|headers| format!("lib/libc/include/{headers}")).chain(["lib/include".into()]);
    let mut expected: Vec<String> = folders.map(|folder| format!("{folder} /{folder}")).collect();
    expected.push("LICENSE zig /".into());
    expected.sort();
    expected.dedup();
    let mut copied: Vec<String> = copied.into_iter().map(String::from).collect();
    copied.sort();
    assert_eq!(copied, expected);
}

#[test]
fn an_engine_on_another_kind_of_machine_is_not_given_this_machine_s_compiler() {
    let elsewhere = || with_docker("elsewhere", "echo 27.0 linux/s390x 2");
    let complaint = "docker runs containers on linux/s390x, and the image is built around this machine's compiler";
    elsewhere().xtask("bpf --engine docker").ends_with(1).says(complaint).in_one_line();
    elsewhere().without_env("BPFSHIP_ENGINE").xtask("bpf").succeeds().says(complaint).says("on this machine itself");
}

#[test]
fn an_image_for_another_kind_of_machine_is_refused() {
    let image = format!("team/clang@sha256:{}", "0".repeat(64));
    let config = format!("package = \"tool\"\nbpf = {{ folder = \"kernel\", image = \"{image}\" }}\n");
    let docker = "case $1 in version) echo 27.0 linux/amd64 2;; image) echo sha256:1 linux/arm64;; esac";
    Workspace::new("other image", &config)
        .program("docker", &format!("#!/bin/sh\n{docker}\n"))
        .xtask("bpf --engine docker")
        .ends_with(1)
        .says(&format!("the image {image} is for linux/arm64, and docker runs containers on linux/amd64"))
        .in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_docker_that_is_podman_is_taken_for_podman() {
    let _images = IMAGES.read().unwrap();
    if !engines().contains(&"podman") {
        return;
    }
    Workspace::usual("alias")
        .program("docker", "#!/bin/sh\necho 'Emulate Docker CLI using podman.' >&2\nexec podman \"$@\"\n")
        .xtask("bpf --engine docker")
        .succeeds()
        .says("clang runs in podman ")
        .says_nothing_of("Emulate");
    let by_link = Workspace::usual("link").program("podman-alone", "");
    by_link.shell("ln -s \"$(command -v podman)\" programs/docker").succeeds();
    by_link.xtask("bpf --engine docker").succeeds().says("clang runs in podman ");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_user_s_settings_of_an_engine_and_its_own_warnings_do_not_matter() {
    let _images = IMAGES.read().unwrap();
    for engine in engines() {
        let workspace =
            Workspace::usual("settings").env("DOCKER_DEFAULT_PLATFORM", "linux/arm64").env("DOCKER_CONTENT_TRUST", "1");
        with_wrapper(workspace, engine, "[ \"$1\" != run ] || echo 'WARNING: swap limit capabilities' >&2")
            .xtask(&format!("bpf --engine {engine}"))
            .succeeds()
            .says_nothing_of("WARNING")
            .says_nothing_of("clang on kernel");
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_source_may_have_a_name_that_no_container_can_have() {
    let _images = IMAGES.read().unwrap();
    for engine in [&["host"], engines().as_slice()].concat() {
        let workspace = Workspace::usual("names")
            .write("kernel/c++.bpf.c", "#include \"tick.bpf.c\"\n")
            .write("kernel/gr\u{f6}\u{df}e.bpf.c", "#include \"tick.bpf.c\"\n");
        workspace.xtask(&format!("bpf --engine {engine}")).succeeds().says(": gr\u{f6}\u{df}e_bpfel.o, ");
        assert_eq!(workspace.list("kernel/objects").len(), 6);
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_depends_on_the_architecture_gives_an_object_for_each_in_a_container_too() {
    let _images = IMAGES.read().unwrap();
    let program = |value: &str| {
        format!(
            "#include <linux/errno.h>\n#include <asm/unistd.h>\n#define SEC(name) __attribute__((section(name), used))\n\
             SEC(\"license\") char LICENSE[] = \"GPL\";\nSEC(\"xdp\") int f(void *x) {{ return {value}; }}\n"
        )
    };
    for engine in engines() {
        Workspace::usual("numbers in a container")
            .write("kernel/tick.bpf.c", &program("__NR_execve"))
            .xtask(&format!("bpf --engine {engine}"))
            .succeeds()
            .says("tick_{x86,arm64,riscv,loongarch}_bpfel.o, tick_{s390,mips}_bpfeb.o");
    }
}

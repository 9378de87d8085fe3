//! `btf`: the parts of kernels' types that objects need, and the binary that carries them.

use std::fs;

use bpfship::testing::{ARCHES, Arch, Cache, kernels};
use bpfship_object::btf::{Btf, find};
use bpfship_object::header::{self, Wanted};

use super::boot::{can_boot, can_boot_amd64, is_on_path, verdicts};
use super::support::{Workspace, has};

/// What stands in for kernels: an object with their types.
const KERNEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/object/tests/min_btf/kernel_bpfel.o");
const OTHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/object/tests/min_btf/kernel_other_bpfel.o");
const BIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/object/tests/min_btf/kernel_bpfeb.o");

const PROGRAM: &str = r#"#define SEC(name) __attribute__((section(name), used))
struct task { int pid; struct task *parent; } __attribute__((preserve_access_index));
SEC("raw_tp/sys_enter") int tick(struct task *task) { return task->parent->pid; }
SEC("license") char LICENSE[] = "GPL";
"#;

fn workspace() -> Workspace {
    let config = "package = \"tool\"\narches = [\"amd64\", \"s390x\"]\n[workspace.metadata.bpfship.bpf]\nfolder = \"kernel\"\nbtf = \"kernel/btf\"\n";
    let workspace = Workspace::new("btf", config).write("kernel/tick.bpf.c", PROGRAM);
    workspace.xtask("bpf").succeeds();
    workspace
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn parts_of_kernels_are_written_locked_and_removed() {
    let workspace = workspace();
    let btf = |words: &str| workspace.xtask(&format!("btf {words}"));
    btf(&format!("'{KERNEL}' --name debian/12/x86_64/6.1.0-50-amd64 --plan"))
        .succeeds()
        .says(&format!("# write what the objects need of the types of {KERNEL} to "))
        .says("# remove what is there of other kernels\n# write their hashes to bpf.lock");
    assert!(!workspace.path("kernel/btf").exists());
    btf(&format!("'{KERNEL}' --name debian/12/x86_64/6.1.0-50-amd64"))
        .succeeds()
        .says("debian/12/x86_64/6.1.0-50-amd64.btf  ")
        .says("1 kernel, ");
    let written = fs::read(workspace.path("kernel/btf/debian/12/x86_64/6.1.0-50-amd64.btf")).unwrap();
    assert!(written.starts_with(&[0x9f, 0xeb, 1, 0]) && written.len() < 300, "{} bytes", written.len());
    let lock = workspace.read("kernel/bpf.lock");
    assert!(
        lock.contains(" btf/debian/12/x86_64/6.1.0-50-amd64.btf\n") && lock.contains("\nbtf-relocations "),
        "{lock}"
    );

    let json = btf(&format!("'{KERNEL}' --name debian/12/x86_64/6.1.0-50-amd64 --add --json")).succeeds().json();
    let file = "debian/12/x86_64/6.1.0-50-amd64.btf";
    assert_eq!(json["files"], serde_json::json!([{ "file": file, "bytes": written.len() }]));
    assert_eq!((&json["schema"], &json["missing"]), (&1.into(), &serde_json::json!([])));

    // A kernel that differs elsewhere only has the same bytes; one for the other byte order has not.
    btf(&format!("'{OTHER}' --name debian/-/x86_64/6.19 --add")).succeeds();
    btf(&format!("'{BIG}' --name -/-/s390x/6.12 --add")).succeeds();
    assert_eq!(fs::read(workspace.path("kernel/btf/debian/-/x86_64/6.19.btf")).unwrap(), written);
    assert_eq!(fs::read(workspace.path("kernel/btf/-/-/s390x/6.12.btf")).unwrap().len(), written.len());
    workspace.xtask("bpf --check").succeeds();
    workspace.xtask("bpf").succeeds();
    assert_eq!(workspace.read("kernel/bpf.lock").matches("\nbtf ").count(), 3);

    // What is given takes the place of all that was there.
    fs::create_dir_all(workspace.path("hub/ubuntu/20.04/x86_64")).unwrap();
    fs::copy(OTHER, workspace.path("hub/ubuntu/20.04/x86_64/5.4.0-26-generic.btf")).unwrap();
    fs::create_dir_all(workspace.path("hub/ubuntu/20.04/arm64")).unwrap();
    fs::copy(OTHER, workspace.path("hub/ubuntu/20.04/arm64/5.4.0-26-generic.btf")).unwrap();
    btf("hub").succeeds().says("1 kernel, ");
    assert_eq!(workspace.list("kernel/btf"), ["ubuntu"]);
    assert_eq!(workspace.list("kernel/btf/ubuntu/20.04"), ["x86_64"]);
    assert_eq!(workspace.read("kernel/bpf.lock").matches("\nbtf ").count(), 1);

    if !has("xz", "Debian: apt install xz-utils", is_on_path("xz")) {
        return;
    }
    workspace
        .shell("cd hub/ubuntu/20.04/x86_64 && tar -cJf 5.4.0-27-generic.btf.tar.xz *.btf && rm *.btf && echo no >5.4.0-28.btf.tar.xz")
        .succeeds();
    btf("hub").ends_with(1).says("5.4.0-28.btf.tar.xz: it is no archive that xz has packed, or damaged");
    fs::remove_file(workspace.path("hub/ubuntu/20.04/x86_64/5.4.0-28.btf.tar.xz")).unwrap();
    btf("hub").succeeds().says("ubuntu/20.04/x86_64/5.4.0-27-generic.btf  ");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn parts_that_are_not_what_the_lock_file_says_are_noticed() {
    let workspace = workspace();
    let name = "--name debian/12/x86_64/6.1";
    workspace.xtask(&format!("btf '{KERNEL}' {name}")).succeeds();
    workspace
        .xtask("dist --arch amd64")
        .ends_with(1)
        .says("no section .btf.bundle with the BTF of kernels that bpf.lock names");

    let file = workspace.path("kernel/btf/debian/12/x86_64/6.1.btf");
    let written = fs::read(&file).unwrap();
    fs::write(&file, b"others").unwrap();
    let altered = "kernel/btf/debian/12/x86_64/6.1.btf was altered: run `cargo xtask btf`";
    workspace.xtask("bpf --check").ends_with(1).says(altered);
    workspace.xtask("dist --arch amd64").ends_with(1).says(altered);
    fs::write(&file, &written).unwrap();
    workspace.xtask("bpf --check").succeeds();

    // Another field is asked for.
    let workspace = workspace.write("kernel/tick.bpf.c", &PROGRAM.replace("parent->pid", "pid"));
    workspace.xtask("bpf").succeeds().says("was made for other relocations than the objects have now");
    workspace.xtask("bpf --check").ends_with(1).says("kernel/btf was made for other relocations");
    workspace
        .xtask(&format!("btf '{OTHER}' --name debian/12/x86_64/6.2 --add"))
        .ends_with(1)
        .says("name all kernels again");
    workspace.xtask(&format!("btf '{KERNEL}' {name}")).succeeds();
    workspace.xtask("bpf --check").succeeds();
    assert!(fs::read(&file).unwrap().len() < written.len());
}

#[test]
fn what_kernel_is_meant_has_to_be_known() {
    let workspace = workspace();
    let refused = |words: &str, why: &str| drop(workspace.xtask(&format!("btf {words}")).ends_with(2).says(why));
    refused(&format!("'{KERNEL}'"), "does not lie where BTFHub would have it");
    refused(&format!("'{KERNEL}' --name 6.1"), "ID/VERSION/ARCH/RELEASE is expected");
    refused(&format!("'{KERNEL}' '{OTHER}' --name debian/12/x86_64/6.1"), "--name is for one FILE");
    refused("kernel", "there is no *.btf in kernel");
    refused("nowhere", "there is no file nowhere, and unknown architecture");
    refused("amd64 --kernel debain-12-6.1", "did you mean `debian-12-6.1`?");
    workspace
        .xtask(&format!("btf '{BIG}' --name debian/12/x86_64/6.1"))
        .ends_with(1)
        .says("it is big-endian, and amd64 is little-endian");
    workspace.xtask("btf README.md --name debian/12/x86_64/6.1").ends_with(1).says("it has no BTF, or is compressed");
    workspace
        .xtask(&format!("btf '{KERNEL}' --name debian/12/arm64/6.1"))
        .ends_with(1)
        .says("none of these kernels is for an architecture of `arches`");
}

/// That of amd64 is packed by zstd, and that of arm64 is plain.
#[test]
#[ignore = "long: --include-ignored runs it"]
fn headers_are_those_of_the_kernels_that_boot_has() {
    let arches: Vec<&Arch> =
        ARCHES.iter().filter(|arch| ["amd64", "arm64"].contains(&arch.name) && can_boot(arch)).collect();
    if arches.len() != 2 {
        return;
    }
    let workspace = Workspace::usual("headers");
    workspace.xtask("vmlinux amd64 arm64 -o headers").succeeds().says("headers/x86/vmlinux.h  ");
    let text = workspace.read("headers/x86/vmlinux.h");
    assert!(
        text.contains("\nstruct task_struct {\n") && text.contains("\nstruct pt_regs {\n\tlong unsigned int r15;\n")
    );
    let image = Cache::find().unwrap().path(&kernels::default_of(arches[1]).entry(None)).join("kernel");
    let bytes = fs::read(&image).unwrap();
    let (endian, data) = find::find(&bytes).unwrap();
    let whole = header::write(&Btf::parse(data, endian).unwrap(), Wanted::All).unwrap();
    assert!(workspace.read("headers/arm64/vmlinux.h") == whole);
    workspace.xtask(&format!("vmlinux '{}' -o header.h", image.display())).succeeds();
    assert!(workspace.read("header.h") == whole);

    workspace.xtask("vmlinux amd64 arm64").ends_with(2).says("several headers are written to a folder");
    workspace
        .xtask("vmlinux amd64 README.md -o x")
        .ends_with(2)
        .says("several headers are written for architectures only");
    workspace.xtask("vmlinux arm armv7 -o x").ends_with(2).says("would both be arm/vmlinux.h");
    workspace.xtask("vmlinux headers").ends_with(2).says("headers is a folder");
    workspace.xtask("vmlinux README.md --kernel x").ends_with(2).says("--kernel is for architectures");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_binary_finds_the_btf_that_it_carries_where_the_kernel_has_none() {
    if !can_boot_amd64() {
        return;
    }
    let workspace = Workspace::copy_of_our_own("carries");
    let table = "[workspace.metadata.bpfship.bpf]\n";
    let config = workspace.read("Cargo.toml");
    assert!(config.contains(table));
    let workspace = workspace.write("Cargo.toml", &config.replace(table, &format!("{table}btf = \"bpf/btf\"\n")));
    workspace.xtask("bpf").succeeds();
    workspace.xtask("btf amd64 arm64").succeeds().says("debian/13/x86_64/6.12.").says("debian/13/arm64/6.12.");
    workspace.xtask("dist --arch amd64").succeeds();
    workspace.xtask("boot --verbose --arch amd64 --kernel debian-13-6.12-hidden-btf").succeeds();
    // Without gaps, other than without BTF.
    let verdicts: Vec<_> = verdicts(&workspace).into_values().collect();
    assert_eq!(verdicts, ["pass"]);
}

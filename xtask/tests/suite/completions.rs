//! Completions, in the shells that they are for.

use super::boot::is_on_path;
use super::support::{Workspace, has};

#[test]
fn bash_completes_what_stands_behind_cargo_and_leaves_the_rest_to_cargo() {
    let script = "_of_cargo() { COMPREPLY=(of-cargo); }; complete -F _of_cargo cargo
        # Twice, as where a file is read again.
        eval \"$(\"$BPFSHIP\" completions bash)\"; eval \"$(\"$BPFSHIP\" completions bash)\"
        completes() {
            COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            local function=$(complete -p \"$1\" | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
            $function \"$1\" \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"
            echo \"$*: ${COMPREPLY[@]}\"
        }
        completes xtask dist --arch ''
        completes cargo xtask dist --arch ''
        completes cargo xtask di
        completes cargo xtask boot --kernel debian-11
        completes cargo bui";
    // It is bash that this is for, and not any sh.
    let workspace = Workspace::usual("completions").write("script", script);
    let arches = "--arch : amd64 arm64 riscv64 loong64 s390x mips arm armv7 ppc64le mipsle 386\n";
    workspace
        .shell("bash script")
        .succeeds()
        .says(&format!("xtask dist {arches}"))
        .says(&format!("cargo xtask dist {arches}"))
        .says("cargo xtask di: dist\n")
        .says("cargo xtask boot --kernel debian-11: debian-11-5.10\n")
        .says("cargo bui: of-cargo\n");
}

#[test]
fn fish_completes_what_stands_behind_cargo() {
    if !has("fish", "Debian: apt install fish", is_on_path("fish")) {
        return;
    }
    let script = "$BPFSHIP completions fish | source
        for line in 'xtask dist --arch ' 'cargo xtask dist --arch ' 'cargo xtask di' 'cargo xtask boot --kernel debian-11'
            echo \"$line:\" (complete --do-complete $line)
        end";
    let workspace = Workspace::usual("fish").write("script", script);
    let home = workspace.path("").to_str().unwrap().to_owned();
    workspace
        .env("HOME", &home)
        .shell("fish --no-config script")
        .succeeds()
        .says("xtask dist --arch : 386\t32-bit PCs")
        .says("\ncargo xtask dist --arch : 386\t32-bit PCs")
        .says("\ncargo xtask di: dist\tBuild, check and pack the binaries\n")
        .says("\ncargo xtask boot --kernel debian-11: debian-11-5.10\n");
}

/// zsh completes on a terminal only.
#[test]
fn zsh_completes_what_stands_behind_cargo() {
    if !has("zsh", "Debian: apt install zsh", is_on_path("zsh")) {
        return;
    }
    let script = "zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell 'autoload -Uz compinit; compinit -u -D; LISTMAX=1000; source <($BPFSHIP completions zsh); echo LO\"\"ADED'
        zpty -r -m shell ready '*LOADED*'
        zpty -n -w shell $'cargo xtask dist --arch \\t\\t'
        for turn in {1..600}; do
            [[ $all == *riscv64*s390x* ]] && break
            zpty -r -t shell part && all+=$part || sleep 0.1
        done
        print -r -- $all";
    let workspace = Workspace::usual("zsh").write("script", script);
    workspace.shell("zsh -f script").succeeds().says("riscv64  -- VisionFive 2, SiFive boards");
}

#[test]
fn an_unknown_shell_is_refused() {
    Workspace::usual("shell").xtask("completions tcsh").ends_with(2).says("possible values: bash");
}

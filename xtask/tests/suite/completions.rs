//! Completions for shells.

use super::support::Workspace;

#[test]
fn bash_completes_verbs_and_architectures() {
    let script = "eval \"$(\"$BPFSHIP\" completions bash)\"
        COMP_WORDS=(xtask dist --arch ''); COMP_CWORD=3; _xtask xtask '' --arch; echo arches: ${COMPREPLY[@]}
        COMP_WORDS=(xtask ''); COMP_CWORD=1; _xtask xtask '' xtask; echo verbs: ${COMPREPLY[@]}";
    // It is bash that this is for, and not any sh.
    let workspace = Workspace::usual("completions").write("script", script);
    workspace
        .shell("bash script")
        .succeeds()
        .says("arches: amd64 arm64 riscv64 loong64 s390x mips arm armv7 ppc64le mipsle\n")
        .says(" bpf btf cache ci deploy dist doctor emit image init ");
}

#[test]
fn an_unknown_shell_is_refused() {
    Workspace::usual("shell").xtask("completions tcsh").ends_with(2).says("possible values: bash");
}

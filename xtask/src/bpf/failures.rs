//! What a user reads when sources cannot be compiled: how many, each cause once with its cure, and clang's words once.

use std::collections::{BTreeMap, BTreeSet};

use crate::bpf::layouts::{Layouts, of_kernel};
use crate::bpf::target::BpfTarget;
use crate::workspace::source;

/// A source that could not be compiled for some targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its path from the workspace, and the variant.
    pub source: String,
    /// For what, in the order of the table.
    pub targets: Vec<&'static BpfTarget>,
    /// What clang said, or what is wrong with the object.
    pub words: String,
}

/// Why a source does not compile, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Cause {
    text: String,
    words: Words,
}

/// The crate that carries libbpf's headers, as a dependency.
pub const LIBBPF_SYS: &str = "libbpf-sys = { version = \"=1.7.0\", default-features = false }";

/// The cause of what clang alone can explain.
const ERRORS: &str = "have errors";

/// Which of the words of the sources with a cause are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Words {
    All,
    /// They are all alike.
    First,
    /// The cause says it all.
    None,
}

/// Of what there are failures.
#[derive(Debug)]
pub struct Scope<'a> {
    /// How many sources there are, and how many architectures each is compiled for.
    pub sources: usize,
    pub targets: usize,
    pub layouts: &'a Layouts,
    /// The BPF folder.
    pub folder: &'a str,
    /// The paths of all files that clang may see, from the workspace.
    pub files: &'a [&'a str],
}

/// The failures in sentences; and the notes about files that git ignores.
pub fn text(failures: &[Failure], scope: &Scope, ignored: &[String]) -> String {
    let Scope { sources: all, targets: every, .. } = *scope;
    let mut causes: Vec<(Cause, BTreeSet<&str>)> = Vec::new();
    let mut words: Vec<(String, BTreeMap<&str, Vec<&'static BpfTarget>>)> = Vec::new();
    for failure in failures {
        // One cause a source: for one architecture, it may be plainer than for another.
        let of_source = failures.iter().filter(|other| other.source == failure.source);
        let all: Vec<Cause> = of_source.map(|failure| cause(failure, scope)).collect();
        let plain = all.iter().find(|cause| cause.text != ERRORS).or(all.first());
        let Some(cause) = plain.cloned() else { continue };
        let shown = cause.words;
        let is_new = match causes.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, sources)) => {
                let others = sources.len();
                sources.insert(&failure.source);
                others == 1 && sources.len() == 1
            }
            None => {
                causes.push((cause, [failure.source.as_str()].into()));
                true
            }
        };
        if shown == Words::None || (shown == Words::First && !is_new) {
            continue;
        }
        for block in blocks(&failure.words) {
            // A header is one, whichever way it was included.
            let at = match words.iter().position(|(known, _)| message(known) == message(&block)) {
                Some(at) => at,
                None => {
                    words.push((block, BTreeMap::new()));
                    words.len() - 1
                }
            };
            let targets = words[at].1.entry(&failure.source).or_default();
            targets.extend(failure.targets.iter().filter(|target| !targets.contains(target)).collect::<Vec<_>>());
        }
    }
    let failed: BTreeSet<&str> = failures.iter().map(|failure| failure.source.as_str()).collect();
    let mut text = format!("{} of {all} compiled", all - failed.len());
    causes.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.0.cmp(&b.0)));
    for (Cause { text: cause, .. }, sources) in &causes {
        let sources: Vec<&str> = sources.iter().copied().collect();
        text += &format!("\n  {}: {}", counted(sources.len(), cause), source::first(&sources));
    }
    // What the same targets of the same sources have to say stands together.
    let mut above: Option<&BTreeMap<&str, Vec<&'static BpfTarget>>> = None;
    for (block, heard) in &words {
        if above != Some(heard) {
            let of = |(source, targets): (&&str, &Vec<&'static BpfTarget>)| {
                let is_for_all = targets.len() == every || targets.iter().any(|target| target.arch_word.is_none());
                match is_for_all {
                    true => (*source).to_owned(),
                    false => {
                        format!("{source} ({})", targets.iter().map(|it| it.shown()).collect::<Vec<_>>().join(", "))
                    }
                }
            };
            let heads: Vec<String> = heard.iter().map(of).collect();
            text += &format!("\n\n{}:", source::first(&heads));
            above = Some(heard);
        }
        text += &format!("\n{block}");
    }
    for sentence in ignored {
        text += &format!("\n\n{sentence}");
    }
    text
}

/// "1 needs …", "2 need …".
fn counted(count: usize, cause: &str) -> String {
    match (count, cause.split_once(' ')) {
        (1, Some(("have", rest))) => format!("1 has {rest}"),
        (1, Some((verb @ ("need" | "include" | "give"), rest))) => format!("1 {verb}s {rest}"),
        _ => format!("{count} {cause}"),
    }
}

fn cause(failure: &Failure, Scope { layouts, folder, files, .. }: &Scope) -> Cause {
    let Failure { words, targets, .. } = failure;
    let arches = || targets.iter().filter_map(|target| of_kernel(target.arch_word?)).collect::<Vec<_>>();
    let missing =
        words.lines().find_map(|line| line.split_once(" file not found")?.0.rsplit_once(": ")?.1.strip_prefix('\''));
    let (text, words) = match missing.map(|name| name.trim_end_matches('\'')) {
        Some(name) if name.rsplit('/').next() == Some("vmlinux.h") => {
            let files: Vec<String> = arches().into_iter().filter_map(|arch| layouts.missing(arch)).collect();
            let text = match files.as_slice() {
                [] => format!(
                    "need vmlinux.h, which is not there: `cargo xtask vmlinux -o {folder}/vmlinux.h` writes this machine's; a \
                     program that reads registers (BPF_KPROBE, PT_REGS_PARM1) wants one for each architecture (`cargo xtask \
                     vmlinux amd64 arm64 -o {folder}`)"
                ),
                files => format!(
                    "need a vmlinux.h that is missing ({}): add it (`cargo xtask vmlinux ARCH` writes one), or leave the \
                     architecture out of `arches` in [workspace.metadata.bpfship], or of a variant for these sources",
                    files.join(", ")
                ),
            };
            (text, Words::First)
        }
        Some(name) => {
            let folders = files.iter().filter_map(|file| file.strip_suffix(name)?.strip_suffix('/'));
            let text = match folders.collect::<Vec<_>>().as_slice() {
                [only] => format!(
                    "include {name}, which is in {only}: have that folder among clang's (`cflags = [\"-I{only}\"]`)"
                ),
                [] if name.starts_with("bpf/bpf_") || name == "bpf/usdt.bpf.h" => format!(
                    "include libbpf's headers ({name}), and no package brings them along: add `{LIBBPF_SYS}` to \
                     [target.'cfg(any())'.dependencies] of a package, which compiles nothing of it"
                ),
                _ => format!(
                    "include {name}, which is not there: have its folder among clang's (`cflags = [\"-IFOLDER\"]`, from the \
                     workspace), or add it to the repository"
                ),
            };
            (text, Words::First)
        }
        None if is_of_other_arch(words) => (
            format!(
                "need the registers of each architecture, and the vmlinux.h or header that is included has those of another one: \
                 have a vmlinux.h for each (`cargo xtask vmlinux amd64 arm64 -o {folder}` writes them), or fewer architectures in \
                 `arches` of [workspace.metadata.bpfship], or of a variant for these sources"
            ),
            Words::All,
        ),
        // What is wrong with an object is a sentence, and says all.
        None if !words.contains(": error: ") && !words.contains('\n') => {
            (format!("give no object, for {words}"), Words::None)
        }
        None => (ERRORS.into(), Words::All),
    };
    Cause { text, words }
}

/// Whether libbpf's macros do not find the registers of an architecture where that has them.
fn is_of_other_arch(words: &str) -> bool {
    let registers = ["'struct pt_regs'", "'struct user_pt_regs'", "'struct user_regs_struct'", "user_pt_regs"];
    // What follows another error may come of that.
    words.lines().find(|line| line.contains("error: ")).is_some_and(|line| {
        (line.contains("no member named") || line.contains("incomplete"))
            && registers.iter().any(|name| line.contains(name))
    })
}

/// clang's messages one by one, without what differs between targets or calls without any meaning.
fn blocks(words: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in words.lines() {
        let is_message = [": error: ", ": warning: ", ": fatal error: "].iter().any(|kind| line.contains(kind));
        let is_include = line.starts_with("In file included from ");
        let follows_include = blocks.last().is_some_and(|block| block.lines().all(|line| line.starts_with("In file")));
        let counts = ["generated.", "emitted."].iter().any(|end| line.ends_with(end)) && !line.contains(':');
        let line = scratch(line);
        match blocks.last_mut() {
            _ if counts => {}
            Some(block) if !(is_message || is_include) || follows_include => {
                block.push('\n');
                block.push_str(&line);
            }
            _ => blocks.push(line),
        }
    }
    blocks
}

/// A block without the lines that say what included the file.
fn message(block: &str) -> &str {
    let mut rest = block;
    while let Some((line, after)) = rest.split_once('\n') {
        if !line.starts_with("In file included from ") {
            break;
        }
        rest = after;
    }
    rest
}

/// Without the numbers of lines that a macro made.
fn scratch(line: &str) -> String {
    const PLACE: &str = "<scratch space>:";
    match line.split_once(PLACE) {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ':');
            format!("{before}{PLACE}{rest}")
        }
        None => line.trim_end().into(),
    }
}

/// Warnings of one source, each once, whichever targets they are of.
pub fn warnings<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut all: Vec<String> = Vec::new();
    for block in words.flat_map(blocks) {
        if !all.contains(&block) {
            all.push(block);
        }
    }
    all.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::target::TARGETS;

    fn failure(source: &str, targets: &[usize], words: &str) -> Failure {
        let targets = targets.iter().map(|index| &TARGETS[*index]).collect();
        Failure { source: source.into(), targets, words: words.into() }
    }

    #[test]
    fn each_cause_is_printed_once_and_so_are_clang_s_words() {
        let missing = |source: &str| {
            failure(
                source,
                &[2],
                &format!("{source}:1:10: fatal error: 'vmlinux.h' file not found\n    1 | #include\n"),
            )
        };
        let odd = "k/c.bpf.c:2:1: error: odd\n<scratch space>:12:3: note: expanded from here\n1 error generated.";
        let failures = [
            missing("k/a.bpf.c"),
            missing("k/b.bpf.c"),
            failure("k/c.bpf.c", &[2], odd),
            failure("k/c.bpf.c", &[3], &odd.replace("12:3", "99:4")),
            failure("k/d.bpf.c", &[0], "it contains no program: add a function with SEC(\"…\")"),
        ];
        assert_eq!(
            text(
                &failures,
                &Scope { sources: 58, targets: 2, layouts: &Layouts::default(), folder: "k", files: &[] },
                &[]
            ),
            "54 of 58 compiled\n  \
             2 need vmlinux.h, which is not there: `cargo xtask vmlinux -o k/vmlinux.h` writes this machine's; a program that \
             reads registers (BPF_KPROBE, PT_REGS_PARM1) wants one for each architecture (`cargo xtask vmlinux amd64 arm64 -o k`): \
             k/a.bpf.c, k/b.bpf.c\n  \
             1 gives no object, for it contains no program: add a function with SEC(\"…\"): k/d.bpf.c\n  \
             1 has errors: k/c.bpf.c\n\n\
             k/a.bpf.c (x86):\nk/a.bpf.c:1:10: fatal error: 'vmlinux.h' file not found\n    1 | #include\n\n\
             k/c.bpf.c:\nk/c.bpf.c:2:1: error: odd\n<scratch space>: note: expanded from here"
        );
    }

    #[test]
    fn what_is_wrong_in_a_header_is_said_once() {
        let including = |name: &str| {
            let words = format!("In file included from {name}:1:\nk/h.h:1:2: error: odd\n    1 | x");
            failure(name, &[0], &words)
        };
        let failures = ["k/a.bpf.c", "k/b.bpf.c"].map(including);
        let scope = Scope { sources: 2, targets: 2, layouts: &Layouts::default(), folder: "k", files: &[] };
        let said = text(&failures, &scope, &[]);
        let words = "k/a.bpf.c, k/b.bpf.c:\nIn file included from k/a.bpf.c:1:\nk/h.h:1:2: error: odd\n    1 | x";
        assert_eq!(said, format!("0 of 2 compiled\n  2 have errors: k/a.bpf.c, k/b.bpf.c\n\n{words}"));
    }

    #[test]
    fn what_only_some_targets_have_to_say_is_theirs_and_a_missing_vmlinux_is_named() {
        let failures =
            [failure("k/a.bpf.c", &[2, 3], "k/a.bpf.c:1:1: error: x"), failure("k/a.bpf.c", &[4], "a:2:2: error: y")];
        let text_of = |failures: &[Failure], layouts: &Layouts| {
            let scope = Scope { sources: 1, targets: 3, layouts, folder: "k", files: &[] };
            text(failures, &scope, &["b.h is ignored".into()])
        };
        let said = text_of(&failures, &Layouts::default());
        assert!(
            said.contains("\n\nk/a.bpf.c (x86, arm64):\nk/a.bpf.c:1:1: error: x\n\nk/a.bpf.c (riscv):\n"),
            "{said}"
        );
        assert!(said.ends_with("\n\nb.h is ignored"), "{said}");

        let layouts = Layouts::find(["k/x86/vmlinux.h".to_owned()].iter());
        let missing = [failure("k/a.bpf.c", &[3], "k/a.bpf.c:1:10: fatal error: 'vmlinux.h' file not found")];
        let said = text_of(&missing, &layouts);
        assert!(said.contains("1 needs a vmlinux.h that is missing (k/arm64/vmlinux.h): add it"), "{said}");
        let other = "a.c:1:1: error: incomplete definition of type 'const struct user_pt_regs'";
        let said = text_of(&[failure("k/a.bpf.c", &[3], other)], &layouts);
        assert!(said.contains("1 needs the registers of each architecture"), "{said}");
        assert!(said.contains("(`cargo xtask vmlinux amd64 arm64 -o k` writes them)"), "{said}");
    }

    #[test]
    fn the_folder_of_a_header_is_named_if_the_repository_has_one_of_that_name() {
        let failures = [failure("k/a.bpf.c", &[0], "k/a.bpf.c:1:10: fatal error: 'net/tcp.h' file not found")];
        let said = |files: &[&str]| {
            text(&failures, &Scope { sources: 1, targets: 2, layouts: &Layouts::default(), folder: "k", files }, &[])
        };
        let one = said(&["k/a.bpf.c", "lib/net/tcp.h", "lib/othernet/tcp.h"]);
        assert!(
            one.contains(
                "1 includes net/tcp.h, which is in lib: have that folder among clang's (`cflags = [\"-Ilib\"]`)"
            ),
            "{one}"
        );
        let failures = [failure("k/a.bpf.c", &[0], "k/a.bpf.c:1:10: fatal error: 'bpf/bpf_helpers.h' file not found")];
        let scope = Scope { sources: 1, targets: 2, layouts: &Layouts::default(), folder: "k", files: &[] };
        let libbpf = text(&failures, &scope, &[]);
        assert!(
            libbpf.contains(
                "1 includes libbpf's headers (bpf/bpf_helpers.h), and no package brings them along: add `libbpf-sys = {"
            ),
            "{libbpf}"
        );
        let two = said(&["lib/net/tcp.h", "old/net/tcp.h"]);
        assert!(two.contains("1 includes net/tcp.h, which is not there"), "{two}");
    }
}

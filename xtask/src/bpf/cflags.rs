//! Which of clang's flags are the user's to set, and why the others are not.

use crate::bpf::dependencies::is_inside;

/// What is for the tool to decide: the flag, or what it begins with, and the reason.
const OURS: [(&str, &str); 51] = [
    ("-target*", TARGET),
    ("--target*", TARGET),
    ("-mlittle-endian", TARGET),
    ("-mbig-endian", TARGET),
    ("-D__TARGET_ARCH_*", ARCH),
    ("-U__TARGET_ARCH_*", ARCH),
    ("-D__x86_64__*", ARCH),
    ("-D__aarch64__*", ARCH),
    ("-D__riscv*", ARCH),
    ("-D__loongarch*", ARCH),
    ("-D__s390*", ARCH),
    ("-D__mips*", ARCH),
    ("-D__arm__*", ARCH),
    ("-D__powerpc*", ARCH),
    ("-mcpu*", "the key `cpu` beside it sets that"),
    ("-M*", "the tool reads clang's list of headers itself"),
    ("-Wp,*", "the tool reads clang's list of headers itself"),
    ("-o*", OUTPUT),
    ("-c", OUTPUT),
    ("-E", OUTPUT),
    ("-S", OUTPUT),
    ("-x*", OUTPUT),
    ("-emit-llvm", OUTPUT),
    ("-fsyntax-only", OUTPUT),
    ("-###", OUTPUT),
    ("-save-temps*", "an object is all that a compile may write"),
    ("-ftime-trace*", "an object is all that a compile may write"),
    ("-g?*", "BTF is made from debug information, so the tool sets how much of it there is"),
    ("-w", "it hides the error about a clock in the source"),
    ("@*", OUTSIDE),
    ("--config*", OUTSIDE),
    ("-ivfsoverlay*", OUTSIDE),
    ("--embed-dir*", OUTSIDE),
    ("-fauto-profile*", OUTSIDE),
    ("-fbasic-block-sections=list*", OUTSIDE),
    ("-fcs-profile*", OUTSIDE),
    ("-fmodule*", OUTSIDE),
    ("-fimplicit-module*", OUTSIDE),
    ("-fprebuilt-module*", OUTSIDE),
    ("-fprofile-instr-use*", OUTSIDE),
    ("-fprofile-list*", OUTSIDE),
    ("-fprofile-remapping-file*", OUTSIDE),
    ("-fprofile-sample-use*", OUTSIDE),
    ("-fprofile-use*", OUTSIDE),
    ("-frandomize-layout-seed-file*", OUTSIDE),
    ("-fsanitize-blacklist*", OUTSIDE),
    ("-fsanitize-coverage-allowlist*", OUTSIDE),
    ("-fsanitize-coverage-ignorelist*", OUTSIDE),
    ("-fsanitize-ignorelist*", OUTSIDE),
    ("-fsanitize-system-ignorelist*", OUTSIDE),
    ("-fxray-*", OUTSIDE),
];

const TARGET: &str = "the tool compiles for both byte orders";
const ARCH: &str = "the tool compiles for each architecture by its own word";
const OUTPUT: &str = "the tool says what clang makes, and where to";
const OUTSIDE: &str = "what bpf.lock does not know may not change an object";

/// Flags with a path, in the next word or behind them.
const PATHS: [&str; 12] = [
    "-I",
    "-include-pch",
    "-include",
    "-imacros",
    "-isystem",
    "-iquote",
    "-idirafter",
    "-isysroot",
    "--sysroot",
    "-fplugin",
    "-resource-dir",
    "-B",
];

/// Flags with another value in the next word.
const VALUES: [&str; 4] = ["-D", "-U", "-Xclang", "-mllvm"];

/// The folders in which these flags have clang look for headers, and the files that they have it include.
pub fn reads(flags: &[String]) -> (Vec<&str>, Vec<&str>) {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    let mut words = flags.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let path = PATHS.iter().find_map(|flag| Some((*flag, word.strip_prefix(flag)?)));
        let Some((flag, rest)) = path else { continue };
        let path = if rest.is_empty() { words.next().unwrap_or_default() } else { rest };
        match flag {
            "-I" | "-isystem" | "-iquote" | "-idirafter" => folders.push(path),
            "-include" | "-imacros" => files.push(path),
            _ => {}
        }
    }
    (folders, files)
}

/// What these flags define: NAME, or NAME=VALUE.
pub fn defines(flags: &[String]) -> Vec<&str> {
    let mut words = flags.iter().map(String::as_str);
    let mut defines = Vec::new();
    while let Some(word) = words.next() {
        if let Some(define) = word.strip_prefix("-D") {
            defines.extend(if define.is_empty() { words.next() } else { Some(define) });
        }
    }
    defines
}

/// Why these flags cannot be given to clang. An image of the user's may have headers of its own, anywhere.
pub fn refusal(flags: &[String], image: Option<&str>) -> Option<String> {
    let compiler = image.map(|_| "/");
    let mut words = flags.iter().map(String::as_str);
    while let Some(word) = words.next() {
        // In bpf.lock, flags are a line.
        if word.contains(['\n', '\r']) {
            return Some(format!("{word:?} has a line break in it: leave that out"));
        }
        let path = PATHS.iter().find_map(|flag| Some((*flag, word.strip_prefix(flag)?)));
        let (flag, reason) = match path {
            Some((flag, rest)) if rest.starts_with(' ') => {
                return Some(format!("`{word}` is two words in one: write \"{flag}\", \"{}\"", rest.trim_start()));
            }
            Some((flag, rest)) => {
                let path =
                    if rest.is_empty() { words.next().unwrap_or_default() } else { rest.trim_start_matches('=') };
                if is_inside(path, compiler) {
                    continue;
                }
                (format!("{flag} {path}"), OUTSIDE)
            }
            None => {
                let value = if VALUES.contains(&word) { words.next().unwrap_or_default() } else { "" };
                // `-D NAME` is `-DNAME`, and behind `-Xclang` stands a flag.
                let whole = if word == "-Xclang" { value.into() } else { format!("{word}{value}") };
                match OURS.iter().find(|(pattern, _)| matches(pattern, &whole)) {
                    Some((_, reason)) => (whole, *reason),
                    None if whole.starts_with('-') || word == "-Xclang" => continue,
                    None => (whole, "it is no flag"),
                }
            }
        };
        return Some(format!("`{flag}` is not possible, because {reason}: leave it out"));
    }
    None
}

/// `?` stands for any letter, and `*` at the end for any rest.
fn matches(pattern: &str, flag: &str) -> bool {
    let (start, rest) = match pattern.strip_suffix('*') {
        Some(start) => (start, true),
        None => (pattern, false),
    };
    let alike = |(a, b): (char, char)| a == b || a == '?';
    let (length, found) = (start.chars().count(), flag.chars().count());
    (found == length || rest && found > length) && start.chars().zip(flag.chars()).all(alike)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_tool_are_refused_with_the_reason() {
        let reason = |flags: &[&str]| {
            let flags: Vec<String> = flags.iter().map(|flag| (*flag).into()).collect();
            refusal(&flags, None).unwrap_or_default()
        };
        for (flags, expected) in [
            (
                &["-Wextra", "-D__TARGET_ARCH_x86"][..],
                "`-D__TARGET_ARCH_x86` is not possible, because the tool compiles for each architecture",
            ),
            (&["-D", "__TARGET_ARCH_arm64"], "`-D__TARGET_ARCH_arm64` is"),
            (&["-target", "bpf"], "`-target` is not possible, because the tool compiles for both byte orders"),
            (&["--target=bpf"], "`--target=bpf` is"),
            (&["-mcpu=v3"], "`-mcpu=v3` is not possible, because the key `cpu`"),
            (&["-MMD"], "`-MMD` is"),
            (&["-o", "x"], "`-o` is"),
            (&["-c"], "`-c` is"),
            (&["-E"], "`-E` is"),
            (&["-S"], "`-S` is"),
            (&["-g0"], "`-g0` is not possible, because BTF is made from debug information"),
            (&["-gline-tables-only"], "`-gline-tables-only` is"),
            (&["-w"], "`-w` is not possible, because it hides"),
            (&["-I/usr/include"], "`-I /usr/include` is not possible, because what bpf.lock does not know"),
            (&["-I", "../shared"], "`-I ../shared` is"),
            (&["-isystem", "/usr/include"], "`-isystem /usr/include` is"),
            (&["--sysroot=/"], "`--sysroot /` is"),
            (&["-include", "kernel/../../x.h"], "`-include kernel/../../x.h` is"),
            (&["@flags"], "`@flags` is"),
            (&["-ivfsoverlay", "kernel/map"], "`-ivfsoverlay` is"),
            (&["-frandomize-layout-seed-file=kernel/seed"], "`-frandomize-layout-seed-file=kernel/seed` is"),
            (&["-Xclang", "-fprofile-list=/l"], "`-fprofile-list=/l` is"),
            (&["-U__TARGET_ARCH_x86"], "`-U__TARGET_ARCH_x86` is not possible, because the tool compiles for each"),
            (&["-Xclang", "-gcodeview"], "`-gcodeview` is"),
            (&["other.c"], "`other.c` is not possible, because it is no flag"),
        ] {
            let found = reason(flags);
            assert!(found.starts_with(expected) && found.ends_with(": leave it out"), "{flags:?}: {found}");
        }
        assert_eq!(reason(&["-DA=1\n2"]), "\"-DA=1\\n2\" has a line break in it: leave that out");
        let two = "`-include /etc/passwd` is two words in one: write \"-include\", \"/etc/passwd\"";
        assert_eq!(reason(&["-include /etc/passwd"]), two);
        assert_eq!(reason(&["-I ../shared"]), "`-I ../shared` is two words in one: write \"-I\", \"../shared\"");
        for flags in [
            &["-Wextra", "-Werror", "-DNAME=1", "-D", "OTHER", "-DTEXT=\"a b\"", "-U", "X", "-g", "-O3"][..],
            &["-Ikernel/more", "-include", "kernel/vmlinux.h", "-mllvm", "-bpf-stack-size=512", "-std=gnu2x"],
            &["-Xclang", "-disable-O0-optnone", "-fno-builtin", "-Wno-unused"],
        ] {
            assert_eq!(reason(flags), "", "{flags:?}");
        }
    }

    #[test]
    fn what_flags_have_clang_read_is_known() {
        let flags = ["-Wall", "-Ikernel/more", "-isystem", "other", "-include", "a.h", "-DX"].map(String::from);
        assert_eq!(reads(&flags), (vec!["kernel/more", "other"], vec!["a.h"]));
        let flags = ["-DX", "-I", "-D", "Y=\"a.h\""].map(String::from);
        assert_eq!(defines(&flags), ["X", "Y=\"a.h\""]);
    }

    #[test]
    fn an_image_has_headers_of_its_own() {
        let flags = ["-isystem".to_owned(), "/usr/include".to_owned()];
        assert!(refusal(&flags, None).is_some());
        assert_eq!(refusal(&flags, Some("team/clang@sha256:0")), None);
    }
}

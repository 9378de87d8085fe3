//! What clang, the archiver and the linker are told when a build script calls them for a target.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::arch::{ARCHES, Arch};
use crate::toolchain::zig;

/// Stands for whatever is not said by the flags. Part of what decides whether C code is compiled again.
pub const VERSION: u32 = 2;

/// The file beside the names that says what is behind them.
pub const FILE: &str = "recipe.json";

/// What comes before all that a caller says. The first is for flags that have no meaning in a call, such as a linker's while
/// compiling.
const FIRST: [&str; 2] = ["-Wno-unused-command-line-argument", "-nostdlibinc"];

/// A function of libatomic's, which is not there: clang calls it where it cannot know the answer itself. No 32-bit processor is asked
/// for more than a word.
const LOCK_FREE: &str = "-D__atomic_is_lock_free(size,address)=((size)<=sizeof(void*))";

/// What no caller may overrule: no debug information, for it is stripped anyway and names folders, and nothing that wants
/// a runtime of its own or leaves bitcode.
pub const LAST: [&str; 4] = ["-g0", "-fno-sanitize=all", "-fno-lto", "-fno-ident"];

/// Flags of which the target decides, and nobody else.
const DROPPED: [&str; 6] = ["-m32", "-m64", "-mx32", "-march=native", "-mcpu=native", "-mtune=native"];

/// With one of these, nothing is linked.
const NO_LINK: [&str; 12] = [
    "-c",
    "-S",
    "-E",
    "-M",
    "-MM",
    "-fsyntax-only",
    "-###",
    "--version",
    "-dumpmachine",
    "-dumpversion",
    "--help",
    "-print-resource-dir",
];

/// What is behind a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    C,
    Cxx,
    Archiver,
    Indexer,
    Linker,
}

/// The tools, and how the names end that lead to them.
const TOOLS: [(Tool, &str); 5] =
    [(Tool::C, "-cc"), (Tool::Cxx, "-c++"), (Tool::Archiver, "-ar"), (Tool::Indexer, "-ranlib"), (Tool::Linker, "-ld")];

/// More names that build scripts call, whatever they build for.
const OTHER_NAMES: [&str; 4] = [CLANG, STRIP, MAKE, FORMATTER];
pub const CLANG: &str = "clang";
pub const STRIP: &str = "llvm-strip";
pub const MAKE: &str = "make";
pub const FORMATTER: &str = "rustfmt";

/// What all the names have in common, and what a plan decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The folder of the unpacked compiler.
    pub compiler: PathBuf,
    /// Folders, and what code may call them. The last one that fits holds.
    pub names: Vec<(PathBuf, String)>,
    /// Where the C runtime of each target lies, for what is linked on the way: the trial programs of a `configure`.
    pub runtimes: BTreeMap<String, PathBuf>,
    /// Where C++'s standard library of each target is in the cache, or will be.
    pub cxx: BTreeMap<String, PathBuf>,
}

/// The tool and the target that a program was called by.
pub fn called_by(name: &str) -> Option<(Tool, &'static Arch)> {
    TOOLS.iter().find_map(|(tool, end)| {
        let triple = name.strip_suffix(end)?;
        Some((*tool, ARCHES.iter().find(|arch| arch.triple == triple)?))
    })
}

/// The name by which a tool is called for a target.
pub fn name(tool: Tool, arch: &Arch) -> String {
    let end = TOOLS.iter().find(|(known, _)| *known == tool).map_or("", |(_, end)| end);
    format!("{}{end}", arch.triple)
}

/// All names that lead to this program.
pub fn names() -> Vec<String> {
    let of_targets = ARCHES.iter().flat_map(|arch| TOOLS.iter().map(|(tool, _)| name(*tool, arch)));
    of_targets.chain(OTHER_NAMES.map(String::from)).collect()
}

/// The folders of headers of C's standard library and of the kernel.
pub fn headers(compiler: &Path, arch: &Arch) -> Vec<String> {
    let folders = [arch.musl_headers, "generic-musl", arch.linux_headers, "any-linux-any"];
    folders.iter().map(|folder| compiler.join("lib/libc/include").join(folder).to_string_lossy().into_owned()).collect()
}

impl Recipe {
    /// What zig is called with for these arguments of a caller. `folder` is that of the names, and `runtime` holds the
    /// libraries that there are for the target.
    pub fn arguments(
        &self,
        tool: Tool,
        arch: &Arch,
        given: Vec<String>,
        folder: &Path,
        runtime: &[PathBuf],
    ) -> Vec<String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        match tool {
            Tool::Archiver => [vec!["ar".into()], given].concat(),
            Tool::Indexer => [vec!["ranlib".into()], given].concat(),
            Tool::Linker => [vec!["ld.lld".into()], given].concat(),
            Tool::C | Tool::Cxx => {
                let mut args: Vec<String> = vec!["clang".into()];
                if tool == Tool::Cxx {
                    args.push("--driver-mode=g++".into());
                }
                args.extend(FIRST.map(String::from));
                args.extend(arch.c_flags.iter().map(ToString::to_string));
                args.extend((tool == Tool::C && arch.bits == 32).then(|| LOCK_FREE.into()));
                args.push(format!("-resource-dir={}", text(&self.compiler.join("lib"))));
                let links = links(&given);
                let is_program =
                    links && !["-shared", "-r", "-nostdlib"].iter().any(|flag| given.iter().any(|it| it == flag));
                if is_program {
                    let start = runtime.iter().filter(|file| file.ends_with("crt1.o"));
                    args.extend(start.map(|file| text(file)));
                }
                let given = without_headers_of_machine(given).into_iter();
                args.extend(given.filter(|arg| !DROPPED.contains(&arg.as_str())).map(|arg| self.renamed(arg)));
                if tool == Tool::Cxx {
                    args.push("-nostdinc++".into());
                    args.extend(CXX_DEFINES.map(String::from));
                    for folder in ["lib/libcxx/include", "lib/libcxxabi/include"] {
                        args.extend(["-isystem".into(), text(&self.compiler.join(folder))]);
                    }
                }
                args.extend(headers(&self.compiler, arch).into_iter().flat_map(|folder| ["-isystem".into(), folder]));
                if links {
                    args.extend([
                        "-nostdlib".into(),
                        format!("--ld-path={}", text(&folder.join(name(Tool::Linker, arch)))),
                    ]);
                }
                if is_program {
                    args.extend(["-static".into(), "-no-pie".into(), "-Wl,--start-group".into()]);
                    args.extend(runtime.iter().filter(|file| !file.ends_with("crt1.o")).map(|file| text(file)));
                    args.push("-Wl,--end-group".into());
                    // What Rust's library of the compiler's functions names for the case of a panic, which does not come.
                    let of_rust = runtime.iter().any(|file| file.extension().is_some_and(|it| it == "rlib"));
                    args.extend(of_rust.then(|| "-Wl,--defsym=rust_eh_personality=0".into()));
                }
                args.extend(self.names.iter().map(|(from, to)| format!("-ffile-prefix-map={}={to}", text(from))));
                args.push(format!("-ffile-prefix-map={}=zig", text(&self.compiler)));
                args.push(format!("--target={}", arch.clang_target()));
                args.extend(LAST.map(String::from));
                args
            }
        }
    }

    /// What zig is called with, to compile BPF programs for the machine that a build script builds for.
    pub fn bpf_arguments(&self, arch: &Arch, given: Vec<String>) -> Vec<String> {
        let given = without_headers_of_machine(given);
        for_bpf(&self.compiler, &self.names, "v1", arch, Some(arch.linux), given)
    }

    /// A macro that holds a path gets what code may call it: OpenSSL, for one, keeps the folder that it would be installed
    /// in. A header that is included by way of a macro is still found.
    fn renamed(&self, arg: String) -> String {
        let is_header = arg.trim_end_matches(['"', '>', '\\']).ends_with(".h");
        if !arg.starts_with("-D") || is_header {
            return arg;
        }
        self.names
            .iter()
            .rev()
            .fold(arg, |arg, (from, to)| arg.replace(&format!("{}/", from.display()), &format!("{to}/")))
    }
}

/// Leaves out folders of headers that are of this machine and its C library, however they are named.
fn without_headers_of_machine(given: Vec<String>) -> Vec<String> {
    const FLAGS: [&str; 4] = ["-I", "-isystem", "-idirafter", "-iquote"];
    let is_of_machine =
        |folder: &str| ["/usr/include", "/usr/local/include"].iter().any(|it| Path::new(folder).starts_with(it));
    let mut kept = Vec::new();
    let mut given = given.into_iter().peekable();
    while let Some(arg) = given.next() {
        let is_flag = FLAGS.contains(&arg.as_str());
        if is_flag && given.peek().is_some_and(|folder| is_of_machine(folder)) {
            given.next();
        } else if !FLAGS.iter().filter_map(|flag| arg.strip_prefix(flag)).any(is_of_machine) {
            kept.push(arg);
        }
    }
    kept
}

/// What zig is called with, to compile C to BPF. The headers are those of `arch`; `word` is libbpf's for an architecture, if
/// the code may depend on one.
pub fn for_bpf(
    compiler: &Path,
    names: &[(PathBuf, String)],
    cpu: &str,
    arch: &Arch,
    word: Option<&str>,
    given: Vec<String>,
) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut args: Vec<String> = [
        "clang",
        "-Wno-unused-command-line-argument",
        // Programs that were written for older versions assign `struct NAME` to `struct NAME___OLD`, for CO-RE.
        "-Wno-error=incompatible-pointer-types",
        "-nostdlibinc",
    ]
    .map(String::from)
    .into();
    args.push(format!("-mcpu={cpu}"));
    args.push(format!("-resource-dir={}", text(&compiler.join("lib"))));
    args.extend(given);
    args.extend(headers(compiler, arch).into_iter().flat_map(|folder| ["-idirafter".into(), folder]));
    // libbpf-cargo has the machine compile for itself, and for its order of bytes.
    args.extend(ARCHES.iter().map(|other| format!("-U__TARGET_ARCH_{}", other.linux)));
    args.extend(word.map(|word| format!("-D__TARGET_ARCH_{word}")));
    args.extend(arch.header_macros.iter().map(|name| format!("-D{name}")));
    args.extend(names.iter().map(|(from, to)| format!("-ffile-prefix-map={}={to}", text(from))));
    args.extend(["-fno-ident", "-fno-addrsig", "-fdebug-compilation-dir=."].map(String::from));
    args.push(format!("--target={}", arch.endian.bpf_target()));
    args
}

/// What decides the bytes that are compiled from C, for the manifest.
pub fn flags() -> Vec<String> {
    let arches = ARCHES.iter().map(|arch| format!("cc {}: {}", arch.triple, arch.c_flags.join(" ")));
    arches.chain([format!("cc {}: {} {}", VERSION, zig::PACKAGE, LAST.join(" "))]).collect()
}

/// Whether clang is asked about itself, and compiles no file: for its version, its folders of headers, its macros.
pub fn is_question(given: &[String]) -> bool {
    let has = |word: &str| given.iter().any(|arg| arg == word);
    let starts = |start: &str| given.iter().any(|arg| arg.starts_with(start));
    has("--version") || has("-dumpversion") || has("-dumpmachine") || starts("-print-") || has("-E") && has("-")
}

/// Whether a call of clang is one for BPF.
pub fn is_for_bpf(args: &[String]) -> bool {
    let next = args.iter().zip(args.iter().skip(1)).any(|(flag, value)| flag == "-target" && value.starts_with("bpf"));
    next || args.iter().any(|arg| ["-target=bpf", "--target=bpf"].iter().any(|start| arg.starts_with(start)))
}

/// The object that such a call makes.
pub fn object(args: &[String]) -> Option<&String> {
    let compiles = args.iter().any(|arg| arg == "-c");
    let at = args.iter().position(|arg| arg == "-o").filter(|_| compiles)?;
    args.get(at + 1)
}

/// What zig's own build of libc++ is configured by.
const CXX_DEFINES: [&str; 17] = [
    "-D_LIBCPP_ABI_NAMESPACE=__1",
    "-D_LIBCPP_ABI_VERSION=1",
    "-D_LIBCPP_ASSERTION_SEMANTIC_DEFAULT=_LIBCPP_ASSERTION_SEMANTIC_IGNORE",
    "-D_LIBCPP_DISABLE_VISIBILITY_ANNOTATIONS",
    "-D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_NONE",
    "-D_LIBCPP_HAS_FILESYSTEM=1",
    "-D_LIBCPP_HAS_LOCALIZATION=1",
    "-D_LIBCPP_HAS_MONOTONIC_CLOCK=1",
    "-D_LIBCPP_HAS_MUSL_LIBC=1",
    "-D_LIBCPP_HAS_RANDOM_DEVICE=1",
    "-D_LIBCPP_HAS_TERMINAL=1",
    "-D_LIBCPP_HAS_THREADS=1",
    "-D_LIBCPP_HAS_TIME_ZONE_DATABASE=1",
    "-D_LIBCPP_HAS_UNICODE=1",
    "-D_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS=0",
    "-D_LIBCPP_HAS_WIDE_CHARACTERS=1",
    "-D_LIBCPP_PSTL_BACKEND_SERIAL",
];

/// Whether a call of the compiler goes on to link.
fn links(args: &[String]) -> bool {
    let has_input = args.iter().any(|arg| !arg.starts_with('-') || arg.starts_with("-l"));
    has_input && !args.iter().any(|arg| NO_LINK.contains(&arg.as_str()) || arg.starts_with("-print-"))
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            compiler: "/zig".into(),
            names: vec![("/home/ann/tool".into(), "workspace".into()), ("/home/ann/tool/out".into(), "target".into())],
            runtimes: BTreeMap::new(),
            cxx: BTreeMap::new(),
        }
    }

    fn call(tool: Tool, arch: &str, given: &[&str], runtime: &[&str]) -> String {
        let given = given.iter().map(ToString::to_string).collect();
        let runtime: Vec<PathBuf> = runtime.iter().map(PathBuf::from).collect();
        let arch = <&Arch>::from_str(arch).unwrap();
        recipe().arguments(tool, arch, given, Path::new("/cc"), &runtime).join(" ")
    }

    #[test]
    fn headers_of_this_machine_are_left_out() {
        let words = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
        let given = "-I /usr/include -I include -isystem /usr/include/x86_64-linux-gnu -I/usr/local/include -I/usr/includes -c x.c";
        assert_eq!(without_headers_of_machine(words(given)), words("-I include -I/usr/includes -c x.c"));
        assert_eq!(without_headers_of_machine(words("-c -I")), words("-c -I"));
    }

    #[test]
    fn a_name_leads_to_a_tool_for_a_target_and_no_other_name_does() {
        for arch in &ARCHES {
            for (tool, _) in TOOLS {
                assert_eq!(called_by(&name(tool, arch)), Some((tool, arch)));
            }
        }
        for other in ["xtask", "cc", "mips-linux-gnu-cc", "mips-unknown-linux-musl", "x-mips-unknown-linux-musl-cc"] {
            assert_eq!(called_by(other), None, "{other}");
        }
    }

    #[test]
    fn clang_is_asked_or_compiles() {
        let asks = |line: &str| is_question(&line.split(' ').map(String::from).collect::<Vec<_>>());
        for line in ["--version --target=aarch64-unknown-linux-musl", "-v -E -", "-dM -E -", "-print-resource-dir"] {
            assert!(asks(line), "{line}");
        }
        for line in ["-c a.c -o a.o", "-E a.c", "-v a.c"] {
            assert!(!asks(line), "{line}");
        }
    }

    #[test]
    fn of_processor_and_target_nobody_else_decides() {
        let called =
            call(Tool::C, "s390x", &["-O3", "-m64", "-march=native", "--target=x86_64-linux-gnu", "-c", "a.c"], &[]);
        assert!(
            called.starts_with("clang ") && called.contains(" -march=z10 ") && called.contains(" -O3 "),
            "{called}"
        );
        assert!(!called.contains("-m64") && !called.contains("native"), "{called}");
        // The last one holds.
        assert!(called.rfind("--target=").unwrap() == called.find("--target=s390x-linux-musl").unwrap(), "{called}");
        assert!(called.ends_with(&LAST.join(" ")), "{called}");
        assert!(call(Tool::C, "arm64", &["-c", "a.c"], &[]).contains(" -mno-outline-atomics "));
    }

    #[test]
    fn a_processor_that_a_file_asks_for_comes_after_the_oldest() {
        let called = call(Tool::C, "arm64", &["-march=armv8-a+crypto", "-c", "a.c"], &[]);
        assert!(called.find("-march=armv8-a ").unwrap() < called.find("-march=armv8-a+crypto").unwrap(), "{called}");
    }

    #[test]
    fn headers_of_the_target_come_after_those_of_the_caller_and_nothing_of_the_machine_does() {
        let called = call(Tool::C, "mips", &["-isystem", "own", "-c", "a.c"], &[]);
        let own = called.find("-isystem own").unwrap();
        let musl = called.find("-isystem /zig/lib/libc/include/mips-linux-musl ").unwrap();
        assert!(own < musl && called.contains("-nostdlibinc"), "{called}");
        let cxx = call(Tool::Cxx, "mips", &["-c", "a.cpp"], &[]);
        assert!(cxx.find("/zig/lib/libcxx/include").unwrap() < cxx.find("mips-linux-musl ").unwrap(), "{cxx}");
    }

    #[test]
    fn a_program_is_linked_with_what_is_there_and_nothing_else_is() {
        let runtime = ["/r/crt1.o", "/r/libc.a"];
        let linked = call(Tool::C, "riscv64", &["a.c", "-o", "a", "-lm"], &runtime);
        assert!(linked.contains("/r/crt1.o a.c -o a -lm"), "{linked}");
        assert!(linked.contains("--ld-path=/cc/riscv64gc-unknown-linux-musl-ld -static -no-pie"), "{linked}");
        assert!(linked.contains("-Wl,--start-group /r/libc.a -Wl,--end-group"), "{linked}");
        assert!(!linked.contains("--defsym"), "{linked}");
        let linked = call(Tool::C, "arm64", &["a.c", "-o", "a"], &["/r/libc.a", "/r/libcompiler_builtins-1.rlib"]);
        let group = "/r/libc.a /r/libcompiler_builtins-1.rlib -Wl,--end-group -Wl,--defsym=rust_eh_personality=0";
        assert!(linked.contains(group), "{linked}");
        for no_program in [&["-c", "a.c"][..], &["-E", "-"], &["--version"], &["-print-search-dirs"], &["-v"]] {
            let called = call(Tool::C, "riscv64", no_program, &runtime);
            assert!(!called.contains("/r/") && !called.contains("--ld-path"), "{called}");
        }
        let shared = call(Tool::C, "riscv64", &["-shared", "a.o", "-o", "a.so"], &runtime);
        assert!(shared.contains("--ld-path") && !shared.contains("/r/"), "{shared}");
    }

    #[test]
    fn a_macro_that_holds_a_path_of_this_machine_gets_the_name_of_the_folder() {
        let called = |given: &str| call(Tool::C, "amd64", &[given, "-c", "a.c"], &[]);
        let text = called("-DSSL=\"/home/ann/tool/out/ssl\"");
        assert!(text.contains(" -DSSL=\"target/ssl\" "), "{text}");
        let header = "-DCONFIG=\"/home/ann/tool/out/config.h\"";
        assert!(called(header).contains(header));
        assert!(
            text.contains("-ffile-prefix-map=/home/ann/tool=workspace -ffile-prefix-map=/home/ann/tool/out=target")
        );
    }

    #[test]
    fn other_tools_are_given_what_they_are_given() {
        assert_eq!(call(Tool::Archiver, "mips", &["cq", "a.a", "a.o"], &[]), "ar cq a.a a.o");
        assert_eq!(call(Tool::Indexer, "mips", &["a.a"], &[]), "ranlib a.a");
        assert_eq!(call(Tool::Linker, "mips", &["a.o"], &[]), "ld.lld a.o");
    }
}

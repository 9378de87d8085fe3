//! What cargo prints while it builds (`-v --message-format=json-diagnostic-rendered-ansi`), understood line by line:
//! how far it is, what came out, and what the user has to read. It prints the same for each target, and users read it
//! once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::camino::Utf8PathBuf;
use cargo_metadata::diagnostic::{Diagnostic, DiagnosticLevel};
use cargo_metadata::{Artifact, BuildScript, Message};

/// What a line of cargo's reports.
#[derive(Debug)]
pub enum Event {
    Built(Box<Artifact>),
    /// The user has to read it.
    Error(String),
    /// The user may want to read it.
    Warning(String),
}

/// All that cargo printed in one build.
#[derive(Debug, Default)]
pub struct Messages {
    /// What was handed on already.
    seen: BTreeSet<String>,
    /// Lines that belong together, of what is no message in JSON.
    block: Vec<String>,
    /// Everything that failed, for whoever looks for the reason, and what makes it the same for another target.
    problems: Vec<(String, Problem)>,
    /// The packages that could not be compiled, by target; the empty one is this machine, or one that cargo does not
    /// name.
    pub failed: BTreeMap<String, BTreeSet<String>>,
    /// The output folders of build scripts that have C++'s standard library linked.
    pub with_cxx: BTreeSet<Utf8PathBuf>,
    /// The packages that have a build script, by their folders.
    pub with_script: BTreeMap<PathBuf, String>,
    /// What build scripts have linked.
    pub linked: Vec<Linked>,
    /// Whether the build came to its end.
    pub finished: bool,
}

/// Libraries that the build script of a package has linked.
#[derive(Debug)]
pub struct Linked {
    pub package: String,
    pub out_dir: Utf8PathBuf,
    /// Where they may be.
    pub archives: Vec<Utf8PathBuf>,
}

/// Something that failed, for one target or several.
#[derive(Debug, Default)]
struct Problem {
    /// The package; empty where cargo does not name it.
    package: String,
    /// All that was printed about it, without colours.
    text: String,
    /// For how many targets it was printed.
    times: usize,
}

impl Messages {
    /// Takes one line.
    pub fn push_line(&mut self, line: &str) -> Vec<Event> {
        if line.starts_with('{')
            && let Ok(message) = serde_json::from_str(line)
        {
            let mut events = self.end();
            events.extend(self.message(message));
            return events;
        }
        if let Some(verb) = status(line) {
            let mut events = self.end();
            if verb == "Blocking" {
                events.push(Event::Warning(line.trim_start().into()));
            }
            return events;
        }
        // A line that begins another text, and does not continue one.
        let events = match !line.is_empty() && !line.starts_with(' ') && line != "Caused by:" {
            true => self.end(),
            false => Vec::new(),
        };
        self.block.push(line.into());
        events
    }

    /// The build scripts that were run: the folders of their packages, and their output folders.
    pub fn scripts(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.linked.iter().flat_map(|script| {
            let folders = self.with_script.iter().filter(|(_, package)| **package == script.package);
            folders.map(|(folder, _)| (folder.as_path(), script.out_dir.as_std_path()))
        })
    }

    /// Ends the input: no line will follow.
    pub fn end(&mut self) -> Vec<Event> {
        let block = std::mem::take(&mut self.block);
        let text = block.join("\n");
        let Some(head) = block.first().filter(|_| !text.trim().is_empty()) else {
            return Vec::new();
        };
        let package = failing(head).unwrap_or_default();
        if !package.is_empty() {
            let triple = argument(&text, "--target").unwrap_or_default();
            self.failed.entry(triple).or_default().insert(package.into());
        }
        // LLVM does not print `error`, nor which crate it was.
        let is_error = head.starts_with("error") || head.contains("LLVM ERROR: ");
        if is_error {
            self.problem(head.clone(), package, &text);
        }
        // Printed by the diagnostics before it, or useless.
        let is_summary = head.starts_with("error: could not compile `") && !text.contains("signal: ")
            || head.starts_with("warning: build failed, waiting")
            || head.starts_with("warning: `") && head.contains(" generated ");
        if is_summary || !self.seen.insert(head.clone()) {
            return Vec::new();
        }
        let text = without_commands(text.trim_end());
        vec![if is_error { Event::Error(text) } else { Event::Warning(text) }]
    }

    fn message(&mut self, message: Message) -> Option<Event> {
        match message {
            Message::CompilerArtifact(artifact) => {
                if artifact.target.is_custom_build() {
                    let folder = artifact.manifest_path.parent().map(PathBuf::from);
                    self.with_script.extend(folder.map(|folder| (folder, package(&artifact.package_id.repr).into())));
                }
                Some(Event::Built(Box::new(artifact)))
            }
            Message::CompilerMessage(message) => {
                let diagnostic = message.message;
                let key = format!("{} {} {}", message.package_id, message.target.name, place(&diagnostic));
                let text = diagnostic.rendered.unwrap_or(diagnostic.message);
                let is_error = matches!(diagnostic.level, DiagnosticLevel::Error | DiagnosticLevel::Ice);
                if is_error {
                    self.problem(key.clone(), package(&message.package_id.repr), &text);
                }
                let text = text.trim_end().to_owned();
                let is_note = diagnostic.level == DiagnosticLevel::FailureNote;
                let event = if is_error || is_note { Event::Error(text) } else { Event::Warning(text) };
                self.seen.insert(key).then_some(event)
            }
            Message::BuildScriptExecuted(script) => {
                let is_cxx = |library: &&Utf8PathBuf| ["c++", "stdc++"].contains(&library_name(library.as_str()));
                if script.linked_libs.iter().any(|library| is_cxx(&library)) {
                    self.with_cxx.insert(script.out_dir.clone());
                }
                let archives = archives(&script);
                let package = package(&script.package_id.repr).into();
                self.linked.push(Linked { package, archives, out_dir: script.out_dir });
                None
            }
            Message::BuildFinished(_) => {
                self.finished = true;
                None
            }
            _ => None,
        }
    }

    fn problem(&mut self, key: String, package: &str, text: &str) {
        let known = self.problems.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            self.problems.push((key, Problem { package: package.into(), ..Problem::default() }));
            self.problems.len() - 1
        });
        let (_, problem) = &mut self.problems[known];
        problem.text.push_str(&console::strip_ansi_codes(text));
        problem.text.push('\n');
        problem.times += 1;
    }

    /// All that failed.
    pub fn errors(&self) -> String {
        self.problems.iter().map(|(_, problem)| problem.text.as_str()).collect()
    }

    /// What is known to have failed in these packages for this target. cargo does not name the target of what a
    /// compiler prints, but a text may name its folder, and what was printed as often as the package failed holds for
    /// each.
    pub fn problems(&self, triple: &str, packages: &BTreeSet<String>) -> impl Iterator<Item = &str> {
        let failures = |package: &String| self.failed.values().filter(|failed| failed.contains(package)).count();
        let is_ours = move |problem: &&Problem| {
            problem.package.is_empty()
                || packages.contains(&problem.package)
                    && (problem.text.contains(triple) || problem.times >= failures(&problem.package))
        };
        self.problems.iter().map(|(_, problem)| problem).filter(is_ours).map(|problem| problem.text.as_str())
    }
}

/// The package that failed, by the head of a text of cargo's.
fn failing(head: &str) -> Option<&str> {
    let of = |start, end| head.strip_prefix(start)?.split_once(end).map(|(name, _)| name);
    of("error: could not compile `", '`')
        .or_else(|| of("error: failed to run custom build command for `", ' '))
        // What a build script prints with `cargo::error=`.
        .or_else(|| of("error: ", '@').filter(|name| !name.contains(' ')))
}

/// The name of a package, from its id: `…/NAME#VERSION` or `…#NAME@VERSION`.
fn package(id: &str) -> &str {
    let (url, rest) = id.rsplit_once('#').unwrap_or((id, ""));
    match rest.split_once('@') {
        Some((name, _)) => name,
        None => url.split('?').next().and_then(|url| url.rsplit('/').next()).unwrap_or_default(),
    }
}

/// What makes a diagnostic the same for another target, whose text may name other folders.
fn place(diagnostic: &Diagnostic) -> String {
    let spans =
        diagnostic.spans.iter().map(|span| format!("{}:{}:{}", span.file_name, span.line_start, span.column_start));
    // A linker's own words are in no place of the code.
    let notes =
        diagnostic.children.iter().flat_map(|note| note.message.lines().filter(|line| line.contains("error: ")));
    let words: Vec<String> = spans.chain(notes.map(String::from)).collect();
    format!("{} {}", diagnostic.message, words.join(" "))
}

/// The word of `   Compiling tool v0.3.0`, which ends at the twelfth column.
fn status(line: &str) -> Option<&str> {
    let (verb, rest) = (line.get(..12)?.trim_start(), line.get(12..)?);
    let is_verb = verb.starts_with(char::is_uppercase) && verb.chars().all(char::is_alphabetic);
    (is_verb && rest.starts_with(' ')).then_some(verb)
}

/// The word behind a flag in a command.
fn argument(command: &str, flag: &str) -> Option<String> {
    let mut words = command.split_whitespace();
    words.find(|word| *word == flag)?;
    words.next().map(String::from)
}

/// Leaves out what is pages long and useless to the reader: rustc's command lines (`--plan` and `-v` show what runs),
/// and what a build script prints for cargo.
fn without_commands(text: &str) -> String {
    const START: &str = "process didn't exit successfully: `";
    let Some((before, rest)) = text.split_once(START) else {
        return text.into();
    };
    let Some((command, after)) = rest.split_once("` (") else {
        return text.into();
    };
    let program = command.split_whitespace().find(|word| !word.contains('=')).unwrap_or(command);
    let rest = if program == command { "" } else { " …" };
    // What a build script prints for cargo.
    let after: Vec<&str> = after.split('\n').filter(|line| !line.starts_with("  cargo:")).collect();
    format!("{before}{START}{program}{rest}` ({}", after.join("\n"))
}

/// Where the static libraries may be that a build script has linked.
fn archives(script: &BuildScript) -> Vec<Utf8PathBuf> {
    let libraries = script.linked_libs.iter().filter(|library| library.as_str().starts_with("static"));
    let names: Vec<String> = libraries.map(|it| format!("lib{}.a", library_name(it.as_str()))).collect();
    let plain =
        |path: &str| ["native=", "all="].iter().find_map(|kind| path.strip_prefix(kind)).unwrap_or(path).to_owned();
    let folders = script.linked_paths.iter().map(|path| Utf8PathBuf::from(plain(path.as_str())));
    folders.flat_map(|folder| names.iter().map(move |name| folder.join(name))).collect()
}

/// The name in a library to link, such as `static:-bundle=c++`.
fn library_name(library: &str) -> &str {
    library.rsplit('=').next().unwrap_or(library)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = "error: could not compile `tool` (bin \"probe\") due to 1 previous error\n
Caused by:\n  process didn't exit successfully: `A=b /bin/rustc --crate-name probe --target TRIPLE -C x` (exit status: 1)";

    fn read(messages: &mut Messages, text: &str) -> Vec<String> {
        let mut events: Vec<Event> = text.lines().flat_map(|line| messages.push_line(line)).collect();
        events.extend(messages.end());
        events.into_iter().map(|event| format!("{event:?}")).collect()
    }

    fn diagnostic(level: &str, rendered: &str) -> String {
        format!(
            r#"{{"reason":"compiler-message","package_id":"p","target":{{"kind":["bin"],"name":"probe","src_path":"m","edition":"2024","doctest":false,"test":true}},"message":{{"message":"wrong","code":null,"level":"{level}","spans":[],"children":[],"rendered":"{rendered}"}}}}"#
        )
    }

    #[test]
    fn what_is_printed_for_each_target_is_shown_once() {
        let mut messages = Messages::default();
        let text = format!("{}\n{}", diagnostic("error", "in a folder"), diagnostic("error", "in another folder"));
        assert_eq!(read(&mut messages, &text), [r#"Error("in a folder")"#]);
        assert_eq!(messages.errors(), "in a folder\nin another folder\n");
    }

    #[test]
    fn summaries_are_not_shown_but_what_failed_is_known() {
        let mut messages = Messages::default();
        let text = format!("{FAILED}\nwarning: build failed, waiting for other jobs to finish...\n");
        assert_eq!(read(&mut messages, &text), [""; 0]);
        assert_eq!(messages.failed["TRIPLE"], ["tool".to_owned()].into());
    }

    #[test]
    fn a_compiler_that_was_killed_is_reported_without_its_command_line() {
        let text = FAILED.replace("exit status: 1", "signal: 9, SIGKILL: kill");
        let events = read(&mut Messages::default(), &text);
        assert!(events[0].contains("`/bin/rustc …` (signal: 9, SIGKILL: kill)"), "{events:?}");
    }

    #[test]
    fn lines_that_are_no_message_stay_together() {
        let events = read(
            &mut Messages::default(),
            "warning: odd\n\nCaused by:\n  this\nwarning: odd\n\nCaused by:\n  that\n{not json}",
        );
        assert_eq!(events, [r#"Warning("warning: odd\n\nCaused by:\n  this")"#, r#"Warning("{not json}")"#]);
    }

    #[test]
    fn a_build_script_that_fails_is_reported_without_its_instructions_to_cargo_and_its_package_is_known() {
        let mut messages = Messages::default();
        let events = read(
            &mut messages,
            "error: failed to run custom build command for `tool v0.3.0 (/tool)`\n\nCaused by:\n  process didn't exit \
             successfully: `/build-script-build` (exit status: 1)\n  --- stdout\n  cargo:rerun-if-changed=x\n  looking\n",
        );
        assert!(events[0].contains("`/build-script-build` (exit status: 1)\\n  --- stdout\\n  looking"), "{events:?}");
        read(&mut messages, "error: other@0.1.0: it wants a compass\nerror: build script logged errors");
        assert_eq!(messages.failed[""], ["other".to_owned(), "tool".to_owned()].into());
    }

    #[test]
    fn what_was_printed_for_one_of_two_targets_is_attributed_to_neither_unless_it_names_it() {
        let failed = |triple: &str| FAILED.replace("TRIPLE", triple);
        let mut messages = Messages::default();
        let mut read = |text: &str| drop(read(&mut messages, text));
        read(&diagnostic("error", "of one").replace("\"p\"", "\"path+file:///tool#0.3.0\""));
        read(
            &diagnostic("error", "in target/mips/x")
                .replace("wrong", "linking")
                .replace("\"p\"", "\"path+file:///t#tool@0.3.0\""),
        );
        for triple in ["mips", "s390x"] {
            read(
                &diagnostic("error", "of both")
                    .replace("wrong", "both")
                    .replace("\"p\"", "\"path+file:///tool#0.3.0\""),
            );
            read(&failed(triple));
        }
        read("error: odd");
        let of = |triple: &str| {
            messages.problems(triple, &messages.failed[triple]).map(str::trim).collect::<Vec<_>>().join(" | ")
        };
        assert!(of("mips").contains("in target/mips/x | of both\nof both"), "{}", of("mips"));
        assert!(of("s390x").starts_with("of both\nof both") && of("s390x").ends_with("error: odd"), "{}", of("s390x"));
    }

    #[test]
    fn static_libraries_are_looked_for_in_the_folders_that_are_searched() {
        let script = r#"{"reason":"build-script-executed","package_id":"path+file:///tool#0.3.0","linked_libs":["static=sum","z"],
            "linked_paths":["native=/out/a=b","/lib"],"cfgs":[],"env":[],"out_dir":"/out"}"#;
        let mut messages = Messages::default();
        read(&mut messages, &script.replace('\n', ""));
        let [Linked { package, archives, .. }] = &messages.linked[..] else { panic!("{:?}", messages.linked) };
        assert_eq!((package.as_str(), archives.len()), ("tool", 2));
        assert!(archives[0] == "/out/a=b/libsum.a" && archives[1] == "/lib/libsum.a", "{archives:?}");
    }

    #[test]
    fn a_package_is_known_from_its_id() {
        for (id, name) in [
            ("path+file:///src/tool#0.3.0", "tool"),
            ("path+file:///src/app#exectool@0.1.0", "exectool"),
            ("registry+https://github.com/rust-lang/crates.io-index#itoa@1.0.19", "itoa"),
            ("git+https://github.com/dtolnay/itoa?branch=master#1.0.19", "itoa"),
        ] {
            assert_eq!(package(id), name, "{id}");
        }
    }
}

//! What a user reads when BPF written in Rust cannot be compiled: one sentence for each fault, in Rust's words.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use bpfship_object::Endian;
use bpfship_object::faults::Faults;

/// How clang says that it calls a function for what it cannot make shorter. It says so whether the function is there or not.
const CALLS: &str = "A call to built-in function '";
const CALLED: &str = "' is not supported.";
const BUILT_IN: [&str; 6] = ["memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen"];

/// The errors among clang's messages, in sentences: none if all that it complains about are calls of functions that the module
/// has. Whether it has them, the object shows.
pub fn of(said: &str) -> Vec<String> {
    let mut errors: Vec<String> = Vec::new();
    let mut stacks: BTreeMap<String, String> = BTreeMap::new();
    for line in said.lines() {
        let Some((place, message)) = line.split_once("error: ") else { continue };
        if is_call(message) {
            continue;
        }
        let place = place.trim_end_matches([':', ' ']);
        match message.contains("stack limit") || line.contains("stack limit") {
            true => drop(stacks.entry(function(message)).or_insert_with(|| place.into())),
            false => errors.push(line.trim().into()),
        }
    }
    errors.extend(stacks.into_iter().map(|(function, place)| {
        let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
        let function = if function.is_empty() { String::new() } else { format!(" of `{function}`") };
        format!(
            "{place}the variables{function} take more than the 512 bytes that BPF has for all of them: keep large ones in a map, such as \
             a PerCpuArray, or write them to a ring buffer in place"
        )
    }));
    errors
}

fn is_call(message: &str) -> bool {
    let called = message.rsplit_once(CALLS).and_then(|(_, rest)| rest.trim_end().strip_suffix(CALLED));
    called.is_some_and(|name| BUILT_IN.contains(&name))
}

/// The function that a message of clang's is about: `in function NAME …`.
fn function(message: &str) -> String {
    let name = message.split_once("in function ").map(|(_, rest)| rest).unwrap_or_default();
    let name = name.split([' ', ':']).next().unwrap_or_default();
    shown(name)
}

/// What is wrong with an object that was compiled, and what the user may want to read.
pub fn of_object(object: &[u8], endian: Endian) -> Result<(Option<String>, String)> {
    let Faults { undefined, recursive, panics } = Faults::of(object, endian)?;
    let at = |place: &Option<String>| place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
    let undefined = undefined.iter().map(|(name, place)| match BUILT_IN.contains(&name.as_str()) {
        true => format!(
            "{}`{name}` is called for what is copied, set or compared there, and no crate of the program has it: aya-ebpf has the usual \
             ones, so depend on it (`use aya_ebpf as _;`)",
            at(place)
        ),
        false => format!(
            "{}`{}` is called, and no crate of the program has it: BPF has neither an allocator nor a libc, nor what `extern` names",
            at(place),
            shown(name)
        ),
    });
    let recursive = recursive.iter().map(|(name, place)| {
        format!(
            "{}`{}` ends up calling itself, which no kernel takes: have a loop with a bound",
            at(place),
            shown(name)
        )
    });
    let faults: BTreeSet<String> = undefined.chain(recursive).collect();
    let panics: Vec<String> = panics
        .iter()
        .map(|place| {
            format!(
                "{place}: warning: a panic stays in the program, and the kernel refuses a program that could reach it: use `get` in place \
                 of an index, and checked arithmetic"
            )
        })
        .collect();
    let faults: Vec<String> = faults.into_iter().collect();
    Ok(((!faults.is_empty()).then(|| faults.join("; ")), panics.join("\n")))
}

/// A complaint about an object in words that a source in Rust can heed.
pub fn in_words_of_rust(text: &str) -> String {
    text.replace(
        "it contains no program: add a function with SEC(\"…\")",
        "it contains no program: add a function with one of aya-ebpf's attributes, such as #[tracepoint]",
    )
}

/// The last word of a mangled name, which is the function's own: `report` of `_RNvCs1_6events6report`.
fn shown(name: &str) -> String {
    if !name.starts_with("_R") {
        return name.into();
    }
    // Identifiers come with their lengths before them.
    let mut words = Vec::new();
    let mut rest = name;
    while let Some(at) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let digits: String = rest[at..].chars().take_while(char::is_ascii_digit).collect();
        let after = &rest[at + digits.len()..];
        let length = digits.parse::<usize>().unwrap_or(0);
        let after = if length > 0 { after.strip_prefix('_').unwrap_or(after) } else { after };
        match after.get(..length).filter(|_| length > 1) {
            Some(word) => {
                words.push(word);
                rest = &after[length..];
            }
            None => rest = after,
        }
    }
    words.last().map_or_else(|| name.into(), |word| (*word).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_what_the_module_has_are_no_errors_and_all_else_is() {
        let call =
            "error: <unknown>:0:0: in function f i32 (ptr): A call to built-in function 'memset' is not supported.";
        assert_eq!(of(&format!("{call}\n{call}\n1 error generated.")), Vec::<String>::new());
        let other = "error: x: A call to built-in function '__divti3' is not supported.";
        assert_eq!(of(&format!("{call}\n{other}")), [other]);
        let odd = "error: unsupported signed division";
        assert_eq!(of(odd), [odd]);
    }

    #[test]
    fn too_large_a_stack_is_said_once_for_each_function() {
        let line = "error: workspace/src/main.rs:12:5: in function _RNvCs1_6events6report i32 (ptr): Looks like the BPF stack limit is exceeded.";
        let said = of(&format!("{line}\n{line}"));
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("the variables of `report` take more than the 512 bytes"), "{said:?}");
    }

    #[test]
    fn functions_are_called_as_their_sources_call_them() {
        for (name, function) in [
            ("memcpy", "memcpy"),
            ("_RNvCs3zgYNXJ6qOi_6events6report", "report"),
            ("_RNvNtNtC4core9panicking5panic", "panic"),
        ] {
            assert_eq!(shown(name), function);
        }
    }
}

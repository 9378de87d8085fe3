//! What a user reads when BPF written in Rust cannot be compiled: one sentence for each fault, in Rust's words.

use std::collections::BTreeMap;

use anyhow::Result;
use bpfship_object::Endian;
use bpfship_object::faults::{Faults, Site};

/// How clang says that it calls a function for what it cannot make shorter. It says so whether the function is there or not.
const CALLS: &str = "A call to built-in function '";
const BUILT_IN: [&str; 6] = ["memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen"];

/// What clang says of a function that BPF cannot have, and what is wrong with it. What comes first says more.
const CAUSES: [(&str, &str); 8] = [
    (
        "stack limit",
        "has variables of more than the 512 bytes that BPF has for all of them: keep large ones in a map, such as a PerCpuArray, or write \
         them to a ring buffer in place",
    ),
    (
        "unsupported signed division",
        "divides signed numbers, which BPF does from `cpu = \"v4\"` on: divide unsigned ones",
    ),
    ("ti3'", "multiplies, divides or shifts numbers of 128 bits, which BPF cannot: have some of 64 bits"),
    (
        "built-in function '__",
        "computes with floating-point numbers, which BPF does not have: have whole numbers, of thousandths for example",
    ),
    ("stack arguments", TOO_MANY),
    ("too many arg", TOO_MANY),
    (
        "returns",
        "returns or is returned more than two words, which BPF cannot: have the result written through a reference",
    ),
    ("variadic", "calls a function with any number of arguments, which BPF cannot"),
];
const TOO_MANY: &str = "has or calls a function with more than five words of arguments, for which BPF has no registers: pass a reference to a struct";

/// The errors among clang's messages, in sentences: none if all that it complains about are calls of functions that the module
/// has. Whether it has them, the object shows. `begins` says where functions begin.
pub fn of(said: &str, begins: impl FnOnce() -> BTreeMap<String, String>) -> Vec<String> {
    let mut causes: BTreeMap<String, (usize, Option<&str>)> = BTreeMap::new();
    let mut others = Vec::new();
    for line in said.lines() {
        let Some((_, message)) = line.split_once("error: ") else { continue };
        if is_call(message) {
            continue;
        }
        let parts = message.split_once(": in function ").and_then(|(place, rest)| Some((place, rest.split_once(' ')?)));
        let cause = CAUSES.iter().position(|(clue, _)| message.contains(clue));
        let (Some((place, (function, _))), Some(cause)) = (parts, cause) else {
            others.push(line.trim().to_owned());
            continue;
        };
        let place =
            Some(place.trim_end_matches([':', ' '])).filter(|place| !place.is_empty() && !place.starts_with('<'));
        let known = causes.entry(function.into()).or_insert((cause, place));
        if cause < known.0 {
            *known = (cause, place);
        }
        known.1 = known.1.or(place);
    }
    let begins = if causes.is_empty() { BTreeMap::new() } else { begins() };
    let file = |place: &str| place.split(':').next().unwrap_or_default().to_owned();
    let causes = causes.iter().map(|(function, (cause, place))| {
        // What is inlined from Rust's library has a line there.
        let begin = begins.get(function).map(|begin| from_workspace(begin));
        let place =
            place.filter(|place| begin.is_none_or(|begin| file(begin) == file(from_workspace(place)))).or(begin);
        let place = place.map(|place| format!("{}: ", from_workspace(place))).unwrap_or_default();
        format!("{place}`{}` {}", shown(function), CAUSES[*cause].1)
    });
    causes.chain(others).collect()
}

fn is_call(message: &str) -> bool {
    let name = message.split_once(CALLS).and_then(|(_, rest)| rest.split('\'').next());
    name.is_some_and(|name| BUILT_IN.contains(&name))
}

/// What is wrong with an object that was compiled, and what the user may want to read.
pub fn of_object(object: &[u8], endian: Endian) -> Result<(Option<String>, String)> {
    let Faults { undefined, recursive, by_pointer, panics } = Faults::of(object, endian)?;
    let undefined = undefined.iter().map(|(name, site)| match BUILT_IN.contains(&name.as_str()) {
        true => format!(
            "{}`{name}` is called for what is copied, set or compared there, and no crate of the program has it: aya-ebpf has the usual \
             ones, so depend on it (`use aya_ebpf as _;`)",
            at(site)
        ),
        false => format!(
            "{}`{}` is used, and no crate of the program has it: BPF has neither an allocator nor a libc, nor what `extern` names",
            at(site),
            shown(name)
        ),
    });
    let recursive = recursive.iter().map(|site| {
        let function = shown(&site.function);
        format!("{}`{function}` ends up calling itself, which no kernel takes: have a loop with a bound", at(site))
    });
    let by_pointer = by_pointer.iter().map(|site| {
        format!(
            "{}`{}` calls a function by a pointer, which no kernel takes: have a `match` or generics in place of `dyn` and `fn`",
            at(site),
            shown(&site.function)
        )
    });
    let panics = panics.iter().map(|site| {
        format!(
            "{}warning: a panic stays in `{}`, and kernels refuse a program that could reach it, or that ends with it: use `get` in place of \
             an index, and checked arithmetic",
            at(site),
            shown(&site.function)
        )
    });
    let faults: Vec<String> = undefined.chain(recursive).chain(by_pointer).collect();
    Ok(((!faults.is_empty()).then(|| faults.join("\n")), panics.collect::<Vec<_>>().join("\n")))
}

/// The place before a sentence about it.
fn at(site: &Site) -> String {
    site.place.as_ref().map(|place| format!("{}: ", from_workspace(place))).unwrap_or_default()
}

/// A path of debug information as the user knows it.
fn from_workspace(place: &str) -> &str {
    place.strip_prefix("workspace/").unwrap_or(place)
}

/// A complaint about an object in words that a source in Rust can heed.
pub fn in_words_of_rust(text: &str) -> String {
    let text = text.replace(
        "it contains no program: add a function with SEC(\"…\")",
        "it contains no program: add a function with one of aya-ebpf's attributes, such as #[tracepoint]",
    );
    text.replace(
        "put the letters themselves into the section `license`",
        "have a `static LICENSE: [u8; 4] = *b\"GPL\\0\"` in the section `license`",
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

    fn said(text: &str) -> Vec<String> {
        of(text, || [("f".to_owned(), "workspace/src/main.rs:3".to_owned())].into())
    }

    #[test]
    fn calls_of_what_the_module_has_are_no_errors_and_all_else_is() {
        let call =
            "error: <unknown>:0:0: in function f i32 (ptr): A call to built-in function 'memset' is not supported.";
        assert_eq!(said(&format!("{call}\n{call}\n1 error generated.")), Vec::<String>::new());
        let other = "error: x: A call to built-in function 'free' is not supported.";
        assert_eq!(said(&format!("{call}\n{other}")), [other]);
        let odd = "fatal error: error in backend: Cannot select";
        assert_eq!(said(odd), [odd]);
    }

    #[test]
    fn what_bpf_cannot_is_said_once_for_each_function_with_a_line() {
        let line = "error: workspace/src/main.rs:12:5: in function _RNvCs1_6events6report i32 (ptr)";
        let wide = [
            format!("{line}: only small returns supported"),
            format!("{line}: A call to built-in function '__udivti3' is not supported."),
        ];
        assert!(
            said(&wide.join("\n"))[0]
                .starts_with("src/main.rs:12:5: `report` multiplies, divides or shifts numbers of 128")
        );
        assert_eq!(said(&wide.join("\n")).len(), 1);
        for (message, words) in [
            (
                "Looks like the BPF stack limit is exceeded.",
                "src/main.rs:3: `f` has variables of more than the 512 bytes",
            ),
            (
                "A call to built-in function '__mulsf3' is not supported.",
                "src/main.rs:3: `f` computes with floating-point",
            ),
            (
                "unsupported signed division, please convert to unsigned div/mod.",
                "src/main.rs:3: `f` divides signed numbers",
            ),
            ("stack arguments are not supported", "src/main.rs:3: `f` has or calls a function with more than five"),
        ] {
            let all = said(&format!("error: <unknown>:0:0: in function f i32 (ptr): {message}"));
            assert!(all.len() == 1 && all[0].starts_with(words), "{all:?}");
        }
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

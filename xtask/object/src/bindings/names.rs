//! Rust's names for what has a name in C.

use std::collections::BTreeSet;

/// Words that cannot be a name, and those among them that cannot even be one with `r#` before them.
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "Self", "static", "struct", "super", "trait",
    "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];
const NEVER_RAW: [&str; 4] = ["crate", "self", "Self", "super"];

/// A name that is one in Rust, too.
pub fn identifier(name: &str) -> String {
    let plain = plain(name);
    if NEVER_RAW.contains(&plain.as_str()) || plain.chars().all(|letter| letter == '_') {
        format!("{plain}_")
    } else if KEYWORDS.contains(&plain.as_str()) {
        format!("r#{plain}")
    } else {
        plain
    }
}

/// The same, to put other words before or after it.
pub fn plain(name: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let mut plain: String = name.chars().map(letter).collect();
    if plain.starts_with(|first: char| first.is_ascii_digit()) || plain.is_empty() {
        plain.insert(0, '_');
    }
    plain
}

/// `exec_event header` becomes `ExecEventHeader`.
pub fn camel_case(words: &str) -> String {
    let mut name = String::new();
    for word in words.split(|letter: char| !letter.is_ascii_alphanumeric()) {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    match name.chars().next() {
        Some(first) if first.is_ascii_alphabetic() => identifier(&name),
        _ => format!("T{name}"),
    }
}

/// `MAP.value`, say, as one word after the other: the first of these that is free, or one with a number.
pub fn free(candidates: impl IntoIterator<Item = String>, taken: &mut BTreeSet<String>) -> String {
    let mut last = String::new();
    for candidate in candidates {
        if taken.insert(candidate.clone()) {
            return candidate;
        }
        last = candidate;
    }
    let numbered = (2_u32..).map(|number| format!("{last}_{number}")).find(|name| !taken.contains(name));
    let name = numbered.unwrap_or(last);
    taken.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_becomes_one_of_rust() {
        for (c, rust) in [
            ("pid", "pid"),
            ("type", "r#type"),
            ("gen", "r#gen"),
            ("self", "self_"),
            ("Self", "Self_"),
            ("_", "__"),
            ("a$b", "a_b"),
            ("prog.count", "prog_count"),
            ("0", "_0"),
            ("", "__"),
            ("größe", "gr__e"),
        ] {
            assert_eq!(identifier(c), rust, "{c}");
        }
        for (c, rust) in [
            ("event_header", "EventHeader"),
            ("__u128x", "U128x"),
            ("_1", "T1"),
            ("___", "T"),
            ("fooBar", "FooBar"),
            ("self", "Self_"),
            ("parent member", "ParentMember"),
        ] {
            assert_eq!(camel_case(c), rust, "{c}");
        }
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let mut taken = BTreeSet::new();
        let names = [(); 4].map(|()| free(["Event".into(), "event".into()], &mut taken));
        assert_eq!(names, ["Event", "event", "event_2", "event_3"]);
    }
}

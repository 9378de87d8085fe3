//! What a linker could not find, and who refers to it: from its messages.

use std::fmt;

/// What stands before the name of what is missing: an undefined symbol, or a library that was not found.
const STARTS: [&str; 2] = ["rust-lld: error: undefined symbol: ", "rust-lld: error: unable to find library -l"];

/// The start of the lines below that name who refers to it.
const REFERENCE: &str = ">>> ";

/// Symbols that are undefined, or libraries that were not found.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    first: String,
    /// The crate, or else archive or object, that refers to the first.
    user: Option<String>,
    more: usize,
}

impl Missing {
    /// Those whose messages contain this.
    pub fn find(output: &str, clue: &str) -> Option<Missing> {
        // A note holds it, indented or behind `= note:`. What one target lacks, another may lack as well.
        let name = |line: &str| STARTS.iter().find_map(|start| Some(line.split_once(start)?.1.to_owned()));
        let mut names: Vec<String> = output.lines().filter(|line| line.contains(clue)).filter_map(name).collect();
        let first = names.first()?.clone();
        names.sort_unstable();
        names.dedup();
        let below = output.lines().skip_while(|line| !line.contains(clue)).skip(1).map(str::trim_start);
        let references = below.map_while(|line| line.strip_prefix(REFERENCE));
        Some(Missing { first, user: user(references), more: names.len() - 1 })
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.first)?;
        if let Some(user) = &self.user {
            write!(f, ", used by {user}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// The first crate that asks for it, or else the first archive or object. A generic function of the standard library,
/// compiled for one of its users, has the standard library's name.
fn user<'a>(references: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut other = None;
    for reference in references {
        // `OBJECT:(FUNCTION)`, with ` in archive FILE` after it where there is one. Another line has the source line.
        let Some((object, rest)) = reference.split_once(":(") else { continue };
        let (function, archive) = match rest.rsplit_once(") in archive ") {
            Some((function, archive)) => (function, Some(archive)),
            None => (rest, None),
        };
        let found = match archive {
            Some(archive) => crate_of_archive(archive),
            None => crate_of_function(function),
        };
        match found {
            Some(name) => return Some(format!("crate `{name}`")),
            None => drop(other.get_or_insert_with(|| format!("`{}`", file_name(archive.unwrap_or(object))))),
        }
    }
    other
}

/// From `…/libNAME-HASH.rlib`, or from what the build script of a crate has made, `…/build/NAME-HASH/out/…`.
fn crate_of_archive(archive: &str) -> Option<&str> {
    let rlib = || file_name(archive).strip_prefix("lib")?.strip_suffix(".rlib");
    let script = || archive.split_once("/build/")?.1.split_once("/out/").map(|(folder, _)| folder);
    Some(rlib().or_else(script)?.rsplit_once('-')?.0)
}

/// From a path such as `krate::module::function`, or `<krate::Type as core::fmt::Display>::fmt`, which in rustc's older
/// mangling is `_$LT$krate..Type$u20$as…`.
fn crate_of_function(function: &str) -> Option<&str> {
    let path = function.trim_start_matches("_$LT$").trim_start_matches(['<', '&', '*']);
    let end = path.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
    let (name, rest) = path.split_at(end);
    let is_path = rest.starts_with("::") || rest.starts_with("..");
    (is_path && !["", "core", "std", "alloc"].contains(&name)).then_some(name)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a linker prints about a symbol that is used there.
    fn output(symbol: &str, references: &[&str]) -> String {
        let references = references.iter().map(|name| format!("          >>>               {name}\n"));
        format!(
            "error: linking with `rust-lld` failed: exit status: 1\n  |\n  = note: rust-lld: error: undefined symbol: \
             {symbol}\n          >>> referenced by probe.c75fd3fa5b9b2cac-cgu.0\n{}          \n",
            references.collect::<String>()
        )
    }

    #[track_caller]
    fn is_used_by(references: &[&str], user: &str) {
        let missing = Missing::find(&output("inflate", references), "undefined symbol").unwrap();
        assert_eq!(missing.to_string(), format!("`inflate`, used by {user}"), "{references:?}");
    }

    #[test]
    fn a_function_belongs_to_the_crate_that_its_path_begins_with() {
        for function in [
            "my_codec::run::h765fdbc2c918af78",
            "_$LT$my_codec..Codec$u20$as$u20$core..fmt..Display$GT$::fmt::ha81e3ab16e45e0ce",
            "<my_codec::Codec as core::fmt::Display>::fmt",
            "my_codec::gen_call::<probe::main::{closure#1}>",
        ] {
            is_used_by(&[&format!("/t/release/deps/probe-1.probe.2-cgu.0.rcgu.o:({function})")], "crate `my_codec`");
        }
    }

    #[test]
    fn an_object_in_an_archive_belongs_to_the_crate_that_brought_the_archive() {
        is_used_by(
            &["codec.o:(helper) in archive /t/release/deps/rustcbhYQzv/libmy_codec-d026ace3682a60fa.rlib"],
            "crate `my_codec`",
        );
        is_used_by(
            &["codec.o:(ns::f(int)) in archive /t/release/build/my-codec-91f046dea85d5fe1/out/libcodec.a"],
            "crate `my-codec`",
        );
        is_used_by(&["codec.o:(f) in archive /usr/lib/libcodec.a"], "`libcodec.a`");
    }

    #[test]
    fn a_generic_function_of_the_standard_library_is_laid_to_the_next_that_is_not() {
        let of_std = "/t/probe.rcgu.o:(core::iter::traits::iterator::Iterator::sum::h50aebf36f54d749a)";
        is_used_by(&[of_std, "/t/probe.rcgu.o:(probe::main::hec7efeefda24a0d3)"], "crate `probe`");
        is_used_by(&[of_std], "`probe.rcgu.o`");
        is_used_by(&["/t/probe.rcgu.o:(.data.rel.ro..Lanon+0x8)"], "`probe.rcgu.o`");
    }

    #[test]
    fn of_several_the_first_is_named_and_none_is_counted_twice() {
        let first = output("inflate", &["/t/probe.o:(one::f)"]);
        let twice = first.clone() + &output("__atomic_load_8", &["/t/probe.o:(two::f)"]) + &first;
        let missing = |clue| Missing::find(&twice, clue).unwrap().to_string();
        assert_eq!(missing("undefined symbol: "), "`inflate`, used by crate `one`, and 1 more");
        assert_eq!(missing("undefined symbol: __atomic_"), "`__atomic_load_8`, used by crate `two`");
    }

    #[test]
    fn who_links_a_library_the_linker_does_not_know() {
        let line = "rust-lld: error: unable to find library -lz\n";
        let missing = Missing::find(&format!("  = note: {line}          {line}"), "unable to find").unwrap();
        assert_eq!(missing.to_string(), "`z`");
    }
}

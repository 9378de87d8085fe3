//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::arch::{Arch, Std};

/// Ships a Rust eBPF application as one static binary for each architecture.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, propagate_version = true)]
pub struct Flags {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags of every verb.
#[derive(Debug, Args)]
pub struct Common {
    /// The Cargo.toml of the workspace to ship [default: found from the current folder upwards]
    #[arg(long, global = true, value_name = "PATH")]
    pub manifest_path: Option<PathBuf>,
    /// Never touch the network; say what is missing instead
    #[arg(long, global = true)]
    pub offline: bool,
    /// Show each command as it is started
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Bpf(Bpf),
    Dist(Dist),
}

/// Compile the BPF objects
///
/// Compiles every `*.bpf.c` in the BPF folder with the pinned clang, once for little-endian machines (bpfel) and once
/// for big-endian ones (bpfeb), strips what only a debugger reads, checks the result, and writes it to `objects/` in
/// that folder. `bpf.lock` beside it records what the objects were made from. Both belong into source control: with
/// them, a plain `cargo build` needs no clang.
#[derive(Debug, Args)]
pub struct Bpf {
    #[command(flatten)]
    pub show: Show,
}

/// Flags of verbs that can tell beforehand what they will do.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Show {
    /// Print what would be done, as a shell script in which this tool's own work is told in comments, and do nothing (but
    /// that cargo may download crates, to know them)
    #[arg(long)]
    pub plan: bool,
    /// Print the plan as JSON
    #[arg(long, requires = "plan")]
    pub json: bool,
}

/// Build, check and pack the binaries
///
/// Brings the BPF objects up to date, cross-compiles a static binary for each architecture, checks each one, and
/// writes to `dist/`: a tarball for each, its checksum, SHA256SUMS and dist-manifest.json. What is missing (a
/// standard library, the pinned clang) is fetched once and kept in $XTASK_CACHE [default: `xtask` in your cache
/// folder].
///
/// Set SOURCE_DATE_EPOCH (seconds since 1970) to give the files in the tarballs that date instead of the commit's.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask dist                              every configured architecture
  cargo xtask dist --arch arm64                 for a 64-bit Raspberry Pi
  cargo xtask dist --arch amd64 --arch s390x    two of them, in one build
  cargo xtask dist --merge parts/*              what other machines built, in one dist/")]
pub struct Dist {
    /// The architecture to build for, by Go's or Rust's name for it; may be repeated [default: all configured]
    #[arg(long = "arch", value_name = "ARCH", value_delimiter = ',', value_parser = str::parse::<&'static Arch>)]
    pub arches: Vec<&'static Arch>,
    /// Refuse BPF objects that do not match their sources, instead of compiling them again
    #[arg(long)]
    pub locked: bool,
    /// Take the standard library from rustup, or build it from source, for all architectures [default: as the
    /// architecture's row in the README says]
    #[arg(long, value_name = "FROM")]
    pub std: Option<Std>,
    /// Build nothing: join what other runs left in these folders, each with its dist-manifest.json, into one `dist/`,
    /// as if one run had built it all
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with_all = ["arches", "locked", "std", "plan"])]
    pub merge: Vec<PathBuf>,
    #[command(flatten)]
    pub show: Show,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, String> {
        Flags::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
    }

    #[test]
    fn an_architecture_may_be_named_in_several_ways_and_several_times() {
        let Verb::Dist(dist) =
            parse("xtask dist --arch arm64 --arch s390x-unknown-linux-musl --std source").unwrap().verb
        else {
            panic!("not dist");
        };
        assert_eq!(dist.arches.iter().map(|arch| arch.name).collect::<Vec<_>>(), ["arm64", "s390x"]);
        assert_eq!(dist.std, Some(Std::Source));
    }

    #[test]
    fn common_flags_go_before_or_after_the_verb() {
        for line in ["xtask --offline -v bpf", "xtask bpf --offline -v"] {
            let common = parse(line).unwrap().common;
            assert!(common.offline && common.verbose && common.manifest_path.is_none(), "{line}");
        }
    }

    #[test]
    fn what_is_merged_is_not_built() {
        let Verb::Dist(dist) = parse("xtask dist --merge a b --offline").unwrap().verb else { panic!("not dist") };
        assert_eq!(dist.merge, [PathBuf::from("a"), "b".into()]);
        for wrong in ["", " a --arch arm64", " a --locked", " a --std source", " a --plan", " a --plan --json"] {
            assert!(parse(&format!("xtask dist --merge{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_misspelt_architecture_is_refused() {
        assert!(parse("xtask dist --arch arm46").unwrap_err().contains("did you mean `arm64`?"));
    }
}

//! `boot-report.json`: what was booted, on which kernel, and what came of it. It stands beside the manifest, which contains
//! only what follows from the commit.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::arch::Arch;
use crate::sys::hash::Sha256;
use crate::ui::table::Align::{Left, Right};
use crate::ui::table::Table;

/// The report's name in dist/.
pub const REPORT: &str = "boot-report.json";

/// What [`Report::schema`] is now.
pub const SCHEMA: u32 = 3;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`SCHEMA`]. Whoever reads the report must refuse a number it does not know.
    pub schema: u32,
    pub boots: Vec<Boot>,
}

/// The binaries of one tarball on one kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Boot {
    pub arch: &'static Arch,
    /// The tarball.
    pub file: String,
    /// SHA-256 of the tarball.
    pub sha256: Sha256,
    /// SHA-256 of the binaries in it, by name.
    pub binaries: BTreeMap<String, Sha256>,
    pub kernel: Kernel,
    /// As QEMU prints it.
    pub qemu: String,
    /// QEMU's words for machine and processor.
    pub machine: String,
    pub cpu: String,
    /// What was run there.
    pub commands: Vec<String>,
    pub verdict: Verdict,
    /// From QEMU's start to the verdict.
    pub seconds: f64,
    /// RFC 3339, UTC.
    pub date: String,
}

impl Boot {
    /// The name of the tarball before that of its target.
    fn stem(&self) -> &str {
        self.file.strip_suffix(&format!("-{}.tar.gz", self.arch.triple)).unwrap_or(&self.file)
    }
}

/// What came of a boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "is", content = "why")]
pub enum Verdict {
    Pass,
    /// It passed, and the program named what it cannot do on this kernel.
    Gaps(Vec<String>),
    Fail(String),
}

impl Verdict {
    /// Whether it shows that the program works.
    pub fn is_pass(&self) -> bool {
        matches!(self, Verdict::Pass | Verdict::Gaps(_))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Its label, or the name of a file that the user gave.
    pub label: String,
    /// SHA-256 of the image.
    pub sha256: Sha256,
    /// What it is made from, as its entry in the cache records it: package, version, suite, hash and the like.
    pub source: Option<Value>,
    /// What it reported of itself, as far as it came to that: its release, bytes of its BTF as programs find it and of
    /// that which was hidden from them, state of its BPF JIT, bytes in a page.
    pub release: Option<String>,
    pub btf: Option<u64>,
    pub hidden_btf: Option<u64>,
    pub jit: Option<String>,
    pub page: Option<u64>,
}

impl Report {
    pub fn new() -> Report {
        Report { schema: SCHEMA, boots: Vec::new() }
    }

    /// None if this version does not understand it.
    pub fn parse(text: &str) -> Option<Report> {
        serde_json::from_str(text).ok().filter(|report: &Report| report.schema == SCHEMA)
    }

    pub fn to_json(&self) -> Result<String> {
        // By way of a value, whose keys are sorted.
        let value = serde_json::to_value(self).context("cannot write the report")?;
        Ok(format!("{value:#}\n"))
    }

    /// Adds what was booted now. Of the earlier boots, those stay whose archive is still there and that were not
    /// repeated.
    pub fn add(&mut self, new: Vec<Boot>, is_there: impl Fn(&Sha256) -> bool) {
        let same = |one: &Boot, other: &Boot| one.sha256 == other.sha256 && one.kernel.label == other.kernel.label;
        self.boots.retain(|boot| is_there(&boot.sha256) && !new.iter().any(|new| same(new, boot)));
        self.boots.extend(new);
        self.boots.sort_by(|one, other| {
            (&one.file, &one.sha256, &one.kernel.label).cmp(&(&other.file, &other.sha256, &other.kernel.label))
        });
    }
}

impl Default for Report {
    fn default() -> Self {
        Report::new()
    }
}

/// The table that a user reads, with the gaps below each boot: with the names of tarballs, and with those of
/// architectures, which are shorter, where these are enough.
pub fn tables(boots: &[Boot]) -> [Table; 2] {
    let several = boots.windows(2).any(|pair| pair[0].stem() != pair[1].stem());
    let short = |boot: &Boot| if several { format!("{} {}", boot.stem(), boot.arch) } else { boot.arch.to_string() };
    [table(boots, &|boot| boot.file.clone()), table(boots, &short)]
}

fn table(boots: &[Boot], name: &dyn Fn(&Boot) -> String) -> Table {
    let mut table = Table::new([Left, Left, Right, Right, Left, Left]);
    table.row(["artifact", "kernel", "seconds", "BTF", "JIT", "verdict"]);
    for boot in boots {
        let release = boot.kernel.release.as_deref().map(|release| format!(" ({release})")).unwrap_or_default();
        table.row([
            name(boot),
            format!("{}{release}", boot.kernel.label),
            format!("{:.1} s", boot.seconds),
            match &boot.kernel {
                Kernel { release: None, .. } => String::new(),
                Kernel { btf: Some(bytes), .. } => format!("{:.1} MB", *bytes as f64 / 1e6),
                Kernel { hidden_btf: Some(_), .. } => "hidden".into(),
                _ => "none".into(),
            },
            boot.kernel.jit.clone().unwrap_or_default(),
            match &boot.verdict {
                Verdict::Pass => "pass".into(),
                Verdict::Gaps(gaps) if gaps.len() == 1 => "pass with a gap".into(),
                Verdict::Gaps(gaps) => format!("pass with {} gaps", gaps.len()),
                Verdict::Fail(_) => "FAIL".into(),
            },
        ]);
        if let Verdict::Gaps(gaps) = &boot.verdict {
            gaps.iter().for_each(|gap| table.note(format!("  gap: {gap}")));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::hash;

    fn boot(archive: &str, label: &str, verdict: Verdict) -> Boot {
        Boot {
            arch: Arch::named("arm64"),
            file: "tool-1.0-t.tar.gz".into(),
            sha256: hash::bytes(archive.as_bytes()),
            binaries: [("tool".to_owned(), hash::bytes(b"2"))].into(),
            kernel: Kernel {
                label: label.into(),
                sha256: hash::bytes(b"3"),
                source: None,
                release: Some("6.12".into()),
                btf: Some(4_700_000),
                hidden_btf: None,
                jit: Some("on".into()),
                page: Some(4096),
            },
            qemu: "10.0".into(),
            machine: "virt".into(),
            cpu: "cortex-a53".into(),
            commands: vec!["tool --version".into()],
            verdict,
            seconds: 7.5,
            date: "2026-11-22T10:00:00Z".into(),
        }
    }

    #[test]
    fn a_report_is_read_as_it_was_written_and_no_other() {
        let mut report = Report::new();
        report.add(vec![boot("1", "k", Verdict::Pass), boot("1", "l", Verdict::Gaps(vec!["no uid".into()]))], |_| true);
        let json = report.to_json().unwrap();
        assert_eq!(Report::parse(&json), Some(report));
        assert_eq!(Report::parse(&json.replace("\"schema\": 3", "\"schema\": 2")), None);
        assert_eq!(Report::parse(""), None);
    }

    #[test]
    fn what_is_booted_again_is_replaced_and_what_is_gone_is_forgotten() {
        let fail = || Verdict::Fail("it hung".into());
        let mut report = Report::new();
        report.add(vec![boot("1", "k", fail()), boot("1", "l", Verdict::Pass), boot("0", "k", fail())], |_| true);
        report.add(vec![boot("1", "k", Verdict::Pass)], |sha256| *sha256 == hash::bytes(b"1"));
        assert_eq!(report.boots, [boot("1", "k", Verdict::Pass), boot("1", "l", Verdict::Pass)]);
    }

    #[test]
    fn the_table_has_every_verdict() {
        let mut hung = boot("1", "l", Verdict::Fail("it hung".into()));
        hung.kernel = Kernel { release: None, btf: None, jit: None, ..hung.kernel };
        let [wide, _] = tables(&[boot("1", "k", Verdict::Pass), hung.clone()]);
        assert_eq!(
            wide.lines(),
            [
                "artifact           kernel    seconds     BTF  JIT  verdict",
                "tool-1.0-t.tar.gz  k (6.12)    7.5 s  4.7 MB  on   pass",
                "tool-1.0-t.tar.gz  l           7.5 s               FAIL",
            ]
        );
        assert_eq!(tables(&[hung])[1].lines()[1], "arm64     l         7.5 s            FAIL");
    }

    #[test]
    fn the_table_names_the_gaps_of_each_boot_below_it() {
        let gaps = |gaps: &[&str]| Verdict::Gaps(gaps.iter().map(|gap| (*gap).into()).collect());
        let long = "x".repeat(100);
        let mut hidden = boot("1", "l", gaps(&["the uid", &long]));
        hidden.kernel = Kernel { btf: None, hidden_btf: Some(4_700_000), ..hidden.kernel };
        let mut none = boot("1", "m", gaps(&["the uid"]));
        none.kernel.btf = None;
        let expected = [
            "artifact           kernel    seconds     BTF  JIT  verdict",
            "tool-1.0-t.tar.gz  k (6.12)    7.5 s  4.7 MB  on   pass",
            "tool-1.0-t.tar.gz  l (6.12)    7.5 s  hidden  on   pass with 2 gaps",
            "  gap: the uid",
            &format!("  gap: {long}"),
            "tool-1.0-t.tar.gz  m (6.12)    7.5 s    none  on   pass with a gap",
            "  gap: the uid",
        ];
        assert_eq!(tables(&[boot("1", "k", Verdict::Pass), hidden, none])[0].lines(), expected);
    }
}

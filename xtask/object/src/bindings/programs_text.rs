//! Programs as Rust: their names and sections, and how they are attached.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;

use super::aya::{self, Attach};
use super::model::Model;
use super::names::{free, identifier};

pub fn write(text: &mut String, model: &Model) -> Result<()> {
    writeln!(text, "\n/// The programs, each with its name and a typed handle.\npub mod programs {{")?;
    let mut taken = BTreeSet::new();
    for (index, program) in model.programs.iter().enumerate() {
        text.push_str(if index > 0 { "\n" } else { "" });
        let name = free([identifier(&program.name)], &mut taken);
        writeln!(text, "    /// The program `{}`, in section `{}`", program.name, program.section)?;
        writeln!(text, "    pub mod {name} {{")?;
        writeln!(text, "        pub const NAME: &str = {:?};", program.name)?;
        writeln!(text, "        pub const SECTION: &str = {:?};", program.section)?;
        if let Some(found) = aya::program(&program.section) {
            handle(text, &found)?;
        }
        writeln!(text, "    }}")?;
    }
    writeln!(text, "}}")?;
    Ok(())
}

fn handle(text: &mut String, found: &aya::Program) -> Result<()> {
    let aya::Program { name, module, attach } = found;
    let attach = match attach {
        Attach::Unknown => String::new(),
        Attach::Call(arguments) => format!(", {module}::{name}LinkId, attach({arguments})"),
        Attach::Btf(to) => format!(", {module}::{name}LinkId, load({to:?})"),
    };
    writeln!(text, "        ::bpfship_embed::program!({name}{attach});")?;
    Ok(())
}

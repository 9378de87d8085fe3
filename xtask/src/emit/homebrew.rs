//! A formula for Homebrew on Linux, which installs what was released.

use anyhow::Result;

use crate::arch::Arch;
use crate::emit::Packaged;
use crate::emit::plan::File;
use crate::package::contents::Role;
use crate::ui::error::bad_request;

/// Homebrew's words for the processors that it knows.
const PROCESSORS: [(&str, &str); 2] = [("arm64", "arm"), ("amd64", "intel")];

/// The formula.
pub fn file(it: &Packaged) -> Result<File> {
    let Packaged { name, about, version, .. } = it;
    let Some(homepage) = about.website() else {
        bad_request!("a formula names a homepage: set `homepage` or `repository` in the Cargo.toml of what is shipped");
    };
    let mut archives = Vec::new();
    for (arch, processor) in PROCESSORS {
        if let Some(artifact) = it.artifacts.iter().find(|artifact| artifact.arch == Arch::named(arch)) {
            let url = string(&it.url(&artifact.file));
            archives.push(format!("  on_{processor} do\n    url {url}\n    sha256 \"{}\"\n  end\n", artifact.sha256));
        }
    }
    if archives.is_empty() {
        bad_request!(
            "Homebrew knows no machine that there is an archive for: run `cargo xtask dist --arch amd64,arm64`"
        );
    }
    let mut installs: Vec<String> = it.bins.iter().map(|bin| format!("    bin.install {}\n", string(bin))).collect();
    for (path, role) in it.roles() {
        let quoted = string(path);
        installs.extend(match role {
            Role::Manual(section) => Some(format!("    man{section}.install {quoted}\n")),
            Role::Bash(bin) => Some(format!("    bash_completion.install {quoted} => {}\n", string(bin))),
            Role::Fish => Some(format!("    fish_completion.install {quoted}\n")),
            Role::Zsh => Some(format!("    zsh_completion.install {quoted}\n")),
            Role::Program | Role::License | Role::Other => None,
        });
    }
    let text = format!(
        "class {} < Formula\n  desc {}\n  homepage {}\n  version {}\n{}\n  depends_on :linux\n\n{}\n  def install\n{}  end\n\n  \
         test do\n    system bin/{}, \"--version\"\n  end\nend\n",
        class(name),
        string(&about.description),
        string(homepage),
        string(version),
        about.license.as_deref().map(license).unwrap_or_default(),
        archives.join("\n"),
        installs.concat(),
        string(it.bins[0]),
    );
    Ok(File::text(format!("{name}.rb"), text))
}

/// The name of a formula's class: `my-tool` is `MyTool`.
fn class(name: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).map(capital).collect()
}

/// A string as Ruby reads it.
fn string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('#', "\\#"))
}

/// An expression of SPDX, as far as Homebrew can say it.
fn license(expression: &str) -> String {
    let expression = expression.replace('/', " OR ");
    let of = |between: &str| expression.split(between).map(|word| string(word.trim())).collect::<Vec<_>>().join(", ");
    let words = match (expression.contains(" OR "), expression.contains(" AND ")) {
        _ if expression.contains(['(', ')']) || expression.contains(" WITH ") => ":cannot_represent".to_owned(),
        (true, true) => ":cannot_represent".to_owned(),
        (true, false) => format!("any_of: [{}]", of(" OR ")),
        (false, true) => format!("all_of: [{}]", of(" AND ")),
        (false, false) => string(&expression),
    };
    format!("  license {words}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_ruby_and_homebrew() {
        assert_eq!(class("my-tool_2"), "MyTool2");
        assert_eq!(string("a \"b\" #{c} \\"), "\"a \\\"b\\\" \\#{c} \\\\\"");
        assert_eq!(license("MIT/Apache-2.0"), "  license any_of: [\"MIT\", \"Apache-2.0\"]\n");
        assert_eq!(license("MIT AND Zlib"), "  license all_of: [\"MIT\", \"Zlib\"]\n");
        assert_eq!(license("GPL-2.0-only"), "  license \"GPL-2.0-only\"\n");
        assert_eq!(license("(MIT OR Zlib) AND BSD-2-Clause"), "  license :cannot_represent\n");
    }
}

//! Additions to files that people wrote: everything that is there stays as it is, comments included.

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

/// Adds members to the `[workspace]` of a Cargo.toml; adds that table if there is none.
pub fn add_members(manifest: &str, members: &[&str]) -> Result<String> {
    let quoted: Vec<String> = members.iter().map(|member| format!("{member:?}")).collect();
    let line = format!("members = [{}]", quoted.join(", "));
    let edited = match (header(manifest, "workspace"), key(manifest, "workspace", "members")) {
        (None, _) => append(manifest, &format!("[workspace]\n{line}\n")),
        (Some(end), None) => insert(manifest, end, &format!("{line}\n")),
        (Some(_), Some(start)) => {
            let bracket = manifest[start..].find('[').map(|at| start + at + 1);
            let bracket = bracket.context("`members` in [workspace] is not an array")?;
            let rest = &manifest[bracket..];
            match rest.trim_start_matches([' ', '\t']).starts_with(['\n', '\r']) {
                // One member a line, indented as the first one is.
                true => {
                    let next = rest.trim_start_matches(['\r', '\n', ' ', '\t']);
                    let indent = &rest[..rest.len() - next.len()];
                    let added: String = quoted.iter().map(|member| format!("{indent}{member},")).collect();
                    insert(manifest, bracket, &added)
                }
                false if rest.trim_start().starts_with(']') => insert(manifest, bracket, &quoted.join(", ")),
                false => insert(manifest, bracket, &format!("{}, ", quoted.join(", "))),
            }
        }
    };
    let table: Table = edited.parse().context("members cannot be added to [workspace]")?;
    let listed = table.get("workspace").and_then(|workspace| workspace.get("members")).and_then(Value::as_array);
    let is_member =
        |member: &&str| listed.is_some_and(|listed| listed.iter().any(|known| known.as_str() == Some(member)));
    if !members.iter().all(is_member) {
        bail!("members cannot be added to [workspace]");
    }
    Ok(edited)
}

/// Adds `key = value` to a table, which is added where there is none.
pub fn add_key(text: &str, table: &str, key: &str, value: &str) -> Result<String> {
    let line = format!("{key} = {value}\n");
    let edited = match header(text, table) {
        Some(end) => insert(text, end, &line),
        None => append(text, &format!("[{table}]\n{line}")),
    };
    edited.parse::<Table>().with_context(|| format!("`{key}` cannot be added to [{table}]"))?;
    Ok(edited)
}

/// Adds a block at the end, behind an empty line.
pub fn append(text: &str, block: &str) -> String {
    match text.trim_end() {
        "" => block.to_owned(),
        kept => format!("{kept}\n\n{block}"),
    }
}

fn insert(text: &str, at: usize, added: &str) -> String {
    format!("{}{added}{}", &text[..at], &text[at..])
}

/// Where the line after the header of a table begins.
fn header(text: &str, table: &str) -> Option<usize> {
    let (start, line) = lines(text).find(|(_, line)| name(line) == Some(table))?;
    Some(start + line.len())
}

/// Where the line of a key in a table begins.
fn key(text: &str, table: &str, key: &str) -> Option<usize> {
    let mut current = None;
    lines(text).find_map(|(start, line)| {
        current = name(line).or(current);
        let is_key = line.split_once('=').is_some_and(|(found, _)| found.trim() == key);
        (current == Some(table) && is_key).then_some(start)
    })
}

/// The lines of a text with the place where each begins.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |start, line| {
        let begin = *start;
        *start += line.len();
        Some((begin, line))
    })
}

/// The name in a table's header.
fn name(line: &str) -> Option<&str> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let name = line.strip_prefix('[')?.strip_suffix(']')?;
    (!name.starts_with('[')).then_some(name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_added_in_the_manner_of_those_that_are_there() {
        let cases = [
            ("[workspace]\nmembers = [\"app\"]\n", "[workspace]\nmembers = [\"xtask\", \"bpf\", \"app\"]\n"),
            ("[workspace]\nmembers = []\n", "[workspace]\nmembers = [\"xtask\", \"bpf\"]\n"),
            (
                "[workspace] # all\nresolver = \"3\"\n",
                "[workspace] # all\nmembers = [\"xtask\", \"bpf\"]\nresolver = \"3\"\n",
            ),
            (
                "[workspace]\nmembers = [\n    # The application.\n    \"app\",\n]\n",
                "[workspace]\nmembers = [\n    \"xtask\",\n    \"bpf\",\n    # The application.\n    \"app\",\n]\n",
            ),
            ("[package]\nname = \"a\"\n", "[package]\nname = \"a\"\n\n[workspace]\nmembers = [\"xtask\", \"bpf\"]\n"),
        ];
        for (before, after) in cases {
            assert_eq!(add_members(before, &["xtask", "bpf"]).unwrap(), after);
        }
    }

    #[test]
    fn what_cannot_be_edited_is_refused() {
        assert!(add_members("workspace = { members = [] }\n", &["xtask"]).is_err());
        assert!(add_members("[workspace]\nmembers = \"app\"\n", &["xtask"]).is_err());
        assert!(add_key("alias = { b = \"build\" }\n", "alias", "xtask", "\"run\"").is_err());
    }

    #[test]
    fn a_key_goes_into_its_table() {
        assert_eq!(add_key("", "alias", "xtask", "1").unwrap(), "[alias]\nxtask = 1\n");
        let before = "[build]\njobs = 1\n[alias]\nb = \"build\"\n";
        let after = "[build]\njobs = 1\n[alias]\nxtask = 1\nb = \"build\"\n";
        assert_eq!(add_key(before, "alias", "xtask", "1").unwrap(), after);
    }
}

//! What git is asked, and what it answers. Its settings have a say in what it ignores, and in nothing else.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::id::{Format, Id};
use super::names;
use crate::sys::command::Command;
use crate::sys::process::{self, Runner};
use crate::sys::stat::Kind;
use crate::ui::error::bad_request;

/// The variables by which git finds the user's settings.
const SETTINGS: [&str; 4] = ["HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"];

/// The mode of a submodule.
const MODULE: &str = "160000";

/// A repository with a work tree.
#[derive(Debug, Clone)]
pub struct Repository {
    runner: Runner,
    /// The top of the work tree.
    pub folder: PathBuf,
    /// [`SETTINGS`] as far as they are set.
    settings: BTreeMap<String, String>,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// In full.
    pub id: String,
    /// When it was made, in seconds since 1970.
    pub date: i64,
}

/// What a commit says of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub path: String,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    File(Kind, Id),
    /// A submodule, at this commit.
    Module(String),
}

/// What git says of one path of the work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<'a> {
    pub path: &'a str,
    /// What the index says; `None` for an untracked file, whose path ends with `/` if it is a repository.
    pub index: Option<Index<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Index<'a> {
    mode: &'a str,
    id: &'a str,
    pub hidden: Option<Hidden>,
}

impl Index<'_> {
    pub fn is_module(&self) -> bool {
        self.mode == MODULE
    }

    /// `None` for a submodule.
    pub fn file(&self) -> Option<(Kind, Id)> {
        Some((kind(self.mode)?, Id::parse(self.id)?))
    }
}

/// A flag of the index that keeps `git status` from looking at a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    AssumeUnchanged,
    SkipWorktree,
}

/// Why git ignores a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// The file that says so, and its line.
    pub file: String,
    pub line: u32,
    pub pattern: String,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is ignored by git ({}:{}), so no clone has it", self.file, self.line)
    }
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hidden::AssumeUnchanged => "assume-unchanged",
            Hidden::SkipWorktree => "skip-worktree",
        })
    }
}

/// The variables of this process's environment by which git finds the user's settings.
pub fn settings() -> BTreeMap<String, String> {
    SETTINGS.iter().filter_map(|name| Some(((*name).into(), env::var(name).ok()?))).collect()
}

/// The top of the work tree that a folder is in.
pub fn top(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok())
}

impl Repository {
    /// The repository whose work tree a folder is in, if there is one.
    pub fn around(runner: Runner, folder: &Path, settings: &BTreeMap<String, String>) -> Option<Repository> {
        let top = top(folder)?;
        Some(Repository { runner, folder: top.into(), settings: settings.clone() })
    }

    /// The one at a folder in the work tree of this one.
    pub fn inner(&self, path: &str) -> Option<Repository> {
        let folder = names::path(&self.folder, path);
        let is_one = folder.join(".git").symlink_metadata().is_ok();
        is_one.then(|| Repository { runner: self.runner, folder, settings: self.settings.clone() })
    }

    /// A command that no setting has a say in.
    fn deaf(&self, args: &[&str]) -> Command {
        self.command(
            args,
            &[("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_ATTR_NOSYSTEM", "1")],
        )
    }

    /// A command that the user's settings have a say in, but no variable for one repository or one run of git.
    fn of_user(&self, args: &[&str]) -> Command {
        let settings: Vec<(&str, &str)> =
            self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.command(args, &settings)
    }

    fn command(&self, args: &[&str], environment: &[(&str, &str)]) -> Command {
        let above = self.folder.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
        let mut variables = BTreeMap::from([
            // If what is called `.git` here is no repository, no other shall be taken for it.
            ("GIT_CEILING_DIRECTORIES".to_owned(), above),
            ("GIT_NO_LAZY_FETCH".into(), "1".into()),
            ("GIT_NO_REPLACE_OBJECTS".into(), "1".into()),
            ("GIT_OPTIONAL_LOCKS".into(), "0".into()),
            // In English, for `remedies.rs`.
            ("LC_ALL".into(), "C".into()),
        ]);
        variables.extend(env::var("PATH").map(|path| ("PATH".to_owned(), path)));
        variables.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        // Whose repository it is does not matter: cargo has run code of this workspace already.
        let deaf = ["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"];
        Command::new("git", &self.folder).args(deaf).args(args.iter().copied()).only(variables)
    }

    fn ask(&self, command: &Command) -> Result<Vec<u8>> {
        let output = self.runner.output(command)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(process::failed(command, output.status, said));
        }
        Ok(output.stdout)
    }

    /// Refuses a repository whose settings say that its work tree is another folder, or that it has none.
    pub fn check_place(&self) -> Result<()> {
        let command = self.deaf(&["rev-parse", "--is-inside-work-tree", "--show-prefix"]);
        let printed = self.ask(&command).with_context(|| format!("cannot ask git about {}", self.folder.display()))?;
        if printed != b"true\n\n" {
            bad_request!(
                "the repository {0}/.git does not take {0} for its work tree: git config --unset core.worktree, or core.bare",
                self.folder.display()
            );
        }
        Ok(())
    }

    /// A commit by one of its names; `None` if there is none of that name.
    pub fn commit(&self, name: &str) -> Result<Option<Commit>> {
        let mut found = None;
        let name = format!("{name}^{{commit}}\n");
        self.objects(&name, |_, id, size, reader| {
            let mut text = Vec::new();
            reader.take(size).read_to_end(&mut text)?;
            let date = committed(&text).with_context(|| format!("git shows no date for commit {id}"))?;
            found = Some(Commit { id: id.into(), date });
            Ok(())
        })
        .context("cannot ask git about the commit")?;
        Ok(found)
    }

    /// What a commit holds, in the order of the paths.
    pub fn tree(&self, commit: &str) -> Result<Vec<Recorded>> {
        let printed = self
            .ask(&self.deaf(&["ls-tree", "-r", "-z", "--full-tree", commit]))
            .with_context(|| format!("cannot ask git what commit {commit} holds"))?;
        let text = names::text(&printed);
        let mut tree = Vec::new();
        for line in terminated(&text) {
            let (head, path) = line.split_once('\t').unwrap_or_default();
            let what = head.split_once(' ').and_then(|(mode, rest)| match (mode, rest.split_once(' ')?) {
                (MODULE, (_, id)) => Some(What::Module(id.into())),
                (mode, (_, id)) => Some(What::File(kind(mode)?, Id::parse(id)?)),
            });
            let what = what.with_context(|| format!("git printed `{line}`, which is not understood"))?;
            check_path(path).with_context(|| format!("commit {commit} in {}", self.folder.display()))?;
            tree.push(Recorded { path: path.into(), what });
        }
        // git has them in the order of their bytes.
        if !tree.is_sorted_by(|a, b| a.path < b.path) {
            tree.sort_by(|a, b| a.path.cmp(&b.path));
        }
        Ok(tree)
    }

    /// What [`Repository::listed`] takes apart: the files of the index, and those that git neither knows nor ignores.
    /// `left_out` are folders of ours, by their paths, in which nothing is looked for.
    pub fn list(&self, left_out: &[String]) -> Result<Vec<u8>> {
        let excludes: Vec<String> =
            left_out.iter().map(|folder| format!("--exclude=/{}/", literally(folder))).collect();
        let mut args = vec!["ls-files", "-z", "-s", "-v", "--cached", "--others", "--exclude-standard"];
        args.extend(excludes.iter().map(String::as_str));
        self.ask(&self.of_user(&args)).context("cannot ask git which files there are")
    }

    /// In the order of the paths, each once. `printed` is what [`Repository::list`] gives, as text.
    pub fn listed(printed: &str) -> Result<Vec<Listed<'_>>> {
        let mut files = Vec::new();
        for line in terminated(printed) {
            files.push(listed(line).with_context(|| format!("git printed `{line}`, which is not understood"))?);
        }
        files.sort_by(|a, b| a.path.cmp(b.path));
        // A file that is not merged stands there up to three times.
        files.dedup_by(|a, b| a.path == b.path);
        Ok(files)
    }

    /// What the bytes of these files would be called if they were committed, for which git's settings and attributes may
    /// change them. Fails if a filter does.
    pub fn filtered(&self, paths: &[&str]) -> Result<Vec<Id>> {
        let command = self.of_user(&["hash-object", "--stdin-paths"]);
        let mut input = Vec::new();
        for path in paths {
            input.extend_from_slice(&names::bytes(&quoted(path)));
            input.push(b'\n');
        }
        let mut printed = String::new();
        self.runner.pipe(&command, &input, |output| Ok(output.read_to_string(&mut printed)?))?;
        let ids: Option<Vec<Id>> = printed.lines().map(Id::parse).collect();
        match ids {
            Some(ids) if ids.len() == paths.len() => Ok(ids),
            _ => bail!("git hashed other files than it was asked to"),
        }
    }

    /// Whether a setting that is on by default is on: `core.fileMode` if modes in the work tree mean anything, and
    /// `core.symlinks` if it may hold links.
    pub fn is_on(&self, setting: &str) -> Result<bool> {
        let command = self.of_user(&["config", "--type=bool", "--default=true", setting]);
        Ok(self.ask(&command).with_context(|| format!("cannot ask git about {setting}"))? != b"false\n")
    }

    /// How it names its objects.
    pub fn format(&self) -> Result<Format> {
        let command = self.deaf(&["rev-parse", "--show-object-format"]);
        Ok(match self.ask(&command).context("cannot ask git how it names objects")?.as_slice() {
            b"sha1\n" => Format::Sha1,
            b"sha256\n" => Format::Sha256,
            other => bail!("git names objects by {}, which is not known here", other.escape_ascii()),
        })
    }

    /// Where what all work trees of the repository share lies.
    pub fn shared(&self) -> Result<PathBuf> {
        let printed = self.ask(&self.deaf(&["rev-parse", "--git-common-dir"])).context("cannot ask git where it is")?;
        Ok(names::path(&self.folder, names::text(&printed).trim_end_matches('\n')))
    }

    /// Why git ignores a path in this work tree, if it does.
    pub fn ignored(&self, path: &str) -> Result<Option<Ignored>> {
        // A colon at the beginning would be magic.
        let path = format!("./{path}");
        let args = ["-c", "core.quotePath=false", "check-ignore", "--verbose", "--no-index", "--", &path];
        let command = self.of_user(&args);
        let output = self.runner.output(&command)?;
        if !matches!(output.status.code(), Some(0 | 1)) {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(process::failed(&command, output.status, said)).context("cannot ask git what it ignores");
        }
        Ok(ignored(&names::text(&output.stdout)))
    }

    /// The files and folders in this work tree that a pattern has git ignore.
    pub fn all_ignored(&self) -> Result<Vec<String>> {
        let args = ["status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignored=matching"];
        let printed = self.ask(&self.of_user(&args)).context("cannot ask git what it ignores")?;
        Ok(terminated(&names::text(&printed)).filter_map(|line| line.strip_prefix("!! ")).map(String::from).collect())
    }

    /// The files in this work tree that are not what is committed, ignored ones included.
    pub fn changed(&self) -> Result<Vec<String>> {
        let args = ["status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignored=matching"];
        let printed = self.ask(&self.deaf(&args)).context("cannot ask git what has changed")?;
        Ok(terminated(&names::text(&printed)).filter_map(|line| line.get(3..)).map(String::from).collect())
    }

    /// Objects by their names, one a line. `each` is given the number of the line, id and size of the object, and its
    /// bytes, all of which it must read. One that is missing is passed over.
    pub fn objects(
        &self,
        names: &str,
        mut each: impl FnMut(usize, &str, u64, &mut dyn BufRead) -> Result<()>,
    ) -> Result<()> {
        let command = self.deaf(&["cat-file", "--batch"]);
        self.runner.pipe(&command, names.as_bytes(), |output| {
            let mut reader = BufReader::with_capacity(256 * 1024, output);
            let mut line = Vec::new();
            let mut number = 0;
            loop {
                line.clear();
                // Longer than any answer but one that repeats a name.
                if (&mut reader).take(4096).read_until(b'\n', &mut line)? == 0 {
                    return Ok(());
                }
                let answer = String::from_utf8_lossy(&line);
                let mut words = answer.trim_end_matches('\n').split(' ');
                if let (Some(id), Some(_), Some(size), None) = (words.next(), words.next(), words.next(), words.next())
                {
                    let size =
                        size.parse().with_context(|| format!("git printed `{answer}`, which is not understood"))?;
                    each(number, id, size, &mut reader)?;
                    let mut end = [0];
                    reader.read_exact(&mut end).context("git ended in the middle of an object")?;
                } else if !answer.ends_with(" missing\n") {
                    bail!("git printed `{}`, which is not understood", answer.trim_end());
                }
                number += 1;
            }
        })
    }
}

/// The parts of a text that each end with NUL.
fn terminated(text: &str) -> impl Iterator<Item = &str> {
    let mut at = 0;
    memchr::memchr_iter(0, text.as_bytes()).map(move |end| {
        let part = &text[at..end];
        at = end + 1;
        part
    })
}

/// A line of `git ls-files -s -v --others`.
fn listed(line: &str) -> Option<Listed<'_>> {
    let (tag, rest) = line.split_at_checked(2)?;
    if tag == "? " {
        return Some(Listed { path: rest, index: None });
    }
    let (head, path) = rest.split_once('\t')?;
    let mode = head.get(..6)?;
    let (id, _stage) = head.get(7..)?.split_once(' ')?;
    let hidden = match tag.as_bytes()[0] {
        b'S' | b's' => Some(Hidden::SkipWorktree),
        tag if tag.is_ascii_lowercase() => Some(Hidden::AssumeUnchanged),
        _ => None,
    };
    Some(Listed { path, index: Some(Index { mode, id, hidden }) })
}

/// Of a mode as git prints it. Trees of git's first years hold others than 100644 and 100755.
fn kind(mode: &str) -> Option<Kind> {
    match mode {
        "100644" => Some(Kind::Regular),
        "120000" => Some(Kind::Link),
        _ => {
            let permissions = u32::from_str_radix(mode.strip_prefix("100")?, 8).ok()?;
            Some(if permissions & 0o100 != 0 { Kind::Executable } else { Kind::Regular })
        }
    }
}

/// What `git check-ignore --verbose` printed.
fn ignored(printed: &str) -> Option<Ignored> {
    let (said, _path) = printed.rsplit_once('\t')?;
    let (at, line) = said.match_indices(':').find_map(|(at, _)| {
        let (line, _) = said[at + 1..].split_once(':')?;
        Some((at, line)).filter(|(_, line)| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()))
    })?;
    let pattern = &said[at + line.len() + 2..];
    // The last pattern that matches may be one that keeps the path.
    let is_ignored = !pattern.starts_with('!');
    is_ignored.then_some(Ignored { file: said[..at].into(), line: line.parse().ok()?, pattern: pattern.into() })
}

/// The date in the text of a commit.
fn committed(text: &[u8]) -> Option<i64> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"committer "))?;
    let mut words = line.rsplit(|byte| *byte == b' ');
    let (_zone, seconds) = (words.next()?, words.next()?);
    str::from_utf8(seconds).ok()?.parse().ok()
}

/// A tree that was made by hand may hold any path.
fn check_path(path: &str) -> Result<()> {
    // What `is_bad` finds begins with a dot or is empty, and most paths hold no such part.
    let has = |pair: &[u8]| memchr::memmem::find(path.as_bytes(), pair).is_some();
    if !path.is_empty() && !path.starts_with(['.', '/']) && !path.ends_with('/') && !has(b"/.") && !has(b"//") {
        return Ok(());
    }
    let is_bad = |part: &str| matches!(part, "" | "." | "..") || part.eq_ignore_ascii_case(".git");
    match path.split('/').any(is_bad) {
        true => bail!("it holds {path:?}, a path that git itself refuses"),
        false => Ok(()),
    }
}

/// A path as a pattern that matches it alone.
fn literally(path: &str) -> String {
    let mut pattern = String::new();
    for letter in path.chars() {
        if matches!(letter, '*' | '?' | '[' | '\\' | ' ') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

/// A path as git reads it from a line.
fn quoted(path: &str) -> String {
    if !path.starts_with('"') && !path.contains('\n') {
        return path.into();
    }
    let escaped = path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_cannot_name_what_is_not_in_it() {
        for path in
            ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/", "a/..", ".git/config", "a/.GIT/hooks/x", ""]
        {
            assert!(check_path(path).is_err(), "{path}");
        }
        check_path("a/..b/.gitignore").unwrap();
    }

    #[test]
    fn lines_of_git_are_taken_apart() {
        let id = "81457ea1c32e0ffcf6cb4b339a41c99f4b4b6132";
        let line = format!("S 100755 {id} 0\ta b\tc");
        let index = Index { mode: "100755", id, hidden: Some(Hidden::SkipWorktree) };
        assert_eq!(index.file(), Some((Kind::Executable, Id::parse(id).unwrap())));
        assert_eq!(listed(&line), Some(Listed { path: "a b\tc", index: Some(index) }));
        assert_eq!(listed("? new"), Some(Listed { path: "new", index: None }));
        assert_eq!(listed("H 100644 81457e\ta"), None);
        assert_eq!(listed("ü"), None);
        let of = |file: &str, line, pattern: &str| Some(Ignored { file: file.into(), line, pattern: pattern.into() });
        assert_eq!(ignored("/a:b/ignore:12:x:3:\ty\tz\n"), of("/a:b/ignore", 12, "x:3:\ty"));
        assert_eq!(ignored(".gitignore:2:!x\tx\n"), None);
        assert_eq!(ignored(""), None);
    }
}

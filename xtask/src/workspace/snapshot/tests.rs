//! Snapshots of small repositories, under settings that change what git shows.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::write::Snapshot;
use super::*;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::stat::Stat;
use crate::ui::screen::Level;

/// Settings under which a work tree holds other bytes than the commit.
const HOSTILE: &str = "
[core]
    autocrlf = true
    attributesFile = {}/attributes
    excludesFile = {}/excludes
    hooksPath = {}/hooks
    fsmonitor = {}/hooks/fsmonitor
[filter \"shout\"]
    smudge = sed s/one/ONE/
    clean = sed s/ONE/one/
[status]
    showUntrackedFiles = no
[protocol \"file\"]
    allow = always
";

struct Place {
    runner: Runner,
    folder: PathBuf,
}

impl Place {
    fn new() -> Place {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("xtask-snapshot-{}-{number}", std::process::id()));
        files::create_folder(&folder).unwrap();
        let place = Place { runner: Runner::new(Level::Quiet), folder: folder.canonicalize().unwrap() };
        place.write("hostile", &HOSTILE.replace("{}", &place.folder.to_string_lossy()));
        place.write("attributes", "*.txt text ident filter=shout\n");
        place.write("excludes", "*.global\n");
        place.write("hooks/post-checkout", "#!/bin/sh\necho hook >>README.md\n");
        place.write("hooks/fsmonitor", "#!/bin/sh\ntouch \"$0.ran\"\n");
        for hook in ["hooks/post-checkout", "hooks/fsmonitor"] {
            fs::set_permissions(place.path(hook), fs::Permissions::from_mode(0o755)).unwrap();
        }
        place
    }

    /// One with a repository `r`, in which a workspace is committed.
    fn with_repository() -> Place {
        let place = Place::new();
        place.repository("r", "sha1");
        place
    }

    fn repository(&self, name: &str, format: &str) {
        files::create_folder(&self.path(name)).unwrap();
        self.git(name, &format!("init -q -b main --object-format={format} ."));
        self.write(&format!("{name}/Cargo.toml"), "[workspace]\n");
        self.write(&format!("{name}/.gitignore"), "target\n*.ignored\n");
        self.write(&format!("{name}/a/text.txt"), "one $Id$\ntwo\n");
        self.write(&format!("{name}/a/run"), "#!/bin/sh\n");
        fs::set_permissions(self.path(&format!("{name}/a/run")), fs::Permissions::from_mode(0o755)).unwrap();
        self.commit(name);
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    fn write(&self, path: &str, text: &str) {
        files::write(&self.path(path), text).unwrap();
    }

    fn commit(&self, repository: &str) {
        self.git(repository, "add -A");
        self.git(repository, "-c user.email=a@example.com -c user.name=a commit -q -m change");
    }

    #[track_caller]
    fn git(&self, folder: &str, args: &str) -> String {
        self.git_with(folder, args, "/dev/null")
    }

    #[track_caller]
    fn hostile(&self, folder: &str, args: &str) -> String {
        self.git_with(folder, args, &self.path("hostile").to_string_lossy())
    }

    #[track_caller]
    fn git_with(&self, folder: &str, args: &str, settings: &str) -> String {
        let command = Command::new("git", &self.path(folder)).args(args.split(' '));
        self.runner.read(&command.env("GIT_CONFIG_GLOBAL", settings).env("GIT_ALLOW_PROTOCOL", "file")).unwrap()
    }

    fn settings(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("GIT_CONFIG_GLOBAL".into(), self.path("hostile").to_string_lossy().into())])
    }

    fn try_read(&self, workspace: &str, commit: Option<&str>) -> Result<Tree> {
        let workspace = self.path(workspace);
        let request = Request {
            workspace: &workspace,
            snapshot: &self.path("snapshot"),
            left_out: &[workspace.join("target"), workspace.join("dist")],
            commit,
            settings: self.settings(),
        };
        Tree::read(self.runner, &request)
    }

    #[track_caller]
    fn read(&self, workspace: &str) -> Tree {
        self.try_read(workspace, None).unwrap()
    }

    #[track_caller]
    fn snapshot(&self, workspace: &str) -> Snapshot {
        self.read(workspace).write().unwrap()
    }

    #[track_caller]
    fn changes(&self, workspace: &str) -> Vec<String> {
        self.read(workspace).changes.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path("snapshot/source").join(path)).unwrap()
    }

    #[track_caller]
    fn date(&self, path: &str) -> SystemTime {
        self.path("snapshot/source").join(path).metadata().unwrap().modified().unwrap()
    }

    /// What lies in the snapshot.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        files::walk(&self.path("snapshot/source"), "", &mut names).unwrap();
        names
    }

    fn faults(&self) -> Vec<String> {
        self.faults_but(&[])
    }

    fn faults_but(&self, generated: &[&str]) -> Vec<String> {
        let generated: Vec<String> = generated.iter().map(ToString::to_string).collect();
        verify(&self.path("snapshot"), &generated).unwrap().iter().map(ToString::to_string).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = files::remove_folder(&self.folder);
    }
}

#[track_caller]
fn error<T: std::fmt::Debug>(result: Result<T>) -> String {
    format!("{:#}", result.unwrap_err())
}

#[test]
fn of_a_clean_work_tree_it_holds_the_bytes_of_the_commit_whatever_git_made_of_them() {
    let place = Place::with_repository();
    place.hostile(".", "clone -q r clone");
    let shown = fs::read_to_string(place.path("clone/a/text.txt")).unwrap();
    assert!(shown.starts_with("ONE $Id: ") && shown.ends_with("two\r\n"), "{shown}");
    files::remove_folder(&place.path("clone/README.md")).unwrap_or_default();
    fs::remove_file(place.path("clone/README.md")).unwrap();

    let tree = place.read("clone");
    assert_eq!(tree.changes, []);
    assert_eq!(tree.commit.as_ref().unwrap().id, place.git("r", "rev-parse HEAD").trim());
    assert_eq!(tree.commit.as_ref().unwrap().date.to_string(), place.git("r", "log -1 --format=%ct").trim());
    let snapshot = tree.write().unwrap();
    assert_eq!(snapshot.written, [".gitignore", "Cargo.toml", "a/run", "a/text.txt"]);
    assert_eq!(place.names(), snapshot.written);
    assert_eq!(snapshot.workspace.as_os_str(), snapshot.source.as_os_str());
    assert_eq!(place.text("a/text.txt"), "one $Id$\ntwo\n");
    let mode = |path: &str| place.path("snapshot/source").join(path).metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("a/run"), mode("a/text.txt")), (0o755, 0o644));
    assert!(!place.path("hooks/fsmonitor.ran").exists());
}

#[test]
fn replaced_objects_have_no_say() {
    let place = Place::with_repository();
    let old = place.git("r", "rev-parse HEAD:a/text.txt");
    place.write("other", "three\n");
    let new = place.git("r", "hash-object -w ../other");
    place.git("r", &format!("replace {} {}", old.trim(), new.trim()));
    place.snapshot("r");
    assert_eq!(place.text("a/text.txt"), "one $Id$\ntwo\n");
}

#[test]
fn what_git_status_hides_is_a_change() {
    let place = Place::with_repository();
    place.write("r/a/other.txt", "other\n");
    place.commit("r");
    place.git("r", "update-index --skip-worktree a/text.txt");
    place.git("r", "update-index --assume-unchanged a/run");
    place.write("r/a/text.txt", "three\n");
    place.write("r/a/run", "#!/bin/bash\n");
    // Of the same size, and with the date that the index knows.
    let date = place.path("r/a/other.txt").metadata().unwrap().modified().unwrap();
    place.write("r/a/other.txt", "altered\n".get(2..).unwrap());
    File::options().write(true).open(place.path("r/a/other.txt")).unwrap().set_modified(date).unwrap();
    assert_eq!(
        place.changes("r"),
        [
            "a/other.txt is changed",
            "a/run is changed (git status does not show it: assume-unchanged is set)",
            "a/text.txt is changed (git status does not show it: skip-worktree is set)",
        ]
    );
}

#[test]
fn a_file_that_a_sparse_checkout_leaves_out_is_there() {
    let place = Place::with_repository();
    place.write("r/b/file", "b\n");
    place.commit("r");
    place.git("r", "sparse-checkout set --cone --sparse-index b");
    assert!(!place.path("r/a").exists());
    assert_eq!(place.changes("r"), [] as [&str; 0]);
    place.write("r/b/file", "c\n");
    place.snapshot("r");
    assert_eq!((place.text("a/text.txt"), place.text("b/file")), ("one $Id$\ntwo\n".into(), "c\n".into()));
}

#[test]
fn a_file_is_newer_than_what_was_built_exactly_if_it_changed() {
    let place = Place::with_repository();
    place.snapshot("r");
    let (toml, text) = (place.date("Cargo.toml"), place.date("a/text.txt"));
    place.write("target/built", "");
    let built = place.path("target/built").metadata().unwrap().modified().unwrap();
    assert_eq!(place.faults(), [] as [&str; 0]);

    // A date of long ago, as a stash or rsync leaves it; and one of today for what is the same.
    place.write("r/a/text.txt", "one $Id$\nTWO\n");
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(place.path("r/a/text.txt")).unwrap().set_modified(old).unwrap();
    place.write("r/Cargo.toml", "[workspace]\n");
    place.commit("r");
    let tree = place.read("r");
    assert_eq!(tree.changes, []);
    assert_eq!(tree.write().unwrap().written, ["a/text.txt"]);
    assert_eq!(place.text("a/text.txt"), "one $Id$\nTWO\n");
    assert_eq!(place.date("Cargo.toml"), toml);
    assert!(place.date("a/text.txt") > built && built > text);
}

#[test]
fn of_a_work_tree_with_changes_it_holds_what_git_does_not_ignore() {
    let place = Place::with_repository();
    place.write("r/a/b/new file", "new\n");
    place.write("r/x.ignored", "");
    place.write("r/x.global", "");
    place.write("r/target/x", "");
    place.write("r/dist/x", "");
    place.write("r/forced.ignored", "");
    place.git("r", "add -f forced.ignored");
    fs::remove_file(place.path("r/a/text.txt")).unwrap();
    fs::set_permissions(place.path("r/a/run"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        place.changes("r"),
        [
            "a/b/new file is not committed",
            "a/run is changed",
            "a/text.txt is removed",
            "forced.ignored is not committed"
        ]
    );
    place.snapshot("r");
    assert_eq!(place.names(), [".gitignore", "Cargo.toml", "a/b/new file", "a/run", "forced.ignored"]);
    // A file takes the place of a folder, and the other way round.
    fs::remove_dir_all(place.path("r/a")).unwrap();
    place.write("r/a", "file\n");
    fs::remove_file(place.path("r/Cargo.toml")).unwrap();
    place.write("r/forced.ignored", "forced\n");
    fs::remove_file(place.path("r/forced.ignored")).unwrap();
    place.write("r/Cargo.toml", "[workspace]\n\n");
    place.snapshot("r");
    assert_eq!(place.names(), [".gitignore", "Cargo.toml", "a"]);
    place.git("r", "reset -q --hard");
    fs::remove_file(place.path("r/a")).unwrap_or_default();
    place.git("r", "checkout -q -f HEAD .");
    assert_eq!(place.snapshot("r").removed, [] as [&str; 0]);
    assert_eq!(place.names(), [".gitignore", "Cargo.toml", "a/run", "a/text.txt"]);
}

#[test]
fn modes_that_mean_nothing_are_no_change() {
    let place = Place::with_repository();
    fs::set_permissions(place.path("r/Cargo.toml"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(place.changes("r"), ["Cargo.toml is changed"]);
    place.git("r", "config core.fileMode false");
    assert_eq!(place.changes("r"), [] as [&str; 0]);
}

#[test]
fn before_the_first_commit_all_is_a_change() {
    let place = Place::new();
    files::create_folder(&place.path("r")).unwrap();
    place.git("r", "init -q --object-format=sha256 .");
    place.write("r/Cargo.toml", "[workspace]\n");
    let tree = place.read("r");
    assert_eq!((&tree.commit, tree.is_dirty()), (&None, true));
    assert_eq!(tree.write().unwrap().written, ["Cargo.toml"]);
}

#[test]
fn outside_git_it_holds_all_but_what_is_built() {
    let place = Place::new();
    for path in ["w/Cargo.toml", "w/src/main.rs", "w/target/x", "w/dist/x", "w/src/dist/x"] {
        place.write(path, path);
    }
    let tree = place.read("w");
    assert_eq!((&tree.commit, tree.is_dirty()), (&None, false));
    tree.write().unwrap();
    assert_eq!(place.names(), ["Cargo.toml", "src/dist/x", "src/main.rs"]);
    place.write("w/src/main.rs", "fn main() {}\n");
    assert_eq!(place.snapshot("w").written, ["src/main.rs"]);
    assert_eq!(place.snapshot("w").written, [] as [&str; 0]);
    let error = error(place.try_read("w", Some("HEAD")));
    assert!(error.ends_with("is not in a git repository, so it has no commit HEAD"), "{error}");
}

#[test]
fn a_workspace_that_git_ignores_is_outside_git() {
    let place = Place::with_repository();
    place.write("r/target/w/Cargo.toml", "[workspace]\n");
    let tree = place.read("r/target/w");
    assert_eq!((tree.top, tree.commit), (place.path("r/target/w"), None));
}

#[test]
fn a_repository_that_has_its_work_tree_elsewhere_is_refused() {
    let place = Place::with_repository();
    for setting in ["core.worktree ..", "core.worktree ../.git", "core.bare true"] {
        place.git("r", &format!("config {setting}"));
        let read = place.try_read("r", None);
        match setting {
            // That is the folder with `.git`.
            "core.worktree .." => assert!(read.is_ok()),
            _ => assert!(error(read).contains("does not take "), "{setting}"),
        }
    }
}

#[test]
fn a_committed_folder_that_each_build_changes_is_refused() {
    let place = Place::with_repository();
    place.write("r/target/bpfship/record", "");
    place.git("r", "add -f target");
    place.git("r", "-c user.email=a@example.com -c user.name=a commit -q -m target");
    let workspace = place.path("r");
    for commit in [None, Some("HEAD")] {
        let request = Request {
            workspace: &workspace,
            snapshot: &workspace.join("target/bpfship/snapshot"),
            left_out: &[workspace.join("target")],
            commit,
            settings: place.settings(),
        };
        let error = error(Tree::read(place.runner, &request));
        assert!(
            error.starts_with("target/bpfship/record is committed, in a folder that each build changes: git rm "),
            "{error}"
        );
    }
}

#[test]
fn the_repository_is_there_and_not_the_workspace_alone() {
    let place = Place::with_repository();
    place.write("r/w s/Cargo.toml", "[workspace]\n");
    place.commit("r");
    symlink(place.path("r/w s"), place.path("by-link")).unwrap();
    for workspace in ["r/w s", "by-link"] {
        let tree = place.read(workspace);
        assert_eq!((tree.top.as_path(), tree.workspace.as_str()), (place.path("r").as_path(), "w s"));
        assert!(tree.file("Cargo.toml").is_some() && tree.file("a/run").is_none());
        let snapshot = tree.write().unwrap();
        assert_eq!(snapshot.workspace, place.path("snapshot/source/w s"));
        assert!(snapshot.source.join("a/run").exists());
    }
}

#[test]
fn every_form_of_a_repository_gives_the_same_files() {
    let place = Place::with_repository();
    place.snapshot("r");
    let names = place.names();
    place.git(".", "clone -q r another");
    place.git("r", "worktree add -q ../linked");
    let url = format!("clone -q --depth 1 file://{} shallow", place.path("r").display());
    place.git(".", &url);
    place.git(".", "clone -q --separate-git-dir elsewhere r separate");
    place.repository("sha256", "sha256");
    for repository in ["another", "linked", "shallow", "separate", "sha256"] {
        let tree = place.read(repository);
        assert_eq!(tree.changes, [], "{repository}");
        assert_eq!(tree.write().unwrap().written, [] as [&str; 0], "{repository}");
        assert_eq!(place.names(), names, "{repository}");
    }
}

#[test]
fn submodules_are_there_at_the_commit_that_is_recorded() {
    let place = Place::with_repository();
    place.repository("inner", "sha1");
    place.repository("middle", "sha1");
    place.git("middle", "-c protocol.file.allow=always submodule add -q ../inner deep");
    place.commit("middle");
    place.git("r", "-c protocol.file.allow=always submodule add -q ../middle a/mid");
    place.git("r", "-c protocol.file.allow=always submodule update -q --init --recursive");
    assert!(place.changes("r").iter().any(|change| change == "a/mid is a repository that is not committed"));
    place.commit("r");
    assert_eq!(place.changes("r"), [] as [&str; 0]);
    // What a name before `/` in the order of the paths does to that order.
    place.write("r/a/mid.rs", "");
    place.commit("r");
    place.snapshot("r");
    assert!(place.names().contains(&"a/mid/deep/a/text.txt".into()));
    assert_eq!(place.snapshot("r").written, [] as [&str; 0]);
    let recorded = place.git("r/a/mid/deep", "rev-parse HEAD");

    place.write("r/a/mid/deep/a/text.txt", "changed\n");
    assert_eq!(place.changes("r"), ["a/mid/deep/a/text.txt is changed"]);
    place.commit("r/a/mid/deep");
    let found = place.git("r/a/mid/deep", "rev-parse HEAD");
    let change = format!("submodule a/mid/deep is at {}, and {} is committed", found.trim(), recorded.trim());
    assert_eq!(place.changes("r"), [change]);
    place.snapshot("r");
    assert_eq!(place.text("a/mid/deep/a/text.txt"), "changed\n");
    place.try_read("r", Some("HEAD")).unwrap().write().unwrap();
    assert_eq!(place.text("a/mid/deep/a/text.txt"), "one $Id$\ntwo\n");

    // A workspace in a submodule is of the submodule.
    assert_eq!(place.read("r/a/mid").top, place.path("r/a/mid"));

    place.git("r/a/mid", "submodule deinit -q -f --all");
    let said = "submodule a/mid/deep is not checked out: git submodule update --init --recursive";
    assert_eq!(error(place.try_read("r", None)), said);
    assert_eq!(error(place.try_read("r", Some("HEAD"))), said);
}

#[test]
fn a_repository_that_is_not_committed_is_a_change() {
    let place = Place::with_repository();
    place.repository("r/nested", "sha1");
    assert_eq!(place.changes("r"), ["nested is a repository that is not committed"]);
    place.snapshot("r");
    assert_eq!(place.text("nested/a/text.txt"), "one $Id$\ntwo\n");
    assert!(!place.path("snapshot/source/nested/.git").exists());
}

#[test]
fn a_commit_is_there_whatever_the_work_tree_holds() {
    let place = Place::with_repository();
    let commit = place.git("r", "rev-parse HEAD");
    place.write("r/a/text.txt", "later\n");
    place.commit("r");
    place.write("r/a/text.txt", "now\n");
    let tree = place.try_read("r", Some(commit.trim())).unwrap();
    assert_eq!((tree.changes.len(), tree.commit.as_ref().unwrap().id.as_str()), (0, commit.trim()));
    tree.write().unwrap();
    assert_eq!(place.text("a/text.txt"), "one $Id$\ntwo\n");
    let nowhere = "0123456789012345678901234567890123456789";
    let said = format!("there is no commit {nowhere} in {}: fetch it", place.path("r").display());
    assert_eq!(error(place.try_read("r", Some(nowhere))), said);
}

#[test]
fn a_file_that_was_never_fetched_is_named() {
    let place = Place::with_repository();
    place.git("r", "config uploadpack.allowFilter true");
    let url = format!("clone -q --filter=blob:none --no-checkout file://{} partial", place.path("r").display());
    place.git(".", &url);
    let tree = place.try_read("partial", Some("HEAD")).unwrap();
    let Err(error) = tree.write() else { panic!("written from nothing") };
    let said = format!(".gitignore is not in the repository at {}: fetch it (git", place.path("partial").display());
    assert!(error.root_cause().to_string().starts_with(&said), "{error:#}");
}

#[test]
fn an_lfs_pointer_is_followed_or_refused() {
    let place = Place::with_repository();
    let content = "a large file\n";
    let name = crate::sys::hash::bytes(content.as_bytes()).to_string();
    let size = content.len();
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{name}\nsize {size}\n");
    place.write("r/model.bin", &pointer);
    place.commit("r");
    let said = "model.bin is a Git LFS pointer, and the file that it stands for is not here: git lfs pull";
    assert_eq!(error(place.read("r").write()), said);
    place.write(&format!("r/.git/lfs/objects/{}/{}/{name}", &name[..2], &name[2..4]), "other bytes!\n");
    assert_eq!(error(place.read("r").write()), said);
    place.write(&format!("r/.git/lfs/objects/{}/{}/{name}", &name[..2], &name[2..4]), content);
    place.snapshot("r");
    assert_eq!(place.text("model.bin"), content);
    assert_eq!((place.snapshot("r").written, place.faults()), (vec![], vec![]));
    files::write(&place.path("snapshot/source/model.bin"), "other\n").unwrap();
    assert_eq!(place.faults(), ["model.bin was changed"]);
    // Of a file that is not committed, too.
    place.write("r/new.bin", &pointer.replace(&name, &name.replace(|_| true, "0")));
    assert_eq!(error(place.read("r").write()), said.replace("model", "new"));
}

#[test]
fn links_are_kept_unless_they_lead_out() {
    let place = Place::with_repository();
    symlink("run", place.path("r/a/inside")).unwrap();
    symlink("/etc/passwd", place.path("r/a/absolute")).unwrap();
    symlink("../..", place.path("r/a/above")).unwrap();
    place.commit("r");
    let snapshot = place.snapshot("r");
    let outside = [("a/above", "../.."), ("a/absolute", "/etc/passwd")];
    let outside: Vec<(String, String)> = outside.iter().map(|(link, to)| ((*link).into(), (*to).into())).collect();
    assert_eq!(snapshot.outside, outside);
    assert_eq!(files::list(&place.path("snapshot/source/a")).unwrap(), ["inside", "run", "text.txt"]);
    assert_eq!(fs::read_link(place.path("snapshot/source/a/inside")).unwrap(), Path::new("run"));
    let again = place.snapshot("r");
    assert_eq!((again.written, again.removed, again.outside), (vec![], vec![], outside));
    assert_eq!(place.faults(), [] as [&str; 0]);
    // Where one is now that was left out.
    symlink("/etc/passwd", place.path("snapshot/source/a/absolute")).unwrap();
    assert_eq!(place.faults(), ["a/absolute was added"]);
    assert_eq!(place.snapshot("r").removed, ["a/absolute"]);
    assert_eq!(place.faults(), [] as [&str; 0]);
}

#[test]
fn a_folder_that_a_link_replaced_is_not_looked_into() {
    let place = Place::with_repository();
    place.write("elsewhere/run", "#!/bin/sh\n");
    place.write("elsewhere/text.txt", "one $Id$\ntwo\n");
    fs::remove_dir_all(place.path("r/a")).unwrap();
    symlink(place.path("elsewhere"), place.path("r/a")).unwrap();
    assert_eq!(place.changes("r"), ["a is not committed", "a/run is removed", "a/text.txt is removed"]);
}

#[test]
fn a_file_that_holds_where_a_committed_link_leads_is_that_link_where_git_has_no_links() {
    let place = Place::with_repository();
    symlink("text.txt", place.path("r/a/link")).unwrap();
    place.commit("r");
    let without_links = || {
        place.git("r", "config core.symlinks false");
        fs::remove_file(place.path("r/a/link")).unwrap();
        place.write("r/a/link", "text.txt");
    };
    without_links();
    assert_eq!(place.changes("r"), [] as [&str; 0]);
    place.snapshot("r");
    assert_eq!(fs::read_link(place.path("snapshot/source/a/link")).unwrap(), Path::new("text.txt"));
    place.git("r", "config core.symlinks true");
    assert_eq!(place.changes("r"), ["a/link is changed"]);
}

#[test]
fn names_may_hold_anything() {
    let place = Place::with_repository();
    let names = [" leading", "\"quoted\"", "README", "größe", "new\nline", "readme", "tab\tand\\backslash"];
    for name in names {
        place.write(&format!("r/names/{name}"), name);
    }
    place.write("r/names/new\nline.txt", "one\n");
    place.write("r/names/\"quoted\".txt", "one\n");
    place.commit("r");
    place.hostile(".", "clone -q r clone");
    fs::remove_file(place.path("clone/README.md")).unwrap();
    let tree = place.read("clone");
    assert_eq!(tree.changes, []);
    tree.write().unwrap();
    for name in names {
        assert_eq!(place.text(&format!("names/{name}")), name);
    }
    assert_eq!(place.text("names/new\nline.txt"), "one\n");
}

#[test]
fn names_need_not_be_text() {
    let place = Place::with_repository();
    let name = |path: &[u8]| place.folder.join(std::ffi::OsStr::from_bytes(path));
    files::create_folder(&name(b"r/\xff")).unwrap();
    for path in [&b"r/caf\xe9"[..], b"r/\xff/\xfe.txt", b"r/caf\xe9.ignored"] {
        fs::write(name(path), "one\n").unwrap();
    }
    symlink(std::ffi::OsStr::from_bytes(b"caf\xe9"), name(b"r/a\xf6")).unwrap();
    // In the order of the bytes, this is before what is not text, and in that of the texts as well.
    place.write("r/\u{10FE00}", "two\n");
    // And this letter is one of those that stand for bytes.
    place.write("r/\u{10FFE9}", "three\n");
    let names = ["a\\xf6", "caf\\xe9", "\u{10FE00}", "\u{10FFE9}", "\\xff/\\xfe.txt"];
    assert_eq!(place.changes("r"), names.map(|name| format!("{name} is not committed")));
    place.commit("r");
    place.hostile(".", "clone -q r clone");
    fs::remove_file(place.path("clone/README.md")).unwrap();
    for workspace in ["r", "clone"] {
        let tree = place.read(workspace);
        assert_eq!(tree.changes, []);
        tree.write().unwrap();
        assert_eq!(fs::read(name(b"snapshot/source/\xff/\xfe.txt")).unwrap(), b"one\n");
        assert_eq!(fs::read(name(b"snapshot/source/a\xf6")).unwrap(), b"one\n");
        assert_eq!(place.text("\u{10FFE9}"), "three\n");
        assert!(!name(b"snapshot/source/caf\xe9.ignored").exists());
    }
    assert!(place.faults().is_empty());
    fs::write(name(b"snapshot/source/\xff/\xfe.txt"), "other\n").unwrap();
    fs::write(name(b"snapshot/source/\xff/\xfd"), "").unwrap();
    assert_eq!(place.faults(), ["\\xff/\\xfd was added", "\\xff/\\xfe.txt was changed"]);
    let snapshot = place.try_read("r", Some("HEAD")).unwrap().write().unwrap();
    assert_eq!((snapshot.written.len(), snapshot.removed.len()), (1, 1));
    assert!(place.faults().is_empty());
    // Outside git, too.
    fs::remove_dir_all(place.path("r/.git")).unwrap();
    assert!(place.snapshot("r").written.len() < 3);
    assert_eq!(fs::read(name(b"snapshot/source/caf\xe9.ignored")).unwrap(), b"one\n");
}

#[test]
fn what_is_unchanged_is_neither_read_nor_written() {
    let place = Place::with_repository();
    place.snapshot("r");
    std::thread::sleep(Duration::from_millis(100));
    place.snapshot("r");
    let record = place.path("snapshot/record");
    let inode = record.metadata().unwrap().ino();
    let tree = place.read("r");
    assert!(tree.files.iter().all(|entry| entry.work != Stat::UNKNOWN));
    // With other bytes behind the same stat, which only a lie in the record can give, nothing is seen.
    let mut lie = record::Record::load(&record).unwrap();
    for written in &mut lie.files {
        for (stat, top) in
            [(&mut written.work, place.path("r")), (&mut written.snapshot, place.path("snapshot/source"))]
        {
            let file = top.join(&written.path);
            fs::write(&file, "other").unwrap();
            *stat = Stat::at(&file).unwrap().unwrap();
        }
    }
    lie.save(&record).unwrap();
    let tree = place.read("r");
    assert_eq!(tree.changes, []);
    assert_eq!(tree.write().unwrap().written, [] as [&str; 0]);
    assert_eq!(place.faults(), [] as [&str; 0]);
    assert_ne!(record.metadata().unwrap().ino(), inode);
    let inode = record.metadata().unwrap().ino();
    place.snapshot("r");
    assert_eq!(record.metadata().unwrap().ino(), inode);
}

#[test]
fn whoever_writes_into_it_is_seen_and_undone() {
    let place = Place::with_repository();
    place.write("r/gen/file", "committed\n");
    place.commit("r");
    place.snapshot("r");
    assert_eq!(place.faults(), [] as [&str; 0]);
    let source = place.path("snapshot/source");
    files::write(&source.join("a/new"), "").unwrap();
    files::write(&source.join("a/text.txt"), "ONE $Id$\ntwo\n").unwrap();
    fs::set_permissions(source.join("a/run"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_dir_all(source.join("gen")).unwrap();
    place.write("elsewhere/file", "committed\n");
    symlink(place.path("elsewhere"), source.join("gen")).unwrap();
    let faults =
        ["a/new was added", "gen was added", "a/run was changed", "a/text.txt was changed", "gen/file was removed"];
    assert_eq!(place.faults(), faults);
    // A build may write what is named, in the commit or not.
    assert_eq!(place.faults_but(&["a/*.txt", "gen/file"]), [faults[0], faults[1], faults[2], faults[4]]);
    // As it would be without a folder of that name in the next commit.
    fs::remove_file(place.path("r/gen/file")).unwrap();
    place.commit("r");
    let snapshot = place.snapshot("r");
    assert_eq!(
        (snapshot.written, snapshot.removed),
        (vec!["a/run".into(), "a/text.txt".into()], vec!["a/new".into(), "gen".into()])
    );
    assert_eq!(place.names(), [".gitignore", "Cargo.toml", "a/run", "a/text.txt"]);
    assert_eq!(place.faults(), [] as [&str; 0]);
    assert!(place.path("elsewhere/file").exists());
}

#[test]
fn a_snapshot_that_was_not_finished_is_repaired() {
    let place = Place::with_repository();
    place.snapshot("r");
    let date = place.date("a/run");
    let source = place.path("snapshot/source");
    fs::remove_file(place.path("snapshot/record")).unwrap();
    files::write(&source.join("a/text.txt"), "one").unwrap();
    fs::remove_file(source.join("Cargo.toml")).unwrap();
    files::write(&source.join("left/over"), "").unwrap();
    let snapshot = place.snapshot("r");
    assert_eq!(
        (snapshot.written, snapshot.removed),
        (vec!["Cargo.toml".into(), "a/text.txt".into()], vec!["left".into()])
    );
    assert_eq!(place.faults(), [] as [&str; 0]);
    assert_eq!(place.date("a/run"), date);
}

#[test]
fn a_link_in_place_of_the_snapshot_is_not_followed() {
    let place = Place::with_repository();
    place.write("elsewhere/mine", "");
    files::create_folder(&place.path("snapshot")).unwrap();
    symlink(place.path("elsewhere"), place.path("snapshot/source")).unwrap();
    place.snapshot("r");
    assert_eq!(files::list(&place.path("elsewhere")).unwrap(), ["mine"]);
    assert_eq!(place.names().len(), 4);
}

#[test]
fn a_file_that_changes_meanwhile_is_not_taken() {
    let place = Place::with_repository();
    place.write("r/a/text.txt", "changed\n");
    let tree = place.read("r");
    place.write("r/a/text.txt", "and again\n");
    assert_eq!(error(tree.write()), "a/text.txt changed while the snapshot was made: run it again");
}

#[test]
fn what_depends_on_the_commit_can_be_made_newer() {
    let place = Place::with_repository();
    place.snapshot("r");
    let touch = |stamp: &str, paths: &[&str]| {
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        touch(&place.path("snapshot"), stamp, &paths)
    };
    assert!(touch("one", &[]).unwrap());
    let (run, text) = (place.date("a/run"), place.date("a/text.txt"));
    assert!(!touch("one", &["a/run"]).unwrap());
    assert!(touch("two", &["a/nowhere"]).is_err());
    assert_eq!(place.date("a/run"), run);
    assert!(touch("two", &["a/run"]).unwrap());
    assert!(place.date("a/run") > run && place.date("a/text.txt") == text);
    assert_eq!(place.faults(), [] as [&str; 0]);
    assert_eq!(place.snapshot("r").written, [] as [&str; 0]);
}

#[test]
fn what_was_built_and_not_checked_is_built_again() {
    let place = Place::with_repository();
    place.snapshot("r");
    let folder = place.path("snapshot");
    let touched = || touch(&folder, "stamp", &["a/run".into()]).unwrap();
    assert!(touched() && !touched());
    begin(&folder).unwrap();
    assert!(touched(), "the run was ended meanwhile");
    begin(&folder).unwrap();
    place.write("snapshot/source/new", "");
    assert_eq!(place.faults(), ["new was added"]);
    place.snapshot("r");
    assert!(touched());
    assert!(place.faults().is_empty());
    assert!(!touched());
}

#[test]
fn another_commit_and_another_list_of_files_have_another_identity() {
    let place = Place::with_repository();
    let first = place.snapshot("r").identity;
    assert_eq!(place.snapshot("r").identity, first);
    place.git("r", "-c user.email=a@example.com -c user.name=a commit -q --allow-empty -m next");
    let second = place.snapshot("r").identity;
    place.write("r/new", "");
    let third = place.snapshot("r").identity;
    assert!(first != second && second != third && first != third);
}

#[test]
fn what_was_compiled_can_be_put_in_as_if_it_had_been_there() {
    let place = Place::with_repository();
    place.write("r/o/old.o", "old");
    place.write("r/o/same.o", "same");
    place.snapshot("r");
    let same = place.date("o/same.o");
    let files: [(String, &[u8]); 3] = [("o/same.o", "same"), ("o/new.o", "new"), ("p/q/lock", "lock")]
        .map(|(path, text)| (path.into(), text.as_bytes()));
    put(&place.path("snapshot"), &files, &["o/old.o".into()]).unwrap();
    assert_eq!(place.faults(), [] as [&str; 0]);
    assert_eq!((place.text("o/new.o"), place.text("p/q/lock")), ("new".into(), "lock".into()));
    assert!(!place.path("snapshot/source/o/old.o").exists() && place.date("o/same.o") == same);
    // The work tree was given the same.
    for (path, text) in files {
        place.write(&format!("r/{path}"), str::from_utf8(text).unwrap());
    }
    fs::remove_file(place.path("r/o/old.o")).unwrap();
    let snapshot = place.snapshot("r");
    assert_eq!((snapshot.written, snapshot.removed), (vec![], vec![]));
}

#[test]
fn why_git_ignores_a_file_is_known() {
    let place = Place::with_repository();
    place.write("r/a/.gitignore", "\n*.o\n!keep.o\n");
    let why = |path: &str| {
        let ignored = ignored(place.runner, &place.path(path), &place.settings()).unwrap();
        ignored.map(|ignored| ignored.to_string())
    };
    assert_eq!(why("r/a/x.o").unwrap(), "is ignored by git (a/.gitignore:2), so no clone has it");
    assert_eq!(why("r/a/keep.o"), None);
    assert_eq!(why("r/Cargo.toml"), None);
    place.write("r/.gitignore", ":x\n");
    assert_eq!(why("r/:x").unwrap(), "is ignored by git (.gitignore:1), so no clone has it");
    let global = format!("is ignored by git ({}:1), so no clone has it", place.path("excludes").display());
    assert_eq!(why("r/x.global"), Some(global));
    assert_eq!(why("elsewhere/x.o"), None);
}

#[test]
fn a_snapshot_of_which_nothing_has_changed_is_taken_at_a_glance() {
    let place = Place::with_repository();
    let (workspace, snapshot) = (place.path("r"), place.path("snapshot"));
    let left_out = [workspace.join("target")];
    let take = || {
        let settings = place.settings();
        let request =
            Request { workspace: &workspace, snapshot: &snapshot, left_out: &left_out, commit: None, settings };
        let taken = take(place.runner, &request).unwrap();
        let tree = Tree::read(place.runner, &request).unwrap();
        assert_eq!((&taken.commit, &taken.changes), (&tree.commit, &tree.changes));
        let written = tree.write().unwrap();
        assert_eq!((written.written.len(), &written.identity), (0, &taken.snapshot.identity));
        taken
    };
    let settle = || {
        take();
        std::thread::sleep(Duration::from_millis(100));
        take();
    };
    settle();
    // What is behind the record's back is not seen, and what is before its eyes is.
    let record = place.path("snapshot/record");
    let mut lie = record::Record::load(&record).unwrap();
    for written in &mut lie.files {
        written.id = id::Format::Plain.of_bytes(b"another");
    }
    lie.save(&record).unwrap();
    let request = Request {
        workspace: &workspace,
        snapshot: &snapshot,
        left_out: &left_out,
        commit: None,
        settings: place.settings(),
    };
    assert_eq!(super::take(place.runner, &request).unwrap().changes, []);
    fs::remove_file(&record).unwrap();

    let date = fs::metadata(workspace.join("a/run")).unwrap().modified().unwrap();
    let rewrite = |path: &str| {
        files::write(&workspace.join(path), "two $Id$\none\n").unwrap();
        File::options().append(true).open(workspace.join(path)).unwrap().set_modified(date).unwrap();
    };
    let in_snapshot = |path: &str| snapshot.join("source").join(path);
    let seen = |change: &dyn Fn(), undo: &str| {
        settle();
        change();
        let taken = take();
        let seen = taken.changes.len() + taken.snapshot.written.len() + taken.snapshot.removed.len();
        place.git("r", undo);
        seen
    };
    let reset = "reset -q --hard";
    assert_eq!(seen(&|| rewrite("a/text.txt"), reset), 2);
    assert_eq!(seen(&|| fs::remove_file(workspace.join("a/run")).unwrap(), reset), 2);
    assert_eq!(seen(&|| place.write("r/new/file", ""), "clean -qfd"), 2);
    assert_eq!(seen(&|| place.write("r/new/file.ignored", ""), reset), 0);
    let mode = || fs::set_permissions(workspace.join("a/text.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(seen(&mode, reset), 2);
    place.git("r", "config core.fileMode false");
    mode();
    assert_eq!(seen(&|| drop(place.git("r", "config core.fileMode true")), reset), 2);
    assert_eq!(seen(&|| files::write(&in_snapshot("a/text.txt"), "other").unwrap(), reset), 1);
    assert_eq!(seen(&|| files::write(&in_snapshot("a/new"), "").unwrap(), reset), 1);
    assert_eq!(seen(&|| fs::remove_dir_all(in_snapshot("a")).unwrap(), reset), 2);
    settle();
    let first = take();
    place.git("r", "-c user.email=a@example.com -c user.name=a commit -q --allow-empty -m empty");
    let second = take();
    assert_ne!((first.commit, first.snapshot.identity), (second.commit, second.snapshot.identity));
    // Another file of this commit's index.
    place.write("r/b", "b");
    place.git("r", "add b");
    assert_eq!(take().changes.len(), 1);
}

//! `cargo xtask deploy` to targets whose programs lie, fail and print what they like: it ends with a sentence, and what was there
//! before is there again.

use std::fs;

use super::deploy::{deploy, prints, tree, with_stand_in};
use super::support::list;

/// A program of the target that is another one there, its script, and what is said; nothing, if it is deployed to all the same.
const LIES: [(&str, &str, &str); 13] = [
    ("uname", "[ \"$1\" = -m ] && printf 'x86_64\\n@end\\nend\\n' || exec /bin/uname \"$@\"", ""),
    ("uname", "[ \"$1\" = -m ] && echo '; reboot' || exec /bin/uname \"$@\"", "its machine is `; reboot`"),
    ("uname", "head -c 3000000 /dev/zero | tr '\\0' x", "it prints without end"),
    ("uname", "yes \"$(printf '\\033[2J')\" >&2", "pi: "),
    ("df", "exit 1", ""),
    ("df", "echo; echo x x x -5 x /", ""),
    ("date", "echo 1970", ""),
    ("id", "echo $(printf '\\033[2J') nobody", "pi: "),
    ("sha256sum", "echo 0123456789abcdef -", "pi: "),
    ("mv", "exit 1", "it cannot rename a file in"),
    ("chmod", "exit 1", "it cannot set the mode of a file in"),
    ("ln", "echo ln: no links here >&2; exit 1", "it cannot make a lock in"),
    ("mkdir", "echo mkdir: no >&2; exit 1", "it cannot make the folder"),
];

#[test]
#[ignore = "long: --include-ignored runs it"]
fn programs_that_lie_or_fail_break_nothing() {
    let workspace = with_stand_in("deploy liars", "PATH=$here/odd:$PATH");
    fs::create_dir_all(workspace.path("odd")).unwrap();
    deploy(&workspace, "--from 1.0.0").succeeds();
    let before = tree(&workspace.path("bin"));
    for (name, script, said) in LIES {
        let file = workspace.path("odd").join(name);
        fs::write(&file, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
        workspace.shell(&format!("chmod 755 odd/{name}")).succeeds();
        let run = deploy(&workspace, "--from 1.1.0 --confirm 2");
        assert!(!run.text().contains('\x1b') && run.text().contains(said), "{name} {script}: {}", run.text());
        fs::remove_file(file).unwrap();
        if said.is_empty() {
            assert!(run.succeeds().text().contains("is current") && prints(&workspace) == "two", "{name} {script}");
            deploy(&workspace, "--uninstall").succeeds();
            deploy(&workspace, "--from 1.0.0").succeeds();
        } else {
            run.ends_with(1);
        }
        // That it was undone is written down.
        let _ = fs::remove_file(workspace.path("bin/.probe/.undone"));
        assert_eq!(tree(&workspace.path("bin")), before, "{name} {script}");
    }
}

#[test]
fn what_lies_in_the_folder_of_the_versions_breaks_nothing() {
    let workspace = with_stand_in("deploy litter", "printf 'Welcome, no newline'");
    deploy(&workspace, "--from 1.0.0").succeeds();
    let litter = "cd bin/.probe && : >\"$(printf 'a\\033[2J\\nend')\" && ln -s /etc/passwd passwd && ln -s nowhere dangling && \
                  mkdir -p folder/below && head -c 200000 /dev/zero | tr '\\0' h >>.history && printf '\\n\\n../../x\\n' >>.history && \
                  ln -s 'not a lock' .lock";
    workspace.shell(litter).succeeds();
    let run = deploy(&workspace, "--status").succeeds();
    assert!(!run.text().contains('\x1b'), "{}", run.text());
    deploy(&workspace, "--rollback=../").ends_with(1);
    let passwd = fs::read("/etc/passwd").unwrap();
    deploy(&workspace, "--from 1.1.0").succeeds();
    assert_eq!(prints(&workspace), "two");
    deploy(&workspace, "--uninstall").succeeds();
    assert!(list(&workspace.path("bin")).is_empty() && fs::read("/etc/passwd").unwrap() == passwd);
}

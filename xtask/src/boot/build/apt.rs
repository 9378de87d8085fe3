//! The machine's own apt, with a configuration of its own: what it knows of the machine's packages stays as it is, and
//! signatures are checked by Debian's keys.

use std::path::Path;

use crate::boot::host::Mirror;
use crate::command::Command;
use crate::step::Step;

/// A command of apt's that works in `folder` and knows nothing but what is there.
pub fn command(program: &str, folder: &Path) -> Command {
    Command::new(program, folder).env("APT_CONFIG", folder.join("apt.conf").to_string_lossy())
}

/// What makes apt know which packages a suite of Debian's has.
pub fn update(folder: &Path, mirror: &Mirror, suite: &str) -> Vec<Step> {
    let write = |name: &str, text: String| Step::Write { file: folder.join(name), text };
    vec![
        write("sources.list", format!("deb [signed-by={}] {} {suite} main\n", mirror.keyring.display(), mirror.url)),
        write("state/status", String::new()),
        write("cache/empty", String::new()),
        write("apt.conf", configuration(folder, &mirror.acquire)),
        Step::Run(command("apt-get", folder).args(["--quiet", "update"])),
    ]
}

/// apt's configuration in place of the machine's, of which it has what concerns the network (`acquire`).
fn configuration(folder: &Path, acquire: &str) -> String {
    let folder = folder.display();
    format!(
        "{acquire}
APT::Architecture \"amd64\";
APT::Architectures {{ \"amd64\"; }};
APT::Update::Error-Mode \"any\";
Acquire::Languages \"none\";
Dir::State \"{folder}/state\";
Dir::State::status \"{folder}/state/status\";
Dir::Cache \"{folder}/cache\";
Dir::Etc::sourcelist \"{folder}/sources.list\";
Dir::Etc::sourceparts \"-\";
Dir::Etc::preferences \"-\";
Dir::Etc::preferencesparts \"-\";
Dir::Etc::parts \"-\";
Dir::Etc::main \"-\";
"
    )
}

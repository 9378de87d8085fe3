//! How a target is called: the system's ssh, with the user's own configuration, and one connection for all but the last call.

use std::path::{Path, PathBuf};

use crate::deploy::host::Host;
use crate::sys::command::{Command, word};

/// What is ours to decide, whatever the user's configuration says: nobody is asked anything, for several targets may be called at
/// once; nothing else goes over the connection; one that is dead is noticed.
const OPTIONS: [&str; 9] = [
    "BatchMode=yes",
    "ConnectTimeout=15",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "RequestTTY=no",
    "RemoteCommand=none",
    "ClearAllForwardings=yes",
    "ForwardX11=no",
    "LogLevel=ERROR",
];

/// How ssh is called on this machine.
#[derive(Debug, Clone)]
pub struct Ssh {
    /// A private folder for the connections that are shared.
    pub folder: PathBuf,
    /// A configuration in place of the user's.
    pub config: Option<PathBuf>,
}

impl Ssh {
    /// Calls a target over the connection that is shared, or over one of its own.
    pub fn call(&self, host: &Host, shared: bool) -> Command {
        let path = self.folder.join("%C");
        let mut command = Command::new("ssh", Path::new("/"));
        if let Some(config) = &self.config {
            command = command.args(["-F", &config.to_string_lossy()]);
        }
        command = command.args(OPTIONS.iter().flat_map(|option| ["-o", option]));
        command = match shared {
            true => command
                .args(["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o"])
                .arg(format!("ControlPath={}", path.display())),
            false => command.args(["-o", "ControlMaster=no", "-o", "ControlPath=none"]),
        };
        if let Some(port) = host.port {
            command = command.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &host.user {
            command = command.args(["-l", user]);
        }
        command.args(["--", &host.name])
    }

    /// Ends the connection that is shared.
    pub fn close(&self, host: &Host) -> Command {
        let mut command = self.call(host, true);
        let end = command.args.len() - 2;
        command.args.splice(end..end, ["-O".to_owned(), "exit".into()]);
        command
    }
}

/// The one line that every login shell takes: a shell that reads as many bytes as the script has, and not one of what follows, and
/// runs it if all have come. `become` is what makes root of the user.
pub fn shell(script: &str, r#become: Option<&str>) -> String {
    let size = script.len();
    let inner =
        format!("LC_ALL=C; export LC_ALL; s=$(dd bs=1 count={size} 2>/dev/null); [ ${{#s}} = {size} ] && eval \"$s\"");
    let who = r#become.map(|program| format!("{program} -n ")).unwrap_or_default();
    format!("exec {who}sh -c {}", word(&inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_never_a_flag_and_the_users_configuration_is_used() {
        let ssh = Ssh { folder: "/tmp/x".into(), config: None };
        let host: Host = "ann@[::1]:2222".parse().unwrap();
        let args = ssh.call(&host, true).args.join(" ");
        assert!(args.ends_with("-o ControlPath=/tmp/x/%C -p 2222 -l ann -- ::1"), "{args}");
        assert!(args.contains("-o BatchMode=yes") && !args.contains("StrictHostKeyChecking") && !args.contains("-F"));
        assert!(ssh.call(&host, false).args.join(" ").contains("-o ControlPath=none"));
        assert!(ssh.close(&host).args.join(" ").ends_with("-l ann -O exit -- ::1"));
    }

    #[test]
    fn the_line_of_a_target_has_no_quote_but_those_around_it() {
        assert_eq!(
            shell("abc", Some("sudo")),
            "exec sudo -n sh -c 'LC_ALL=C; export LC_ALL; s=$(dd bs=1 count=3 2>/dev/null); [ ${#s} = 3 ] && eval \"$s\"'"
        );
    }
}

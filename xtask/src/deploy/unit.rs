//! The unit of systemd that runs the program: with the capabilities that the target's kernel asks of it, and as little else as can be.

use crate::deploy::script::MARK;
use crate::workspace::products::Deploy;

/// What a unit depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs<'a> {
    pub name: &'a str,
    pub folder: &'a str,
    pub kernel: Kernel,
}

/// What a unit has to know of a kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kernel {
    pub version: (u32, u32),
    pub btf: bool,
    /// Whether it wants CAP_SYS_ADMIN for perf events, as those of Debian and Ubuntu do if kernel.perf_event_paranoid is above 2.
    pub is_paranoid: bool,
}

/// The first Linux with CAP_BPF and CAP_PERFMON, which were parts of CAP_SYS_ADMIN before, and the first that counts the memory of
/// BPF maps for the control group and not for the user.
const SPLIT: (u32, u32) = (5, 8);
const NO_MEMLOCK: (u32, u32) = (5, 11);

/// Kernels from which on units differ, newest first.
pub const SINCE: [(u32, u32); 3] = [NO_MEMLOCK, SPLIT, (0, 0)];

/// What nobody who loads BPF programs needs.
const HARDENING: &str = "\
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
UMask=0077
IPAddressDeny=any
SystemCallArchitectures=native
SystemCallFilter=@system-service bpf perf_event_open
SystemCallFilter=~@privileged @resources
SystemCallFilter=bpf perf_event_open setrlimit prlimit64
SystemCallErrorNumber=EPERM
";

/// The capabilities that the kernel asks for.
pub fn capabilities(config: &Deploy, runs: &Runs) -> Vec<String> {
    let mut names: Vec<String> = config.capabilities.clone();
    let Kernel { version, btf, is_paranoid } = runs.kernel;
    if !btf {
        names.extend(config.capabilities_without_btf.iter().cloned());
    }
    if version < SPLIT || is_paranoid && config.perf_events.are_used(btf) {
        let split = ["CAP_BPF", "CAP_PERFMON"];
        if names.iter().any(|name| split.contains(&name.as_str())) {
            names.retain(|name| !split.contains(&name.as_str()));
            names.push("CAP_SYS_ADMIN".into());
        }
    }
    if version < NO_MEMLOCK && !names.iter().any(|name| name == "CAP_SYS_RESOURCE") {
        names.push("CAP_SYS_RESOURCE".into());
    }
    names.sort();
    names.dedup();
    names
}

/// The text of the unit that `deploy` writes.
pub fn text(config: &Deploy, runs: &Runs) -> String {
    format!("{MARK}`, which replaces it: put changes into {}.service.d/.\n{}", runs.name, body(config, runs))
}

/// The same without the line at its top that says whose it is.
pub fn body(config: &Deploy, runs: &Runs) -> String {
    let Runs { name, folder, kernel } = runs;
    let names = capabilities(config, runs).join(" ");
    let words: String = config.args.iter().map(|word| format!(" {}", quoted(word))).collect();
    let tracefs = if kernel.btf { "" } else { "After=sys-kernel-tracing.mount\nWants=sys-kernel-tracing.mount\n" };
    let program = quoted(&format!("{}/{name}", folder.trim_end_matches('/')));
    format!(
        "\
[Unit]
Description={name}
{tracefs}
[Service]
ExecStart={program}{words}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5
DynamicUser=yes
LogsDirectory={name}
StateDirectory={name}
AmbientCapabilities={names}
CapabilityBoundingSet={names}
LimitMEMLOCK=infinity
{HARDENING}
[Install]
WantedBy=multi-user.target
"
    )
}

/// A word as systemd takes it.
fn quoted(word: &str) -> String {
    let word = word.replace('%', "%%").replace('$', "$$");
    match word.is_empty() || word.contains(|char: char| char.is_whitespace() || "\"'\\;".contains(char)) {
        true => format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")),
        false => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::products::PerfEvents;

    fn config() -> Deploy {
        let words = |text: &str| text.split(' ').map(String::from).collect();
        Deploy {
            capabilities: words("CAP_BPF CAP_PERFMON"),
            capabilities_without_btf: words("CAP_DAC_READ_SEARCH"),
            args: vec!["--output".into(), "a b%".into()],
            ..Deploy::default()
        }
    }

    fn on(version: (u32, u32), btf: bool) -> Runs<'static> {
        Runs { name: "probe", folder: "/usr/local/bin", kernel: Kernel { version, btf, is_paranoid: false } }
    }

    #[test]
    fn a_kernel_gets_the_capabilities_that_it_asks_for_and_no_more() {
        for (kernel, btf, expected) in [
            ((6, 1), true, "CAP_BPF CAP_PERFMON"),
            ((6, 1), false, "CAP_BPF CAP_DAC_READ_SEARCH CAP_PERFMON"),
            ((5, 10), true, "CAP_BPF CAP_PERFMON CAP_SYS_RESOURCE"),
            ((5, 4), true, "CAP_SYS_ADMIN CAP_SYS_RESOURCE"),
        ] {
            assert_eq!(capabilities(&config(), &on(kernel, btf)).join(" "), expected, "{kernel:?} {btf}");
        }
    }

    #[test]
    fn perf_events_take_more_where_the_kernel_is_paranoid() {
        for (perf_events, btf, expected) in [
            (PerfEvents::Never, false, "CAP_BPF CAP_DAC_READ_SEARCH CAP_PERFMON"),
            (PerfEvents::WithoutBtf, false, "CAP_DAC_READ_SEARCH CAP_SYS_ADMIN"),
            (PerfEvents::WithoutBtf, true, "CAP_BPF CAP_PERFMON"),
            (PerfEvents::Always, true, "CAP_SYS_ADMIN"),
        ] {
            let config = Deploy { perf_events, ..config() };
            let kernel = Kernel { version: (6, 1), btf, is_paranoid: true };
            let runs = Runs { kernel, ..on((6, 1), btf) };
            assert_eq!(capabilities(&config, &runs).join(" "), expected, "{perf_events:?} {btf}");
        }
    }

    #[test]
    fn a_unit_runs_the_link_with_the_words_of_the_application() {
        let unit = text(&config(), &on((6, 1), false));
        assert!(unit.starts_with("# Written by `cargo xtask`, which"), "{unit}");
        assert!(unit.contains("\nExecStart=/usr/local/bin/probe --output \"a b%%\"\n"), "{unit}");
        assert!(unit.contains("\nWants=sys-kernel-tracing.mount\n"), "{unit}");
        assert!(!text(&config(), &on((6, 1), true)).contains("tracing.mount"));
    }
}

//! A DaemonSet for Kubernetes, with the rights that the program needs and no others.

use crate::arch::Arch;
use crate::deploy::unit::{self, Kernel, Runs};
use crate::emit::Program;
use crate::emit::plan::File;

/// What of it is not in the configuration.
#[derive(Debug)]
pub struct Cluster<'a> {
    pub image: &'a str,
    pub version: &'a str,
    pub arches: &'a [&'static Arch],
    /// Of the nodes: the oldest kernel, and whether all have BTF.
    pub kernel: Kernel,
    /// Whether it sees the processes of the node.
    pub host_pid: bool,
}

/// The DaemonSet.
pub fn file(program: Program, cluster: &Cluster) -> File {
    let Program { name, folder, config } = program;
    let runs = Runs { name, folder, kernel: cluster.kernel };
    let capabilities = unit::capabilities(config, &runs);
    let list = |words: &[&str]| serde_json::to_string(words).expect("words are JSON").replace("\",\"", "\", \"");
    let strings = |words: &[String]| list(&words.iter().map(String::as_str).collect::<Vec<_>>());
    // Kubernetes refuses the one with the other.
    let escalates = capabilities.iter().any(|name| name == "CAP_SYS_ADMIN");
    let short: Vec<&str> = capabilities.iter().filter_map(|name| name.strip_prefix("CAP_")).collect();
    let mut arches: Vec<&str> = cluster.arches.iter().map(|arch| arch.name).collect();
    arches.sort_unstable();
    let args =
        if config.args.is_empty() { String::new() } else { format!("\n          args: {}", strings(&config.args)) };
    let text = include_str!("daemonset.yaml")
        .replace("@LABEL@", &label(name))
        .replace("@PROGRAM@", name)
        .replace("@VERSION@", &cluster.version.replace('+', "_"))
        .replace("@IMAGE@", cluster.image)
        .replace("@HOST_PID@", if cluster.host_pid { "\n      hostPID: true" } else { "" })
        .replace("@ARCHES@", &list(&arches))
        .replace("@ESCALATION@", if escalates { "true" } else { "false" })
        .replace("@CAPABILITIES@", &list(&short))
        .replace("@ARGS@", &args);
    File::text("daemonset.yaml", text)
}

/// A name as Kubernetes takes it.
fn label(name: &str) -> String {
    let usual = |char: char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' };
    name.chars().map(usual).take(63).collect::<String>().trim_matches('-').to_owned()
}

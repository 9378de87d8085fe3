//! Bundles of Sigstore, which PyPI's sigstore checks: without a network, by the roots that it brings along.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::report::Report;
use crate::sys::command::Command;
use crate::sys::process::Runner;

/// A bundle of one archive, and one of all that SHA256SUMS names.
const BUNDLE: &str = ".sigstore.json";
const ATTESTATION: &str = "attestation.sigstore.json";

/// How many bytes a bundle may have: one has some ten thousand.
const MAX_BUNDLE: u64 = 1 << 20;

/// Longer than Python takes to start on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Who must have signed, as the certificate in a bundle names them.
pub struct Identity {
    /// Such as the address of a workflow, at a tag.
    pub subject: String,
    /// Who vouches for that.
    pub issuer: String,
}

/// Refuses an archive that has no bundle by whom it must be.
pub fn check(runner: Runner, archive: &Path, identity: &Identity, report: &mut Report) -> Result<()> {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let names = [format!("{name}{BUNDLE}"), ATTESTATION.to_owned()];
    let is_there = |bundle: &&String| {
        archive.with_file_name(bundle).metadata().is_ok_and(|found| found.is_file() && found.len() <= MAX_BUNDLE)
    };
    let Some(bundle) = names.iter().find(is_there) else {
        report.fault(format!("there is no bundle of Sigstore beside it: {}", names.join(", or ")));
        return Ok(());
    };
    let command = command(archive, &archive.with_file_name(bundle), identity);
    let version = python(["-m", "sigstore", "--version"]);
    if !succeeds(runner, &version)? {
        report.fault(format!(
            "nothing here reads {bundle}: run `pip install sigstore`, and again; or where that is, {command}"
        ));
    } else if succeeds(runner, &command)? {
        report.against.push(bundle.clone());
    } else {
        report.fault(format!("sigstore does not accept {bundle} for it; {command} says why"));
    }
    Ok(())
}

fn succeeds(runner: Runner, command: &Command) -> Result<bool> {
    // Without Python, there is no sigstore either.
    let output = runner.output_within(command, LIMIT).ok().flatten();
    runner.check_interrupted()?;
    Ok(output.is_some_and(|output| output.status.success()))
}

/// Python reads modules from the folder that it runs in. So that is not one of downloads.
fn python<const N: usize>(args: [&str; N]) -> Command {
    Command::new("python3", Path::new("/")).args(args)
}

fn command(archive: &Path, bundle: &Path, Identity { subject, issuer }: &Identity) -> Command {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    python(["-m", "sigstore", "verify", "identity", "--offline", "--cert-identity", subject]).args([
        "--cert-oidc-issuer",
        issuer,
        "--bundle",
        &path(bundle),
        &path(archive),
    ])
}

//! Keys, signatures and statements, read from where they are.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};

use crate::release::layout::{MINISIG, SSHSIG};
use crate::sign::dsse::{self, Signed};
use crate::sign::key::{PublicKey, SecretKey};
use crate::sign::statement::Place;
use crate::sign::{minisign, sshsig};
use crate::sys::files;
use crate::ui::error::bad_request;

/// How many bytes a signature may have, or a file of statements: a statement of a boot has two thousand.
const MAX_TEXT: u64 = 16 << 20;

/// How many bytes a file of public keys may have.
const MAX_KEYS: u64 = 1 << 20;

/// The variable that has the key itself.
pub const VARIABLE: &str = "BPFSHIP_SIGNING_KEY";

/// Reads the key that signs: from a file, or from [`VARIABLE`]. No error has anything of it.
pub fn secret(file: Option<&Path>) -> Result<SecretKey> {
    let (text, from) = match (file, env::var(VARIABLE)) {
        (Some(file), _) => match fs::read_to_string(file) {
            Ok(text) => (text, file.display().to_string()),
            Err(error) => bad_request!("cannot read the key {}: {error}", file.display()),
        },
        (None, Ok(text)) if !text.trim().is_empty() => (text, VARIABLE.to_owned()),
        _ => {
            bad_request!("there is no key to sign with: name its file with --key, or set {VARIABLE} to the key itself")
        }
    };
    match SecretKey::parse(&text) {
        Ok(key) => Ok(key),
        Err(error) => bad_request!("the key of {from} cannot be used: {error:#}"),
    }
}

/// Reads public keys: each word is a file of them, or a key itself.
pub fn signers(words: &[String]) -> Result<Vec<PublicKey>> {
    let mut keys: Vec<PublicKey> = Vec::new();
    for word in words {
        let text = match Path::new(word).exists() {
            true => keys_of(Path::new(word)),
            false => Ok(word.clone()),
        };
        match text.and_then(|text| PublicKey::parse(&text)) {
            Ok(found) => keys.extend(found),
            Err(error) => bad_request!("--signer {word}: {error:#}; a public key, or a file with one, is expected"),
        }
    }
    keys.sort_by_key(|key| key.bytes);
    keys.dedup_by_key(|key| key.bytes);
    Ok(keys)
}

/// What is in a file of keys. Comments there may be in any encoding; and it may be a pipe, as `<(…)` of a shell is.
fn keys_of(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_KEYS + 1).read_to_end(&mut bytes));
    read.context("cannot read it")?;
    ensure!(bytes.len() as u64 <= MAX_KEYS, "it has more than {MAX_KEYS} bytes");
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a file is signed by one of these keys. A signature that is there and is of none of them is an error.
pub fn is_signed(folder: &Path, name: &str, keys: &[PublicKey]) -> Result<bool> {
    let read = |ending: &str| text(folder, &format!("{name}{ending}"));
    let (of_minisign, of_ssh) = (read(MINISIG)?, read(SSHSIG)?);
    if of_minisign.is_none() && of_ssh.is_none() {
        return Ok(false);
    }
    let bytes = files::foreign(&folder.join(name))?;
    let results = [
        (MINISIG, of_minisign.map(|text| minisign::verify(keys, &bytes, name, &text))),
        (SSHSIG, of_ssh.map(|text| sshsig::verify(keys, &bytes, &text))),
    ];
    for (ending, result) in results {
        match result {
            Some(Ok(false)) => bail!("{name}{ending} is no signature of it by a signer that is named"),
            Some(Err(error)) => return Err(error.context(format!("{name}{ending} cannot be used"))),
            _ => {}
        }
    }
    Ok(true)
}

/// All statements in a folder that are signed by one of these keys.
pub fn statements(folder: &Path, keys: &[PublicKey]) -> Result<Vec<Signed>> {
    let (mut found, mut left) = (Vec::new(), dsse::MAX_SIGNATURES);
    for name in files::list(folder)?.iter().filter(|name| name.ends_with(dsse::ENDING)) {
        let text = text(folder, name)?.unwrap_or_default();
        let statements = dsse::read(keys, &text, &mut left).with_context(|| format!("{name} cannot be used"))?;
        // What is signed as a file, too, is what others than we read.
        if !statements.is_empty() {
            is_signed(folder, name, keys)?;
        }
        found.extend(statements);
    }
    Ok(found)
}

/// The text of a file that may be anybody's, if it is there.
fn text(folder: &Path, name: &str) -> Result<Option<String>> {
    files::foreign_text(&folder.join(name), MAX_TEXT).with_context(|| format!("{name} cannot be used"))
}

/// What is known of this machine.
pub fn place(builder: String) -> Place {
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let system = system.trim_matches('"').to_owned();
    Place { builder, system, kernel, machine: env::consts::ARCH, date }
}

//! Signatures as `ssh-keygen -Y sign` makes them
//! (<https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig>).

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256, Sha512};

use crate::sign::encoding::{armored, encode};
use crate::sign::key::{PublicKey, SecretKey};
use crate::sign::wire::{KIND, NAMESPACE, Wire, public, strings, wire};

const MAGIC: &[u8] = b"SSHSIG";
const ARMOR: &str = "SSH SIGNATURE";

fn signed(hash: &str, digest: &[u8]) -> Vec<u8> {
    [MAGIC, &strings(&[NAMESPACE.as_bytes(), b"", hash.as_bytes(), digest])].concat()
}

/// The text of a signature.
pub fn sign(key: &SecretKey, message: &[u8]) -> String {
    let signature = key.sign(&signed("sha512", &Sha512::digest(message)));
    let signature = strings(&[KIND.as_bytes(), &signature]);
    let rest = strings(&[&wire(&key.public.bytes), NAMESPACE.as_bytes(), b"", b"sha512", &signature]);
    let text = encode(&[MAGIC, &1_u32.to_be_bytes(), &rest].concat());
    // ssh-keygen's width.
    let lines: Vec<&str> = (0..text.len()).step_by(70).map(|at| &text[at..text.len().min(at + 70)]).collect();
    format!("-----BEGIN {ARMOR}-----\n{}\n-----END {ARMOR}-----\n", lines.join("\n"))
}

/// Whether a signature is of one of these keys.
pub fn verify(keys: &[PublicKey], message: &[u8], text: &str) -> Result<bool> {
    let bytes = armored(text, ARMOR)?.context("it is no signature of ssh-keygen")?;
    let mut wire = Wire(bytes.strip_prefix(MAGIC).context("it is no signature of ssh-keygen")?);
    ensure!(wire.number()? == 1, "it is of another version of ssh-keygen");
    let own = public(wire.string()?)?;
    ensure!(wire.string()? == NAMESPACE.as_bytes(), "it is for another purpose (`-n {NAMESPACE}` is expected)");
    wire.string()?;
    let (hash, digest) = match wire.string()? {
        b"sha512" => ("sha512", Sha512::digest(message).to_vec()),
        b"sha256" => ("sha256", Sha256::digest(message).to_vec()),
        _ => bail!("its hash is not known"),
    };
    let mut signature = Wire(wire.string()?);
    ensure!(signature.string()? == KIND.as_bytes(), "it is of another kind of key than Ed25519");
    let signature = signature.string()?;
    let known = keys.iter().find(|key| key.bytes == own);
    Ok(known.is_some_and(|key| key.verifies(&signed(hash, &digest), signature)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::key::tests::example;

    #[test]
    fn a_signature_is_of_one_key_and_one_message() {
        let (key, other) = (example(1), example(2));
        let text = sign(&key, b"message");
        assert!(verify(&[other.public, key.public], b"message", &text).unwrap());
        assert!(!verify(&[key.public], b"massage", &text).unwrap());
        assert!(!verify(&[other.public], b"message", &text).unwrap());
        for end in 0..text.len() - 2 {
            assert!(verify(&[key.public], b"message", &text[..end]).is_err(), "{end}");
        }
    }
}

//! Signatures as minisign makes them (<https://jedisct1.github.io/minisign/#signature-format>).

use anyhow::{Context, Result, bail, ensure};
use blake2::{Blake2b512, Digest};

use crate::sign::encoding::{base64, encode};
use crate::sign::key::{PublicKey, SecretKey};

const TRUSTED: &str = "trusted comment: ";

/// The text of a signature of the file `name`.
pub fn sign(key: &SecretKey, message: &[u8], name: &str) -> String {
    let signature = key.sign(&Blake2b512::digest(message));
    let comment = format!("file:{name}");
    let whole = key.sign(&[&signature[..], comment.as_bytes()].concat());
    let signature = [b"ED".as_slice(), &key.public.id, &signature].concat();
    let (signature, whole) = (encode(&signature), encode(&whole));
    format!(
        "untrusted comment: verify it with minisign -P {}\n{signature}\n{TRUSTED}{comment}\n{whole}\n",
        key.public.minisign()
    )
}

/// Whether a signature of the file `name` is of one of these keys.
pub fn verify(keys: &[PublicKey], message: &[u8], name: &str, text: &str) -> Result<bool> {
    let strange = "it is no signature of minisign";
    let mut lines = text.lines().skip(1);
    let signature = base64(lines.next().context(strange)?).context(strange)?;
    let comment = lines.next().and_then(|line| line.strip_prefix(TRUSTED)).context(strange)?;
    let whole = base64(lines.next().context(strange)?).context(strange)?;
    ensure!(signature.len() == 74 && whole.len() == 64, strange);
    ensure!(signature.starts_with(b"ED"), "it is of an old minisign (version 0.8 and later hash the file first)");
    let signature = &signature[10..];
    let digest = Blake2b512::digest(message);
    let commented = [signature, comment.as_bytes()].concat();
    let is_of = |key: &PublicKey| key.verifies(&digest, signature) && key.verifies(&commented, &whole);
    let found = keys.iter().any(is_of);
    let other = comment.split('\t').find_map(|field| field.strip_prefix("file:")).filter(|file| *file != name);
    match other {
        Some(file) if found => bail!("it is the signature of {file}"),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::key::tests::example;

    #[test]
    fn a_signature_is_of_one_key_one_message_and_one_name() {
        let (key, other) = (example(1), example(2));
        let text = sign(&key, b"message", "a.tar.gz");
        assert!(verify(&[other.public, key.public], b"message", "a.tar.gz", &text).unwrap());
        assert!(!verify(&[key.public], b"massage", "a.tar.gz", &text).unwrap());
        assert!(!verify(&[other.public], b"message", "a.tar.gz", &text).unwrap());
        let error = verify(&[key.public], b"message", "b.tar.gz", &text).unwrap_err();
        assert_eq!(error.to_string(), "it is the signature of a.tar.gz");
        assert!(!verify(&[key.public], b"message", "b", &text.replace("file:a.tar.gz", "file:b")).unwrap());
        assert!(verify(&[key.public], b"message", "a.tar.gz", "a\nb\nc\nd").is_err());
    }
}

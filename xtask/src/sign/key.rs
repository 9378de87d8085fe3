//! Ed25519 keys, in the forms that other programs keep them in. One key makes all kinds of signatures (docs/releasing.md).

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use ed25519_compact::{KeyPair, Seed, Signature};
use sha2::{Digest, Sha256};

use crate::sign::encoding::{armored, base64, encode};
use crate::sign::wire::{self, Wire};

/// What signs.
pub struct SecretKey {
    pair: KeyPair,
    pub public: PublicKey,
}

/// What is known of who signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    pub bytes: [u8; 32],
    /// By which minisign knows it.
    pub id: [u8; 8],
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "SecretKey({})", self.public.fingerprint())
    }
}

/// What the fingerprint of a key begins with.
pub const FINGERPRINT: &str = "SHA256:";

/// What a PKCS #8 file of an Ed25519 key begins with, and a file of the public one.
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

impl SecretKey {
    /// Reads a key as ssh-keygen, minisign (`-W`) or openssl (PKCS #8) writes it, without a passphrase.
    pub fn parse(text: &str) -> Result<SecretKey> {
        if let Some(bytes) = armored(text, "OPENSSH PRIVATE KEY")? {
            return openssh(&bytes);
        }
        if let Some(bytes) = armored(text, "PRIVATE KEY")? {
            let seed = bytes.strip_prefix(&PKCS8).context("it is no Ed25519 key of PKCS #8")?;
            return SecretKey::new(seed, None);
        }
        let encrypted = ["ENCRYPTED PRIVATE KEY", "minisign encrypted secret key"];
        let bytes = text.lines().find_map(|line| base64(line.trim()).ok().filter(|bytes| bytes.len() == 158));
        match bytes {
            Some(bytes) if bytes[..4] == *b"Ed\0\0" => SecretKey::new(&bytes[62..94], bytes[54..62].try_into().ok()),
            Some(_) => bail!("it has a passphrase: {PASSPHRASE}"),
            None if encrypted.iter().any(|word| text.contains(word)) => bail!("it has a passphrase: {PASSPHRASE}"),
            None => bail!("it is no Ed25519 key of ssh-keygen, minisign or openssl"),
        }
    }

    fn new(seed: &[u8], id: Option<[u8; 8]>) -> Result<SecretKey> {
        let pair = KeyPair::from_seed(Seed::from_slice(seed).context("it is no Ed25519 key")?);
        let public = PublicKey::new(*pair.pk, id);
        Ok(SecretKey { pair, public })
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        // Without noise, the same message always has the same signature.
        *self.pair.sk.sign(message, None)
    }
}

const PASSPHRASE: &str = "give one without, or sign with the program that it is of (docs/releasing.md)";

impl PublicKey {
    /// `id` is that which minisign gave it; another key gets one that follows from it.
    fn new(bytes: [u8; 32], id: Option<[u8; 8]>) -> PublicKey {
        let derived = || Sha256::digest(bytes)[..8].try_into().expect("a hash has more than 8 bytes");
        PublicKey { bytes, id: id.unwrap_or_else(derived) }
    }

    /// Reads public keys: of minisign, of ssh (a line of `authorized_keys`, `allowed_signers` or a `.pub`), or in PEM.
    pub fn parse(text: &str) -> Result<Vec<PublicKey>> {
        if let Some(bytes) = armored(text, "PUBLIC KEY")? {
            let bytes = bytes.strip_prefix(&SPKI).and_then(|bytes| bytes.try_into().ok());
            return Ok(vec![PublicKey::new(bytes.context("it is no Ed25519 key")?, None)]);
        }
        ensure!(!text.contains("PRIVATE KEY-----"), "it is a private key: name the public one of it");
        let mut keys = Vec::new();
        for line in text.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let mut options: Vec<&str> = Vec::new();
            if words.by_ref().inspect(|word| options.push(word)).any(|word| word == wire::KIND) {
                check_options(&options)?;
                let bytes = base64(words.next().unwrap_or_default()).context("its key is cut off")?;
                keys.push(PublicKey::new(wire::public(&bytes)?, None));
            } else if let Ok(bytes) = base64(line)
                && bytes.len() == 42
                && bytes.starts_with(b"Ed")
            {
                keys.push(PublicKey::new(bytes[10..].try_into()?, bytes[2..10].try_into().ok()));
            }
        }
        ensure!(!keys.is_empty(), "there is no public key of minisign or ssh (ssh-ed25519) in it");
        Ok(keys)
    }

    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = Signature::from_slice(signature) else { return false };
        ed25519_compact::PublicKey::new(self.bytes).verify(message, &signature).is_ok()
    }

    /// As minisign writes it.
    pub fn minisign(&self) -> String {
        encode(&[b"Ed".as_slice(), &self.id, &self.bytes].concat())
    }

    /// As ssh writes it.
    pub fn ssh(&self) -> String {
        format!("{} {}", wire::KIND, encode(&wire::wire(&self.bytes)))
    }

    /// Enough of it to tell keys apart, as a file may be called.
    pub fn letters(&self) -> String {
        encode(&self.bytes).chars().filter(char::is_ascii_alphanumeric).take(16).collect()
    }

    /// As `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        let hash = Sha256::digest(wire::wire(&self.bytes));
        format!("{FINGERPRINT}{}", encode(&hash).trim_end_matches('='))
    }
}

/// Refuses what a line of `allowed_signers` says of its key, where that is not what is meant here: ssh-keygen heeds it, in small
/// and in capital letters.
fn check_options(words: &[&str]) -> Result<()> {
    for option in options(&words.join(" ")) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name.to_ascii_lowercase().as_str() {
            "namespaces" => {
                let mut names = value.trim_matches('"').split(',');
                let is_ours = !value.contains('!') && names.any(|name| name == wire::NAMESPACE);
                ensure!(is_ours, "a key in it is not for `{}`: {option}", wire::NAMESPACE);
            }
            "cert-authority" | "valid-after" | "valid-before" | "@revoked" | "@cert-authority" => bail!(
                "what it says of a key is not understood, {name}: leave the line out, or the word if the key is good"
            ),
            _ => {}
        }
    }
    Ok(())
}

/// The words of a line: a comma or a space between quotation marks is part of one.
fn options(line: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    line.split(move |char| {
        is_quoted ^= char == '"';
        [',', ' '].contains(&char) && !is_quoted
    })
}

/// `openssh-key-v1`: <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key>.
fn openssh(bytes: &[u8]) -> Result<SecretKey> {
    let bytes = bytes.strip_prefix(b"openssh-key-v1\0").context("it is no key of ssh-keygen")?;
    let mut outer = Wire(bytes);
    let (cipher, _, _) = (outer.string()?, outer.string()?, outer.string()?);
    ensure!(cipher == b"none", "it has a passphrase: {PASSPHRASE}");
    outer.number()?;
    outer.string()?;
    let mut secret = Wire(outer.string()?);
    // Twice the same number, by which ssh-keygen sees a wrong passphrase.
    secret.number()?;
    secret.number()?;
    ensure!(secret.string()? == wire::KIND.as_bytes(), "it is no Ed25519 key: make one with `ssh-keygen -t ed25519`");
    secret.string()?;
    let seed = secret.string()?.get(..32).context("it is cut off")?;
    SecretKey::new(seed, None)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A key that signs nothing but tests.
    pub fn example(seed: u8) -> SecretKey {
        SecretKey::new(&[seed; 32], None).unwrap()
    }

    #[test]
    fn a_key_that_is_not_for_this_or_no_longer_good_is_not_taken() {
        let parse = |options: &str| PublicKey::parse(&format!("ann {options} {}", example(1).public.ssh()));
        for good in ["", "namespaces=\"file,bpfship\"", "namespaces=bpfship"] {
            assert_eq!(parse(good).unwrap(), [example(1).public], "{good}");
        }
        for (wrong, words) in [
            ("namespaces=\"file,git\"", "is not for `bpfship`"),
            ("valid-before=\"20200101\"", "not understood, valid-before"),
            ("namespaces=\"bpfship\",valid-after=\"20200101\"", "not understood, valid-after"),
            ("cert-authority", "not understood, cert-authority"),
            ("cert-authority,namespaces=\"bpfship\"", "not understood, cert-authority"),
            ("namespaces=bpfship,valid-before=20200101", "not understood, valid-before"),
            ("namespaces=\"bpfship,a b\",valid-before=\"20200101\"", "not understood, valid-before"),
            ("Valid-Before=\"20200101\"", "not understood, Valid-Before"),
            ("CERT-AUTHORITY", "not understood, CERT-AUTHORITY"),
            ("Namespaces=\"git\"", "is not for `bpfship`"),
            ("namespaces=\"bpfship,!bpfship\"", "is not for `bpfship`"),
            ("@revoked", "not understood, @revoked"),
        ] {
            assert!(parse(wrong).unwrap_err().to_string().contains(words), "{wrong}");
        }
    }

    #[test]
    fn a_public_key_is_read_as_it_is_written() {
        let key = example(1).public;
        for text in [key.minisign(), key.ssh(), format!("ann@a.invalid namespaces=\"bpfship\" {} ann", key.ssh())] {
            assert_eq!(PublicKey::parse(&text).unwrap()[0].bytes, key.bytes, "{text}");
        }
        assert_eq!(PublicKey::parse(&format!("# ann\n{}\n\n{}", key.ssh(), example(2).public.ssh())).unwrap().len(), 2);
        assert_eq!(PublicKey::parse(&format!("\u{feff}{} J\u{fffd}rg\r\n", key.ssh())).unwrap(), [key]);
        let longer = encode(&[wire::wire(&key.bytes).as_slice(), b"x"].concat());
        for text in ["", "ssh-ed25519", "ssh-rsa AAAA", "ssh-ed25519 AAAA", "RWQ", &format!("ssh-ed25519 {longer}")] {
            assert!(PublicKey::parse(text).is_err(), "{text}");
        }
        let error = PublicKey::parse("-----BEGIN OPENSSH PRIVATE KEY-----").unwrap_err().to_string();
        assert_eq!(error, "it is a private key: name the public one of it");
    }

    #[test]
    fn a_secret_key_is_never_printed() {
        let key = example(7);
        assert_eq!(format!("{key:?}"), format!("SecretKey({})", key.public.fingerprint()));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
        {
            assert!(SecretKey::parse(text).is_err(), "{text}");
        }
    }
}

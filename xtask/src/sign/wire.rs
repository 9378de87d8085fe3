//! Keys as ssh sends them: strings, each behind its length (RFC 4251).

use anyhow::{Context, Result, ensure};

/// What our signatures are for: none of another purpose is taken for one.
pub const NAMESPACE: &str = "bpfship";

/// ssh's word for the kind of key.
pub const KIND: &str = "ssh-ed25519";

/// Strings and numbers as ssh sends them.
pub struct Wire<'a>(pub &'a [u8]);

impl<'a> Wire<'a> {
    pub fn number(&mut self) -> Result<u32> {
        let (number, rest) = self.0.split_first_chunk().context("it is cut off")?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    pub fn string(&mut self) -> Result<&'a [u8]> {
        let length = self.number()? as usize;
        let (string, rest) = self.0.split_at_checked(length).context("it is cut off")?;
        self.0 = rest;
        Ok(string)
    }
}

pub fn strings(strings: &[&[u8]]) -> Vec<u8> {
    let length = |string: &[u8]| u32::try_from(string.len()).expect("strings are short").to_be_bytes();
    strings.iter().flat_map(|string| [&length(string)[..], string].concat()).collect()
}

/// A public key as ssh sends it.
pub fn wire(key: &[u8; 32]) -> Vec<u8> {
    strings(&[KIND.as_bytes(), key])
}

/// The key in what [`wire`] gives.
pub fn public(bytes: &[u8]) -> Result<[u8; 32]> {
    let mut wire = Wire(bytes);
    ensure!(wire.string()? == KIND.as_bytes(), "it is no Ed25519 key");
    let key = wire.string()?.try_into().context("it is no Ed25519 key")?;
    ensure!(wire.0.is_empty(), "more follows behind an Ed25519 key");
    Ok(key)
}

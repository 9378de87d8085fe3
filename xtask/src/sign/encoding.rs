//! How bytes are written as text.

use anyhow::{Context, Result};
use ct_codecs::{Base64, Decoder, Encoder};

/// What is between the lines `BEGIN` and `END` of a text.
pub fn armored(text: &str, what: &str) -> Result<Option<Vec<u8>>> {
    let Some((_, rest)) = text.split_once(&format!("-----BEGIN {what}-----")) else { return Ok(None) };
    let (body, _) = rest.split_once(&format!("-----END {what}-----")).context("its end is missing")?;
    base64(&body.split_whitespace().collect::<String>()).map(Some)
}

pub fn encode(bytes: &[u8]) -> String {
    Base64::encode_to_string(bytes).expect("memory is there")
}

pub fn base64(text: &str) -> Result<Vec<u8>> {
    Base64::decode_to_vec(text, None).ok().context("it is not base64")
}

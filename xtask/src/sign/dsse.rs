//! Signed statements: in-toto's, in envelopes (<https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>), one a line.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::sign::encoding::{base64, encode};
use crate::sign::key::{FINGERPRINT, PublicKey, SecretKey};

/// What the names of files of statements end with.
pub const ENDING: &str = ".intoto.jsonl";

const PAYLOAD: &str = "application/vnd.in-toto+json";

/// How many signatures all statements of a release may have: each takes time to be checked.
pub const MAX_SIGNATURES: usize = 4096;

/// A statement, and who made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed {
    pub by: PublicKey,
    pub statement: Value,
}

/// What is signed: the kind of a payload, and the payload, so that neither can be taken for the other.
fn encoding(payload: &[u8]) -> Vec<u8> {
    [format!("DSSEv1 {} {PAYLOAD} {} ", PAYLOAD.len(), payload.len()).as_bytes(), payload].concat()
}

/// A line with a statement.
pub fn sign(key: &SecretKey, statement: &Value) -> String {
    let payload = statement.to_string();
    let signature = encode(&key.sign(&encoding(payload.as_bytes())));
    let signature = json!({ "keyid": key.public.fingerprint(), "sig": signature });
    let envelope = json!({ "payload": encode(payload.as_bytes()), "payloadType": PAYLOAD, "signatures": [signature] });
    format!("{envelope}\n")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// The statements in a file that are signed by one of these keys. Those of others are left out; one that claims to be of such a
/// key and is not is an error. `left` is how many signatures may still be checked.
pub fn read(keys: &[PublicKey], text: &str, left: &mut usize) -> Result<Vec<Signed>> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let at = || format!("line {}", index + 1);
        let envelope: Envelope = serde_json::from_str(line).with_context(at)?;
        ensure!(envelope.payload_type == PAYLOAD, "{} is no statement of in-toto", at());
        let payload = base64(&envelope.payload).with_context(at)?;
        let message = encoding(&payload);
        *left = left.checked_sub(envelope.signatures.len()).with_context(|| {
            format!("with {}, there are more than {MAX_SIGNATURES} signatures beside the archives", at())
        })?;
        for Signature { keyid, sig } in &envelope.signatures {
            let signature = base64(sig).with_context(at)?;
            let by = keys.iter().find(|key| key.verifies(&message, &signature));
            let is_claimed = keys.iter().any(|key| key.fingerprint() == *keyid);
            ensure!(by.is_some() || !is_claimed, "{} is not what {keyid} has signed", at());
            if let Some(by) = by {
                let is_other = keyid.starts_with(FINGERPRINT) && *keyid != by.fingerprint();
                ensure!(!is_other, "{} is signed by {}, and names {keyid}", at(), by.fingerprint());
                found.push(Signed { by: *by, statement: serde_json::from_slice(&payload).with_context(at)? });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::key::tests::example;

    #[test]
    fn a_statement_is_of_who_signed_it_or_refused() {
        let (key, other) = (example(1), example(2));
        let line = sign(&key, &json!({ "a": 1 }));
        let of = |keys: &[PublicKey]| read(keys, &line, &mut 1).unwrap();
        assert_eq!(of(&[other.public, key.public]), [Signed { by: key.public, statement: json!({ "a": 1 }) }]);
        assert_eq!(of(&[other.public]), []);
        let altered = line.replace(&encode(b"{\"a\":1}"), &encode(b"{\"a\":2}"));
        assert_ne!(altered, line);
        assert!(
            read(&[key.public], &altered, &mut 1).unwrap_err().to_string().starts_with("line 1 is not what SHA256:")
        );
        let renamed = line.replace(&key.public.fingerprint(), &other.public.fingerprint());
        let error = read(&[key.public], &renamed, &mut 1).unwrap_err().to_string();
        assert!(error.contains(&format!("and names {}", other.public.fingerprint())), "{error}");
        let error = read(&[key.public], &line.repeat(3), &mut 2).unwrap_err().to_string();
        assert_eq!(error, "with line 3, there are more than 4096 signatures beside the archives");
    }
}

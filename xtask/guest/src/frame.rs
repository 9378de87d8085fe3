//! A report on the console, among whatever else is written there: `<init NUMBER CHECKSUM BODY>`. The checksum covers a
//! nonce that only the first process and the host know, so neither noise nor the program under test can forge a report.

use sha2::{Digest, Sha256};

const START: &str = "<init ";
const END: char = '>';

/// Encodes the report with this number, in printable ASCII.
pub fn encode(nonce: &str, number: u32, body: &str) -> String {
    let body = escape(body);
    format!("{START}{number} {} {body}{END}", checksum(nonce, number, &body))
}

/// Decodes the reports in a line of the console, with their numbers. A report that is cut off or forged is ignored.
pub fn decode(nonce: &str, line: &str) -> Vec<(u32, String)> {
    line.match_indices(START).filter_map(|(at, start)| decode_one(nonce, &line[at + start.len()..])).collect()
}

fn decode_one(nonce: &str, rest: &str) -> Option<(u32, String)> {
    let (inside, _) = rest.split_once(END)?;
    let (number, inside) = inside.split_once(' ')?;
    let (sum, body) = inside.split_once(' ')?;
    let number = number.parse().ok()?;
    (sum == checksum(nonce, number, body)).then_some(())?;
    Some((number, unescape(body)?))
}

/// 64 bits of SHA-256.
fn checksum(nonce: &str, number: u32, escaped: &str) -> String {
    let hash = Sha256::digest(format!("{nonce} {number} {escaped}"));
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn escape(body: &str) -> String {
    let mut escaped = String::with_capacity(body.len());
    for byte in body.bytes() {
        match byte {
            b'\\' | b'<' | b'>' => escaped += &format!("\\x{byte:02x}"),
            b' '..=b'~' => escaped.push(char::from(byte)),
            _ => escaped += &format!("\\x{byte:02x}"),
        }
    }
    escaped
}

fn unescape(escaped: &str) -> Option<String> {
    let mut parts = escaped.split("\\x");
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_decoded_whatever_it_contains_and_whatever_is_around_it() {
        for body in ["", " ", "two words", "<init 1 2 3>", "back\\slash \\x41", "Größe\n\r\0\x1b[31m"] {
            let written = encode("secret", 7, body);
            assert!(written.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{written}");
            let line = format!("[    1.0] noise <init {written}{written}[    2.0] more> noise\r");
            assert_eq!(decode("secret", &line), [(7, body.to_owned()), (7, body.to_owned())]);
        }
    }

    #[test]
    fn what_is_altered_cut_off_or_forged_is_no_report() {
        let written = encode("secret", 7, "exited 0 code 1");
        for line in [
            written.replace("code 1", "code 0"),
            written.replace("<init 7", "<init 8"),
            written[..written.len() - 1].to_owned(),
            written.replace("exited", "[   12.3] noise exited"),
            encode("", 7, "exited 0 code 0"),
            "<init 7 0 exited 0 code 0>".into(),
            "<init >".into(),
        ] {
            assert_eq!(decode("secret", &line), [], "{line}");
        }
    }
}

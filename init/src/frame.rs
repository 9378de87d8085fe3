//! A report on the console, among whatever else is written there: `<init NUMBER CHECKSUM BODY>`. The checksum takes in a
//! secret of init's and the host's, so that neither noise nor the program under test can make or alter a report.

use sha2::{Digest, Sha256};

const START: &str = "<init ";
const END: char = '>';

/// The report with this number, as it is written: all of it printable ASCII.
pub fn encode(nonce: &str, number: u32, body: &str) -> String {
    let body = escape(body);
    format!("{START}{number} {} {body}{END}", checksum(nonce, number, &body))
}

/// The reports in a line of the console, with their numbers. What is not whole, or not of init's, is none.
pub fn decode(nonce: &str, line: &str) -> Vec<(u32, String)> {
    line.match_indices(START).filter_map(|(at, start)| one(nonce, &line[at + start.len()..])).collect()
}

fn one(nonce: &str, rest: &str) -> Option<(u32, String)> {
    let (inside, _) = rest.split_once(END)?;
    let (number, inside) = inside.split_once(' ')?;
    let (told, body) = inside.split_once(' ')?;
    let number = number.parse().ok()?;
    (told == checksum(nonce, number, body)).then_some(())?;
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
    fn what_is_written_can_be_read_whatever_it_is_and_whatever_is_around_it() {
        for body in ["", " ", "two words", "<init 1 2 3>", "back\\slash \\x41", "Größe\n\r\0\x1b[31m"] {
            let written = encode("secret", 7, body);
            assert!(written.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{written}");
            let line = format!("[    1.0] noise <init {written}{written}[    2.0] more> noise\r");
            assert_eq!(decode("secret", &line), [(7, body.to_owned()), (7, body.to_owned())]);
        }
    }

    #[test]
    fn what_is_altered_cut_or_made_by_somebody_else_is_no_report() {
        let written = encode("secret", 7, "ended 0 code 1");
        for line in [
            written.replace("code 1", "code 0"),
            written.replace("<init 7", "<init 8"),
            written[..written.len() - 1].to_owned(),
            written.replace("ended", "[   12.3] noise ended"),
            encode("", 7, "ended 0 code 0"),
            "<init 7 0 ended 0 code 0>".into(),
            "<init >".into(),
        ] {
            assert_eq!(decode("secret", &line), [], "{line}");
        }
    }
}

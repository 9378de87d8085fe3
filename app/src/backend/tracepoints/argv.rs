//! The arguments of a program, as the kernel laid them onto its stack before its first instruction.
//!
//! Up from the stack pointer: their number, a pointer to each, a zero, a pointer to each variable of the environment, a
//! zero, and further up the texts, those of the arguments first, one after the other.

use std::ops::Range;

use crate::perf_ring::Stack;

/// The arguments as they lie in memory, each with its NUL, up to `most` bytes of them; and whether there are more.
/// None if what was copied of the stack does not reach that far, or is something else.
pub(super) fn arguments(stack: &Stack, most: usize) -> Option<(&[u8], bool)> {
    let number = usize::try_from(stack.word(0)?).ok()?;
    if number == 0 {
        return Some((&[], false));
    }
    let first = stack.word(1)?;
    let last = stack.word(number)?;
    if stack.word(number.checked_add(1)?)? != 0 {
        return None;
    }
    let begin = stack.offset(first)?;
    let end = match stack.word(number + 2)? {
        // No environment: the last argument ends where its NUL is.
        0 => {
            let last = stack.offset(last)?;
            last + stack.bytes.get(last..)?.iter().position(|&byte| byte == 0)? + 1
        }
        environment => stack.offset_beyond(environment)?,
    };
    // All arguments lie in one piece.
    let length = end.checked_sub(begin).filter(|_| (first..).contains(&last))?;
    let shown: Range<usize> = begin..begin + length.min(most);
    Some((stack.bytes.get(shown)?, length > most))
}

impl Stack {
    /// A word of the program's size.
    fn word(&self, index: usize) -> Option<u64> {
        let size = if self.is_32_bit { 4 } else { 8 };
        let bytes = self.bytes.get(index.checked_mul(size)?..)?.get(..size)?;
        Some(match *bytes {
            [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]).into(),
            _ => u64::from_ne_bytes(bytes.try_into().ok()?),
        })
    }

    /// Where an address lies in what was copied.
    fn offset(&self, address: u64) -> Option<usize> {
        self.offset_beyond(address).filter(|&offset| offset < self.bytes.len())
    }

    /// The same for one that may lie beyond it.
    fn offset_beyond(&self, address: u64) -> Option<usize> {
        address.checked_sub(self.pointer)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTER: u64 = 0x7000;

    /// A stack with these arguments and variables, and a gap before the texts.
    fn stack(is_32_bit: bool, args: &[&[u8]], environment: &[&[u8]]) -> Stack {
        let size = if is_32_bit { 4 } else { 8 };
        let texts = (args.len() + environment.len() + 3) * size + 100;
        let mut words = vec![args.len() as u64];
        let mut data: Vec<u8> = Vec::new();
        for part in [args, environment] {
            for text in part {
                words.push(POINTER + (texts + data.len()) as u64);
                data.extend(*text);
                data.push(0);
            }
            words.push(0);
        }
        let mut bytes: Vec<u8> = words
            .iter()
            .flat_map(
                |&word| if is_32_bit { (word as u32).to_ne_bytes().to_vec() } else { word.to_ne_bytes().to_vec() },
            )
            .collect();
        bytes.resize(texts, 0xee);
        bytes.extend(data);
        bytes.extend(b"/the/file\0");
        Stack { is_32_bit, pointer: POINTER, bytes }
    }

    #[test]
    fn arguments_are_found_in_programs_of_both_sizes() {
        for is_32_bit in [false, true] {
            for environment in [&[][..], &[&b"A=b"[..], b"C="]] {
                let stack = stack(is_32_bit, &[b"ls", b"", b"two words"], environment);
                assert_eq!(arguments(&stack, 100), Some((&b"ls\0\0two words\0"[..], false)));
                assert_eq!(arguments(&stack, 4), Some((&b"ls\0\0"[..], true)));
                assert_eq!(arguments(&stack, 14), Some((&b"ls\0\0two words\0"[..], false)));
            }
        }
        assert_eq!(arguments(&stack(false, &[], &[b"A=b"]), 100), Some((&b""[..], false)));
    }

    #[test]
    fn what_was_not_copied_is_not_guessed() {
        let whole = stack(false, &[b"ls", b"-l"], &[b"A=b"]);
        let needed = whole.bytes.windows(4).position(|bytes| bytes == b"A=b\0").unwrap();
        for length in 0..whole.bytes.len() {
            let cut = Stack { bytes: whole.bytes[..length].to_vec(), ..stack(false, &[], &[]) };
            let found = arguments(&cut, 100);
            assert_eq!(found, (length >= needed).then_some((&b"ls\0-l\0"[..], false)), "{length}");
        }
        // Of more than is shown, what is shown is enough.
        let long = [b'x'; 50];
        let whole = stack(false, &[b"ls", &long], &[b"A=b"]);
        let cut = whole.bytes.len() - 20;
        let cut = Stack { bytes: whole.bytes[..cut].to_vec(), ..whole };
        assert_eq!(arguments(&cut, 8), Some((&b"ls\0xxxxx"[..], true)));
    }

    #[test]
    fn a_stack_that_is_something_else_gives_nothing() {
        let good = stack(false, &[b"ls", b"-l"], &[b"A=b"]);
        for (word, value) in [(0, 1), (0, 3), (0, u64::MAX), (1, 0), (1, POINTER + 9000), (2, 1), (3, 1), (4, POINTER)]
        {
            let mut bytes = good.bytes.clone();
            bytes[word * 8..][..8].copy_from_slice(&u64::to_ne_bytes(value));
            assert_eq!(arguments(&Stack { bytes, ..stack(false, &[], &[]) }, 100), None, "{word} {value}");
        }
        // A program of 64 bits with pointers of 32, whose words are half as large as the kernel says.
        let half = Stack { is_32_bit: false, ..stack(true, &[b"ls", b"-l"], &[b"A=b"]) };
        assert_eq!(arguments(&half, 100), None);
    }
}

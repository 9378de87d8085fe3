//! Instructions of BPF: which there are, what they call, and which feature of a kernel they need.
//!
//! The format: <https://docs.kernel.org/bpf/standardization/instruction-set.html>.

use anyhow::{Result, bail, ensure};

use crate::kernel_features::Feature;
use crate::{Endian, kernel_features};

/// Bytes of a slot. The kernel counts slots: a load of 64 bits takes two, and any other instruction one.
pub const SLOT: usize = 8;

/// The contents of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u8,
    pub source: u8,
    pub offset: i16,
    pub immediate: i32,
}

const LOAD_64_BITS: u8 = 0x18;
const CALL: u8 = 0x85;
/// clang writes it for a pointer to a function, and no kernel knows it.
const CALL_BY_POINTER: u8 = 0x8d;
const EXIT: u8 = 0x95;
const JUMP: u8 = 0x05;
const LONG_JUMP: u8 = 0x06;
const MAY_GOTO: u8 = 0xe5;

/// Reads instructions, each at the slot where it begins; the second slot of one that takes two has none.
pub fn decode(bytes: &[u8], endian: Endian) -> Result<Vec<Option<Instruction>>> {
    let (slots, rest) = bytes.as_chunks::<SLOT>();
    ensure!(rest.is_empty(), "its {} bytes are no instructions, which have {SLOT} each", bytes.len());
    let mut decoded = Vec::new();
    let mut is_second = false;
    for slot in slots {
        let [code, registers, a, b, immediate @ ..] = *slot;
        let (source, offset, immediate) = match endian {
            Endian::Little => (registers >> 4, i16::from_le_bytes([a, b]), i32::from_le_bytes(immediate)),
            Endian::Big => (registers & 0xf, i16::from_be_bytes([a, b]), i32::from_be_bytes(immediate)),
        };
        if is_second {
            ensure!(code == 0, "a load of 64 bits has a second half with the code {code:#04x}");
        }
        decoded.push((!is_second).then_some(Instruction { code, source, offset, immediate }));
        is_second = !is_second && code == LOAD_64_BITS;
    }
    ensure!(!is_second, "its last instruction is cut off");
    Ok(decoded)
}

/// What an instruction calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Helper(u32),
    /// A function of the object; where a relocation names a symbol, it may be the kernel's.
    Function,
    /// A function of the kernel's, by its number there.
    Kernel,
}

impl Instruction {
    pub fn call(&self) -> Option<Call> {
        match (self.code, self.source) {
            (CALL, 0) => Some(Call::Helper(self.immediate as u32)),
            (CALL, 1) => Some(Call::Function),
            (CALL, 2) => Some(Call::Kernel),
            _ => None,
        }
    }

    pub fn is_exit(&self) -> bool {
        self.code == EXIT
    }

    pub fn calls_by_pointer(&self) -> bool {
        self.code == CALL_BY_POINTER
    }

    /// Whether it loads 64 bits: a number, or where a relocation names a symbol, a map, a variable or a function.
    pub fn loads_64_bits(&self) -> bool {
        self.code == LOAD_64_BITS
    }

    /// The feature that it needs, if the first kernels with BPF did not have it. Fails for an instruction that is not
    /// known here.
    pub fn required_feature(&self) -> Result<Option<&'static Feature>> {
        let Instruction { code, source, offset, immediate } = *self;
        let operation = code >> 4;
        Ok(match code & 7 {
            // Loads and stores, by mode and size.
            0 if matches!(code, 0x18 | 0x20 | 0x28 | 0x30 | 0x40 | 0x48 | 0x50) => None,
            1 if matches!(code, 0x61 | 0x69 | 0x71 | 0x79) => None,
            1 if matches!(code, 0x81 | 0x89 | 0x91) => Some(&kernel_features::CPU_V4),
            2 if matches!(code, 0x62 | 0x6a | 0x72 | 0x7a) => None,
            3 if matches!(code, 0x63 | 0x6b | 0x73 | 0x7b) => None,
            3 if matches!(code, 0xc3 | 0xcb | 0xd3 | 0xdb) => match immediate {
                0x100 | 0x110 => Some(&kernel_features::ACQUIRE_RELEASE),
                _ if matches!(code, 0xcb | 0xd3) => bail!("instruction {code:#04x}"),
                0x00 => None,
                0x01 | 0x40 | 0x41 | 0x50 | 0x51 | 0xa0 | 0xa1 | 0xe1 | 0xf1 => Some(&kernel_features::ATOMICS),
                _ => bail!("instruction {code:#04x}"),
            },
            // Arithmetic, with 32 and 64 bits.
            7 if code == 0xd7 => Some(&kernel_features::CPU_V4),
            7 if code == 0xbf && offset == 1 => Some(&kernel_features::ADDRESS_SPACES),
            4 | 7 if matches!(operation, 0x3 | 0x9 | 0xb) && offset != 0 => Some(&kernel_features::CPU_V4),
            4 if operation <= 0xd => None,
            7 if operation <= 0xc => None,
            // Jumps, on 64 and 32 bits.
            5 if code == CALL && source <= 2 => None,
            5 if code == EXIT || code == JUMP => None,
            5 if code == MAY_GOTO => Some(&kernel_features::MAY_GOTO),
            5 if matches!(operation, 0x1..=0x7) => None,
            5 if matches!(operation, 0xa..=0xd) => Some(&kernel_features::CPU_V2),
            6 if code == LONG_JUMP => Some(&kernel_features::CPU_V4),
            6 if matches!(operation, 0x1..=0x7 | 0xa..=0xd) => Some(&kernel_features::CPU_V3),
            _ => bail!("instruction {code:#04x}"),
        })
    }

    /// Where it may go other than to the next instruction, from slot `at`; and whether it may go to the next one.
    fn jump(&self, at: usize) -> (Option<usize>, bool) {
        let target = |distance: i64| usize::try_from(at as i64 + 1 + distance).ok();
        match self.code {
            EXIT => (None, false),
            CALL => (None, true),
            JUMP => (target(self.offset.into()), false),
            LONG_JUMP => (target(self.immediate.into()), false),
            code if matches!(code & 7, 5 | 6) => (target(self.offset.into()), true),
            _ => (None, true),
        }
    }
}

/// Whether a function comes back to an instruction that led there: what the verifiers of old kernels call a back-edge.
pub fn has_loop(function: &[Option<Instruction>]) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        /// On the way from the first instruction to where we are.
        Open,
        Done,
    }
    let next = |at: usize| match &function[at] {
        Some(instruction) => {
            let (target, goes_on) = instruction.jump(at);
            let after = at + if instruction.loads_64_bits() { 2 } else { 1 };
            [target, goes_on.then_some(after)]
        }
        // No instruction begins here; the kernel refuses a jump to it.
        None => [None, None],
    };
    let mut states = vec![State::New; function.len()];
    let mut path: Vec<(usize, [Option<usize>; 2])> = Vec::new();
    let mut enter = Some(0).filter(|_| !function.is_empty());
    loop {
        if let Some(at) = enter.take() {
            states[at] = State::Open;
            path.push((at, next(at)));
        }
        let Some((at, targets)) = path.last_mut() else {
            return false;
        };
        let Some(target) = targets.iter_mut().find_map(Option::take) else {
            states[*at] = State::Done;
            path.pop();
            continue;
        };
        match states.get(target) {
            Some(State::Open) => return true,
            Some(State::New) => enter = Some(target),
            Some(State::Done) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One slot, as an object of this byte order has it.
    fn slot(code: u8, source: u8, offset: i16, immediate: i32, endian: Endian) -> [u8; SLOT] {
        let (registers, [a, b], [c, d, e, f]) = match endian {
            Endian::Little => (source << 4 | 1, offset.to_le_bytes(), immediate.to_le_bytes()),
            Endian::Big => (source | 1 << 4, offset.to_be_bytes(), immediate.to_be_bytes()),
        };
        [code, registers, a, b, c, d, e, f]
    }

    fn function(slots: &[(u8, u8, i16, i32)]) -> Vec<Option<Instruction>> {
        let bytes = |endian| -> Vec<u8> {
            slots
                .iter()
                .flat_map(|(code, source, offset, immediate)| slot(*code, *source, *offset, *immediate, endian))
                .collect()
        };
        let [little, big] = Endian::ALL.map(|endian| decode(&bytes(endian), endian).unwrap());
        assert_eq!(little, big);
        little
    }

    #[test]
    fn both_byte_orders_are_read_alike() {
        let decoded =
            function(&[(0x18, 2, 0, -5), (0, 0, 0, 7), (CALL, 0, 0, 130), (CALL, 1, 0, -1), (0x6d, 3, -2, 0)]);
        assert_eq!(decoded.len(), 5);
        assert_eq!(decoded[0], Some(Instruction { code: 0x18, source: 2, offset: 0, immediate: -5 }));
        assert_eq!(decoded[1], None);
        assert_eq!(decoded[2].unwrap().call(), Some(Call::Helper(130)));
        assert_eq!(decoded[3].unwrap().call(), Some(Call::Function));
        assert_eq!(decoded[4], Some(Instruction { code: 0x6d, source: 3, offset: -2, immediate: 0 }));
        assert_eq!(decoded[4].unwrap().call(), None);
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        for endian in Endian::ALL {
            let load = slot(0x18, 0, 0, 1, endian);
            let error = |bytes: &[u8]| decode(bytes, endian).unwrap_err().to_string();
            assert_eq!(error(&load[..7]), "its 7 bytes are no instructions, which have 8 each");
            assert_eq!(error(&load), "its last instruction is cut off");
            assert_eq!(error(&load.repeat(2)), "a load of 64 bits has a second half with the code 0x18");
        }
    }

    #[test]
    fn a_loop_is_a_way_back_and_not_each_jump_back() {
        // 0: r1 = 0; 1: if r1 goto 3; 2: goto 4; 3: goto 2; 4: exit
        let backwards = [(0xb7, 0, 0, 0), (0x15, 0, 1, 0), (JUMP, 0, 1, 0), (JUMP, 0, -2, 0), (EXIT, 0, 0, 0)];
        assert!(!has_loop(&function(&backwards)));
        // 0: r1 += 1; 1: if r1 goto 0; 2: exit
        let repeats = [(0x07, 0, 0, 1), (0x55, 0, -2, 0), (EXIT, 0, 0, 0)];
        assert!(has_loop(&function(&repeats)));
        // The same after a load of two slots, and with a jump of 32 bits.
        let long = [(0x18, 0, 0, 0), (0, 0, 0, 0), (0x55, 0, 1, 0), (LONG_JUMP, 0, 0, -4), (EXIT, 0, 0, 0)];
        assert!(has_loop(&function(&long)));
        // What nothing leads to, and jumps to where no instruction is.
        let dead = [(EXIT, 0, 0, 0), (JUMP, 0, -1, 0)];
        let away = [(0x15, 0, i16::MAX, 0), (0x15, 0, i16::MIN, 0), (0x18, 0, 0, 0), (0, 0, 0, 0), (0x15, 0, -2, 0)];
        for none in [&dead[..], &away, &[]] {
            assert!(!has_loop(&function(none)));
        }
    }

    #[test]
    fn newer_instructions_need_a_feature() {
        let needs = |code, source, offset, immediate| {
            let instruction = Instruction { code, source, offset, immediate };
            instruction.required_feature().map(|row| row.map(|row| row.name)).map_err(|error| error.to_string())
        };
        for (code, source, offset, immediate, row) in [
            (0xbf, 1, 0, 0, None),
            (0x79, 1, -8, 0, None),
            (0xdc, 0, 0, 64, None),
            (0x1d, 1, 4, 0, None),
            (0xdb, 1, 0, 0, None),
            (0xad, 1, 4, 0, Some(&kernel_features::CPU_V2)),
            (0x16, 0, 4, 0, Some(&kernel_features::CPU_V3)),
            (0xdb, 1, 0, 1, Some(&kernel_features::ATOMICS)),
            (0xc3, 1, 0, 0xf1, Some(&kernel_features::ATOMICS)),
            (0xd3, 1, 0, 0x100, Some(&kernel_features::ACQUIRE_RELEASE)),
            (0x81, 1, 0, 0, Some(&kernel_features::CPU_V4)),
            (0xbf, 1, 8, 0, Some(&kernel_features::CPU_V4)),
            (0x3f, 1, 1, 0, Some(&kernel_features::CPU_V4)),
            (0xd7, 0, 0, 16, Some(&kernel_features::CPU_V4)),
            (LONG_JUMP, 0, 0, 1, Some(&kernel_features::CPU_V4)),
            (0xbf, 1, 1, 1, Some(&kernel_features::ADDRESS_SPACES)),
            (MAY_GOTO, 0, 1, 0, Some(&kernel_features::MAY_GOTO)),
        ] {
            assert_eq!(needs(code, source, offset, immediate), Ok(row.map(|row| row.name)), "{code:#04x}");
        }
        for (code, source, immediate) in
            [(0x8d, 0, 1), (CALL, 3, 1), (0xdb, 1, 2), (0xd3, 1, 0), (0xff, 0, 0), (0, 0, 0)]
        {
            assert_eq!(needs(code, source, 0, immediate), Err(format!("instruction {code:#04x}")));
        }
    }
}

//! Values that are nothing but their bytes: what BPF programs and their application exchange. Generated bindings use it.

use std::error;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, align_of, size_of};
use std::ops::Deref;
use std::slice;

/// Types that any bytes are a value of, and that have no padding. [`plain_struct!`](crate::plain_struct) implements it, for
/// structs of which it proves both.
///
/// # Safety
/// Every byte of a value is initialised, and every combination of bytes is a value.
pub unsafe trait Plain: Copy + 'static {
    /// All bytes 0.
    // SAFETY: so every combination of bytes is a value.
    const ZERO: Self = unsafe { MaybeUninit::zeroed().assume_init() };
}

macro_rules! numbers {
    ($($number:ident)*) => {
        // SAFETY: numbers have no padding, and are made of any bytes.
        $(unsafe impl Plain for $number {})*
    };
}

numbers!(u8 i8 u16 i16 u32 i32 u64 i64 f32 f64);

// SAFETY: there is nothing between the elements of an array.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// A copy of the value at this offset in `bytes`, aligned or not.
///
/// # Panics
/// When it is not within them.
#[must_use]
pub fn get<T: Plain>(bytes: &[u8], offset: usize) -> T {
    let bytes = &bytes[offset..][..size_of::<T>()];
    // SAFETY: there are as many bytes as it has, and any are a value.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}

/// The value that begins with these bytes, of which there are as many as it has at most. The others are 0.
///
/// # Panics
/// When there are more.
#[must_use]
pub fn get_begin<T: Plain>(bytes: &[u8]) -> T {
    assert!(bytes.len() <= size_of::<T>());
    let mut value = T::ZERO;
    // SAFETY: it has as many bytes as are copied, and any are a value.
    unsafe { (&raw mut value).cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    value
}

/// Writes a value to this offset in `bytes`, aligned or not.
///
/// # Panics
/// When it is not within them.
pub fn set<T: Plain>(bytes: &mut [u8], offset: usize, value: T) {
    let bytes = &mut bytes[offset..][..size_of::<T>()];
    // SAFETY: there are as many bytes as it has, all of which are initialised.
    unsafe { bytes.as_mut_ptr().cast::<T>().write_unaligned(value) }
}

/// The bytes that a value is made of.
#[must_use]
pub fn bytes<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: every byte of it is initialised.
    unsafe { slice::from_raw_parts((&raw const *value).cast(), size_of::<T>()) }
}

/// What a bit field can be.
pub trait Bits: Copy {
    /// Cuts off what it does not have room for.
    fn from_bits(bits: i128) -> Self;
    fn to_bits(self) -> u128;
    const SIGNED: bool;
}

macro_rules! integers {
    ($($integer:ident $signed:literal)*) => {
        $(impl Bits for $integer {
            fn from_bits(bits: i128) -> Self {
                bits as Self
            }
            fn to_bits(self) -> u128 {
                self as u128
            }
            const SIGNED: bool = $signed;
        })*
    };
}

impl Bits for bool {
    fn from_bits(bits: i128) -> Self {
        bits != 0
    }
    fn to_bits(self) -> u128 {
        self.into()
    }
    const SIGNED: bool = false;
}

integers!(u8 false i8 true u16 false i16 true u32 false i32 true u64 false i64 true);

/// The bit field of `width` bits that begins `offset` bits after the begin of `bytes`, of which there are at most 16. Bits
/// are counted as C compilers give them out: from the lowest one of a byte on little-endian machines, from the highest one on
/// big-endian ones.
#[must_use]
pub fn bits<T: Bits>(bytes: &[u8], offset: usize, width: usize) -> T {
    let above = 128 - width;
    let bits = load(bytes) >> shift(bytes.len(), offset, width) << above;
    T::from_bits(if T::SIGNED { bits.cast_signed() >> above } else { (bits >> above).cast_signed() })
}

/// Writes what [`bits`] reads, and cuts off what does not fit.
pub fn set_bits<T: Bits>(bytes: &mut [u8], offset: usize, width: usize, value: T) {
    let shift = shift(bytes.len(), offset, width);
    let mask = u128::MAX >> (128 - width) << shift;
    let whole = load(bytes) & !mask | value.to_bits() << shift & mask;
    let length = bytes.len();
    if cfg!(target_endian = "big") {
        bytes.copy_from_slice(&whole.to_be_bytes()[16 - length..]);
    } else {
        bytes.copy_from_slice(&whole.to_le_bytes()[..length]);
    }
}

fn load(bytes: &[u8]) -> u128 {
    let mut all = [0; 16];
    if cfg!(target_endian = "big") {
        all[16 - bytes.len()..].copy_from_slice(bytes);
        u128::from_be_bytes(all)
    } else {
        all[..bytes.len()].copy_from_slice(bytes);
        u128::from_le_bytes(all)
    }
}

fn shift(length: usize, offset: usize, width: usize) -> usize {
    if cfg!(target_endian = "big") { 8 * length - offset - width } else { offset }
}

/// A record of a BPF program, which begins with a `T`: it dereferences to that.
#[derive(Debug, Clone, Copy)]
pub struct Record<B, T> {
    bytes: B,
    begin: PhantomData<fn() -> T>,
}

/// Bytes are too few for a record, or not aligned as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongRecord {
    /// Bytes that are there.
    pub length: usize,
    /// Bytes of the type that it begins with.
    pub size: usize,
}

impl fmt::Display for WrongRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WrongRecord { length, size } if length < size => {
                write!(f, "a record has {length} bytes, expected at least {size}")
            }
            _ => write!(f, "a record lies where it is not aligned"),
        }
    }
}

impl error::Error for WrongRecord {}

impl<B: Deref<Target = [u8]>, T: Plain> Record<B, T> {
    /// # Errors
    /// When there are fewer bytes than a `T` has, or they are not aligned.
    pub fn new(bytes: B) -> Result<Self, WrongRecord> {
        view::<T>(&bytes)?;
        Ok(Self { bytes, begin: PhantomData })
    }

    /// What follows the `T`: a flexible array, or padding.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[size_of::<T>()..]
    }
}

impl<B: Deref<Target = [u8]>, T: Plain> Deref for Record<B, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match view(&self.bytes) {
            Ok(value) => value,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The value that bytes begin with.
///
/// # Errors
/// When there are fewer bytes than a `T` has, or they are not aligned.
pub fn view<T: Plain>(bytes: &[u8]) -> Result<&T, WrongRecord> {
    let begin = bytes.as_ptr().cast::<T>();
    if bytes.len() < size_of::<T>() || begin.addr() % align_of::<T>() != 0 {
        return Err(WrongRecord { length: bytes.len(), size: size_of::<T>() });
    }
    // SAFETY: it is within the bytes, aligned, and any bytes are a value.
    Ok(unsafe { &*begin })
}

/// What an object needs of a kernel, as `cargo xtask bpf --report` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelNeeds {
    /// The oldest release of Linux that has all of it, as far as it is known.
    pub oldest: Option<(u32, u32)>,
    /// The kernel has to have BTF.
    pub btf: bool,
    /// What came with which release, the newest first.
    pub features: &'static [(&'static str, &'static str)],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_and_written_where_it_is_not_aligned() {
        let mut bytes = [0_u8; 12];
        set(&mut bytes, 3, 0x0123_4567_89ab_cdef_u64);
        assert_eq!(get::<u64>(&bytes, 3), 0x0123_4567_89ab_cdef);
        assert_eq!((bytes[2], bytes[11]), (0, 0));
        assert_eq!(self::bytes(&0.5_f64), 0.5_f64.to_ne_bytes());
        assert_eq!(get_begin::<[u8; 6]>(&bytes[8..10]), [bytes[8], bytes[9], 0, 0, 0, 0]);
        assert_eq!(get::<[u8; 2]>(&bytes, 3), 0x0123_4567_89ab_cdef_u64.to_ne_bytes()[..2]);
    }

    #[test]
    fn a_bit_field_keeps_to_its_bits() {
        let mut bytes = [0xff_u8; 5];
        set_bits(&mut bytes, 6, 20, 0_u32);
        assert_eq!(bits::<u32>(&bytes, 6, 20), 0);
        assert_eq!((bits::<u8>(&bytes, 0, 6), bits::<u16>(&bytes, 26, 14)), (0x3f, 0x3fff));
        set_bits(&mut bytes, 6, 20, -2_i32);
        assert_eq!((bits::<i32>(&bytes, 6, 20), bits::<u32>(&bytes, 6, 20)), (-2, 0xf_fffe));
        set_bits(&mut bytes, 6, 20, 0xfff0_0001_u32);
        assert_eq!(bits::<u32>(&bytes, 6, 20), 1);
        let mut wide = [0; 9];
        set_bits(&mut wide, 4, 64, u64::MAX);
        assert_eq!((bits::<u64>(&wide, 4, 64), bits::<i64>(&wide, 4, 64), bits::<u8>(&wide, 0, 4)), (u64::MAX, -1, 0));
    }

    #[test]
    fn a_record_is_as_long_as_its_type_and_aligned() {
        let bytes = [7_u64.to_ne_bytes(), 8_u64.to_ne_bytes()].concat();
        let at = bytes.as_ptr().align_offset(8);
        let aligned = &bytes[at..];
        let record = Record::<_, u64>::new(aligned);
        assert_eq!(record.map(|record| (*record, record.rest().len())), Ok((get::<u64>(aligned, 0), 8 - at)));
        let error = Record::<_, u64>::new(&aligned[..7]).unwrap_err();
        assert_eq!(error.to_string(), "a record has 7 bytes, expected at least 8");
        let error = view::<u32>(&aligned[1..]).unwrap_err();
        assert_eq!(error.to_string(), "a record lies where it is not aligned");
    }
}

//! What the bindings that `cargo xtask bpf` writes consist of. Each macro is for them, and takes the application's own aya.

/// A struct of C, with the offset of each field. Its layout is asserted when it is compiled, and so is that its fields are all
/// of its bytes and any bytes are a value of it.
#[macro_export]
macro_rules! plain_struct {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident: size $size:literal, align $align:tt {
            $($(#[$field_attribute:meta])* $field:ident: $of:ty = $offset:literal),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy)]
        #[repr(C, align($align))]
        pub struct $name {
            $($(#[$field_attribute])* pub $field: $of,)*
        }

        const _: () = {
            const fn is_plain<T: $crate::Plain>() {}
            $(is_plain::<$of>();)*
            assert!(::core::mem::size_of::<$name>() == $size, concat!("the size of ", stringify!($name)));
            assert!(::core::mem::align_of::<$name>() == $align, concat!("the alignment of ", stringify!($name)));
            $(assert!(
                ::core::mem::offset_of!($name, $field) == $offset,
                concat!("the offset of ", stringify!($name), ".", stringify!($field))
            );)*
            assert!(
                0 $(+ ::core::mem::size_of::<$of>())* == $size,
                concat!(stringify!($name), " has bytes that belong to no field")
            );
        };
        // SAFETY: the assertions above. All fields are plain, and together they are all of its bytes.
        unsafe impl $crate::Plain for $name {}
        // SAFETY: the same.
        unsafe impl ::aya::Pod for $name {}
        impl ::core::default::Default for $name {
            /// All bytes 0.
            fn default() -> Self {
                <Self as $crate::Plain>::ZERO
            }
        }
    };
}

/// An enum of C: a number that may have other values, too.
#[macro_export]
macro_rules! plain_enum {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident: $number:ty, align $align:tt {
            $($value:ident = $is:literal),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(C, align($align))]
        pub struct $name(pub $number);

        impl $name {
            $(pub const $value: Self = Self($is);)*
        }

        const _: () = assert!(::core::mem::size_of::<$name>() == $align && ::core::mem::size_of::<$number>() == $align);
        // SAFETY: all of it is the number.
        unsafe impl $crate::Plain for $name {}
        // SAFETY: the same.
        unsafe impl ::aya::Pod for $name {}
        impl ::core::default::Default for $name {
            /// 0, whatever that stands for.
            fn default() -> Self {
                <Self as $crate::Plain>::ZERO
            }
        }
        impl $crate::Bits for $name {
            fn from_bits(bits: i128) -> Self {
                Self($crate::Bits::from_bits(bits))
            }
            fn to_bits(self) -> u128 {
                $crate::Bits::to_bits(self.0)
            }
            const SIGNED: bool = <$number as $crate::Bits>::SIGNED;
        }
    };
}

/// A member that overlaps with others, or is not aligned: functions that read and write it.
#[macro_export]
macro_rules! member {
    ($name:ident.$field:ident at $offset:literal: $of:ty, $get:ident, $set:ident) => {
        impl $name {
            #[must_use]
            pub fn $get(&self) -> $of {
                $crate::get(&self.$field, $offset)
            }
            pub fn $set(&mut self, value: $of) {
                $crate::set(&mut self.$field, $offset, value);
            }
        }
    };
}

/// A bit field: functions that read and write it.
#[macro_export]
macro_rules! bit_field {
    ($name:ident.$field:ident[$bytes:expr] from $offset:literal, $width:literal bits: $of:ty, $get:ident, $set:ident) => {
        impl $name {
            #[doc = concat!("Bits: ", $width)]
            #[must_use]
            pub fn $get(&self) -> $of {
                $crate::bits(&self.$field[$bytes], $offset, $width)
            }
            #[doc = concat!("Bits: ", $width)]
            pub fn $set(&mut self, value: $of) {
                $crate::set_bits(&mut self.$field[$bytes], $offset, $width, value);
            }
        }
    };
}

/// Values for variables, to be set before an object is loaded.
#[macro_export]
macro_rules! overrides {
    ($($field:ident $name:literal: $of:ty),* $(,)?) => {
        /// Values for variables. One without keeps that of the source.
        #[derive(Debug, Clone, Copy, Default)]
        pub struct Overrides {
            $(pub $field: ::core::option::Option<$of>,)*
        }

        impl Overrides {
            /// Has a loader set them.
            pub fn apply<'a>(&'a self, loader: &mut ::aya::EbpfLoader<'a>) {
                $(if let ::core::option::Option::Some(value) = &self.$field {
                    // aya takes no floats, but the bytes of anything.
                    loader.override_global($name, $crate::bytes(value), true);
                })*
            }
        }
    };
}

/// A function that reads all variables of a section.
#[macro_export]
macro_rules! section {
    ($get:ident, $name:literal, $size:literal bytes, $of:ty) => {
        #[doc = concat!("Reads the variables in `", $name, "`.")]
        pub fn $get(ebpf: &::aya::Ebpf) -> ::core::result::Result<$of, ::aya::maps::MapError> {
            let map = ebpf.map($name).ok_or_else(|| ::aya::maps::MapError::InvalidName { name: $name.into() })?;
            let bytes = ::aya::maps::Array::<_, [u8; $size]>::try_from(map)?.get(&0, 0)?;
            ::core::result::Result::Ok($crate::get_begin(&bytes))
        }
    };
}

/// Functions that give a map of the object by its `NAME`.
#[macro_export]
macro_rules! map {
    ($map:ident $(, $of:ty)*) => {
        /// A handle to it, to read.
        pub fn get(
            ebpf: &::aya::Ebpf,
        ) -> ::core::result::Result<::aya::maps::$map<&::aya::maps::MapData $(, $of)*>, ::aya::maps::MapError> {
            ebpf.map(NAME).ok_or_else(|| ::aya::maps::MapError::InvalidName { name: NAME.into() })?.try_into()
        }
        $crate::owned_map!($map $(, $of)*);
    };
}

/// The same, of what nobody only reads.
#[macro_export]
macro_rules! owned_map {
    ($map:ident $(, $of:ty)*) => {
        /// A handle to it.
        pub fn get_mut(ebpf: &mut ::aya::Ebpf) -> ::core::result::Result<
            ::aya::maps::$map<&mut ::aya::maps::MapData $(, $of)*>,
            ::aya::maps::MapError,
        > {
            ebpf.map_mut(NAME).ok_or_else(|| ::aya::maps::MapError::InvalidName { name: NAME.into() })?.try_into()
        }
        /// The map itself, which `ebpf` does not have any more then.
        pub fn take(ebpf: &mut ::aya::Ebpf) -> ::core::result::Result<
            ::aya::maps::$map<::aya::maps::MapData $(, $of)*>,
            ::aya::maps::MapError,
        > {
            ebpf.take_map(NAME).ok_or_else(|| ::aya::maps::MapError::InvalidName { name: NAME.into() })?.try_into()
        }
    };
}

/// Functions that give a ring buffer, and its records as events.
#[macro_export]
macro_rules! ring_buffer {
    ($event:ty) => {
        /// The ring buffer, with its records as events.
        pub struct RingBuffer<T>(pub ::aya::maps::RingBuf<T>);

        impl<T> RingBuffer<T> {
            /// The next record, if there is one. When it is dropped, its room is free.
            pub fn next(
                &mut self,
            ) -> ::core::option::Option<
                ::core::result::Result<
                    $crate::Record<::aya::maps::ring_buf::RingBufItem<'_>, $event>,
                    $crate::WrongRecord,
                >,
            > {
                self.0.next().map($crate::Record::new)
            }
        }

        impl<T: ::core::borrow::Borrow<::aya::maps::MapData>> ::std::os::fd::AsFd for RingBuffer<T> {
            /// Readable when there is a record.
            fn as_fd(&self) -> ::std::os::fd::BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl<T> ::core::convert::From<::aya::maps::RingBuf<T>> for RingBuffer<T> {
            fn from(buffer: ::aya::maps::RingBuf<T>) -> Self {
                Self(buffer)
            }
        }

        /// The ring buffer of an object.
        pub fn get_mut(
            ebpf: &mut ::aya::Ebpf,
        ) -> ::core::result::Result<RingBuffer<&mut ::aya::maps::MapData>, ::aya::maps::MapError> {
            let map = ebpf.map_mut(NAME).ok_or_else(|| ::aya::maps::MapError::InvalidName { name: NAME.into() })?;
            ::aya::maps::RingBuf::try_from(map).map(RingBuffer)
        }
        /// The ring buffer itself, which `ebpf` does not have any more then.
        pub fn take(
            ebpf: &mut ::aya::Ebpf,
        ) -> ::core::result::Result<RingBuffer<::aya::maps::MapData>, ::aya::maps::MapError> {
            let map = ebpf.take_map(NAME).ok_or_else(|| ::aya::maps::MapError::InvalidName { name: NAME.into() })?;
            ::aya::maps::RingBuf::try_from(map).map(RingBuffer)
        }
    };
}

/// Functions that give a program of the object by its `NAME`, and attach it to what its section says.
#[macro_export]
macro_rules! program {
    ($program:ident) => {
        /// A handle to it.
        pub fn get(
            ebpf: &mut ::aya::Ebpf,
        ) -> ::core::result::Result<&mut ::aya::programs::$program, ::aya::programs::ProgramError> {
            let program = ebpf.program_mut(NAME);
            let program = program.ok_or_else(|| ::aya::programs::ProgramError::InvalidName { name: NAME.into() })?;
            program.try_into()
        }
    };
    ($program:ident, $module:ident::$link:ident, attach $arguments:tt) => {
        $crate::program!($program);

        /// Loads it, and attaches it to what its section says. It is attached until `ebpf` is dropped.
        pub fn attach(
            ebpf: &mut ::aya::Ebpf,
        ) -> ::core::result::Result<::aya::programs::$module::$link, ::aya::programs::ProgramError> {
            let program = get(ebpf)?;
            program.load()?;
            program.attach $arguments
        }
    };
    ($program:ident, $module:ident::$link:ident, load($to:literal)) => {
        $crate::program!($program);

        /// Loads it for what its section says, which the kernel's BTF describes, and attaches it. It is attached until `ebpf`
        /// is dropped.
        pub fn attach(
            ebpf: &mut ::aya::Ebpf,
            btf: &::aya::Btf,
        ) -> ::core::result::Result<::aya::programs::$module::$link, ::aya::programs::ProgramError> {
            let program = get(ebpf)?;
            program.load($to, btf)?;
            program.attach()
        }
    };
}

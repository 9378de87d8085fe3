//! As much of aya as bindings mention: enough for a compiler to see that they are Rust. That they fit the real one, an application
//! that uses both shows.

pub unsafe trait Pod: Copy + 'static {}
macro_rules! pod {
    ($($number:ident)*) => { $(unsafe impl Pod for $number {})* };
}
pod!(u8 i8 u16 i16 u32 i32 u64 i64);
unsafe impl<T: Pod, const N: usize> Pod for [T; N] {}

#[derive(Debug)]
pub struct EbpfError;
pub struct Btf;
pub struct Ebpf;
impl Ebpf {
    pub fn map(&self, _: &str) -> Option<&maps::Map> {
        None
    }
    pub fn map_mut(&mut self, _: &str) -> Option<&mut maps::Map> {
        None
    }
    pub fn take_map(&mut self, _: &str) -> Option<maps::Map> {
        None
    }
    pub fn program_mut(&mut self, _: &str) -> Option<&mut programs::Program> {
        None
    }
}

pub struct GlobalData<'a>(std::marker::PhantomData<&'a ()>);
impl<'a, T: Pod> From<&'a [T]> for GlobalData<'a> {
    fn from(_: &'a [T]) -> Self {
        Self(std::marker::PhantomData)
    }
}
impl<'a, T: Pod> From<&'a T> for GlobalData<'a> {
    fn from(_: &'a T) -> Self {
        Self(std::marker::PhantomData)
    }
}

pub struct EbpfLoader<'a>(std::marker::PhantomData<&'a ()>);
impl<'a> EbpfLoader<'a> {
    pub fn new() -> Self {
        Self(std::marker::PhantomData)
    }
    pub fn override_global<T: Into<GlobalData<'a>>>(&mut self, _: &'a str, _: T, _: bool) -> &mut Self {
        self
    }
    pub fn allow_unsupported_maps(&mut self) -> &mut Self {
        self
    }
    pub fn load(&mut self, _: &[u8]) -> Result<Ebpf, EbpfError> {
        Err(EbpfError)
    }
}

pub mod maps {
    use std::marker::PhantomData;
    use std::ops::Deref;
    use std::os::fd::{AsFd, BorrowedFd};

    #[derive(Clone, Copy)]
    pub struct MapData;
    unsafe impl super::Pod for MapData {}
    pub struct Map;
    #[derive(Debug)]
    pub enum MapError {
        InvalidName { name: String },
    }
    macro_rules! map {
        ($($name:ident $($of:ident)*),*) => { $(
            pub struct $name<T, $($of),*>(T, PhantomData<($($of,)*)>);
            impl<$($of: super::Pod),*> TryFrom<Map> for $name<MapData, $($of),*> {
                type Error = MapError;
                fn try_from(_: Map) -> Result<Self, MapError> {
                    Ok(Self(MapData, PhantomData))
                }
            }
            impl<'a, $($of: super::Pod),*> TryFrom<&'a Map> for $name<&'a MapData, $($of),*> {
                type Error = MapError;
                fn try_from(_: &'a Map) -> Result<Self, MapError> {
                    Ok(Self(&MapData, PhantomData))
                }
            }
            impl<'a, $($of: super::Pod),*> TryFrom<&'a mut Map> for $name<&'a mut MapData, $($of),*> {
                type Error = MapError;
                fn try_from(_: &'a mut Map) -> Result<Self, MapError> {
                    unimplemented!()
                }
            }
        )* };
    }
    map!(Array V, ArrayOfMaps V, HashMap K V, LpmTrie K V, PerfEventArray, ProgramArray, RingBuf);
    impl<T, V> Array<T, V> {
        pub fn get(&self, _: &u32, _: u64) -> Result<V, MapError> {
            unimplemented!()
        }
    }
    pub mod ring_buf {
        pub struct RingBufItem<'a>(pub &'a [u8]);
    }
    impl Deref for ring_buf::RingBufItem<'_> {
        type Target = [u8];
        fn deref(&self) -> &[u8] {
            self.0
        }
    }
    impl<T> RingBuf<T> {
        pub fn next(&mut self) -> Option<ring_buf::RingBufItem<'_>> {
            None
        }
    }
    impl<T> AsFd for RingBuf<T> {
        fn as_fd(&self) -> BorrowedFd<'_> {
            unimplemented!()
        }
    }
}

pub mod programs {
    pub struct Program;
    #[derive(Debug)]
    pub enum ProgramError {
        InvalidName { name: String },
    }
    macro_rules! program {
        ($($name:ident $module:ident $link:ident($($argument:ty),*))*) => { $(
            pub struct $name;
            pub mod $module {
                pub struct $link;
            }
            impl<'a> TryFrom<&'a mut Program> for &'a mut $name {
                type Error = ProgramError;
                fn try_from(_: &'a mut Program) -> Result<Self, ProgramError> {
                    unimplemented!()
                }
            }
            impl $name {
                pub fn load(&mut self) -> Result<(), ProgramError> {
                    Ok(())
                }
                pub fn attach(&mut self, $(_: $argument),*) -> Result<$module::$link, ProgramError> {
                    Ok($module::$link)
                }
            }
        )* };
    }
    program!(KProbe kprobe KProbeLinkId(&str, u64) RawTracePoint raw_trace_point RawTracePointLinkId(&str));
}

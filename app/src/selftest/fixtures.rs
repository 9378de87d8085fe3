//! A folder for the self-test, with a script in it whose interpreter is this binary.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process,
};

use nix::{
    fcntl::OFlag,
    pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::statvfs::{FsFlags, statvfs},
};

use super::workload::Child;

/// What a program of 32 bits does whose kernel has 64: exit_group(7), and nothing else. A whole ELF file of one segment,
/// for the architectures whose kernels may run such programs.
#[cfg(target_arch = "x86_64")]
const PROGRAM_32: &[u8] = &program_32(
    3,
    0,
    [
        0xb8,
        252,
        0,
        0,
        0, // mov eax, 252
        0xbb,
        PROGRAM_32_CODE,
        0,
        0,
        0, // mov ebx, 7
        0xcd,
        0x80, // int 0x80
    ],
);
#[cfg(target_arch = "aarch64")]
const PROGRAM_32: &[u8] = &program_32(
    40,
    0x0500_0000,
    [
        PROGRAM_32_CODE,
        0,
        0xa0,
        0xe3, // mov r0, #7
        248,
        0x70,
        0xa0,
        0xe3, // mov r7, #248
        0,
        0,
        0,
        0xef, // svc #0
    ],
);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const PROGRAM_32: &[u8] = &[];

pub(super) const PROGRAM_32_CODE: u8 = 7;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const fn program_32(machine: u8, flags: u32, code: [u8; 12]) -> [u8; 96] {
    const BASE: u32 = 0x40_0000;
    const HEADERS: u8 = 52 + 32;
    let words = [
        // After the identification: type and machine, version, entry, program headers, section headers, flags.
        2 | (machine as u32) << 16,
        1,
        BASE + HEADERS as u32,
        52,
        0,
        flags,
        // Sizes of the header and of a program header, their number, and no sections.
        52 | 32 << 16,
        1,
        0,
        // PT_LOAD: offset, addresses, sizes, read and execute, aligned for all pages.
        1,
        0,
        BASE,
        BASE,
        96,
        96,
        5,
        0x1_0000,
    ];
    let mut file = [0; 96];
    file.split_at_mut(7).0.copy_from_slice(&[0x7f, b'E', b'L', b'F', 1, 1, 1]);
    let mut index = 0;
    while index < words.len() {
        let (_, rest) = file.split_at_mut(16 + 4 * index);
        rest.split_at_mut(4).0.copy_from_slice(&words[index].to_le_bytes());
        index += 1;
    }
    file.split_at_mut(HEADERS as usize).1.copy_from_slice(&code);
    file
}

/// Removed when dropped.
pub(super) struct Fixtures {
    folder: PathBuf,
    /// The other end of [`Self::terminal`].
    controller: Option<PtyMaster>,
}

impl Fixtures {
    /// # Errors
    /// When there is no folder that can be written to and executed from.
    pub(super) fn set_up(exe: &Path) -> Result<Self, String> {
        let places = [env::temp_dir(), "/tmp".into(), "/var/tmp".into(), "/run".into(), "/dev/shm".into(), "/".into()];
        let mut failures = Vec::new();
        for place in places {
            match Self::set_up_in(&place, exe) {
                Ok(fixtures) => return Ok(fixtures),
                Err(error) => failures.push(format!("{}: {error}", place.display())),
            }
        }
        failures.dedup();
        Err(format!(
            "no place for a script ({}): set TMPDIR to a folder that can be written to and executed from",
            failures.join(", ")
        ))
    }

    fn set_up_in(place: &Path, exe: &Path) -> io::Result<Self> {
        if statvfs(place)?.flags().contains(FsFlags::ST_NOEXEC) {
            return Err(io::Error::other("mounted noexec"));
        }
        let folder = place.join(format!("exectrace-{}", process::id()));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        // From here on it is removed again, whatever fails.
        let fixtures = Self { folder, controller: controller().ok() };
        symlink(exe, fixtures.interpreter())?;
        let line = format!("#!{} {}\n", fixtures.interpreter().display(), Child::Succeed.argument());
        fs::write(fixtures.script(), line)?;
        fs::write(fixtures.program_32(), PROGRAM_32)?;
        for file in [fixtures.script(), fixtures.program_32()] {
            fs::set_permissions(file, fs::Permissions::from_mode(0o700))?;
        }
        Ok(fixtures)
    }

    /// A link to this binary: old kernels read no more than 127 bytes of a `#!` line, and its own path may be longer.
    pub(super) fn interpreter(&self) -> PathBuf {
        self.folder.join("x")
    }

    pub(super) fn script(&self) -> PathBuf {
        self.folder.join("script")
    }

    /// The file of a terminal that belongs to nobody; none where there are no pseudo-terminals.
    pub(super) fn terminal(&self) -> Option<String> {
        ptsname_r(self.controller.as_ref()?).ok()
    }

    /// A program of 32 bits; an empty file where kernels run none.
    pub(super) fn program_32(&self) -> PathBuf {
        self.folder.join("program32")
    }
}

fn controller() -> nix::Result<PtyMaster> {
    let controller = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&controller)?;
    unlockpt(&controller)?;
    Ok(controller)
}

impl Drop for Fixtures {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn the_program_of_32_bits_is_an_executable() {
        use object::read::elf::{ElfFile32, FileHeader as _, ProgramHeader as _};
        let file = ElfFile32::<object::LittleEndian>::parse(PROGRAM_32).unwrap();
        let endian = file.endian();
        assert_eq!(file.elf_header().e_type(endian), object::elf::ET_EXEC);
        let [segment] = file.elf_program_headers() else { panic!("not one segment") };
        assert_eq!(segment.p_filesz(endian) as usize, PROGRAM_32.len());
        assert_eq!(file.elf_header().e_entry(endian), segment.p_vaddr(endian) + 84);
    }

    #[test]
    fn the_stage_is_set_up_and_taken_down() {
        let exe = env::current_exe().unwrap();
        let fixtures = Fixtures::set_up(&exe).unwrap();
        let script = fs::read_to_string(fixtures.script()).unwrap();
        assert!(script.starts_with("#!/"), "{script}");
        // What Linux 5.0 and older would read of it.
        assert!(script.len() <= 127, "{script}");
        assert_eq!(fs::read_link(fixtures.interpreter()).unwrap(), exe);
        let folder = fixtures.folder.clone();
        drop(fixtures);
        assert!(!folder.exists());
    }
}

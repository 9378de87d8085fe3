//! The kernel's tracepoints, as tracefs describes them: which there are, and where each field lies in a record.

use std::{
    ffi::{c_char, c_int, c_long, c_uint},
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    path::{Path, PathBuf},
    ptr,
};

use nix::errno::Errno;

/// Where tracefs is mounted, if it is. The second is where it was before Linux 4.1.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// tracefs, mounted for us alone if it is nowhere else.
pub(crate) struct Tracefs {
    root: PathBuf,
    /// Of our own: visible to nobody else, and gone with this descriptor.
    _mount: Option<OwnedFd>,
}

/// A tracepoint's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) id: u32,
    fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    /// In bytes, from the beginning of the record.
    offset: usize,
    size: usize,
    place: Place,
}

/// Where the value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Here,
    /// The field holds offset and length of the value: `__data_loc`.
    Elsewhere,
    /// The same, but counted from the end of the field: `__rel_loc`.
    Behind,
}

impl Tracefs {
    /// # Errors
    /// When it can neither be read nor mounted: ENODEV if the kernel has none, EPERM or EACCES if we may not.
    pub(crate) fn find() -> io::Result<Self> {
        for place in PLACES {
            match fs::metadata(Path::new(place).join("events")) {
                Ok(_) => return Ok(Self { root: place.into(), _mount: None }),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                Err(_) => {}
            }
        }
        let mount = mount()?;
        Ok(Self { root: format!("/proc/self/fd/{}", mount.as_raw_fd()).into(), _mount: Some(mount) })
    }

    /// Whether it was mounted by somebody else.
    pub(crate) fn is_mounted(&self) -> bool {
        self._mount.is_none()
    }

    /// The record of a tracepoint such as `sched/sched_process_exec`; none if this kernel does not have it.
    ///
    /// # Errors
    /// When it cannot be read, or makes no sense.
    pub(crate) fn format(&self, tracepoint: &str) -> io::Result<Option<Format>> {
        match fs::read_to_string(self.root.join("events").join(tracepoint).join("format")) {
            Ok(text) => match Format::parse(&text) {
                Some(format) => Ok(Some(format)),
                None => Err(io::Error::other(format!("the format of {tracepoint} makes no sense"))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A mount that has no place among the files: since Linux 5.2.
fn mount() -> io::Result<OwnedFd> {
    // linux/mount.h
    const FSOPEN_CLOEXEC: c_uint = 1;
    const FSCONFIG_CMD_CREATE: c_uint = 6;
    const FSMOUNT_CLOEXEC: c_uint = 1;

    // SAFETY: a call that gives a descriptor gives it to us alone.
    let owned = |descriptor: c_long| unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) };
    // SAFETY: the name ends with a NUL, and the call keeps no pointer to it.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, c"tracefs".as_ptr(), FSOPEN_CLOEXEC) };
    let context = owned(Errno::result(context)?);
    let none = ptr::null::<c_char>();
    // SAFETY: this command takes neither key nor value.
    let created =
        unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0 as c_int) };
    Errno::result(created)?;
    // SAFETY: the call takes numbers only.
    let mount = unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0 as c_uint) };
    Ok(owned(Errno::result(mount)?))
}

impl Format {
    /// Reads what the kernel's Documentation/trace/events.rst describes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let id = text.lines().find_map(|line| line.strip_prefix("ID:"))?.trim().parse().ok()?;
        let fields = text
            .lines()
            .filter(|line| line.trim_start().starts_with("field:"))
            .map(Field::parse)
            .collect::<Option<_>>()?;
        Some(Self { id, fields })
    }

    /// Where a field lies in a record.
    pub(crate) fn offset(&self, name: &str) -> Option<usize> {
        Some(self.field(name)?.offset)
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// A number in a record; the upper bits of a negative one are those of its own size only.
    pub(crate) fn number(&self, record: &[u8], name: &str) -> Option<u64> {
        let field = self.field(name)?;
        let bytes = record.get(field.offset..)?.get(..field.size)?;
        Some(match field.size {
            1 => bytes[0].into(),
            2 => u16::from_ne_bytes(bytes.try_into().ok()?).into(),
            4 => u32::from_ne_bytes(bytes.try_into().ok()?).into(),
            8 => u64::from_ne_bytes(bytes.try_into().ok()?),
            _ => return None,
        })
    }

    /// A text in a record up to its NUL, and whether it goes on where the record was cut.
    pub(crate) fn text<'r>(&self, record: &'r [u8], name: &str) -> Option<(&'r [u8], bool)> {
        let field = self.field(name)?;
        let (offset, length) = match field.place {
            Place::Here => (field.offset, field.size),
            Place::Elsewhere | Place::Behind => {
                let word = u32::from_ne_bytes(record.get(field.offset..)?.get(..4)?.try_into().ok()?);
                let base = if field.place == Place::Behind { field.offset + field.size } else { 0 };
                (base + (word & 0xffff) as usize, (word >> 16) as usize)
            }
        };
        let rest = record.get(offset..)?;
        let bytes = &rest[..length.min(rest.len())];
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        Some((text, text.len() == rest.len() && length > rest.len()))
    }
}

impl Field {
    /// `field:__data_loc char[] filename; offset:8; size:4; signed:0;`, with tabs for the blanks.
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.trim().split(';').map(str::trim);
        let declaration = parts.next()?.strip_prefix("field:")?;
        let number = |part: &str| part.split_once(':').and_then(|(_, number)| number.parse().ok());
        let (kind, name) = declaration.rsplit_once(' ')?;
        Some(Self {
            // `char comm[16]`
            name: name.split('[').next()?.to_owned(),
            offset: number(parts.next()?)?,
            size: number(parts.next()?)?,
            place: match kind.split(' ').next()? {
                "__data_loc" => Place::Elsewhere,
                "__rel_loc" => Place::Behind,
                _ => Place::Here,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As kernels print it; `fields` without the four that every record begins with.
    fn format(id: u32, fields: &[&str]) -> Format {
        let mut text =
            format!("name: x\nID: {id}\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n");
        text += "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n";
        for field in fields {
            let [declaration, offset, size] = field.split(';').collect::<Vec<_>>()[..] else { panic!("{field}") };
            text += &format!("\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:0;\n");
        }
        Format::parse(&(text + "\nprint fmt: \"x=%d; offset:9;\", REC->x\n")).unwrap()
    }

    fn record(parts: &[&[u8]]) -> Vec<u8> {
        [&[0; 8][..], &parts.concat()].concat()
    }

    #[test]
    fn numbers_and_texts_are_found_by_name() {
        let format = format(7, &["pid_t pid;8;4", "char comm[16];12;16", "u64 flags;32;8"]);
        assert_eq!(format.id, 7);
        assert_eq!(format.offset("flags"), Some(32));
        let comm = b"name\0left over..";
        let record = record(&[&42_u32.to_ne_bytes(), comm, &[0; 4], &(1_u64 << 40).to_ne_bytes()]);
        assert_eq!(format.number(&record, "pid"), Some(42));
        assert_eq!(format.number(&record, "flags"), Some(1 << 40));
        assert_eq!(format.text(&record, "comm"), Some((&b"name"[..], false)));
        assert_eq!(format.number(&record, "other"), None);
        assert_eq!(format.number(&record[..35], "flags"), None);
    }

    #[test]
    fn a_text_elsewhere_is_found_and_may_be_cut() {
        for (kind, base) in [("__data_loc", 0), ("__rel_loc", 12)] {
            let format = format(7, &[&format!("{kind} char[] filename;8;4"), "pid_t pid;12;4"]);
            let word = (8_u32 << 16) | (16 - base);
            let record = record(&[&word.to_ne_bytes(), &42_u32.to_ne_bytes(), b"/bin/ls\0more"]);
            assert_eq!(format.text(&record, "filename"), Some((&b"/bin/ls"[..], false)));
            assert_eq!(format.text(&record[..20], "filename"), Some((&b"/bin"[..], true)));
            assert_eq!(format.text(&record[..10], "filename"), None);
        }
    }

    #[test]
    fn a_format_that_makes_no_sense_is_none() {
        assert_eq!(Format::parse(""), None);
        assert_eq!(Format::parse("ID: x\n"), None);
        assert_eq!(Format::parse("ID: 1\n\tfield:int a;\toffset:x;\tsize:4;\n"), None);
    }
}

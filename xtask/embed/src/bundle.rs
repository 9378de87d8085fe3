//! BTF of kernels that have none themselves, which a program carries.

use std::path::Path;
use std::{error, fmt, fs, io};

/// What a program carries of the BTF of kernels for its architecture: what its objects need of each. [`btf!`](crate::btf) makes it.
#[derive(Debug, Clone, Copy)]
pub struct Bundle(&'static [u8]);

/// A kernel, as the machine that it runs on names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// `ID` in os-release: `debian`. Empty if there is no such file.
    pub distribution: String,
    /// `VERSION_ID` there: `12`. Empty if there is none.
    pub version: String,
    /// What `uname -r` prints.
    pub release: String,
}

/// BTF that was found for a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// As in a file, for `aya::Btf::parse`.
    pub btf: &'static [u8],
    /// Which kernel it was made of.
    pub of: Kernel,
}

/// Why there is no BTF for a kernel.
#[derive(Debug)]
pub enum NoBtf {
    /// The kernel does not say which it is.
    Unnamed(io::Error),
    Unknown {
        kernel: Kernel,
        /// How many kernels there is BTF of.
        known: usize,
    },
    /// Kernels of one release, which differ, of other systems than this one.
    Several { kernel: Kernel, of: Vec<Kernel> },
}

/// Stands for an empty word.
const NONE: &str = "-";

impl Bundle {
    /// What [`bundle_for`] has made.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(bytes: &'static [u8]) -> Self {
        Self(bytes)
    }

    /// Whether it is of no kernel at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// BTF for the kernel that runs here.
    ///
    /// # Errors
    /// When there is none.
    pub fn for_this_kernel(&self) -> Result<Found, NoBtf> {
        self.find(&Kernel::running().map_err(NoBtf::Unnamed)?)
    }

    /// BTF for a kernel: of the same release, and of the same system. In a container, os-release is not that of the kernel's system:
    /// a release that is known of other systems only is taken if they all have the same BTF.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, kernel: &Kernel) -> Result<Found, NoBtf> {
        let same: Vec<Found> = self.all().filter(|found| found.of.release == kernel.release).collect();
        if let Some(found) = same.iter().find(|found| found.of == *kernel) {
            return Ok(found.clone());
        }
        match same.as_slice() {
            [] => Err(NoBtf::Unknown { kernel: kernel.clone(), known: self.all().count() }),
            [first, others @ ..] if others.iter().all(|other| other.btf == first.btf) => Ok(first.clone()),
            _ => {
                let of = same.into_iter().map(|found| found.of).collect();
                Err(NoBtf::Several { kernel: kernel.clone(), of })
            }
        }
    }

    /// All that there is.
    pub fn all(&self) -> impl Iterator<Item = Found> {
        let end = self.0.windows(2).position(|two| two == b"\n\n").unwrap_or(0);
        let (list, data) = self.0.split_at(end);
        let data = data.get((end + 2).next_multiple_of(ALIGN) - end..).unwrap_or_default();
        let lines = list.split(|byte| *byte == b'\n');
        lines.filter_map(move |line| {
            let line = str::from_utf8(line).ok()?;
            let [distribution, version, release, offset, length] =
                line.split(' ').collect::<Vec<_>>().try_into().ok()?;
            let word = |word: &str| if word == NONE { String::new() } else { word.to_owned() };
            let btf = data.get(offset.parse().ok()?..)?.get(..length.parse().ok()?)?;
            let of = Kernel { distribution: word(distribution), version: word(version), release: release.to_owned() };
            Some(Found { btf, of })
        })
    }
}

/// What each BTF begins at a multiple of, in bytes.
const ALIGN: usize = 8;

/// What a program for an architecture (by Rust's word) carries of these files, which have their paths.
#[doc(hidden)]
#[must_use]
pub fn bundle_for(files: &[(String, Vec<u8>)], arch: &str, endian: &str) -> Vec<u8> {
    let of = |(path, btf): &(String, Vec<u8>)| {
        let (kernel, of) = Kernel::of_path(path)?;
        (of == arch_in_path(arch, endian)).then(|| (kernel, btf.clone()))
    };
    bundle(&files.iter().filter_map(of).collect::<Vec<_>>())
}

/// Puts BTF together, for [`Bundle`]: the list of kernels, an empty line, and each BTF once, however many kernels have it.
pub fn bundle(kernels: &[(Kernel, Vec<u8>)]) -> Vec<u8> {
    let mut list = String::new();
    let mut data: Vec<u8> = Vec::new();
    let mut known: Vec<(&[u8], usize)> = Vec::new();
    for (Kernel { distribution, version, release }, btf) in kernels {
        let offset = match known.iter().find(|(other, _)| other == btf) {
            Some((_, offset)) => *offset,
            None => {
                data.resize(data.len().next_multiple_of(ALIGN), 0);
                known.push((btf, data.len()));
                data.extend(btf);
                data.len() - btf.len()
            }
        };
        let word = |word: &str| if word.is_empty() { NONE.to_owned() } else { word.to_owned() };
        list += &format!("{} {} {release} {offset} {}\n", word(distribution), word(version), btf.len());
    }
    if kernels.is_empty() {
        return Vec::new();
    }
    let mut bytes = (list + "\n").into_bytes();
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    bytes.extend(data);
    bytes
}

/// BTFHub's word for an architecture, by Rust's and its byte order; of an architecture that is not there, the kernel's or Go's.
#[doc(hidden)]
#[must_use]
pub fn arch_in_path<'a>(rust: &'a str, endian: &str) -> &'a str {
    match (rust, endian) {
        ("aarch64", _) => "arm64",
        ("powerpc64", "little") => "ppc64le",
        ("mips", "little") => "mipsle",
        ("x86", _) => "386",
        _ => rust,
    }
}

impl Kernel {
    /// The one that runs here.
    ///
    /// # Errors
    /// When /proc does not tell its release.
    pub fn running() -> io::Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
        // os-release(5) has both places.
        let files = ["/etc/os-release", "/usr/lib/os-release"].map(Path::new);
        let text = files.into_iter().find_map(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        Ok(Self::new(&text, release))
    }

    /// A kernel of a release, on a system with this os-release.
    #[must_use]
    pub fn new(os_release: &str, release: String) -> Self {
        let value = |key: &str| {
            let mut values = os_release.lines().filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
            values.next_back().unwrap_or_default().trim_matches(['"', '\'']).to_owned()
        };
        Self { distribution: value("ID"), version: value("VERSION_ID"), release }
    }

    /// The kernel and the architecture that a file is named after, as in BTFHub: `debian/12/x86_64/6.1.0-50-amd64.btf`, with `-` in
    /// place of a word that there is not.
    #[doc(hidden)]
    #[must_use]
    pub fn of_path(path: &str) -> Option<(Self, &str)> {
        let mut parts = path.rsplit('/');
        let release = parts.next()?.strip_suffix(".btf")?;
        let [arch, version, distribution] = [parts.next()?, parts.next()?, parts.next()?];
        if [distribution, version, arch, release]
            .iter()
            .any(|part| part.is_empty() || part.contains(char::is_whitespace))
        {
            return None;
        }
        let word = |word: &str| if word == NONE { String::new() } else { word.to_owned() };
        let kernel = Self { distribution: word(distribution), version: word(version), release: release.to_owned() };
        Some((kernel, arch))
    }

    /// The path of its BTF.
    #[doc(hidden)]
    #[must_use]
    pub fn path(&self, arch: &str) -> String {
        let word = |word: &str| if word.is_empty() { NONE.to_owned() } else { word.to_owned() };
        format!("{}/{}/{arch}/{}.btf", word(&self.distribution), word(&self.version), self.release)
    }
}

impl fmt::Display for Kernel {
    /// `Linux 6.1.0-50-amd64 of debian 12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {}", self.release)?;
        match (self.distribution.as_str(), self.version.as_str()) {
            ("", _) => Ok(()),
            (distribution, "") => write!(f, " of {distribution}"),
            (distribution, version) => write!(f, " of {distribution} {version}"),
        }
    }
}

impl fmt::Display for NoBtf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoBtf::Unnamed(error) => write!(f, "cannot read which kernel this is: {error}"),
            NoBtf::Unknown { kernel, known: 0 } => write!(f, "this program carries no BTF, for {kernel} or any other"),
            NoBtf::Unknown { kernel, known } => {
                write!(f, "this program carries BTF of {known} kernels, and {kernel} is none of them")
            }
            NoBtf::Several { kernel, of } => {
                let of: Vec<String> = of.iter().map(Kernel::to_string).collect();
                write!(f, "this is {kernel}, and this program carries BTF of {}, which differ", of.join(" and "))
            }
        }
    }
}

impl error::Error for NoBtf {}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(distribution: &str, version: &str, release: &str) -> Kernel {
        Kernel { distribution: distribution.into(), version: version.into(), release: release.into() }
    }

    fn example() -> Bundle {
        let kernels = [
            (kernel("debian", "12", "6.1.0-50-amd64"), b"one".to_vec()),
            (kernel("debian", "12", "6.1.0-49-amd64"), b"one".to_vec()),
            (kernel("debian", "", "6.19-amd64"), b"another\n\n".to_vec()),
            (kernel("centos", "8", "4.18.0-305.el8"), b"c8".to_vec()),
            (kernel("rhel", "8", "4.18.0-305.el8"), b"r8".to_vec()),
            (kernel("rhel", "8.4", "4.18.0-305.el8"), b"r8".to_vec()),
        ];
        let bytes = bundle(&kernels);
        // What two kernels have is there once.
        assert_eq!(bytes.windows(3).filter(|three| three == b"one").count(), 1);
        let all: Vec<Found> = Bundle(Vec::leak(bytes)).all().collect();
        assert_eq!(all.iter().map(|found| (found.of.clone(), found.btf.to_vec())).collect::<Vec<_>>(), kernels);
        Bundle(Vec::leak(bundle(&kernels)))
    }

    #[test]
    fn a_kernel_is_found_by_its_system_and_release() {
        let find = |distribution, version, release| {
            let found = example().find(&kernel(distribution, version, release));
            found.map(|found| (found.of.to_string(), found.btf)).map_err(|error| error.to_string())
        };
        let of = |name: &str, btf: &'static [u8]| Ok((name.to_owned(), btf));
        assert_eq!(find("debian", "12", "6.1.0-50-amd64"), of("Linux 6.1.0-50-amd64 of debian 12", b"one"));
        assert_eq!(find("debian", "", "6.19-amd64"), of("Linux 6.19-amd64 of debian", b"another\n\n"));
        assert_eq!(find("centos", "8", "4.18.0-305.el8"), of("Linux 4.18.0-305.el8 of centos 8", b"c8"));
        // In a container.
        assert_eq!(find("alpine", "3.19", "6.1.0-50-amd64"), of("Linux 6.1.0-50-amd64 of debian 12", b"one"));
        assert_eq!(find("", "", "6.19-amd64"), of("Linux 6.19-amd64 of debian", b"another\n\n"));
        assert_eq!(
            find("alpine", "3.19", "4.18.0-305.el8").unwrap_err(),
            "this is Linux 4.18.0-305.el8 of alpine 3.19, and this program carries BTF of Linux 4.18.0-305.el8 of centos 8 and \
             Linux 4.18.0-305.el8 of rhel 8 and Linux 4.18.0-305.el8 of rhel 8.4, which differ"
        );
        assert_eq!(
            find("debian", "12", "6.1.0-51-amd64").unwrap_err(),
            "this program carries BTF of 6 kernels, and Linux 6.1.0-51-amd64 of debian 12 is none of them"
        );
    }

    #[test]
    fn an_empty_bundle_has_no_bytes() {
        assert_eq!(bundle(&[]), b"");
        let empty = Bundle::new(b"");
        assert!(empty.is_empty() && empty.all().next().is_none());
        assert_eq!(
            empty.find(&kernel("", "", "1.0")).unwrap_err().to_string(),
            "this program carries no BTF, for Linux 1.0 or any other"
        );
    }

    #[test]
    fn btf_lies_where_it_may_be_read_in_place() {
        let first = example();
        assert!(first.all().all(|found| (found.btf.as_ptr().addr() - first.0.as_ptr().addr()).is_multiple_of(ALIGN)));
    }

    #[test]
    fn os_release_is_read_as_shells_read_it() {
        let text = "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID_LIKE=other\nID=debian\n";
        assert_eq!(Kernel::new(text, "6.1".into()), kernel("debian", "12", "6.1"));
        assert_eq!(Kernel::new("ID='arch'\nBUILD_ID=rolling\n", "6.1".into()), kernel("arch", "", "6.1"));
        assert_eq!(Kernel::new("", "6.1".into()), kernel("", "", "6.1"));
        let here = Kernel::running().unwrap();
        assert!(here.release.contains('.') && !here.release.contains('\n'), "{here}");
    }

    #[test]
    fn a_file_is_named_after_its_kernel() {
        let name = "debian/-/x86_64/6.19-amd64.btf";
        let path = format!("../bpf/btf/{name}");
        let (of, arch) = Kernel::of_path(&path).unwrap();
        assert_eq!((&of, arch), (&kernel("debian", "", "6.19-amd64"), "x86_64"));
        assert_eq!(of.path(arch), name);
        for other in ["6.1.btf", "12/x86_64/6.1.btf", "debian/12/x86_64/6.1.txt", "a b/12/x86_64/6.1.btf", "//x/1.btf"]
        {
            assert_eq!(Kernel::of_path(other), None, "{other}");
        }
    }
}

//! What a build script does: compares sources and objects with `bpf.lock`, and hands the objects to
//! [`embed!`](crate::embed).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, error, fmt, fs, io};

use sha2::{Digest, Sha256};

use crate::bundle::bundle_for;
use crate::lock::{Lock, is_source, is_source_folder};

const REMEDY: &str = "run `cargo xtask bpf`";
const BTF_REMEDY: &str = "run `cargo xtask btf` for all of its kernels";

/// A checked object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// `tick_bpfel.o`.
    pub file: String,
    /// In lowercase hexadecimal digits.
    pub sha256: String,
    pub bytes: Vec<u8>,
}

/// Why objects cannot be embedded, and what to do.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Error {}

impl Error {
    fn io(path: &Path, error: &io::Error) -> Error {
        Error(format!("cannot read {}: {error}", path.display()))
    }
}

/// For a build script: lets cargo stop if the objects in the BPF folder do not match their sources, and hands them to
/// [`embed!`](crate::embed) and [`objects!`](crate::objects), and what there is of kernels' BTF to [`btf!`](crate::btf).
///
/// The folder is the one with `bpf.lock`, relative to the package: for example `.`, `src/bpf` or `../kernel`.
pub fn check(folder: impl AsRef<Path>) {
    let folder = folder.as_ref();
    // The folder and not its files: cargo looks at the times of the files and folders in it, so that a source that is
    // new, or that replaces another one, is noticed however old it is.
    println!("cargo::rerun-if-changed={}", folder.display());
    let lock = fs::read_to_string(folder.join("bpf.lock")).map(|text| Lock::parse(&text)).unwrap_or_default();
    let sources = lock.sources();
    let elsewhere = sources.keys().filter(|name| name.starts_with("../"));
    for name in elsewhere.chain(lock.bindings.keys()).chain(lock.btf.keys()) {
        println!("cargo::rerun-if-changed={}", folder.join(name).display());
    }
    if let Err(error) = verified(folder).and_then(|(objects, kernels)| hand_over(&objects, &kernels)) {
        println!("cargo::error={error}");
    }
}

/// The objects in the BPF folder, if they and their sources are those in `bpf.lock`.
///
/// [`check`] is the same for a build script, which cargo runs only when it sees a newer time. A test that calls this
/// notices all the rest.
pub fn verify(folder: impl AsRef<Path>) -> Result<Vec<Object>, Error> {
    verified(folder.as_ref()).map(|(objects, _)| objects)
}

/// BTF of kernels, by the paths of their files.
type Kernels = Vec<(String, Vec<u8>)>;

fn verified(folder: &Path) -> Result<(Vec<Object>, Kernels), Error> {
    let folder = folder.canonicalize().map_err(|error| Error::io(folder, &error))?;
    let path = folder.join("bpf.lock");
    let lock = match fs::read_to_string(&path) {
        Ok(text) => Lock::parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error(format!("{} is missing: {REMEDY}", path.display())));
        }
        Err(error) => return Err(Error::io(&path, &error)),
    };

    let mut sources = BTreeMap::new();
    for (name, bytes) in files(&folder, "", is_source, is_source_folder, &[])? {
        sources.insert(name, sha256(&bytes));
    }
    let locked = lock.sources();
    // What sources include may lie elsewhere in the repository, and be called anything.
    for name in locked.keys().filter(|name| !sources.contains_key(*name)).cloned().collect::<Vec<_>>() {
        if let Ok(bytes) = fs::read(folder.join(&name)) {
            sources.insert(name, sha256(&bytes));
        }
    }
    if let Some(name) = first_difference(&sources, &locked) {
        let source = folder.join(name);
        return Err(Error(format!("{} is not what the BPF objects were compiled from: {REMEDY}", source.display())));
    }

    let path = folder.join("objects");
    let found = if path.exists() { files(&path, "", |name| name.ends_with(".o"), |_| false, &[])? } else { Vec::new() };
    let objects: Vec<Object> =
        found.into_iter().map(|(file, bytes)| Object { file, sha256: sha256(&bytes), bytes }).collect();
    let hashes = objects.iter().map(|object| (object.file.clone(), object.sha256.clone())).collect();
    if let Some(name) = first_difference(&hashes, &lock.objects) {
        return Err(Error(format!("{} is not what was compiled: {REMEDY}", path.join(name).display())));
    }
    for (name, hash) in &lock.bindings {
        let path = folder.join(name);
        if !fs::read(&path).is_ok_and(|bytes| sha256(&bytes) == *hash) {
            return Err(Error(format!("{} is not what was written for the objects: {REMEDY}", path.display())));
        }
    }
    let mut kernels = Vec::new();
    for (name, hash) in &lock.btf {
        let path = folder.join(name);
        match fs::read(&path) {
            Ok(bytes) if sha256(&bytes) == *hash => kernels.push((name.clone(), bytes)),
            _ => return Err(Error(format!("{} is not what was made of its kernel: {BTF_REMEDY}", path.display()))),
        }
    }
    if lock.btf_is_stale() {
        let folder = folder.display();
        return Err(Error(format!(
            "the BTF in {folder} was made for other relocations than the objects have: {BTF_REMEDY}"
        )));
    }
    Ok((objects, kernels))
}

/// Writes what the macros include: copies, so that what is embedded is what was checked.
fn hand_over(objects: &[Object], kernels: &[(String, Vec<u8>)]) -> Result<(), Error> {
    let variable = |name: &str| env::var(name).map_err(|_| Error(format!("{name} is not set: call this in build.rs")));
    let folder = PathBuf::from(variable("OUT_DIR")?).join("bpf-objects");
    let endian = variable("CARGO_CFG_TARGET_ENDIAN")?;
    let target = match endian.as_str() {
        "big" => "_bpfeb.o",
        _ => "_bpfel.o",
    };
    let arch = variable("CARGO_CFG_TARGET_ARCH")?;
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(|error| Error(format!("cannot write {}: {error}", path.display())))
    };
    // Else an object that is gone could still be embedded.
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io(&folder, &error)),
        _ => {}
    }
    fs::create_dir_all(&folder).map_err(|error| Error(format!("cannot make {}: {error}", folder.display())))?;
    let mut list = String::new();
    for object in objects {
        if let Some(name) = name_for(&object.file, target, &arch) {
            write(&format!("{name}.o"), &object.bytes)?;
            list += &format!("({:?}, {:?}), ", object.file.trim_end_matches(".o"), object.sha256);
        }
    }
    write("objects.rs", format!("[{list}]").as_bytes())?;
    write("btf", &bundle_for(kernels, &arch, &endian))?;
    println!("cargo::rustc-env=BPFSHIP_OBJECTS={}", folder.display());
    Ok(())
}

/// Rust's and the kernel's words for the architectures that an object may be for alone.
const ARCHES: [(&str, &str); 9] = [
    ("x86_64", "_x86"),
    ("aarch64", "_arm64"),
    ("riscv64", "_riscv"),
    ("loongarch64", "_loongarch"),
    ("s390x", "_s390"),
    ("mips", "_mips"),
    ("arm", "_arm"),
    ("powerpc64", "_powerpc"),
    ("x86", "_i386"),
];

/// The name of an object, if it is for this architecture: `tick` of `tick_bpfel.o` and `tick_x86_bpfel.o`.
fn name_for<'a>(file: &'a str, target: &str, arch: &str) -> Option<&'a str> {
    let name = file.strip_suffix(target)?;
    match ARCHES.iter().find_map(|(arch, word)| Some((arch, name.strip_suffix(word)?))) {
        Some((only, name)) => (*only == arch).then_some(name),
        None => Some(name),
    }
}

/// The files of a folder, and of the folders in it, by their paths in there. A link to one of the folders above it leads to nothing
/// else.
fn files(
    folder: &Path,
    prefix: &str,
    is_file: fn(&str) -> bool,
    is_folder: fn(&str) -> bool,
    above: &[PathBuf],
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let failed = |error: io::Error| Error::io(folder, &error);
    let real = folder.canonicalize().map_err(failed)?;
    let mut found = Vec::new();
    if above.contains(&real) {
        return Ok(found);
    }
    let above = [above, &[real]].concat();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if is_folder(&name) {
                found.extend(files(&path, &format!("{prefix}{name}/"), is_file, is_folder, &above)?);
            }
        } else if is_file(&name) {
            let bytes = fs::read(&path).map_err(|error| Error::io(&path, &error))?;
            found.push((format!("{prefix}{name}"), bytes));
        }
    }
    found.sort();
    Ok(found)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first name that is in one of the two only, or has another hash in each.
fn first_difference<'a>(a: &'a BTreeMap<String, String>, b: &'a BTreeMap<String, String>) -> Option<&'a String> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().find(|name| a.get(*name) != b.get(*name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Kernel, bundle};

    #[test]
    fn an_object_is_for_all_architectures_of_a_byte_order_or_for_one() {
        for (file, arch, name) in [
            ("tick_bpfel.o", "x86_64", Some("tick")),
            ("tick_bpfeb.o", "x86_64", None),
            ("tick_x86_bpfel.o", "x86_64", Some("tick")),
            ("tick_arm64_bpfel.o", "x86_64", None),
            ("tick_tock_arm64_bpfel.o", "aarch64", Some("tick_tock")),
            ("tick_i386_bpfel.o", "x86", Some("tick")),
            ("tick_x86_bpfel.o", "x86", None),
        ] {
            assert_eq!(name_for(file, "_bpfel.o", arch), name, "{file} {arch}");
        }
    }

    #[test]
    fn sources_and_objects_are_those_in_the_lock() {
        let base = env::temp_dir().join(format!("bpfship-embed-{}", std::process::id()));
        let folder = base.join("kernel");
        fs::create_dir_all(folder.join("include/target")).unwrap();
        fs::create_dir_all(folder.join("objects")).unwrap();
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        let error = || verify(&folder).unwrap_err().to_string();
        let shown = |name: &str| folder.canonicalize().unwrap().join(name).display().to_string();

        assert_eq!(error(), format!("{} is missing: {REMEDY}", shown("bpf.lock")));
        let mut lock = Lock::default();
        for (name, text) in [("tick.bpf.c", "a program"), ("include/a.h", "a header")] {
            write(name, text);
            lock.inputs.insert(format!("source {} {name}", sha256(text.as_bytes())));
        }
        // One that lies elsewhere, and is called like no source.
        fs::write(base.join("shared.inc"), "shared").unwrap();
        lock.inputs.insert(format!("source {} ../shared.inc", sha256(b"shared")));
        write("objects/tick_bpfel.o", "an object");
        lock.objects.insert("tick_bpfel.o".into(), sha256(b"an object"));
        write("bpf.lock", &lock.to_string());
        // None of these is a source.
        for name in ["notes.txt", "include/target/b.h", "objects/notes.txt", "._tick.bpf.c", "include/.#a.h"] {
            write(name, "");
        }
        // Nor does this lead to others.
        std::os::unix::fs::symlink("..", folder.join("include/up")).unwrap();
        let object = Object { file: "tick_bpfel.o".into(), sha256: sha256(b"an object"), bytes: b"an object".to_vec() };
        assert_eq!(verify(&folder).unwrap(), [object]);

        fs::write(base.join("shared.inc"), "other").unwrap();
        assert!(error().contains("shared.inc is not what the BPF objects were compiled from"), "{}", error());
        fs::write(base.join("shared.inc"), "shared").unwrap();
        write("include/a.h", "another header");
        assert_eq!(
            error(),
            format!("{} is not what the BPF objects were compiled from: {REMEDY}", shown("include/a.h"))
        );
        write("include/a.h", "a header");
        write("objects/tock_bpfel.o", "");
        assert_eq!(error(), format!("{} is not what was compiled: {REMEDY}", shown("objects/tock_bpfel.o")));
        fs::remove_file(folder.join("objects/tock_bpfel.o")).unwrap();

        lock.bindings.insert("../tick.rs".into(), sha256(b"bindings"));
        write("bpf.lock", &lock.to_string());
        let not_written = format!("{} is not what was written for the objects: {REMEDY}", shown("../tick.rs"));
        assert_eq!(error(), not_written);
        write("../tick.rs", "bindings");
        assert!(verify(&folder).is_ok());
        write("../tick.rs", "others");
        assert_eq!(error(), not_written);
        write("../tick.rs", "bindings");

        let name = "btf/debian/12/arm64/6.1.btf";
        fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        write(name, "types");
        lock.btf.insert(name.into(), sha256(b"types"));
        (lock.relocations, lock.btf_relocations) = (Some("1".into()), Some("1".into()));
        write("bpf.lock", &lock.to_string());
        let kernels = verified(&folder).unwrap().1;
        assert_eq!(kernels, [(name.to_owned(), b"types".to_vec())]);
        let kernel = Kernel::of_path(name).unwrap().0;
        assert_eq!(bundle_for(&kernels, "aarch64", "little"), bundle(&[(kernel, b"types".to_vec())]));
        assert_eq!(bundle_for(&kernels, "x86_64", "little"), b"");
        write(name, "others");
        assert_eq!(error(), format!("{} is not what was made of its kernel: {BTF_REMEDY}", shown(name)));
        write(name, "types");
        lock.relocations = Some("2".into());
        write("bpf.lock", &lock.to_string());
        assert!(error().contains("was made for other relocations than the objects have"), "{}", error());
        fs::remove_dir_all(&base).unwrap();
        assert!(error().starts_with(&format!("cannot read {}: ", folder.display())));
    }
}

//! What `verify` reads comes from anybody: whatever it is, the answer is a sentence, and soon.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use bpfship::testing::Arch;
use bpfship::testing::binary::{self, Objects};
use bpfship::testing::manifest::{self, Manifest};
use bpfship::testing::pack;
use bpfship::testing::unpack::{self, Unpacked};
use bpfship_object::elf;
use flate2::bufread::GzDecoder;

use super::support::{Random, list, own_root};

/// How many inputs every reader gets.
const MANY: usize = 100_000;

fn corpus() -> PathBuf {
    own_root().join("xtask/tests/corpus")
}

fn seed(file: &str) -> Vec<u8> {
    fs::read(corpus().join(file)).unwrap()
}

fn arch(name: &str) -> &'static Arch {
    <&Arch>::from_str(name).unwrap()
}

/// All faults that are reported of a file of the corpus.
fn faults(file: &str, bytes: &[u8]) -> Vec<String> {
    let faults = match file.split_once('.').unwrap().1 {
        "tar.gz" => Ok(unpack::archive(bytes, "tool").faults),
        "elf" => binary::check(bytes, arch(if file.contains("mips") { "mips" } else { "arm64" }), None, &[])
            .map(|checked| checked.faults),
        "json" => Manifest::parse(&String::from_utf8_lossy(bytes)).map(|_| Vec::new()),
        "sha256" => manifest::checksums(&String::from_utf8_lossy(bytes)).map(|_| Vec::new()),
        other => panic!("a corpus of {other}?"),
    };
    faults.unwrap_or_else(|error| vec![format!("{error:#}")])
}

#[test]
fn every_file_of_the_corpus_is_answered_with_what_its_readme_says() {
    let readme = String::from_utf8(seed("README.md")).unwrap();
    let row = |line: &str| -> Option<(String, String)> {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        Some((cells[0].into(), cells[2].into()))
    };
    let mut rows: BTreeMap<String, String> =
        readme.lines().skip_while(|line| !line.starts_with("|-")).filter_map(row).collect();
    for file in list(&corpus()).into_iter().filter(|file| file != "README.md" && !file.starts_with('.')) {
        let words = rows.remove(&file).unwrap_or_else(|| panic!("{file} is not in the README"));
        let faults = faults(&file, &seed(&file));
        match words.as_str() {
            "nothing" => assert!(faults.is_empty(), "{file}: {faults:?}"),
            words => assert!(faults.iter().any(|fault| fault.contains(words)), "{file}: {words} is not in {faults:?}"),
        }
    }
    assert!(rows.is_empty(), "not there: {rows:?}");
}

/// What is accepted must be, byte for byte, what this tool writes.
#[track_caller]
fn accepted_only_as_packed(unpacked: &Unpacked, tar: &[u8]) {
    if unpacked.faults.is_empty() {
        let packed = pack::tar("tool", &unpacked.files, unpacked.date.unwrap()).unwrap();
        assert!(packed == tar, "{unpacked:?}");
    }
}

/// Gives headers the checksums that they should have, so that what else is in them is looked at.
fn with_right_checksums(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(pack::BLOCK).filter(|block| block[257..262] == *b"ustar") {
        let mut header = tar::Header::from_byte_slice(block).clone();
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    }
}

/// Each path names hundreds of folders, and none of them is that of another.
#[test]
fn deep_paths_do_not_use_up_time_or_memory() {
    let mut tar = pack::head("tool/", pack::EXECUTABLE, 1, 0).unwrap();
    for number in 0..5000 {
        let path = format!("tool/{number:04}{}", "/a".repeat(490));
        tar.extend(pack::head(&path, pack::PLAIN, 1, 0).unwrap());
    }
    tar.resize(tar.len() + 2 * pack::BLOCK, 0);
    let begin = Instant::now();
    let faults = unpack::tar(tar.as_slice(), "tool").faults;
    assert_eq!((faults.len(), begin.elapsed() < Duration::from_secs(20)), (5000, true));
}

fn good_tar() -> Vec<u8> {
    let mut tar = Vec::new();
    GzDecoder::new(seed("good.tar.gz").as_slice()).read_to_end(&mut tar).unwrap();
    tar
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn any_gzip_stream_is_read_or_refused() {
    let mut random = Random(1);
    let (seed, tar) = (seed("good.tar.gz"), good_tar());
    for _ in 0..MANY {
        // Its checksum sees every alteration of what is in it, and there is no room for another one beside.
        let unpacked = unpack::archive(random.mutated(&seed).as_slice(), "tool");
        accepted_only_as_packed(&unpacked, &tar);
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn any_tar_archive_is_read_or_refused() {
    let mut random = Random(5);
    let tar = good_tar();
    assert!(unpack::tar(tar.as_slice(), "tool").faults.is_empty());
    for _ in 0..MANY {
        let mut altered = random.mutated(&tar);
        if random.below(4) > 0 {
            with_right_checksums(&mut altered);
        }
        accepted_only_as_packed(&unpack::tar(altered.as_slice(), "tool"), &altered);
    }
}

#[test]
fn any_binary_is_read_or_refused() {
    let mut random = Random(2);
    let seeds =
        [("arm64", seed("good-arm64.elf")), ("mips", seed("good-mips.elf"))].map(|(name, bytes)| (arch(name), bytes));
    let manifest = Manifest::parse(&String::from_utf8(seed("good.json")).unwrap()).unwrap();
    for (arch, seed) in &seeds {
        let by_name = manifest::objects_of(&manifest.bpf_objects, arch);
        let objects = Objects { of: "a test", by_name, some: false, btf: None };
        for _ in 0..MANY / 2 {
            let altered = random.mutated(seed);
            let _ = binary::check(&altered, arch, Some(&objects), &[]);
            let sections = elf::Elf::parse(&altered).map(|elf| elf.sections).unwrap_or_default();
            assert!(sections.iter().map(|section| section.data.len()).sum::<usize>() <= altered.len());
        }
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn any_manifest_is_read_or_refused() {
    let mut random = Random(3);
    let seed = seed("good.json");
    for _ in 0..MANY {
        let text = String::from_utf8_lossy(&random.mutated(&seed)).into_owned();
        if let Ok(manifest) = Manifest::parse(&text) {
            assert_eq!(Manifest::parse(&manifest.to_json().unwrap()).unwrap(), manifest);
        }
    }
}

#[test]
fn any_list_of_checksums_is_read_or_refused() {
    let mut random = Random(4);
    let seed = seed("good.sha256");
    for _ in 0..MANY {
        let text = String::from_utf8_lossy(&random.mutated(&seed)).into_owned();
        if let Ok(checksums) = manifest::checksums(&text) {
            let lines: String = checksums.iter().map(|(name, sha256)| manifest::checksum_line(sha256, name)).collect();
            assert_eq!(manifest::checksums(&lines).unwrap(), checksums);
        }
    }
}

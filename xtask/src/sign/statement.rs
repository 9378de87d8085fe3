//! What is stated of a release, as in-toto has it (<https://github.com/in-toto/attestation>): where its bytes come from, what
//! became of them on real kernels, and that another machine made the same.

use serde_json::{Value, json};

use crate::release::boot_report::{Boot, Verdict};
use crate::release::layout::MANIFEST;
use crate::release::manifest::{Artifact, Manifest};
use crate::sys::hash::{self, Sha256};

/// The kinds of statements: SLSA's, in-toto's, and one of our own.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
pub const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";
pub const REBUILD: &str = "bpfship:rebuild/v1";

const FAILED: &str = "FAILED";

/// How it was built: what `dist` does, by the schema of the manifest.
const BUILD_TYPE: &str = "bpfship:dist/v3";

fn statement(kind: &str, subject: &Value, predicate: &Value) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": kind,
        "predicate": predicate,
    })
}

fn resource(name: &str, sha256: &Sha256) -> Value {
    json!({ "name": name, "digest": { "sha256": sha256 } })
}

/// An archive, what is listed to be in it, and its binaries.
fn subjects(artifact: &Artifact) -> Vec<Value> {
    let Artifact { file, sha256, sbom, binaries, triple, .. } = artifact;
    let binaries = binaries.iter().map(|it| resource(&format!("{} ({triple})", it.file), &it.sha256));
    [resource(file, sha256), resource(&sbom.file, &sbom.sha256)].into_iter().chain(binaries).collect()
}

/// Every input that can change a byte of a release. `builder` is who built it, as a URI.
pub fn provenance(manifest: &Manifest, manifest_text: &[u8], builder: &str) -> Value {
    let subject: Vec<Value> = manifest.artifacts.iter().flat_map(subjects).collect();
    let Manifest { rustc, cargo_lock, cargo_toml, bpf_lock, .. } = manifest;
    let mut inputs = vec![resource("Cargo.lock", cargo_lock), resource("Cargo.toml", cargo_toml)];
    inputs.extend(bpf_lock.iter().map(|sha256| resource("bpf.lock", sha256)));
    inputs.extend(manifest.commit.iter().map(|commit| json!({ "name": "source", "digest": { "gitCommit": commit } })));
    inputs.push(json!({
        "name": "rustc",
        "digest": { "gitCommit": rustc.commit },
        "annotations": { "version": rustc.version, "llvm": rustc.llvm },
    }));
    let (compiler, wheels) = manifest.c_compiler.split_once(' ').unwrap_or((&manifest.c_compiler, ""));
    let wheels = wheels.split(' ').filter_map(|wheel| wheel.strip_prefix("sha256:"));
    inputs.extend(wheels.map(|sha256| json!({ "name": compiler, "digest": { "sha256": sha256 } })));
    inputs.extend(manifest.bpf_objects.iter().map(|object| resource(&object.file.to_string(), &object.sha256)));
    let targets: Vec<Value> = manifest
        .artifacts
        .iter()
        .map(|it| json!({ "target": it.triple, "std": it.route, "sysroot": it.sysroot }))
        .collect();
    let predicate = json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "archives": manifest.archives,
                "commit": manifest.commit,
                "dirty": manifest.dirty,
                "source_date_epoch": manifest.source_date_epoch,
                "targets": targets,
            },
            "internalParameters": { "compressor": manifest.compressor, "flags": manifest.flags },
            "resolvedDependencies": inputs,
        },
        "runDetails": {
            "builder": { "id": builder },
            "byproducts": [resource(MANIFEST, &hash::bytes(manifest_text))],
        },
    });
    statement(PROVENANCE, &subject.into(), &predicate)
}

/// Who built something, as a URI, if only the fingerprint of a key is known of them.
pub fn builder_of(fingerprint: &str) -> String {
    format!("bpfship:key/{fingerprint}")
}

/// Who built what a statement is about.
pub fn builder(statement: &Value) -> Option<&str> {
    statement.pointer("/predicate/runDetails/builder/id")?.as_str()
}

/// What became of an archive on a kernel. in-toto has WARNED for what passed with named gaps.
pub fn test_result(boot: &Boot) -> Value {
    let Boot { file, sha256, binaries, kernel, qemu, machine, cpu, commands, verdict, seconds, date, .. } = boot;
    let binaries = binaries.iter().map(|(name, sha256)| resource(&format!("{name} ({})", boot.arch.triple), sha256));
    let subject: Vec<Value> = std::iter::once(resource(file, sha256)).chain(binaries).collect();
    let (result, warned, failed) = match verdict {
        Verdict::Pass => ("PASSED", &[][..], &[][..]),
        Verdict::Gaps(gaps) => ("WARNED", gaps.as_slice(), &[][..]),
        Verdict::Fail(why) => (FAILED, &[][..], std::slice::from_ref(why)),
    };
    let kernel = json!({
        "name": kernel.label,
        "digest": { "sha256": kernel.sha256 },
        "annotations": {
            "source": kernel.source,
            "release": kernel.release,
            "btf": kernel.btf,
            "hidden-btf": kernel.hidden_btf,
            "jit": kernel.jit,
            "page": kernel.page,
        },
    });
    let emulator = json!({
        "name": "qemu",
        "uri": "pkg:generic/qemu",
        "annotations": { "version": qemu, "machine": machine, "cpu": cpu, "seconds": seconds.to_string(), "date": date },
    });
    let passed = if failed.is_empty() { commands.as_slice() } else { &[] };
    let predicate = json!({
        "result": result,
        "configuration": [kernel, emulator],
        "passedTests": passed,
        "warnedTests": warned,
        "failedTests": failed,
    });
    statement(TEST_RESULT, &subject.into(), &predicate)
}

/// Where something was built again.
#[derive(Debug, Clone)]
pub struct Place {
    /// Who, as a URI.
    pub builder: String,
    pub system: String,
    pub kernel: String,
    pub machine: &'static str,
    /// RFC 3339, UTC.
    pub date: String,
}

/// That these bytes come out of this commit.
pub fn rebuild(manifest: &Manifest, manifest_text: &[u8], place: &Place) -> Value {
    let subject: Vec<Value> = manifest.artifacts.iter().flat_map(subjects).collect();
    let Place { builder, system, kernel, machine, date } = place;
    let predicate = json!({
        "commit": manifest.commit,
        "manifest": resource(MANIFEST, &hash::bytes(manifest_text)),
        "builder": { "id": builder },
        "host": { "system": system, "kernel": kernel, "machine": machine },
        "tool": { "name": crate::NAME, "version": env!("CARGO_PKG_VERSION") },
        "finishedOn": date,
    });
    statement(REBUILD, &subject.into(), &predicate)
}

/// Whether a statement is of a kind, and about these bytes under this name.
pub fn is_about(statement: &Value, kind: &str, name: &str, sha256: &Sha256) -> bool {
    let subjects = statement["subject"].as_array().into_iter().flatten();
    statement["predicateType"] == kind && subjects.into_iter().any(|subject| *subject == resource(name, sha256))
}

/// Whether what was built again is all of a release that is described so.
pub fn is_of_manifest(rebuild: &Value, manifest: &Sha256) -> bool {
    rebuild["predicate"]["manifest"] == resource(MANIFEST, manifest)
}

/// Whether it is of a boot that failed.
pub fn is_failure(test_result: &Value) -> bool {
    test_result["predicate"]["result"] == FAILED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::release::manifest;

    #[test]
    fn every_part_of_a_manifest_is_in_its_provenance() {
        let artifact = Artifact::example("1.0.0", Arch::named("arm64"), b"archive");
        let manifest = manifest::tests::manifest("c0ffee", vec![artifact.clone()]);
        let stated = provenance(&manifest, b"{}", "https://example.com/ci");
        assert_eq!(builder(&stated), Some("https://example.com/ci"));
        assert!(is_about(&stated, PROVENANCE, &artifact.file, &artifact.sha256));
        assert!(!is_about(&stated, REBUILD, &artifact.file, &artifact.sha256));
        assert!(!is_about(&stated, PROVENANCE, "other", &artifact.sha256));
        let text = stated.to_string();
        let value = serde_json::to_value(&manifest).unwrap();
        for key in ["cargo_lock", "cargo_toml", "bpf_lock", "commit", "compressor"] {
            assert!(text.contains(value[key].as_str().unwrap()), "{key} is not in {text}");
        }
    }
}

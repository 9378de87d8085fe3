//! A CycloneDX document (<https://cyclonedx.org/docs/1.6/json/>): what an archive consists of, and what made it.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use bpfship_object::report::Report;
use serde_json::{Value, json};

use crate::release::manifest::{Artifact, Binary, BpfObject, Rustc};
use crate::release::sbom::crates::{Crate, Origin};
use crate::release::sbom::facts::{Std, StdCrate};
use crate::sys::hash;

/// All that a document is made of.
#[derive(Debug)]
pub struct Contents<'a> {
    pub artifact: &'a Artifact,
    pub version: &'a str,
    /// Seconds since 1970.
    pub date: u64,
    /// Those of all binaries.
    pub crates: &'a [Crate<'a>],
    /// The packages that are shipped.
    pub roots: Vec<&'a str>,
    pub rustc: &'a Rustc,
    pub std: &'a Std,
    /// Libraries in C or C++, with their licences.
    pub libraries: Vec<(&'static str, &'static str)>,
    /// The pinned compiler, as `NAME==VERSION`, and the hashes of its packages.
    pub compiler: (&'a str, Vec<&'a str>),
    pub objects: Vec<(&'a BpfObject, &'a Report)>,
    /// The hashes of what BPF objects are compiled from.
    pub sources: &'a BTreeMap<String, String>,
}

/// What our own properties begin with.
const OURS: &str = "bpfship:";

/// The document.
pub fn write(contents: &Contents) -> Result<Vec<u8>> {
    let Contents { artifact, version, date, .. } = contents;
    let mut parts = Parts::default();
    let mut used = parts.crates(contents);
    used.push(parts.std(contents));
    for (name, license) in &contents.libraries {
        used.push(parts.library(name, None, Some(license), &[]));
    }
    used.extend(parts.objects(contents));
    parts.compilers(contents);
    parts.dependencies.insert(artifact.file.clone(), used);

    let product = |name: &str| contents.crates.iter().find(|it| it.package.name == name).map(|it| it.package);
    let license = contents.roots.first().and_then(|root| product(root)?.license.as_deref());
    let binary = |binary: &Binary| {
        let hashes = json!([{ "alg": "SHA-256", "content": binary.sha256 }]);
        json!({ "type": "file", "bom-ref": format!("{}#{}", artifact.file, binary.file), "name": binary.file, "hashes": hashes })
    };
    let binaries: Vec<Value> = artifact.binaries.iter().map(binary).collect();
    let mut properties = vec![
        property("target", &artifact.triple),
        property("minimum-kernel", &artifact.minimum_kernel),
        property("std", artifact.route.name()),
    ];
    properties.extend(artifact.sysroot.iter().map(|name| property("sysroot", name)));
    let component = json!({
        "type": "application",
        "bom-ref": artifact.file,
        "name": artifact.archive,
        "version": version,
        "hashes": [{ "alg": "SHA-256", "content": artifact.sha256 }],
        "licenses": licenses(license),
        "components": binaries,
        "properties": properties,
    });
    let tool = json!({ "type": "application", "name": crate::NAME, "version": env!("CARGO_PKG_VERSION") });
    let timestamp = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(*date)).to_string();
    let dependency = |(name, used): (&String, &Vec<String>)| {
        let mut used = used.clone();
        used.sort();
        used.dedup();
        json!({ "ref": name, "dependsOn": used })
    };
    let dependencies: Vec<Value> = parts.dependencies.iter().map(dependency).collect();
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": timestamp,
            "lifecycles": [{ "phase": "build" }],
            "tools": { "components": [tool] },
            "component": component,
        },
        "components": parts.components,
        "dependencies": dependencies,
    });
    document["serialNumber"] = format!("urn:uuid:{}", uuid(&serde_json::to_vec(&document)?)).into();
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    Ok(text)
}

/// Of the kind whose bits are the writer's own choice (RFC 9562, version 8): here those of a hash.
fn uuid(text: &[u8]) -> String {
    let hash = hash::bytes(text).to_string();
    let variant = ["8", "9", "a", "b"][usize::from(hash.as_bytes()[16] % 4)];
    format!("{}-{}-8{}-{variant}{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32])
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": format!("{OURS}{name}"), "value": value })
}

/// A licence as SPDX has it; cargo once took a slash for `OR`.
fn licenses(expression: Option<&str>) -> Value {
    match expression {
        Some(expression) => json!([{ "expression": expression.replace(" / ", "/").replace('/', " OR ") }]),
        None => json!([]),
    }
}

/// A part of a package URL (<https://github.com/package-url/purl-spec>).
fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn purl(it: &Crate) -> Option<String> {
    let base = format!("pkg:cargo/{}@{}", percent(&it.package.name), percent(&it.package.version));
    match it.origin() {
        Origin::CratesIo => Some(base),
        Origin::Registry(address) => Some(format!("{base}?repository_url={}", percent(address))),
        Origin::Git(address) => Some(format!("{base}?vcs_url={}", percent(&format!("git+{address}")))),
        Origin::Local => None,
    }
}

#[derive(Default)]
struct Parts {
    components: Vec<Value>,
    dependencies: BTreeMap<String, Vec<String>>,
}

impl Parts {
    /// Adds a component under a name of its own.
    fn add(&mut self, name: &str, mut component: Value, dependencies: Vec<String>) {
        component["bom-ref"] = name.into();
        self.components.push(component);
        self.dependencies.insert(name.into(), dependencies);
    }

    fn library(&mut self, name: &str, version: Option<&str>, license: Option<&str>, properties: &[Value]) -> String {
        let mut component = json!({ "type": "library", "name": name, "licenses": licenses(license) });
        if let Some(version) = version {
            component["version"] = version.into();
        }
        if !properties.is_empty() {
            component["properties"] = properties.into();
        }
        let reference = format!("library:{name}");
        self.add(&reference, component, Vec::new());
        reference
    }

    /// All crates. Gives the names of those that are shipped.
    fn crates(&mut self, contents: &Contents) -> Vec<String> {
        let name = |it: &Crate| {
            let Crate { package, .. } = it;
            purl(it).unwrap_or_else(|| format!("local:{}@{}", package.name, package.version))
        };
        for it in contents.crates {
            let package = it.package;
            let licenses = match (&package.license, &package.license_file) {
                (None, Some(_)) => json!([{ "license": { "name": "a text of its own" } }]),
                (license, _) => licenses(license.as_deref()),
            };
            let mut component = json!({
                "type": "library",
                "name": package.name,
                "version": package.version,
                "licenses": licenses,
                "scope": "required",
            });
            if let Some(purl) = purl(it) {
                component["purl"] = purl.into();
            }
            if let Some(sha256) = &it.sha256 {
                component["hashes"] = json!([{ "alg": "SHA-256", "content": sha256 }]);
            }
            if let Some(url) = &package.repository {
                component["externalReferences"] = json!([{ "type": "vcs", "url": url }]);
            }
            let used = it.dependencies.iter().map(|at| name(&contents.crates[*at])).collect();
            self.add(&name(it), component, used);
        }
        let is_root = |it: &&Crate| it.origin() == Origin::Local && contents.roots.contains(&it.package.name.as_str());
        contents.crates.iter().filter(is_root).map(name).collect()
    }

    /// The standard library, and what is below it.
    fn std(&mut self, contents: &Contents) -> String {
        let Contents { rustc, std, artifact, compiler, .. } = contents;
        let mut used = Vec::new();
        for (name, StdCrate { version, license, .. }) in &std.crates {
            let reference = format!("std:{name}");
            let mut component = json!({ "type": "library", "name": name, "licenses": licenses(license.as_deref()) });
            if let Some(version) = version {
                component["version"] = version.as_str().into();
                component["purl"] = format!("pkg:cargo/{name}@{version}").into();
            }
            self.add(&reference, component, Vec::new());
            used.push(reference);
        }
        let rust = "MIT OR Apache-2.0";
        let version = Some(rustc.version.as_str());
        used.push(self.library(
            "compiler-builtins",
            version,
            Some(&format!("({rust}) AND Apache-2.0 WITH LLVM-exception")),
            &[],
        ));
        let from = match artifact.sysroot {
            Some(_) => compiler.0.replace("==", " "),
            None => format!("Rust {}", rustc.version),
        };
        let from = [property("from", &from)];
        used.push(self.library("musl", std.musl.as_deref(), Some("MIT"), &from));
        used.push(self.library("libunwind", None, Some("Apache-2.0 WITH LLVM-exception"), &from));
        if artifact.sysroot.is_some() {
            used.push(self.library("compiler-rt", None, Some("MIT"), &from));
        }
        let reference = format!("std:std@{}", rustc.version);
        let component = json!({
            "type": "library",
            "name": "std",
            "version": rustc.version,
            "licenses": licenses(Some(rust)),
            "externalReferences": [{ "type": "vcs", "url": "https://github.com/rust-lang/rust" }],
            "properties": [property("commit", &rustc.commit)],
        });
        self.add(&reference, component, used);
        reference
    }

    /// BPF objects, each with what it was compiled from.
    fn objects(&mut self, contents: &Contents) -> Vec<String> {
        let source = |name: &str| format!("bpf-source:{name}");
        for (name, sha256) in contents.sources {
            let hashes = json!([{ "alg": "SHA-256", "content": sha256 }]);
            self.add(&source(name), json!({ "type": "file", "name": name, "hashes": hashes }), Vec::new());
        }
        let mut objects = Vec::new();
        for (object, report) in &contents.objects {
            let mut properties = Vec::new();
            for program in &report.programs {
                let kind = program.kind.unwrap_or("of an unknown type");
                properties.push(property("bpf:program", &format!("{} {} {kind}", program.name, program.section)));
            }
            properties.extend(report.maps.iter().map(|map| property("bpf:map", &format!("{} {}", map.name, map.kind))));
            properties.extend(report.helpers.iter().map(|helper| property("bpf:helper", helper)));
            properties.extend(report.oldest_kernel.iter().map(|kernel| property("bpf:oldest-kernel", kernel)));
            properties.push(property("bpf:needs-kernel-btf", if report.needs_kernel_btf { "true" } else { "false" }));
            properties.extend(report.unknown.iter().map(|unknown| property("bpf:unknown", unknown)));
            let name = object.file.to_string();
            let mut component = json!({
                "type": "file",
                "name": name,
                "hashes": [{ "alg": "SHA-256", "content": object.sha256 }],
                "properties": properties,
            });
            if let Some(license) = &report.license {
                component["licenses"] = json!([{ "license": { "name": license } }]);
            }
            let sources = contents.sources.keys().filter(|source| is_of(source, &object.file.stem));
            let reference = format!("bpf-object:{name}");
            self.add(&reference, component, sources.map(|name| source(name)).collect());
            objects.push(reference);
        }
        objects
    }

    /// What made it and is not in it.
    fn compilers(&mut self, contents: &Contents) {
        let Rustc { version, commit, llvm } = contents.rustc;
        let rustc = json!({
            "type": "application",
            "name": "rustc",
            "version": version,
            "scope": "excluded",
            "properties": [property("commit", commit), property("llvm", llvm)],
        });
        self.add("compiler:rustc", rustc, Vec::new());
        let (package, hashes) = &contents.compiler;
        let (name, version) = package.split_once("==").unwrap_or((package, ""));
        let purl = format!("pkg:pypi/{name}@{version}");
        let wheel = |sha256: &&str| json!({ "type": "distribution", "url": purl, "hashes": [{ "alg": "SHA-256", "content": sha256 }] });
        let zig = json!({
            "type": "application",
            "name": name,
            "version": version,
            "purl": purl,
            "scope": "excluded",
            "licenses": licenses(Some("MIT")),
            "externalReferences": hashes.iter().map(wheel).collect::<Vec<_>>(),
        });
        self.add("compiler:ziglang", zig, Vec::new());
    }
}

/// Whether an object may be compiled from a source: the one of its name, and all headers. Of a variant, the name goes on.
fn is_of(source: &str, stem: &str) -> bool {
    let file = source.rsplit('/').next().unwrap_or(source);
    match file.strip_suffix(".c") {
        Some(name) => stem.starts_with(name.strip_suffix(".bpf").unwrap_or(name)),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::release::sbom::crates::tests::{example, packages};

    fn document() -> Value {
        let packages = packages();
        let crates = example(&packages);
        let artifact = Artifact::example("1.2.0", Arch::named("arm64"), b"archive");
        let rustc = Rustc { version: "1.95.0".into(), commit: "c0ffee".into(), llvm: "22".into() };
        let std = Std {
            crates: [(
                "gimli".to_owned(),
                StdCrate { version: Some("0.32.3".into()), license: Some("MIT".into()), texts: Vec::new() },
            )]
            .into(),
            musl: Some("1.2.5".into()),
        };
        let contents = Contents {
            artifact: &artifact,
            version: "1.2.0",
            date: 1_700_000_000,
            crates: &crates,
            roots: vec!["tool"],
            rustc: &rustc,
            std: &std,
            libraries: Vec::new(),
            compiler: ("ziglang==0.17.1", vec!["ea6c", "b7c5"]),
            objects: Vec::new(),
            sources: &BTreeMap::new(),
        };
        let text = write(&contents).unwrap();
        assert_eq!(text, write(&contents).unwrap());
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn a_document_has_crates_the_standard_library_and_what_made_them() {
        let document = document();
        assert_eq!(document["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
        let components = document["components"].as_array().unwrap();
        let seen: Vec<String> = components
            .iter()
            .map(|it| format!("{} {}", it["bom-ref"].as_str().unwrap(), it["version"].as_str().unwrap_or("-")))
            .collect();
        assert_eq!(
            seen,
            [
                "pkg:cargo/itoa@1.2.0 1.2.0",
                "local:tool@1.2.0 1.2.0",
                "pkg:cargo/util@1.2.0?vcs_url=git%2Bhttps%3A%2F%2Fexample.com%2Futil%3Fbranch%3Dx 1.2.0",
                "std:gimli 0.32.3",
                "library:compiler-builtins 1.95.0",
                "library:musl 1.2.5",
                "library:libunwind -",
                "std:std@1.95.0 1.95.0",
                "compiler:rustc 1.95.0",
                "compiler:ziglang 0.17.1",
            ]
        );
        assert_eq!(components[0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        let of = |name: &str| {
            let all = document["dependencies"].as_array().unwrap();
            all.iter().find(|it| it["ref"] == name).unwrap()["dependsOn"].clone()
        };
        assert_eq!(of("local:tool@1.2.0"), json!(["pkg:cargo/itoa@1.2.0"]));
        assert_eq!(of("tool-1.2.0-aarch64-unknown-linux-musl.tar.gz"), json!(["local:tool@1.2.0", "std:std@1.95.0"]));
    }

    #[test]
    fn an_object_is_of_the_source_of_its_name_and_of_headers() {
        assert!(is_of("net/tick.bpf.c", "tick") && is_of("include/a.h", "tick") && is_of("tick.c", "tick-small"));
        assert!(!is_of("tock.bpf.c", "tick"));
    }
}

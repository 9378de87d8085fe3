//! What `dist` says of the parts of an archive: the CycloneDX document beside it, and the list of crates in each binary.

use std::fs;

use auditable_info::audit_info_from_slice;
use serde_json::Value;

use super::support::{Workspace, has, python};

const ARM64: &str = "tool-0.3.0-aarch64-unknown-linux-musl";
const S390X: &str = "tool-0.3.0-s390x-unknown-linux-musl";

/// A workspace with a package beside the one that is shipped.
fn released(name: &str) -> Workspace {
    let workspace = Workspace::usual(name)
        .write("util/Cargo.toml", "[package]\nname = \"util\"\nversion = \"0.1.0\"\nedition = \"2024\"\nlicense = \"MIT\"\n")
        .write("util/src/lib.rs", "pub fn zero() -> u8 { 0 }\n")
        .write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"tool\"\nversion = \"0.3.0\"\ndependencies = [\n \"util\",\n]\n\n[[package]]\nname = \"util\"\nversion = \"0.1.0\"\n");
    let manifest = workspace.read("tool/Cargo.toml") + "\n[dependencies]\nutil = { path = \"../util\" }\n";
    let config = workspace.read("Cargo.toml").replace("\"tool\"]", "\"tool\", \"util\"]");
    workspace.write("tool/Cargo.toml", &manifest).write("Cargo.toml", &config)
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_archive_has_a_document_of_its_parts_and_each_binary_a_list_of_its_crates() {
    let workspace = released("sbom");
    workspace.xtask("dist --arch arm64,s390x").succeeds();
    for (stem, std) in [(ARM64, "prebuilt"), (S390X, "source")] {
        let text = workspace.read(&format!("dist/{stem}.cdx.json"));
        assert!(!text.contains(workspace.root.to_str().unwrap()), "it contains a path:\n{text}");
        let document: Value = serde_json::from_str(&text).unwrap();
        let about = &document["metadata"]["component"];
        assert_eq!((&about["name"], &about["version"]), (&"tool".into(), &"0.3.0".into()));
        assert!(about["properties"].to_string().contains(&format!("\"{std}\"")), "{about}");
        let components = document["components"].as_array().unwrap();
        let of = |name: &str| {
            let found = components.iter().find(|component| component["name"] == name);
            found.unwrap_or_else(|| panic!("there is no {name} in\n{text}"))
        };
        assert_eq!(of("util")["licenses"][0]["expression"], "MIT");
        assert_eq!(
            of("hashbrown")["purl"],
            format!("pkg:cargo/hashbrown@{}", of("hashbrown")["version"].as_str().unwrap())
        );
        assert_eq!(of("musl")["version"], "1.2.5");
        assert_eq!(components.iter().any(|component| component["name"] == "compiler-rt"), std == "source");
        assert_eq!(of("ziglang")["externalReferences"].as_array().unwrap().len(), 4);
        let endian = if stem == ARM64 { "el" } else { "eb" };
        let object = of(&format!("tick_bpf{endian}.o"));
        for word in ["tick raw_tp/sys_enter raw_tracepoint", "bpfship:bpf:oldest-kernel"] {
            assert!(object.to_string().contains(word), "{word}: {object}");
        }
        let dependencies = document["dependencies"].as_array().unwrap();
        let used = dependencies.iter().find(|it| it["ref"] == object["bom-ref"]).unwrap();
        assert_eq!(used["dependsOn"], serde_json::json!(["bpf-source:include/answer.h", "bpf-source:tick.bpf.c"]));

        workspace.shell(&format!("tar xzf dist/{stem}.tar.gz")).succeeds();
        let binary = fs::read(workspace.path(stem).join("probe")).unwrap();
        let list = audit_info_from_slice(&binary, 1 << 20).unwrap();
        let crates: Vec<_> =
            list.packages.iter().map(|it| (it.name.as_str(), it.version.to_string(), it.root)).collect();
        assert_eq!(crates, [("tool", "0.3.0".into(), true), ("util", "0.1.0".into(), false)]);
        assert_eq!(list.packages[0].dependencies, [1]);
    }
    workspace.shell("cd dist && sha256sum -c SHA256SUMS && grep -c cdx.json SHA256SUMS").succeeds().says("2\n");
    workspace.xtask("verify").succeeds().says("ok");
    let strict = "import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
for name in sys.argv[1:]:
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(name).read())
    assert fault is None, (name, fault)
    print('accepted', name)";
    if has(
        "cyclonedx-python-lib",
        "pip install 'cyclonedx-python-lib[json-validation]'",
        python("cyclonedx.validation.json"),
    ) {
        let script = format!("python3 -c \"{strict}\" dist/{ARM64}.cdx.json dist/{S390X}.cdx.json");
        workspace.shell(&script).succeeds().says(&format!("accepted dist/{S390X}.cdx.json"));
    }

    let altered = workspace.read(&format!("dist/{ARM64}.cdx.json")).replace("1.2.5", "1.2.6");
    let workspace = workspace.write(&format!("dist/{ARM64}.cdx.json"), &altered);
    workspace.xtask("verify").ends_with(1).says(".cdx.json beside it is not the one that was made with it");
    // It is made again, and the same.
    workspace.xtask("dist --arch arm64,s390x").succeeds();
    workspace.xtask("verify").succeeds();
}

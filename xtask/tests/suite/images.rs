//! `image`: a release as a container image, read by skopeo.

use std::process::Command;

use serde_json::Value;

use super::support::{has, released};

#[test]
#[ignore = "long: --include-ignored runs it"]
fn skopeo_reads_an_image_of_all_architectures_under_the_digest_that_is_printed() {
    let workspace = released("image", "image.user = \"65532:65532\"\n", &["arm64", "armv7", "amd64", "mips"]);
    let made = workspace.xtask("image --json").succeeds().json();
    let image = &made["images"][0];
    assert_eq!(image["arches"], serde_json::json!(["amd64", "arm64", "mips", "armv7"]));
    let digest = image["digest"].as_str().unwrap();
    workspace.xtask("image -q").succeeds().says(&format!("tool@{digest}\n"));
    workspace.shell("cd dist/images && sha256sum --check --quiet SHA256SUMS").succeeds();
    assert_eq!(workspace.list("dist/images"), ["SHA256SUMS", "tool-0.3.0.oci.tar"]);

    let skopeo = Command::new("skopeo").arg("--version").output().is_ok_and(|output| output.status.success());
    if !has("skopeo", "apt-get install skopeo", skopeo) {
        return;
    }
    let json = |script: &str| -> Value { workspace.shell(script).succeeds().json() };
    let index = json("skopeo inspect --raw oci-archive:dist/images/tool-0.3.0.oci.tar");
    let platforms: Vec<String> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{} {}", it["platform"]["architecture"], it["platform"]["variant"]))
        .collect();
    assert_eq!(platforms, [r#""amd64" null"#, r#""arm64" "v8""#, r#""mips" null"#, r#""arm" "v7""#]);

    // What a registry gets is what was printed.
    workspace.shell("skopeo copy --quiet --all oci-archive:dist/images/tool-0.3.0.oci.tar oci:copy:it").succeeds();
    workspace.shell(&format!("test -f copy/blobs/{}", digest.replace(':', "/"))).succeeds();
    let config = json("skopeo --override-arch mips inspect --config oci:copy:it");
    assert_eq!(config["architecture"], "mips");
    assert_eq!(config["created"], "2023-11-14T22:13:20Z");
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/usr/bin/probe"]));
    let labels = &config["config"]["Labels"];
    for (label, value) in [
        ("title", "tool"),
        ("version", "0.3.0"),
        ("revision", "1a2b"),
        ("source", "https://example.org/tool"),
        ("licenses", "MIT"),
        ("description", "Counts ticks, for $1"),
    ] {
        assert_eq!(labels[format!("org.opencontainers.image.{label}")], value, "{label}");
    }
    let copied = workspace.shell("skopeo --override-arch mips copy -q oci:copy:it dir:one && ls one").succeeds().text();
    let layer =
        copied.lines().find(|name| workspace.shell(&format!("tar tzf one/{name}")).text().contains("usr/bin/probe"));
    let files = workspace.shell(&format!("tar tzf one/{}", layer.unwrap())).succeeds().text();
    let expected = ["COPYRIGHT-library.html", "LICENSE-MIT", "THIRD-PARTY-LICENSES.txt"];
    let found: Vec<&str> = files.lines().filter(|line| !line.ends_with('/')).collect();
    assert_eq!(found[0], "usr/bin/probe");
    assert_eq!(found[1..], expected.map(|name| format!("usr/share/licenses/tool/{name}")));
}

#[test]
fn the_same_release_gives_the_same_image() {
    let digest = |name: &str, script: &str| {
        let workspace = released(name, "", &["amd64", "s390x"]);
        workspace.shell(script).succeeds();
        workspace.read("dist/images/SHA256SUMS")
    };
    let one = digest("one", "\"$BPFSHIP\" image");
    assert_eq!(digest("another place", "umask 077; TZ=Asia/Tokyo SOURCE_DATE_EPOCH=5 \"$BPFSHIP\" image"), one);
}

#[test]
fn a_user_by_name_is_refused() {
    let workspace = released("user", "image.user = \"nobody\"\n", &["amd64"]);
    workspace
        .xtask("image")
        .ends_with(2)
        .says("[workspace.metadata.bpfship.image] of Cargo.toml is `nobody`; a number is expected")
        .in_one_line();
}

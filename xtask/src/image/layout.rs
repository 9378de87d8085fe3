//! An OCI image layout: what each of its files holds. Made of the same release, it is the same bytes.
//!
//! What the keys mean: <https://github.com/opencontainers/image-spec>.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::arch::Arch;
use crate::release::pack::{self, Entry};
use crate::sys::hash::{self, Sha256};
use crate::workspace::packaging::User;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What an image is of.
#[derive(Debug, Clone)]
pub struct Image {
    pub name: String,
    pub version: String,
    /// The program that a container starts.
    pub entrypoint: String,
    pub user: User,
    /// `org.opencontainers.image.*`, of the image and of what is for one architecture alike.
    pub labels: BTreeMap<&'static str, String>,
    /// Seconds since 1970, and the same as images have it.
    pub date: u64,
    pub created: String,
    /// For each architecture, the files in it by their paths.
    pub platforms: Vec<(&'static Arch, BTreeMap<String, Entry>)>,
}

/// A layout: its files by their paths, and the digest by which the image is known to a registry.
#[derive(Debug)]
pub struct Layout {
    pub files: BTreeMap<String, Entry>,
    pub digest: Sha256,
}

/// Writes down all of an image.
pub fn layout(image: &Image) -> Result<Layout> {
    let mut files = BTreeMap::new();
    let mut manifests = Vec::new();
    for (arch, contents) in &image.platforms {
        let tar = pack::tar_of_root(contents, image.date)?;
        let layer = blob(&mut files, LAYER, pack::gzip(&tar)?);
        let config = blob(&mut files, CONFIG, text(&config(image, arch, &hash::bytes(&tar))));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [layer],
            "annotations": image.labels,
        });
        let mut descriptor = blob(&mut files, MANIFEST, text(&manifest));
        descriptor["platform"] = platform(arch).into();
        manifests.push(descriptor);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": manifests,
        "annotations": image.labels,
    });
    let index = text(&index);
    let digest = hash::bytes(&index);
    let mut descriptor = blob(&mut files, INDEX, index);
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": image.version });
    let top = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] });
    files.insert("index.json".into(), plain(text(&top)));
    files.insert("oci-layout".into(), plain(text(&json!({ "imageLayoutVersion": "1.0.0" }))));
    Ok(Layout { files, digest })
}

/// What a container of the image is started with.
fn config(image: &Image, arch: &Arch, diff_id: &Sha256) -> Value {
    let mut config = Value::Object(platform(arch));
    config["created"] = image.created.as_str().into();
    config["config"] = json!({
        "User": image.user.to_string(),
        "Entrypoint": [image.entrypoint],
        "WorkingDir": "/",
        "Labels": image.labels,
    });
    config["rootfs"] = json!({ "type": "layers", "diff_ids": [format!("sha256:{diff_id}")] });
    config["history"] = json!([{ "created": image.created, "created_by": "bpfship" }]);
    config
}

fn platform(arch: &Arch) -> Map<String, Value> {
    let mut platform = Map::new();
    platform.insert("os".into(), "linux".into());
    platform.insert("architecture".into(), arch.platform.architecture.into());
    if let Some(variant) = arch.platform.variant {
        platform.insert("variant".into(), variant.into());
    }
    platform
}

/// Adds a blob, and gives what others name it by.
fn blob(files: &mut BTreeMap<String, Entry>, media_type: &str, bytes: Vec<u8>) -> Value {
    let sha256 = hash::bytes(&bytes);
    let descriptor = json!({ "mediaType": media_type, "digest": format!("sha256:{sha256}"), "size": bytes.len() });
    files.insert(format!("blobs/sha256/{sha256}"), plain(bytes));
    descriptor
}

fn plain(bytes: Vec<u8>) -> Entry {
    Entry { bytes, executable: false }
}

fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let files = |bytes: &[u8]| {
            BTreeMap::from([("usr/bin/probe".to_owned(), Entry { bytes: bytes.into(), executable: true })])
        };
        Image {
            name: "tool".into(),
            version: "0.3.0".into(),
            entrypoint: "/usr/bin/probe".into(),
            user: User::default(),
            labels: BTreeMap::from([("org.opencontainers.image.version", "0.3.0".into())]),
            date: 7,
            created: "1970-01-01T00:00:07Z".into(),
            platforms: vec![(Arch::named("amd64"), files(b"one")), (Arch::named("armv7"), files(b"other"))],
        }
    }

    #[test]
    fn every_blob_is_named_by_its_hash_and_the_index_by_the_digest() {
        let Layout { files, digest } = layout(&image()).unwrap();
        for (path, entry) in &files {
            if let Some(name) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(name, hash::bytes(&entry.bytes).to_string());
            }
        }
        // A layer, a configuration and a manifest for each architecture; the index, and the layout's own two files.
        assert_eq!(files.len(), 2 * 3 + 3);
        let read = |path: String| -> Value { serde_json::from_slice(&files[&path].bytes).unwrap() };
        assert_eq!(read("index.json".into())["manifests"][0]["digest"], format!("sha256:{digest}"));
        let index = read(format!("blobs/sha256/{digest}"));
        assert_eq!(index["manifests"][1]["platform"], json!({ "os": "linux", "architecture": "arm", "variant": "v7" }));
    }
}

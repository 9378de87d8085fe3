//! An image as `docker load` and `podman load` take it: its id, the hash of its description, is known before that, and the same in
//! both.

use std::io::{Read, Write};

use anyhow::Result;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::sys::hash::Sha256;

/// When every image of ours was made: nothing of the day is in it.
const DATE: &str = "1970-01-01T00:00:00Z";

/// The description of an image of one layer.
pub fn description(platform: &str, layer: &Sha256) -> Vec<u8> {
    json!({
        "architecture": platform,
        "os": "linux",
        "created": DATE,
        "config": { "Env": ["PATH=/usr/bin"], "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
        "history": [{ "created": DATE, "created_by": "bpfship" }],
    })
    .to_string()
    .into_bytes()
}

/// Writes the archive. `id` is the hash of the description.
pub fn write(
    to: impl Write,
    id: &Sha256,
    description: &[u8],
    tag: &str,
    (layer, size): (impl Read, u64),
) -> Result<()> {
    let mut tar = Builder::new(to);
    let mut add = |path: &str, size: u64, bytes: &mut dyn Read| {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(size);
        tar.append_data(&mut header, path, bytes)
    };
    let (config, files) = (format!("{id}.json"), "layer.tar");
    let manifest: Value = json!([{ "Config": config, "RepoTags": [tag], "Layers": [files] }]);
    let manifest = manifest.to_string();
    add(&config, description.len() as u64, &mut &*description)?;
    add("manifest.json", manifest.len() as u64, &mut manifest.as_bytes())?;
    let mut layer = layer;
    add(files, size, &mut layer)?;
    tar.into_inner()?.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::hash;

    #[test]
    fn the_id_is_the_hash_of_a_description_in_which_no_day_is() {
        let description = description("amd64", &hash::bytes(b"layer"));
        // If this changes, `VERSION` of the recipe gets another number.
        let expected = "{\"architecture\":\"amd64\",\"config\":{\"Env\":[\"PATH=/usr/bin\"],\"WorkingDir\":\"/\"},";
        assert!(String::from_utf8_lossy(&description).starts_with(expected));
        let id = hash::bytes(&description);
        let mut archive = Vec::new();
        write(&mut archive, &id, &description, "name:tag", (&b"layer"[..], 5)).unwrap();
        let mut archive = tar::Archive::new(&archive[..]);
        let names: Vec<String> =
            archive.entries().unwrap().map(|it| it.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, [format!("{id}.json"), "manifest.json".into(), "layer.tar".into()]);
    }
}

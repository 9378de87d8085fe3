//! What is there already where files are to go.

use std::path::Path;

use anyhow::Result;

use crate::emit::plan::{Content, File};
use crate::sys::{files, hash};
use crate::ui::error::bad_request;

/// The files that are not there as they should be. One that is another is only replaced if `force` is given.
pub fn missing(folder: &Path, wanted: Vec<File>, force: bool) -> Result<Vec<File>> {
    let mut missing = Vec::new();
    for file in wanted {
        let path = folder.join(&file.path);
        if path.symlink_metadata().is_err() {
            missing.push(file);
            continue;
        }
        let is_same = path.is_file()
            && match &file.content {
                Content::Text(text) => files::read(&path)? == text.as_bytes(),
                Content::Binary { sha256, .. } => hash::file(&path)? == *sha256,
            };
        if !is_same && !force {
            bad_request!(
                "{} is there and is another: --force replaces it, --output names another folder",
                path.display()
            );
        }
        if !is_same {
            missing.push(file);
        }
    }
    Ok(missing)
}

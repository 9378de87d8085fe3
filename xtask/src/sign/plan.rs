//! What `sign` will do, as data.

use std::path::Path;

use serde_json::Value;

use crate::release::boot_report::Report;
use crate::release::install::INSTALL;
use crate::release::layout::CHECKSUMS;
use crate::release::manifest::Manifest;
use crate::sign::dsse::ENDING;
use crate::sign::key::PublicKey;
use crate::sign::run::{Key, SignFile, SignStatements};
use crate::sign::statement;
use crate::sys::plan::{Step, Task};

/// The files of statements about a release: where it comes from, and its boots.
pub const PROVENANCE: &str = "provenance";
pub const BOOTS: &str = "boots";

/// Decides what is signed of the release in a folder.
pub fn sign(folder: &Path, manifest: &Manifest, text: &[u8], boots: &Report, builder: &str, key: &Key) -> Vec<Task> {
    let names = [CHECKSUMS.to_owned(), INSTALL.to_owned()].into_iter().chain(manifest.files());
    let mut tasks: Vec<Task> = names.map(|name| file(folder, name, key)).collect();
    let provenance = vec![statement::provenance(manifest, text, builder)];
    tasks.push(statements(folder, PROVENANCE, provenance, key));
    let is_released = |sha256| manifest.artifacts.iter().any(|artifact| artifact.sha256 == sha256);
    let boots = boots.boots.iter().filter(|boot| is_released(boot.sha256)).map(statement::test_result);
    tasks.push(statements(folder, BOOTS, boots.collect(), key));
    tasks
}

/// Decides how the statement of who built a release again is signed and written. Gives the name of its file. install.sh knows it
/// by that, and reads no envelope: so the file is signed, too.
pub fn rebuild(folder: &Path, statement: Value, by: &PublicKey, key: &Key) -> (String, Vec<Task>) {
    let name = format!("rebuild-{}", by.letters());
    let file_name = format!("{name}{ENDING}");
    let tasks = vec![statements(folder, &name, vec![statement], key), file(folder, file_name.clone(), key)];
    (file_name, tasks)
}

fn file(folder: &Path, name: String, key: &Key) -> Task {
    let title = format!("signing {name}");
    let step = SignFile { folder: folder.into(), name, key: key.clone() };
    Task::new(title, vec![Box::new(step) as Box<dyn Step>])
}

/// Decides how statements are signed and written.
fn statements(folder: &Path, name: &str, statements: Vec<Value>, key: &Key) -> Task {
    let file = format!("{name}{ENDING}");
    let title = format!("signing {file}");
    let step = SignStatements { folder: folder.into(), file, statements, key: key.clone() };
    Task::new(title, vec![Box::new(step) as Box<dyn Step>])
}

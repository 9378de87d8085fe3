//! The steps that sign.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use serde_json::{Value, json};

use crate::release::layout::{MINISIG, SSHSIG};
use crate::sign::key::SecretKey;
use crate::sign::{dsse, minisign, sshsig};
use crate::sys::command::quote;
use crate::sys::files;
use crate::sys::plan::{Slot, Step, Work};

/// The key, which a plan that is only printed does without.
pub type Key = Slot<Arc<SecretKey>>;

/// Signs a file, as minisign and as ssh does.
#[derive(Debug)]
pub struct SignFile {
    pub folder: PathBuf,
    pub name: String,
    pub key: Key,
}

impl Step for SignFile {
    fn line(&self) -> String {
        let file = self.folder.join(&self.name);
        format!("# sign {}: {MINISIG} as minisign does, and {SSHSIG} as ssh-keygen does", quote(&file))
    }

    fn json(&self) -> Value {
        json!({ "sign-file": { "file": self.folder.join(&self.name) } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let key = self.key.get()?;
        let bytes = files::read(&self.folder.join(&self.name))?;
        let path = |ending: &str| self.folder.join(format!("{}{ending}", self.name));
        let (of_minisign, of_ssh) = (minisign::sign(key, &bytes, &self.name), sshsig::sign(key, &bytes));
        files::replace(&[(path(MINISIG), of_minisign.as_bytes()), (path(SSHSIG), of_ssh.as_bytes())])
    }
}

/// Signs statements, and writes them to one file.
#[derive(Debug)]
pub struct SignStatements {
    pub folder: PathBuf,
    pub file: String,
    pub statements: Vec<Value>,
    pub key: Key,
}

impl Step for SignStatements {
    fn line(&self) -> String {
        format!("# sign statements, {}, and write {}", self.statements.len(), quote(&self.folder.join(&self.file)))
    }

    fn json(&self) -> Value {
        json!({ "sign-statements": { "file": self.folder.join(&self.file), "statements": self.statements } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let key = self.key.get()?;
        let text: String = self.statements.iter().map(|statement| dsse::sign(key, statement)).collect();
        files::replace(&[(self.folder.join(&self.file), text.as_bytes())])
    }
}
